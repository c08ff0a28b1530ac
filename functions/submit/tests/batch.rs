//! Batches of submissions, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use harness::{Fault, World, claims, request};
use invocation::Deadline;
use lambda_http::Body;
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(10);

fn submission() -> Value {
    json!({
        "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": "2026-11-01T07:58:03+08:00", "answers": {"1": 1, "9": 0},
    })
}

fn with(mut submission: Value, name: &str, value: Value) -> Value {
    submission[name] = value;
    submission
}

async fn send_within(world: &World, body: &str, remaining: Duration) -> (u16, Value) {
    let request = request("POST /v1/submissions/batch", &[], "", Some(claims(&[])), Some(body), remaining);
    let response = Submit::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

async fn send(world: &World, entries: &[Value]) -> Vec<Value> {
    let (status, body) = send_within(world, &json!(entries).to_string(), PLENTY).await;
    assert_eq!(status, 207, "{body}");
    body["results"].as_array().unwrap().clone()
}

fn statuses(results: &[Value]) -> Vec<u64> {
    results.iter().map(|result| result["status"].as_u64().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn promise_8_each_entry_is_accepted_as_if_it_came_alone_and_none_affects_another() {
    let world = World::new();
    let known = submission();
    assert_eq!(statuses(&send(&world, std::slice::from_ref(&known)).await), [202]);
    let entries = [
        submission(),
        with(submission(), "answers", json!({"1": 9})),
        known.clone(),
        with(known, "answers", json!({"1": 2})),
        json!("no submission"),
        with(submission(), "id", json!("7")),
        submission(),
    ];
    let results = send(&world, &entries).await;
    assert_eq!(statuses(&results), [202, 422, 200, 409, 422, 422, 202]);
    for (index, (entry, result)) in entries.iter().zip(&results).enumerate() {
        assert_eq!(result["index"], index);
        let accepted = result["status"].as_u64().unwrap() < 300;
        assert_eq!((result.get("receipt").is_some(), result.get("problem").is_some()), (accepted, !accepted));
        if accepted {
            assert_eq!((&result["receipt"]["id"], &result["id"]), (&entry["id"], &entry["id"]));
        } else {
            assert!(result["problem"]["correlationId"].is_string());
        }
    }
    assert_eq!(results[1]["problem"]["errors"][0]["pointer"], "/answers/1");
    assert_eq!(results[1]["id"], entries[1]["id"], "an invalid entry is identified by its own id");
    assert_eq!(world.items("submission").len(), 3);
    let (study, site) = ("DEMO".parse().unwrap(), "S01".parse().unwrap());
    let counts = world.store().site_counts(&study, &[site], Deadline::after(PLENTY)).await.unwrap();
    assert_eq!(counts[0].api_calls, 2, "a batch is one call");
}

#[tokio::test(start_paused = true)]
async fn a_repeated_key_is_a_finding_of_its_entry_alone() {
    let world = World::new();
    let twice = submission().to_string().replacen("\"9\":0", "\"9\":0,\"9\":1", 1);
    let body = format!("{{\"submissions\":[{twice},{}]}}", submission());
    let (_, body) = send_within(&world, &body, PLENTY).await;
    let results = body["results"].as_array().unwrap();
    assert_eq!(statuses(results), [422, 202]);
    assert_eq!(results[0]["problem"]["errors"][0]["code"], "json.duplicate-key");
}

#[tokio::test(start_paused = true)]
async fn promise_5_of_two_entries_of_one_id_the_first_is_stored() {
    for _ in 0..5 {
        let world = World::new();
        let first = submission();
        let other = with(first.clone(), "answers", json!({"1": 3}));
        let results = send(&world, &[first.clone(), submission(), first.clone(), other]).await;
        assert_eq!(statuses(&results), [202, 202, 200, 409]);
        assert_eq!(results[0]["receipt"], results[2]["receipt"]);
        assert_eq!(world.items("submission").len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_has_one_to_25_entries() {
    let world = World::new();
    let of = |n: usize| json!((0..n).map(|_| submission()).collect::<Vec<_>>()).to_string();
    for body in [of(0), of(26), "{}".to_owned(), "[".to_owned(), submission().to_string()] {
        assert_eq!(send_within(&world, &body, PLENTY).await.0, 422, "{}", &body[..body.len().min(40)]);
    }
    let large = json!([with(submission(), "device", json!({"app": "x".repeat(256 * 1024)}))]).to_string();
    assert_eq!(send_within(&world, &large, PLENTY).await.0, 413);
    assert!(world.items("submission").is_empty());
    assert_eq!(send_within(&world, &of(25), PLENTY).await.0, 207);
    assert_eq!(world.items("submission").len(), 25);
}

#[tokio::test(start_paused = true)]
async fn promises_6_and_7_entries_cut_off_by_the_deadline_are_reported_and_may_be_sent_again() {
    for remaining in [400, 1_000, 3_000] {
        for fault in [Fault::Stall, Fault::ApplyAndStall] {
            let world = World::new();
            let applied = matches!(fault, Fault::ApplyAndStall);
            let entries: Vec<Value> = (0..25).map(|_| submission()).collect();
            world.inject_into("PutItem RecordsTable", usize::MAX, fault);
            let (start, time) = (Instant::now(), Duration::from_millis(remaining));
            let (status, body) = send_within(&world, &json!(entries).to_string(), time).await;
            assert!(start.elapsed() <= Duration::from_millis(remaining - 250), "{:?}", start.elapsed());
            let results = body["results"].as_array().unwrap();
            assert_eq!((status, results.len()), (207, 25));
            let count = |kind: &str| {
                let kind = format!("urn:epro:problem:{kind}");
                results.iter().filter(|result| result["status"] == 503 && result["problem"]["type"] == kind).count()
            };
            let (unknown, not_done) = (count("outcome-unknown"), count("not-done"));
            assert_eq!(unknown + not_done, 25);
            // Entries are stored one after the other: those after one that stalls are not started.
            assert!(unknown >= 1 && not_done > 0, "{unknown} {not_done}");

            world.heal();
            let stored = world.items("submission").len();
            assert_eq!(stored > 0, applied);
            let again = statuses(&send(&world, &entries).await);
            assert_eq!(again.iter().filter(|status| **status == 200).count(), stored);
            assert!(again.iter().all(|status| [200, 202].contains(status)));
            assert_eq!(world.items("submission").len(), 25);
        }
    }
    // Without time left, nothing is done.
    let world = World::new();
    let body = json!([submission()]).to_string();
    assert_eq!(send_within(&world, &body, Duration::from_millis(100)).await.0, 503);
    assert!(world.items("submission").is_empty());
}

/// A submission that was completed on `day` of November.
fn on(day: u8) -> Value {
    with(submission(), "authoredAt", json!(format!("2026-11-{day:02}T08:00:00Z")))
}

fn correction(of: &Value, day: u8) -> Value {
    with(with(on(day), "amends", of["id"].clone()), "reason", json!("wrong week"))
}

/// The ids of the stored submissions, in the order of their puts.
fn order(world: &World) -> Vec<Value> {
    world.stream().iter().map(|record| record["dynamodb"]["NewImage"]["id"]["S"].clone()).collect()
}

fn ids(entries: &[&Value]) -> Vec<Value> {
    entries.iter().map(|entry| entry["id"].clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn entries_are_stored_one_after_the_other_in_the_order_of_effective_time() {
    let world = World::new();
    // The ids do not determine the order: a phone may create them when it sends.
    let days: Vec<Value> = [5, 2, 9, 1, 7, 3, 8, 4, 6].map(on).into();
    assert_eq!(statuses(&send(&world, &days).await), [202; 9]);
    let mut by_time: Vec<&Value> = days.iter().collect();
    by_time.sort_by_key(|entry| entry["authoredAt"].as_str().unwrap().to_owned());
    assert_eq!(order(&world), ids(&by_time));
    // The effective time counts, and not that of a wrong clock.
    let world = World::new();
    let reset = with(with(on(4), "authoredAt", json!("2010-01-01T00:00:00Z")), "sentAt", json!("2010-01-01T01:00:00Z"));
    let entries = [reset.clone(), on(1)];
    send(&world, &entries).await;
    assert_eq!(order(&world), ids(&[&entries[1], &reset]));
}

#[tokio::test(start_paused = true)]
async fn an_original_is_stored_before_its_correction_in_any_order() {
    let original = on(5);
    let first = correction(&original, 3);
    let second = correction(&first, 1);
    let other = on(4);
    let chain = [&original, &first, &second, &other];
    for permutation in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 2, 0]] {
        let world = World::new();
        let entries: Vec<Value> = permutation.map(|place| chain[place].clone()).into();
        assert_eq!(statuses(&send(&world, &entries).await), [202; 4], "{permutation:?}");
        assert_eq!(order(&world), ids(&[&other, &original, &first, &second]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_correction_without_its_original_is_refused_as_if_it_came_alone() {
    let world = World::new();
    let broken = with(on(1), "answers", json!({"1": 9}));
    let absent = on(2);
    let (one, other) = (on(3), on(4));
    let each_other = [
        with(with(one.clone(), "amends", other["id"].clone()), "reason", json!("r")),
        with(with(other, "amends", one["id"].clone()), "reason", json!("r")),
    ];
    let entries =
        [correction(&broken, 5), broken, correction(&absent, 6), each_other[0].clone(), each_other[1].clone(), on(7)];
    let results = send(&world, &entries).await;
    assert_eq!(statuses(&results), [409, 422, 409, 409, 409, 202]);
    for place in [0, 2, 3, 4] {
        assert_eq!(results[place]["problem"]["type"], "urn:epro:problem:original-missing");
    }
    assert_eq!(order(&world), ids(&[&entries[5]]));
    // The outcome of the original is not known: its correction finds it, or is to be sent again.
    let (original, world) = (on(1), World::new());
    world.inject_into("PutItem RecordsTable", 4, Fault::internal());
    let entries = [correction(&original, 2), original];
    assert_eq!(statuses(&send(&world, &entries).await), [409, 503]);
    assert_eq!(statuses(&send(&world, &entries).await), [202, 202]);
}
