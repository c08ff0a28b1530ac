//! Alerts as clinicians see them: published, escalated, listed and acknowledged, by the functions' own binaries.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use end_to_end::{Cloud, phq_9, together, until};
use serde_json::{Value, json};

const UNSAFE: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 1];
/// With these options each run of the sweep escalates the alerts that nobody has acknowledged.
const AT_ONCE: [&str; 4] = ["--logs", "--memory", "--parameter", "EscalationMinutes=0"];

async fn clinician(cloud: &Cloud, sub: &str) -> String {
    cloud.token(json!({"role": "clinician", "study": "DEMO", "sites": "S01", "sub": sub})).await
}

/// Invokes the schedule of the sweep now, and returns the answer of the function.
async fn sweep(cloud: &Cloud) -> Value {
    let answer = cloud.post("/local/schedules/sweep", None, &json!({})).await;
    assert_eq!((answer.status, &answer.body["invocations"][0]["outcome"]), (200, &json!("answered")), "{answer:?}");
    answer.body["invocations"][0]["answer"].clone()
}

/// The steps of escalation in the inbox, in order; 0 is the first message.
async fn steps(cloud: &Cloud) -> Vec<u64> {
    let inbox = cloud.inbox("S01").await;
    inbox.iter().rev().map(|message| message["body"]["escalation"].as_u64().unwrap_or(0)).collect()
}

#[tokio::test]
async fn an_alert_is_published_again_until_somebody_acknowledges_it() {
    let (cloud, _data) = Cloud::fresh(&AT_ONCE).await;
    let (patient, chen) = (cloud.patient("S01", "P-SECRET").await, clinician(&cloud, "dr-chen").await);
    assert_eq!(cloud.submit(&patient, &phq_9(UNSAFE)).await.status, 202);
    let list = async |query: &str| cloud.get(&format!("/v1/sites/S01/alerts?{query}"), Some(&chen)).await.body;
    let sent = async || Some(list("status=sent").await["alerts"][0].clone()).filter(Value::is_object);
    let alert = until("the alert", sent).await;
    assert_eq!((&alert["patient"], &alert["severity"]), (&json!("P-SECRET"), &json!("critical")));

    for step in 1..=2 {
        assert_eq!(sweep(&cloud).await["escalated"], 1);
        let received =
            until("the next message", async || Some(steps(&cloud).await).filter(|received| received.len() > step))
                .await;
        assert_eq!(received, (0..=step as u64).collect::<Vec<_>>());
    }
    let message = cloud.inbox("S01").await[0].clone();
    assert_eq!((&message["attributes"]["escalation"], &message["body"]["escalation"]), (&json!("2"), &json!(2)));
    assert!(!message.to_string().contains("P-SECRET"));

    let path = format!("/v1/alerts/{}/acknowledge", alert["alertId"].as_str().unwrap());
    let body = json!({"note": "called, SECRET-NOTE"});
    let first = cloud.post(&path, Some(&chen), &body).await;
    assert_eq!((first.status, &first.body["acknowledged"]["by"]), (200, &json!("dr-chen")));
    let later = cloud.post(&path, Some(&clinician(&cloud, "dr-weber").await), &json!({})).await;
    assert_eq!((later.status, &later.body), (200, &first.body), "a later acknowledgement returns the first");

    for _ in 0..2 {
        assert_eq!(sweep(&cloud).await["escalated"], 0);
    }
    assert_eq!(steps(&cloud).await, [0, 1, 2]);
    assert_eq!(list("status=open").await["alerts"], json!([]));
    let listed = list("status=acknowledged").await["alerts"][0].clone();
    assert_eq!((&listed["acknowledged"], &listed["escalation"]), (&first.body["acknowledged"], &json!(2)));
    for secret in ["P-SECRET", "SECRET-NOTE", chen.as_str()] {
        assert!(!cloud.log().contains(secret), "promise 10: {secret} in the logs");
    }
}

#[tokio::test]
async fn fifty_acknowledgements_at_once_are_one() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    assert_eq!(cloud.submit(&cloud.patient("S01", "P-1").await, &phq_9(UNSAFE)).await.status, 202);
    let message = until("the alert", async || cloud.inbox("S01").await.pop()).await;
    // An alert can be acknowledged as soon as it is published.
    let path = format!("/v1/alerts/{}/acknowledge", message["body"]["alertId"].as_str().unwrap());
    let tokens = together((0..50).map(async |n| clinician(&cloud, &format!("dr-{n}")).await)).await;
    let body = json!({});
    let answers = together(tokens.iter().map(|token| cloud.post(&path, Some(token), &body))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.body == answers[0].body), "{answers:?}");
}

#[tokio::test]
async fn promise_9_alerts_are_for_the_clinicians_of_the_site_only() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    let patient = cloud.patient("S01", "P-1").await;
    assert_eq!(cloud.submit(&patient, &phq_9(UNSAFE)).await.status, 202);
    let message = until("the alert", async || cloud.inbox("S01").await.pop()).await;
    let path = format!("/v1/alerts/{}/acknowledge", message["body"]["alertId"].as_str().unwrap());
    let token = async |role: &str, sites: &str, study: &str| {
        cloud.token(json!({"role": role, "study": study, "sites": sites, "sub": "x", "patient": "P-1"})).await
    };
    for (token, list, acknowledge) in [
        (patient.clone(), 403, 403),
        (token("staff", "S01", "DEMO").await, 403, 403),
        (token("service", "S01", "DEMO").await, 403, 403),
        (token("clinician", "S02", "DEMO").await, 404, 404),
        (token("clinician", "S01", "OTHER").await, 200, 404),
        ("no token".to_owned(), 401, 401),
    ] {
        let listed = cloud.get("/v1/sites/S01/alerts", Some(&token)).await;
        assert_eq!((listed.status, cloud.post(&path, Some(&token), &json!({})).await.status), (list, acknowledge));
    }
    assert_eq!(cloud.post("/local/schedules/score", None, &json!({})).await.status, 404, "it has no schedule");
}
