//! DynamoDB lets a reader of several items see a transaction half applied: one item new, another as it was.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use api::Handler;
use harness::{Call, Fault, Path, World, claims, request};
use invocation::Deadline;
use serde_json::{Value, json};
use submit::Submit;
use time::macros::datetime;
use tokio::time::sleep;
use uuid::Uuid;
use verification::{Settings, verify};

const PLENTY: Duration = Duration::from_secs(60);
const HEALTHY: u8 = 0;
/// No evaluation can read a patient's records.
const NO_EVALUATION: u8 = 1;
/// A transaction with a score is half visible for a second, and what an evaluation writes arrives after two.
const HALF_VISIBLE: u8 = 2;

fn pain() -> String {
    json!({
        "id": "pain", "version": "1.0.0", "title": {"en": "Pain"},
        "licence": {"terms": "Public domain", "texts": "included"}, "sources": ["A test"],
        "items": [{"id": "1", "type": "integer", "min": 0, "max": 10, "text": {"en": "Pain?"}}],
        "scores": [{"id": "total", "value": "1", "range": [0, 10]}],
        "rules": [
            {"id": "jump", "severity": "warning", "when": {"change": {"of": "total", "against": "previous", "worse": "higher", "by": 5}}},
        ],
    })
    .to_string()
}

/// Submits a diary of `day`, and returns its record in the stream.
async fn submit(world: &World, day: u8, pain: u8) -> Value {
    let body = json!({
        "id": Uuid::from_u128(day.into()).to_string(), "instrument": "pain", "version": "1.0.0",
        "authoredAt": format!("2025-11-{day:02}T08:00:00Z"), "answers": {"1": pain},
    });
    let claims = claims(&[("sites", "S01"), ("patient", "P-1")]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    let Ok(answer) = Submit::new(world.closed_store()).handle(request).await;
    assert_eq!(answer.status().as_u16(), 202);
    world.stream().pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_that_sees_half_of_a_transaction_leaves_nothing_out() {
    let world = World::new();
    let weather = Arc::new(AtomicU8::new(HEALTHY));
    let current = Arc::clone(&weather);
    world.connect(move |call: &Call| {
        let body = call.body.to_string();
        let transaction = call.name() == "TransactWriteItems";
        match current.load(Ordering::SeqCst) {
            NO_EVALUATION if call.name() == "Query" => Path { fault: Some(Fault::Cut), ..Path::default() },
            // The first write is that of the submission.
            HALF_VISIBLE if transaction && body.contains("\":score\"") => {
                Path { half_visible: Some((Duration::from_secs(1), 1)), ..Path::default() }
            }
            HALF_VISIBLE if transaction && body.contains("PROFILE") => {
                Path { there: Duration::from_secs(2), ..Path::default() }
            }
            _ => Path::default(),
        }
    });
    world.put_instrument(&pain()).await;
    world.put_study(json!({"instruments": [{"id": "pain", "version": "1.0.0"}]})).await;

    assert_eq!(world.score(&[submit(&world, 10, 1).await], PLENTY).await, 0);
    // A late one, whose course is still to be evaluated again.
    weather.store(NO_EVALUATION, Ordering::SeqCst);
    world.score(&[submit(&world, 2, 1).await], Duration::from_secs(5)).await;
    // Another late one, with a jump, is scored while a sweep evaluates the course.
    weather.store(HEALTHY, Ordering::SeqCst);
    let jump = submit(&world, 4, 9).await;
    weather.store(HALF_VISIBLE, Ordering::SeqCst);
    let sweep = async {
        sleep(Duration::from_millis(100)).await;
        let (study, patient) = ("DEMO".parse().unwrap(), "P-1".parse().unwrap());
        let store = world.store();
        let done = store.reevaluate(&study, &patient, datetime!(2025-11-20 08:00 UTC), Deadline::after(PLENTY));
        assert!(done.await.failure.is_none());
    };
    let records = [jump];
    let (not_done, ()) = tokio::join!(world.score(&records, PLENTY), sweep);
    assert_eq!(not_done, 0);
    assert!(world.conflicts().old_items > 0, "nothing was seen half applied");

    weather.store(HEALTHY, Ordering::SeqCst);
    let alerts = world.items("alert");
    let rules: Vec<&str> = alerts.iter().filter_map(|alert| alert["rule"].as_str()).collect();
    assert_eq!(rules, ["jump"]);
    let now = datetime!(2025-11-20 08:00 UTC);
    let report = verify(&world.store(), Settings::default(), now, Deadline::after(PLENTY), |_| ()).await.unwrap();
    assert_eq!(report.differences.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
}
