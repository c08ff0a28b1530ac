//! What a run has met: each fault that was injected and each branch that the functions took. One that never came is a
//! hole in the simulated world.

use std::collections::BTreeMap;

/// Every fault and branch that a large number of seeds must meet.
pub const EXPECTED: [&str; 101] = [
    "fault: throttled",
    "fault: 500",
    "fault: 500 after the write",
    "fault: 503",
    "fault: connection cut before the write",
    "fault: connection cut after the write",
    "fault: no answer, not applied",
    "fault: no answer, applied",
    "fault: applied twice",
    "fault: slow answer",
    "fault: transaction held its items for long",
    "fault: reasons of a cancellation reported in part",
    "fault: item of a transaction seen as it was before",
    "fault: index or copy of the study behind",
    "fault: study unreadable",
    "fault: study changed",
    "fault: SNS down",
    "fault: part of a batch refused by SNS",
    "fault: environment lost at an await",
    "fault: environment frozen",
    "fault: clock of an environment stepped",
    "fault: deadline shortened",
    "fault: answer to the phone lost",
    "fault: clock of a phone wrong",
    "fault: shard split",
    "fault: second reader of the stream",
    "fault: record not readable",
    "fault: records trimmed",
    "fault: schedule fired twice",
    "phone: repeat",
    "phone: offline batch",
    "phone: correction",
    "phone: second device",
    "phone: two devices at once",
    "phone: other body under the same id",
    "phone: invalid submission in a batch",
    "phone: draft",
    "branch: 202 accepted",
    "branch: 200 repeated",
    "branch: 403 withdrawn",
    "branch: 409 conflict",
    "branch: 422 refused",
    "branch: 503 with Retry-After",
    "branch: transaction conflict",
    "branch: write refused during a transaction",
    "branch: transaction in progress",
    "branch: token remembered",
    "branch: chunk halved",
    "branch: batch retried",
    "branch: batch given up",
    "branch: quarantined",
    "branch: corrected",
    "branch: late submission evaluated again",
    "branch: alert raised by another evaluation",
    "branch: alert superseded",
    "branch: quiet alert",
    "branch: swept submission",
    "branch: swept course",
    "branch: swept alert",
    "branch: escalated",
    "branch: exhausted",
    "branch: acknowledged",
    "branch: snoozed",
    "branch: snooze of an acknowledged alert refused",
    "branch: escalated after a snooze",
    "branch: worklist read",
    "branch: shown to its own caller",
    "branch: refused to another caller",
    "branch: alert of another site not found",
    "branch: enrolled",
    "branch: transferred",
    "branch: withdrawn",
    "branch: sent from a second site",
    "branch: killed at the time-out",
    "branch: occurrence made or moved",
    "branch: window open when it was made",
    "branch: plan marked by the registry",
    "branch: plan begun by a submission",
    "branch: event dated",
    "branch: time zone changed",
    "branch: window moved",
    "branch: window not asked",
    "branch: window ended by a withdrawal",
    "branch: reminded",
    "branch: reminder repeated",
    "branch: reminded after foul weather",
    "branch: window found missed",
    "branch: missed window answered late",
    "branch: alert of missed windows",
    "branch: alert of several missed windows",
    "branch: quiet alert of missed windows",
    "branch: alert acknowledged by a late answer",
    "branch: answered in its window",
    "branch: answered late",
    "branch: two answers in a window",
    "branch: due shown to a patient",
    "branch: due listed for a site",
    "branch: draft stored",
    "branch: draft stored before",
    "branch: draft changed by another device",
    "branch: draft gone with its submission",
];

/// How often each was met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    /// Counts `name` once.
    pub fn met(&mut self, name: &'static str) {
        self.add(name, 1);
    }

    /// Counts `name` `times` times.
    pub fn add(&mut self, name: &'static str, times: u64) {
        debug_assert!(EXPECTED.contains(&name), "{name}");
        if times > 0 {
            *self.0.entry(name).or_default() += times;
        }
    }

    /// Adds what another run has met.
    pub fn merge(&mut self, other: &Self) {
        for (name, times) in &other.0 {
            *self.0.entry(name).or_default() += times;
        }
    }

    /// Each of [`EXPECTED`] with how often it was met.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        EXPECTED.iter().map(|&name| (name, self.0.get(name).copied().unwrap_or_default()))
    }

    /// Those of [`EXPECTED`] that were never met.
    pub fn missing(&self) -> Vec<&'static str> {
        self.counts().filter(|&(_, times)| times == 0).map(|(name, _)| name).collect()
    }
}
