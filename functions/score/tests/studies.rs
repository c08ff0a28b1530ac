//! A study's own rules and settings change which alerts are raised and how.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::instruments::Catalog;
use clinical::studies::Study;
use harness::{Fault, World, claims, request, stream_event};
use invocation::{Deadline, Principal};
use lambda_http::Body;
use records::{Actor, Audit, AuditAction, Since, StudyPut};
use score::Score;
use serde_json::{Map, Value, json};
use submit::Submit;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(60);

async fn send(world: &World, instrument: &str, answers: Value, authored_at: &str) {
    send_as(world, &[], instrument, answers, authored_at).await;
}

/// The latest version of a shipped instrument.
fn latest(instrument: &str) -> String {
    Catalog::shipped().latest(&instrument.parse().unwrap()).unwrap().version().to_string()
}

async fn send_as(world: &World, token: &[(&str, &str)], instrument: &str, answers: Value, authored_at: &str) {
    let id = Uuid::now_v7().to_string();
    let body = json!({
        "id": id, "instrument": instrument, "version": latest(instrument), "authoredAt": authored_at, "answers": answers,
    });
    let request = request("POST /v1/submissions", &[], "", Some(claims(token)), Some(&body.to_string()), PLENTY);
    let answer = Submit::new(world.store()).handle(request).await.unwrap();
    assert_eq!(answer.status(), 202, "{:?}", answer.body());
}

/// Processes the stream, and returns the number of records that are not done.
async fn process(world: &World) -> usize {
    let score = Score::new(world.store(), world.topic());
    score.handle(stream_event(&world.stream(), PLENTY)).await.unwrap().batch_item_failures.len()
}

fn rules(world: &World) -> Vec<(String, String)> {
    let alerts = world.items("alert");
    let rules = alerts.iter().map(|alert| ["rule", "severity"].map(|name| alert[name].as_str().unwrap().to_owned()));
    let mut rules: Vec<_> = rules.map(|[rule, severity]| (rule, severity)).collect();
    rules.sort();
    rules
}

#[tokio::test(start_paused = true)]
async fn an_alert_names_who_is_on_call_by_the_rota_of_its_study_and_nobody_where_none_covers_it() {
    // A warning, and a critical alert.
    let answers = json!({"1": 3, "2": 3, "3": 3, "4": 3, "5": 3, "6": 3, "7": 3, "8": 3, "9": 1});
    let shift = |changes: Value| {
        let mut shift = json!({"onCall": "team", "from": "00:00", "to": "24:00"});
        shift.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        shift
    };
    for (rota, expected) in [
        (json!([]), [("critical", None), ("warning", None)]),
        (json!([shift(json!({}))]), [("critical", Some("team")), ("warning", Some("team"))]),
        (json!([shift(json!({"severities": ["critical"]}))]), [("critical", Some("team")), ("warning", None)]),
        (
            json!([shift(json!({"onCall": "first", "severities": ["warning"]})), shift(json!({"onCall": "second"}))]),
            [("critical", Some("second")), ("warning", Some("first"))],
        ),
    ] {
        let world = World::new();
        world.put_study(json!({"alerts": {"rota": rota}})).await;
        send(&world, "phq-9", answers.clone(), "2026-11-01T08:00:00Z").await;
        assert_eq!(process(&world).await, 0);
        let published = world.published();
        let mut on_call: Vec<(&str, Option<&str>)> = published
            .iter()
            .map(|one| (one.attributes["severity"].as_str(), one.attributes.get("onCall").map(String::as_str)))
            .collect();
        on_call.sort_unstable();
        assert_eq!(on_call, expected, "{rota}");
        assert!(published.iter().all(|one| !one.body().to_string().contains("team")), "it is an attribute only");
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_with_a_stricter_rule_changes_the_alerts_and_the_score_names_the_version_of_the_study() {
    let audit_c = json!({"1": 2, "2": 1, "3": 0});
    for (threshold, expected) in [(3, 1), (4, 0)] {
        let world = World::new();
        let own =
            json!([{"id": "threshold", "severity": "info", "when": {"score": {"of": "total", "atLeast": threshold}}}]);
        let link = json!({"link": "https://s.example/{alertId}"});
        let instruments = json!([{"id": "audit-c", "version": "1.1.0", "rules": own}]);
        world.put_study(json!({"instruments": instruments, "alerts": link})).await;
        send(&world, "audit-c", audit_c.clone(), "2026-11-01T08:00:00Z").await;
        assert_eq!(process(&world).await, 0);
        assert_eq!(rules(&world).len(), expected, "the threshold of a study is {threshold}");
        let published = world.published();
        assert!(published.iter().all(|one| one.body()["link"].as_str().unwrap().starts_with("https://s.example/")));
        assert_eq!(published.len(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_threshold_may_depend_on_the_group_in_the_token() {
    let world = World::new();
    let line = |at_least: u8| json!([{"id": "threshold", "severity": "info", "when": {"score": {"of": "total", "atLeast": at_least}}}]);
    let asked = json!([{"id": "audit-c", "version": "1.1.0", "rules": line(3), "byGroup": {"men": line(4)}}]);
    world.put_study(json!({"instruments": asked})).await;
    for (patient, group) in [("P-1", "men"), ("P-2", "women"), ("P-3", "")] {
        let answers = json!({"1": 2, "2": 1, "3": 0});
        send_as(&world, &[("patient", patient), ("group", group)], "audit-c", answers, "2026-11-01T08:00:00Z").await;
    }
    assert_eq!(process(&world).await, 0);
    let mut alerted: Vec<_> = world.items("alert").iter().map(|alert| alert["patient"].clone()).collect();
    alerted.sort_by_key(Value::to_string);
    assert_eq!(alerted, ["P-2", "P-3"]);
}

#[tokio::test(start_paused = true)]
async fn only_a_man_may_omit_an_item_for_women() {
    let all = |leave_out: u8| -> Value {
        (1..=15)
            .filter(|item| *item != leave_out)
            .map(|item: u8| (item.to_string(), json!(1)))
            .collect::<Map<_, _>>()
            .into()
    };
    let not_applicable = |mut answers: Value| {
        answers["4"] = json!(9);
        answers
    };
    for (group, answers, total) in [
        ("men", all(4), Some(14)),
        ("male", all(4), Some(14)),
        ("men", all(0), Some(15)),
        ("men", not_applicable(all(0)), Some(14)),
        ("men", all(5), None),
        ("women", all(4), None),
        ("", all(4), None),
        ("", not_applicable(all(0)), Some(14)),
    ] {
        for study in ["none", "has it", "had it"] {
            let world = World::new();
            if study != "none" {
                world.put_study(json!({"instruments": [{"id": "phq-15", "version": "1.1.0"}]})).await;
            }
            send_as(&world, &[("group", group)], "phq-15", answers.clone(), "2026-11-01T08:00:00Z").await;
            if study == "had it" {
                let other = json!([{"id": "gad-7", "version": "1.0.0"}]);
                world.put_study(json!({"version": "2.0.0", "instruments": other})).await;
            }
            assert_eq!(process(&world).await, 0);
            let score = world.items("submission")[0]["score"].clone();
            let expected = total.map_or(Value::Null, |total| json!(total));
            assert_eq!(score["scores"][0]["value"], expected, "{group:?} {answers} {study}");
            assert_eq!(score["not_scored"].as_array().map_or(0, Vec::len), usize::from(total.is_none()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_may_disable_a_rule_and_change_the_severity_of_another() {
    let world = World::new();
    let own = json!([{"id": "safety", "severity": "warning", "when": {"item": {"of": "9", "atLeast": 2}}}]);
    let asked = json!([{"id": "phq-9", "version": "1.0.0", "rules": own, "without": ["threshold"]}]);
    world.put_study(json!({"instruments": asked})).await;
    let all_at = |code: u8| (1..=9).map(|item| (item.to_string(), json!(code))).collect::<serde_json::Map<_, _>>();
    send(&world, "phq-9", Value::Object(all_at(3)), "2026-11-01T08:00:00Z").await;
    send(&world, "phq-9", json!({"9": 1}), "2026-11-02T08:00:00Z").await;
    assert_eq!(process(&world).await, 0);
    assert_eq!(rules(&world), [("safety".to_owned(), "warning".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_may_define_how_many_submissions_it_looks_back() {
    let world = World::new();
    let own = json!([{
        "id": "lasting", "severity": "warning",
        "when": {"consecutive": {"of": "total", "atLeast": 5, "times": 4, "last": 5}},
    }]);
    world.put_study(json!({"instruments": [{"id": "pain-nrs", "version": "1.0.0", "rules": own}]})).await;
    for (day, pain, alerts) in [(1, 6, 0), (2, 5, 0), (3, 1, 0), (4, 6, 0), (5, 6, 1), (6, 2, 1), (7, 6, 1), (8, 5, 2)]
    {
        send(&world, "pain-nrs", json!({"1": pain}), &format!("2026-11-0{day}T08:00:00Z")).await;
        assert_eq!(process(&world).await, 0);
        assert_eq!(world.items("alert").len(), alerts, "after day {day}");
    }
    let undecided: Vec<Value> =
        world.items("submission").iter().map(|item| item["score"]["not_evaluated"].clone()).collect();
    assert!(undecided.iter().all(Value::is_null), "{undecided:?}");
}

#[tokio::test(start_paused = true)]
async fn an_instrument_that_the_study_dropped_is_still_scored_by_its_own_rules() {
    let world = World::new();
    world.put_study(json!({})).await;
    send(&world, "phq-9", json!({"9": 1}), "2026-11-01T08:00:00Z").await;
    world.put_study(json!({"version": "2.0.0", "instruments": [{"id": "gad-7", "version": "1.0.0"}]})).await;
    assert_eq!(process(&world).await, 0);
    assert_eq!(rules(&world), [("safety".to_owned(), "critical".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn submissions_of_a_study_that_cannot_be_read_wait_and_are_not_quarantined() {
    let world = World::new();
    world.put_study(json!({})).await;
    send(&world, "phq-9", json!({"9": 1}), "2026-11-01T08:00:00Z").await;
    world.inject_into("GetItem RecordsTable", usize::MAX, Fault::internal());
    assert_eq!(process(&world).await, 1);
    assert!(world.items("quarantined").is_empty() && world.items("alert").is_empty());
    world.heal();
    assert_eq!(process(&world).await, 0);
    assert_eq!((world.items("alert").len(), world.published().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn patients_see_scores_only_if_the_study_shows_them() {
    for shown in [true, false] {
        let world = World::new();
        world.put_study(json!({"patientsSeeScores": shown})).await;
        send(&world, "phq-9", json!({"9": 1}), "2026-11-01T08:00:00Z").await;
        assert_eq!(process(&world).await, 0);
        let submission = world.items("submission").remove(0);
        let id = submission["id"].as_str().unwrap();
        let get = request("GET /v1/submissions/{id}", &[("id", id)], "", Some(claims(&[])), None, PLENTY);
        let answer = Submit::new(world.store()).handle(get).await.unwrap();
        let Body::Text(text) = answer.body() else { panic!("answers are text") };
        let state: Value = serde_json::from_str(text).unwrap();
        assert_eq!((&state["status"], state.get("score").is_some()), (&json!("scored"), shown));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_version_never_changes_nor_does_its_author() {
    let world = World::new();
    world.put_study(json!({})).await;
    let version = |world: &World| world.items("study").into_iter().find(|item| item["sk"] == "VERSION#1.0.0").unwrap();
    world.tamper("study", "put_by", "the-first");
    world.put_study(json!({})).await;
    assert_eq!(version(&world)["put_by"], "the-first");
    assert_eq!(world.items("audit").len(), 1, "a repeat without changes has no audit entry");

    let put = async |changes: Value| {
        let mut study: Value = serde_json::from_str(version(&world)["json"].as_str().unwrap()).unwrap();
        study.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let study = Study::parse(&study.to_string()).unwrap();
        let principal = Principal::new("dm-2", "https://sts.amazonaws.com").unwrap();
        let actor = Actor { principal, role: "data-manager".to_owned() };
        let at = time::OffsetDateTime::UNIX_EPOCH;
        let audit = Audit::by(actor, AuditAction::StudyPut, Some(study.id()), "a repeat", at);
        world.store().put_study(&study, &audit, Deadline::after(PLENTY)).await.unwrap()
    };
    assert_eq!(put(json!({"patientsSeeScores": true})).await, StudyPut::OtherContent);
    assert_eq!(put(json!({"version": "1.1.0"})).await, StudyPut::InForce(Since::Now));
    assert_eq!(put(json!({})).await, StudyPut::LaterInForce("1.1.0".parse().unwrap()));
    assert_eq!(put(json!({"version": "1.0.1"})).await, StudyPut::LaterInForce("1.1.0".parse().unwrap()));
    assert_eq!(put(json!({"version": "1.1.0"})).await, StudyPut::InForce(Since::Before));
    assert_eq!(world.items("study").len(), 3, "two versions, and the one in force");
}

#[tokio::test(start_paused = true)]
async fn submissions_that_raise_more_alerts_than_a_transaction_takes_are_committed_by_several() {
    let world = World::new();
    // An id must not name an item.
    let id = |n: u8| format!("line-{}{}", char::from(b'a' + n / 10), char::from(b'a' + n % 10));
    let rule = |n| json!({"id": id(n), "severity": "info", "when": {"score": {"of": "total", "atLeast": 1}}});
    let instruments = json!([{"id": "pain-nrs", "version": "1.0.0", "rules": (0..30).map(rule).collect::<Vec<_>>()}]);
    world.put_study(json!({"instruments": instruments})).await;
    for patient in ["P-1", "P-2", "P-3", "P-4", "P-5"] {
        send_as(&world, &[("patient", patient)], "pain-nrs", json!({"1": 1}), "2026-11-01T08:00:00Z").await;
    }
    assert_eq!(process(&world).await, 0);
    assert_eq!((world.items("alert").len(), world.published().len()), (5 * 30, 5 * 30));
    let calls = world.calls();
    let scoring = calls.iter().filter(|call| call.body.to_string().contains("scored_at = :at"));
    let sizes: Vec<usize> = scoring.map(|call| call.body["TransactItems"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [2 * 32 + 1, 3 * 32 + 1], "none is sent that DynamoDB would refuse");
}
