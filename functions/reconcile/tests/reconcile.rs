//! Runs of `reconcile` over the real SDK and a store in memory: slices, runs that are cut off, two at the same time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeMap;
use std::time::Duration;

use api::Handler;
use futures::poll;
use harness::{COUNTS, Fault, RECORDS, World, claims, context, request};
use invocation::Environment;
use invocation::metrics::{Captured, RECORDS_DIFFER};
use lambda_runtime::LambdaEvent;
use reconcile::{Reconcile, ReconcileError, ReconcileSummary, escalates};
use serde_json::{Value, json};
use submit::Submit;
use uuid::Uuid;
use verification::{Pass, Settings};

const PLENTY: Duration = Duration::from_secs(60);
const PATIENTS: usize = 9;
const DAY: time::Duration = time::Duration::DAY;

/// Nine patients of two sites with a scored submission each, every third with an alert.
async fn world() -> World {
    world_of(PATIENTS).await
}

async fn world_of(patients: usize) -> World {
    let world = World::new();
    for n in 0..patients {
        let answers: BTreeMap<String, u8> = (1..=9).map(|item| (item.to_string(), u8::from(n % 3 == 0))).collect();
        let body = json!({
            "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
            "authoredAt": "2026-11-01T08:00:00Z", "answers": answers,
        });
        let (site, patient) = (format!("S0{}", n % 2), format!("P-{n}"));
        let claims = claims(&[("sites", &site), ("patient", &patient)]);
        let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
        assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
    }
    assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
    world
}

/// As [`world`], with one difference for each patient.
async fn tampered() -> World {
    let world = world().await;
    for profile in world.items("profile") {
        world.edit(RECORDS, &profile, |raw| raw["open_alerts"] = json!({"N": "7"}));
    }
    world
}

fn mend(world: &World) {
    for profile in world.items("profile") {
        let alerts = world
            .items("alert")
            .into_iter()
            .filter(|alert| profile["site_sort"] == format!("PATIENT#{}", alert["patient"].as_str().unwrap()))
            .count();
        world.edit(RECORDS, &profile, |raw| raw["open_alerts"] = json!({"N": alerts.to_string()}));
    }
}

/// A counter of scored submissions.
fn scored(world: &World) -> Value {
    world.counters().into_iter().find(|counter| counter["submissions"].is_number()).unwrap()
}

fn reconcile(world: &World) -> Reconcile {
    Reconcile::with_settings(world.store(), DAY, Settings { page: 3, ..Settings::default() })
}

async fn run_with(world: &World, event: Value, remaining: Duration) -> Result<ReconcileSummary, ReconcileError> {
    Box::pin(reconcile(world).handle(LambdaEvent::new(event, context(remaining)))).await
}

async fn run(world: &World, remaining: Duration) -> ReconcileSummary {
    run_with(world, json!({"detail-type": "Scheduled Event"}), remaining).await.unwrap()
}

/// Runs until the pass is finished, and returns the summary and the number of runs.
async fn finish(world: &World) -> (ReconcileSummary, usize) {
    for runs in 1..100 {
        let summary = run(world, PLENTY).await;
        if summary.finished {
            return (summary, runs);
        }
    }
    unreachable!("each run goes on")
}

/// All items but the state of the verification.
fn compared(world: &World) -> (Vec<Value>, Vec<Value>) {
    let items = world.all_items().into_iter().filter(|item| item["kind"] != "verification");
    (items.collect(), world.counters())
}

#[tokio::test(start_paused = true)]
async fn an_untouched_table_reports_zero_and_nothing_but_the_state_is_written() {
    let world = world().await;
    let before = compared(&world);
    let metrics = Captured::begin();
    let summary = run(&world, PLENTY).await;
    let expected = ReconcileSummary {
        patients: PATIENTS as u64,
        submissions: PATIENTS as u64,
        alerts: 3,
        finished: true,
        ..ReconcileSummary::default()
    };
    assert_eq!(summary, expected);
    assert_eq!(metrics.sum(RECORDS_DIFFER), Some(0));
    assert_eq!(compared(&world), before);
    assert_eq!(world.items("verification").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tampered_item_is_reported_until_a_pass_finds_it_mended() {
    let world = world().await;
    let profile = world.items("profile")[0].clone();
    let open_alerts = profile["open_alerts"].to_string();
    world.edit(RECORDS, &profile, |raw| raw["open_alerts"] = json!({"N": "7"}));
    let metrics = Captured::begin();
    assert_eq!(run(&world, PLENTY).await.differences, 1);
    assert_eq!(metrics.sum(RECORDS_DIFFER), Some(1));

    world.edit(RECORDS, &profile, |raw| raw["open_alerts"] = json!({"N": open_alerts}));
    let scans = world.count_calls("Scan RecordsTable");
    let waiting = run(&world, PLENTY).await;
    assert_eq!((waiting.pass, waiting.differences), (0, 1), "the next pass is not due");
    assert_eq!(world.count_calls("Scan RecordsTable"), scans);
    assert_eq!(metrics.sum(RECORDS_DIFFER), Some(2), "each run reports it, so that the alarm stays");

    let again = run_with(&world, json!({"begin": true}), PLENTY).await.unwrap();
    assert_eq!((again.pass, again.differences, again.finished), (1, 0, true));
    assert_eq!(metrics.sum(RECORDS_DIFFER), Some(2), "a pass that found nothing ends the alarm");
}

/// Runs too short to finish a pass.
async fn short_run(world: &World, event: Value) -> ReconcileSummary {
    let summary = run_with(world, event, Duration::from_secs(8)).await.unwrap();
    assert!(!summary.finished);
    summary
}

#[tokio::test(start_paused = true)]
async fn what_was_found_is_reported_until_the_next_pass_is_finished() {
    let world = tampered().await;
    finish(&world).await;
    mend(&world);
    world.delay(Duration::from_millis(250));
    let summary = short_run(&world, json!({"begin": true})).await;
    assert_eq!((summary.pass, summary.differences), (1, 9));
    assert_eq!(finish(&world).await.0.differences, 0);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_cannot_be_read_begins_a_pass_and_loses_no_difference() {
    let world = tampered().await;
    finish(&world).await;
    mend(&world);
    let state = world.items("verification")[0].clone();
    world.edit(RECORDS, &state, |raw| raw["content"] = json!({"S": "{\"number\":\"another notation\"}"}));
    world.delay(Duration::from_millis(500));
    let metrics = Captured::begin();
    for _ in 0..2 {
        assert_eq!(short_run(&world, json!({})).await.differences, 9);
    }
    assert_eq!(metrics.sum(RECORDS_DIFFER), Some(18));
    let (summary, _) = finish(&world).await;
    assert_eq!((summary.patients, summary.differences), (9, 0));
}

#[tokio::test(start_paused = true)]
async fn what_waits_too_long_has_another_alarm() {
    let world = world().await;
    for alert in world.items("alert") {
        world.edit(RECORDS, &alert, |raw| {
            (raw["status"], raw["pending"]) = (json!({"S": "PENDING"}), json!({"S": "PENDING#1"}));
            raw["pending_since"] = json!({"S": "2026-01-01T00:00:00.000000000Z"});
            raw.as_object_mut().unwrap().retain(|name, _| name != "sent_at" && name != "message_id");
        });
    }
    let metrics = Captured::begin();
    let (summary, _) = finish(&world).await;
    assert_eq!((summary.waiting, summary.differences, metrics.sum(RECORDS_DIFFER)), (3, 0, Some(0)));
}

#[tokio::test(start_paused = true)]
async fn a_counter_that_cannot_be_read_is_a_difference_and_fails_no_run() {
    let world = world().await;
    let counter = scored(&world);
    world.edit(COUNTS, &counter, |raw| raw["submissions"] = json!({"S": "many"}));
    let (summary, _) = finish(&world).await;
    assert_eq!((summary.patients, summary.differences), (9, 1));
}

#[tokio::test(start_paused = true)]
async fn a_critical_alert_that_nothing_escalates_is_a_difference_unless_the_deployment_never_escalates() {
    let world = world().await;
    for alert in world.items("alert") {
        assert_eq!(alert["severity"], "critical");
        world.edit(RECORDS, &alert, |raw| {
            raw.as_object_mut().unwrap().retain(|name, _| !name.starts_with("pending"));
        });
    }
    for (limit, differences) in [("0", 0), ("3", 3)] {
        let environment = Environment::from_iter([("ESCALATION_LIMIT", limit)]);
        let reconcile = Reconcile::new(world.store(), DAY, escalates(&environment).unwrap());
        let event = LambdaEvent::new(json!({"begin": true}), context(PLENTY));
        assert_eq!(Box::pin(reconcile.handle(event)).await.unwrap().differences, differences, "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_goes_on_where_the_run_before_stopped_and_compares_each_patient_once() {
    let world = tampered().await;
    world.delay(Duration::from_millis(250));
    let mut runs = Vec::new();
    loop {
        let summary = run(&world, Duration::from_secs(6)).await;
        runs.push(summary.patients);
        if summary.finished {
            assert_eq!((summary.patients, summary.differences), (PATIENTS as u64, PATIENTS as u64));
            break;
        }
    }
    assert!(runs.len() > 3 && runs.is_sorted(), "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cut_off_anywhere_is_continued_by_the_next() {
    let (mut cut_off, mut partly) = (0, 0);
    for steps in (1..).step_by(7) {
        let world = tampered().await;
        // So that the state is written several times in a run.
        world.delay(Duration::from_millis(400));
        let mut first = Box::pin(run(&world, PLENTY));
        let mut ended = false;
        for _ in 0..steps {
            ended = poll!(&mut first).is_ready();
            if ended {
                break;
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        drop(first);
        let written = world.items("verification").len();
        let (summary, _) = finish(&world).await;
        assert_eq!((summary.pass, summary.patients, summary.differences), (0, 9, 9), "after {steps} steps");
        if ended {
            break;
        }
        cut_off += 1;
        partly += written;
    }
    assert!(cut_off > 20 && partly > 5, "{cut_off} runs were cut off, {partly} of them after a write");
}

#[tokio::test(start_paused = true)]
async fn of_two_runs_at_the_same_time_one_stops_and_each_patient_is_compared_once() {
    let mut stopped = 0;
    for milliseconds in [0, 1, 300, 900, 2_000, 4_000] {
        let world = tampered().await;
        world.delay(Duration::from_millis(900));
        let later = async {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            run(&world, PLENTY).await
        };
        let (one, other) = tokio::join!(run(&world, PLENTY), later);
        // Two runs that do the very same write the same state, and both go on.
        stopped += usize::from(one.other_run || other.other_run);
        let (summary, _) = finish(&world).await;
        assert_eq!((summary.pass, summary.patients, summary.differences), (0, 9, 9), "{milliseconds} ms");
    }
    assert!(stopped > 0, "none met the other");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stalls_fails_the_run_before_its_deadline_and_loses_nothing() {
    let world = tampered().await;
    world.inject(|call| (call.name() == "Scan").then_some(Fault::Stall));
    let metrics = Captured::begin();
    let began = tokio::time::Instant::now();
    run_with(&world, json!({}), PLENTY).await.unwrap_err();
    assert!(began.elapsed() <= PLENTY - Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(metrics.sum(RECORDS_DIFFER), None, "a run that fails ends no alarm");
    world.heal();
    let (summary, _) = finish(&world).await;
    assert_eq!((summary.patients, summary.differences), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_store_are_waited_out() {
    let world = tampered().await;
    let mut calls = 0;
    world.inject(move |call| {
        calls += 1;
        match calls % 5 {
            0 => Some(Fault::throttle()),
            2 if call.name() == "PutItem" => Some(Fault::ApplyAndCut),
            3 => Some(Fault::Cut),
            _ => None,
        }
    });
    let (summary, _) = finish(&world).await;
    assert_eq!((summary.pass, summary.patients, summary.differences), (0, 9, 9));
}

#[tokio::test(start_paused = true)]
async fn a_wrong_counter_is_reported_by_the_passes_that_compare_other_sites_too() {
    let world = world().await;
    let counter = scored(&world);
    let right = counter["submissions"].to_string();
    world.edit(COUNTS, &counter, |raw| raw["submissions"] = json!({"N": "99"}));
    // Each pass compares one of the two sites.
    let settings = Settings { most_bytes: 200, ..Settings::default() };
    let reconcile = Reconcile::with_settings(world.store(), DAY, settings);
    let run = async || {
        let event = LambdaEvent::new(json!({"begin": true}), context(PLENTY));
        let summary = Box::pin(reconcile.handle(event)).await.unwrap();
        assert!(summary.finished);
        summary.differences
    };
    run().await;
    assert_eq!([run().await, run().await, run().await], [1; 3]);
    world.edit(COUNTS, &counter, |raw| raw["submissions"] = json!({"N": right}));
    run().await;
    assert_eq!([run().await, run().await], [0; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_state_does_not_grow_with_the_patients() {
    let mut largest = Vec::new();
    for patients in [PATIENTS, 10 * PATIENTS] {
        let world = world_of(patients).await;
        let mut pass = Pass::begin(Settings { page: 3, ..Settings::default() });
        let mut sizes = Vec::new();
        while !pass.is_done() {
            let deadline = invocation::Deadline::after(PLENTY);
            pass.step(&world.store(), time::OffsetDateTime::now_utc(), deadline).await.unwrap();
            sizes.push(pass.content().len());
        }
        assert!(sizes.len() > 5 && pass.tally().patients == patients as u64, "{sizes:?}");
        largest.push(sizes.into_iter().max().unwrap_or_default());
    }
    // Both have two sites. Each number has a digit more: four of a site before and as found, and those of the tally.
    assert!(largest[1] <= largest[0] + 24, "{largest:?}");
}
