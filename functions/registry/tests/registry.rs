//! The registry, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use futures::future::join_all;
use harness::{Fault, World, claims, context, request};
use lambda_http::{Body, Request, RequestExt};
use registry::Registry;
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;

const PLENTY: Duration = Duration::from_secs(10);
const STAFF: [(&str, &str); 2] = [("role", "staff"), ("patient", "")];
const STAFF_OF_S02: [(&str, &str); 3] = [("role", "staff"), ("patient", ""), ("sites", "S02")];
const MANAGER: [(&str, &str); 3] = [("role", "data-manager"), ("patient", ""), ("sites", "")];
const MONITOR: [(&str, &str); 2] = [("role", "monitor"), ("patient", "")];

fn of(method: &str, part: &str, caller: &[(&str, &str)], parameters: &[(&str, &str)], body: &Value) -> Request {
    let route = format!("{method} /v1/patients/{{patient}}{part}");
    let body = (!body.is_null()).then(|| body.to_string());
    request(&route, parameters, "", Some(claims(caller)), body.as_deref(), PLENTY)
}

fn get(caller: &[(&str, &str)], patient: &str) -> Request {
    of("GET", "", caller, &[("patient", patient)], &Value::Null)
}

fn put(caller: &[(&str, &str)], patient: &str, body: Value) -> Request {
    of("PUT", "", caller, &[("patient", patient)], &body)
}

fn transfer(caller: &[(&str, &str)], patient: &str, to: &str) -> Request {
    of("POST", "/transfer", caller, &[("patient", patient)], &json!({"site": to, "reason": "moved"}))
}

fn withdraw(caller: &[(&str, &str)], patient: &str, mode: &str) -> Request {
    let body = json!({"mode": mode, "requestedBy": "patient", "reason": "no time"});
    of("POST", "/withdrawal", caller, &[("patient", patient)], &body)
}

fn event(patient: &str, event: &str, body: Value) -> Request {
    of("PUT", "/events/{event}", &STAFF, &[("patient", patient), ("event", event)], &body)
}

async fn within(world: &World, mut request: Request, remaining: Duration) -> (u16, Value) {
    request = request.with_lambda_context(context(remaining));
    send(world, request).await
}

async fn send(world: &World, request: Request) -> (u16, Value) {
    let response = Registry::new(world.store()).handle(request).await.unwrap();
    let Body::Text(body) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(body).unwrap())
}

/// The fields at fault in an answer.
fn at_fault(answer: &Value) -> Vec<&str> {
    answer["errors"].as_array().into_iter().flatten().map(|error| error["pointer"].as_str().unwrap()).collect()
}

fn actions(world: &World) -> Vec<(String, String)> {
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    let mut entries: Vec<_> =
        world.items("audit").iter().map(|entry| (text(entry, "action"), text(entry, "site"))).collect();
    entries.sort();
    entries
}

fn submission(id: u8, authored_at: &str) -> Value {
    let answers = json!({"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 0, "10": 0});
    json!({
        "id": format!("0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d{id:02x}"), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": authored_at, "answers": answers,
    })
}

async fn submit(world: &World, body: &Value) -> (u16, Value) {
    let request = request("POST /v1/submissions", &[], "", Some(claims(&[])), Some(&body.to_string()), PLENTY);
    let response = Submit::new(world.store()).handle(request).await.unwrap();
    let Body::Text(body) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(body).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_enrolment_is_stored_once_with_its_audit_entry_and_a_repeat_changes_nothing() {
    let world = World::new();
    let body = json!({"site": "S01", "enrolledOn": "2026-11-01", "timeZone": "Asia/Shanghai", "group": "women"});
    let (status, enrolled) = send(&world, put(&STAFF, "P-7", body.clone())).await;
    let expected = json!({
        "patient": "P-7", "site": "S01", "enrolledOn": "2026-11-01", "registered": true, "timeZone": "Asia/Shanghai",
        "group": "women",
    });
    assert_eq!((status, &enrolled), (201, &expected));
    assert_eq!(send(&world, put(&STAFF, "P-7", body)).await, (200, expected.clone()));
    // What is left out stays.
    assert_eq!(send(&world, put(&STAFF, "P-7", json!({"site": "S01"}))).await, (200, expected.clone()));
    assert_eq!(actions(&world), [("patient-enrolled".to_owned(), "S01".to_owned())]);
    assert_eq!(send(&world, get(&STAFF, "P-7")).await, (200, expected.clone()));
    assert_eq!(send(&world, get(&MONITOR, "P-7")).await, (200, expected));
    assert_eq!((world.items("registration").len(), world.items("site-entry").len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_change_needs_a_reason_which_is_in_the_audit() {
    let world = World::new();
    send(&world, put(&STAFF, "P-7", json!({"enrolledOn": "2026-11-01", "language": "en"}))).await;
    let (status, refused) = send(&world, put(&STAFF, "P-7", json!({"enrolledOn": "2026-11-02"}))).await;
    assert_eq!((status, at_fault(&refused)), (422, vec!["/reason"]));
    let change = json!({"enrolledOn": "2026-11-02", "language": null, "reason": "wrong day"});
    let (status, changed) = send(&world, put(&STAFF, "P-7", change)).await;
    assert_eq!((status, &changed["enrolledOn"], changed.get("language")), (200, &json!("2026-11-02"), None));
    let entry = world.items("audit").into_iter().find(|entry| entry["action"] == "patient-changed").unwrap();
    assert_eq!((&entry["reason"], &entry["patient"]), (&json!("wrong day"), &json!("P-7")));
}

#[tokio::test(start_paused = true)]
async fn each_fault_of_a_body_is_named_and_nothing_is_stored() {
    let world = World::new();
    let body = json!({
        "site": "S 1", "enrolledOn": "yesterday", "timeZone": "Mars/Olympus", "group": 3, "name": "A. Person",
        "reason": "x".repeat(2_001),
    });
    let (status, refused) = send(&world, put(&STAFF, "P-7", body)).await;
    let mut faults = at_fault(&refused);
    faults.sort_unstable();
    assert_eq!((status, faults), (422, vec!["/enrolledOn", "/group", "/name", "/reason", "/site", "/timeZone"]));
    assert!(!refused.to_string().contains("Person"), "{refused}");
    for (request, fault) in [
        (put(&STAFF, "P-7", json!({"site": "S02"})), "/site"),
        (put(&MANAGER, "P-7", json!({})), "/site"),
        (withdraw(&STAFF, "P-7", "vanish"), "/mode"),
        (event("P-7", "surgery", json!({})), "/date"),
        (of("POST", "/transfer", &STAFF, &[("patient", "P-7")], &json!({"site": "S02"})), "/reason"),
    ] {
        let (status, refused) = send(&world, request).await;
        assert_eq!((status, at_fault(&refused)), (422, vec![fault]));
    }
    assert_eq!(world.all_items(), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn promise_9_staff_know_the_patients_of_their_sites_only_and_data_managers_all() {
    let world = World::new();
    send(&world, put(&STAFF, "P-7", json!({"enrolledOn": "2026-11-01"}))).await;
    for request in [
        get(&STAFF_OF_S02, "P-7"),
        put(&STAFF_OF_S02, "P-7", json!({})),
        transfer(&STAFF_OF_S02, "P-7", "S02"),
        withdraw(&STAFF_OF_S02, "P-7", "stop"),
        get(&STAFF, "P-8"),
        transfer(&STAFF, "P-8", "S02"),
        withdraw(&STAFF, "P-8", "stop"),
        event("P-8", "surgery", json!({"date": "2026-11-20"})),
        get(&STAFF, "P 7"),
    ] {
        let (status, refused) = send(&world, request).await;
        assert_eq!((status, refused["detail"].as_str()), (404, Some("there is no such patient for this token")));
    }
    assert_eq!(send(&world, get(&MANAGER, "P-7")).await.0, 200);
    assert_eq!(send(&world, put(&MANAGER, "P-9", json!({"site": "S02"}))).await.0, 201);
    for role in ["patient", "clinician", "service", "monitor"] {
        let caller = [("role", role)];
        assert_eq!(send(&world, put(&caller, "P-7", json!({}))).await.0, 403, "{role}");
        assert_eq!(send(&world, withdraw(&caller, "P-7", "stop")).await.0, 403, "{role}");
    }
    assert_eq!(world.items("registration").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_is_on_the_trail_of_both_sites_and_a_repeat_changes_nothing() {
    let world = World::new();
    send(&world, put(&STAFF, "P-7", json!({"enrolledOn": "2026-11-01"}))).await;
    let (status, moved) = send(&world, transfer(&STAFF, "P-7", "S02")).await;
    assert_eq!((status, &moved["site"], &moved["transfers"][0]["from"]), (200, &json!("S02"), &json!("S01")));
    // Those who sent it may have lost the answer.
    assert_eq!(send(&world, transfer(&STAFF, "P-7", "S02")).await, (200, moved.clone()));
    assert_eq!(send(&world, get(&STAFF, "P-7")).await.0, 404);
    assert_eq!(send(&world, get(&STAFF_OF_S02, "P-7")).await, (200, moved));
    let transferred: Vec<_> =
        actions(&world).into_iter().filter(|(action, _)| action == "patient-transferred").collect();
    assert_eq!(transferred.iter().map(|(_, site)| site.as_str()).collect::<Vec<_>>(), ["S01", "S02"]);
    let (status, refused) = send(&world, put(&STAFF_OF_S02, "P-7", json!({"site": "S01"}))).await;
    assert_eq!((status, &refused["type"]), (409, &json!("urn:epro:problem:registration-conflict")));
}

#[tokio::test(start_paused = true)]
async fn after_a_withdrawal_only_what_was_completed_before_is_accepted() {
    let world = World::new();
    let (before, after) = (submission(1, "2026-01-01T08:00:00Z"), submission(2, "2050-01-01T08:00:00Z"));
    send(&world, put(&STAFF, "P-001", json!({"enrolledOn": "2026-01-01"}))).await;
    assert_eq!(submit(&world, &submission(3, "2050-01-01T08:00:00Z")).await.0, 202);
    let (status, withdrawn) = send(&world, withdraw(&STAFF, "P-001", "stop")).await;
    assert_eq!((status, &withdrawn["withdrawn"]["mode"]), (200, &json!("stop")));
    assert_eq!(send(&world, withdraw(&STAFF, "P-001", "stop")).await, (200, withdrawn.clone()));

    let (status, refused) = submit(&world, &after).await;
    assert_eq!((status, &refused["type"]), (403, &json!("urn:epro:problem:patient-withdrawn")));
    assert_eq!(submit(&world, &before).await.0, 202);
    // A repeat of what was accepted before gets its receipt.
    assert_eq!(submit(&world, &submission(3, "2050-01-01T08:00:00Z")).await.0, 200);
    assert_eq!(world.items("submission").len(), 2);

    for refused in [
        put(&STAFF, "P-001", json!({"language": "en", "reason": "x"})),
        transfer(&STAFF, "P-001", "S02"),
        event("P-001", "surgery", json!({"date": "2026-11-20"})),
    ] {
        assert_eq!(send(&world, refused).await.0, 409);
    }
    let (status, hidden) = send(&world, withdraw(&STAFF, "P-001", "stop-and-hide")).await;
    assert_eq!((status, &hidden["withdrawn"]["at"]), (200, &withdrawn["withdrawn"]["at"]));
    assert_eq!(send(&world, withdraw(&STAFF, "P-001", "stop")).await.0, 409);
}

#[tokio::test(start_paused = true)]
async fn the_day_of_an_event_is_entered_changed_with_a_reason_and_removed() {
    let world = World::new();
    send(&world, put(&STAFF, "P-7", json!({"enrolledOn": "2026-11-01"}))).await;
    let (status, dated) = send(&world, event("P-7", "surgery", json!({"date": "2026-11-20"}))).await;
    assert_eq!((status, &dated["events"]), (200, &json!({"surgery": "2026-11-20"})));
    assert_eq!(send(&world, event("P-7", "surgery", json!({"date": "2026-11-20"}))).await, (200, dated));
    assert_eq!(send(&world, event("P-7", "surgery", json!({"date": "2026-11-21"}))).await.0, 422);
    let moved = send(&world, event("P-7", "surgery", json!({"date": "2026-11-21", "reason": "postponed"}))).await;
    assert_eq!((moved.0, &moved.1["events"]["surgery"]), (200, &json!("2026-11-21")));
    let removed = send(&world, event("P-7", "surgery", json!({"date": null, "reason": "cancelled"}))).await;
    assert_eq!((removed.0, removed.1.get("events")), (200, None));
    let dated = world.items("audit").iter().filter(|entry| entry["action"] == "event-dated").count();
    assert_eq!(dated, 3);
}

#[tokio::test(start_paused = true)]
async fn promise_7_whatever_became_of_a_change_its_repeat_settles_it() {
    for (fault, times, expected) in [
        (Fault::throttle(), 2, 201),
        (Fault::ApplyAndCut, 1, 201),
        (Fault::ApplyTwice, 1, 201),
        (Fault::conflict(3, 0), 1, 201),
        (Fault::ApplyAndStall, usize::MAX, 503),
        (Fault::Cut, usize::MAX, 503),
        (Fault::internal(), usize::MAX, 503),
        (Fault::throttle(), usize::MAX, 503),
        (Fault::conflict(3, 0), usize::MAX, 503),
        (Fault::error("AccessDeniedException"), usize::MAX, 500),
    ] {
        let world = World::new();
        world.inject_into("TransactWriteItems", times, fault.clone());
        let body = json!({"enrolledOn": "2026-11-01"});
        let (status, problem) = send(&world, put(&STAFF, "P-7", body.clone())).await;
        assert_eq!(status, expected, "{fault:?}: {problem}");
        if status == 503 {
            assert_eq!(problem["type"], "urn:epro:problem:outcome-unknown", "{fault:?}");
        }
        let is_stored = !world.items("registration").is_empty();
        world.heal();
        let (status, enrolled) = send(&world, put(&STAFF, "P-7", body)).await;
        assert_eq!((status, &enrolled["registered"]), (if is_stored { 200 } else { 201 }, &json!(true)), "{fault:?}");
        assert_eq!(actions(&world), [("patient-enrolled".to_owned(), "S01".to_owned())], "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for remaining in [0, 50, 250, 500, 3_000].map(Duration::from_millis) {
        for stalled in ["GetItem", "BatchGetItem", "Query", "PutItem", "TransactWriteItems"] {
            let world = World::new();
            world.put_study(json!({"events": ["surgery"]})).await;
            assert_eq!(submit(&world, &submission(1, "2026-01-01T08:00:00Z")).await.0, 202);
            assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
            for request in [
                get(&STAFF, "P-001"),
                put(&STAFF, "P-001", json!({})),
                transfer(&STAFF, "P-001", "S02"),
                withdraw(&STAFF, "P-001", "stop"),
                event("P-001", "surgery", json!({"date": "2026-11-20"})),
            ] {
                world.inject(move |call| (call.name() == stalled).then_some(Fault::Stall));
                let start = Instant::now();
                within(&world, request, remaining).await;
                let most = remaining.saturating_sub(Duration::from_millis(250));
                assert!(start.elapsed() <= most, "{remaining:?} {stalled}: {:?}", start.elapsed());
                world.heal();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_counts_for_the_site_of_the_patient_if_that_is_the_callers() {
    let calls = |world: &World, site: &str| -> u64 {
        let of_site = format!("COUNT#DEMO#{site}#api_calls#");
        let counters = world.counters().into_iter();
        counters
            .filter(|item| item["pk"].as_str().unwrap().starts_with(&of_site))
            .filter_map(|item| item["api_calls"].as_u64())
            .sum()
    };
    let world = World::new();
    send(&world, put(&STAFF, "P-7", json!({"enrolledOn": "2026-11-01"}))).await;
    assert_eq!(calls(&world, "S01"), 1);
    for request in [get(&STAFF_OF_S02, "P-7"), withdraw(&STAFF_OF_S02, "P-7", "stop")] {
        assert_eq!(send(&world, request).await.0, 404);
    }
    assert_eq!((calls(&world, "S01"), calls(&world, "S02")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn concurrent_changes_are_all_stored_one_after_the_other() {
    let world = World::new();
    send(&world, put(&STAFF, "P-7", json!({"enrolledOn": "2026-11-01"}))).await;
    let events = ["e1", "e2", "e3"].map(|name| event("P-7", name, json!({"date": "2026-11-20"})));
    let answers = join_all(events.map(|request| send(&world, request))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let (_, stored) = send(&world, get(&STAFF, "P-7")).await;
    assert_eq!(stored["events"].as_object().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_study_may_require_enrolment_and_names_its_events() {
    let world = World::new();
    world.put_study(json!({"enrolment": "required", "events": ["surgery"]})).await;
    let body = submission(1, "2026-01-01T08:00:00Z");
    let (status, refused) = submit(&world, &body).await;
    assert_eq!((status, &refused["type"]), (403, &json!("urn:epro:problem:patient-not-enrolled")));
    assert_eq!(world.items("submission"), Vec::<Value>::new());
    assert_eq!(send(&world, put(&STAFF, "P-001", json!({}))).await.0, 201);
    assert_eq!(submit(&world, &body).await.0, 202);
    assert_eq!(send(&world, event("P-001", "surgery", json!({"date": "2026-11-20"}))).await.0, 200);
    assert_eq!(send(&world, event("P-001", "holiday", json!({"date": "2026-11-20"}))).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_patient_without_a_group_in_the_token_is_of_the_registered_group() {
    let world = World::new();
    send(&world, put(&STAFF, "P-001", json!({"group": "women"}))).await;
    assert_eq!(submit(&world, &submission(1, "2026-01-01T08:00:00Z")).await.0, 202);
    assert_eq!(world.items("submission")[0]["group"], "women");
}

#[tokio::test(start_paused = true)]
async fn a_first_submission_enrols_on_the_day_of_the_site_wherever_the_device_was() {
    for (zone, device, day) in [
        ("Pacific/Kiritimati", "2026-01-01T08:00:00-11:00", "2026-11-28"),
        ("Pacific/Pago_Pago", "2026-01-01T08:00:00+14:00", "2026-11-27"),
    ] {
        let world = World::new();
        world.put_study(json!({"sites": [{"id": "S01", "name": "Site 1", "timeZone": zone}]})).await;
        assert_eq!(submit(&world, &submission(1, device)).await.0, 202);
        assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
        world.tamper("submission", "received_at", "2026-11-27T23:30:00Z");
        let (status, enrolled) = send(&world, get(&STAFF, "P-001")).await;
        assert_eq!((status, &enrolled["enrolledOn"]), (200, &json!(day)), "{zone}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_submission_enrols_where_the_study_does_not_require_it() {
    let world = World::new();
    assert_eq!(submit(&world, &submission(1, "2026-01-01T08:00:00Z")).await.0, 202);
    assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
    let (status, enrolled) = send(&world, get(&STAFF, "P-001")).await;
    assert_eq!((status, &enrolled["registered"], &enrolled["site"]), (200, &json!(false), &json!("S01")));
    let received = world.items("submission")[0]["received_at"].as_str().unwrap()[..10].to_owned();
    assert_eq!(enrolled["enrolledOn"], *received);
    // Registering keeps the day; a withdrawal registers too.
    let (status, registered) = send(&world, put(&STAFF, "P-001", json!({"language": "en"}))).await;
    assert_eq!((status, &registered["enrolledOn"]), (201, &json!(received)));
}
