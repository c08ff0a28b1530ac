//! Alert rules are evaluated over the patient's true course, although submissions arrive late, are corrected, or are
//! scored under another version of the study.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::instruments::Catalog;
use harness::{Call, Fault, RECORDS, World, claims, request, stream_event};
use invocation::metrics::{Captured, NOT_REEVALUATED};
use score::Score;
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(60);

/// Stores a study with the pain scale under `rules`, and with `changes` to its definition.
async fn put_study(world: &World, version: &str, rules: Value, changes: Value) {
    let sites = ["S01", "S02"].map(|site| json!({"id": site, "name": site, "timeZone": "Europe/Berlin"}));
    let definition = Catalog::shipped().find(&"pain-nrs".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    let without: Vec<&str> = definition.rules().map(|rule| rule.as_str()).collect();
    let mut study = json!({
        "version": version, "instruments": [{"id": "pain-nrs", "version": "1.0.0", "rules": rules, "without": without}],
        "sites": sites,
    });
    for (name, value) in changes.as_object().unwrap() {
        study[name] = value.clone();
    }
    world.put_study(study).await;
}

/// A rule that fires when the last three scores are all at 8 or above.
fn lasting() -> Value {
    json!([{"id": "lasting", "severity": "warning", "when": {"consecutive": {"of": "total", "atLeast": 8, "times": 3, "last": 3}}}])
}

fn pain(day: u8, pain: u8) -> Value {
    json!({
        "id": Uuid::now_v7().to_string(), "instrument": "pain-nrs", "version": "1.0.0",
        "authoredAt": format!("2025-11-{day:02}T08:00:00+01:00"), "answers": {"1": pain},
    })
}

fn correction(of: &Value, day: u8, pain_then: u8) -> Value {
    let mut correction = pain(day, pain_then);
    correction["amends"] = of["id"].clone();
    correction["reason"] = json!("mistyped");
    correction
}

async fn send_from(world: &World, site: &str, route: &str, body: &Value) -> Value {
    let claims = claims(&[("sites", site)]);
    let request = request(route, &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    let answer = Submit::new(world.store()).handle(request).await.unwrap();
    assert!(answer.status().is_success(), "{:?}", answer.body());
    serde_json::from_slice(answer.body()).unwrap()
}

async fn send(world: &World, body: &Value) {
    send_from(world, "S01", "POST /v1/submissions", body).await;
}

/// Scores the records of the stream from index `from` on.
async fn score(world: &World, from: usize) {
    let score = Score::new(world.store(), world.topic());
    let answer = score.handle(stream_event(&world.stream()[from..], PLENTY)).await.unwrap();
    assert_eq!(answer.batch_item_failures, []);
}

async fn send_and_score(world: &World, bodies: impl IntoIterator<Item = &Value>) {
    let before = world.stream().len();
    for body in bodies {
        send(world, body).await;
    }
    score(world, before).await;
}

fn alerts(world: &World, rule: &str) -> Vec<Value> {
    world.items("alert").into_iter().filter(|alert| alert["rule"] == rule).collect()
}

fn stored(world: &World, body: &Value) -> Value {
    world.items("submission").into_iter().find(|item| item["id"] == body["id"]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_offline_batch_in_any_order_fires_a_rule_that_looks_back() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]] {
        let world = World::new();
        put_study(&world, "1.0.0", lasting(), json!({})).await;
        let days = [pain(1, 8), pain(2, 9), pain(3, 8)];
        let batch: Vec<&Value> = order.iter().map(|index| &days[*index]).collect();
        send_from(&world, "S01", "POST /v1/submissions/batch", &json!(batch)).await;
        score(&world, 0).await;
        let raised = alerts(&world, "lasting");
        assert_eq!((raised.len(), &raised[0]["submission"]), (1, &days[2]["id"]), "{order:?}");
        assert_eq!(world.published().len(), 1);
    }
}

/// Three days of which the first and the third are scored, and the second was not sent yet.
async fn without_the_second() -> (World, [Value; 3]) {
    let world = World::new();
    put_study(&world, "1.0.0", lasting(), json!({})).await;
    let days = [pain(1, 8), pain(2, 8), pain(3, 8)];
    send_and_score(&world, [&days[0], &days[2]]).await;
    (world, days)
}

#[tokio::test(start_paused = true)]
async fn a_late_submission_fires_the_rules_of_its_successors_once_as_late_alerts() {
    let (world, [_, late, third]) = without_the_second().await;
    assert_eq!(alerts(&world, "lasting"), Vec::<Value>::new());
    // From another site: a patient has one course.
    send_from(&world, "S02", "POST /v1/submissions", &late).await;
    for _ in 0..2 {
        score(&world, 2).await;
    }
    let raised = alerts(&world, "lasting");
    assert_eq!((raised.len(), &raised[0]["submission"], &raised[0]["late"]), (1, &third["id"], &json!(true)));
    assert_eq!((&raised[0]["site"], &raised[0]["status"]), (&json!("S01"), &json!("SENT")));
    assert_eq!(stored(&world, &third)["score"]["alerts"][0]["id"], raised[0]["alert_id"]);
    assert_eq!(world.items("profile")[0]["open_alerts"], 1);
    let (study, site) = ("DEMO".parse().unwrap(), "S01".parse().unwrap());
    let counts = world.store().site_counts(&study, &[site], invocation::Deadline::after(PLENTY)).await.unwrap();
    assert_eq!((counts[0].submissions, counts[0].alerts), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_correction_counts_at_the_time_of_the_submission_that_it_corrects() {
    let world = World::new();
    put_study(&world, "1.0.0", lasting(), json!({})).await;
    let days = [pain(1, 8), pain(2, 0), pain(3, 8)];
    send_and_score(&world, &days).await;
    assert_eq!(alerts(&world, "lasting"), Vec::<Value>::new());
    // Made days later.
    let correction = correction(&days[1], 9, 8);
    send_and_score(&world, [&correction]).await;
    let raised = alerts(&world, "lasting");
    assert_eq!((raised.len(), &raised[0]["submission"]), (1, &days[2]["id"]));
    let course = world.items("profile")[0]["courses"]["pain-nrs#1.0.0"].clone();
    let points: Vec<&Value> = course["l"].as_array().unwrap().iter().map(|point| &point["s"]).collect();
    assert_eq!(points[..2], [&days[2]["id"], &correction["id"]]);
    assert_eq!(course["n"], 3);
    assert_eq!(stored(&world, &days[1])["score"]["scores"][0]["value"], 0, "the corrected one keeps its score");
}

#[tokio::test(start_paused = true)]
async fn alerts_of_a_corrected_submission_stay_and_are_marked() {
    let world = World::new();
    let rules = json!([{"id": "line", "severity": "warning", "when": {"score": {"of": "total", "atLeast": 9}}}]);
    put_study(&world, "1.0.0", rules, json!({})).await;
    let mistyped = pain(1, 10);
    send_and_score(&world, [&mistyped]).await;
    send_and_score(&world, [&correction(&mistyped, 1, 1)]).await;
    let raised = alerts(&world, "line");
    assert_eq!((raised.len(), &raised[0]["corrected"], &raised[0]["status"]), (1, &json!(true), &json!("SENT")));
}

#[tokio::test(start_paused = true)]
async fn a_correction_that_is_scored_first_still_replaces_the_original() {
    let world = World::new();
    let rules = json!([{"id": "line", "severity": "warning", "when": {"score": {"of": "total", "atLeast": 9}}}]);
    put_study(&world, "1.0.0", rules, json!({})).await;
    let mistyped = pain(1, 10);
    send(&world, &mistyped).await;
    let correction = correction(&mistyped, 1, 1);
    send_and_score(&world, [&correction]).await;
    score(&world, 0).await;
    assert_eq!(alerts(&world, "line"), Vec::<Value>::new());
    let course = world.items("profile")[0]["courses"]["pain-nrs#1.0.0"].clone();
    assert_eq!((&course["n"], &course["b"]["s"]), (&json!(1), &correction["id"]));
    assert!(stored(&world, &mistyped)["scored_at"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_scored_under_the_study_version_that_accepted_it_even_if_a_later_one_dropped_the_instrument() {
    let world = World::new();
    let rules = json!([{"id": "added", "severity": "critical", "when": {"score": {"of": "total", "atLeast": 3}}}]);
    put_study(&world, "1.0.0", rules, json!({})).await;
    let body = pain(1, 3);
    send(&world, &body).await;
    put_study(&world, "2.0.0", json!([]), json!({"instruments": [{"id": "phq-9", "version": "1.0.0"}]})).await;
    score(&world, 0).await;
    assert_eq!(alerts(&world, "added").len(), 1);
    assert_eq!(world.items("quarantined"), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn a_submission_whose_definition_is_lost_counts_with_its_stored_scores_and_is_reported() {
    let (world, [first, late, third]) = without_the_second().await;
    world.edit(RECORDS, &stored(&world, &first), |raw| raw["instrument"]["M"]["hash"] = other_content());
    let metrics = Captured::begin();
    send_and_score(&world, [&late]).await;
    let raised = alerts(&world, "lasting");
    assert_eq!((raised.len(), &raised[0]["submission"]), (1, &third["id"]));
    assert_eq!(metrics.sum(NOT_REEVALUATED), Some(1));
    let lost = json!([{"rule": "all", "reason": "the definition that it was scored by can no longer be read"}]);
    assert_eq!(stored(&world, &first)["score"]["not_evaluated"], lost);
}

#[tokio::test(start_paused = true)]
async fn a_submission_of_a_reset_phone_is_no_baseline_in_a_study_with_a_start_date() {
    for (starts_on, expected) in [(json!("2025-11-01"), 1), (Value::Null, 0)] {
        let world = World::new();
        let rules = json!([{"id": "worse", "severity": "warning", "when": {"change": {"of": "total", "against": "baseline", "worse": "higher", "by": 3}}}]);
        put_study(&world, "1.0.0", rules, json!({"startsOn": starts_on})).await;
        let mut reset = pain(1, 9);
        reset["authoredAt"] = json!("2010-01-01T00:03:00+01:00");
        send_and_score(&world, [&reset, &pain(2, 2), &pain(3, 7)]).await;
        assert_eq!(alerts(&world, "worse").len(), expected, "{starts_on}");
        assert!(stored(&world, &reset)["scored_at"].is_string(), "kept and scored");
    }
}

/// The number of writes of `call`, if it is the transaction of an evaluated course.
fn writes_of_course(call: &Call) -> Option<usize> {
    let writes = call.body["TransactItems"].as_array().filter(|_| call.name() == "TransactWriteItems")?;
    let body = call.body.to_string();
    (body.contains("open_alerts") && !body.contains("scored_at = :at")).then_some(writes.len())
}

#[tokio::test(start_paused = true)]
async fn a_course_whose_transaction_meets_a_conflict_is_evaluated_by_the_same_run() {
    let (world, [_, late, third]) = without_the_second().await;
    send(&world, &late).await;
    let mut conflicts = 2;
    world.inject(move |call| {
        let writes = writes_of_course(call).filter(|_| conflicts > 0)?;
        conflicts -= 1;
        Some(Fault::conflict(writes, 0))
    });
    score(&world, 2).await;
    let raised = alerts(&world, "lasting");
    assert_eq!((raised.len(), &raised[0]["submission"]), (1, &third["id"]));
    assert_eq!(world.items("profile")[0]["pending"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn a_course_that_dynamodb_refuses_is_left_to_the_sweep_at_once() {
    let (world, [_, late, _]) = without_the_second().await;
    send(&world, &late).await;
    world.inject(|call| writes_of_course(call).map(|writes| Fault::cancelled_by(writes, 0, "ValidationError")));
    let began = Instant::now();
    let event = stream_event(&world.stream()[2..], PLENTY);
    let answer = Score::new(world.store(), world.topic()).handle(event).await.unwrap();
    assert_eq!((answer.batch_item_failures, began.elapsed().as_secs()), (vec![], 0));
    assert!(world.items("profile")[0]["pending"].is_string(), "the sweep finds it");
}

/// Whether `call` reads the records of a patient.
fn reads_course(call: &Call) -> bool {
    call.name() == "Query" && call.body.to_string().contains("PATIENT#")
}

#[tokio::test(start_paused = true)]
async fn a_course_that_a_run_left_is_evaluated_when_its_record_is_delivered_again() {
    let (world, [_, late, third]) = without_the_second().await;
    send(&world, &late).await;
    world.inject(|call| reads_course(call).then(|| Fault::error("AccessDeniedException")));
    score(&world, 2).await;
    assert!(stored(&world, &late)["scored_at"].is_string());
    assert_eq!(alerts(&world, "lasting"), Vec::<Value>::new());
    world.heal();
    score(&world, 2).await;
    let raised = alerts(&world, "lasting");
    assert_eq!((raised.len(), &raised[0]["submission"]), (1, &third["id"]));
}

#[tokio::test(start_paused = true)]
async fn a_submission_whose_score_a_read_does_not_see_yet_is_not_left_out_of_the_course() {
    let (world, [first, late, third]) = without_the_second().await;
    send(&world, &late).await;
    // The query sees the transaction that scored the first submission half applied; the next transaction sees it whole.
    let (seen, item) = (world.clone(), stored(&world, &first));
    let mut hidden: Option<Value> = None;
    let mut hide = true;
    world.inject(move |call| {
        if reads_course(call) && std::mem::take(&mut hide) {
            seen.edit(RECORDS, &item, |raw| {
                hidden = Some(raw.clone());
                raw.as_object_mut().unwrap().retain(|name, _| !["score", "scored_at"].contains(&name.as_str()));
            });
        } else if call.name() == "TransactWriteItems"
            && let Some(whole) = hidden.take()
        {
            seen.edit(RECORDS, &item, |raw| *raw = whole);
        }
        None
    });
    score(&world, 2).await;
    assert!(stored(&world, &first)["scored_at"].is_string());
    let course = world.items("profile")[0]["courses"]["pain-nrs#1.0.0"].clone();
    assert_eq!((&course["n"], &course["b"]["s"]), (&json!(3), &first["id"]));
    let raised = alerts(&world, "lasting");
    assert_eq!((raised.len(), &raised[0]["submission"]), (1, &third["id"]));
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_a_read_does_not_see_yet_is_marked_as_superseded_all_the_same() {
    let world = World::new();
    put_study(&world, "1.0.0", lasting(), json!({})).await;
    let days = [pain(1, 8), pain(2, 8), pain(3, 8)];
    send_and_score(&world, &days).await;
    // The transaction that stored the alert is half applied for the first read, as one of DynamoDB may be.
    let mut hide = true;
    world.inject(move |call| {
        let alerts = call.name() == "BatchGetItem" && call.body.to_string().contains("ALERTS#");
        let nothing = json!({"Responses": {"RecordsTable": []}, "UnprocessedKeys": {}});
        (alerts && std::mem::take(&mut hide)).then_some(Fault::Answer(200, nothing))
    });
    send_and_score(&world, [&correction(&days[1], 4, 0)]).await;
    let raised = alerts(&world, "lasting");
    assert_eq!((raised.len(), &raised[0]["superseded"]), (1, &json!(true)));
}

/// The hash of a definition that nobody has.
fn other_content() -> Value {
    json!({"B": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="})
}

fn line_and_lasting() -> Value {
    let line = json!({"id": "line", "severity": "warning", "when": {"score": {"of": "total", "atLeast": 10}}});
    json!([line, lasting()[0]])
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_alert_is_reported_when_its_course_is_evaluated_and_an_unscored_submission_is_not() {
    for (severity, reported) in [("warning", None), ("dreadful", Some(1))] {
        let world = World::new();
        put_study(&world, "1.0.0", line_and_lasting(), json!({})).await;
        send_and_score(&world, [&pain(1, 10), &pain(3, 8)]).await;
        world.tamper("alert", "severity", severity);
        for body in [&pain(2, 8), &pain(4, 8)] {
            send(&world, body).await;
        }
        let metrics = Captured::begin();
        let event = stream_event(&world.stream()[2..3], PLENTY);
        Score::new(world.store(), world.topic()).handle(event).await.unwrap();
        assert_eq!(metrics.sum(NOT_REEVALUATED), reported, "{severity}");
        assert_eq!(alerts(&world, "lasting").len(), 1, "{severity}");
    }
}

#[tokio::test(start_paused = true)]
async fn alerts_of_a_submission_whose_definition_is_lost_keep_their_marks() {
    let world = World::new();
    put_study(&world, "1.0.0", line_and_lasting(), json!({})).await;
    let days = [pain(1, 10), pain(2, 8), pain(3, 8)];
    send_and_score(&world, &days).await;
    send_and_score(&world, [&correction(&days[1], 4, 0)]).await;
    let superseded = |rule: &str| alerts(&world, rule)[0]["superseded"].as_bool().unwrap_or_default();
    assert!(superseded("lasting") && !superseded("line"));
    for lost in [&days[0], &days[2]] {
        let hash = other_content();
        world.edit(RECORDS, &stored(&world, lost), |raw| raw["instrument"]["M"]["hash"] = hash);
    }
    let late = pain(2, 1);
    send_and_score(&world, [&late]).await;
    assert_eq!(world.items("profile")[0]["courses"]["pain-nrs#1.0.0"]["n"], 4);
    assert!(superseded("lasting") && !superseded("line"));
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_a_submission_that_is_corrected_before_they_are_evaluated_say_so() {
    let (world, [_, late, _]) = without_the_second().await;
    send(&world, &late).await;
    world.inject(|call| reads_course(call).then(|| Fault::error("AccessDeniedException")));
    score(&world, 2).await;
    let reason = || stored(&world, &late)["score"]["not_evaluated"].clone();
    assert_eq!(reason(), json!([{"rule": "lasting", "reason": "the patient's course is being evaluated again"}]));
    send(&world, &correction(&late, 4, 0)).await;
    world.heal();
    score(&world, 3).await;
    let corrected = "the submission was corrected before its course was evaluated";
    assert_eq!(reason(), json!([{"rule": "lasting", "reason": corrected}]));
    assert_eq!(alerts(&world, "lasting"), Vec::<Value>::new());
}

#[tokio::test(start_paused = true)]
async fn a_course_with_more_changes_than_a_transaction_takes_is_evaluated_by_several_from_one_reading() {
    let world = World::new();
    let change = |by: u8| json!({"change": {"of": "total", "against": "baseline", "worse": "higher", "by": by}});
    let rule = |id: &str, by| json!({"id": id, "severity": "warning", "when": change(by)});
    put_study(&world, "1.0.0", json!([rule("worse", 3), rule("much-worse", 4)]), json!({})).await;
    let days: Vec<Value> = (2..=30).map(|day| pain(day, 7)).collect();
    send_and_score(&world, &days).await;
    assert_eq!(alerts(&world, "worse"), Vec::<Value>::new());
    // Two alerts and a score of each of the 29.
    send(&world, &pain(1, 2)).await;
    let readings = |world: &World| world.calls().iter().filter(|call| reads_course(call)).count();
    let (readings_before, transactions) = (readings(&world), world.calls().len());
    score(&world, 29).await;
    assert_eq!((alerts(&world, "worse").len(), world.published().len()), (29, 58));
    assert_eq!(readings(&world), readings_before + 1);
    let of_course = world.calls()[transactions..].iter().filter(|call| writes_of_course(call).is_some()).count();
    assert_eq!(of_course, 2);
    assert_eq!(world.items("profile")[0]["open_alerts"], 58);
}
