//! Runs of `sweep` over items that wait too long, over the real SDK, a store in memory and an SNS that records what it
//! is sent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeMap;
use std::time::Duration;

use api::Handler;
use clinical::studies::Escalation;
use harness::{Fault, World, claims, context, request};
use invocation::Deadline;
use invocation::metrics::{self, Captured};
use lambda_runtime::LambdaEvent;
use serde_json::{Value, json};
use submit::Submit;
use sweep::{Sweep, SweepError, SweepSummary};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(60);
const LONG_AGO: &str = "2026-01-01T00:00:00.000000000Z";
const CALM: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 0];
const UNSAFE: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 1];
const SEVERE: [u8; 9] = [3; 9];
const AT_ONCE: Escalation = Escalation { after_minutes: 0, limit: 3 };
const NEVER: Escalation = Escalation { limit: 0, ..AT_ONCE };
const IN_HALF_AN_HOUR: Escalation = Escalation { after_minutes: 30, limit: 3 };

async fn send(world: &World, site: &str, patient: &str, codes: [u8; 9]) {
    let answers: BTreeMap<String, u8> =
        (1..).zip(codes).map(|(item, code): (u8, u8)| (item.to_string(), code)).collect();
    let body = json!({
        "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": "2026-11-01T08:00:00Z", "answers": answers,
    });
    let claims = claims(&[("sites", site), ("patient", patient)]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
}

async fn score(world: &World, remaining: Duration) -> usize {
    world.score(&world.stream(), remaining).await
}

/// The scheduled event of EventBridge.
fn scheduled(remaining: Duration) -> LambdaEvent<Value> {
    let event = json!({
        "version": "0", "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "detail-type": "Scheduled Event",
        "source": "aws.events", "account": "000000000000", "time": "2026-11-23T08:00:00Z", "region": "eu-central-1",
        "resources": ["arn:aws:events:eu-central-1:000000000000:rule/sweep"], "detail": {},
    });
    LambdaEvent::new(event, context(remaining))
}

async fn run(world: &World, escalation: Escalation, remaining: Duration) -> Result<SweepSummary, SweepError> {
    Sweep::new(world.store(), world.topic(), world.reminder_topic(), escalation).handle(scheduled(remaining)).await
}

async fn sweep(world: &World) -> SweepSummary {
    run(world, IN_HALF_AN_HOUR, PLENTY).await.unwrap()
}

/// Moves the times of waiting, sending and escalating of all submissions and alerts into the past.
fn age(world: &World) {
    for item in world.items("submission").iter().chain(&world.items("alert")) {
        for time in ["pending_since", "sent_at", "escalated_at"].into_iter().filter(|time| item[time].is_string()) {
            world.tamper_one(item, time, LONG_AGO);
        }
    }
}

async fn submissions_counted(world: &World, site: &str) -> u64 {
    let (study, site) = ("DEMO".parse().unwrap(), site.parse().unwrap());
    world.store().site_counts(&study, &[site], Deadline::after(PLENTY)).await.unwrap()[0].submissions
}

/// The steps that were published, in order: 0 is the first publication.
fn steps(world: &World) -> Vec<u64> {
    world.published().iter().map(|published| published.body()["escalation"].as_u64().unwrap_or(0)).collect()
}

fn list(row: &Value) -> &str {
    row["pending"].as_str().and_then(|pending| pending.split_once('#')).map_or("", |(list, _)| list)
}

#[tokio::test(start_paused = true)]
async fn promise_2_submissions_that_the_stream_lost_are_scored_counted_and_their_alerts_published() {
    let world = World::new();
    for n in 0..60 {
        send(&world, &format!("S0{}", n % 2), &format!("P-{:02}", n % 20), if n % 6 == 0 { UNSAFE } else { CALM })
            .await;
    }
    age(&world);
    let swept = sweep(&world).await;
    assert_eq!((swept.submissions, swept.alerts, swept.finished), (60, 10, true));
    assert!(swept.oldest_pending_seconds > 10_000_000, "since January");
    assert!(world.items("submission").iter().all(|item| item["scored_at"].is_string() && item["pending"].is_null()));
    assert_eq!((submissions_counted(&world, "S00").await, submissions_counted(&world, "S01").await), (30, 30));
    assert_eq!((world.items("alert").len(), world.published().len()), (10, 10));
    assert!(world.items("alert").iter().all(|row| row["status"] == "SENT"));

    let transactions = world.count_calls("TransactWriteItems");
    assert_eq!(
        sweep(&world).await,
        SweepSummary { finished: true, ..SweepSummary::default() },
        "nothing waits any more"
    );
    assert_eq!(world.count_calls("TransactWriteItems"), transactions);
}

#[tokio::test(start_paused = true)]
async fn recent_submissions_are_left_to_the_stream() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    assert_eq!(sweep(&world).await, SweepSummary { finished: true, ..SweepSummary::default() });
    assert_eq!(world.count_calls("TransactWriteItems"), 0);
}

#[tokio::test(start_paused = true)]
async fn promise_3_each_submission_is_counted_once_while_score_and_another_sweep_are_running() {
    let world = World::new();
    for n in 0..20 {
        send(&world, "S01", &format!("P-{}", n % 5), UNSAFE).await;
    }
    age(&world);
    let (not_done, one, other) = tokio::join!(score(&world, PLENTY), sweep(&world), sweep(&world));
    assert_eq!((not_done, one.finished, other.finished), (0, true, true));
    assert_eq!(submissions_counted(&world, "S01").await, 20);
    assert_eq!(world.items("alert").len(), 20);
    assert!(world.items("alert").iter().all(|row| row["status"] == "SENT"));
}

#[tokio::test(start_paused = true)]
async fn promise_4_an_unconfirmed_alert_is_published_and_marked() {
    // Not accepted, accepted without an answer, not marked, and marked without an answer.
    for (operation, fault) in [
        ("PublishBatch", Fault::Cut),
        ("PublishBatch", Fault::ApplyAndCut),
        ("UpdateItem RecordsTable", Fault::Cut),
        ("UpdateItem RecordsTable", Fault::ApplyAndCut),
    ] {
        let world = World::new();
        send(&world, "S01", "P-1", SEVERE).await;
        world.inject_into(operation, usize::MAX, fault.clone());
        assert_eq!(score(&world, Duration::from_secs(5)).await, 0, "scored, and not published");
        world.heal();
        assert_eq!(sweep(&world).await.alerts, 0, "score may still be processing it");
        age(&world);
        run(&world, NEVER, PLENTY).await.unwrap();
        let rows = world.items("alert");
        assert!(rows.iter().all(|row| row["status"] == "SENT" && list(row) != "PENDING"), "{operation} {fault:?}");
        let ids: std::collections::BTreeSet<String> =
            world.published().iter().map(|published| published.body()["alertId"].to_string()).collect();
        assert_eq!((rows.len(), ids.len()), (2, 2), "{operation} {fault:?}");
        assert!(steps(&world).iter().all(|step| *step == 0), "{operation} {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_critical_alert_that_nobody_acknowledges_is_published_again_up_to_the_limit() {
    let world = World::new();
    send(&world, "S01", "P-1", SEVERE).await;
    assert_eq!(score(&world, PLENTY).await, 0);
    assert_eq!(world.published().len(), 2, "a critical one and a warning");
    for expected in [1, 1, 1, 0, 0] {
        age(&world);
        assert_eq!(run(&world, AT_ONCE, PLENTY).await.unwrap().escalated, expected);
    }
    assert_eq!(steps(&world), [0, 0, 1, 2, 3]);
    let critical = world.items("alert").into_iter().find(|row| row["severity"] == "critical").unwrap();
    assert_eq!((&critical["escalation"], list(&critical), &critical["status"]), (&json!(3), "", &json!("SENT")));
    let last = world.published().pop().unwrap();
    assert_eq!(last.attributes["escalation"], "3");
    assert_eq!((&last.body()["alertId"], last.body()["escalation"].as_u64()), (&critical["alert_id"], Some(3)));
    let warning = world.items("alert").into_iter().find(|row| row["severity"] == "warning").unwrap();
    assert_eq!((list(&warning), warning["escalation"].is_null()), ("", true));
}

#[tokio::test(start_paused = true)]
async fn what_has_an_alarm_is_reported_before_a_run_waits_for_the_number_of_open_alerts() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    score(&world, PLENTY).await;
    for _ in 0..AT_ONCE.limit {
        age(&world);
        run(&world, AT_ONCE, PLENTY).await.unwrap();
    }
    age(&world);
    world.inject(|call| (call.body["Select"] == "COUNT").then_some(Fault::Stall));
    let captured = Captured::begin();
    let killed = timeout(Duration::from_millis(100), run(&world, AT_ONCE, PLENTY)).await;
    assert!(killed.is_err(), "the run waits");
    assert_eq!(captured.sum(metrics::ALERTS_EXHAUSTED), Some(1));
    assert_eq!((captured.sum(metrics::SWEEP_FAILURES), captured.sum(metrics::ALERTS_UNACKNOWLEDGED)), (Some(0), None));
    assert_eq!(captured.sum(metrics::OLDEST_PENDING_SECONDS), Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_is_not_due_is_neither_published_again_nor_read_each_minute() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    score(&world, PLENTY).await;
    // The test's clock may be slightly ahead of the wall clock, which the next run reads.
    world.tamper("alert", "pending_since", LONG_AGO);
    assert_eq!(sweep(&world).await.escalated, 0);
    let row = &world.items("alert")[0];
    let time = |name: &str| OffsetDateTime::parse(row[name].as_str().unwrap(), &Rfc3339).unwrap();
    assert_eq!(time("pending_since") - time("sent_at"), time::Duration::minutes(30));
    let reads = world.count_calls("BatchGetItem RecordsTable");
    sweep(&world).await;
    assert_eq!(world.count_calls("BatchGetItem RecordsTable"), reads);

    age(&world);
    assert_eq!(sweep(&world).await.escalated, 1);
    world.tamper("alert", "pending_since", LONG_AGO);
    assert_eq!(sweep(&world).await.escalated, 0, "half an hour since the last publication");
    assert_eq!(steps(&world), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn without_escalation_an_alert_leaves_the_list() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    score(&world, PLENTY).await;
    assert_eq!(list(&world.items("alert")[0]), "OPEN");
    age(&world);
    assert_eq!(run(&world, NEVER, PLENTY).await.unwrap().escalated, 0);
    assert_eq!(list(&world.items("alert")[0]), "");
}

#[tokio::test(start_paused = true)]
async fn a_study_may_define_the_escalation_and_the_link_of_its_alerts() {
    for (own, expected) in [(json!({"afterMinutes": 10, "limit": 1}), 1), (json!({"afterMinutes": 10, "limit": 0}), 0)]
    {
        let world = World::new();
        let alerts = json!({"link": "https://s.example/{alertId}", "escalation": own});
        world.put_study(json!({"alerts": alerts})).await;
        send(&world, "S01", "P-1", UNSAFE).await;
        score(&world, PLENTY).await;
        for _ in 0..3 {
            age(&world);
            run(&world, AT_ONCE, PLENTY).await.unwrap();
        }
        assert_eq!(steps(&world).len(), 1 + expected, "{own}");
        let links = world.published().into_iter().map(|published| published.body()["link"].to_string());
        assert!(links.into_iter().all(|link| link.contains("https://s.example/")), "{own}");
    }
}

#[tokio::test(start_paused = true)]
async fn alerts_of_an_unreadable_study_escalate_too() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    score(&world, PLENTY).await;
    age(&world);
    world.inject_into("GetItem RecordsTable", usize::MAX, Fault::Cut);
    assert_eq!(run(&world, IN_HALF_AN_HOUR, PLENTY).await.unwrap().escalated, 1);
}

#[tokio::test(start_paused = true)]
async fn wherever_a_run_dies_each_step_is_published_at_least_once_and_none_is_skipped() {
    for cut_at in 0..24 {
        let world = World::new();
        for n in 0..3 {
            send(&world, "S01", &format!("P-{n}"), UNSAFE).await;
        }
        score(&world, PLENTY).await;
        age(&world);
        let before = world.calls().len();
        let dying = Sweep::new(world.store(), world.topic(), world.reminder_topic(), AT_ONCE);
        tokio::select! {
            _ = dying.handle(scheduled(PLENTY)) => {}
            () = async {
                while world.calls().len() < before + cut_at {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            } => {}
        }
        for _ in 0..6 {
            age(&world);
            run(&world, AT_ONCE, PLENTY).await.unwrap();
        }
        for row in world.items("alert") {
            assert_eq!((&row["escalation"], list(&row)), (&json!(3), ""), "{cut_at}");
            let of_row =
                world.published().into_iter().filter(|published| published.body()["alertId"] == row["alert_id"]);
            let mut published: Vec<u64> =
                of_row.map(|published| published.body()["escalation"].as_u64().unwrap_or(0)).collect();
            assert!(published.is_sorted(), "{cut_at}: {published:?}");
            published.dedup();
            assert_eq!(published, [0, 1, 2, 3], "{cut_at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_was_stored_with_its_answer_lost_is_still_published() {
    for fault in [Fault::ApplyTwice, Fault::ApplyAndCut, Fault::ApplyAndStall] {
        let world = World::new();
        send(&world, "S01", "P-1", UNSAFE).await;
        score(&world, PLENTY).await;
        age(&world);
        world.inject_into("UpdateItem RecordsTable", 1, fault.clone());
        // Whether this run succeeds or not, the step is stored.
        let _either = run(&world, AT_ONCE, PLENTY).await;
        world.heal();
        for step in 2..=3 {
            age(&world);
            run(&world, AT_ONCE, PLENTY).await.unwrap();
            assert!(steps(&world).len() >= step, "{fault:?}");
        }
        let mut published = steps(&world);
        published.dedup();
        assert!(published == [0, 1, 2] || published == [0, 1, 2, 3], "{fault:?}: {published:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_concurrent_runs_publish_one_step() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    score(&world, PLENTY).await;
    age(&world);
    let both = tokio::join!(run(&world, AT_ONCE, PLENTY), run(&world, AT_ONCE, PLENTY));
    assert_eq!(both.0.unwrap().escalated + both.1.unwrap().escalated, 1);
    assert_eq!(steps(&world), [0, 1]);
}

#[tokio::test(start_paused = true)]
async fn promise_8_a_submission_that_can_never_be_scored_is_quarantined_once_and_delays_no_other() {
    let world = World::new();
    send(&world, "S01", "P-0", CALM).await;
    world.tamper("submission", "answers", "not a map");
    for n in 1..4 {
        send(&world, "S01", &format!("P-{n}"), CALM).await;
    }
    age(&world);
    assert_eq!(sweep(&world).await.submissions, 4);
    assert_eq!(submissions_counted(&world, "S01").await, 3);
    let quarantined = world.items("quarantined");
    assert_eq!((quarantined.len(), &quarantined[0]["reason"]), (1, &json!("attribute answers is not a map")));
    assert_eq!(sweep(&world).await.submissions, 0, "it is not retried, and raises no second alarm");

    // Once its cause is fixed, it is retried on request.
    let broken = world.items("submission").into_iter().find(|item| list(item) == "QUARANTINE").unwrap();
    world.set(&broken, "answers", json!({"M": {"9": {"N": "1"}}}));
    let retry = LambdaEvent::new(json!({"retry": "quarantine"}), context(PLENTY));
    let swept = Sweep::new(world.store(), world.topic(), world.reminder_topic(), AT_ONCE).handle(retry).await.unwrap();
    assert_eq!((swept.submissions, submissions_counted(&world, "S01").await), (1, 4));
    assert_eq!((world.items("quarantined").len(), world.published().len()), (1, 1));
    assert!(world.items("submission").iter().all(|item| item["pending"].is_null()));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_score_quarantined_is_not_retried() {
    let world = World::new();
    send(&world, "S01", "P-1", CALM).await;
    let mut stream = world.stream();
    stream[0]["dynamodb"]["NewImage"]["instrument"]["M"]["version"]["S"] = json!("7.0.0");
    assert_eq!(world.score(&stream, PLENTY).await, 0);
    age(&world);
    assert_eq!(sweep(&world).await, SweepSummary { finished: true, ..SweepSummary::default() });
    assert_eq!(world.items("quarantined").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ends_early_is_resumed_by_the_next() {
    let world = World::new();
    for n in 0..120 {
        send(&world, "S01", &format!("P-{n}"), CALM).await;
    }
    age(&world);
    // Slow enough that one run cannot finish.
    world.delay(Duration::from_millis(150));
    let (mut runs, mut submissions) = (0, 0);
    loop {
        runs += 1;
        let swept = run(&world, AT_ONCE, Duration::from_secs(3)).await;
        if let Ok(swept) = swept {
            submissions += swept.submissions;
            if swept.finished {
                break;
            }
        }
        assert!(runs < 20, "the runs never finish");
    }
    assert!(runs > 1, "one run finished, so nothing was resumed");
    assert!(submissions <= 120);
    assert_eq!(submissions_counted(&world, "S01").await, 120);
}

/// Sends the pain of one day of November, by the clock of the device.
async fn send_pain(world: &World, day: u8, pain: u8) {
    let body = json!({
        "id": Uuid::now_v7().to_string(), "instrument": "pain-nrs", "version": "1.0.0",
        "authoredAt": format!("2025-11-{day:02}T08:00:00Z"), "answers": {"1": pain},
    });
    let claims = claims(&[("sites", "S01"), ("patient", "P-1")]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
}

#[tokio::test(start_paused = true)]
async fn a_course_that_cannot_be_evaluated_fails_the_run_and_is_evaluated_by_the_next() {
    let world = World::new();
    let lasting = json!({"consecutive": {"of": "total", "atLeast": 8, "times": 3, "last": 3}});
    let rules = json!([{"id": "lasting", "severity": "warning", "when": lasting}]);
    world.put_study(json!({"instruments": [{"id": "pain-nrs", "version": "1.0.0", "rules": rules}]})).await;
    send_pain(&world, 1, 8).await;
    send_pain(&world, 3, 8).await;
    score(&world, PLENTY).await;
    let before = world.items("alert").len();
    send_pain(&world, 2, 8).await;
    // The records of a patient are read by the patient's key, and the lists by the index.
    let of_a_patient = |call: &harness::Call| {
        let partition = call.body["ExpressionAttributeValues"][":pk"]["S"].as_str().unwrap_or_default();
        partition.starts_with("PATIENT#").then(|| Fault::error("ValidationException"))
    };
    world.inject(of_a_patient);
    score(&world, PLENTY).await;
    age(&world);
    world.tamper_one(&world.items("profile")[0], "pending_since", LONG_AGO);
    let failed = run(&world, NEVER, PLENTY).await.unwrap_err();
    assert_eq!(failed.to_string(), "1 of the waiting items failed; the reasons are in the log");
    assert!(!world.items("alert").iter().any(|alert| alert["rule"] == "lasting"));
    world.heal();
    let swept = run(&world, NEVER, PLENTY).await.unwrap();
    assert_eq!((swept.courses, swept.finished), (1, true));
    let raised: Vec<Value> = world.items("alert").into_iter().filter(|alert| alert["rule"] == "lasting").collect();
    assert_eq!((raised.len(), &raised[0]["late"], &raised[0]["status"]), (1, &json!(true), &json!("SENT")));
    assert!(world.items("alert").len() > before);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_was_quarantined_before_its_first_escalation_has_nothing_to_publish() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    score(&world, PLENTY).await;
    age(&world);
    let alert = world.items("alert").remove(0);
    let pending = alert["pending"].as_str().unwrap().replacen(list(&alert), "QUARANTINE", 1);
    world.tamper_one(&alert, "pending", &pending);
    let retry = LambdaEvent::new(json!({"retry": "quarantine"}), context(PLENTY));
    let swept = Sweep::new(world.store(), world.topic(), world.reminder_topic(), AT_ONCE).handle(retry).await.unwrap();
    assert_eq!((swept.alerts, swept.escalated, steps(&world)), (0, 0, vec![0]));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_alert_fails_the_run_and_delays_no_other() {
    let world = World::new();
    send(&world, "S01", "P-1", UNSAFE).await;
    score(&world, PLENTY).await;
    world.tamper("alert", "severity", "very");
    send(&world, "S01", "P-2", UNSAFE).await;
    score(&world, PLENTY).await;
    age(&world);
    let swept = run(&world, AT_ONCE, PLENTY).await.unwrap_err();
    assert_eq!(swept.to_string(), "1 of the waiting items failed; the reasons are in the log");
    assert_eq!(steps(&world), [0, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_patient_and_an_item_of_an_unknown_kind_fail_the_run_and_delay_no_other() {
    let world = World::new();
    send(&world, "S01", "P-1", CALM).await;
    score(&world, PLENTY).await;
    let profile = world.items("profile").remove(0);
    for (attribute, value) in [("pending", "PENDING#3"), ("pending_since", LONG_AGO), ("courses", "")] {
        world.tamper_one(&profile, attribute, value);
    }
    let other = [("sk", "MEMO"), ("kind", "memo"), ("pending", "PENDING#5"), ("pending_since", LONG_AGO)];
    world.copy(&world.items("submission")[0], &other);
    send(&world, "S01", "P-2", CALM).await;
    age(&world);
    let swept = run(&world, AT_ONCE, PLENTY).await.unwrap_err();
    assert_eq!(swept.to_string(), "2 of the waiting items failed; the reasons are in the log");
    assert_eq!(submissions_counted(&world, "S01").await, 2);
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_a_run_ends_before_the_reserve_and_the_next_completes_it() {
    let stalls = [
        "Query RecordsTable",
        "GetItem RecordsTable",
        "BatchGetItem RecordsTable",
        "TransactWriteItems",
        "PublishBatch",
        "UpdateItem RecordsTable",
        "PutItem RecordsTable",
        "",
    ];
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
        for stalled in stalls {
            let world = World::new();
            send(&world, "S01", "P-0", UNSAFE).await;
            score(&world, PLENTY).await;
            send(&world, "S01", "P-1", UNSAFE).await;
            world.inject_into("PublishBatch", usize::MAX, Fault::Cut);
            score(&world, Duration::from_secs(3)).await;
            world.heal();
            send(&world, "S01", "P-2", CALM).await;
            send(&world, "S01", "P-3", CALM).await;
            world.set(world.items("submission").last().unwrap(), "answers", json!({"S": "not a map"}));
            age(&world);

            world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
            let start = Instant::now();
            let result = run(&world, AT_ONCE, Duration::from_millis(remaining)).await;
            let most = Duration::from_millis(remaining.saturating_sub(500));
            assert!(start.elapsed() <= most, "{remaining} {stalled}: {:?}", start.elapsed());
            match result {
                Ok(swept) if swept.finished => {
                    assert!(remaining > 500, "{remaining} {stalled}");
                    let left: Vec<Value> =
                        world.items("alert").into_iter().filter(|row| row["status"] != "SENT").collect();
                    assert_eq!(left, Vec::<Value>::new(), "{remaining} {stalled}");
                }
                Ok(_) => assert!(!stalled.is_empty() || remaining <= 500, "{remaining} {stalled}"),
                Err(SweepError { .. }) => assert!(!stalled.is_empty() && remaining > 500, "{remaining} {stalled}"),
            }

            world.heal();
            age(&world);
            run(&world, AT_ONCE, PLENTY).await.unwrap();
            assert_eq!(submissions_counted(&world, "S01").await, 3, "{remaining} {stalled}");
            assert!(world.items("alert").iter().all(|row| row["status"] == "SENT"), "{remaining} {stalled}");
            assert_eq!(world.items("quarantined").len(), 1, "{remaining} {stalled}");
        }
    }
}
