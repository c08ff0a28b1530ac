//! Metrics: one line of CloudWatch's embedded metric format on standard output for each value, whatever `LOG_LEVEL` is.
//! Nothing in one identifies a patient, and a dimension has only values that are in the program.
//!
//! The lines are written here and not by a crate: awslabs' `metrique`, which is well kept, collects a struct of metrics
//! for each request and writes it at its end, where a value here is written at once, so that it outlives a process that
//! is killed.

use std::cell::RefCell;
use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use crate::Environment;

/// A metric. Each is in the table of `functions/TELEMETRY.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name in CloudWatch.
    pub name: &'static str,
    /// Its unit.
    pub unit: Unit,
    /// By what it is reported, beside the sum of all.
    pub dimension: Option<Dimension>,
}

/// A unit of CloudWatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Occurrences.
    Count,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// A dimension. Its values are few: each makes a metric of its own, which CloudWatch charges for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The function.
    Service,
    /// The kind of problem that a request was answered with.
    Reason,
    /// The severity of an alert.
    Severity,
}

/// Submissions that were stored, and answered with a receipt.
pub const SUBMISSIONS_ACCEPTED: Metric = Metric { name: "SubmissionsAccepted", unit: Unit::Count, dimension: None };
/// Repeats of stored submissions, answered with the first receipt.
pub const SUBMISSIONS_REPEATED: Metric = Metric { name: "SubmissionsRepeated", unit: Unit::Count, dimension: None };
/// Submissions, and requests with submissions, that were answered with a problem.
pub const SUBMISSIONS_REFUSED: Metric =
    Metric { name: "SubmissionsRefused", unit: Unit::Count, dimension: Some(Dimension::Reason) };
/// Submissions that were scored.
pub const SUBMISSIONS_SCORED: Metric = Metric { name: "SubmissionsScored", unit: Unit::Count, dimension: None };
/// Scored submissions whose course has to be evaluated again: they arrived out of order, or correct another.
pub const SUBMISSIONS_LATE: Metric = Metric { name: "SubmissionsLate", unit: Unit::Count, dimension: None };
/// Alert rules that could not be evaluated with their submission, for example because an answer is missing.
pub const RULES_NOT_EVALUATED: Metric = Metric { name: "RulesNotEvaluated", unit: Unit::Count, dimension: None };
/// Alert rules that could not be evaluated again after an earlier submission arrived.
pub const NOT_REEVALUATED: Metric = Metric { name: "NotReevaluated", unit: Unit::Count, dimension: None };
/// Alerts that were raised, quiet ones included.
pub const ALERTS_RAISED: Metric =
    Metric { name: "AlertsRaised", unit: Unit::Count, dimension: Some(Dimension::Severity) };
/// Publications of alerts that SNS confirmed, escalations included.
pub const ALERTS_PUBLISHED: Metric =
    Metric { name: "AlertsPublished", unit: Unit::Count, dimension: Some(Dimension::Severity) };
/// Publications of alerts that SNS did not confirm; sweep tries them again.
pub const ALERTS_NOT_PUBLISHED: Metric = Metric { name: "AlertsNotPublished", unit: Unit::Count, dimension: None };
/// Alerts that were published again, because nobody had acknowledged them.
pub const ALERTS_ESCALATED: Metric = Metric { name: "AlertsEscalated", unit: Unit::Count, dimension: None };
/// Alerts that nobody acknowledged after the last escalation that their study allows.
pub const ALERTS_EXHAUSTED: Metric = Metric { name: "AlertsExhausted", unit: Unit::Count, dimension: None };
/// Critical alerts that are published, not acknowledged and not exhausted. Each run of `sweep` reports it.
pub const ALERTS_UNACKNOWLEDGED: Metric = Metric { name: "AlertsUnacknowledged", unit: Unit::Count, dimension: None };
/// Submissions, alerts and courses that a run of `sweep` found waiting for more than three minutes. Each run
/// reports it.
pub const ITEMS_PENDING: Metric = Metric { name: "ItemsPending", unit: Unit::Count, dimension: None };
/// Age of the oldest submission without a score or alert without a publication. Each run of `sweep` reports it.
pub const OLDEST_PENDING_SECONDS: Metric =
    Metric { name: "OldestPendingSeconds", unit: Unit::Seconds, dimension: None };
/// Submissions, alerts and courses that a run of `sweep` processed. Each run reports it.
pub const ITEMS_SWEPT: Metric = Metric { name: "ItemsSwept", unit: Unit::Count, dimension: None };
/// Items that a run of `sweep` could not process. Each run reports it, also when it is zero.
pub const SWEEP_FAILURES: Metric = Metric { name: "SweepFailures", unit: Unit::Count, dimension: None };
/// Occurrences that were made, or moved because the registry or the study changed.
pub const OCCURRENCES_MADE: Metric = Metric { name: "OccurrencesMade", unit: Unit::Count, dimension: None };
/// Windows that closed without an answer.
pub const WINDOWS_MISSED: Metric = Metric { name: "WindowsMissed", unit: Unit::Count, dimension: None };
/// Reminders that SNS confirmed.
pub const REMINDERS_PUBLISHED: Metric = Metric { name: "RemindersPublished", unit: Unit::Count, dimension: None };
/// Records that can never be scored and were quarantined.
pub const RECORDS_QUARANTINED: Metric = Metric { name: "RecordsQuarantined", unit: Unit::Count, dimension: None };
/// Transactions of scores that DynamoDB cancelled because of others, or throttled, and that are tried again.
pub const TRANSACTION_CONFLICTS: Metric = Metric { name: "TransactionConflicts", unit: Unit::Count, dimension: None };
/// Age of a batch's oldest record when `score` begins. Each batch reports it.
pub const STREAM_LAG_SECONDS: Metric = Metric { name: "StreamLagSeconds", unit: Unit::Seconds, dimension: None };
/// Time that an invocation had left, less its reserve. Each reports it.
pub const REMAINING_MILLISECONDS: Metric =
    Metric { name: "RemainingMilliseconds", unit: Unit::Milliseconds, dimension: Some(Dimension::Service) };
/// Invocations that ended because their time was up.
pub const DEADLINE_STOPS: Metric =
    Metric { name: "DeadlineStops", unit: Unit::Count, dimension: Some(Dimension::Service) };
/// Requests answered with 5xx.
pub const SERVER_ERRORS: Metric =
    Metric { name: "ServerErrors", unit: Unit::Count, dimension: Some(Dimension::Service) };
/// Requests answered with 401 or 403.
pub const REFUSED: Metric = Metric { name: "Refused", unit: Unit::Count, dimension: None };
/// API calls that could not be counted.
pub const API_CALLS_NOT_COUNTED: Metric = Metric { name: "ApiCallsNotCounted", unit: Unit::Count, dimension: None };
/// Failed reads of a study where its defaults or the version read before were used instead.
pub const STUDY_NOT_READ: Metric = Metric { name: "StudyNotRead", unit: Unit::Count, dimension: None };
/// Differences between what is stored and what follows from the submissions. Each run of `reconcile` reports them,
/// also when there are none.
pub const RECORDS_DIFFER: Metric = Metric { name: "RecordsDiffer", unit: Unit::Count, dimension: None };

/// All metrics.
pub const ALL: [Metric; 30] = [
    SUBMISSIONS_ACCEPTED,
    SUBMISSIONS_REPEATED,
    SUBMISSIONS_REFUSED,
    SUBMISSIONS_SCORED,
    SUBMISSIONS_LATE,
    RULES_NOT_EVALUATED,
    NOT_REEVALUATED,
    ALERTS_RAISED,
    ALERTS_PUBLISHED,
    ALERTS_NOT_PUBLISHED,
    ALERTS_ESCALATED,
    ALERTS_EXHAUSTED,
    ALERTS_UNACKNOWLEDGED,
    ITEMS_PENDING,
    OLDEST_PENDING_SECONDS,
    ITEMS_SWEPT,
    SWEEP_FAILURES,
    OCCURRENCES_MADE,
    WINDOWS_MISSED,
    REMINDERS_PUBLISHED,
    RECORDS_QUARANTINED,
    TRANSACTION_CONFLICTS,
    STREAM_LAG_SECONDS,
    REMAINING_MILLISECONDS,
    DEADLINE_STOPS,
    SERVER_ERRORS,
    REFUSED,
    API_CALLS_NOT_COUNTED,
    STUDY_NOT_READ,
    RECORDS_DIFFER,
];

/// The namespace, and the function.
static SOURCE: OnceLock<(String, &'static str)> = OnceLock::new();

thread_local! {
    static CAPTURED: RefCell<Option<Vec<Report>>> = const { RefCell::new(None) };
}

/// Sets the namespace from `METRICS_NAMESPACE`, and the function. Nothing is written before that.
pub(crate) fn start(environment: &Environment, service: &'static str) {
    SOURCE.get_or_init(|| (environment.optional("METRICS_NAMESPACE").unwrap_or("ePRO").to_owned(), service));
}

/// Reports `value` of `metric`, in its unit.
pub fn report(metric: Metric, value: u64) {
    Report { metric, of: None, value }.write();
}

/// Reports `value` of `metric`, in its unit, for `of`, the value of its dimension.
pub fn report_of(metric: Metric, of: &'static str, value: u64) {
    Report { metric, of: Some(of), value }.write();
}

impl Unit {
    /// Its name in CloudWatch.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Seconds => "Seconds",
            Self::Milliseconds => "Milliseconds",
        }
    }
}

impl Dimension {
    /// Its name in CloudWatch.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Reason => "reason",
            Self::Severity => "severity",
        }
    }
}

/// A value of a metric, as it was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The metric.
    pub metric: Metric,
    /// The value of its dimension. That of the dimension `service` is added when it is written.
    pub of: Option<&'static str>,
    /// How many, in its unit.
    pub value: u64,
}

impl Report {
    fn write(self) {
        CAPTURED.with_borrow_mut(|captured| captured.iter_mut().for_each(|reports| reports.push(self)));
        let Some((namespace, service)) = SOURCE.get() else { return };
        // One write, so that no log line interrupts it. Where standard output is closed, nobody can be informed.
        let _ = io::stdout().lock().write_all(self.line(namespace, service, SystemTime::now()).as_bytes());
    }

    /// The line of the function `service`, in `namespace`, at `now`.
    pub fn line(self, namespace: &str, service: &'static str, now: SystemTime) -> String {
        let Self { metric: Metric { name, unit, dimension }, of, value } = self;
        let of = of.or((dimension == Some(Dimension::Service)).then_some(service));
        let dimension = dimension.map(Dimension::as_str).zip(of);
        // The sum of all has no dimension.
        let mut dimensions = vec![Vec::new()];
        dimensions.extend(dimension.map(|(dimension, _)| vec![dimension]));
        let directive = Directive { namespace, dimensions, metrics: [Definition { name, unit: unit.as_str() }] };
        let timestamp = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let metadata = Metadata { timestamp, cloud_watch_metrics: [directive] };
        let line = Line { metadata, value: (name, value), dimension };
        let mut line = serde_json::to_string(&line).expect("texts and numbers always serialise");
        line.push('\n');
        line
    }
}

/// A line of the embedded metric format.
struct Line<'a> {
    metadata: Metadata<'a>,
    value: (&'static str, u64),
    dimension: Option<(&'static str, &'static str)>,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &self.metadata)?;
        line.serialize_entry(self.value.0, &self.value.1)?;
        if let Some((dimension, of)) = self.dimension {
            line.serialize_entry(dimension, of)?;
        }
        line.end()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    timestamp: u64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    /// Sets of dimensions.
    dimensions: Vec<Vec<&'static str>>,
    metrics: [Definition; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition {
    name: &'static str,
    unit: &'static str,
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

    /// What was reported so far.
    pub fn reports(&self) -> Vec<Report> {
        CAPTURED.with_borrow(|captured| captured.clone().unwrap_or_default())
    }

    /// The sum of the values of `metric` so far; `None` if it was not reported.
    pub fn sum(&self, metric: Metric) -> Option<u64> {
        self.reports().iter().filter(|report| report.metric == metric).map(|report| report.value).reduce(|a, b| a + b)
    }

    /// As [`Captured::sum`], for one value of the metric's dimension.
    pub fn sum_of(&self, metric: Metric, of: &str) -> Option<u64> {
        let of_value = |report: &&Report| report.metric == metric && report.of == Some(of);
        self.reports().iter().filter(of_value).map(|report| report.value).reduce(|a, b| a + b)
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

    use serde_json::{Value, json};

    /// What the specification of the embedded metric format demands of a line.
    const EMBEDDED_METRIC_FORMAT: &str = include_str!("../tests/embedded-metric-format.schema.json");

    fn at() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_795_420_683_123)
    }

    fn report(metric: Metric, of: Option<&'static str>) -> Report {
        Report { metric, of, value: 42 }
    }

    #[test]
    fn a_metric_is_one_line_of_the_embedded_metric_format() {
        let line = report(SUBMISSIONS_REFUSED, Some("invalid")).line("ePRO/a \"stack\"", "submit", at());
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({
                "_aws": {
                    "Timestamp": 1_795_420_683_123_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "ePRO/a \"stack\"", "Dimensions": [[], ["reason"]],
                        "Metrics": [{"Name": "SubmissionsRefused", "Unit": "Count"}],
                    }],
                },
                "SubmissionsRefused": 42, "reason": "invalid",
            })
        );
    }

    #[test]
    fn each_metric_is_as_the_specification_demands_it() {
        let format = EmbeddedMetricFormat::new();
        for metric in ALL {
            for of in [None, Some("critical")].into_iter().filter(|of| of.is_none() || metric.dimension.is_some()) {
                let line = report(metric, of).line("ePRO/epro", "submit", at());
                assert_eq!(format.fault(&line), None, "{line}");
                let by_service = metric.dimension == Some(Dimension::Service);
                assert_eq!(line.contains("\"service\":"), by_service, "{line}");
            }
        }
    }

    #[test]
    fn what_the_specification_forbids_is_found() {
        let format = EmbeddedMetricFormat::new();
        let line = report(REFUSED, None).line("ePRO", "submit", at());
        let line: Value = serde_json::from_str(&line).unwrap();
        let changed = |change: &dyn Fn(&mut Value)| {
            let mut line = line.clone();
            change(&mut line);
            format.fault(&line.to_string())
        };
        assert_eq!(changed(&|_| ()), None);
        let changes: [(&str, Change<'_>); 9] = [
            ("no time", &|line| drop(line["_aws"].as_object_mut().unwrap().remove("Timestamp"))),
            ("no namespace", &|line| line["_aws"]["CloudWatchMetrics"][0]["Namespace"] = "".into()),
            ("no dimensions", &|line| line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([])),
            ("31 dimensions", &|line| {
                let set: Vec<String> = (0..31).map(|n| format!("d{n}")).collect();
                line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([set]);
                set.iter().for_each(|name| line[name] = "x".into());
            }),
            ("101 metrics", &|line| {
                let metrics: Vec<Value> = (0..101).map(|n| json!({"Name": format!("m{n}")})).collect();
                line["_aws"]["CloudWatchMetrics"][0]["Metrics"] = json!(metrics);
                (0..101).for_each(|n| line[format!("m{n}")] = 1.into());
            }),
            ("unit", &|line| line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Unit"] = "Hours".into()),
            ("dimension without value", &|line| {
                line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] = json!([["reason"]]);
            }),
            ("metric without value", &|line| drop(line.as_object_mut().unwrap().remove("Refused"))),
            ("text for a value", &|line| line["Refused"] = "1".into()),
        ];
        for (what, change) in changes {
            assert!(changed(change).is_some(), "{what}");
        }
    }

    type Change<'a> = &'a dyn Fn(&mut Value);

    /// The specification: its schema, and the references that a schema cannot express.
    struct EmbeddedMetricFormat {
        schemas: boon::Schemas,
        root: boon::SchemaIndex,
    }

    impl EmbeddedMetricFormat {
        fn new() -> Self {
            let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
            let schema = serde_json::from_str(EMBEDDED_METRIC_FORMAT).unwrap();
            compiler.add_resource("emf.json", schema).unwrap();
            let root = compiler.compile("emf.json", &mut schemas).unwrap();
            Self { schemas, root }
        }

        /// What is wrong with `line`.
        fn fault(&self, line: &str) -> Option<String> {
            let line: Value = serde_json::from_str(line).unwrap();
            if let Err(error) = self.schemas.validate(&line, self.root) {
                return Some(error.to_string());
            }
            let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap().iter();
            directives
                .flat_map(|directive| {
                    let dimensions =
                        directive["Dimensions"].as_array().unwrap().iter().flat_map(|set| set.as_array().unwrap());
                    let without_text = dimensions.filter(|name| !line[name.as_str().unwrap()].is_string());
                    let metrics = directive["Metrics"].as_array().unwrap().iter().map(|metric| &metric["Name"]);
                    let without_number = metrics.filter(|name| !line[name.as_str().unwrap()].is_number());
                    without_text.chain(without_number).map(|name| format!("{name} has no value")).collect::<Vec<_>>()
                })
                .next()
        }
    }

    #[test]
    fn a_capture_sees_the_metrics_of_its_own_thread() {
        super::report(REFUSED, 1);
        let captured = Captured::begin();
        super::report(REFUSED, 2);
        std::thread::spawn(|| super::report(REFUSED, 4)).join().unwrap();
        super::report(OLDEST_PENDING_SECONDS, 0);
        super::report(REFUSED, 8);
        report_of(ALERTS_RAISED, "critical", 3);
        report_of(ALERTS_RAISED, "info", 1);
        assert_eq!(captured.sum(REFUSED), Some(10));
        assert_eq!(captured.sum(OLDEST_PENDING_SECONDS), Some(0));
        assert_eq!(captured.sum(ALERTS_EXHAUSTED), None);
        assert_eq!((captured.sum(ALERTS_RAISED), captured.sum_of(ALERTS_RAISED, "info")), (Some(4), Some(1)));
    }

    #[test]
    fn alarms_are_on_metrics_that_are_reported_and_not_on_log_lines() {
        /// Those that must not lose their alarm.
        const WATCHED: [Metric; 9] = [
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
        let template = include_str!("../../../template.yaml");
        let lines: Vec<&str> = template.lines().map(str::trim).collect();
        let own = |pair: &&[&str]| pair[0] == "Namespace: !Sub ePRO/${AWS::StackName}";
        let alarms = lines.windows(2).filter(own).filter_map(|pair| pair[1].strip_prefix("MetricName: "));
        let alarms: BTreeSet<&str> = alarms.collect();
        assert!(alarms.is_subset(&ALL.map(|metric| metric.name).into()), "nothing reports one of {alarms:?}");
        assert!(alarms.is_superset(&WATCHED.map(|metric| metric.name).into()), "{alarms:?}");
        // The gateway's access log has no level that could silence it.
        let filters = template.split("\n\n").filter(|resource| resource.contains("AWS::Logs::MetricFilter"));
        assert!(filters.into_iter().all(|filter| filter.contains("LogGroupName: !Ref ApiLogs")));
    }
}
