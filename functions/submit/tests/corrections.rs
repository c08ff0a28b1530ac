//! Corrections of submissions, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use harness::{Fault, World, claims, request};
use lambda_http::{Body, Response};
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(10);
const TRANSACTION: &str = "TransactWriteItems";

fn submission() -> Value {
    json!({
        "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": "2026-11-01T07:58:03+08:00", "answers": {"1": 1, "9": 0},
    })
}

fn correction(of: &Value) -> Value {
    let mut correction = submission();
    correction["authoredAt"] = json!("2026-11-03T07:58:03+08:00");
    correction["amends"] = of["id"].clone();
    correction["reason"] = json!("wrong week");
    correction
}

async fn send_as(world: &World, token: &[(&str, &str)], body: &Value) -> (u16, Value, Response<Body>) {
    let request = request("POST /v1/submissions", &[], "", Some(claims(token)), Some(&body.to_string()), PLENTY);
    let response = Submit::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap(), response)
}

async fn send(world: &World, body: &Value) -> (u16, Value) {
    let (status, answer, _) = send_as(world, &[], body).await;
    (status, answer)
}

fn stored(world: &World, body: &Value) -> Value {
    world.items("submission").into_iter().find(|item| item["id"] == body["id"]).unwrap()
}

fn is_refused(answer: &(u16, Value), status: u16, code: &str) -> bool {
    let error = &answer.1["errors"][0];
    answer.0 == status && (&error["pointer"], &error["code"]) == (&json!("/amends"), &json!(code))
}

/// A world with `bodies` stored, sent one after the other.
async fn world_with(bodies: &[&Value]) -> World {
    let world = World::new();
    for body in bodies {
        assert_eq!(send(&world, body).await.0, 202);
    }
    world
}

#[tokio::test(start_paused = true)]
async fn a_correction_marks_its_original_and_takes_its_place_in_the_course() {
    let original = submission();
    let first = correction(&original);
    let second = correction(&first);
    let world = world_with(&[&original, &first, &second]).await;
    assert_eq!(stored(&world, &original)["amended_by"], first["id"]);
    assert_eq!(stored(&world, &first)["amended_by"], second["id"]);
    assert_eq!(stored(&world, &second).get("amended_by"), None);
    let place = json!({"at": "2026-10-31T23:58:03.000000000Z", "id": original["id"]});
    for (correction, of) in [(&first, &original), (&second, &first)] {
        let stored = stored(&world, correction);
        assert_eq!((&stored["amends"], &stored["reason"]), (&of["id"], &json!("wrong week")));
        assert_eq!(stored["place"], place, "the place of the first of the chain");
        assert_eq!(stored["effective_at"], "2026-11-02T23:58:03.000000000Z");
    }
    assert_eq!(stored(&world, &original)["answers"], original["answers"], "what was sent first stays");
    assert_eq!(world.stream().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_audit_names_an_accepted_correction_once_and_a_refused_one_never() {
    let (original, other) = (submission(), submission());
    let accepted = correction(&original);
    let world = world_with(&[&original, &other, &accepted]).await;
    assert_eq!(send(&world, &accepted).await.0, 200);
    let mut changed = accepted.clone();
    changed["reason"] = json!("another");
    assert_eq!(send(&world, &changed).await.0, 409);
    assert_eq!(send(&world, &correction(&original)).await.0, 409);
    assert_eq!(send(&world, &correction(&submission())).await.0, 409);
    let audit = world.items("audit");
    let [of, by] = [&original, &accepted].map(|submission| submission["id"].as_str().unwrap());
    assert_eq!(audit.len(), 1);
    assert_eq!(audit[0]["subject"], format!("{of} by {by}"));
    assert_eq!((&audit[0]["action"], &audit[0]["site"]), (&json!("submission-amended"), &json!("S01")));
    assert!(!audit[0].to_string().contains("wrong week"));
}

#[tokio::test(start_paused = true)]
async fn a_correction_before_its_original_is_to_be_sent_again_after_it() {
    let world = World::new();
    let original = submission();
    let correction = correction(&original);
    let (status, problem, response) = send_as(&world, &[], &correction).await;
    assert_eq!((status, &problem["type"]), (409, &json!("urn:epro:problem:original-missing")));
    assert_eq!(problem["errors"][0]["code"], "amends.not-stored");
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(problem["detail"].as_str().unwrap().contains("send the original first"));
    assert!(world.items("submission").is_empty() && world.items("audit").is_empty());
    assert_eq!(send(&world, &original).await.0, 202);
    assert_eq!(send(&world, &correction).await.0, 202);
}

#[tokio::test(start_paused = true)]
async fn a_correction_may_be_of_another_version_and_not_of_another_instrument() {
    let original = submission();
    let world = world_with(&[&original]).await;
    let mut other = correction(&original);
    other["instrument"] = json!("gad-7");
    other["answers"] = json!({});
    let refused = send(&world, &other).await;
    assert!(is_refused(&refused, 422, "amends.other-instrument"), "{refused:?}");

    let shipped = clinical::instruments::Catalog::shipped();
    let phq_9 = shipped.find(&"phq-9".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    world.put_instrument(&phq_9.json().replacen("\"version\":\"1.0.0\"", "\"version\":\"1.9.0\"", 1)).await;
    let versions = json!([{"id": "phq-9", "version": "1.0.0"}, {"id": "phq-9", "version": "1.9.0"}]);
    world.put_study(json!({"instruments": versions})).await;
    let mut newer = correction(&original);
    newer["version"] = json!("1.9.0");
    assert_eq!(send(&world, &newer).await.0, 202);
    assert_eq!(stored(&world, &original)["amended_by"], newer["id"]);
}

#[tokio::test(start_paused = true)]
async fn a_second_correction_must_amend_the_last_of_the_chain() {
    let original = submission();
    let first = correction(&original);
    let second = correction(&first);
    let world = world_with(&[&original, &first, &second]).await;
    for of in [&original, &first] {
        let (status, problem) = send(&world, &correction(of)).await;
        assert_eq!((status, &problem["type"]), (409, &json!("urn:epro:problem:already-amended")));
        assert_eq!(problem["errors"][0]["code"], "amends.amended");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains(second["id"].as_str().unwrap()), "it names the last link: {detail}");
    }
    assert_eq!(send(&world, &correction(&second)).await.0, 202);
    assert_eq!(world.items("submission").len(), 4);
}

#[tokio::test(start_paused = true)]
async fn two_submissions_cannot_correct_each_other() {
    let other = submission();
    let one = correction(&other);
    let mut back = other.clone();
    back["amends"] = one["id"].clone();
    back["reason"] = json!("wrong week");
    let world = World::new();
    assert_eq!(send(&world, &one).await.0, 409);
    assert_eq!(send(&world, &back).await.0, 409);
    assert_eq!(send(&world, &other).await.0, 202);
    assert_eq!(send(&world, &one).await.0, 202);
    let conflict = send(&world, &back).await;
    assert_eq!((conflict.0, &conflict.1["type"]), (409, &json!("urn:epro:problem:submission-conflict")));
}

#[tokio::test(start_paused = true)]
async fn promise_5_a_repeated_correction_gets_its_receipt_even_if_its_original_was_corrected_since() {
    let original = submission();
    let first = correction(&original);
    let world = world_with(&[&original]).await;
    let (_, receipt) = send(&world, &first).await;
    assert_eq!(send(&world, &first).await, (200, receipt.clone()));
    assert_eq!(send(&world, &correction(&first)).await.0, 202);
    assert_eq!(send(&world, &first).await, (200, receipt.clone()));
    // Even if the original is marked with another correction.
    world.tamper_one(&stored(&world, &original), "amended_by", &Uuid::now_v7().to_string());
    assert_eq!(send(&world, &first).await, (200, receipt));
    let mut changed = first.clone();
    changed["answers"] = json!({"1": 2});
    let (status, problem) = send(&world, &changed).await;
    assert_eq!((status, &problem["type"]), (409, &json!("urn:epro:problem:submission-conflict")));
}

#[tokio::test(start_paused = true)]
async fn of_two_devices_that_correct_at_once_one_wins_and_the_other_is_refused() {
    let original = submission();
    let world = world_with(&[&original]).await;
    let (one, other) = (correction(&original), correction(&original));
    let (first, second) = futures::join!(send(&world, &one), send(&world, &other));
    let [won, lost] = if first.0 == 202 { [first, second] } else { [second, first] };
    assert_eq!(won.0, 202);
    assert!(is_refused(&lost, 409, "amends.amended"), "{lost:?}");
    assert_eq!(stored(&world, &original)["amended_by"], won.1["id"]);
    assert_eq!((world.items("submission").len(), world.items("audit").len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_correction_that_conflicts_with_the_scoring_of_its_original_is_retried() {
    let original = submission();
    for at in 0..3 {
        let world = world_with(&[&original]).await;
        world.inject_into(TRANSACTION, 3, Fault::conflict(3, at));
        let began = Instant::now();
        assert_eq!(send(&world, &correction(&original)).await.0, 202, "{at}");
        assert!(began.elapsed() > Duration::from_millis(40), "it waits before it tries again: {:?}", began.elapsed());
    }
    let world = world_with(&[&original]).await;
    world.inject_into(TRANSACTION, 1, Fault::error("TransactionInProgressException"));
    assert_eq!(send(&world, &correction(&original)).await.0, 202);
    // An attempt was applied without an answer; of the conditions that another one meets, DynamoDB reports one only.
    let world = world_with(&[&original]).await;
    let applied = correction(&original);
    let mut attempts = 0;
    world.inject(move |call| {
        attempts += usize::from(call.operation == TRANSACTION);
        match attempts {
            1 => Some(Fault::ApplyAndFail),
            2 => Some(Fault::error("TransactionInProgressException")),
            3 => Some(Fault::cancelled_by(3, 2, "ConditionalCheckFailed")),
            _ => None,
        }
    });
    assert_eq!(send(&world, &applied).await.0, 202);
    assert_eq!((world.items("submission").len(), world.items("audit").len()), (2, 1));
    // The wait is bounded.
    let world = world_with(&[&original]).await;
    let correction = correction(&original);
    world.inject_into(TRANSACTION, usize::MAX, Fault::conflict(3, 1));
    assert_eq!(send(&world, &correction).await.0, 503);
    world.heal();
    assert_eq!(send(&world, &correction).await.0, 202);
}

#[tokio::test(start_paused = true)]
async fn promise_7_a_correction_whose_answer_is_lost_is_stored_once_and_its_repeat_settles_it() {
    let original = submission();
    for fault in [Fault::ApplyAndCut, Fault::ApplyTwice, Fault::ApplyAndStall, Fault::Cut, Fault::internal()] {
        let world = world_with(&[&original]).await;
        let correction = correction(&original);
        world.inject_into(TRANSACTION, 1, fault.clone());
        assert_eq!(send(&world, &correction).await.0, 202, "{fault:?}");
        assert_eq!(send(&world, &correction).await.0, 200, "{fault:?}");
        assert_eq!(stored(&world, &original)["amended_by"], correction["id"]);
        assert_eq!(world.items("audit").len(), 1);
    }
    for (fault, then) in [(Fault::ApplyAndStall, 200), (Fault::Stall, 202)] {
        let world = world_with(&[&original]).await;
        let correction = correction(&original);
        world.inject_into(TRANSACTION, usize::MAX, fault.clone());
        let (status, problem) = send(&world, &correction).await;
        assert_eq!((status, &problem["type"]), (503, &json!("urn:epro:problem:outcome-unknown")), "{fault:?}");
        world.heal();
        assert_eq!(send(&world, &correction).await.0, then, "{fault:?}");
        assert_eq!((world.items("submission").len(), world.items("audit").len()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_correction_stores_nothing_if_its_original_cannot_be_read() {
    let original = submission();
    let world = world_with(&[&original]).await;
    world.inject(|call| {
        let names = call.body["ProjectionExpression"].as_str().unwrap_or_default();
        names.contains("amended_by").then_some(Fault::Stall)
    });
    let (status, problem) = send(&world, &correction(&original)).await;
    assert_eq!((status, &problem["type"]), (503, &json!("urn:epro:problem:not-done")));
    assert_eq!(world.count_calls(TRANSACTION), 0);
}

#[tokio::test(start_paused = true)]
async fn another_patients_submission_is_not_corrected_and_nothing_of_it_is_returned() {
    let original = submission();
    let world = World::new();
    let other = [("patient", "P-002")];
    assert_eq!(send_as(&world, &other, &original).await.0, 202);
    // The other patient is one of the site's once a submission was scored.
    let profile = [
        ("sk", "PROFILE"),
        ("kind", "profile"),
        ("site_key", "SITE#DEMO#S01"),
        ("site_sort", "PATIENT#P-002"),
        ("patient", "P-002"),
    ];
    let correction = correction(&original);
    assert!(is_refused(&send(&world, &correction).await, 409, "amends.not-stored"));
    world.copy(&stored(&world, &original), &profile);
    let refused = send(&world, &correction).await;
    assert!(is_refused(&refused, 422, "amends.not-yours"), "{refused:?}");
    assert!(!refused.1.to_string().contains("P-002"));
    assert_eq!(stored(&world, &original).get("amended_by"), None);
    assert!(world.items("audit").is_empty());
    // Whether it is another patient's cannot be read now, so the app is to repeat it.
    world.inject_into("Query RecordsTable", usize::MAX, Fault::Stall);
    assert!(is_refused(&send(&world, &correction).await, 409, "amends.not-stored"));
    world.heal();
    let not_of_this_study = [("study", "OTHER")];
    let (status, problem, _) = send_as(&world, &not_of_this_study, &correction).await;
    assert!(is_refused(&(status, problem), 409, "amends.not-stored"));
}

#[tokio::test(start_paused = true)]
async fn corrections_and_originals_refer_to_each_other_and_only_staff_see_the_reason() {
    let original = submission();
    let first = correction(&original);
    let second = correction(&first);
    let world = world_with(&[&original, &first, &second]).await;
    let get = async |body: &Value, token: &[(&str, &str)]| {
        let id = body["id"].as_str().unwrap();
        let route = "GET /v1/submissions/{id}";
        let request = request(route, &[("id", id)], "patient=P-001", Some(claims(token)), None, PLENTY);
        let response = Submit::new(world.store()).handle(request).await.unwrap();
        let Body::Text(text) = response.body() else { panic!("answers are text") };
        let state: Value = serde_json::from_str(text).unwrap();
        ["corrected", "correctedBy", "amends", "reason"].map(|name| state[name].clone())
    };
    let staff = [("role", "staff"), ("patient", "")];
    let reason = json!("wrong week");
    for (token, reason) in [(&[][..], &Value::Null), (&staff[..], &reason)] {
        let (corrected, null) = (json!(true), Value::Null);
        let id = |body: &Value| body["id"].clone();
        assert_eq!(get(&original, token).await, [corrected.clone(), id(&first), null.clone(), null.clone()]);
        assert_eq!(get(&first, token).await, [corrected, id(&second), id(&original), reason.clone()]);
        assert_eq!(get(&second, token).await, [null.clone(), null, id(&first), reason.clone()]);
    }
}
