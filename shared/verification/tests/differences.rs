//! Each kind of difference is found where one stored item is changed, and nothing differs where none is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alerts::Alerts;
use api::Handler;
use clinical::studies::Escalation;
use harness::{COUNTS, Fault, RECORDS, World, claims, context, request};
use invocation::Deadline;
use lambda_runtime::LambdaEvent;
use registry::Registry;
use serde_json::{Value, json};
use submit::Submit;
use sweep::Sweep;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use verification::{Kind, Report, SYNCHRONIZED, Settings, verify};

const PLENTY: Duration = Duration::from_secs(60);
const LONG_AGO: &str = "2026-01-01T00:00:00.000000000Z";

/// An instrument with a rule on an answer, and rules that look back, one of them with a quiet period.
fn pain() -> String {
    json!({
        "id": "pain", "version": "1.0.0", "title": {"en": "Pain"},
        "licence": {"terms": "Public domain", "texts": "included"}, "sources": ["A test"],
        "items": [
            {"id": "1", "type": "integer", "min": 0, "max": 10, "text": {"en": "Pain?"}},
            {"id": "2", "type": "boolean", "text": {"en": "Fever?"}},
        ],
        "scores": [{"id": "total", "value": "1", "range": [0, 10]}],
        "rules": [
            {"id": "safety", "severity": "critical", "when": {"item": {"of": "2", "atLeast": 1}}},
            {"id": "high", "severity": "info", "when": {"score": {"of": "total", "atLeast": 10}}},
            {"id": "worse", "severity": "warning", "quietHours": 24, "when": {"change": {"of": "total", "against": "baseline", "worse": "higher", "by": 4}}},
        ],
    })
    .to_string()
}

async fn send(world: &World, site: &str, patient: &str, day: u8, answers: Value, amends: Option<&str>) -> String {
    let id = Uuid::now_v7().to_string();
    let body = json!({
        "id": id, "instrument": "pain", "version": "1.0.0", "authoredAt": format!("2025-11-{day:02}T08:00:00Z"),
        "answers": answers, "amends": amends, "reason": amends.map(|_| "mistyped"),
    });
    let claims = claims(&[("sites", site), ("patient", patient)]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
    id
}

async fn acknowledge(world: &World, site: &str, sub: &str, alert: &str) {
    let claims = claims(&[("role", "clinician"), ("patient", ""), ("sub", sub), ("sites", site)]);
    let note = json!({"note": format!("seen by {sub}")}).to_string();
    let route = "POST /v1/alerts/{alertId}/acknowledge";
    let request = request(route, &[("alertId", alert)], "", Some(claims), Some(&note), PLENTY);
    assert_eq!(Alerts::new(world.store()).handle(request).await.unwrap().status(), 200);
}

async fn snooze(world: &World, site: &str, sub: &str, alert: &str) {
    let claims = claims(&[("role", "clinician"), ("patient", ""), ("sub", sub), ("sites", site)]);
    let until = (OffsetDateTime::now_utc() + time::Duration::minutes(30)).format(&Rfc3339).unwrap();
    let body = json!({"until": until, "reason": "her visit is at noon"}).to_string();
    let route = "POST /v1/alerts/{alertId}/snooze";
    let request = request(route, &[("alertId", alert)], "", Some(claims), Some(&body), PLENTY);
    assert_eq!(Alerts::new(world.store()).handle(request).await.unwrap().status(), 200);
}

/// Sends `body` to the registry's `route` of `patient`.
async fn register(world: &World, patient: &str, route: &str, body: Value) {
    let claims = claims(&[("role", "staff"), ("patient", "")]);
    let request = request(route, &[("patient", patient)], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert!(Registry::new(world.store()).handle(request).await.unwrap().status().is_success());
}

/// Two sites, five patients of whom one has withdrawn and one, who has sent nothing, was transferred, a correction, a late submission, alerts that are quiet, acknowledged twice, snoozed,
/// escalated and superseded: all scored and published.
async fn world() -> World {
    let world = World::new();
    world.put_instrument(&pain()).await;
    let site = |id: &str| json!({"id": id, "name": id, "timeZone": "Europe/Berlin"});
    let study = |version: &str| {
        json!({
            "version": version, "sites": [site("S01"), site("S02")],
            "instruments": [{"id": "pain", "version": "1.0.0"}],
            "alerts": {"escalation": {"afterMinutes": 1, "limit": 2}, "snooze": {"mostMinutes": 60}},
        })
    };
    world.put_study(study("1.0.0")).await;
    world.put_study(study("1.1.0")).await;
    send(&world, "S01", "P-1", 2, json!({"1": 3, "2": false}), None).await;
    score(&world).await;
    send(&world, "S01", "P-1", 3, json!({"1": 8, "2": false}), None).await;
    score(&world).await;
    let mistyped = send(&world, "S01", "P-1", 4, json!({"1": 9, "2": false}), None).await;
    score(&world).await;
    send(&world, "S01", "P-1", 4, json!({"1": 2, "2": true}), Some(&mistyped)).await;
    score(&world).await;
    // Late: the new baseline supersedes the alert of the third day.
    send(&world, "S01", "P-1", 1, json!({"1": 6, "2": false}), None).await;
    send(&world, "S02", "P-2", 1, json!({"1": 0, "2": true}), None).await;
    send(&world, "S02", "P-3", 1, json!({"2": false}), None).await;
    send(&world, "S01", "P-4", 1, json!({"1": 10, "2": false}), None).await;
    score(&world).await;
    register(&world, "P-4", "PUT /v1/patients/{patient}", json!({"enrolledOn": "2025-11-01"})).await;
    let withdrawal = json!({"mode": "stop", "requestedBy": "patient", "reason": "no time"});
    register(&world, "P-4", "POST /v1/patients/{patient}/withdrawal", withdrawal).await;
    register(&world, "P-5", "PUT /v1/patients/{patient}", json!({"enrolledOn": "2025-11-01"})).await;
    let transfer = json!({"site": "S02", "reason": "moved"});
    register(&world, "P-5", "POST /v1/patients/{patient}/transfer", transfer).await;
    let of_p2 = one(&world, "alert", "patient", "P-2")["alert_id"].as_str().unwrap().to_owned();
    acknowledge(&world, "S02", "dr-chen", &of_p2).await;
    acknowledge(&world, "S02", "dr-lee", &of_p2).await;
    snooze(&world, "S01", "dr-chen", one(&world, "alert", "rule", "worse")["alert_id"].as_str().unwrap()).await;
    let open = one(&world, "alert", "rule", "safety");
    assert_eq!((&open["patient"], &open["status"]), (&json!("P-1"), &json!("SENT")));
    for time in ["sent_at", "pending_since"] {
        world.tamper_one(&open, time, LONG_AGO);
    }
    sweep(&world).await;
    let escalated = one(&world, "alert", "rule", "safety");
    assert_eq!(escalated["escalation"], 1, "{escalated}");
    world
}

async fn score(world: &World) {
    assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
}

async fn sweep(world: &World) {
    let default = Escalation { after_minutes: 30, limit: 3 };
    let sweep = Sweep::new(world.store(), world.topic(), world.reminder_topic(), default);
    Box::pin(sweep.handle(LambdaEvent::new(json!({}), context(PLENTY)))).await.unwrap();
}

async fn verified(world: &World, settings: Settings) -> Report {
    let now = OffsetDateTime::now_utc();
    verify(&world.store(), settings, now, Deadline::after(PLENTY), |_| {}).await.unwrap()
}

/// The first item of `kind` whose `attribute` is `value`.
fn one(world: &World, kind: &str, attribute: &str, value: &str) -> Value {
    let found = world.items(kind).into_iter().find(|item| item[attribute] == value);
    found.unwrap_or_else(|| panic!("no {kind} has {attribute} {value}"))
}

fn profile(world: &World) -> Value {
    one(world, "profile", "pk", "PATIENT#DEMO#P-1")
}

fn alert(world: &World, rule: &str) -> Value {
    one(world, "alert", "rule", rule)
}

/// An alert's id that no alert has.
const NO_ALERT: &str = "019a3f2e-4c00-8000-8000-000000000000";

/// The submission of the second day.
fn submission(world: &World) -> Value {
    one(world, "submission", "authored_at", "2025-11-03T08:00:00Z")
}

fn edit(world: &World, item: &Value, change: impl FnOnce(&mut Value)) {
    world.edit(RECORDS, item, change);
}

fn set(world: &World, item: &Value, pointer: &str, value: Value) {
    edit(world, item, |raw| *raw.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}: {item}")) = value);
}

/// Sets the member `name` of the map at `pointer`, which need not have it.
fn add(world: &World, item: &Value, pointer: &str, name: &str, value: Value) {
    edit(world, item, |raw| raw.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}: {item}"))[name] = value);
}

fn unset(world: &World, item: &Value, attribute: &str) {
    edit(world, item, |raw| assert!(raw.as_object_mut().unwrap().remove(attribute).is_some(), "{attribute}: {item}"));
}

fn text(value: &str) -> Value {
    json!({"S": value})
}

/// A change of what is stored, and the kinds of the differences that it makes.
struct Case {
    name: &'static str,
    change: fn(&World),
    kinds: &'static [Kind],
}

/// Writes `Case`s in one line each.
macro_rules! cases {
    ($($name:literal: |$world:ident| $change:expr => [$($kind:ident),+];)*) => {
        &[$(Case { name: $name, change: |$world| { $change; }, kinds: &[$(Kind::$kind),+] }),*]
    };
}

const CASES: &[Case] = cases! {
    "a submission that cannot be read": |world| unset(world, &one(world, "submission", "patient", "P-3"), "digest")
        => [Unreadable, CountTooHigh];
    "an alert that cannot be read": |world| set(world, &alert(world, "high"), "/severity", text("grave"))
        => [Unreadable, CountTooHigh, AlertMissing, AlertNotStored];
    "an alert that names another patient": |world| set(world, &alert(world, "worse"), "/patient", text("P-9"))
        => [AlertAltered, AlertNotNamed, AuditMissing, AuditWithoutChange];
    "an item of no kind": |world| edit(world, &alert(world, "safety"), |raw| { raw["pk"] = text("OTHER"); raw["kind"] = text("other"); })
        => [Unreadable];
    "a study whose content was changed": |world| {
        let study = world.items("study").into_iter().find(|item| item["sk"] == "VERSION#1.1.0").unwrap();
        let json = study["json"].as_str().unwrap().replace("A study", "Another study");
        set(world, &study, "/json", text(&json));
    } => [Unreadable, DefinitionMissing, InForceDiffers, AuditWithoutChange];
    "a study that is gone": |world| {
        let study = world.items("study").into_iter().find(|item| item["sk"] == "VERSION#1.1.0").unwrap();
        world.remove(RECORDS, &study);
    } => [DefinitionMissing, AuditWithoutChange, InForceDiffers];
    "an answer that the instrument does not have": |world| edit(world, &one(world, "submission", "patient", "P-3"), |raw| {
        raw["answers"]["M"]["9"] = json!({"N": "1"});
    }) => [AnswersDoNotFit];
    "another score": |world| set(world, &submission(world), "/score/M/scores/L/0/M/value", json!({"N": "7"}))
        => [ScoresDiffer];
    "no score": |world| set(world, &submission(world), "/score/M/scores", json!({"L": []}))
        => [ScoresDiffer];
    "another answer": |world| set(world, &submission(world), "/answers/M/1", json!({"N": "7"}))
        => [ScoresDiffer];
    "another reason": |world| set(world, &one(world, "submission", "patient", "P-3"), "/score/M/not_scored/L/0/M/reason", text("none"))
        => [NotScoredDiffers];
    "no rule that was not evaluated": |world| set(world, &one(world, "submission", "patient", "P-3"), "/score/M/not_evaluated", json!({"L": []}))
        => [NotEvaluatedDiffers];
    "a claim that was not made": |world| add(world, &submission(world), "/score/M", "claimed_differs",
        json!({"L": [{"M": {"id": {"S": "total"}, "claimed": {"N": "3"}}}]})) => [ClaimsDiffer];
    "an alert that is gone": |world| world.remove(RECORDS, &alert(world, "safety"))
        => [AlertMissing, AlertNotStored, CountTooHigh, OpenAlertsDiffer, LastAlertsDiffer];
    "an alert of a rule that does not fire": |world| {
        let safety = alert(world, "safety");
        edit(world, &safety, |raw| {
            (raw["sk"], raw["alert_id"], raw["rule"]) = (text(NO_ALERT), text(NO_ALERT), text("high"));
        });
        edit(world, &one(world, "submission", "id", safety["submission"].as_str().unwrap()), |raw| {
            let named = raw.pointer_mut("/score/M/alerts/L").unwrap().as_array_mut().unwrap();
            named.push(json!({"M": {"id": text(NO_ALERT), "rule": text("high")}}));
        });
    } => [AlertAltered, AlertWithoutReason, AlertMarksDiffer, CountTooLow, OpenAlertsDiffer, LastAlertsDiffer, NotInSiteIndex];
    "an alert of another severity": |world| set(world, &alert(world, "worse"), "/severity", text("info"))
        => [AlertAltered, NotInSiteIndex, OpenAlertsDiffer];
    "an alert of another site": |world| set(world, &alert(world, "worse"), "/site", text("S02"))
        => [Unreadable, AlertNotStored, QuietWithoutReason, CountTooHigh];
    "an alert among those of another site": |world| edit(world, &alert(world, "worse"), |raw| {
        (raw["pk"], raw["site"]) = (text("ALERTS#DEMO#S02"), text("S02"));
    }) => [AlertNotNamed];
    "an alert that was raised at another time": |world| set(world, &alert(world, "safety"), "/raised_at", text("2026-01-01T00:00:00Z"))
        => [AlertAltered, LastAlertsDiffer, OpenAlertsDiffer];
    "an alert that is marked corrected": |world| edit(world, &alert(world, "safety"), |raw| raw["corrected"] = json!({"BOOL": true}))
        => [AlertMarksDiffer];
    "an alert that is no longer superseded": |world| {
        let superseded = world.items("alert").into_iter().find(|row| row["superseded"] == true).unwrap();
        unset(world, &superseded, "superseded");
    } => [AlertMarksDiffer];
    "an alert that its score does not name": |world| {
        let id = alert(world, "safety")["submission"].as_str().unwrap().to_owned();
        set(world, &one(world, "submission", "id", &id), "/score/M/alerts", json!({"L": []}));
    } => [AlertNotNamed, AlertMissing, CountTooHigh, OpenAlertsDiffer, LastAlertsDiffer];
    "a named alert of another id": |world| set(world, &submission(world), "/score/M/alerts/L/0/M/id", text(NO_ALERT))
        => [AlertNotNamed, AlertNotStored, QuietWithoutReason, CountTooHigh, OpenAlertsDiffer, LastAlertsDiffer];
    "a quiet alert that nothing made quiet": |world| {
        let published = world.items("alert").into_iter().find(|row| row["rule"] == "worse" && row["status"] == "SENT").unwrap();
        edit(world, &published, |raw| {
            raw["status"] = text("QUIET");
            raw.as_object_mut().unwrap().retain(|name, _| name != "sent_at" && name != "message_id");
        });
    } => [QuietWithoutReason, LastAlertsDiffer, NotInSiteIndex];
    "a quiet alert before which none was published": |world| {
        let published = world.items("alert").into_iter().find(|row| row["rule"] == "worse" && row["status"] == "SENT").unwrap();
        raise_later(world, &published, time::Duration::hours(7));
    } => [AlertAltered, QuietWithoutReason, LastAlertsDiffer, OpenAlertsDiffer];
    "an acknowledged alert that was never published": |world| {
        let acknowledged = one(world, "alert", "patient", "P-2");
        edit(world, &acknowledged, |raw| raw.as_object_mut().unwrap().retain(|name, _| {
            !["sent_at", "message_id", "pending", "pending_since"].contains(&name.as_str())
        }));
    } => [QuietWithoutReason, LastAlertsDiffer];
    "a published alert within a quiet period": |world| {
        let quiet = one(world, "alert", "status", "QUIET");
        edit(world, &quiet, |raw| {
            raw["status"] = text("SENT");
            raw["sent_at"] = raw["raised_at"].clone();
            raw["message_id"] = text("m");
        });
    } => [NotQuiet, LastAlertsDiffer, NotInSiteIndex];
    "a sent alert without its time": |world| unset(world, &alert(world, "worse"), "sent_at") => [StatusDiffers];
    "a sent alert without its message": |world| unset(world, &alert(world, "worse"), "message_id") => [StatusDiffers];
    "an alert that is acknowledged by nobody": |world| set(world, &alert(world, "worse"), "/status", text("ACKNOWLEDGED"))
        => [StatusDiffers, NotInSiteIndex];
    "a warning that was escalated": |world| edit(world, &alert(world, "worse"), |raw| {
        raw["escalation"] = json!({"N": "1"});
        raw["escalated_at"] = raw["sent_at"].clone();
        raw["escalation_message_id"] = text("m");
    }) => [StatusDiffers];
    "an escalation too many": |world| edit(world, &alert(world, "safety"), |raw| raw["escalation"] = json!({"N": "3"}))
        => [EscalatedTooOften];
    "an open critical alert on no list": |world| edit(world, &alert(world, "safety"), |raw| {
        raw.as_object_mut().unwrap().retain(|name, _| !name.starts_with("pending"));
    }) => [ListDiffers];
    "an alert on a shard that nothing reads": |world| set(world, &alert(world, "safety"), "/pending", text("OPEN#8"))
        => [ListDiffers];
    "a scored submission that waits": |world| edit(world, &submission(world), |raw| {
        (raw["pending"], raw["pending_since"]) = (text("PENDING#1"), text(LONG_AGO));
    }) => [ListDiffers];
    "a submission that is not scored and on no list": |world| edit(world, &one(world, "submission", "patient", "P-3"), |raw| {
        raw.as_object_mut().unwrap().retain(|name, _| !name.starts_with("score"));
    }) => [ListDiffers, ProfileWithoutReason, CountTooHigh];
    "a profile in another place of the index": |world| set(world, &profile(world), "/site_sort", text("PATIENT#P-9"))
        => [NotInSiteIndex];
    "a profile of another site": |world| set(world, &profile(world), "/site_key", text("SITE#DEMO#S02"))
        => [NotInSiteIndex, LastSubmissionDiffers];
    "an entry of the index that is gone":
        |world| world.remove(RECORDS, &one(world, "site-entry", "site_key", "SITE#DEMO#S02"))
        => [NotInSiteIndex];
    "an entry of the index for another site": |world| {
        set(world, &one(world, "site-entry", "site_key", "SITE#DEMO#S02"), "/site_key", text("SITE#DEMO#S09"));
    } => [NotInSiteIndex, Unreadable];
    "a registration that cannot be read": |world| edit(world, &one(world, "registration", "site", "S01"), |raw| {
        raw["enrolled_on"] = text("soon");
    }) => [Unreadable];
    "an entry of the site that a patient left": |world| {
        let of = |item: &&Value| item["pk"] == "PATIENT#DEMO#P-5" && item["site_key"] == "SITE#DEMO#S01";
        world.remove(RECORDS, world.items("site-entry").iter().find(of).unwrap());
    }
        => [NotInSiteIndex];
    "a transfer with an entry at one site only":
        |world| world.remove(RECORDS, &one(world, "audit", "action", "patient-transferred")) => [AuditMissing];
    "a withdrawal without its entry": |world| world.remove(RECORDS, &one(world, "audit", "action", "patient-withdrawn"))
        => [AuditMissing];
    "a withdrawal at another time": |world| edit(world, &one(world, "registration", "site", "S01"), |raw| {
        raw["withdrawn"]["M"]["at"] = text(LONG_AGO);
    }) => [AuditMissing, AuditWithoutChange];
    "a registration that is gone": |world| world.remove(RECORDS, &one(world, "registration", "site", "S01"))
        => [AuditWithoutChange];
    "a profile of another study's site": |world| set(world, &profile(world), "/site_key", text("SITE#OTHER#S01"))
        => [Unreadable];
    "an alert under the id of another one": |world| edit(world, &alert(world, "worse"), |raw| raw["sk"] = text(NO_ALERT))
        => [Unreadable];
    "a profile that is gone": |world| world.remove(RECORDS, &profile(world)) => [ProfileMissing];
    "a profile of nobody": |world| edit(world, &profile(world), |raw| {
        (raw["pk"], raw["site_sort"]) = (text("PATIENT#DEMO#P-9"), text("PATIENT#P-9"));
    }) => [ProfileWithoutReason, LastAlertsDiffer];
    "a count of points": |world| set(world, &profile(world), "/courses/M/pain#1.0.0/M/n", json!({"N": "9"}))
        => [CoursesDiffer];
    "another baseline": |world| edit(world, &profile(world), |raw| {
        let last = raw["courses"]["M"]["pain#1.0.0"]["M"]["l"]["L"][0].clone();
        raw["courses"]["M"]["pain#1.0.0"]["M"]["b"] = last;
    }) => [CoursesDiffer];
    "another point": |world| set(world, &profile(world), "/courses/M/pain#1.0.0/M/l/L/0/M/x/M/total", json!({"N": "9"}))
        => [CoursesDiffer];
    "points that are gone": |world| set(world, &profile(world), "/courses/M/pain#1.0.0/M/l", json!({"L": []}))
        => [CoursesDiffer, LastSubmissionDiffers];
    "a course that is gone": |world| edit(world, &profile(world), |raw| {
        let last = raw["courses"]["M"]["pain#1.0.0"]["M"]["l"]["L"][0].clone();
        (raw["courses"], raw["last"]) = (json!({"M": {}}), last);
    }) => [CoursesDiffer];
    "another last submission": |world| {
        let time = json!({"N": "1762156800000000000"});
        edit(world, &profile(world), |raw| raw["last"] = json!({"M": {"s": {"B": "AAAAAAAAAAAAAAAAAAAABw=="}, "t": time}}));
    } => [LastSubmissionDiffers];
    "another number of open alerts": |world| set(world, &profile(world), "/open_alerts", json!({"N": "9"}))
        => [OpenAlertsDiffer];
    "no mark of an open alert": |world| edit(world, &one(world, "profile", "pk", "PATIENT#DEMO#P-4"), |raw| {
        raw.as_object_mut().unwrap().remove("open_marks").unwrap();
    }) => [OpenAlertsDiffer];
    "the mark of an alert of another severity": |world| {
        let other = one(world, "profile", "pk", "PATIENT#DEMO#P-4");
        let raw = json!({"BS": ["YxnXcJtQAAAAAAAAAA=="]});
        set(world, &other, "/open_marks", raw);
    } => [OpenAlertsDiffer];
    "marks that cannot be read": |world| {
        set(world, &one(world, "profile", "pk", "PATIENT#DEMO#P-4"), "/open_marks", json!({"BS": ["YxnX"]}));
    } => [Unreadable];
    "an open alert that is on no worklist": |world| edit(world, &alert(world, "safety"), |raw| {
        raw.as_object_mut().unwrap().retain(|name, _| !name.starts_with("site_"));
    }) => [NotInSiteIndex];
    "an alert in the place of a less severe one": |world| edit(world, &alert(world, "safety"), |raw| {
        let place = raw["site_sort"]["S"].as_str().unwrap().replacen('3', "1", 1);
        raw["site_sort"] = text(&place);
    }) => [NotInSiteIndex];
    "an acknowledged alert that is still on the worklist": |world| {
        edit(world, &one(world, "alert", "patient", "P-2"), |raw| {
            (raw["site_key"], raw["site_sort"]) = (text("ALERTS#DEMO#S02"), text("3#x"));
        });
    } => [NotInSiteIndex];
    "a snooze without its entry": |world| world.remove(RECORDS, &one(world, "audit", "action", "alert-snoozed"))
        => [AuditMissing];
    "two entries of a snooze": |world| edit(world, &one(world, "audit", "action", "alert-snoozed"), copy_of_entry)
        => [AuditTwice];
    "an entry of a snooze by another": |world| edit(world, &one(world, "audit", "action", "alert-snoozed"), |raw| {
        copy_of_entry(raw);
        raw["sub"] = text("dr-who");
    }) => [AuditWithoutChange];
    "an alert without the snooze": |world| unset(world, &alert(world, "worse"), "snoozes") => [AuditWithoutChange];
    "another time of the last alert": |world| set(world, &profile(world), "/last_alerts/M/pain#safety", text("2026-01-01T00:00:00Z"))
        => [LastAlertsDiffer];
    "a correction that its original does not name": |world| {
        let original = world.items("submission").into_iter().find(|item| item["amended_by"].is_string()).unwrap();
        unset(world, &original, "amended_by");
    } => [CorrectionOneSided];
    "an original that no correction names": |world| edit(world, &submission(world), |raw| {
        raw["amended_by"] = text("00bb2958-0000-8000-8000-000000000000");
    }) => [CorrectionOneSided];
    "an acknowledgement without its entry": |world| world.remove(RECORDS, &one(world, "audit", "action", "alert-acknowledged"))
        => [AuditMissing];
    "a correction without its entry": |world| world.remove(RECORDS, &one(world, "audit", "action", "submission-amended"))
        => [AuditMissing];
    "a study without its entry": |world| world.remove(RECORDS, &one(world, "audit", "action", "study-put"))
        => [AuditMissing];
    "an instrument without its entry": |world| world.remove(RECORDS, &one(world, "audit", "action", "instrument-put"))
        => [AuditMissing];
    "two entries of an acknowledgement": |world| edit(world, &one(world, "audit", "action", "alert-acknowledged"), copy_of_entry)
        => [AuditTwice];
    "two entries of a correction": |world| edit(world, &one(world, "audit", "action", "submission-amended"), copy_of_entry)
        => [AuditTwice];
    "an entry of a correction that was not made": |world| edit(world, &one(world, "audit", "action", "submission-amended"), |raw| {
        copy_of_entry(raw);
        raw["subject"] = text("00bb2958-0000-8000-8000-000000000000 by 00bb2958-0000-8000-8000-000000000001");
    }) => [AuditWithoutChange];
    "an entry of an acknowledgement by another": |world| edit(world, &one(world, "audit", "action", "alert-acknowledged"), |raw| {
        copy_of_entry(raw);
        raw["sub"] = text("dr-who");
    }) => [AuditWithoutChange];
    "an earlier version in force": |world| {
        let study = |sk: &str| world.items("study").into_iter().find(|item| item["sk"] == sk).unwrap();
        world.remove(RECORDS, &study("CURRENT"));
        edit(world, &study("VERSION#1.0.0"), |raw| raw["sk"] = text("CURRENT"));
    } => [InForceDiffers];
    "a counter that is too low": |world| count(world, "submissions", -1) => [CountTooLow];
    "a counter that is too high": |world| count(world, "submissions", 1) => [CountTooHigh];
    "a counter of alerts that is too high": |world| count(world, "alerts", 2) => [CountTooHigh];
    "a counter of calls that is too low": |world| count(world, "calls", -1) => [CountTooLow];
    "a counter of an instrument that is too low": |world| count(world, "instrument#pain", -1) => [CountTooLow];
    "a counter that cannot be read": |world| edit_counter(world, |raw| raw["submissions"] = text("many")) => [Unreadable];
    "a counter of API calls that cannot be read": |world| edit_counter(world, |raw| {
        raw["pk"] = text("COUNT#DEMO#S01#api_calls#0");
        raw["api_calls"] = text("many");
    }) => [Unreadable];
    "a counter of no site": |world| edit_counter(world, |raw| raw["pk"] = text("COUNT#DEMO")) => [Unreadable];
    "a counter of another metric": |world| edit_counter(world, |raw| raw["pk"] = text("COUNT#DEMO#S01#other#0"))
        => [Unreadable];
    "counters that are gone": |world| {
        for counter in world.counters() {
            world.remove(COUNTS, &counter);
        }
    } => [CountTooLow];
    "an alert that waits for its publication": |world| edit(world, &alert(world, "worse"), |raw| {
        (raw["status"], raw["pending"], raw["pending_since"]) = (text("PENDING"), text("PENDING#1"), text(LONG_AGO));
        raw.as_object_mut().unwrap().retain(|name, _| name != "sent_at" && name != "message_id");
    }) => [WaitsTooLong];
    "a course that waits for its evaluation": |world| edit(world, &profile(world), |raw| {
        (raw["pending"], raw["pending_since"]) = (text("PENDING#1"), text(LONG_AGO));
    }) => [WaitsTooLong];
    "an escalation that is long due": |world| set(world, &alert(world, "safety"), "/pending_since", text(LONG_AGO))
        => [WaitsTooLong];
};

/// Moves the time at which `alert` was raised.
fn raise_later(world: &World, alert: &Value, by: time::Duration) {
    let raised_at = OffsetDateTime::parse(alert["raised_at"].as_str().unwrap(), &Rfc3339).unwrap();
    set(world, alert, "/raised_at", text(&(raised_at + by).format(&Rfc3339).unwrap()));
}

/// Changes a counter of scored submissions.
fn edit_counter(world: &World, change: impl FnOnce(&mut Value)) {
    let counter = world.counters().into_iter().find(|counter| counter["submissions"].is_number()).unwrap();
    world.edit(COUNTS, &counter, change);
}

/// Makes an audit entry one of its own.
fn copy_of_entry(raw: &mut Value) {
    let id = "00bb2958-0000-8000-8000-00000000000a";
    let (time, _) = raw["sk"]["S"].as_str().unwrap().split_once('#').unwrap();
    raw["sk"] = text(&format!("{time}#{id}"));
    raw["audit_id"] = text(id);
}

/// Adds `by` to a counter of scored submissions.
fn count(world: &World, attribute: &str, by: i64) {
    let counter = world.counters().into_iter().find(|counter| counter[attribute].as_i64().unwrap_or_default() > 0);
    let counter = counter.unwrap();
    let number = counter[attribute].as_i64().unwrap() + by;
    world.edit(COUNTS, &counter, |raw| raw[attribute] = json!({"N": number.to_string()}));
}

#[tokio::test(start_paused = true)]
async fn nothing_differs_in_what_the_functions_stored() {
    let world = world().await;
    let report = verified(&world, Settings::default()).await;
    assert!(report.differences.is_empty(), "{:#?}", report.differences);
    let tally = report.tally;
    assert_eq!((tally.patients, tally.submissions, tally.sites, tally.waiting), (5, 8, 2, 0));
    let rows = world.items("alert");
    assert_eq!(tally.alerts, rows.len() as u64);
    // Otherwise the cases below do not speak for these states.
    for (attribute, value) in [
        ("status", json!("QUIET")),
        ("status", json!("ACKNOWLEDGED")),
        ("superseded", json!(true)),
        ("corrected", json!(true)),
        ("escalation", json!(1)),
    ] {
        assert!(rows.iter().any(|row| row[attribute] == value), "{attribute} {value}: {rows:#?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_change_of_one_item_is_found_as_its_kind() {
    let mut wrong = Vec::new();
    for Case { name, change, kinds } in CASES {
        let world = world().await;
        change(&world);
        let report = verified(&world, Settings::default()).await;
        let found: BTreeSet<Kind> = report.differences.iter().map(|difference| difference.kind).collect();
        if found != kinds.iter().copied().collect() {
            let found: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
            wrong.push(format!("{name}: expected {kinds:?}, found\n  {}", found.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn an_alert_is_quiet_because_of_a_later_one_only_if_that_may_have_been_committed_first() {
    let kinds = async |later: time::Duration, clocks_apart: time::Duration| {
        let world = world().await;
        let published =
            world.items("alert").into_iter().find(|row| row["rule"] == "worse" && row["status"] == "SENT").unwrap();
        raise_later(&world, &published, later);
        let report = verified(&world, Settings { clocks_apart, ..Settings::default() }).await;
        report.differences.iter().any(|difference| difference.kind == Kind::QuietWithoutReason)
    };
    let minutes = time::Duration::minutes;
    assert!(!kinds(minutes(14), SYNCHRONIZED).await, "an invocation lasts as long");
    assert!(kinds(minutes(17), SYNCHRONIZED).await);
    assert!(!kinds(minutes(17), minutes(60)).await, "its clock may have been behind");
}

/// A critical alert in a study that defines no escalation.
async fn with_critical_alert() -> World {
    let world = World::new();
    world.put_instrument(&pain()).await;
    let site = json!({"id": "S01", "name": "S01", "timeZone": "Europe/Berlin"});
    world.put_study(json!({"sites": [site], "instruments": [{"id": "pain", "version": "1.0.0"}]})).await;
    send(&world, "S01", "P-1", 1, json!({"1": 0, "2": true}), None).await;
    score(&world).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_critical_alert_on_no_list_is_found_where_the_deployment_escalates() {
    let world = with_critical_alert().await;
    let escalates = |escalates| Settings { escalates, ..Settings::default() };
    assert!(verified(&world, escalates(true)).await.differences.is_empty());
    edit(&world, &alert(&world, "safety"), |raw| {
        raw.as_object_mut().unwrap().retain(|name, _| !name.starts_with("pending"));
    });
    let found = verified(&world, escalates(true)).await.differences;
    assert_eq!(found.iter().map(|difference| difference.kind).collect::<Vec<_>>(), [Kind::ListDiffers]);
    assert!(verified(&world, escalates(false)).await.differences.is_empty(), "nobody may ever have escalated it");
}

#[tokio::test(start_paused = true)]
async fn an_escalation_that_waits_for_its_publication_is_no_difference() {
    let world = with_critical_alert().await;
    for time in ["sent_at", "pending_since"] {
        world.tamper_one(&alert(&world, "safety"), time, LONG_AGO);
    }
    world.inject_into("PublishBatch", usize::MAX, Fault::Cut);
    let at_once = Escalation { after_minutes: 0, limit: 3 };
    let run = Sweep::new(world.store(), world.topic(), world.reminder_topic(), at_once);
    Box::pin(run.handle(LambdaEvent::new(json!({}), context(PLENTY)))).await.unwrap_err();
    let waits = alert(&world, "safety");
    assert_eq!((&waits["escalation"], &waits["escalated_at"]), (&json!(1), &Value::Null));
    let settings = Settings { escalates: true, ..Settings::default() };
    assert_eq!(verified(&world, settings).await.differences, []);
}

#[test]
fn every_kind_has_a_case() {
    let covered: BTreeSet<Kind> = CASES.iter().flat_map(|case| case.kinds.iter().copied()).collect();
    // Occurrences have cases of their own, in `occurrences.rs`.
    let is_missing = |kind: &&Kind| !covered.contains(kind) && **kind != Kind::OccurrenceDiffers;
    let missing: Vec<&Kind> = Kind::ALL.iter().filter(is_missing).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[tokio::test(start_paused = true)]
async fn an_evaluation_of_a_course_that_ends_between_two_transactions_is_resumed_without_a_difference() {
    let world = World::new();
    world.put_instrument(&pain()).await;
    let site = json!({"id": "S01", "name": "S01", "timeZone": "Europe/Berlin"});
    world.put_study(json!({"sites": [site], "instruments": [{"id": "pain", "version": "1.0.0"}]})).await;
    // More alerts than one transaction takes are raised when the baseline arrives last.
    for n in 0..45 {
        send(&world, "S01", "P-1", 2 + n / 2, json!({"1": 9, "2": false}), None).await;
        score(&world).await;
    }
    assert_eq!(world.items("alert").len(), 0);
    send(&world, "S01", "P-1", 1, json!({"1": 2, "2": false}), None).await;
    let mut transactions = 0;
    world.inject(move |call| {
        let is_of_course = call.name() == "TransactWriteItems" && call.body.to_string().contains("\"late\"");
        transactions += usize::from(is_of_course);
        (is_of_course && transactions > 1).then(Fault::internal)
    });
    world.score(&world.stream(), Duration::from_secs(5)).await;
    let raised = world.items("alert").len();
    assert!((1..45).contains(&raised), "{raised} alerts were raised by the first transaction");
    world.heal();
    for profile in world.items("profile") {
        world.tamper_one(&profile, "pending_since", LONG_AGO);
    }
    sweep(&world).await;
    assert_eq!(world.items("alert").len(), 45);
    let report = verified(&world, Settings::default()).await;
    let differences: Vec<String> = report.differences.iter().map(ToString::to_string).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// All items in DynamoDB's notation, by their table and key.
fn images(world: &World) -> BTreeMap<(&'static str, String), Value> {
    let of_table = |table: &'static str, items: Vec<Value>| {
        items.into_iter().map(move |item| {
            let mut image = Value::Null;
            world.edit(table, &item, |raw| image = raw.clone());
            ((table, format!("{} {}", image["pk"], image["sk"])), image)
        })
    };
    of_table(RECORDS, world.all_items()).chain(of_table(COUNTS, world.counters())).collect()
}

/// Stores `image`, or removes it if it is `None`.
fn store_image(world: &World, (table, key): &(&'static str, String), image: Option<&Value>) {
    let items = if *table == COUNTS { world.counters() } else { world.all_items() };
    match image {
        Some(image) => world.edit(table, &items[0], |raw| raw.clone_from(image)),
        None => {
            let stored = items.iter().find(|item| format!("{} {}", text_of(&item["pk"]), text_of(&item["sk"])) == *key);
            // One that was never stored in the last round is not there.
            stored.into_iter().for_each(|stored| world.remove(table, stored));
        }
    }
}

/// A plain value as it is in an image.
fn text_of(value: &Value) -> Value {
    value.as_str().map_or(Value::Null, text)
}

/// Verifies once for each call of a verification: at that call one of the items that `after` changed can be read (or all
/// but one can), and all of them 15 ms later, as DynamoDB shows the writes of a transaction to reads outside of it.
async fn differs_beside(world: &World, before: &BTreeMap<(&'static str, String), Value>) -> Vec<String> {
    let settings = Settings { clocks_apart: SYNCHRONIZED, ..Settings::default() };
    let after = images(world);
    let writes: Vec<_> = after.into_iter().filter(|(key, image)| before.get(key) != Some(image)).collect();
    assert!(writes.len() >= 3, "{writes:?}");
    let mut found = Vec::new();
    for place in 0..writes.len() {
        for at in 1.. {
            for (key, _) in &writes {
                store_image(world, key, before.get(key));
            }
            // One alone or all but one, in turn.
            let only = (place + at) % 2 == 0;
            let (images, changed, mut calls) = (writes.clone(), world.clone(), 0);
            world.inject(move |_| {
                calls += 1;
                if calls == at {
                    let (first, rest): (Vec<_>, Vec<_>) =
                        images.iter().cloned().enumerate().partition(|(index, _)| (*index == place) == only);
                    first.iter().for_each(|(_, (key, image))| store_image(&changed, key, Some(image)));
                    let changed = changed.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(15)).await;
                        rest.iter().for_each(|(_, (key, image))| store_image(&changed, key, Some(image)));
                    });
                }
                None
            });
            let calls = world.calls().len();
            let report = verified(world, settings.clone()).await;
            let calls = world.calls().len() - calls;
            world.heal();
            tokio::time::sleep(Duration::from_millis(20)).await;
            for difference in report.differences {
                found.push(format!("at call {at}, item {place} {only}: {difference}"));
            }
            if calls < at {
                break;
            }
        }
    }
    for (key, image) in &writes {
        store_image(world, key, Some(image));
    }
    found
}

#[tokio::test(start_paused = true)]
async fn nothing_differs_beside_a_transaction_that_each_read_may_meet_half_way() {
    let world = World::new();
    world.put_instrument(&pain()).await;
    let study = |version: &str| {
        let site = json!({"id": "S01", "name": "S01", "timeZone": "Europe/Berlin"});
        json!({"version": version, "sites": [site], "instruments": [{"id": "pain", "version": "1.0.0"}]})
    };
    world.put_study(study("1.0.0")).await;
    send(&world, "S01", "P-1", 1, json!({"1": 2, "2": false}), None).await;
    score(&world).await;
    let alerting = send(&world, "S01", "P-1", 2, json!({"1": 2, "2": true}), None).await;

    let mut found = Vec::new();
    let before = images(&world);
    score(&world).await;
    found.extend(differs_beside(&world, &before).await.into_iter().map(|what| format!("a score: {what}")));

    let before = images(&world);
    let alert = alert(&world, "safety")["alert_id"].as_str().unwrap().to_owned();
    acknowledge(&world, "S01", "dr-chen", &alert).await;
    found.extend(differs_beside(&world, &before).await.into_iter().map(|what| format!("an acknowledgement: {what}")));

    let before = images(&world);
    send(&world, "S01", "P-1", 2, json!({"1": 8, "2": true}), Some(&alerting)).await;
    found.extend(differs_beside(&world, &before).await.into_iter().map(|what| format!("a correction: {what}")));

    let before = images(&world);
    world.put_study(study("1.1.0")).await;
    found.extend(differs_beside(&world, &before).await.into_iter().map(|what| format!("a study: {what}")));
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
}
