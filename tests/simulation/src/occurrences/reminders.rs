//! The promises about reminders.

use std::collections::{BTreeMap, BTreeSet};

use clinical::schedules::timestamp;
use jiff::{SignedDuration, Timestamp};
use time::OffsetDateTime;

use super::{Checking, is_found, window_of};
use crate::expected::{Expected, Name, Outcome};
use crate::facts::timestamp_of;
use crate::plan::WeatherFault;

/// How long after an answer is known to be stored a reminder may still arrive that was decided before: the search for an
/// answer, the attempts at SNS after it, which take five seconds together, and the way of the last one, which takes up to
/// nine.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(20);
/// How long an environment may be frozen between the two.
const FROZEN: SignedDuration = SignedDuration::from_secs(300);
/// How long after its time a reminder is published in fair weather: `sweep` runs each minute, for some seconds.
const TO_REMIND: SignedDuration = SignedDuration::from_secs(90);
impl Checking<'_> {
    /// Reminders: each that is due is published, none without being due or long after an answer was stored, and repeats have
    /// one id.
    pub(super) fn reminders(&self, expected: &BTreeMap<Name, Expected>) {
        let mut ids: BTreeMap<(Name, Timestamp), BTreeSet<String>> = BTreeMap::new();
        for reminder in self.simulation.world.reminded() {
            let body = reminder.body;
            if body["patient"] != self.patient {
                continue;
            }
            let number = body["occurrence"].as_u64().and_then(|number| number.try_into().ok()).unwrap_or_default();
            let name: Name = (body["schedule"].as_str().unwrap_or_default().to_owned(), number);
            let (Some(due), Some(at)) = (timestamp_of(&body["due"]), timestamp(OffsetDateTime::from(reminder.at)))
            else {
                continue;
            };
            let Some(one) = expected.get(&name) else {
                self.violation(format!("reminders: one of {name:?} is published, which is not asked"));
                continue;
            };
            let is_one_of_it = one.reminders.contains(&due) && due <= at && window_of(&body) == Some(one.window);
            if !is_one_of_it {
                self.violation(format!("reminders: one of {name:?} is published that was not due"));
            }
            // What answers a window that closes earlier leaves this one open.
            let is_elsewhere = |answer: &str| {
                let is_it = |other: &Expected| matches!(&other.outcome, Outcome::Done { id, .. } if id == answer);
                expected.iter().any(|(other, one)| *other != name && is_it(one))
            };
            let found = one.candidates.iter().filter(|answer| is_found(&answer.id, &one.window));
            let found = found.filter(|answer| !is_elsewhere(&answer.id));
            let stored = found.map(|answer| answer.stored).min();
            if stored.is_some_and(|stored| at > stored.saturating_add(self.in_flight()).unwrap_or(Timestamp::MAX)) {
                self.violation(format!("reminders: one of {name:?} is published after an answer was stored"));
            }
            let id = body["reminderId"].as_str().unwrap_or_default().to_owned();
            let before = ids.entry((name, due)).or_default();
            if !before.insert(id) {
                self.simulation.journal.met("branch: reminder repeated");
            }
        }
        for (name, _) in ids.iter().filter(|(_, ids)| ids.len() > 1) {
            self.violation(format!("reminders: one of {name:?} has several ids"));
        }
        if ids.values().flatten().collect::<BTreeSet<_>>().len() < ids.len() {
            self.violation("reminders: two have one id".to_owned());
        }
        for (name, one) in expected.iter().filter(|(_, one)| !one.is_optional && one.outcome != Outcome::Open) {
            self.are_published(name, one, &ids);
        }
    }

    /// Each reminder is published, or one that was due after it, before a run of `sweep` has worked off all that was due,
    /// and soon where the weather is fair; but not where an answer was on its way.
    fn are_published(&self, name: &Name, one: &Expected, ids: &BTreeMap<(Name, Timestamp), BTreeSet<String>>) {
        let first_received = one.candidates.iter().map(|answer| answer.received).min();
        let withdrawn_at = self.facts.states.iter().find_map(|state| state.withdrawn_at);
        let later = |at: Timestamp| at.saturating_add(TO_REMIND).unwrap_or(Timestamp::MAX);
        for due in &one.reminders {
            let soon = later(*due.max(&one.known));
            let is_fair = self.is_fair(one.known.max(*due - TO_REMIND), soon);
            let Some(by) = is_fair.then_some(soon).or_else(|| self.swept_after(soon).map(later)) else { continue };
            let is_over = by >= one.window.closes
                || by >= self.now
                || first_received.is_some_and(|received| received <= by)
                || withdrawn_at.is_some_and(|at| at <= by);
            if is_over || *due <= self.facts.planned_as_of(one.known) {
                continue;
            }
            if !is_fair {
                self.simulation.journal.met("branch: reminded after foul weather");
            }
            let in_its_place = |(other, at): &(Name, Timestamp)| other == name && (*due..=by).contains(at);
            if !ids.keys().any(in_its_place) {
                self.violation(format!("reminders: that of {name:?} at {due} is not published"));
            }
        }
    }

    /// When the first run of `sweep` after `at` began that worked off all that was due. It had returned before its time-out,
    /// which is shorter than [`TO_REMIND`].
    fn swept_after(&self, at: Timestamp) -> Option<Timestamp> {
        let swept = self.simulation.swept.borrow();
        swept.iter().filter_map(|began| timestamp(*began)).filter(|began| *began >= at).min()
    }

    /// How long after an answer is stored a reminder may arrive.
    fn in_flight(&self) -> SignedDuration {
        if self.has_freezes() { IN_FLIGHT + FROZEN } else { IN_FLIGHT }
    }

    pub(super) fn has_freezes(&self) -> bool {
        self.simulation.plan().weather.iter().any(|weather| weather.fault == WeatherFault::Freeze)
    }
}
