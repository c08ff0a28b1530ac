//! The bootstraps, unchanged, under AWS's own runtime interface emulator and with the embedded DynamoDB: their
//! results for the events of `tests/events`, whether they are in time, and the state after a kill.
#![allow(clippy::unwrap_used, reason = "the failure is the report")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use sam_local::{Cloud, Emulator, Flow, Invocation};
use serde_json::{Value, json};

/// The reserve of an API request: how long before the deadline it is answered.
const API_RESERVE: Duration = Duration::from_millis(250);
/// The reserve of a stream batch: how long before the deadline it returns.
const STREAM_RESERVE: Duration = Duration::from_millis(500);
/// The shortest timeout that leaves time for an answer: the emulator knows whole seconds only.
const SHORT: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn a_submission_is_stored_once_however_often_its_id_is_sent() {
    let cloud = cloud().await;
    let submit = function(&cloud, "SubmitFunction").await;

    let first = answer(&submit, &event("submit-post"), 202).await;
    assert_eq!(first["status"], "queued");
    assert_eq!(answer(&submit, &event("submit-post"), 200).await, first);

    let conflict = answer(&submit, &event("submit-post-conflict"), 409).await;
    assert_eq!(conflict["status"], 409);
    assert_eq!(conflict["correlationId"], "walk-through-1");

    let invalid = answer(&submit, &event("submit-post-invalid"), 422).await;
    let at: BTreeSet<_> =
        invalid["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(at, BTreeSet::from(["/answers/1", "/answers/2", "/answers/11"]));

    // The first entry of the batch is already stored, and the second is invalid.
    let batch = answer(&submit, &event("submit-post-batch"), 207).await;
    let statuses: Vec<_> = batch["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [200, 422]);

    assert_eq!(answer(&submit, &event("submit-get"), 200).await, first);

    let log = submit.log().unwrap();
    assert!(log.contains("walk-through-1"), "the lines carry the correlation id:\n{log}");
    for secret in ["P-001", "eyJ", "answers/", "diary 4.2.1"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_correction_is_stored_once_and_after_what_it_corrects() {
    let cloud = cloud().await;
    let submit = function(&cloud, "SubmitFunction").await;

    let early = answer(&submit, &event("submit-post-correction"), 409).await;
    assert_eq!(early["type"], "urn:epro:problem:original-missing");
    answer(&submit, &event("submit-post-fhir"), 202).await;
    let first = answer(&submit, &event("submit-post-correction"), 202).await;
    assert!(first["clock"]["skewSeconds"].as_i64().unwrap() < 0, "by its clock the device sent it in January: {first}");
    assert_eq!(answer(&submit, &event("submit-post-correction"), 200).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fhir_questionnaire_response_is_accepted_and_its_faults_are_returned_as_fhir() {
    let cloud = cloud().await;
    let submit = function(&cloud, "SubmitFunction").await;

    let questionnaire = answer(&submit, &event("submit-get-questionnaire"), 200).await;
    assert_eq!(questionnaire["url"], "urn:epro:questionnaire:phq-9");

    let first = answer(&submit, &event("submit-post-fhir"), 202).await;
    assert_eq!((&first["instrument"], &first["status"]), (&"phq-9".into(), &"queued".into()));
    assert_eq!(answer(&submit, &event("submit-post-fhir"), 200).await, first);

    let invalid = answer(&submit, &event("submit-post-fhir-invalid"), 422).await;
    let issues = invalid["issue"].as_array().unwrap();
    let at: BTreeSet<_> = issues.iter().filter_map(|issue| issue["expression"][0].as_str()).collect();
    assert_eq!(at, BTreeSet::from(["QuestionnaireResponse.item[2].answer[0]", "QuestionnaireResponse.status"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_of_a_site_is_counted() {
    let cloud = cloud().await;
    let counts = function(&cloud, "CountsFunction").await;

    answer(&counts, &event("counts-post-call"), 202).await;
    answer(&counts, &event("counts-post-call"), 202).await;

    let body = answer(&counts, &event("counts-get-site"), 200).await;
    assert_eq!(body["counts"][0]["site"], "S01");
    assert!(calls(&body, 0, 2), "{body}");
    // That request was a call of the site as well.
    let body = answer(&counts, &event("counts-get"), 200).await;
    assert!(calls(&body, 0, 3) && calls(&body, 1, 0), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_is_returned_in_the_callers_language_counted_and_cached() {
    let cloud = cloud().await;
    let instruments = function_within(&cloud, "InstrumentsFunction", SHORT).await;

    let listed = answer(&instruments, &event("instruments-get"), 200).await;
    let phq_9 = listed["instruments"].as_array().unwrap().iter().find(|one| one["id"] == "phq-9").unwrap().clone();
    let one = event("instruments-get-one");
    let given = invoked(&instruments, &one).await;
    let etag = format!("\"{}-zh-Hans\"", phq_9["hash"].as_str().unwrap());
    assert_eq!((&given["statusCode"], &given["headers"]["etag"]), (&json!(200), &json!(etag)));
    assert_eq!(given["headers"]["content-language"], "zh-Hans");

    let counts = function(&cloud, "CountsFunction").await;
    let body = answer(&counts, &event("counts-get-site"), 200).await;
    assert!(calls(&body, 0, 2), "{body}");

    // It can work without its store.
    cloud.store.set(Flow::NoAnswers);
    let mut again = one;
    again["headers"]["if-none-match"] = json!(etag);
    let invocation = instruments.invoke(&again).await.unwrap();
    assert_in_time(&invocation, API_RESERVE);
    let unchanged: Value = serde_json::from_str(&invocation.body).unwrap();
    assert_eq!(unchanged["statusCode"], 304);
    assert!(unchanged["body"].as_str().is_none_or(str::is_empty), "{unchanged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_rows_is_validated_row_by_row_and_needs_the_store_for_the_register_only() {
    let cloud = cloud().await;
    let validate = function_within(&cloud, "ValidateFunction", SHORT).await;

    // Values that no id and no time in the log has by chance.
    let mut rows = event("validate-post");
    let values = [("720", "98761234"), ("154.5", "154.51234")];
    for (value, unusual) in values {
        let body = rows["body"].as_str().unwrap();
        assert!(body.contains(value));
        rows["body"] = json!(body.replace(value, unusual));
    }
    let report = answer(&validate, &rows, 200).await;
    assert_eq!((&report["counts"]["clean"], &report["counts"]["rejected"]), (&json!(1), &json!(2)), "{report}");
    let found = |row: usize| -> Vec<&str> {
        report["rows"][row]["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|found| found["check"].as_str().unwrap())
            .collect()
    };
    assert_eq!(found(1), ["VSDTC.type", "systolic-possible"]);
    assert_eq!(found(2), ["unit-required", "known-site"]);
    answer(&validate, &event("validate-post-invalid"), 422).await;

    let log = validate.log().unwrap();
    assert!(log.contains(r#""service":"#), "the function logs: {log}");
    for secret in ["P-001", "P-002", "eyJ"].into_iter().chain(values.map(|(_, unusual)| unusual)) {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sites_patients_are_listed_with_an_audit_entry_and_a_stalled_store_is_reported_in_the_callers_language() {
    let cloud = cloud().await;
    let batch = event("score-stream");
    for record in batch["Records"].as_array().unwrap() {
        cloud.put(&record["dynamodb"]["NewImage"]).await.unwrap();
    }
    invoked(&function(&cloud, "ScoreFunction").await, &batch).await;
    let patients = function_within(&cloud, "PatientsFunction", SHORT).await;
    let audit = function(&cloud, "AuditFunction").await;

    let listed = answer(&patients, &event("patients-get"), 200).await;
    assert_eq!(listed["patients"].as_array().unwrap().len(), 2, "{listed}");
    assert!(listed["patients"][0]["openAlerts"].is_u64(), "{listed}");
    let entries = answer(&audit, &event("audit-get"), 200).await;
    let actions = entries["entries"].as_array().unwrap().iter().map(|entry| &entry["action"]);
    assert_eq!(actions.filter(|action| **action == "patients-read").count(), 1, "{entries}");

    cloud.store.set(Flow::NoAnswers);
    let mut chinese = event("patients-get");
    chinese["headers"]["accept-language"] = json!("zh-CN");
    let cut_off = patients.invoke(&chinese).await.unwrap();
    assert_in_time(&cut_off, API_RESERVE);
    assert_eq!(answered(&cut_off, 504)["detail"], "获取患者数据超时，请稍后重试");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_lost_by_the_stream_is_swept_and_its_alert_listed_and_acknowledged() {
    let cloud = cloud().await;
    for record in event("score-stream")["Records"].as_array().unwrap() {
        cloud.put(&record["dynamodb"]["NewImage"]).await.unwrap();
    }
    let sweep = function(&cloud, "SweepFunction").await;
    let swept = invoked(&sweep, &event("sweep-schedule")).await;
    assert_eq!((&swept["submissions"], &swept["finished"]), (&json!(4), &json!(true)), "{swept}");
    assert_eq!(cloud.inbox().await.unwrap().len(), 2);
    // The alarm's metric filter matches this field.
    let log = sweep.log().unwrap();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let swept = lines.iter().find(|line| line["event"] == "swept").unwrap();
    assert!(swept["oldest_pending_seconds"].as_u64().unwrap() > 0, "{swept}");
    for secret in ["P-00", "not as this version", "PATIENT#"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }

    let reconcile = function(&cloud, "ReconcileFunction").await;
    let reconciled = invoked(&reconcile, &event("reconcile-schedule")).await;
    // The fourth is the record that cannot be read.
    assert_eq!((&reconciled["submissions"], &reconciled["differences"]), (&json!(3), &json!(1)), "{reconciled}");
    assert_eq!(reconciled["finished"], true, "{reconciled}");

    let alerts = function_within(&cloud, "AlertsFunction", SHORT).await;
    let listed = answer(&alerts, &event("alerts-get"), 200).await;
    assert_eq!(listed["alerts"].as_array().unwrap().len(), 2, "{listed}");
    let waiting = answer(&alerts, &event("alerts-get-waiting"), 200).await;
    assert_eq!(waiting["alerts"], listed["alerts"], "both are critical, and the newest is the first");
    answer(&alerts, &event("alerts-snooze"), 409).await;
    cloud.store.set(Flow::NoAnswers);
    let cut_off = alerts.invoke(&event("alerts-acknowledge")).await.unwrap();
    assert_in_time(&cut_off, API_RESERVE);
    answered(&cut_off, 503);
    cloud.store.set(Flow::Open);
    let first = answer(&alerts, &event("alerts-acknowledge"), 200).await;
    assert_eq!(first["acknowledged"]["note"], "Called the patient; safe, comes in tomorrow.");
    assert_eq!(answer(&alerts, &event("alerts-acknowledge"), 200).await, first);
    assert_eq!(answer(&alerts, &event("alerts-get"), 200).await["alerts"].as_array().unwrap().len(), 1);
    for secret in ["P-00", "Called the patient", "eyJ"] {
        assert!(!alerts.log().unwrap().contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sites_report_is_a_pdf_in_base64_and_a_stalled_store_is_reported_with_the_step() {
    let cloud = cloud().await;
    let report = function_within(&cloud, "ReportFunction", SHORT).await;
    let made = invoked(&report, &event("report-get")).await;
    assert_eq!((&made["statusCode"], &made["isBase64Encoded"]), (&json!(200), &json!(true)), "{made}");
    assert_eq!(made["headers"]["content-type"], "application/pdf");
    // `%PDF-`, in base64.
    assert!(made["body"].as_str().unwrap().starts_with("JVBERi"), "{made}");

    cloud.store.set(Flow::NoAnswers);
    let cut_off = report.invoke(&event("report-get")).await.unwrap();
    assert_in_time(&cut_off, API_RESERVE);
    let problem = answered(&cut_off, 504);
    assert!(problem["detail"].as_str().unwrap().contains("the step "), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_store_is_reported_before_the_reserve_and_a_repeat_settles_it() {
    let cloud = cloud().await;
    let submit = function_within(&cloud, "SubmitFunction", SHORT).await;
    // The function has initialised and is connected: only the request's time is measured from here.
    answer(&submit, &event("submit-get"), 404).await;

    for stall in [Flow::NoRequests, Flow::NoAnswers] {
        cloud.store.set(stall);
        let cut_off = submit.invoke(&event("submit-post")).await.unwrap();
        assert_in_time(&cut_off, API_RESERVE);
        let problem = answered(&cut_off, 503);
        assert!(problem["detail"].as_str().unwrap().contains("same id"), "{problem}");
    }

    // Nothing is put before it is known whether the patient has withdrawn, which stalled too: the repeat is the first.
    cloud.store.set(Flow::Open);
    answer(&submit, &event("submit-post"), 202).await;
    answer(&submit, &event("submit-post"), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_refused_before_the_reserve_when_the_store_stalls() {
    let cloud = cloud().await;
    let counts = function_within(&cloud, "CountsFunction", SHORT).await;
    answer(&counts, &event("counts-get-site"), 200).await;

    cloud.store.set(Flow::NoAnswers);
    for event in [event("counts-get-site"), event("counts-post-call")] {
        let cut_off = counts.invoke(&event).await.unwrap();
        assert_in_time(&cut_off, API_RESERVE);
        answered(&cut_off, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_starts_and_answers_while_its_store_is_unreachable() {
    let cloud = cloud().await;
    cloud.store.set(Flow::NoRequests);
    let submit = function(&cloud, "SubmitFunction").await;

    // Requests that need no store are answered. Without the study nothing that it decides is accepted or refused.
    let mut no_json = event("submit-post-invalid");
    no_json["headers"]["content-type"] = "text/plain".into();
    answer(&submit, &no_json, 415).await;
    let problem = answer(&submit, &event("submit-post-invalid"), 503).await;
    assert_eq!(problem["type"], "urn:epro:problem:not-done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_function_is_killed_at_its_timeout_and_the_next_invocation_succeeds() {
    let cloud = cloud().await;
    let submit = function_within(&cloud, "SubmitFunction", SHORT).await;
    answer(&submit, &event("submit-post"), 202).await;

    submit.hang().unwrap();
    let killed = submit.invoke(&event("submit-post")).await.unwrap();
    assert!(killed.body.contains("Task timed out after 2.00 seconds"), "{}", killed.body);
    assert!(killed.took >= SHORT, "killed after {:?}", killed.took);

    answer(&submit, &event("submit-post"), 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_scored_counted_and_published_once_and_a_bad_record_affects_no_other() {
    let cloud = cloud().await;
    let batch = event("score-stream");
    let records = batch["Records"].as_array().unwrap();
    for record in records {
        cloud.put(&record["dynamodb"]["NewImage"]).await.unwrap();
    }
    let score = function(&cloud, "ScoreFunction").await;
    let counts = function(&cloud, "CountsFunction").await;

    for _delivery in 0..2 {
        assert_eq!(invoked(&score, &batch).await, json!({"batchItemFailures": []}));

        for (record, scored) in records.iter().zip([true, false, true, true]) {
            let item = cloud.item(&record["dynamodb"]["Keys"]).await.unwrap();
            assert_eq!(item.get("score").is_some(), scored, "{}", item["pk"]);
            assert_eq!(item.get("pending").is_none(), scored, "{}", item["pk"]);
        }
        // Two of the three answered that they think of being better off dead; one of them left items out.
        assert_eq!(cloud.inbox().await.unwrap().len(), 2);
        let body = answer(&counts, &event("counts-get"), 200).await;
        let figures = body["counts"].as_array().unwrap().iter();
        let figures: Vec<_> = figures.map(|site| (&site["site"], &site["submissions"], &site["alerts"])).collect();
        assert_eq!(figures, [(&json!("S01"), &json!(2), &json!(2)), (&json!("S02"), &json!(1), &json!(0))]);
    }

    // The alarm's metric filter matches this field.
    let log = score.log().unwrap();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert!(lines.filter(|line| line["event"] == "record_quarantined").count() >= 1, "{log}");
    for secret in ["P-00", "not as this version", "PATIENT#"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_runs_out_of_time_reports_before_the_reserve_what_is_left() {
    let batch = event("score-stream");
    let records = batch["Records"].as_array().unwrap();
    let number = |index: usize| records[index]["dynamodb"]["SequenceNumber"].as_str().unwrap();
    let left = |answer: &Value| -> Vec<String> {
        let failures = answer["batchItemFailures"].as_array().unwrap().iter();
        failures.map(|failure| failure["itemIdentifier"].as_str().unwrap().to_owned()).collect()
    };
    let cloud = cloud().await;
    for record in records {
        cloud.put(&record["dynamodb"]["NewImage"]).await.unwrap();
    }
    let score = function_within(&cloud, "ScoreFunction", SHORT).await;
    assert_eq!(invoked(&score, &json!({"Records": []})).await, json!({"batchItemFailures": []}));

    cloud.store.set(Flow::NoRequests);
    let cut_off = score.invoke(&batch).await.unwrap();
    assert_in_time(&cut_off, STREAM_RESERVE);
    let answer = serde_json::from_str(&cut_off.body).unwrap();
    assert_eq!(left(&answer), [number(0), number(1), number(2), number(3)]);

    // All are scored and counted without waiting for SNS; unpublished alerts are on the list of waiting records.
    cloud.store.set(Flow::Open);
    cloud.topic.set(Flow::NoRequests);
    let cut_off = score.invoke(&batch).await.unwrap();
    assert_in_time(&cut_off, STREAM_RESERVE);
    let answer = serde_json::from_str(&cut_off.body).unwrap();
    assert_eq!(left(&answer), Vec::<String>::new());
    assert_eq!(cloud.inbox().await.unwrap().len(), 0);

    // The next invocation that finds them publishes them.
    cloud.topic.set(Flow::Open);
    assert_eq!(invoked(&score, &batch).await, json!({"batchItemFailures": []}));
    assert_eq!(cloud.inbox().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_event_shows_what_submit_stores() {
    let cloud = cloud().await;
    let submit = function(&cloud, "SubmitFunction").await;
    answer(&submit, &event("submit-post"), 202).await;

    let shown = event("score-stream")["Records"][0]["dynamodb"].clone();
    let stored = cloud.item(&shown["Keys"]).await.unwrap();
    let shape = |item: &Value| -> BTreeMap<String, Vec<String>> {
        let kinds = |value: &Value| value.as_object().unwrap().keys().cloned().collect();
        item.as_object().unwrap().iter().map(|(name, value)| (name.clone(), kinds(value))).collect()
    };
    assert_eq!(shape(&stored), shape(&shown["NewImage"]));
    for same in [
        "pk",
        "sk",
        "kind",
        "id",
        "study",
        "site",
        "patient",
        "instrument",
        "answers",
        "authored_at",
        "effective_at",
        "digest",
        "pending",
    ] {
        assert_eq!(stored[same], shown["NewImage"][same], "{same}");
    }
}

async fn cloud() -> Cloud {
    Cloud::start(Ipv4Addr::LOCALHOST.into()).await.unwrap()
}

/// Starts the function's bootstrap under the emulator, with the template's own timeout.
async fn function(cloud: &Cloud, name: &str) -> Emulator {
    let timeout = cloud.function(name).unwrap().timeout;
    function_within(cloud, name, timeout).await
}

async fn function_within(cloud: &Cloud, name: &str, timeout: Duration) -> Emulator {
    let function = cloud.function(name).unwrap();
    let bootstraps = env::var_os("BOOTSTRAPS").map_or_else(|| Cloud::root().join("target/release"), PathBuf::from);
    Emulator::start(function, &bootstraps.join(&function.binary), timeout).await.unwrap()
}

/// The event `tests/events/<name>.json`.
fn event(name: &str) -> Value {
    let file = Cloud::root().join(format!("tests/events/{name}.json"));
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// The function's result for `event`.
async fn invoked(function: &Emulator, event: &Value) -> Value {
    let invocation = function.invoke(event).await.unwrap();
    serde_json::from_str(&invocation.body).unwrap()
}

/// The body of an API function's response to `event`, which must have `status`.
async fn answer(function: &Emulator, event: &Value, status: u16) -> Value {
    let invocation = function.invoke(event).await.unwrap();
    answered(&invocation, status)
}

fn answered(invocation: &Invocation, status: u16) -> Value {
    let answer: Value = serde_json::from_str(&invocation.body).unwrap();
    assert_eq!(answer["statusCode"], json!(status), "{answer}");
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

/// Whether `counts` has as many API calls for the site at `place` as `before`, with or without this request, which is
/// counted concurrently.
fn calls(counts: &Value, place: usize, before: u64) -> bool {
    counts["counts"][place]["apiCalls"].as_u64().is_some_and(|calls| calls == before || calls == before + 1)
}

/// Asserts that the result came before the `reserve` of a function with the timeout [`SHORT`].
fn assert_in_time(invocation: &Invocation, reserve: Duration) {
    // The emulator takes time of its own: half of the reserve is left for it, on a busy machine too.
    let latest = SHORT - reserve / 2;
    assert!(invocation.took <= latest, "answered after {:?}, not within {latest:?}", invocation.took);
}
