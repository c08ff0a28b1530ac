//! Submission, score, alert and counts as an app, site staff and a clinician see them, with the functions' own binaries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeSet;
use std::time::Duration;

use end_to_end::{Cloud, phq_9, together, until};
use serde_json::{Value, json};
use tokio::time::Instant;

const CALM: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 0];
const UNSAFE: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 1];

/// The submission `id` of `patient` once it is scored.
async fn scored(cloud: &Cloud, staff: &str, patient: &str, id: &Value) -> Value {
    let path = format!("/v1/submissions/{}?patient={patient}", id.as_str().unwrap());
    until("scored", async || Some(cloud.get(&path, Some(staff)).await.body).filter(|body| body["status"] == "scored"))
        .await
}

#[tokio::test]
async fn a_submission_is_scored_and_counted_and_its_alert_delivered_within_two_seconds() {
    let (cloud, _data) = Cloud::fresh(&["--logs"]).await;
    let (patient, staff) = (cloud.patient("S01", "P-SECRET-1").await, cloud.staff("S01").await);
    let submission = phq_9(UNSAFE);
    let path = format!("/v1/submissions/{}", submission["id"].as_str().unwrap());

    let sent = Instant::now();
    let first = cloud.submit(&patient, &submission).await;
    assert_eq!((first.status, first.location.as_deref()), (202, Some(path.as_str())));
    assert!(first.correlation_id.is_some());
    let message = until("the alert", async || cloud.inbox("S01").await.pop()).await;
    assert!(sent.elapsed() < Duration::from_secs(2), "it took {:?}", sent.elapsed());

    assert_eq!(message["subject"], "ePRO alert: critical at S01");
    let body = &message["body"];
    let names: BTreeSet<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = ["alertId", "link", "raisedAt", "rule", "severity", "site", "study", "submissionId"];
    assert_eq!(names, expected.into());
    for secret in ["phq", "P-SECRET-1", "answers", "score", "mild"] {
        assert!(!message.to_string().contains(secret), "{secret} in {message}");
    }

    let again = cloud.submit(&patient, &submission).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let mut other = submission.clone();
    other["answers"]["9"] = json!(0);
    assert_eq!(cloud.submit(&patient, &other).await.status, 409);

    let seen = scored(&cloud, &staff, "P-SECRET-1", &submission["id"]).await;
    assert_eq!(seen["score"]["scores"], json!([{"id": "total", "value": 6, "range": [0, 27], "band": "mild"}]));
    assert_eq!(seen["score"]["alerts"], json!([body["alertId"]]));
    let own = cloud.get(&path, Some(&patient)).await;
    assert_eq!((&own.body["status"], &own.body["score"]), (&json!("scored"), &Value::Null), "no score for the patient");

    let counts = cloud.counts(&staff, "S01").await;
    assert_eq!((&counts["submissions"], &counts["alerts"]), (&json!(1), &json!(1)));
    assert_eq!(counts["byInstrument"], json!({"phq-9": 1}));
    assert_eq!(cloud.get("/local/failures", None).await.body["failures"], json!([]));

    let log = cloud.log();
    assert!(log.contains("answered"), "function logs were asked for: {log}");
    for secret in ["P-SECRET-1", patient.as_str(), staff.as_str(), "\"answers\"", "\"9\":", "mild", "\"value\""] {
        assert!(!log.contains(secret), "promise 10: {secret} in the logs");
    }
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(&line[line.find('{')?..]).ok());
    let (reports, events): (Vec<Value>, Vec<Value>) = lines.partition(|line| line["_aws"].is_object());
    for line in events.iter().filter(|line| line["event"] == "answered" || line["event"] == "batch_processed") {
        for key in ["level", "message", "timestamp", "service", "function_name", "function_arn", "function_request_id"]
        {
            assert!(line[key].as_str().is_some_and(|text| !text.is_empty()), "{key} of {line}");
        }
        assert!(line["cold_start"].is_boolean() && line["function_memory_size"] == 256, "{line}");
        assert!(line["xray_trace_id"].as_str().is_some_and(|id| id.starts_with("1-")), "{line}");
    }
    let id = first.correlation_id.unwrap();
    for (service, event) in
        [("submit", "submission_received"), ("score", "submission_settled"), ("score", "alert_published")]
    {
        let found = events.iter().find(|line| line["event"] == event && line["correlation_id"] == id.as_str());
        assert_eq!(found.map(|line| &line["service"]), Some(&json!(service)), "{event} of {id} in {log}");
    }
    assert_eq!(message["attributes"]["correlationId"], id.as_str(), "{message}");
    // Metrics of the function itself, which no test inside one process writes.
    for (name, service) in [("RemainingMilliseconds", "submit"), ("RemainingMilliseconds", "score")] {
        let found = reports.iter().find(|line| line[name].is_number() && line["service"] == service);
        let found = found.unwrap_or_else(|| panic!("{name} of {service} is not in {log}"));
        assert_eq!(found["_aws"]["CloudWatchMetrics"][0]["Dimensions"], json!([[], ["service"]]));
    }
    for name in ["SubmissionsAccepted", "SubmissionsRepeated", "SubmissionsScored", "AlertsRaised", "AlertsPublished"] {
        assert!(reports.iter().any(|line| line[name] == 1), "{name} is not in {log}");
    }
}

#[tokio::test]
async fn an_official_fhir_example_goes_in_and_comes_out_scored() {
    let (cloud, _data) = Cloud::fresh(&[]).await;
    let (patient, staff) = (cloud.patient("S01", "P-1").await, cloud.staff("S01").await);
    let questionnaire = cloud.get("/v1/fhir/Questionnaire/phq-9?lang=zh-Hans", Some(&patient)).await;
    assert_eq!((questionnaire.status, &questionnaire.body["language"]), (200, &json!("zh-Hans")));

    // It states a total of 13 where its answers give 10.
    let example = include_str!("../../../shared/clinical/tests/fhir/sdc-phq-9.json");
    let mut example: Value = serde_json::from_str(example).unwrap();
    let refused = cloud.post("/v1/fhir/QuestionnaireResponse", Some(&patient), &example).await;
    assert_eq!((refused.status, &refused.body["resourceType"]), (422, &json!("OperationOutcome")));
    assert_eq!(refused.body["issue"][1]["expression"], json!(["QuestionnaireResponse.id"]));

    let id = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e";
    example["identifier"] = json!({"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{id}")});
    let taken = cloud.post("/v1/fhir/QuestionnaireResponse", Some(&patient), &example).await;
    assert_eq!((taken.status, taken.location), (202, Some(format!("/v1/submissions/{id}"))));
    let seen = scored(&cloud, &staff, "P-1", &json!(id)).await;
    assert_eq!(seen["score"]["scores"], json!([{"id": "total", "value": 10, "range": [0, 27], "band": "moderate"}]));
    assert_eq!(seen["score"]["claimedDiffers"], json!([{"id": "total", "claimed": 13}]));
    assert_eq!(until("the alert", async || cloud.inbox("S01").await.pop()).await["body"]["severity"], "critical");
}

#[tokio::test]
async fn promise_5_fifty_of_the_same_at_once_are_one() {
    let (cloud, _data) = Cloud::fresh(&[]).await;
    let (patient, staff) = (cloud.patient("S01", "P-001").await, cloud.staff("S01").await);
    let submission = phq_9(UNSAFE);
    let answers = together((0..50).map(|_| cloud.submit(&patient, &submission))).await;
    let first_times = answers.iter().filter(|answer| answer.status == 202).count();
    let repeats = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!((first_times, repeats), (1, 49));
    assert!(answers.iter().all(|answer| answer.body == answers[0].body), "50 equal receipts");

    scored(&cloud, &staff, "P-001", &submission["id"]).await;
    until("the alert", async || cloud.inbox("S01").await.pop()).await;
    let counts = cloud.counts(&staff, "S01").await;
    assert_eq!((&counts["submissions"], &counts["alerts"]), (&json!(1), &json!(1)));
    let alerts: BTreeSet<String> =
        cloud.inbox("S01").await.iter().map(|message| message["body"]["alertId"].to_string()).collect();
    assert_eq!(alerts.len(), 1);
}

#[tokio::test]
async fn promise_3_two_hundred_concurrent_submissions_count_exactly_two_hundred() {
    let (cloud, _data) = Cloud::fresh(&[]).await;
    let staff = cloud.staff("S01").await;
    let patients = together((0..20).map(async |n| cloud.patient("S01", &format!("P-{n:03}")).await)).await;
    let answers = together((0..200).map(async |n| {
        let codes = if n % 10 == 0 { UNSAFE } else { CALM };
        cloud.submit(&patients[n % patients.len()], &phq_9(codes)).await.status
    }))
    .await;
    assert_eq!(answers, vec![202; 200]);
    let counts = until("all are scored", async || {
        Some(cloud.counts(&staff, "S01").await).filter(|counts| counts["submissions"].as_u64() >= Some(200))
    })
    .await;
    assert_eq!((&counts["submissions"], &counts["alerts"]), (&json!(200), &json!(20)));
    assert_eq!(counts["byInstrument"], json!({"phq-9": 200}));
    let alerts = async || -> BTreeSet<String> {
        cloud.inbox("S01").await.iter().map(|message| message["body"]["alertId"].to_string()).collect()
    };
    let reached = until("every alert", async || Some(alerts().await).filter(|alerts| alerts.len() >= 20)).await;
    assert_eq!(reached.len(), 20);
    let calls = cloud.counts(&staff, "S01").await["apiCalls"].as_u64().unwrap();
    assert!(calls >= 200, "{calls} API calls");
}

#[tokio::test]
async fn promise_3_killing_score_repeatedly_changes_no_result() {
    let (cloud, _data) = Cloud::fresh(&[]).await;
    let (patient, staff) = (cloud.patient("S01", "P-001").await, cloud.staff("S01").await);
    let mut killed = 0;
    let mut counts = Value::Null;
    let mut sent = 0;
    until("all are scored", async || {
        if sent < 60 {
            let codes = if sent % 2 == 0 { UNSAFE } else { CALM };
            assert_eq!(cloud.submit(&patient, &phq_9(codes)).await.status, 202);
            sent += 1;
        }
        if killed < 15 {
            killed += cloud.kill_environments("score").await;
        }
        counts = cloud.counts(&staff, "S01").await;
        Some(()).filter(|()| sent == 60 && counts["submissions"].as_u64() >= Some(60))
    })
    .await;
    assert!(killed >= 10, "only {killed} processes were killed");
    assert_eq!((&counts["submissions"], &counts["alerts"]), (&json!(60), &json!(30)));
    let alerts = async || -> BTreeSet<String> {
        cloud.inbox("S01").await.iter().map(|message| message["body"]["alertId"].to_string()).collect()
    };
    let reached = until("every alert", async || Some(alerts().await).filter(|alerts| alerts.len() >= 30)).await;
    assert_eq!(reached.len(), 30);
    assert_eq!(cloud.get("/local/failures", None).await.body["failures"], json!([]));
}

#[tokio::test]
async fn promise_1_submissions_accepted_before_a_crash_are_scored_after_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(data.path(), &[]).await.unwrap();
    let patient = cloud.patient("S01", "P-001").await;
    let submissions: Vec<Value> = (0..10).map(|_| phq_9(UNSAFE)).collect();
    let answers = together(submissions.iter().map(|submission| cloud.submit(&patient, submission))).await;
    cloud.kill().await;
    assert!(answers.iter().all(|answer| answer.status == 202));

    let cloud = Cloud::start(data.path(), &[]).await.unwrap();
    let staff = cloud.staff("S01").await;
    for submission in &submissions {
        scored(&cloud, &staff, "P-001", &submission["id"]).await;
    }
    let counts = cloud.counts(&staff, "S01").await;
    assert_eq!((&counts["submissions"], &counts["alerts"]), (&json!(10), &json!(10)));
    let patient = cloud.patient("S01", "P-001").await;
    let repeat = cloud.submit(&patient, &submissions[0]).await;
    assert_eq!((repeat.status, &repeat.body), (200, &answers[0].body), "the receipt from before the crash");
}

#[tokio::test]
async fn promise_9_only_a_valid_token_of_its_patient_reads_a_submission() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    let own = cloud.patient("S01", "P-001").await;
    let submission = phq_9(CALM);
    assert_eq!(cloud.submit(&own, &submission).await.status, 202);
    let path = format!("/v1/submissions/{}", submission["id"].as_str().unwrap());

    let claims = |changes: Value| {
        let mut claims = json!({"role": "patient", "study": "DEMO", "sites": "S01", "patient": "P-001"});
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let cases = [
        (json!({}), 200),
        (json!({"patient": "P-002"}), 404),
        (json!({"study": "OTHER"}), 404),
        (json!({"expiresIn": -10}), 401),
        (json!({"tokenUse": "id"}), 401),
        (json!({"scope": "counts:read"}), 403),
        (json!({"scope": ""}), 403),
        (json!({"role": "clinician", "scope": "submissions:read"}), 403),
    ];
    for (changes, expected) in cases {
        let token = cloud.token(claims(changes.clone())).await;
        let answer = cloud.get(&path, Some(&token)).await;
        assert_eq!(answer.status, expected, "{changes}");
        assert!(answer.correlation_id.is_some(), "{changes}");
    }

    let (elsewhere, _more_data) = Cloud::fresh(&["--memory"]).await;
    let other_key = elsewhere.patient("S01", "P-001").await;
    let parts: Vec<&str> = own.split('.').collect();
    let unsigned = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let stolen_signature = format!("{}.{}.{}", parts[0], other_key.split('.').nth(1).unwrap(), parts[2]);
    for token in [None, Some("x"), Some(unsigned.as_str()), Some(other_key.as_str()), Some(stolen_signature.as_str())] {
        assert_eq!(cloud.get(&path, token).await.status, 401);
    }
}

#[tokio::test]
async fn a_data_folder_in_use_and_a_port_in_use_are_reported() {
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(data.path(), &[]).await.unwrap();
    let second = Cloud::start(data.path(), &[]).await.err().expect("two clouds cannot share their data");
    assert!(second.message.contains("another local cloud uses the data folder"), "{}", second.message);
    let port = cloud.address().rsplit(':').next().unwrap();
    let third = Cloud::start(&data.path().join("other"), &["--port", port]).await.err().expect("the port is in use");
    assert!(third.message.contains(port) && third.message.contains("--port"), "{}", third.message);
    assert!(second.code != Some(0) && third.code != Some(0));
}
