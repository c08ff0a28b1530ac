//! Acknowledgements of alerts, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use clinical::studies::Escalation;
use futures::future::join_all;
use harness::{Fault, World, claims, context, request};
use lambda_http::Request;
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use support::{CLINICIAN, PLENTY, UNSAFE, alert_id, answer, raised, score, send};
use sweep::Sweep;
use tokio::time::Instant;

mod support;

const LONG_AGO: &str = "2026-01-01T00:00:00.000000000Z";

fn post(id: &str, caller: &[(&str, &str)], body: Option<&str>, remaining: Duration) -> Request {
    let route = "POST /v1/alerts/{alertId}/acknowledge";
    request(route, &[("alertId", id)], "", Some(claims(caller)), body, remaining)
}

fn acknowledge(id: &str) -> Request {
    post(id, &CLINICIAN, Some("{\"note\":\"called her\"}"), PLENTY)
}

async fn sweep(world: &World) {
    for row in world.items("alert") {
        for time in ["pending_since", "sent_at", "escalated_at"].into_iter().filter(|time| row[time].is_string()) {
            world.tamper_one(&row, time, LONG_AGO);
        }
    }
    let sweep =
        Sweep::new(world.store(), world.topic(), world.reminder_topic(), Escalation { after_minutes: 0, limit: 3 });
    sweep.handle(LambdaEvent::new(json!({}), context(PLENTY))).await.unwrap();
}

/// The audit entries of acknowledgements, without those of reads.
fn acknowledged(world: &World) -> Vec<Value> {
    let entries = world.items("audit").into_iter();
    entries.filter(|entry| entry["action"] == "alert-acknowledged").collect()
}

fn open_alerts(world: &World) -> u64 {
    world.items("profile").iter().map(|profile| profile["open_alerts"].as_u64().unwrap()).sum()
}

/// The escalation steps in which alerts were published, in order: 0 is the first publication.
fn steps(world: &World) -> Vec<u64> {
    world.published().iter().map(|published| published.body()["escalation"].as_u64().unwrap_or(0)).collect()
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_acknowledged_once_with_who_when_and_note_and_a_repeat_changes_nothing() {
    let world = World::new();
    let id = raised(&world).await;
    assert_eq!(open_alerts(&world), 1);
    let (status, first) = answer(&world, acknowledge(&id)).await;
    let at = first["acknowledged"]["at"].clone();
    let expected = json!({
        "alertId": id, "status": "acknowledged", "acknowledged": {"by": "dr-chen", "at": at, "note": "called her"},
    });
    assert_eq!((status, &first), (200, &expected));

    for repeat in [Some("{\"note\":\"called her\"}"), None] {
        assert_eq!(answer(&world, post(&id, &CLINICIAN, repeat, PLENTY)).await, (200, first.clone()));
    }
    let row = &world.items("alert")[0];
    assert_eq!(
        (&row["status"], &row["acknowledged_by"], &row["note"]),
        (&json!("ACKNOWLEDGED"), &json!("dr-chen"), &json!("called her"))
    );
    assert!(row["sent_at"].is_string() && row["message_id"].is_string());
    assert_eq!((open_alerts(&world), &world.items("profile")[0]["revision"]), (0, &json!(2)));
    let mut entries = world.items("audit");
    entries.sort_by_key(|entry| entry["action"] != "alert-acknowledged");
    assert_eq!(entries.len(), 3, "one change, and two repeats that read of it");
    for entry in &entries[1..] {
        let read = ["action", "sub", "role", "site", "subject", "patient"].map(|name| entry[name].clone());
        let expected = ["acknowledgement-read", "dr-chen", "clinician", "S01", &id, "P-1"];
        assert_eq!(read, expected.map(|text| json!(text)));
    }
    let entry = ["action", "sub", "role", "site", "subject", "at"].map(|name| entries[0][name].clone());
    assert_eq!(entry, [json!("alert-acknowledged"), json!("dr-chen"), json!("clinician"), json!("S01"), json!(id), at]);
    assert!(!entries[0].to_string().contains("called her"), "the note is on the alert, where it belongs");
}

#[tokio::test(start_paused = true)]
async fn the_note_of_a_second_clinician_is_stored_with_the_first() {
    let world = World::new();
    let id = raised(&world).await;
    let (_, first) = answer(&world, acknowledge(&id)).await;
    let weber = [("role", "clinician"), ("patient", ""), ("sub", "dr-weber"), ("sites", "S01 S02")];
    let note = Some("{\"note\":\"moved her visit\"}");
    let (status, second) = answer(&world, post(&id, &weber, note, PLENTY)).await;
    assert_eq!((status, &second["acknowledged"]), (200, &first["acknowledged"]), "the first is not replaced");
    let later = |answer: &Value| {
        let later = answer["laterAcknowledgements"].as_array().unwrap();
        let one = |one: &Value| (one["by"].as_str().unwrap().to_owned(), one["note"].clone(), one["at"].is_string());
        later.iter().map(one).collect::<Vec<_>>()
    };
    let one = |by: &str, note: &str| (by.to_owned(), json!(note), true);
    assert_eq!(later(&second), [one("dr-weber", "moved her visit")]);
    // A repeat adds nothing, and another note of either clinician is stored.
    assert_eq!(answer(&world, post(&id, &weber, note, PLENTY)).await, (200, second));
    let (_, third) = answer(&world, post(&id, &CLINICIAN, Some("{\"note\":\"called again\"}"), PLENTY)).await;
    assert_eq!(later(&third), [one("dr-weber", "moved her visit"), one("dr-chen", "called again")]);
    assert_eq!((acknowledged(&world).len(), open_alerts(&world)), (3, 0), "one entry for each that was kept");
    let list = request("GET /v1/sites/{site}/alerts", &[("site", "S01")], "", Some(claims(&CLINICIAN)), None, PLENTY);
    let (_, listed) = answer(&world, list).await;
    assert_eq!(listed["alerts"][0]["acknowledged"], first["acknowledged"]);
    assert_eq!(later(&listed["alerts"][0]), later(&third));
}

#[tokio::test(start_paused = true)]
async fn concurrent_notes_of_many_clinicians_are_stored_once_up_to_the_limit() {
    for fault in [None, Some(Fault::ApplyAndCut), Some(Fault::Cut)] {
        let world = World::new();
        let id = raised(&world).await;
        if let Some(fault) = fault.clone() {
            world.inject_into("TransactWriteItems", 5, fault);
        }
        let subs: Vec<String> = (0..22).map(|n| format!("dr-{n}")).collect();
        let answers = subs.iter().map(|sub| {
            let clinician = [("role", "clinician"), ("patient", ""), ("sub", sub.as_str())];
            let request = post(&id, &clinician, Some("{\"note\":\"seen\"}"), PLENTY);
            let world = &world;
            async move { answer(world, request).await.0 }
        });
        let mut statuses = futures::future::join_all(answers).await;
        statuses.sort_unstable();
        assert_eq!((&statuses[..21], statuses[21]), (&[200; 21][..], 422), "{fault:?}: one more than it keeps");
        let row = &world.items("alert")[0];
        let mut by: Vec<&str> =
            row["later_acknowledgements"].as_array().unwrap().iter().map(|one| one["by"].as_str().unwrap()).collect();
        by.push(row["acknowledged_by"].as_str().unwrap());
        by.sort_unstable();
        by.dedup();
        assert_eq!((by.len(), world.items("audit").len()), (21, 21), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_is_optional_and_an_empty_note_is_none() {
    for body in [None, Some(""), Some("{}"), Some("{\"note\":null}"), Some("{\"note\":\"  \"}")] {
        let world = World::new();
        let id = raised(&world).await;
        let (status, body_of_answer) = answer(&world, post(&id, &CLINICIAN, body, PLENTY)).await;
        assert_eq!((status, body_of_answer["acknowledged"].get("note")), (200, None), "{body:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_body_is_refused_and_nothing_is_stored() {
    let world = World::new();
    let id = raised(&world).await;
    let long = json!({"note": "ü".repeat(2_001)}).to_string();
    for (body, pointer) in
        [("{\"note\":7}", "/note"), (long.as_str(), "/note"), ("{\"notes\":\"x\"}", "/notes"), ("[]", ""), ("{", "")]
    {
        let (status, problem) = answer(&world, post(&id, &CLINICIAN, Some(body), PLENTY)).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!(pointer)), "{problem}");
    }
    let most = json!({"note": "😀".repeat(2_000)}).to_string().replace('😀', "\\ud83d\\ude00");
    assert_eq!(answer(&world, post(&id, &CLINICIAN, Some(&"x".repeat(40_000)), PLENTY)).await.0, 413);
    assert_eq!((world.items("alert")[0]["status"].clone(), open_alerts(&world)), (json!("SENT"), 1));
    assert_eq!(answer(&world, post(&id, &CLINICIAN, Some(&most), PLENTY)).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn promise_9_an_alert_exists_only_for_the_clinicians_of_its_site() {
    let world = World::new();
    let id = raised(&world).await;
    let clinician = |changes: &[(&'static str, &'static str)]| [&CLINICIAN, changes].concat();
    let mut details = Vec::new();
    for (id, caller, expected) in [
        (id.as_str(), clinician(&[("sites", "S02")]), 404),
        (&id, clinician(&[("study", "OTHER")]), 404),
        (&id, clinician(&[("sites", "")]), 404),
        ("0b5f1c9e-1d6c-8b1f-9a53-2f4f4a1d7c11", clinician(&[]), 404),
        ("no-id-at-all", clinician(&[]), 404),
        (&id, clinician(&[("role", "staff")]), 403),
        (&id, clinician(&[("role", "service")]), 403),
        (&id, clinician(&[("role", "patient"), ("patient", "P-1")]), 403),
        (&id, clinician(&[("scope", "alerts:read")]), 403),
        (&id, clinician(&[("token_use", "id")]), 401),
        (&id, clinician(&[("sub", "")]), 401),
    ] {
        let (status, problem) = answer(&world, post(id, &caller, None, PLENTY)).await;
        assert_eq!(status, expected, "{id} {caller:?}");
        if status == 404 {
            details.push(problem["detail"].clone());
        }
    }
    details.dedup();
    assert_eq!(details.len(), 1, "they cannot be distinguished");
    assert_eq!((world.items("alert")[0]["status"].clone(), world.items("audit").len()), (json!("SENT"), 0));
}

#[tokio::test(start_paused = true)]
async fn fifty_concurrent_acknowledgements_are_one_and_get_the_same_answer() {
    let world = World::new();
    let id = raised(&world).await;
    // Some of their transactions conflict.
    let mut meets = 0;
    world.inject(move |call| {
        let writes = call.body["TransactItems"].as_array()?.len();
        meets += 1;
        (meets % 3 == 0 && meets < 60).then(|| Fault::conflict(writes, 0))
    });
    let names: Vec<String> = (0..50).map(|n| format!("dr-{n}")).collect();
    let requests = names.iter().map(|name| post(&id, &[&CLINICIAN[..], &[("sub", name)]].concat(), None, PLENTY));
    let answers = join_all(requests.map(|request| answer(&world, request))).await;
    assert!(answers.iter().all(|answer| *answer == answers[0] && answer.0 == 200), "{answers:?}");
    assert_eq!((open_alerts(&world), acknowledged(&world).len()), (0, 1));
    assert_eq!(
        acknowledged(&world)[0]["sub"],
        answers[0].1["acknowledged"]["by"],
        "who is on the alert is in the audit"
    );
    assert_eq!(world.items("audit").len(), 50, "and so is each caller who got it as an answer");
}

#[tokio::test(start_paused = true)]
async fn promise_4_an_alert_acknowledged_before_it_was_published_is_published_once_and_stays_acknowledged() {
    // The stream delivers it again, or the sweep finds it.
    for by_sweep in [false, true] {
        let world = World::new();
        send(&world, "S01", "P-1", UNSAFE).await;
        world.inject_into("PublishBatch", usize::MAX, Fault::Cut);
        assert_eq!(score(&world, Duration::from_secs(5)).await, 0, "scored, and not published");
        world.heal();
        let row = &world.items("alert")[0];
        assert_eq!(row["status"], "PENDING");
        assert_eq!(answer(&world, acknowledge(&alert_id(row))).await.0, 200);
        for _ in 0..3 {
            if by_sweep {
                sweep(&world).await;
            } else {
                assert_eq!(score(&world, PLENTY).await, 0);
            }
        }
        let row = &world.items("alert")[0];
        assert_eq!((steps(&world), &row["status"]), (vec![0], &json!("ACKNOWLEDGED")), "by sweep: {by_sweep}");
        assert_eq!((&row["acknowledged_by"], &row["pending"]), (&json!("dr-chen"), &Value::Null));
        assert!(row["sent_at"].is_string() && row["message_id"].is_string());
    }
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_between_publishing_and_marking_is_not_overwritten() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    // The mark stalls until the alert is acknowledged, and then continues.
    world.inject_into("UpdateItem RecordsTable", 1, Fault::error("ThrottlingException"));
    let clinician = async {
        while world.count_calls("UpdateItem RecordsTable") == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        world.delay(Duration::from_micros(10));
        answer(&world, acknowledge(&alert_id(&world.items("alert")[0]))).await.0
    };
    assert_eq!(tokio::join!(score(&world, PLENTY), clinician), (0, 200));
    let row = &world.items("alert")[0];
    assert_eq!((&row["status"], &row["pending"]), (&json!("ACKNOWLEDGED"), &Value::Null));
    assert!(row["sent_at"].is_string());
    assert_eq!(steps(&world), [0]);
}

#[tokio::test(start_paused = true)]
async fn an_acknowledged_alert_escalates_no_further() {
    let world = World::new();
    let id = raised(&world).await;
    sweep(&world).await;
    assert_eq!(steps(&world), [0, 1]);
    assert_eq!(answer(&world, acknowledge(&id)).await.0, 200);
    for _ in 0..3 {
        sweep(&world).await;
    }
    let row = &world.items("alert")[0];
    assert_eq!((steps(&world), &row["pending"], &row["escalation"]), (vec![0, 1], &Value::Null, &json!(1)));
}

#[tokio::test(start_paused = true)]
async fn a_step_not_published_when_the_alert_was_acknowledged_is_never_published() {
    let world = World::new();
    let id = raised(&world).await;
    world.inject_into("PublishBatch", usize::MAX, Fault::Cut);
    for row in world.items("alert") {
        world.tamper_one(&row, "sent_at", LONG_AGO);
        world.tamper_one(&row, "pending_since", LONG_AGO);
    }
    let dying =
        Sweep::new(world.store(), world.topic(), world.reminder_topic(), Escalation { after_minutes: 0, limit: 3 });
    dying.handle(LambdaEvent::new(json!({}), context(Duration::from_secs(5)))).await.unwrap_err();
    world.heal();
    assert_eq!(world.items("alert")[0]["escalation"], 1);
    assert_eq!(answer(&world, acknowledge(&id)).await.0, 200);
    sweep(&world).await;
    assert_eq!((steps(&world), &world.items("alert")[0]["pending"]), (vec![0], &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_concurrent_acknowledgement_and_escalation_end_acknowledged_with_at_most_one_step_published() {
    for lead in 0..12 {
        let world = World::new();
        let id = raised(&world).await;
        let clinician = async {
            tokio::time::sleep(Duration::from_millis(lead)).await;
            answer(&world, acknowledge(&id)).await.0
        };
        let (status, ()) = tokio::join!(clinician, sweep(&world));
        assert_eq!(status, 200);
        for _ in 0..3 {
            sweep(&world).await;
        }
        let row = &world.items("alert")[0];
        assert_eq!((&row["status"], &row["pending"]), (&json!("ACKNOWLEDGED"), &Value::Null), "{lead}");
        assert!(steps(&world) == [0] || steps(&world) == [0, 1], "{lead}: {:?}", steps(&world));
        assert_eq!(open_alerts(&world), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_count_of_open_alerts_survives_a_score_that_read_the_profile_earlier() {
    // The acknowledgement comes at every point of scoring.
    for lead in 0..14 {
        let world = World::new();
        let id = raised(&world).await;
        for _ in 0..3 {
            send(&world, "S01", "P-1", UNSAFE).await;
        }
        let clinician = async {
            tokio::time::sleep(Duration::from_millis(lead)).await;
            answer(&world, acknowledge(&id)).await.0
        };
        assert_eq!(tokio::join!(score(&world, PLENTY), clinician), (0, 200));
        assert_eq!((world.items("alert").len(), open_alerts(&world)), (4, 3), "{lead}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_count_of_open_alerts_does_not_prevent_an_acknowledgement() {
    let world = World::new();
    let id = raised(&world).await;
    world.set(&world.items("profile")[0], "open_alerts", json!({"N": "0"}));
    assert_eq!(answer(&world, acknowledge(&id)).await.0, 200);
    assert_eq!((open_alerts(&world), acknowledged(&world).len()), (0, 1), "never below zero");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_alert_can_be_acknowledged_and_is_never_published() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    let quiet = json!([{"id": "safety", "severity": "critical", "quietHours": 24, "when": {"item": {"of": "9", "atLeast": 1}}}]);
    world.put_study(json!({"instruments": [{"id": "phq-9", "version": "1.0.0", "rules": quiet}]})).await;
    send(&world, "S01", "P-1", UNSAFE).await;
    score(&world, PLENTY).await;
    let row = world.items("alert").into_iter().find(|row| row["status"] == "QUIET").unwrap();
    assert_eq!(answer(&world, acknowledge(&alert_id(&row))).await.0, 200);
    sweep(&world).await;
    score(&world, PLENTY).await;
    assert!(world.published().iter().all(|published| published.body()["alertId"] != row["alert_id"]));
    assert_eq!(open_alerts(&world), 1);
}

#[tokio::test(start_paused = true)]
async fn promise_7_an_unknown_outcome_is_reported_and_the_repeat_settles_it() {
    for (fault, times, expected) in [
        (Fault::throttle(), 2, 200),
        (Fault::ApplyAndCut, 2, 200),
        (Fault::ApplyTwice, 1, 200),
        (Fault::conflict(3, 1), 3, 200),
        (Fault::error("TransactionInProgressException"), 9, 200),
        (Fault::error("TransactionInProgressException"), usize::MAX, 503),
        (Fault::ApplyAndStall, usize::MAX, 503),
        (Fault::Cut, usize::MAX, 503),
        (Fault::internal(), usize::MAX, 503),
        (Fault::throttle(), usize::MAX, 503),
        (Fault::error("AccessDeniedException"), usize::MAX, 500),
    ] {
        let world = World::new();
        let id = raised(&world).await;
        world.inject_into("TransactWriteItems", times, fault.clone());
        let note = Some("{\"note\":\"called her\"}");
        let (status, body) = answer(&world, post(&id, &CLINICIAN, note, Duration::from_secs(5))).await;
        assert_eq!(status, expected, "{fault:?}: {body}");
        let unknown = !matches!(&fault, Fault::Answer(400, body) if body["__type"] != "TransactionInProgressException");
        if status == 503 {
            let kind = if unknown { "urn:epro:problem:outcome-unknown" } else { "urn:epro:problem:not-done" };
            assert_eq!(body["type"], kind, "{fault:?}");
        }
        world.heal();
        let (status, body) = answer(&world, acknowledge(&id)).await;
        assert_eq!((status, &body["status"]), (200, &json!("acknowledged")), "{fault:?}");
        assert_eq!((open_alerts(&world), acknowledged(&world).len()), (0, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_7_an_unknown_first_attempt_stays_unknown_whatever_later_attempts_return() {
    let world = World::new();
    let id = raised(&world).await;
    world.inject_into("TransactWriteItems", 4, Fault::ApplyAndCut);
    world.inject_into("TransactWriteItems", usize::MAX, Fault::throttle());
    let (status, body) = answer(&world, post(&id, &CLINICIAN, None, Duration::from_secs(3))).await;
    assert_eq!((status, &body["type"]), (503, &json!("urn:epro:problem:outcome-unknown")));
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
        for stalled in ["GetItem RecordsTable", "TransactWriteItems", "TransactWriteItems SiteCountsTable", ""] {
            let world = World::new();
            let id = raised(&world).await;
            world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
            let start = Instant::now();
            let (status, _) = answer(&world, post(&id, &CLINICIAN, None, Duration::from_millis(remaining))).await;
            let most = Duration::from_millis(remaining.saturating_sub(250));
            assert!(start.elapsed() <= most, "{remaining} {stalled}: {:?}", start.elapsed());
            let stalls = ["GetItem RecordsTable", "TransactWriteItems"].contains(&stalled);
            assert_eq!(status, if remaining > 250 && !stalls { 200 } else { 503 }, "{remaining} {stalled}");
            assert_eq!(open_alerts(&world), u64::from(status != 200), "{remaining} {stalled}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_request_is_one_api_call_of_the_alerts_site() {
    let world = World::new();
    let id = raised(&world).await;
    let calls = |world: &World| world.count_calls("TransactWriteItems SiteCountsTable");
    let before = calls(&world);
    answer(&world, acknowledge(&id)).await;
    answer(&world, acknowledge(&id)).await;
    assert_eq!(calls(&world) - before, 2);
}
