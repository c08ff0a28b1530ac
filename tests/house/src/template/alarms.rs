//! What is watched, and what an operator does then.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Template, elements, entries, named, references};

const ALARM: &str = "AWS::CloudWatch::Alarm";
/// The guide, as descriptions name it.
const GUIDE: &str = "functions/OPERATION.md";
/// What has to be watched: the alarm, its metric, and the largest threshold.
const WATCHED: [(&str, &str, f64); 18] = [
    ("ScoreBehindAlarm", "IteratorAge", 120_000.0),
    ("RecordsQuarantinedAlarm", "RecordsQuarantined", 1.0),
    ("PendingTooLongAlarm", "OldestPendingSeconds", 900.0),
    ("ApiErrorsAlarm", "5xx", 5.0),
    ("ApiThrottledAlarm", "Throttles", 10.0),
    ("StaffThrottledAlarm", "Throttles", 10.0),
    ("ScoringThrottledAlarm", "Throttles", 1.0),
    ("ApiSlowAlarm", "Duration", 50.0),
    ("AppSlowAlarm", "Duration", 50.0),
    ("ScoreSlowAlarm", "Duration", 50.0),
    ("SweepFoundAlarm", "ItemsSwept", 1.0),
    ("RecordsDifferAlarm", "RecordsDiffer", 1.0),
    ("AlertsUnacknowledgedAlarm", "AlertsEscalated", 1.0),
    ("AlertsExhaustedAlarm", "AlertsExhausted", 1.0),
    ("AlertsUndeliveredAlarm", "NumberOfNotificationsFailed", 1.0),
    ("AlertsInDeadLetterQueueAlarm", "ApproximateNumberOfMessagesVisible", 1.0),
    ("RefusedAlarm", "RefusedByGateway", 10.0),
    ("RecordsDroppedAlarm", "DroppedEventCount", 1.0),
];
/// Those that are raised by missing data: what should run does not.
const RAISED_BY_SILENCE: [&str; 2] = ["SweepDeadAlarm", "ReconcileDeadAlarm"];

pub(super) fn faults(template: &Template, guide: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut fault = |place: &str, what: &str| faults.push(format!("{place}: {what}"));
    let sections = sections(guide);
    let mut explained: BTreeSet<&str> = BTreeSet::new();
    for (id, resource) in template.of(ALARM) {
        let alarm = &resource["Properties"];
        if !elements(&alarm["AlarmActions"]).iter().any(|action| named(action) == "AlarmsTopic") {
            fault(id, "it informs nobody");
        }
        if !alarm["ActionsEnabled"].is_null() {
            fault(id, "its actions may be off");
        }
        let name = id.trim_end_matches("Alarm");
        let description = alarm["AlarmDescription"].as_str().unwrap_or_default();
        if !description.ends_with(&format!(". See {name} in {GUIDE}")) {
            fault(id, "its description does not name its section of the guide");
        }
        if !sections.contains_key(name) {
            fault(id, &format!("{GUIDE} has no section {name}"));
        }
        explained.insert(name);
        let missing = alarm["TreatMissingData"].as_str().unwrap_or_default();
        let expected: &[&str] =
            if RAISED_BY_SILENCE.contains(&id) { &["breaching"] } else { &["notBreaching", "ignore"] };
        if !expected.contains(&missing) {
            fault(id, "it treats missing data otherwise than is meant");
        }
        expression(alarm, &mut |what| fault(id, what));
    }
    for (id, metric, most) in WATCHED {
        let alarm = &template.root["Resources"][id]["Properties"];
        if !metrics(alarm).contains(metric) {
            fault(id, &format!("nothing watches {metric}"));
        }
        if alarm["Threshold"].as_f64().is_none_or(|threshold| threshold > most) {
            fault(id, &format!("its threshold is above {most}"));
        }
    }
    of_functions(template, &mut fault);
    for (id, resource) in template.of("AWS::Events::Rule") {
        let message =
            resource["Properties"]["Targets"][0]["InputTransformer"]["InputTemplate"].as_str().unwrap_or_default();
        let section = message.split(". See ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        if !sections.contains_key(section) {
            fault(id, "its message does not name a section of the guide");
        }
        explained.insert(section);
    }
    for (name, section) in &sections {
        if !explained.contains(name) {
            fault(GUIDE, &format!("no alarm names the section {name}"));
        }
        if !section.contains("\n1. ") || !section.contains("```sh\n") {
            fault(GUIDE, &format!("the section {name} has no steps, or no command"));
        }
    }
    dashboard(template, &mut fault);
    faults
}

/// The sections of the guide's chapter on alarms, by title.
fn sections(guide: &str) -> BTreeMap<&str, &str> {
    let chapter = guide.split("\n## ").find(|chapter| chapter.starts_with("Alarms\n")).unwrap_or_default();
    chapter.split("\n### ").skip(1).filter_map(|section| section.split_once('\n')).collect()
}

/// The metrics that an alarm evaluates.
fn metrics(alarm: &Value) -> BTreeSet<&str> {
    let of_expression = elements(&alarm["Metrics"]).iter().map(|query| &query["MetricStat"]["Metric"]["MetricName"]);
    of_expression.chain([&alarm["MetricName"]]).filter_map(Value::as_str).collect()
}

/// An alarm evaluates one expression, and each metric of it is used.
fn expression(alarm: &Value, fault: &mut dyn FnMut(&str)) {
    let queries = elements(&alarm["Metrics"]);
    if queries.is_empty() {
        return;
    }
    let returned = queries.iter().filter(|query| query["ReturnData"] != false).count();
    if returned != 1 {
        fault("it evaluates not exactly one expression");
    }
    let text: Vec<&str> = queries.iter().filter_map(|query| query["Expression"].as_str()).collect();
    let words: BTreeSet<&str> = text.iter().flat_map(|text| text.split(|c: char| !c.is_ascii_alphanumeric())).collect();
    for query in queries.iter().filter(|query| query["ReturnData"] == false) {
        let id = query["Id"].as_str().unwrap_or_default();
        if !words.contains(id) {
            fault(&format!("its expression leaves out {id}"));
        }
    }
    if queries.iter().filter(|query| !query["MetricStat"].is_null()).count() > 10 {
        fault("CloudWatch takes ten metrics");
    }
}

/// Each function is watched for throttles and for its time, which is compared with its own time-out.
fn of_functions(template: &Template, fault: &mut dyn FnMut(&str, &str)) {
    let globals = &template.root["Globals"]["Function"]["Timeout"];
    let timeout =
        |function: &Value| function["Properties"]["Timeout"].as_u64().or(globals.as_u64()).unwrap_or(0) * 1_000;
    let watched = |ids: &[&str]| {
        let alarms = ids.iter().map(|id| &template.root["Resources"][*id]);
        alarms.flat_map(references).collect::<BTreeSet<String>>()
    };
    let (throttles, slow) = (
        watched(&["ApiThrottledAlarm", "StaffThrottledAlarm", "ScoringThrottledAlarm"]),
        watched(&["ApiSlowAlarm", "AppSlowAlarm", "ScoreSlowAlarm"]),
    );
    let usual = globals.as_u64().unwrap_or(0) * 1_000;
    let mut scaled = Vec::new();
    for (id, function) in template.functions() {
        if !throttles.contains(id) {
            fault(id, "its throttles have no alarm");
        }
        // A run of sweep or reconcile takes the time that it has.
        let takes_all = ["SweepFunction", "ReconcileFunction"].contains(&id);
        if !takes_all && !slow.contains(id) {
            fault(id, "its time has no alarm");
        }
        if !takes_all && id != "ScoreFunction" && timeout(function) != usual {
            let name = id.trim_end_matches("Function").to_ascii_lowercase();
            scaled.push(format!("{name} * {usual} / {}", timeout(function)));
        }
    }
    let expressions = |id: &str| -> Vec<String> {
        let queries = elements(&template.root["Resources"][id]["Properties"]["Metrics"]);
        queries.iter().filter_map(|query| query["Expression"].as_str()).map(str::to_owned).collect()
    };
    let api = expressions("ApiSlowAlarm");
    let compares = api.split_first().is_some_and(|(all, others)| {
        all.starts_with("100 * MAX([") && all.ends_with(&format!("]) / {usual}")) && others == scaled
    });
    if !compares {
        fault("ApiSlowAlarm", &format!("it does not compare with the time-outs, {usual} ms and {scaled:?}"));
    }
    let app = expressions("AppSlowAlarm");
    if !app.iter().all(|all| all.starts_with("100 * MAX([") && all.ends_with(&format!("]) / {usual}"))) {
        fault("AppSlowAlarm", &format!("it does not compare with the time-out of {usual} ms"));
    }
    let score = timeout(&template.root["Resources"]["ScoreFunction"]);
    if expressions("ScoreSlowAlarm") != [format!("100 * score / {score}")] {
        fault("ScoreSlowAlarm", &format!("it does not compare with the time-out of {score} ms"));
    }
}

/// The dashboard can be read, shows each alarm, and names only what is there.
fn dashboard(template: &Template, fault: &mut dyn FnMut(&str, &str)) {
    for (id, resource) in template.of("AWS::CloudWatch::Dashboard") {
        let body = resource["Properties"]["DashboardBody"]["Fn::Sub"].as_str().unwrap_or_default();
        let Ok(body) = serde_json::from_str::<Value>(body) else { return fault(id, "its body is not JSON") };
        if body["start"] != "-PT24H" {
            fault(id, "it does not show a day");
        }
        let widgets = elements(&body["widgets"]);
        let shown: BTreeSet<&str> = widgets
            .iter()
            .flat_map(|widget| elements(&widget["properties"]["alarms"]))
            .filter_map(|arn| arn.as_str()?.strip_prefix("${")?.strip_suffix(".Arn}"))
            .collect();
        let all: BTreeSet<&str> = template.of(ALARM).map(|(id, _)| id).collect();
        for missing in all.difference(&shown) {
            fault(id, &format!("it does not show {missing}"));
        }
        let parameters: BTreeSet<&str> = entries(&template.root["Parameters"]).map(|(name, _)| name).collect();
        for name in references(&json!({"Fn::Sub": body.to_string()})) {
            let is_generated = name == "ScoreFunctionSubmissions" || name.starts_with("AWS::");
            let is_known = !template.root["Resources"][name.as_str()].is_null() || parameters.contains(name.as_str());
            if !is_generated && !is_known {
                fault(id, &format!("there is no {name}"));
            }
        }
        let mut taken = BTreeSet::new();
        for widget in widgets {
            let side = |name: &str| widget[name].as_u64().unwrap_or_default();
            if side("x") + side("width") > 24 || !taken.insert((side("x"), side("y"))) {
                fault(id, "two of its parts are at one place, or one is too wide");
            }
        }
    }
}
