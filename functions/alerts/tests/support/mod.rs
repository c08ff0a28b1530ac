//! Alerts raised by submissions, for the tests of this function.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alerts::Alerts;
use api::Handler;
use harness::{World, claims, request};
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use submit::Submit;
use uuid::Uuid;

pub(crate) const PLENTY: Duration = Duration::from_secs(60);
pub(crate) const UNSAFE: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 1];
pub(crate) const CLINICIAN: [(&str, &str); 3] = [("role", "clinician"), ("patient", ""), ("sub", "dr-chen")];

/// Sends a PHQ-9 of `patient` at `site`.
pub(crate) async fn send(world: &World, site: &str, patient: &str, codes: [u8; 9]) {
    let answers: BTreeMap<String, u8> =
        (1..).zip(codes).map(|(item, code): (u8, u8)| (item.to_string(), code)).collect();
    let body = json!({
        "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": "2026-11-01T08:00:00Z", "answers": answers,
    });
    let claims = claims(&[("sites", site), ("patient", patient)]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
    next_millisecond().await;
}

/// Scores the whole stream, and returns the number of records that failed.
pub(crate) async fn score(world: &World, remaining: Duration) -> usize {
    world.score(&world.stream(), remaining).await
}

/// Raises and publishes an alert of P-1 at S01, and returns its id.
pub(crate) async fn raised(world: &World) -> String {
    send(world, "S01", "P-1", UNSAFE).await;
    assert_eq!(score(world, PLENTY).await, 0);
    alert_id(&world.items("alert")[0])
}

pub(crate) fn alert_id(row: &Value) -> String {
    row["alert_id"].as_str().unwrap().to_owned()
}

/// The status and the body of the answer to `request`.
pub(crate) async fn answer(world: &World, request: Request) -> (u16, Value) {
    let response = Alerts::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

/// Waits until the next submission is received in another millisecond, since ids of alerts are in the order of these.
async fn next_millisecond() {
    let millisecond = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let received = millisecond();
    while millisecond() == received {
        tokio::task::yield_now().await;
    }
}
