//! `audit` for site staff, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::{Caller, CorrelationId, Handler, Invocation};
use audit::AuditTrail;
use harness::{Fault, World, claims, request};
use invocation::{Clock, Deadline};
use lambda_http::{Body, Request};
use records::AuditAction;
use serde_json::{Value, json};
use time::macros::datetime;
use tokio::time::Instant;

const ROUTE: &str = "GET /v1/sites/{site}/audit";
const PLENTY: Duration = Duration::from_secs(10);
const STAFF: [(&str, &str); 3] = [("role", "staff"), ("patient", ""), ("sites", "S01 S02")];

fn get_as(caller: &[(&str, &str)], site: &str, query: &str, remaining: Duration) -> Request {
    request(ROUTE, &[("site", site)], query, Some(claims(caller)), None, remaining)
}

fn get(site: &str, query: &str) -> Request {
    get_as(&STAFF, site, query, PLENTY)
}

async fn send(world: &World, request: Request) -> (u16, Value) {
    let response = AuditTrail::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

/// Stores an audit entry of `action` on the subject `minute`, as many minutes after eight.
async fn record(world: &World, action: AuditAction, site: Option<&str>, minute: i64) {
    let caller = Caller::of(&get("S01", "")).unwrap();
    let invocation = Invocation {
        deadline: Deadline::after(PLENTY),
        clock: Clock::starting_at(datetime!(2026-11-20 08:00 UTC) + time::Duration::minutes(minute)),
        correlation_id: CorrelationId::given_or_new(Some("c-1")),
        request_id: "r-1".to_owned(),
    };
    let entry = api::audit::entry(action, &caller, &invocation).about(minute);
    let entry = site.into_iter().fold(entry, |entry, site| entry.at_site(&site.parse().unwrap()));
    world.store().audit(&entry, Deadline::after(PLENTY)).await.unwrap();
}

/// The subjects of a page, without the entries of reads of the list itself.
fn subjects(page: &Value) -> Vec<i64> {
    let entries = page["entries"].as_array().unwrap();
    entries.iter().filter_map(|entry| entry["subject"].as_str()?.parse().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_site_sees_its_own_entries_and_its_studys_newest_first() {
    let world = World::new();
    record(&world, AuditAction::AlertAcknowledged, Some("S01"), 1).await;
    record(&world, AuditAction::StudyPut, None, 2).await;
    record(&world, AuditAction::ReportRead, Some("S02"), 3).await;
    let (status, mut page) = send(&world, get("S01", "")).await;
    let entries = page["entries"].as_array_mut().unwrap();
    // The entry of this read is written at the same time, and may be in the page.
    entries.retain(|entry| entry["action"] != "audit-read");
    let entry = |action: &str, minute: u8| {
        json!({
            "at": format!("2026-11-20T08:0{minute}:00Z"), "action": action, "subject": minute.to_string(),
            "actor": {"sub": "user-1", "iss": "https://issuer.example", "role": "staff"},
            "requestId": "r-1", "correlationId": "c-1",
        })
    };
    let mut of_site = entry("alert-acknowledged", 1);
    of_site["site"] = json!("S01");
    assert_eq!((status, page), (200, json!({"entries": [entry("study-put", 2), of_site]})));
}

#[tokio::test(start_paused = true)]
async fn every_entry_is_listed_once_while_others_arrive_between_pages() {
    let world = World::new();
    for minute in 0..120 {
        record(&world, AuditAction::ReportRead, [Some("S01"), None, Some("S02")][minute as usize % 3], minute).await;
    }
    let expected: Vec<i64> = (0..120).rev().filter(|minute| minute % 3 != 2).collect();
    for limit in [1, 7, 25, 79, 80, 100] {
        // Each read adds an entry, which is newer than the cursor.
        let (mut met, mut query) = (Vec::new(), format!("limit={limit}"));
        for page_number in 0.. {
            assert!(page_number <= 300, "{limit}: it comes to an end");
            let (status, page) = send(&world, get("S01", &query)).await;
            assert_eq!(status, 200);
            met.extend(subjects(&page));
            let Some(next) = page["next"].as_str() else { break };
            query = format!("limit={limit}&cursor={next}");
        }
        assert_eq!(met, expected, "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_of_the_audit_is_stored_before_entries_are_returned() {
    let world = World::new();
    send(&world, get("S02", "")).await;
    let entries = world.items("audit");
    assert_eq!((entries.len(), &entries[0]["action"], &entries[0]["site"]), (1, &json!("audit-read"), &json!("S02")));
    for (fault, expected) in
        [(Fault::Stall, 503), (Fault::throttle(), 503), (Fault::error("AccessDeniedException"), 500)]
    {
        world.inject(move |call| {
            let entry = call.name() == "PutItem" && call.body["Item"]["kind"]["S"] == "audit";
            entry.then(|| fault.clone())
        });
        let (status, body) = send(&world, get("S01", "")).await;
        assert_eq!((status, body.get("entries")), (expected, None));
        world.heal();
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_cursor_or_limit_is_refused() {
    let world = World::new();
    for minute in 0..3 {
        record(&world, AuditAction::ReportRead, None, minute).await;
    }
    let (_, page) = send(&world, get("S01", "limit=1")).await;
    let next = page["next"].as_str().unwrap();
    assert_eq!(send(&world, get("S01", &format!("cursor={next}"))).await.0, 200);
    let changed = format!("{}{next}", if next.starts_with('A') { 'B' } else { 'A' });
    let other_study = [("role", "staff"), ("patient", ""), ("study", "OTHER")];
    for (request, code) in [
        (get("S02", &format!("cursor={next}")), "query.cursor"),
        (get_as(&other_study, "S01", &format!("cursor={next}"), PLENTY), "query.cursor"),
        (get("S01", &format!("cursor={changed}")), "query.cursor"),
        (get("S01", "limit=101"), "query.limit"),
    ] {
        let (status, problem) = send(&world, request).await;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!(code)));
    }
}

#[tokio::test(start_paused = true)]
async fn promise_9_the_audit_is_for_the_sites_own_staff() {
    let world = World::new();
    let refusals = [
        (get_as(&[("role", "patient")], "S01", "", PLENTY), 403),
        (get_as(&[("role", "clinician")], "S01", "", PLENTY), 403),
        (get_as(&[("role", "service")], "S01", "", PLENTY), 403),
        (get_as(&[("role", "staff"), ("scope", "patients:read")], "S01", "", PLENTY), 403),
        (get("S03", ""), 404),
        (get("S01 S02", ""), 404),
        (get_as(&[("role", "staff"), ("token_use", "id")], "S01", "", PLENTY), 401),
        (request(ROUTE, &[("site", "S01")], "", None, None, PLENTY), 401),
        (request("GET /v1/elsewhere", &[], "", Some(claims(&STAFF)), None, PLENTY), 404),
    ];
    for (request, expected) in refusals {
        let route = request.uri().to_string();
        assert_eq!(send(&world, request).await.0, expected, "{route}");
    }
    assert_eq!(world.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve_and_leaves_nothing_running() {
    let world = World::new();
    for minute in 0..3 {
        record(&world, AuditAction::ReportRead, [Some("S01"), None][minute as usize % 2], minute).await;
    }
    let (_, first) = send(&world, get("S01", "limit=1")).await;
    let following = format!("cursor={}", first["next"].as_str().unwrap());
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000, 10_000] {
        for stalled in ["Query", "PutItem key", "PutItem audit", "TransactWriteItems", ""] {
            for query in ["", following.as_str()] {
                let case = format!("{remaining} {stalled} {query}");
                world.inject(move |call| {
                    let kind = call.body["Item"]["kind"]["S"].as_str().unwrap_or_default();
                    (format!("{} {kind}", call.name()).trim_end() == stalled).then_some(Fault::Stall)
                });
                let request = get_as(&STAFF, "S01", query, Duration::from_millis(remaining));
                let start = Instant::now();
                let (status, body) = send(&world, request).await;
                let most = Duration::from_millis(remaining.saturating_sub(250));
                assert!(start.elapsed() <= most, "{case}: {:?}", start.elapsed());
                let enough = remaining > 250 && ["TransactWriteItems", ""].contains(&stalled);
                assert_eq!(status, if enough { 200 } else { 503 }, "{case}: {body}");
                // The count is retried once the store responds again.
                let counting = usize::from(enough && stalled == "TransactWriteItems");
                assert_eq!(world.in_flight(), counting, "{case}");
                world.heal();
                tokio::time::sleep(Duration::from_secs(20)).await;
                assert_eq!(world.in_flight(), 0, "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_monitor_may_read_the_audit_and_the_scope_audit_read_suffices() {
    let world = World::new();
    let as_monitor = |scope| get_as(&[("role", "monitor"), ("patient", ""), ("scope", scope)], "S01", "", PLENTY);
    for (scope, expected) in [("audit:read", 200), ("reports:read", 200), ("patients:read", 403)] {
        assert_eq!(send(&world, as_monitor(scope)).await.0, expected, "{scope}");
    }
    let staff = get_as(&[("role", "staff"), ("patient", ""), ("scope", "audit:read")], "S01", "", PLENTY);
    assert_eq!(send(&world, staff).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_not_stored_is_refused_unless_the_deployment_is_open() {
    let world = World::new();
    let look = async || AuditTrail::new(world.closed_store()).handle(get("S01", "")).await.unwrap().status().as_u16();
    assert_eq!(look().await, 403);
    world.put_study(json!({})).await;
    assert_eq!(look().await, 200);
}
