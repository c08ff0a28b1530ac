//! A failure affects only what it concerns: an outage of SNS, a site whose transactions stall, a panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::studies::Escalation;
use harness::{Fault, World, claims, context, request, stream_event};
use invocation::{Environment, telemetry};
use lambda_runtime::LambdaEvent;
use score::Score;
use serde_json::{Value, json};
use simulation::run::Log;
use submit::Submit;
use sweep::{Sweep, SweepError, SweepSummary};
use tokio::time::Instant;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(60);
const LONG_AGO: &str = "2026-01-01T00:00:00.000000000Z";
const NEVER: Escalation = Escalation { after_minutes: 1, limit: 0 };

async fn send_unsafe(world: &World, site: &str, patient: &str) {
    let body = json!({
        "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": "2025-11-01T08:00:00Z", "answers": {"9": 1},
    });
    let claims = claims(&[("sites", site), ("patient", patient)]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
}

fn scored(world: &World) -> usize {
    world.items("submission").iter().filter(|item| item["scored_at"].is_string()).count()
}

fn sent(world: &World) -> usize {
    world.items("alert").iter().filter(|row| row["status"] == "SENT").count()
}

/// Moves the time since which items wait into the past.
fn age(world: &World) {
    for item in world.all_items().iter().filter(|item| item["pending_since"].is_string()) {
        world.tamper_one(item, "pending_since", LONG_AGO);
    }
}

async fn sweep(sweep: &Sweep) -> Result<SweepSummary, SweepError> {
    sweep.handle(LambdaEvent::new(json!({}), context(PLENTY))).await
}

#[tokio::test(start_paused = true)]
async fn promise_4_an_outage_of_sns_delays_no_score_and_all_alerts_are_published_afterwards() {
    for fault in [Fault::Stall, Fault::Cut, Fault::internal()] {
        let world = World::new();
        let score = Score::new(world.store(), world.topic());
        world.inject_into("PublishBatch", usize::MAX, fault.clone());
        let mut delivered = 0;
        for (batch, longest) in [(0, 7), (1, 2), (2, 2)] {
            for n in 0..40 {
                send_unsafe(&world, "S01", &format!("P-{batch}-{n}")).await;
            }
            let start = Instant::now();
            let answer = score.handle(stream_event(&world.stream()[delivered..], PLENTY)).await.unwrap();
            assert_eq!(answer.batch_item_failures, [], "{fault:?}");
            delivered += 40;
            assert_eq!(scored(&world), delivered, "each batch is completely scored at its first delivery: {fault:?}");
            // After a call in which SNS accepted nothing, the next batch waits for a short time only.
            assert!(start.elapsed() < Duration::from_secs(longest), "batch {batch}, {fault:?}: {:?}", start.elapsed());
        }
        assert_eq!((world.items("alert").len(), sent(&world)), (120, 0), "{fault:?}");
        world.heal();
        age(&world);
        let swept = sweep(&Sweep::new(world.store(), world.topic(), world.reminder_topic(), NEVER)).await.unwrap();
        assert_eq!((swept.alerts, sent(&world)), (120, 120), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_scores_all_waiting_submissions_during_an_outage_of_sns() {
    let world = World::new();
    for n in 0..440 {
        send_unsafe(&world, &format!("S0{}", n % 3), &format!("P-{n}")).await;
    }
    age(&world);
    world.inject_into("PublishBatch", usize::MAX, Fault::Stall);
    let run = Sweep::new(world.store(), world.topic(), world.reminder_topic(), NEVER);
    let _ = sweep(&run).await;
    assert_eq!((scored(&world), sent(&world)), (440, 0));
    age(&world);
    let reported = sweep(&run).await.unwrap_err();
    assert_eq!(reported.to_string(), "440 of the waiting items failed; the reasons are in the log");
    world.heal();
    age(&world);
    assert_eq!(sweep(&run).await.unwrap().alerts, 440);
    assert_eq!(sent(&world), 440);
}

#[tokio::test(start_paused = true)]
async fn sites_that_stall_delay_no_other() {
    let world = World::new();
    for site in 1..=9 {
        send_unsafe(&world, &format!("S0{site}"), &format!("P-{site}")).await;
    }
    world.inject(|call| {
        let bad = call.name() == "TransactWriteItems" && !call.body.to_string().contains("COUNT#DEMO#S09#");
        bad.then_some(Fault::Stall)
    });
    let start = Instant::now();
    let score = Score::new(world.store(), world.topic());
    tokio::select! {
        _ = score.handle(stream_event(&world.stream(), PLENTY)) => panic!("eight sites are stalled"),
        () = async {
            while sent(&world) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        } => {}
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_submission_that_panics_is_quarantined_and_its_neighbours_are_scored() {
    let world = World::new();
    for n in 0..5 {
        send_unsafe(&world, "S01", &format!("P-{n}")).await;
    }
    let stream = world.stream();
    world.inject(|call| {
        let poisoned = call.name() == "TransactWriteItems" && call.body.to_string().contains("#P-2");
        assert!(!poisoned, "the panic of the test");
        None
    });
    let answer = Score::new(world.store(), world.topic()).handle(stream_event(&stream, PLENTY)).await.unwrap();
    assert_eq!(answer.batch_item_failures, []);
    assert_eq!((scored(&world), sent(&world)), (4, 4));
    let quarantined = world.items("quarantined");
    assert_eq!((quarantined.len(), &quarantined[0]["reason"]), (1, &json!("its evaluation panicked")));
    assert_eq!(quarantined[0]["sk"], stream[2]["dynamodb"]["SequenceNumber"]);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_panics_is_quarantined_and_its_neighbours_are_published() {
    let world = World::new();
    for n in 0..4 {
        send_unsafe(&world, &format!("S0{n}"), "P-1").await;
    }
    world.inject(|call| {
        let poisoned = call.name() == "PublishBatch" && call.body.to_string().contains("S02");
        assert!(!poisoned, "the panic of the test");
        None
    });
    let answer = Score::new(world.store(), world.topic()).handle(stream_event(&world.stream(), PLENTY)).await.unwrap();
    assert_eq!(answer.batch_item_failures, []);
    assert_eq!(sent(&world), 3);
    let alert = world.items("alert").into_iter().find(|row| row["site"] == "S02").unwrap();
    let waits = alert["pending"].as_str().unwrap();
    assert!(waits.starts_with("QUARANTINE#"), "{waits}");
    age(&world);
    assert_eq!(
        sweep(&Sweep::new(world.store(), world.topic(), world.reminder_topic(), NEVER)).await.unwrap().alerts,
        0,
        "it is not retried"
    );
    world.heal();
    let retry = LambdaEvent::new(json!({"retry": "quarantine"}), context(PLENTY));
    Sweep::new(world.store(), world.topic(), world.reminder_topic(), NEVER).handle(retry).await.unwrap();
    assert_eq!(sent(&world), 4, "it is published once its cause is fixed and a retry is requested");
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_alert_does_not_prevent_the_publication_of_others() {
    let world = World::new();
    for n in 0..3 {
        send_unsafe(&world, "S01", &format!("P-{n}")).await;
    }
    let stream = world.stream();
    world.inject_into("PublishBatch", usize::MAX, Fault::Cut);
    let score = Score::new(world.store(), world.topic());
    score.handle(stream_event(&stream, Duration::from_secs(5))).await.unwrap();
    world.heal();
    let bad = world.items("alert").into_iter().find(|row| row["patient"] == "P-1").unwrap();
    world.tamper_one(&bad, "severity", "dreadful");
    let log = Log::default();
    let lines = log.clone();
    let subscriber = telemetry::subscriber(&Environment::default(), "score", &[], move |line| lines.add(line));
    let logged = tracing::subscriber::set_default(subscriber);
    assert_eq!(score.handle(stream_event(&stream, PLENTY)).await.unwrap().batch_item_failures, []);
    assert_eq!(sent(&world), 2);
    let of_unreadable = || log.text().lines().filter(|line| line.contains("alerts_unreadable")).count();
    assert_eq!(of_unreadable(), 1, "operators see it");
    send_unsafe(&world, "S01", "P-3").await;
    score.handle(stream_event(&world.stream()[3..], PLENTY)).await.unwrap();
    assert_eq!((sent(&world), of_unreadable()), (3, 1), "nothing is reported where all can be read");
    drop(logged);
}

#[tokio::test(start_paused = true)]
async fn no_stored_time_makes_an_escalation_panic() {
    let world = World::new();
    for n in 0..2 {
        send_unsafe(&world, "S01", &format!("P-{n}")).await;
    }
    Score::new(world.store(), world.topic()).handle(stream_event(&world.stream(), PLENTY)).await.unwrap();
    let rows = world.items("alert");
    world.tamper_one(&rows[0], "sent_at", "9999-12-31T23:59:59Z");
    world.tamper_one(&rows[1], "sent_at", LONG_AGO);
    age(&world);
    let escalates = Escalation { after_minutes: 10_080, limit: 1 };
    let swept = sweep(&Sweep::new(world.store(), world.topic(), world.reminder_topic(), escalates)).await.unwrap();
    assert_eq!(swept.escalated, 1);
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_nobody_acknowledges_is_exhausted_at_the_limit_of_its_escalation() {
    let world = World::new();
    send_unsafe(&world, "S01", "P-1").await;
    Score::new(world.store(), world.topic()).handle(stream_event(&world.stream(), PLENTY)).await.unwrap();
    let run =
        Sweep::new(world.store(), world.topic(), world.reminder_topic(), Escalation { after_minutes: 5, limit: 1 });
    for (escalated, exhausted) in [(1, 0), (0, 1), (0, 0)] {
        for time in ["sent_at", "escalated_at"] {
            for row in world.items("alert").iter().filter(|row| row[time].is_string()) {
                world.tamper_one(row, time, LONG_AGO);
            }
        }
        age(&world);
        let swept = sweep(&run).await.unwrap();
        assert_eq!((swept.escalated, swept.exhausted), (escalated, exhausted));
    }
    let row: Value = world.items("alert").remove(0);
    assert!(row["exhausted_at"].is_string() && row["pending"].is_null(), "{row}");
}
