//! The list of alerts for clinicians, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use alerts::Alerts;
use api::Handler;
use harness::{Fault, World, claims, request};
use lambda_http::Request;
use serde_json::{Value, json};
use support::{CLINICIAN, PLENTY, UNSAFE, alert_id, answer, raised, score, send};
use tokio::time::Instant;

mod support;

const SEVERE: [u8; 9] = [3; 9];

fn get(caller: &[(&str, &str)], site: &str, query: &str, remaining: Duration) -> Request {
    request("GET /v1/sites/{site}/alerts", &[("site", site)], query, Some(claims(caller)), None, remaining)
}

async fn list(world: &World, query: &str) -> (Vec<Value>, Option<String>) {
    let (status, body) = answer(world, get(&CLINICIAN, "S01", query, PLENTY)).await;
    assert_eq!(status, 200, "{query}: {body}");
    (body["alerts"].as_array().unwrap().clone(), body["next"].as_str().map(str::to_owned))
}

/// All pages of the list, one after the other.
async fn all_pages(world: &World, query: &str) -> Vec<Value> {
    let (mut alerts, mut next) = list(world, query).await;
    while let Some(cursor) = next {
        let page = list(world, &format!("{query}&cursor={cursor}")).await;
        alerts.extend(page.0);
        next = page.1;
    }
    alerts
}

async fn acknowledge(world: &World, id: &str) {
    let route = "POST /v1/alerts/{alertId}/acknowledge";
    let post = request(route, &[("alertId", id)], "", Some(claims(&CLINICIAN)), Some("{\"note\":\"called\"}"), PLENTY);
    assert_eq!(answer(world, post).await.0, 200);
}

/// Alerts at S01, each raised a minute after the previous one.
async fn alerts_of_an_hour(world: &World, count: u8) {
    for n in 0..count {
        send(world, "S01", &format!("P-{n:02}"), UNSAFE).await;
    }
    assert_eq!(score(world, PLENTY).await, 0);
    for (n, row) in world.items("alert").iter().enumerate() {
        let at = format!("2026-11-23T08:{n:02}:00.000000000Z");
        world.tamper_one(row, "raised_at", &at);
    }
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_listed_with_its_status_and_never_without_an_audit_entry() {
    let world = World::new();
    let id = raised(&world).await;
    let submission = world.items("submission")[0]["id"].clone();
    let row = world.items("alert")[0].clone();
    let (alerts, next) = list(&world, "").await;
    let expected = json!({
        "alertId": id, "site": "S01", "severity": "critical", "rule": "safety", "status": "sent", "raisedAt": row["raised_at"],
        "sentAt": row["sent_at"], "patient": "P-1", "submissionId": submission, "instrument": "phq-9",
    });
    assert_eq!((alerts, next), (vec![expected], None));

    acknowledge(&world, &id).await;
    world.set(&world.items("alert")[0], "escalation", json!({"N": "2"}));
    let alert = &list(&world, "").await.0[0];
    assert_eq!((&alert["status"], &alert["escalation"]), (&json!("acknowledged"), &json!(2)));
    let acknowledged = &alert["acknowledged"];
    assert_eq!((&acknowledged["by"], &acknowledged["note"]), (&json!("dr-chen"), &json!("called")));
    let entries: Vec<Value> =
        world.items("audit").into_iter().filter(|entry| entry["action"] == "alerts-read").collect();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry["sub"] == "dr-chen" && entry["site"] == "S01"));

    world.inject_into("PutItem RecordsTable", usize::MAX, Fault::error("AccessDeniedException"));
    let (status, body) = answer(&world, get(&CLINICIAN, "S01", "", PLENTY)).await;
    assert_eq!((status, body.get("alerts")), (500, None));
}

#[tokio::test(start_paused = true)]
async fn pages_are_newest_first_and_have_each_alert_once() {
    let world = World::new();
    alerts_of_an_hour(&world, 23).await;
    send(&world, "S02", "P-50", UNSAFE).await;
    score(&world, PLENTY).await;
    for limit in [1, 5, 22, 23, 24, 100] {
        let alerts = all_pages(&world, &format!("limit={limit}")).await;
        let times: Vec<&str> = alerts.iter().map(|alert| alert["raisedAt"].as_str().unwrap()).collect();
        assert_eq!(times.len(), 23, "{limit}");
        assert!(times.is_sorted_by(|later, earlier| later > earlier), "{limit}: {times:?}");
    }
    assert_eq!(list(&world, "limit=23").await.1, None, "the last page says that it is the last");
}

#[tokio::test(start_paused = true)]
async fn a_page_is_filled_with_alerts_that_match_the_filter() {
    let world = World::new();
    alerts_of_an_hour(&world, 12).await;
    for row in world.items("alert").iter().filter(|row| row["raised_at"].as_str() < Some("2026-11-23T08:04")) {
        acknowledge(&world, &alert_id(row)).await;
    }
    send(&world, "S01", "P-98", SEVERE).await;
    score(&world, PLENTY).await;
    send(&world, "S01", "P-99", UNSAFE).await;
    world.inject_into("PublishBatch", usize::MAX, Fault::Cut);
    score(&world, Duration::from_secs(3)).await;
    world.heal();
    // The escalations of three alerts ended, one of which was acknowledged in the end.
    for row in &world.items("alert")[3..6] {
        world.tamper_one(row, "exhausted_at", "2026-11-23T09:00:00.000000000Z");
    }
    for (query, expected) in [
        ("status=exhausted&limit=1", 2),
        ("status=acknowledged&limit=3", 4),
        ("status=sent&limit=3", 10),
        ("status=pending&limit=3", 1),
        ("status=open&limit=3", 11),
        ("status=quiet&limit=3", 0),
        ("severity=warning&limit=3", 1),
        ("severity=critical&limit=3", 14),
        ("status=acknowledged&severity=warning&limit=3", 0),
        ("limit=3", 15),
    ] {
        assert_eq!(all_pages(&world, query).await.len(), expected, "{query}");
    }
    assert_eq!(list(&world, "status=acknowledged&limit=3").await.0.len(), 3, "pages are filled");
}

#[tokio::test(start_paused = true)]
async fn a_filter_with_few_matches_reads_a_bounded_part_and_returns_a_cursor() {
    let world = World::new();
    alerts_of_an_hour(&world, 1).await;
    let row = world.items("alert")[0].clone();
    for n in 0..1_150 {
        world.copy(&row, &[("sk", &format!("f{n:04}"))]);
    }
    acknowledge(&world, &alert_id(&row)).await;
    let (first, next) = list(&world, "status=acknowledged").await;
    assert_eq!((first.len(), next.is_some()), (0, true));
    assert_eq!(world.count_calls("Query RecordsTable"), 10);
    let (second, last) = list(&world, &format!("status=acknowledged&cursor={}", next.unwrap())).await;
    assert_eq!((second.len(), last), (1, None));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_filter_is_refused() {
    let world = World::new();
    alerts_of_an_hour(&world, 3).await;
    let cursor = list(&world, "limit=1&status=sent").await.1.unwrap();
    for (query, code) in [
        ("status=done".to_owned(), "query.status"),
        ("severity=very".to_owned(), "query.severity"),
        ("limit=0".to_owned(), "query.limit"),
        ("cursor=x".to_owned(), "query.cursor"),
        (format!("limit=1&status=open&cursor={cursor}"), "query.cursor"),
        (format!("limit=1&status=sent&severity=info&cursor={cursor}"), "query.cursor"),
    ] {
        let (status, problem) = answer(&world, get(&CLINICIAN, "S01", &query, PLENTY)).await;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!(code)), "{query}");
    }
    let both = [&CLINICIAN[..], &[("sites", "S01 S02")]].concat();
    let elsewhere = get(&both, "S02", &format!("limit=1&status=sent&cursor={cursor}"), PLENTY);
    assert_eq!(answer(&world, elsewhere).await.0, 422, "a cursor is for one site");
}

#[tokio::test(start_paused = true)]
async fn promise_8_an_alert_that_cannot_be_read_is_reported_and_hides_no_other() {
    let world = World::new();
    alerts_of_an_hour(&world, 3).await;
    world.tamper_one(&world.items("alert")[1], "severity", "very");
    let (alerts, _) = list(&world, "status=sent").await;
    assert_eq!(alerts.len(), 3);
    let unreadable: Vec<&Value> = alerts.iter().filter(|alert| alert.get("unreadable").is_some()).collect();
    assert_eq!(unreadable, [&json!({"unreadable": "attribute severity cannot be parsed"})]);
}

#[tokio::test(start_paused = true)]
async fn promise_9_alerts_are_for_the_clinicians_of_the_site() {
    let world = World::new();
    raised(&world).await;
    let clinician = |changes: &[(&'static str, &'static str)]| [&CLINICIAN, changes].concat();
    let before = world.calls().len();
    for (site, caller, expected) in [
        ("S02", clinician(&[]), 404),
        ("S01", clinician(&[("sites", "S02")]), 404),
        ("S01", clinician(&[("role", "staff")]), 403),
        ("S01", clinician(&[("role", "patient"), ("patient", "P-1")]), 403),
        ("S01", clinician(&[("scope", "alerts:write")]), 403),
        ("S01", clinician(&[("token_use", "id")]), 401),
    ] {
        let (status, _) = answer(&world, get(&caller, site, "", PLENTY)).await;
        assert_eq!(status, expected, "{site} {caller:?}");
    }
    assert_eq!(world.calls().len(), before, "nothing was read for them");
    let (status, body) = answer(&world, get(&clinician(&[("study", "OTHER")]), "S01", "", PLENTY)).await;
    assert_eq!((status, body), (200, json!({"alerts": []})), "the site of that name in another study");
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000, 10_000] {
        for stalled in ["Query RecordsTable", "PutItem RecordsTable", "TransactWriteItems SiteCountsTable", ""] {
            let world = World::new();
            raised(&world).await;
            world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
            let start = Instant::now();
            let (status, body) = answer(&world, get(&CLINICIAN, "S01", "", Duration::from_millis(remaining))).await;
            let most = Duration::from_millis(remaining.saturating_sub(250));
            assert!(start.elapsed() <= most, "{remaining} {stalled}: {:?}", start.elapsed());
            let stalls = stalled.starts_with("Query") || stalled.starts_with("PutItem");
            let expected = if remaining <= 250 || stalls { [503, 504] } else { [200, 200] };
            assert!(expected.contains(&status), "{remaining} {stalled}: {status}");
            if stalled.starts_with("Query") && remaining == 10_000 {
                assert_eq!((status, &body["type"]), (504, &json!("urn:epro:problem:timed-out")));
                assert!(start.elapsed() < Duration::from_millis(2_300), "the data call has two seconds of its own");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_not_stored_is_refused_unless_the_deployment_is_open() {
    let world = World::new();
    let id = raised(&world).await;
    let acknowledge = "POST /v1/alerts/{alertId}/acknowledge";
    let ask = async || {
        let alerts = Alerts::new(world.closed_store());
        let list =
            request("GET /v1/sites/{site}/alerts", &[("site", "S01")], "", Some(claims(&CLINICIAN)), None, PLENTY);
        let one = request(acknowledge, &[("alertId", &id)], "", Some(claims(&CLINICIAN)), None, PLENTY);
        let list = alerts.handle(list).await.unwrap().status().as_u16();
        (list, alerts.handle(one).await.unwrap().status().as_u16())
    };
    assert_eq!(ask().await, (403, 403));
    assert!(world.items("audit").is_empty());
    world.put_study(json!({})).await;
    assert_eq!(ask().await, (200, 200));
}
