//! `counts` for site staff and services, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use counts::Counts;
use harness::{Fault, World, claims, request};
use invocation::Deadline;
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use tokio::time::Instant;

const PLENTY: Duration = Duration::from_secs(10);
const STAFF: [(&str, &str); 3] = [("role", "staff"), ("patient", ""), ("sites", "S01 S02")];
const SERVICE: [(&str, &str); 3] = [("role", "service"), ("patient", ""), ("sites", "S01 S02")];

fn get_all(caller: &[(&str, &str)], remaining: Duration) -> Request {
    request("GET /v1/sites/counts", &[], "", Some(claims(caller)), None, remaining)
}

fn get_one(caller: &[(&str, &str)], site: &str, remaining: Duration) -> Request {
    request("GET /v1/sites/{site}/counts", &[("site", site)], "", Some(claims(caller)), None, remaining)
}

fn post_call(caller: &[(&str, &str)], site: &str, remaining: Duration) -> Request {
    request("POST /v1/sites/{site}/calls", &[("site", site)], "", Some(claims(caller)), None, remaining)
}

async fn send(world: &World, request: Request) -> (u16, Value) {
    let response = Counts::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

fn nothing(site: &str, api_calls: u64) -> Value {
    json!({"site": site, "apiCalls": api_calls, "submissions": 0, "alerts": 0, "byInstrument": {}})
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_site_and_each_request_once() {
    let world = World::new();
    for n in 0..30 {
        let site = if n % 3 == 0 { "S02" } else { "S01" };
        assert_eq!(send(&world, post_call(&SERVICE, site, PLENTY)).await.0, 202);
    }
    // A request is counted alongside its work: here its call is not in its own answer.
    let (status, body) = send(&world, get_all(&STAFF, PLENTY)).await;
    assert_eq!((status, body), (200, json!({"counts": [nothing("S01", 20), nothing("S02", 10)]})));
    let (status, body) = send(&world, get_one(&STAFF, "S02", PLENTY)).await;
    assert_eq!((status, body), (200, json!({"counts": [nothing("S02", 11)]})), "each request is one call");
    assert_eq!(send(&world, get_one(&STAFF, "S02", PLENTY)).await.1["counts"][0]["apiCalls"], 12);
}

#[tokio::test(start_paused = true)]
async fn counts_of_many_sites_are_complete_if_the_store_answers_in_parts() {
    let world = World::new();
    let names: Vec<String> = (0..12).map(|n| format!("S{n:02}")).collect();
    let caller = [("role", "staff"), ("patient", ""), ("sites", &names.join(" "))];
    let service = [("role", "service"), ("patient", ""), ("sites", &names.join(" "))];
    for name in &names {
        send(&world, post_call(&service, name, PLENTY)).await;
    }
    // The store leaves all keys of a call unprocessed, twice.
    let mut left = 2;
    world.inject(move |call| {
        let keys = call.body.get("RequestItems").filter(|_| call.name() == "BatchGetItem" && left > 0)?;
        left -= 1;
        Some(Fault::Answer(200, json!({"Responses": {}, "UnprocessedKeys": keys})))
    });
    let (_, body) = send(&world, get_all(&caller, PLENTY)).await;
    let counts = body["counts"].as_array().unwrap();
    assert_eq!(counts.len(), names.len());
    for (name, counts) in names.iter().zip(counts) {
        // The request's own call may be in its answer.
        assert!([1, 2].map(|calls| nothing(name, calls)).contains(counts), "{counts}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_count_without_one_of_its_shards_is_never_returned() {
    let world = World::new();
    world.inject(|call| {
        let keys = call.body.get("RequestItems").filter(|_| call.name() == "BatchGetItem")?;
        Some(Fault::Answer(200, json!({"Responses": {}, "UnprocessedKeys": keys})))
    });
    let (status, problem) = send(&world, get_all(&STAFF, Duration::from_secs(2))).await;
    assert_eq!((status, &problem["type"]), (503, &json!("urn:epro:problem:not-done")));
}

#[tokio::test(start_paused = true)]
async fn promise_9_counts_are_for_the_sites_own_staff_and_calls_for_services() {
    let world = World::new();
    let patient = [("role", "patient")];
    let refusals = [
        (get_all(&patient, PLENTY), 403),
        (get_all(&[("role", "clinician")], PLENTY), 403),
        (get_all(&[("role", "staff"), ("scope", "counts:write")], PLENTY), 403),
        (get_one(&STAFF, "S03", PLENTY), 404),
        (get_one(&STAFF, "S01 S02", PLENTY), 404),
        (post_call(&SERVICE, "S03", PLENTY), 404),
        (post_call(&STAFF, "S01", PLENTY), 403),
        (post_call(&[("role", "service"), ("scope", "counts:read")], "S01", PLENTY), 403),
        (post_call(&[("role", "service"), ("token_use", "id")], "S01", PLENTY), 401),
        (request("GET /v1/sites/counts", &[], "", None, None, PLENTY), 401),
        (request("GET /v1/elsewhere", &[], "", Some(claims(&STAFF)), None, PLENTY), 404),
    ];
    for (request, expected) in refusals {
        let route = request.uri().to_string();
        assert_eq!(send(&world, request).await.0, expected, "{route}");
    }
    assert_eq!(world.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn another_study_of_the_same_site_names_has_counts_of_its_own() {
    let world = World::new();
    send(&world, post_call(&SERVICE, "S01", PLENTY)).await;
    let other = [("role", "staff"), ("patient", ""), ("study", "OTHER")];
    send(&world, get_one(&other, "S01", PLENTY)).await;
    assert_eq!(
        send(&world, get_one(&other, "S01", PLENTY)).await.1,
        json!({"counts": [nothing("S01", 1)]}),
        "its own calls only"
    );
}

const COUNT: &str = "TransactWriteItems SiteCountsTable";

async fn api_calls(world: &World) -> u64 {
    let (study, sites) = ("DEMO".parse().unwrap(), ["S01".parse().unwrap()]);
    world.store().site_counts(&study, &sites, Deadline::after(PLENTY)).await.unwrap()[0].api_calls
}

#[tokio::test(start_paused = true)]
async fn a_call_is_counted_once_and_one_that_may_have_been_counted_is_answered_as_such() {
    for (fault, times, expected) in [
        (Fault::throttle(), 2, (202, 1)),
        (Fault::conflict(1, 0), 2, (202, 1)),
        (Fault::error("TransactionInProgressException"), 2, (202, 1)),
        (Fault::internal(), 2, (202, 1)),
        (Fault::Cut, 2, (202, 1)),
        (Fault::ApplyAndCut, 2, (202, 1)),
        (Fault::ApplyAndStall, 2, (202, 1)),
        (Fault::Stall, 2, (202, 1)),
        (Fault::throttle(), usize::MAX, (503, 0)),
        (Fault::ApplyAndCut, usize::MAX, (503, 1)),
        (Fault::ApplyAndStall, usize::MAX, (503, 1)),
        (Fault::internal(), usize::MAX, (503, 0)),
    ] {
        let world = World::new();
        world.inject_into(COUNT, times, fault.clone());
        let (status, _) = send(&world, post_call(&SERVICE, "S01", PLENTY)).await;
        world.heal();
        assert_eq!((status, api_calls(&world).await), expected, "{times} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_recorded_again_under_its_idempotency_key_is_counted_once() {
    let world = World::new();
    let post = |key: &'static str| {
        let mut request = post_call(&SERVICE, "S01", PLENTY);
        request.headers_mut().insert("idempotency-key", key.parse().unwrap());
        request
    };
    world.inject_into(COUNT, usize::MAX, Fault::ApplyAndCut);
    let (status, problem) = send(&world, post("one")).await;
    assert_eq!((status, &problem["type"]), (503, &json!("urn:epro:problem:outcome-unknown")));
    world.heal();
    for _ in 0..2 {
        assert_eq!(send(&world, post("one")).await.0, 202);
    }
    assert_eq!(api_calls(&world).await, 1);
    assert_eq!(send(&world, post("two")).await.0, 202);
    assert_eq!(api_calls(&world).await, 2);
    assert_eq!(send(&world, post("")).await.0, 422);
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
        for stalled in ["BatchGetItem SiteCountsTable", "TransactWriteItems SiteCountsTable", ""] {
            let world = World::new();
            world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
            let (time, most) = (Duration::from_millis(remaining), Duration::from_millis(remaining.saturating_sub(250)));
            let enough = remaining > 250;
            // Each request is built when it is sent, because its deadline is by the wall clock, which runs.
            let requests: [(&dyn Fn() -> Request, _, _); 3] = [
                (&|| get_all(&STAFF, time), 200, stalled.starts_with("BatchGetItem")),
                (&|| get_one(&STAFF, "S01", time), 200, stalled.starts_with("BatchGetItem")),
                (&|| post_call(&SERVICE, "S01", time), 202, stalled.starts_with("TransactWriteItems")),
            ];
            for (request, status, stalls) in requests {
                let request = request();
                let route = request.uri().to_string();
                let start = Instant::now();
                let answer = send(&world, request).await;
                assert!(start.elapsed() <= most, "{remaining} {stalled} {route}: {:?}", start.elapsed());
                let expected = if enough && !stalls { status } else { 503 };
                assert_eq!(answer.0, expected, "{remaining} {stalled} {route}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_not_stored_has_no_counts_and_records_none_unless_the_deployment_is_open() {
    let world = World::new();
    let requests = || [post_call(&SERVICE, "S01", PLENTY), get_one(&STAFF, "S01", PLENTY), get_all(&STAFF, PLENTY)];
    for request in requests() {
        let response = Counts::new(world.closed_store()).handle(request).await.unwrap();
        assert_eq!(response.status(), 403);
    }
    world.put_study(json!({})).await;
    for request in requests() {
        assert!(Counts::new(world.closed_store()).handle(request).await.unwrap().status().is_success());
    }
}
