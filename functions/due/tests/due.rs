//! What is due, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use due::Due;
use harness::{Fault, World, claims, request};
use lambda_http::Body;
use registry::Registry;
use serde_json::{Value, json};
use submit::Submit;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(10);
const STAFF: [(&str, &str); 2] = [("role", "staff"), ("patient", "")];
const MONITOR: [(&str, &str); 2] = [("role", "monitor"), ("patient", "")];

async fn study(world: &World) {
    let diary = json!({
        "id": "daily", "instrument": "phq-9", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 30},
        "window": {"opens": "00:00", "closes": "24:00"},
    });
    let sites = json!([{"id": "S01", "name": "Site 1", "timeZone": "UTC"}]);
    world.put_study(json!({"sites": sites, "schedules": [diary]})).await;
}

fn day(days: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::days(days)).date().to_string()
}

async fn register(world: &World, patient: &str, route: &str, body: Value) {
    let request = request(route, &[("patient", patient)], "", Some(claims(&STAFF)), Some(&body.to_string()), PLENTY);
    assert!(Registry::new(world.store()).handle(request).await.unwrap().status().is_success());
}

async fn enrol(world: &World, patient: &str, on: &str) {
    register(world, patient, "PUT /v1/patients/{patient}", json!({"enrolledOn": on})).await;
}

async fn submit(world: &World, patient: &str) {
    let answers = json!({"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 0, "10": 0});
    let body = json!({
        "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": OffsetDateTime::now_utc().format(&Rfc3339).unwrap(), "answers": answers,
    });
    let claims = claims(&[("patient", patient)]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
    assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
}

async fn get(world: &World, route: &str, query: &str, caller: &[(&str, &str)]) -> (u16, Value) {
    let request = request(route, &[("site", "S01")], query, Some(claims(caller)), None, PLENTY);
    let response = Due::new(world.store()).handle(request).await.unwrap();
    let Body::Text(body) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(body).unwrap())
}

async fn own(world: &World, patient: &str) -> Value {
    let (status, due) = get(world, "GET /v1/due", "", &[("patient", patient)]).await;
    assert_eq!(status, 200, "{due}");
    due
}

async fn of_site(world: &World, query: &str, caller: &[(&str, &str)]) -> (u16, Value) {
    get(world, "GET /v1/sites/{site}/due", query, caller).await
}

fn numbers(windows: &Value) -> Vec<u64> {
    windows.as_array().unwrap().iter().map(|window| window["occurrence"].as_u64().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_patient_who_was_just_enrolled_sees_a_week_ahead_before_it_is_stored() {
    let world = World::new();
    study(&world).await;
    enrol(&world, "P-1", &day(0)).await;
    let due = own(&world, "P-1").await;
    assert_eq!((numbers(&due["open"]), &due["timeZone"]), (vec![1], &json!("UTC")));
    let next = numbers(&due["next"]);
    assert!(next.len() >= 8 && next.iter().eq(&(2..2 + next.len() as u64).collect::<Vec<_>>()), "{next:?}");
    assert_eq!((&due["done"], &due["missed"]), (&json!([]), &json!([])));
    assert_eq!(due["open"][0]["opens"], json!(format!("{}T00:00:00Z", day(0))));
    assert_eq!(due["open"][0]["version"], "1.0.0");
    assert!(world.items("occurrence").is_empty(), "a read stores nothing");
}

#[tokio::test(start_paused = true)]
async fn nobody_who_is_not_known_or_has_left_is_asked() {
    let world = World::new();
    study(&world).await;
    let nothing = own(&world, "P-9").await;
    assert_eq!((&nothing["open"], &nothing["next"], nothing.get("timeZone")), (&json!([]), &json!([]), None));
    enrol(&world, "P-1", &day(0)).await;
    let withdrawal = json!({"mode": "stop", "requestedBy": "patient", "reason": "no time"});
    register(&world, "P-1", "POST /v1/patients/{patient}/withdrawal", withdrawal).await;
    let left = own(&world, "P-1").await;
    assert_eq!((&left["open"], &left["next"]), (&json!([]), &json!([])));
}

#[tokio::test(start_paused = true)]
async fn a_site_sees_who_is_due_in_pages_and_never_whose_data_are_hidden() {
    let world = World::new();
    study(&world).await;
    for patient in ["P-1", "P-2", "P-3"] {
        enrol(&world, patient, &day(0)).await;
    }
    submit(&world, "P-2").await;
    let withdrawal = json!({"mode": "stop-and-hide", "requestedBy": "patient", "reason": "no time"});
    register(&world, "P-3", "POST /v1/patients/{patient}/withdrawal", withdrawal).await;
    let (mut query, mut patients, mut pages) = ("limit=1".to_owned(), Vec::new(), 0);
    loop {
        let (status, page) = of_site(&world, &query, &STAFF).await;
        assert_eq!(status, 200, "{page}");
        pages += 1;
        let of_page = page["due"].as_array().unwrap().iter();
        patients.extend(
            of_page.map(|entry| (entry["patient"].clone(), entry["status"].clone(), entry["occurrence"].clone())),
        );
        let Some(next) = page["next"].as_str() else { break };
        query = format!("limit=1&cursor={next}");
    }
    let open = |patient: &str| (json!(patient), json!("open"), json!(1));
    assert_eq!((patients, pages), (vec![open("P-1"), open("P-2")], 3));
    let (_, missed) = of_site(&world, "status=missed", &MONITOR).await;
    assert_eq!(missed["due"], json!([]));
    assert_eq!(world.items("audit").iter().filter(|entry| entry["action"] == "due-read").count(), 4);
}

#[tokio::test(start_paused = true)]
async fn promise_9_a_caller_sees_its_own() {
    let world = World::new();
    study(&world).await;
    assert_eq!(of_site(&world, "", &[("role", "staff"), ("patient", ""), ("sites", "S02")]).await.0, 404);
    assert_eq!(of_site(&world, "", &[]).await.0, 403);
    assert_eq!(get(&world, "GET /v1/due", "", &STAFF).await.0, 403);
    assert_eq!(get(&world, "GET /v1/due", "", &[("scope", "submissions:read")]).await.0, 403);
    let (status, refused) = of_site(&world, "status=late", &STAFF).await;
    assert_eq!((status, &refused["errors"][0]["code"]), (422, &json!("query.status")));
}

#[tokio::test(start_paused = true)]
async fn promise_6_a_store_that_stalls_is_answered_in_time() {
    let world = World::new();
    study(&world).await;
    enrol(&world, "P-1", &day(0)).await;
    world.inject_into("BatchGetItem RecordsTable", usize::MAX, Fault::Stall);
    let started = tokio::time::Instant::now();
    let (status, _) = get(&world, "GET /v1/due", "", &[("patient", "P-1")]).await;
    assert!(status == 503 && started.elapsed() < PLENTY, "{status} after {:?}", started.elapsed());
}
