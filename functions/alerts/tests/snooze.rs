//! Snoozes of alerts, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use clinical::studies::Escalation;
use futures::future::join_all;
use harness::{Fault, World, claims, context, request};
use lambda_http::Request;
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use support::{CLINICIAN, PLENTY, alert_id, answer, raised};
use sweep::Sweep;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

mod support;

const LONG_AGO: &str = "2026-01-01T00:00:00.000000000Z";
const ROUTE: &str = "POST /v1/alerts/{alertId}/snooze";

fn post(id: &str, caller: &[(&str, &str)], body: &Value, remaining: Duration) -> Request {
    request(ROUTE, &[("alertId", id)], "", Some(claims(caller)), Some(&body.to_string()), remaining)
}

fn snooze(id: &str, until: &str) -> Request {
    post(id, &CLINICIAN, &asked(until), PLENTY)
}

fn asked(until: &str) -> Value {
    json!({"until": until, "reason": "she is on her way here"})
}

/// The time this many minutes from now.
fn minutes_from_now(minutes: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::minutes(minutes)).format(&Rfc3339).unwrap()
}

/// A world whose study allows snoozes of four hours, with an alert of P-1 at S01.
async fn world() -> (World, String) {
    let world = World::new();
    let alerts = json!({"snooze": {"mostMinutes": 240}, "escalation": {"afterMinutes": 5, "limit": 3}});
    world.put_study(json!({"alerts": alerts})).await;
    let id = raised(&world).await;
    (world, id)
}

fn row(world: &World) -> Value {
    world.items("alert")[0].clone()
}

fn snoozed(world: &World) -> Vec<Value> {
    world.items("audit").into_iter().filter(|entry| entry["action"] == "alert-snoozed").collect()
}

async fn sweep(world: &World) {
    let sweep =
        Sweep::new(world.store(), world.topic(), world.reminder_topic(), Escalation { after_minutes: 0, limit: 3 });
    sweep.handle(LambdaEvent::new(json!({}), context(PLENTY))).await.unwrap();
}

/// The steps of the escalation that were published.
fn steps(world: &World) -> Vec<u64> {
    world.published().iter().map(|published| published.body()["escalation"].as_u64().unwrap_or(0)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_snooze_is_stored_with_who_when_until_and_why_and_a_repeat_is_the_same_answer() {
    let (world, id) = world().await;
    let until = minutes_from_now(60);
    let (status, first) = answer(&world, snooze(&id, &until)).await;
    let at = first["snoozed"]["at"].clone();
    let one = json!({"by": "dr-chen", "at": at, "until": until, "reason": "she is on her way here"});
    assert_eq!((status, &first), (200, &json!({"alertId": id, "snoozed": one})));
    assert_eq!(answer(&world, snooze(&id, &until)).await, (200, first));

    let list = request("GET /v1/sites/{site}/alerts", &[("site", "S01")], "", Some(claims(&CLINICIAN)), None, PLENTY);
    let (_, listed) = answer(&world, list).await;
    let shown = ["snoozedUntil", "snoozes", "status"].map(|name| listed["alerts"][0][name].clone());
    assert_eq!(shown, [json!(until), json!([one]), json!("sent")]);
    let entries = snoozed(&world);
    assert_eq!(entries.len(), 1, "a repeat changes nothing");
    let entry = ["sub", "role", "site", "subject", "patient", "at"].map(|name| entries[0][name].clone());
    assert_eq!(entry, [json!("dr-chen"), json!("clinician"), json!("S01"), json!(id), json!("P-1"), at]);
    assert!(!entries[0].to_string().contains("on her way"), "the reason is on the alert, where it belongs");
}

#[tokio::test(start_paused = true)]
async fn the_escalation_waits_for_the_end_of_the_snooze_and_goes_on_after_it() {
    let (world, id) = world().await;
    let until = minutes_from_now(60);
    assert_eq!(answer(&world, snooze(&id, &until)).await.0, 200);
    let due = OffsetDateTime::parse(row(&world)["pending_since"].as_str().unwrap(), &Rfc3339).unwrap();
    assert_eq!(due, OffsetDateTime::parse(&until, &Rfc3339).unwrap(), "the list has the new time");
    // As if it had been due long ago: the sweep finds it, and it is not published.
    for time in ["pending_since", "sent_at"] {
        world.tamper_one(&row(&world), time, LONG_AGO);
    }
    sweep(&world).await;
    assert_eq!((steps(&world), row(&world).get("escalation")), (vec![0], None));
    let due = OffsetDateTime::parse(row(&world)["pending_since"].as_str().unwrap(), &Rfc3339).unwrap();
    assert_eq!(due, OffsetDateTime::parse(&until, &Rfc3339).unwrap(), "it is looked at again at the end of the snooze");
    // The snooze is over.
    let over = json!({"L": [{"M": {
        "by": {"S": "dr-chen"}, "at": {"S": LONG_AGO}, "until": {"S": LONG_AGO}, "reason": {"S": "x"},
    }}]});
    world.set(&row(&world), "snoozes", over);
    world.tamper_one(&row(&world), "pending_since", LONG_AGO);
    sweep(&world).await;
    assert_eq!((steps(&world), &row(&world)["escalation"]), (vec![0, 1], &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_later_snooze_replaces_the_first_also_by_a_shorter_one() {
    let (world, id) = world().await;
    let (long, short) = (minutes_from_now(200), minutes_from_now(20));
    assert_eq!(answer(&world, snooze(&id, &long)).await.0, 200);
    assert_eq!(answer(&world, snooze(&id, &short)).await.0, 200);
    let row = row(&world);
    let until: Vec<&str> =
        row["snoozes"].as_array().unwrap().iter().map(|one| one["until"].as_str().unwrap()).collect();
    assert_eq!((until, snoozed(&world).len()), (vec![long.as_str(), short.as_str()], 2));
    let due = OffsetDateTime::parse(row["pending_since"].as_str().unwrap(), &Rfc3339).unwrap();
    assert_eq!(due, OffsetDateTime::parse(&short, &Rfc3339).unwrap());
    // Not the last one: it is stored again.
    assert_eq!(answer(&world, snooze(&id, &long)).await.0, 200);
    assert_eq!(snoozed(&world).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_snooze_is_at_most_as_long_as_the_study_says_and_in_the_future() {
    let (world, id) = world().await;
    for (minutes, expected) in [(-1, 422), (0, 422), (239, 200), (241, 422), (60 * 24 * 365 * 100, 422)] {
        let (status, body) = answer(&world, snooze(&id, &minutes_from_now(minutes))).await;
        assert_eq!(status, expected, "{minutes}: {body}");
        if status == 422 {
            assert_eq!(body["errors"][0]["pointer"], "/until");
        }
    }
    assert_eq!(snoozed(&world).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_study_that_says_nothing_about_snoozes_allows_none() {
    for study in [None, Some(json!({}))] {
        let world = World::new();
        if let Some(study) = study {
            world.put_study(study).await;
        }
        let id = raised(&world).await;
        let (status, problem) = answer(&world, snooze(&id, &minutes_from_now(1))).await;
        assert_eq!((status, &problem["type"]), (409, &json!("urn:epro:problem:alert-conflict")));
        assert!(problem["detail"].as_str().unwrap().contains("alerts.snooze"), "{problem}");
        assert!(row(&world).get("snoozes").is_none() && snoozed(&world).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_alert_is_not_snoozed_and_a_repeat_of_before_is_still_answered() {
    let (world, id) = world().await;
    let until = minutes_from_now(60);
    let first = answer(&world, snooze(&id, &until)).await;
    let acknowledge = "POST /v1/alerts/{alertId}/acknowledge";
    let acknowledge = request(acknowledge, &[("alertId", &id)], "", Some(claims(&CLINICIAN)), None, PLENTY);
    assert_eq!(answer(&world, acknowledge).await.0, 200);
    let (status, problem) = answer(&world, snooze(&id, &minutes_from_now(90))).await;
    assert_eq!((status, &problem["type"]), (409, &json!("urn:epro:problem:alert-conflict")));
    assert_eq!(answer(&world, snooze(&id, &until)).await, first, "its answer may have been lost");
    assert_eq!((row(&world)["status"].clone(), snoozed(&world).len()), (json!("ACKNOWLEDGED"), 1));
}

#[tokio::test(start_paused = true)]
async fn an_invalid_body_is_refused_with_all_findings() {
    let (world, id) = world().await;
    let until = minutes_from_now(60);
    for (body, pointers) in [
        (json!({}), vec!["/until", "/reason"]),
        (json!({"until": "soon", "reason": " "}), vec!["/until", "/reason"]),
        (json!({"until": until, "reason": "x".repeat(2_001)}), vec!["/reason"]),
        (json!({"until": until, "reason": "x", "note": "y"}), vec!["/note"]),
        (json!({"until": 7, "reason": "x"}), vec!["/until"]),
        (json!([]), vec![""]),
    ] {
        let (status, problem) = answer(&world, post(&id, &CLINICIAN, &body, PLENTY)).await;
        let found: Vec<&str> =
            problem["errors"].as_array().unwrap().iter().map(|one| one["pointer"].as_str().unwrap()).collect();
        assert_eq!((status, found), (422, pointers), "{problem}");
    }
    assert_eq!(answer(&world, post(&id, &CLINICIAN, &json!("x".repeat(40_000)), PLENTY)).await.0, 413);
    assert!(snoozed(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn promise_9_an_alert_is_snoozed_only_by_the_clinicians_of_its_site() {
    let (world, id) = world().await;
    let body = asked(&minutes_from_now(60));
    let clinician = |changes: &[(&'static str, &'static str)]| [&CLINICIAN, changes].concat();
    for (id, caller, expected) in [
        (id.as_str(), clinician(&[("sites", "S02")]), 404),
        (&id, clinician(&[("sites", "")]), 404),
        ("0b5f1c9e-1d6c-8b1f-9a53-2f4f4a1d7c11", clinician(&[]), 404),
        ("no-id-at-all", clinician(&[]), 404),
        (&id, clinician(&[("role", "staff")]), 403),
        (&id, clinician(&[("role", "monitor")]), 403),
        (&id, clinician(&[("scope", "alerts:read")]), 403),
        (&id, clinician(&[("sub", "")]), 401),
    ] {
        assert_eq!(answer(&world, post(id, &caller, &body, PLENTY)).await.0, expected, "{id} {caller:?}");
    }
    assert!(row(&world).get("snoozes").is_none() && snoozed(&world).is_empty());
}

#[tokio::test(start_paused = true)]
async fn concurrent_snoozes_are_stored_once_each_up_to_the_limit() {
    for fault in [None, Some(Fault::ApplyAndCut), Some(Fault::Cut)] {
        let (world, id) = world().await;
        if let Some(fault) = fault.clone() {
            world.inject_into("TransactWriteItems RecordsTable", 3, fault);
        }
        let mut stored = 0;
        // Each five send theirs at the same time.
        for round in 0..5 {
            let until: Vec<String> = (0..5).map(|n| minutes_from_now(10 + round * 5 + n)).collect();
            let answers = join_all(until.iter().map(|until| answer(&world, snooze(&id, until)))).await;
            stored += answers.iter().filter(|(status, _)| *status == 200).count();
            assert!(answers.iter().all(|(status, _)| [200, 422, 503].contains(status)), "{fault:?}: {answers:?}");
        }
        let kept = row(&world)["snoozes"].as_array().unwrap().len();
        assert!(kept <= 20 && stored <= kept && stored >= 15, "{fault:?}: {stored} of {kept}");
        assert_eq!(kept, snoozed(&world).len(), "{fault:?}: each has its entry");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_7_whatever_became_of_a_snooze_its_repeat_settles_it() {
    for (fault, times, expected) in [
        (Fault::throttle(), 2, 200),
        (Fault::ApplyAndCut, 1, 200),
        (Fault::ApplyTwice, 1, 200),
        (Fault::conflict(2, 0), 1, 200),
        (Fault::ApplyAndStall, usize::MAX, 503),
        (Fault::Cut, usize::MAX, 503),
        (Fault::internal(), usize::MAX, 503),
        (Fault::throttle(), usize::MAX, 503),
        (Fault::conflict(2, 0), usize::MAX, 503),
        (Fault::error("AccessDeniedException"), usize::MAX, 500),
    ] {
        let (world, id) = world().await;
        world.inject_into("TransactWriteItems", times, fault.clone());
        let until = minutes_from_now(60);
        let (status, problem) = answer(&world, post(&id, &CLINICIAN, &asked(&until), Duration::from_secs(5))).await;
        assert_eq!(status, expected, "{fault:?}: {problem}");
        if status == 503 {
            assert_eq!(problem["type"], "urn:epro:problem:outcome-unknown", "{fault:?}");
        }
        world.heal();
        let (status, settled) = answer(&world, snooze(&id, &until)).await;
        assert_eq!((status, &settled["snoozed"]["until"]), (200, &json!(until)), "{fault:?}");
        assert_eq!((row(&world)["snoozes"].as_array().unwrap().len(), snoozed(&world).len()), (1, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for remaining in [0, 100, 500, 3_000] {
        for stalled in ["BatchGetItem RecordsTable", "TransactWriteItems RecordsTable", "GetItem RecordsTable"] {
            let (world, id) = world().await;
            world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
            let start = Instant::now();
            let remaining = Duration::from_millis(remaining);
            let (status, _) = answer(&world, post(&id, &CLINICIAN, &asked(&minutes_from_now(60)), remaining)).await;
            let most = remaining.saturating_sub(Duration::from_millis(250));
            assert!(start.elapsed() <= most, "{remaining:?} {stalled}: {:?}", start.elapsed());
            assert!([200, 503].contains(&status), "{remaining:?} {stalled}: {status}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_escalation_that_was_read_before_the_snooze_is_not_published_after_it() {
    for lead in 0..12 {
        let (world, id) = world().await;
        for time in ["pending_since", "sent_at"] {
            world.tamper_one(&row(&world), time, LONG_AGO);
        }
        let clinician = async {
            tokio::time::sleep(Duration::from_millis(lead)).await;
            let answered = answer(&world, snooze(&id, &minutes_from_now(60))).await.0;
            (answered, row(&world)["escalation"].as_u64().unwrap_or(0))
        };
        let ((status, before), ()) = tokio::join!(clinician, sweep(&world));
        assert_eq!(status, 200, "{lead}");
        let after = row(&world)["escalation"].as_u64().unwrap_or(0);
        assert_eq!((after, alert_id(&row(&world))), (before, id), "{lead}: no step begins once it is snoozed");
    }
}
