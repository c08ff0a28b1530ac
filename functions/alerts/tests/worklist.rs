//! The worklist of clinicians, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use harness::{Fault, World, claims, request};
use lambda_http::Request;
use serde_json::{Value, json};
use support::{CLINICIAN, PLENTY, UNSAFE, alert_id, answer, raised, score, send};
use tokio::time::Instant;

mod support;

/// Severe, without an answer to the item on self-harm: a warning.
const SEVERE: [u8; 9] = [3, 3, 3, 3, 3, 3, 3, 3, 0];

fn get(caller: &[(&str, &str)], query: &str, remaining: Duration) -> Request {
    request("GET /v1/alerts", &[], query, Some(claims(caller)), None, remaining)
}

fn clinician(sites: &'static str) -> Vec<(&'static str, &'static str)> {
    [&CLINICIAN[..], &[("sites", sites)]].concat()
}

/// The alerts of a page as site, severity and patient, and the cursor of the next one.
async fn page(world: &World, sites: &'static str, query: &str) -> (Vec<[String; 3]>, Option<String>) {
    let (status, body) = answer(world, get(&clinician(sites), query, PLENTY)).await;
    assert_eq!(status, 200, "{body}");
    let one = |alert: &Value| ["site", "severity", "patient"].map(|name| alert[name].as_str().unwrap().to_owned());
    let alerts = body["alerts"].as_array().unwrap().iter().map(one).collect();
    (alerts, body["next"].as_str().map(str::to_owned))
}

async fn all_pages(world: &World, sites: &'static str, query: &str) -> Vec<[String; 3]> {
    let (mut alerts, mut next) = page(world, sites, query).await;
    while let Some(cursor) = next {
        let (more, after) = page(world, sites, &format!("{query}&cursor={cursor}")).await;
        alerts.extend(more);
        next = after;
    }
    alerts
}

fn of(alerts: &[[String; 3]]) -> Vec<&str> {
    alerts.iter().map(|[_, _, patient]| patient.as_str()).collect()
}

/// Three sites with alerts of two severities, in the order of the numbers of their patients.
async fn world() -> World {
    let world = World::new();
    for (site, patient, codes) in [
        ("S01", "P-1", UNSAFE),
        ("S02", "P-2", SEVERE),
        ("S01", "P-3", SEVERE),
        ("S02", "P-4", UNSAFE),
        ("S03", "P-5", UNSAFE),
        ("S01", "P-6", UNSAFE),
        ("S02", "P-7", SEVERE),
    ] {
        send(&world, site, patient, codes).await;
        assert_eq!(score(&world, PLENTY).await, 0);
    }
    world
}

async fn acknowledge(world: &World, id: &str) {
    let route = "POST /v1/alerts/{alertId}/acknowledge";
    let caller = clinician("S01 S02 S03");
    assert_eq!(answer(world, request(route, &[("alertId", id)], "", Some(claims(&caller)), None, PLENTY)).await.0, 200);
}

fn row(world: &World, patient: &str) -> Value {
    world.items("alert").into_iter().find(|row| row["patient"] == patient).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_most_severe_come_first_and_of_these_the_newest_over_all_sites_of_the_token() {
    let world = world().await;
    for limit in [1, 2, 3, 4, 7, 100] {
        let all = all_pages(&world, "S01 S02 S03", &format!("limit={limit}")).await;
        assert_eq!(of(&all), ["P-6", "P-5", "P-4", "P-1", "P-7", "P-3", "P-2"], "{limit}");
        let some = all_pages(&world, "S01 S02", &format!("limit={limit}")).await;
        assert_eq!(of(&some), ["P-6", "P-4", "P-1", "P-7", "P-3", "P-2"], "{limit}: not those of another site");
        let warnings = all_pages(&world, "S01 S02", &format!("severity=warning&limit={limit}")).await;
        assert_eq!(of(&warnings), ["P-7", "P-3", "P-2"], "{limit}");
        let critical = all_pages(&world, "S01 S02 S03", &format!("severity=critical&limit={limit}")).await;
        assert_eq!(of(&critical), ["P-6", "P-5", "P-4", "P-1"], "{limit}");
        assert!(all_pages(&world, "S01 S02", &format!("severity=info&limit={limit}")).await.is_empty());
    }
    assert_eq!(page(&world, "S01 S02 S03", "limit=7").await.1, None, "the last page says that it is the last");
    assert_eq!(page(&world, "S01", "limit=1").await.0[0][..2], ["S01", "critical"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_leaves_the_worklist_and_the_index() {
    let world = world().await;
    acknowledge(&world, &alert_id(&row(&world, "P-4"))).await;
    let left = all_pages(&world, "S01 S02 S03", "limit=2").await;
    assert_eq!(of(&left), ["P-6", "P-5", "P-1", "P-7", "P-3", "P-2"]);
    let acknowledged = row(&world, "P-4");
    assert!(acknowledged.get("site_key").is_none() && acknowledged.get("site_sort").is_none(), "{acknowledged}");
    assert!(row(&world, "P-5")["site_sort"].is_string());
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_the_index_still_has_is_shown_as_the_table_has_it() {
    let world = world().await;
    // The index is behind: the alert was acknowledged a moment ago.
    world.tamper_one(&row(&world, "P-6"), "status", "ACKNOWLEDGED");
    let shown = all_pages(&world, "S01", "").await;
    assert_eq!(of(&shown), ["P-1", "P-3"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_may_be_chosen_by_status() {
    let world = world().await;
    world.tamper_one(&row(&world, "P-1"), "exhausted_at", "2026-11-23T09:00:00.000000000Z");
    world.tamper_one(&row(&world, "P-3"), "status", "PENDING");
    for (query, expected) in [
        ("status=exhausted&limit=2", vec!["P-1"]),
        ("status=pending&limit=2", vec!["P-3"]),
        ("status=sent&limit=2", vec!["P-6", "P-1"]),
        ("status=open&limit=2", vec!["P-6", "P-1", "P-3"]),
    ] {
        assert_eq!(of(&all_pages(&world, "S01", query).await), expected, "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_request_is_refused() {
    let world = world().await;
    let cursor = page(&world, "S01 S02", "limit=1").await.1.unwrap();
    for (sites, query, code) in [
        ("S01", "status=acknowledged".to_owned(), "query.status"),
        ("S01", "status=quiet".to_owned(), "query.status"),
        ("S01", "status=done".to_owned(), "query.status"),
        ("S01", "severity=very".to_owned(), "query.severity"),
        ("S01", "limit=101".to_owned(), "query.limit"),
        ("S01", format!("limit=1&cursor={cursor}"), "query.cursor"),
        ("S01 S02", format!("limit=1&severity=info&cursor={cursor}"), "query.cursor"),
        ("S01 S02", format!("limit=1&status=sent&cursor={cursor}"), "query.cursor"),
    ] {
        let (status, problem) = answer(&world, get(&clinician(sites), &query, PLENTY)).await;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!(code)), "{query}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_reads_each_site_once_and_a_token_of_more_than_a_hundred_sites_is_refused() {
    let world = world().await;
    let sites = |number: usize| (1..=number).map(|n| format!("S{n:02}")).collect::<Vec<_>>().join(" ");
    let ask = async |number: usize| {
        let sites = sites(number);
        answer(&world, get(&[&CLINICIAN[..], &[("sites", sites.as_str())]].concat(), "limit=2", PLENTY)).await
    };
    let before = world.count_calls("Query RecordsTable");
    let (status, body) = ask(100).await;
    assert_eq!((status, body["alerts"].as_array().unwrap().len()), (200, 2));
    assert_eq!(world.count_calls("Query RecordsTable") - before, 100);
    let (status, problem) = ask(101).await;
    assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("token.sites")), "{problem}");
    assert_eq!(world.count_calls("Query RecordsTable") - before, 100, "nothing more was read");
    assert_eq!(ask(0).await, (200, json!({"alerts": []})));
}

#[tokio::test(start_paused = true)]
async fn each_site_whose_alerts_are_returned_has_an_audit_entry() {
    let world = world().await;
    page(&world, "S01 S02 S03", "limit=2").await;
    let mut entries = world.items("audit");
    entries.sort_by_key(|entry| entry["site"].to_string());
    let read: Vec<[Value; 4]> =
        entries.iter().map(|entry| ["action", "site", "sub", "role"].map(|name| entry[name].clone())).collect();
    let one = |site: &str| ["alerts-read", site, "dr-chen", "clinician"].map(|text| json!(text));
    assert_eq!(read, [one("S01"), one("S03")], "P-6 and P-5");
}

#[tokio::test(start_paused = true)]
async fn promise_8_an_alert_that_cannot_be_read_is_reported_and_hides_no_other() {
    let world = world().await;
    world.tamper_one(&row(&world, "P-1"), "rule", "no rule at all");
    let (status, body) = answer(&world, get(&clinician("S01"), "", PLENTY)).await;
    let alerts = body["alerts"].as_array().unwrap();
    assert_eq!((status, alerts.len(), &alerts[1]), (200, 3, &json!({"unreadable": "attribute rule cannot be parsed"})));
}

#[tokio::test(start_paused = true)]
async fn promise_9_the_worklist_is_for_the_clinicians_of_the_sites() {
    let world = world().await;
    let before = world.calls().len();
    for (changes, expected) in [
        (vec![("role", "staff")], 403),
        (vec![("role", "monitor")], 403),
        (vec![("role", "patient"), ("patient", "P-1")], 403),
        (vec![("scope", "alerts:write")], 403),
        (vec![("token_use", "id")], 401),
    ] {
        let caller = [&CLINICIAN[..], &changes].concat();
        assert_eq!(answer(&world, get(&caller, "", PLENTY)).await.0, expected, "{changes:?}");
    }
    assert_eq!(world.calls().len(), before, "nothing was read for them");
    let other = [&CLINICIAN[..], &[("study", "OTHER")]].concat();
    assert_eq!(answer(&world, get(&other, "", PLENTY)).await, (200, json!({"alerts": []})));
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for remaining in [0, 100, 500, 3_000, 10_000] {
        for stalled in ["Query RecordsTable", "BatchGetItem RecordsTable", "PutItem RecordsTable", ""] {
            let world = World::new();
            raised(&world).await;
            world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
            let start = Instant::now();
            let (status, _) = answer(&world, get(&CLINICIAN, "", Duration::from_millis(remaining))).await;
            let most = Duration::from_millis(remaining.saturating_sub(250));
            assert!(start.elapsed() <= most, "{remaining} {stalled}: {:?}", start.elapsed());
            let expected = if remaining <= 250 || !stalled.is_empty() { [503, 504] } else { [200, 200] };
            assert!(expected.contains(&status), "{remaining} {stalled}: {status}");
        }
    }
}
