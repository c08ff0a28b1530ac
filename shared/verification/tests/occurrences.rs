//! Occurrences that are not what the patient's submissions make them, and alerts of missed windows that are not theirs, are
//! found.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::studies::Escalation;
use harness::{RECORDS, World, claims, context, request};
use invocation::Deadline;
use lambda_runtime::LambdaEvent;
use registry::Registry;
use serde_json::{Value, json};
use submit::Submit;
use sweep::Sweep;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use verification::{Settings, verify};

const PLENTY: Duration = Duration::from_secs(60);

async fn sweep(world: &World) {
    // The paused clock of an earlier invocation may have run ahead of the wall clock, which this one begins with.
    for plan in world.items("plan").iter().filter(|plan| plan["changed_at"].is_string()) {
        world.tamper_one(plan, "pending_since", "2026-01-01T00:00:00.000000000Z");
    }
    let never = Escalation { after_minutes: 30, limit: 0 };
    let sweep = Sweep::new(world.store(), world.topic(), world.reminder_topic(), never);
    sweep.handle(LambdaEvent::new(json!({}), context(PLENTY))).await.unwrap();
}

fn occurrence(world: &World, number: u64) -> Value {
    let end = format!("#{number:04}");
    world.items("occurrence").into_iter().find(|one| one["sk"].as_str().unwrap().ends_with(&end)).unwrap()
}

/// Moves the window of the occurrence `number` to so many days before, as if this time had passed.
fn pass(world: &World, number: u64, days: i64) {
    let one = occurrence(world, number);
    for name in ["opens", "closes", "pending_since"] {
        let at = OffsetDateTime::parse(one[name].as_str().unwrap(), &Rfc3339).unwrap() - time::Duration::days(days);
        world.tamper_one(&one, name, &at.format(&Rfc3339).unwrap());
    }
}

/// Two windows missed, with their alert, and one answered.
async fn world() -> World {
    let world = two_missed(json!({"severity": "warning", "after": 2})).await;
    answer(&world).await;
    world
}

/// Two windows missed, and one open.
async fn two_missed(missed: Value) -> World {
    let world = World::new();
    let daily = json!({
        "id": "daily", "instrument": "phq-9", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 30},
        "window": {"opens": "00:00", "closes": "24:00"}, "missed": missed,
    });
    let sites = json!([{"id": "S01", "name": "Site 1", "timeZone": "UTC"}]);
    world.put_study(json!({"sites": sites, "schedules": [daily]})).await;
    let today = OffsetDateTime::now_utc().date().to_string();
    let body = json!({"enrolledOn": today}).to_string();
    let staff = claims(&[("role", "staff"), ("patient", "")]);
    let enrol = request("PUT /v1/patients/{patient}", &[("patient", "P-1")], "", Some(staff), Some(&body), PLENTY);
    assert_eq!(Registry::new(world.store()).handle(enrol).await.unwrap().status(), 201);
    sweep(&world).await;
    for (number, days) in [(1, 3), (2, 3), (3, 2)] {
        pass(&world, number, days);
    }
    sweep(&world).await;
    world
}

async fn answer(world: &World) {
    let answers = json!({"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 0, "10": 0});
    let body = json!({
        "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": OffsetDateTime::now_utc().format(&Rfc3339).unwrap(), "answers": answers,
    });
    let patient = claims(&[("patient", "P-1")]);
    let submit = request("POST /v1/submissions", &[], "", Some(patient), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(submit).await.unwrap().status(), 202);
    assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
}

/// The names of what differs, each once.
async fn differs(world: &World) -> Vec<String> {
    let settings = Settings { patience: time::Duration::ZERO, ..Settings::default() };
    let report =
        verify(&world.store(), settings, OffsetDateTime::now_utc(), Deadline::after(PLENTY), |_| {}).await.unwrap();
    let mut names: Vec<String> =
        report.differences.iter().map(|difference| difference.kind.name().to_owned()).collect();
    names.sort();
    names.dedup();
    names
}

#[tokio::test(start_paused = true)]
async fn nothing_differs_in_what_the_functions_stored() {
    let world = world().await;
    let state = |number| occurrence(&world, number)["state"].clone();
    assert_eq!([1, 2, 3, 4].map(state), ["missed", "missed", "done", "waiting"].map(|state| json!(state)));
    assert_eq!(differs(&world).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_was_open_when_it_was_made_is_still_to_be_searched_for() {
    let world = world().await;
    world.edit(RECORDS, &occurrence(&world, 3), |raw| {
        (raw["state"], raw["looks_back"]) = (json!({"S": "waiting"}), json!({"BOOL": true}));
    });
    assert_eq!(differs(&world).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_alert_of_missed_windows_is_quiet_within_the_period_of_a_published_one_and_not_otherwise() {
    let missed = json!({"severity": "warning", "after": 1, "quietHours": 48});
    let statuses = |world: &World| {
        let mut alerts = world.items("alert");
        alerts.sort_by_key(|alert| alert["occurrence"].as_u64());
        alerts.iter().map(|alert| alert["status"].clone()).collect::<Vec<_>>()
    };
    let set = |world: &World, number: u64, quiet: bool| {
        world.edit(RECORDS, &occurrence(world, number), |raw| raw["alert"]["M"]["quiet"] = json!({"BOOL": quiet}));
    };
    let world = two_missed(missed.clone()).await;
    assert_eq!(statuses(&world), ["SENT", "QUIET"]);
    assert_eq!(world.published().len(), 1);
    assert_eq!(differs(&world).await, [""; 0]);
    set(&world, 2, false);
    assert_eq!(differs(&world).await, ["alert-altered", "not-quiet"]);

    let world = two_missed(missed).await;
    set(&world, 1, true);
    assert_eq!(differs(&world).await, ["alert-altered", "quiet-without-reason"]);
}

#[tokio::test(start_paused = true)]
async fn each_change_of_an_occurrence_or_its_alert_is_found() {
    let text = |text: &str| json!({"S": text});
    let alter = |world: &World, number: u64, name: &str, value: Value| {
        world.edit(RECORDS, &occurrence(world, number), |raw| raw[name] = value);
    };
    let other = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e";
    type Change<'a> = (&'a str, &'a dyn Fn(&World));
    let changes: [Change<'_>; 8] = [
        ("occurrence-differs", &|world| alter(world, 3, "state", text("missed"))),
        ("occurrence-differs", &|world| alter(world, 3, "submission", text(other))),
        ("occurrence-differs", &|world| alter(world, 3, "late", json!({"BOOL": true}))),
        ("waits-too-long", &|world| {
            world.edit(RECORDS, &occurrence(world, 2), |raw| {
                raw["state"] = text("waiting");
                raw.as_object_mut().unwrap().remove("alert");
            });
        }),
        ("alert-not-stored", &|world| world.remove(RECORDS, &world.items("alert")[0])),
        ("alert-not-named", &|world| {
            world.edit(RECORDS, &occurrence(world, 2), |raw| drop(raw.as_object_mut().unwrap().remove("alert")));
        }),
        ("alert-missing", &|world| {
            world.edit(RECORDS, &occurrence(world, 2), |raw| {
                raw.as_object_mut().unwrap().retain(|name, _| !name.starts_with("alert"));
            });
            world.remove(RECORDS, &world.items("alert")[0]);
        }),
        ("alert-altered", &|world| {
            world.edit(RECORDS, &world.items("alert")[0], |raw| raw["instrument"] = text("gad-7"));
        }),
    ];
    for (kind, change) in changes {
        let world = world().await;
        change(&world);
        let found = differs(&world).await;
        assert!(found.iter().any(|name| name == kind), "{kind}: {found:?}");
    }
}
