//! `submit` on a store that responds late, over the real SDK and on a paused clock.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use harness::{Fault, World, claims, request};
use lambda_http::Request;
use serde_json::json;
use submit::Submit;
use tokio::time::Instant;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(10);

fn post(instrument: &str, remaining: Duration) -> Request {
    let body = json!({
        "id": Uuid::now_v7().to_string(), "instrument": instrument, "version": "1.0.0",
        "authoredAt": "2026-11-23T07:58:03+08:00", "answers": {},
    });
    request("POST /v1/submissions", &[], "", Some(claims(&[])), Some(&body.to_string()), remaining)
}

/// The status of the answer, and the time that it took.
async fn send(submit: &Submit, request: Request) -> (u16, Duration) {
    let start = Instant::now();
    let response = submit.handle(request).await.unwrap();
    (response.status().as_u16(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_on_a_slow_store_stores_the_submission() {
    for millis in [600, 1_500, 3_000] {
        let world = World::new();
        world.put_study(json!({})).await;
        world.delay(Duration::from_millis(millis));
        let store = world.store();
        store.warm_up(&store.tables().records).await;
        let submit = Submit::new(store);
        let (status, took) = send(&submit, post("phq-9", PLENTY)).await;
        assert_eq!(status, 202, "{millis} ms late: {took:?}");
        assert_eq!(world.items("submission").len(), 1, "{millis} ms late");
        // The second request is warm: two responses of the store, and the grace of the count.
        let (status, took) = send(&submit, post("phq-9", PLENTY)).await;
        assert_eq!(status, 202, "{millis} ms late: {took:?}");
        assert!(took <= Duration::from_millis(2 * millis + 300), "{millis} ms late: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_response_costs_a_second() {
    for operation in ["GetItem RecordsTable", "PutItem RecordsTable"] {
        let world = World::new();
        world.put_study(json!({})).await;
        world.inject_into(operation, 1, Fault::Stall);
        let (status, took) = send(&Submit::new(world.store()), post("phq-9", PLENTY)).await;
        assert_eq!(status, 202, "{operation}");
        assert!(took <= Duration::from_millis(1_300), "{operation}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_request_waits_for_a_newer_version_of_a_cached_study() {
    let world = World::new();
    world.put_study(json!({})).await;
    let submit = Submit::new(world.store());
    assert_eq!(send(&submit, post("phq-9", PLENTY)).await.0, 202);
    world.put_study(json!({"version": "1.1.0", "instruments": [{"id": "gad-7", "version": "1.0.0"}]})).await;
    tokio::time::advance(Duration::from_secs(40)).await;
    let late = Duration::from_millis(600);
    world.delay(late);
    // Read alongside the registration and the put of a submission that the cached version accepted.
    let (status, took) = send(&submit, post("phq-9", PLENTY)).await;
    assert_eq!(status, 202);
    assert!(took <= 2 * late + Duration::from_millis(260), "{took:?}");
    // Both responses came in the same millisecond.
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(send(&submit, post("phq-9", PLENTY)).await.0, 422, "what was read meanwhile is in force");
    assert_eq!(send(&submit, post("gad-7", PLENTY)).await.0, 202);
}

#[tokio::test(start_paused = true)]
async fn a_study_cached_for_more_than_a_minute_is_waited_for_briefly_and_read_nevertheless() {
    let world = World::new();
    world.put_study(json!({})).await;
    let submit = Submit::new(world.store());
    assert_eq!(send(&submit, post("phq-9", PLENTY)).await.0, 202);
    world.put_study(json!({"version": "1.1.0", "instruments": [{"id": "gad-7", "version": "1.0.0"}]})).await;
    tokio::time::advance(Duration::from_secs(600)).await;
    let late = Duration::from_millis(600);
    world.delay(late);
    let (status, took) = send(&submit, post("phq-9", PLENTY)).await;
    assert_eq!(status, 202);
    assert!(took <= 2 * late + Duration::from_millis(560), "{took:?}");
    assert_eq!(send(&submit, post("gad-7", PLENTY)).await.0, 202, "a store that is always late is read all the same");
}
