//! Scores that a FHIR client computed itself: compared, shown to staff, and otherwise without effect.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use harness::{World, claims, request, stream_event};
use lambda_http::Body;
use score::Score;
use serde_json::{Value, json};
use submit::Submit;

const ID: &str = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e";
const PLENTY: Duration = Duration::from_secs(10);

/// The score, as staff see it, of a GAD-7 with `codes` for which the client claims `total`.
async fn seen(codes: &[u8], total: Value) -> Value {
    let world = World::new();
    let answers = codes
        .iter()
        .zip(1..)
        .map(|(code, item): (&u8, u8)| json!({"linkId": item.to_string(), "answer": [{"valueInteger": code}]}));
    let items: Vec<Value> = answers.chain([json!({"linkId": "total", "answer": [total]})]).collect();
    let body = json!({
        "resourceType": "QuestionnaireResponse", "identifier": {"value": ID}, "status": "completed",
        "questionnaire": "urn:epro:questionnaire:gad-7|1.0.0", "authored": "2026-11-01T08:00:00Z", "item": items,
    });
    let route = "POST /v1/fhir/QuestionnaireResponse";
    let post = request(route, &[], "", Some(claims(&[])), Some(&body.to_string()), PLENTY);
    let submit = Submit::new(world.store());
    assert_eq!(submit.handle(post).await.unwrap().status(), 202);
    let done = Score::new(world.store(), world.topic()).handle(stream_event(&world.stream(), PLENTY)).await.unwrap();
    assert!(done.batch_item_failures.is_empty());
    let staff = claims(&[("role", "staff"), ("patient", "")]);
    let get = request("GET /v1/submissions/{id}", &[("id", ID)], "patient=P-001", Some(staff), None, PLENTY);
    let response = submit.handle(get).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    serde_json::from_str::<Value>(text).unwrap()["score"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_claimed_total_that_differs_is_shown_and_does_not_change_the_score() {
    let score = seen(&[1, 1, 1, 1, 1, 1, 1], json!({"valueDecimal": 9.5})).await;
    assert_eq!(score["scores"], json!([{"id": "total", "value": 7, "range": [0, 21], "band": "mild"}]));
    assert_eq!(score["claimedDiffers"], json!([{"id": "total", "claimed": 9.5}]));
}

#[tokio::test(start_paused = true)]
async fn a_claimed_total_that_agrees_is_not_shown() {
    let score = seen(&[1, 1, 1, 1, 1, 1, 1], json!({"valueDecimal": 7.0})).await;
    assert_eq!((&score["scores"][0]["value"], &score["claimedDiffers"]), (&json!(7), &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_claimed_total_of_too_few_answers_differs_from_no_score() {
    let score = seen(&[3, 3, 3], json!({"valueInteger": 9})).await;
    assert_eq!((&score["scores"], &score["notScored"][0]["id"]), (&json!([]), &json!("total")));
    assert_eq!(score["claimedDiffers"], json!([{"id": "total", "claimed": 9}]));
}
