//! The quiet period of a rule.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use api::Handler;
use clinical::instruments::Instrument;
use clinical::studies::Protocol;
use harness::{World, claims, record_texts, request};
use invocation::Deadline;
use records::stream::Record;
use records::{AlertStatus, Commit, InstrumentRef, ToScore, chunks};
use serde_json::json;
use submit::Submit;
use time::OffsetDateTime;
use time::macros::datetime;

/// A PHQ-9 whose rule `safety` has a quiet period of `quiet_hours`.
fn phq_9(quiet_hours: u32) -> Instrument {
    let mut definition: serde_json::Value =
        serde_json::from_str(include_str!("../../../shared/clinical/instruments/phq-9/1.0.0.json")).unwrap();
    let rules = definition["rules"].as_array_mut().unwrap();
    rules.iter_mut().find(|rule| rule["id"] == "safety").unwrap()["quietHours"] = json!(quiet_hours);
    Instrument::parse(&definition.to_string()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn inside_the_quiet_period_an_alert_is_recorded_and_not_published() {
    let day = |day: u8, hour: u8| datetime!(2026-11-01 00:00 UTC).replace_day(day).unwrap().replace_hour(hour).unwrap();
    let world = World::new();
    let cases = [
        (day(1, 8), "P-1", AlertStatus::Pending),
        (day(1, 20), "P-1", AlertStatus::Quiet),
        (day(1, 21), "P-2", AlertStatus::Pending),
        (day(2, 7), "P-1", AlertStatus::Quiet),
        (day(2, 8), "P-1", AlertStatus::Pending),
    ];
    commit_all(&world, &phq_9(24), &cases).await;
    let rows = world.items("alert");
    assert_eq!((rows.len(), rows.iter().filter(|row| row["status"] == "QUIET").count()), (5, 2));
    assert!(rows.iter().all(|row| row["pending"].is_string() == (row["status"] == "PENDING")), "the sweep's list");
}

#[tokio::test(start_paused = true)]
async fn promise_4_without_a_quiet_period_no_alert_is_quiet_in_any_order_of_commits() {
    let at = datetime!(2026-11-01 08:00:00.200 UTC);
    let earlier = datetime!(2026-11-01 08:00:00.100 UTC);
    let cases = [at, earlier, at, earlier].map(|at| (at, "P-1", AlertStatus::Pending));
    commit_all(&World::new(), &phq_9(0), &cases).await;
}

/// Submits and commits one submission for each of `cases` at its time, and asserts the status of its alert.
async fn commit_all(world: &World, instrument: &Instrument, cases: &[(OffsetDateTime, &str, AlertStatus)]) {
    for (n, &(at, patient, expected)) in cases.iter().enumerate() {
        let body = json!({
            "id": format!("0192f3a4-7c1e-7b2a-9d4e-00000000000{n}"), "instrument": "phq-9", "version": "1.0.0",
            "authoredAt": "2026-10-01T08:00:00Z", "answers": {"9": 1},
        });
        let claims = claims(&[("patient", patient)]);
        let plenty = Duration::from_secs(10);
        let post = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), plenty);
        assert_eq!(Submit::new(world.store()).handle(post).await.unwrap().status(), 202);
        let text = record_texts(&world.stream()).pop().unwrap();
        let mut submission = Record::new(&text).submission().unwrap().unwrap();
        submission.instrument = InstrumentRef { hash: instrument.hash().to_owned(), ..submission.instrument };
        let protocol = Protocol::of_no_study();
        let chunk = chunks(vec![((), ToScore { submission, instrument, protocol: &protocol })]).remove(0);
        let progress = world.store().commit(chunk, at, Deadline::after(plenty)).await;
        let Some(((), _, Commit::Committed(alerts))) = progress.settled.into_iter().next() else {
            unreachable!("nothing prevents this commit")
        };
        assert_eq!((alerts.len(), alerts[0].status), (1, expected), "at {at} for {patient}");
    }
}
