//! Metrics for alarms: one line of CloudWatch's embedded metric format on standard output for each value, whatever
//! `LOG_LEVEL` is. A metric has no dimensions, and nothing in it identifies a patient.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::Environment;

/// Records that can never be scored and were quarantined.
pub const RECORDS_QUARANTINED: &str = "RecordsQuarantined";
/// Age in seconds of the oldest submission without a score or alert without a publication. Each run of `sweep` reports
/// it.
pub const OLDEST_PENDING_SECONDS: &str = "OldestPendingSeconds";
/// Items that a run of `sweep` could not process. Each run reports it, also when it is zero.
pub const SWEEP_FAILURES: &str = "SweepFailures";
/// Alerts that nobody acknowledged after the last escalation that their study allows.
pub const ALERTS_EXHAUSTED: &str = "AlertsExhausted";
/// Alert rules that could not be evaluated again after an earlier submission arrived.
pub const NOT_REEVALUATED: &str = "NotReevaluated";
/// API calls that could not be counted.
pub const API_CALLS_NOT_COUNTED: &str = "ApiCallsNotCounted";
/// Requests answered with 401 or 403.
pub const REFUSED: &str = "Refused";
/// Failed reads of a study where its defaults or the version read before were used instead.
pub const STUDY_NOT_READ: &str = "StudyNotRead";

/// Differences between what is stored and what follows from the submissions. Each run of `reconcile` reports them, also
/// when there are none.
pub const RECORDS_DIFFER: &str = "RecordsDiffer";

/// All metrics; each has an alarm in the template.
pub const ALL: [&str; 9] = [
    RECORDS_QUARANTINED,
    OLDEST_PENDING_SECONDS,
    SWEEP_FAILURES,
    ALERTS_EXHAUSTED,
    NOT_REEVALUATED,
    API_CALLS_NOT_COUNTED,
    REFUSED,
    STUDY_NOT_READ,
    RECORDS_DIFFER,
];

static NAMESPACE: OnceLock<String> = OnceLock::new();

thread_local! {
    static CAPTURED: RefCell<Option<Vec<Metric>>> = const { RefCell::new(None) };
}

/// Sets the namespace from `METRICS_NAMESPACE`. Nothing is written before that.
pub(crate) fn start(environment: &Environment) {
    NAMESPACE.get_or_init(|| environment.optional("METRICS_NAMESPACE").unwrap_or("ePRO").to_owned());
}

/// Reports `value` occurrences of `name`.
pub fn count(name: &'static str, value: u64) {
    Metric { name, unit: "Count", value }.write();
}

/// Reports `name` as `value` seconds.
pub fn seconds(name: &'static str, value: u64) {
    Metric { name, unit: "Seconds", value }.write();
}

/// One value of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// One of [`ALL`].
    pub name: &'static str,
    /// CloudWatch's name of its unit.
    pub unit: &'static str,
    /// How many, in that unit.
    pub value: u64,
}

impl Metric {
    fn write(self) {
        CAPTURED.with_borrow_mut(|captured| captured.iter_mut().for_each(|metrics| metrics.push(self)));
        let Some(namespace) = NAMESPACE.get() else { return };
        // One write, so that no log line interrupts it. Where standard output is closed, nobody can be informed.
        let _ = io::stdout().lock().write_all(self.line(namespace, SystemTime::now()).as_bytes());
    }

    fn line(self, namespace: &str, now: SystemTime) -> String {
        let Self { name, unit, value } = self;
        let directive = json!({"Namespace": namespace, "Dimensions": [[]], "Metrics": [{"Name": name, "Unit": unit}]});
        let milliseconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let line = json!({"_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]}, name: value});
        format!("{line}\n")
    }
}

/// The metrics reported on this thread while this exists. For tests.
#[derive(Debug)]
pub struct Captured(());

impl Captured {
    /// Starts capturing.
    #[must_use]
    pub fn begin() -> Self {
        CAPTURED.set(Some(Vec::new()));
        Self(())
    }

    /// The metrics reported so far.
    pub fn metrics(&self) -> Vec<Metric> {
        CAPTURED.with_borrow(|captured| captured.clone().unwrap_or_default())
    }

    /// The sum of the values of `name` so far; `None` if it was not reported.
    pub fn sum(&self, name: &str) -> Option<u64> {
        self.metrics().iter().filter(|metric| metric.name == name).map(|metric| metric.value).reduce(|a, b| a + b)
    }
}

impl Drop for Captured {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::time::Duration;

    use serde_json::Value;

    #[test]
    fn a_metric_is_one_line_of_the_embedded_metric_format() {
        let metric = Metric { name: OLDEST_PENDING_SECONDS, unit: "Seconds", value: 42 };
        let line = metric.line("ePRO/a \"stack\"", UNIX_EPOCH + Duration::from_millis(1_795_420_683_123));
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "_aws": {
                    "Timestamp": 1_795_420_683_123_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "ePRO/a \"stack\"", "Dimensions": [[]],
                        "Metrics": [{"Name": "OldestPendingSeconds", "Unit": "Seconds"}],
                    }],
                },
                "OldestPendingSeconds": 42,
            })
        );
    }

    #[test]
    fn a_capture_sees_the_metrics_of_its_own_thread() {
        count(REFUSED, 1);
        let captured = Captured::begin();
        count(REFUSED, 2);
        std::thread::spawn(|| count(REFUSED, 4)).join().unwrap();
        seconds(OLDEST_PENDING_SECONDS, 0);
        count(REFUSED, 8);
        assert_eq!(captured.sum(REFUSED), Some(10));
        assert_eq!(captured.sum(OLDEST_PENDING_SECONDS), Some(0));
        assert_eq!(captured.sum(ALERTS_EXHAUSTED), None);
    }

    #[test]
    fn every_metric_has_an_alarm_and_no_alarm_depends_on_log_lines() {
        let template = include_str!("../../../template.yaml");
        let lines: Vec<&str> = template.lines().map(str::trim).collect();
        let own = |pair: &&[&str]| pair[0] == "Namespace: !Sub ePRO/${AWS::StackName}";
        let alarms = lines.windows(2).filter(own).filter_map(|pair| pair[1].strip_prefix("MetricName: "));
        assert_eq!(alarms.collect::<BTreeSet<_>>(), ALL.into());
        // The gateway's access log has no level that could silence it.
        let filters = template.split("\n\n").filter(|resource| resource.contains("AWS::Logs::MetricFilter"));
        assert!(filters.into_iter().all(|filter| filter.contains("LogGroupName: !Ref ApiLogs")));
    }
}
