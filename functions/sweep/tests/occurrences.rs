//! Occurrences from enrolment to a late answer, over the real SDK, a store in memory and an SNS that records what it is
//! sent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::sync::Arc;
use std::time::Duration;

use api::Handler;
use clinical::studies::Escalation;
use harness::{Call, Fault, World, claims, context, request, stream_event};
use invocation::metrics::{Captured, SUBMISSIONS_LATE};
use lambda_runtime::LambdaEvent;
use registry::Registry;
use score::Score;
use serde_json::{Value, json};
use submit::Submit;
use sweep::{Sweep, SweepError, SweepSummary};
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(50);
const STAFF: [(&str, &str); 2] = [("role", "staff"), ("patient", "")];
const NEVER: Escalation = Escalation { after_minutes: 30, limit: 0 };

/// A study with a diary on each day from 00:00 to 24:00 in UTC.
async fn study(world: &World, version: &str, missed: Value) {
    let mut diary = json!({
        "id": "evening", "instrument": "phq-9", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 30},
        "window": {"opens": "00:00", "closes": "24:00"}, "reminders": [{"minutesAfterOpening": 1}],
    });
    if !missed.is_null() {
        diary["missed"] = missed;
    }
    let sites =
        json!([{"id": "S01", "name": "Site 1", "timeZone": "UTC"}, {"id": "S02", "name": "Site 2", "timeZone": "UTC"}]);
    world.put_study(json!({"version": version, "sites": sites, "schedules": [diary]})).await;
}

fn day(days: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::days(days)).date().to_string()
}

async fn registry(world: &World, route: &str, body: Value) -> u16 {
    let request = request(route, &[("patient", "P-1")], "", Some(claims(&STAFF)), Some(&body.to_string()), PLENTY);
    Registry::new(world.store()).handle(request).await.unwrap().status().as_u16()
}

fn sites() -> Value {
    json!([{"id": "S01", "name": "Site 1", "timeZone": "UTC"}, {"id": "S02", "name": "Site 2", "timeZone": "UTC"}])
}

async fn enrol(world: &World, on: &str) {
    let body = json!({"site": "S01", "enrolledOn": on, "reason": "a test"});
    assert!([200, 201].contains(&registry(world, "PUT /v1/patients/{patient}", body).await));
}

/// A patient who was enrolled today in a study with a diary, and whose occurrences are made.
async fn asked(missed: Value) -> World {
    let world = World::new();
    study(&world, "1.0.0", missed).await;
    enrol(&world, &day(0)).await;
    sweep(&world).await;
    world
}

async fn sweep(world: &World) -> SweepSummary {
    try_sweep(world).await.unwrap()
}

async fn try_sweep(world: &World) -> Result<SweepSummary, SweepError> {
    // The paused clock of an earlier invocation may have run ahead of the wall clock, which this one begins with.
    for plan in world.items("plan").iter().filter(|plan| plan["changed_at"].is_string()) {
        world.tamper_one(plan, "pending_since", "2026-01-01T00:00:00.000000000Z");
    }
    let sweep = Sweep::new(world.store(), world.topic(), world.reminder_topic(), NEVER);
    sweep.handle(LambdaEvent::new(json!({"detail-type": "Scheduled Event"}), context(PLENTY))).await
}

/// Lets the minutes pass after which a version is in force everywhere.
fn in_force(world: &World) {
    world.tamper("rollout", "pending_since", "2026-01-01T00:00:00.000000000Z");
}

async fn submit(world: &World, at: OffsetDateTime) {
    submit_as(world, Uuid::now_v7(), at).await;
}

async fn submit_as(world: &World, id: Uuid, at: OffsetDateTime) {
    let answers = json!({"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 0, "10": 0});
    let body = json!({
        "id": id.to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": at.format(&Rfc3339).unwrap(), "answers": answers,
    });
    let request =
        request("POST /v1/submissions", &[], "", Some(claims(&[("patient", "P-1")])), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
}

/// Submits what the stream loses, and what waits for `sweep`.
async fn submit_for_sweep(world: &World) {
    submit(world, OffsetDateTime::now_utc()).await;
    world.tamper("submission", "pending_since", "2026-01-01T00:00:00.000000000Z");
}

async fn score(world: &World) {
    assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
}

/// The occurrences, each with its number and state.
fn states(world: &World) -> Vec<(u64, String)> {
    let mut states: Vec<_> = world
        .items("occurrence")
        .iter()
        .map(|one| {
            let number = one["sk"].as_str().unwrap().rsplit('#').next().unwrap().parse().unwrap();
            (number, one["state"].as_str().unwrap().to_owned())
        })
        .collect();
    states.sort();
    states
}

fn state(world: &World, number: u64) -> String {
    states(world).into_iter().find(|(known, _)| *known == number).unwrap().1
}

fn occurrence(world: &World, number: u64) -> Value {
    let end = format!("#{number:04}");
    world.items("occurrence").into_iter().find(|one| one["sk"].as_str().unwrap().ends_with(&end)).unwrap()
}

fn text(at: OffsetDateTime) -> String {
    at.to_offset(UtcOffset::UTC).format(&Rfc3339).unwrap()
}

/// Moves the window of the occurrence `number` to so many days before, as if this time had passed.
fn pass(world: &World, number: u64, days: i64) {
    let one = occurrence(world, number);
    let moved = |name: &str| {
        text(OffsetDateTime::parse(one[name].as_str().unwrap(), &Rfc3339).unwrap() - time::Duration::days(days))
    };
    for name in ["opens", "closes"] {
        world.tamper_one(&one, name, &moved(name));
    }
    if one["pending_since"].is_string() {
        world.tamper_one(&one, "pending_since", &moved("pending_since"));
    }
}

#[tokio::test(start_paused = true)]
async fn occurrences_are_made_once_for_eight_days_and_more_when_they_are_due() {
    let world = World::new();
    study(&world, "1.0.0", Value::Null).await;
    enrol(&world, &day(0)).await;
    let swept = sweep(&world).await;
    assert!(swept.finished);
    let made = states(&world);
    assert!((9..=10).contains(&made.len()), "today, and eight days ahead: {made:?}");
    assert_eq!(swept.made, made.len() as u64);
    assert!(made.iter().all(|(_, state)| state == "waiting"));
    // What is open already is looked at in the next run, and nothing is made again.
    let again = sweep(&world).await;
    assert_eq!((again.made, states(&world)), (0, made));
    assert_eq!(world.items("plan").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_submission_answers_the_window_that_holds_it_once_and_ends_its_reminders() {
    let world = asked(Value::Null).await;
    submit(&world, OffsetDateTime::now_utc()).await;
    score(&world).await;
    assert_eq!((state(&world, 1), state(&world, 2)), ("done".to_owned(), "waiting".to_owned()));
    score(&world).await;
    submit(&world, OffsetDateTime::now_utc()).await;
    score(&world).await;
    assert_eq!(states(&world).iter().filter(|(_, state)| state == "done").count(), 1, "the second answers nothing");
    let swept = sweep(&world).await;
    assert_eq!((swept.reminded, swept.missed), (0, 0));
    assert!(world.reminders().is_empty(), "none after the answer is in");
}

#[tokio::test(start_paused = true)]
async fn of_two_submissions_in_a_window_the_first_received_answers_it_in_any_order() {
    let world = asked(Value::Null).await;
    // The second run has searched for what was stored before.
    sweep(&world).await;
    // A search by ids does not find it.
    submit_as(&world, Uuid::from_u128(7), OffsetDateTime::now_utc()).await;
    let first = world.stream();
    let id = world.items("submission")[0]["id"].clone();
    submit(&world, OffsetDateTime::now_utc()).await;
    let second: Vec<_> = world.stream().split_off(first.len());
    assert_eq!(world.score(&second, PLENTY).await, 0);
    assert_ne!(occurrence(&world, 1)["submission"], id);
    for _ in 0..2 {
        assert_eq!(world.score(&first, PLENTY).await, 0);
        assert_eq!(occurrence(&world, 1)["submission"], id);
        assert_eq!(world.score(&second, PLENTY).await, 0);
    }
    assert_eq!(occurrence(&world, 1)["submission"], id);
}

#[tokio::test(start_paused = true)]
async fn of_two_submissions_the_first_received_answers_though_only_the_second_is_processed() {
    let world = asked(Value::Null).await;
    // The second run has searched for what was stored before.
    sweep(&world).await;
    for _ in 0..2 {
        submit(&world, OffsetDateTime::now_utc()).await;
    }
    let records = world.stream();
    assert_eq!(world.score(&records[1..], PLENTY).await, 0);
    let first = &records[0]["dynamodb"]["NewImage"]["id"]["S"];
    assert_eq!((state(&world, 1).as_str(), &occurrence(&world, 1)["submission"]), ("done", first));
}

#[tokio::test(start_paused = true)]
async fn sweep_scores_a_submission_only_once_its_answer_is_recorded() {
    let world = asked(Value::Null).await;
    submit_for_sweep(&world).await;
    // Nobody delivers it again once it is scored.
    world.inject_into("PutItem RecordsTable", usize::MAX, Fault::throttle());
    assert!(try_sweep(&world).await.is_err());
    assert!(world.items("submission")[0]["scored_at"].is_null());
    world.heal();
    assert_eq!(sweep(&world).await.submissions, 1);
    assert!(world.items("submission")[0]["scored_at"].is_string());
    assert_eq!(state(&world, 1), "done");
}

#[tokio::test(start_paused = true)]
async fn sweep_scores_in_the_order_of_completion_whichever_answer_is_recorded_first() {
    let world = asked(Value::Null).await;
    for number in [1, 2] {
        pass(&world, number, 1);
    }
    let earlier = Uuid::now_v7();
    submit_as(&world, earlier, OffsetDateTime::now_utc() - time::Duration::days(1)).await;
    submit_for_sweep(&world).await;
    // The answer of the earlier one takes longer to be recorded: a throttled attempt waits.
    let mut attempts = 0;
    world.inject(move |call| {
        let is_earlier = call.body["Item"]["submission"]["S"] == earlier.to_string();
        attempts += usize::from(is_earlier);
        (is_earlier && attempts == 1).then(Fault::throttle)
    });
    let captured = Captured::begin();
    sweep(&world).await;
    assert_eq!((state(&world, 1), state(&world, 2)), ("done".to_owned(), "done".to_owned()));
    assert!(world.items("submission").iter().all(|submission| submission["scored_at"].is_string()));
    assert_eq!(captured.sum(SUBMISSIONS_LATE).unwrap_or_default(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_can_never_be_recorded_keeps_no_submission_from_being_scored() {
    let world = asked(Value::Null).await;
    submit_for_sweep(&world).await;
    world.inject_into("PutItem RecordsTable", usize::MAX, Fault::error("AccessDeniedException"));
    drop(try_sweep(&world).await);
    assert!(world.items("submission")[0]["scored_at"].is_string());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_stored_and_not_scored_keeps_reminders_and_misses_away() {
    let world = asked(json!({"severity": "warning", "after": 1})).await;
    let yesterday = OffsetDateTime::now_utc() - time::Duration::days(1);
    submit(&world, yesterday).await;
    pass(&world, 1, 1);
    let swept = sweep(&world).await;
    assert_eq!((swept.reminded, swept.missed, world.items("alert").len()), (0, 0, 0));
    assert_eq!(state(&world, 1), "done");
}

#[tokio::test(start_paused = true)]
async fn the_first_submission_enrols_the_patient_and_answers_the_first_window() {
    let world = World::new();
    study(&world, "1.0.0", Value::Null).await;
    submit(&world, OffsetDateTime::now_utc()).await;
    score(&world).await;
    assert_eq!((world.items("plan").len(), world.items("occurrence").len()), (1, 0));
    sweep(&world).await;
    sweep(&world).await;
    assert_eq!((state(&world, 1), state(&world, 2)), ("done".to_owned(), "waiting".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn of_two_answers_the_first_received_counts_even_if_it_enrolled_the_patient() {
    let world = World::new();
    study(&world, "1.0.0", Value::Null).await;
    submit(&world, OffsetDateTime::now_utc()).await;
    score(&world).await;
    sweep(&world).await;
    let first = world.items("submission")[0]["id"].clone();
    // The second one is scored before the run that searches for the first.
    tokio::time::advance(Duration::from_secs(1)).await;
    submit(&world, OffsetDateTime::now_utc()).await;
    assert_eq!(world.score(&world.stream()[1..], PLENTY).await, 0);
    assert_eq!(occurrence(&world, 1)["submission"], first);
    sweep(&world).await;
    assert_eq!((occurrence(&world, 1)["submission"].clone(), state(&world, 2)), (first, "waiting".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_reminder_is_published_at_least_once_with_the_same_id_and_not_after_it_is_marked() {
    let world = asked(Value::Null).await;
    // Its window is open, so that its first run is due at once; its reminder is of a minute after midnight.
    let one = occurrence(&world, 2);
    let past = text(OffsetDateTime::now_utc() - time::Duration::minutes(2));
    world.edit("RecordsTable", &one, |raw| {
        raw["opens"] = json!({"S": past});
        raw["reminders"] = json!({"L": [{"S": past}]});
        raw["pending_since"] = json!({"S": "2026-01-01T00:00:00.000000000Z"});
    });
    let of_second = |world: &World| {
        let reminders = world.reminders().into_iter().filter(|reminder| reminder["occurrence"] == 2);
        reminders.collect::<Vec<Value>>()
    };
    // It is published, and cannot be marked.
    world.inject_into("PutItem RecordsTable", usize::MAX, Fault::error("ValidationException"));
    assert!(try_sweep(&world).await.is_err());
    world.heal();
    let first = of_second(&world);
    assert_eq!(first.len(), 1, "{first:?}");
    sweep(&world).await;
    let both = of_second(&world);
    assert_eq!(both.len(), 2, "{both:?}");
    assert_eq!(both[0]["reminderId"], both[1]["reminderId"]);
    assert_eq!((&both[1]["patient"], &both[1]["schedule"]), (&json!("P-1"), &json!("evening")));
    assert_eq!((sweep(&world).await.reminded, of_second(&world).len()), (0, 2));
}

/// Lets the first window be answered just before the next call of `operation`.
fn answered_during(world: &World, operation: &'static str) {
    let (of_answer, mut is_answered) = (world.clone(), false);
    world.inject(move |call| {
        if !is_answered && call.operation == operation {
            is_answered = true;
            let first = occurrence(&of_answer, 1);
            let revision = first["revision"].as_u64().unwrap() + 1;
            of_answer.edit("RecordsTable", &first, |raw| {
                raw["state"] = json!({"S": "done"});
                raw["submission"] = json!({"S": Uuid::now_v7().to_string()});
                raw["late"] = json!({"BOOL": true});
                raw["revision"] = json!({"N": revision.to_string()});
            });
        }
        None
    });
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_recorded_while_its_window_is_found_missed_stays() {
    let world = asked(Value::Null).await;
    pass(&world, 1, 3);
    answered_during(&world, "PutItem RecordsTable");
    assert_eq!((sweep(&world).await.missed, state(&world, 1)), (0, "done".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_alert_does_not_count_a_window_that_is_answered_while_it_is_raised() {
    let world = asked(json!({"severity": "warning", "after": 2})).await;
    pass(&world, 1, 3);
    assert_eq!(sweep(&world).await.missed, 1);
    pass(&world, 2, 2);
    answered_during(&world, "TransactWriteItems");
    let swept = sweep(&world).await;
    assert_eq!((swept.missed, swept.alerts, world.items("alert").len()), (0, 0, 0));
    world.heal();
    let swept = sweep(&world).await;
    assert_eq!((swept.missed, swept.alerts, state(&world, 2)), (1, 0, "missed".to_owned()));
    assert!(world.published().is_empty());
}

#[tokio::test(start_paused = true)]
async fn windows_missed_in_a_row_raise_an_alert_and_a_late_answer_acknowledges_it() {
    let world = asked(json!({"severity": "warning", "after": 2})).await;
    pass(&world, 1, 3);
    pass(&world, 2, 3);
    let swept = sweep(&world).await;
    assert_eq!((swept.missed, swept.alerts), (2, 1));
    assert_eq!((state(&world, 1), state(&world, 2)), ("missed".to_owned(), "missed".to_owned()));
    let alerts = world.items("alert");
    assert_eq!(alerts.len(), 1);
    let expected = (&json!("evening"), &json!("evening"), &json!("SENT"), &json!("S01"));
    assert_eq!((&alerts[0]["rule"], &alerts[0]["schedule"], &alerts[0]["status"], &alerts[0]["site"]), expected);
    assert_eq!(world.published()[0].body()["submissionId"], Value::Null);
    assert_eq!(world.items("profile")[0]["open_alerts"], 1, "of a patient who has sent nothing");
    assert_eq!(sweep(&world).await.missed, 0);

    submit(&world, OffsetDateTime::now_utc() - time::Duration::days(3)).await;
    score(&world).await;
    let first = occurrence(&world, 1);
    assert_eq!((&first["state"], &first["late"]), (&json!("done"), &json!(true)));
    let alert = &world.items("alert")[0];
    assert_eq!((&alert["status"], &alert["acknowledged_by"]), (&json!("ACKNOWLEDGED"), &json!("late-answer")));
    assert_eq!(world.items("profile")[0]["open_alerts"], 0);
    assert_eq!(world.items("audit").iter().filter(|entry| entry["action"] == "alert-acknowledged").count(), 1);
    // The stream delivers it again.
    score(&world).await;
    assert_eq!(world.items("audit").iter().filter(|entry| entry["action"] == "alert-acknowledged").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn within_the_quiet_period_misses_are_stored_and_counted_and_not_published() {
    let world = asked(json!({"severity": "critical", "after": 1, "quietHours": 72})).await;
    for number in [1, 2, 3, 4] {
        pass(&world, number, 6);
    }
    let swept = sweep(&world).await;
    assert_eq!((swept.missed, swept.alerts), (4, 2));
    let mut alerts = world.items("alert");
    alerts.sort_by_key(|alert| alert["occurrence"].as_u64());
    let statuses: Vec<&str> = alerts.iter().filter_map(|alert| alert["status"].as_str()).collect();
    assert_eq!(statuses, ["SENT", "QUIET", "QUIET", "SENT"], "the fourth is three days after the first");
    assert!(alerts[1]["pending"].is_null(), "it does not escalate");
    assert_eq!(world.published().len(), 2);
    assert_eq!(world.items("profile")[0]["open_alerts"], 4);
    let counted: u64 = world.counters().iter().filter_map(|item| item["alerts"].as_u64()).sum();
    assert_eq!(counted, 4);

    submit(&world, OffsetDateTime::now_utc() - time::Duration::days(5)).await;
    score(&world).await;
    let second = world.items("alert").into_iter().find(|alert| alert["occurrence"] == 2).unwrap();
    assert_eq!((&second["status"], &second["acknowledged_by"]), (&json!("ACKNOWLEDGED"), &json!("late-answer")));
    assert!(second["sent_at"].is_null() && second["pending"].is_null());
    assert_eq!(world.published().len(), 2);
    assert_eq!(world.items("profile")[0]["open_alerts"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_counts_for_a_schedule_that_the_study_has_dropped_and_where_it_has_dropped_all() {
    let weekly = json!({
        "id": "weekly", "instrument": "phq-9", "anchor": {"enrolment": {}},
        "window": {"opens": "00:00", "closes": "00:01"}, "delayDays": 20,
    });
    for schedules in [json!([weekly]), json!([])] {
        let world = asked(json!({"severity": "warning", "after": 1})).await;
        pass(&world, 1, 3);
        assert_eq!(sweep(&world).await.alerts, 1);
        world.put_study(json!({"version": "1.1.0", "sites": sites(), "schedules": schedules})).await;
        submit(&world, OffsetDateTime::now_utc() - time::Duration::days(3)).await;
        score(&world).await;
        let first = occurrence(&world, 1);
        assert_eq!((&first["state"], &first["late"]), (&json!("done"), &json!(true)), "{schedules}");
        assert_eq!(world.items("alert")[0]["acknowledged_by"], "late-answer", "{schedules}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_that_never_asked_reads_its_versions_once_an_environment() {
    let world = World::new();
    for version in ["1.0.0", "1.1.0"] {
        world.put_study(json!({"version": version, "sites": sites()})).await;
    }
    let score = Score::new(world.store(), world.topic());
    for _ in 0..3 {
        submit(&world, OffsetDateTime::now_utc()).await;
        let event = stream_event(&world.stream(), PLENTY);
        assert!(score.handle(event).await.unwrap().batch_item_failures.is_empty());
    }
    let of_versions = |call: &&Arc<Call>| call.name() == "Query" && call.body.to_string().contains("VERSION#");
    assert_eq!(world.calls().iter().filter(of_versions).count(), 1);
    assert!(world.items("plan").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_a_window_that_a_fast_clock_has_found_missed_acknowledges_its_alert() {
    let world = asked(json!({"severity": "warning", "after": 1})).await;
    pass(&world, 1, 3);
    assert_eq!(sweep(&world).await.alerts, 1);
    // The window is open still.
    pass(&world, 1, -3);
    submit(&world, OffsetDateTime::now_utc()).await;
    score(&world).await;
    let first = occurrence(&world, 1);
    assert_eq!((&first["state"], &first["late"]), (&json!("done"), &json!(false)));
    assert_eq!(world.items("alert")[0]["acknowledged_by"], "late-answer");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_ends_what_waits() {
    let world = World::new();
    study(&world, "1.0.0", Value::Null).await;
    enrol(&world, &day(1)).await;
    sweep(&world).await;
    let body = json!({"mode": "stop", "requestedBy": "patient", "reason": "no time"});
    assert_eq!(registry(&world, "POST /v1/patients/{patient}/withdrawal", body).await, 200);
    sweep(&world).await;
    assert!(states(&world).iter().all(|(_, state)| state == "ended"), "{:?}", states(&world));
    assert!(world.items("occurrence").iter().all(|one| one["pending"].is_null()));
    assert!(world.items("plan")[0]["pending"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_later_day_of_enrolment_moves_what_has_not_been_answered() {
    let world = World::new();
    study(&world, "1.0.0", Value::Null).await;
    enrol(&world, &day(2)).await;
    sweep(&world).await;
    let opens = |world: &World| occurrence(world, 1)["opens"].clone();
    assert_eq!(opens(&world), json!(format!("{}T00:00:00Z", day(2))));
    enrol(&world, &day(4)).await;
    sweep(&world).await;
    assert_eq!(opens(&world), json!(format!("{}T00:00:00Z", day(4))));
}

#[tokio::test(start_paused = true)]
async fn a_new_version_reaches_patients_whom_no_schedule_has_asked_before() {
    let world = World::new();
    world.put_study(json!({"sites": sites()})).await;
    let patients: Vec<String> = (0..60).map(|number| format!("P-{number:02}")).collect();
    for (place, patient) in patients.iter().enumerate() {
        let site = if place % 2 == 0 { "S01" } else { "S02" };
        let body = json!({"enrolledOn": day(0), "site": site}).to_string();
        let staff = claims(&[("role", "staff"), ("patient", ""), ("sites", "S01 S02")]);
        let put = request("PUT /v1/patients/{patient}", &[("patient", patient)], "", Some(staff), Some(&body), PLENTY);
        assert_eq!(Registry::new(world.store()).handle(put).await.unwrap().status(), 201);
    }
    in_force(&world);
    let swept = sweep(&world).await;
    assert_eq!((swept.made, world.items("occurrence").len()), (0, 0));
    assert!(world.items("rollout")[0]["pending"].is_null(), "no version has schedules");

    let evening = json!({
        "id": "evening", "instrument": "phq-9", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 30},
        "window": {"opens": "00:00", "closes": "24:00"},
    });
    world.put_study(json!({"version": "1.1.0", "sites": sites(), "schedules": [evening]})).await;
    sweep(&world).await;
    assert!(world.items("rollout")[0].get("site").is_none(), "not all environments know the version yet");
    in_force(&world);
    let due = world.items("rollout")[0].clone();
    // A run that ends early goes on where it was.
    world.inject_into("TransactWriteItems", usize::MAX, Fault::error("ValidationException"));
    assert!(try_sweep(&world).await.is_err());
    world.heal();
    assert_eq!(world.items("rollout")[0], due);
    for _ in 0..2 {
        sweep(&world).await;
    }
    let mut asked: Vec<String> =
        world.items("occurrence").iter().map(|one| one["pk"].as_str().unwrap().to_owned()).collect();
    asked.dedup();
    assert_eq!(asked.len(), patients.len());
    assert!(world.items("rollout")[0]["pending"].is_null());
    assert!(world.items("plan").iter().all(|plan| plan["changed_at"].is_null() && plan["for_version"].is_null()));
    let made = world.items("occurrence").len();

    // A patient's plan that is made by an environment that does not know the version yet stays due.
    let old = Sweep::new(world.store(), world.topic(), world.reminder_topic(), NEVER);
    let run = || old.handle(LambdaEvent::new(json!({}), context(PLENTY)));
    run().await.unwrap();
    world.put_study(json!({"version": "1.2.0", "sites": sites(), "schedules": []})).await;
    in_force(&world);
    run().await.unwrap();
    assert!(world.items("rollout")[0]["pending"].is_string(), "this environment knows the version before");
    for _ in 0..2 {
        sweep(&world).await;
    }
    let not_asked = world.items("occurrence").iter().filter(|one| one["state"] == "not-asked").count();
    assert_eq!((world.items("occurrence").len(), not_asked), (made, made - patients.len()), "what is open stays");
}

#[tokio::test(start_paused = true)]
async fn a_new_version_reaches_patients_of_a_site_that_it_drops() {
    let world = asked(Value::Null).await;
    let made = world.items("occurrence").len();
    let others: Vec<Value> = sites().as_array().unwrap().iter().filter(|site| site["id"] != "S01").cloned().collect();
    world.put_study(json!({"version": "1.1.0", "sites": others, "schedules": []})).await;
    in_force(&world);
    for _ in 0..2 {
        sweep(&world).await;
    }
    let not_asked = world.items("occurrence").iter().filter(|one| one["state"] == "not-asked").count();
    assert_eq!((world.items("occurrence").len(), not_asked), (made, made - 1), "what is open stays");
}

#[tokio::test(start_paused = true)]
async fn a_plan_for_a_version_that_is_not_known_here_yet_stays_due() {
    let world = World::new();
    study(&world, "1.0.0", Value::Null).await;
    enrol(&world, &day(0)).await;
    let set_version = |version: &str| {
        world.edit("RecordsTable", &world.items("plan")[0], |raw| raw["for_version"] = json!({"S": version}));
    };
    set_version("1.1.0");
    assert_eq!(sweep(&world).await.made, 0);
    assert!(world.items("plan")[0]["changed_at"].is_string());
    set_version("1.0.0");
    assert_ne!(sweep(&world).await.made, 0);
    let plan = &world.items("plan")[0];
    assert!(plan["changed_at"].is_null() && plan["for_version"].is_null(), "{plan}");
}

#[tokio::test(start_paused = true)]
async fn what_a_run_that_ended_early_has_made_ends_where_its_cause_was_taken_back() {
    let world = World::new();
    let after_surgery = json!({
        "id": "after", "instrument": "phq-9", "anchor": {"event": "surgery"}, "every": {"days": 1, "count": 5},
        "window": {"opens": "00:00", "closes": "24:00"}, "delayDays": 1,
    });
    world.put_study(json!({"sites": sites(), "events": ["surgery"], "schedules": [after_surgery]})).await;
    enrol(&world, &day(0)).await;
    sweep(&world).await;
    let event = async |date: Value| {
        let path = [("patient", "P-1"), ("event", "surgery")];
        let staff = Some(claims(&[("role", "staff"), ("patient", "")]));
        let body = json!({"date": date, "reason": "a test"}).to_string();
        let put = request("PUT /v1/patients/{patient}/events/{event}", &path, "", staff, Some(&body), PLENTY);
        assert_eq!(Registry::new(world.store()).handle(put).await.unwrap().status(), 200);
    };
    event(json!(day(0))).await;
    world.inject(|call| {
        let is_plan = call.operation == "PutItem RecordsTable" && call.body["Item"]["kind"]["S"] == "plan";
        is_plan.then(|| Fault::error("ValidationException"))
    });
    assert!(try_sweep(&world).await.is_err());
    world.heal();
    assert_eq!(states(&world).iter().filter(|(_, state)| state == "waiting").count(), 5);
    event(Value::Null).await;
    sweep(&world).await;
    assert!(states(&world).iter().all(|(_, state)| state == "not-asked"), "{:?}", states(&world));
}
