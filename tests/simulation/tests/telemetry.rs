//! What invocations report, whatever happens in them: promise 10 over all functions, the way of a correlation id from the
//! app to the alert, and metrics with dimensions that are bounded.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, UNIX_EPOCH};

use alerts::Alerts;
use api::{Handler, ProblemKind};
use clinical::studies::Escalation;
use drafts::Drafts;
use due::Due;
use harness::{Fault, RECORDS, World, claims, context, request, stream_event};
use invocation::metrics::{self, Captured, Dimension, Metric, Report};
use invocation::{Environment, FunctionError, telemetry};
use lambda_http::{Body, Request};
use lambda_runtime::LambdaEvent;
use patients::Patients;
use reconcile::Reconcile;
use registry::Registry;
use report::Report as SiteReport;
use score::Score;
use serde_json::{Value, json};
use simulation::run::Log;
use submit::Submit;
use sweep::Sweep;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use validate::Validate;
use verification::Settings;

const PLENTY: Duration = Duration::from_secs(60);
const LONG_AGO: &str = "2026-01-01T00:00:00.000000000Z";
/// In every text that a patient or a clinician writes, in every pseudonym, name and token.
const MARK: &str = "MARKED";
/// Every answer and score that is a number; no id and no time has it by chance.
const NUMBER: &str = "735142";
/// The crates whose lines are logged, as all functions have them together.
const LOGGED: [&str; 21] = [
    "submit",
    "drafts",
    "due",
    "scheduling",
    "score",
    "sweep",
    "alerts",
    "patients",
    "registry",
    "validate",
    "report",
    "reconcile",
    "api",
    "scoring",
    "records",
    "notifications",
    "verification",
    "invocation",
    "clinical",
    "counts",
    "audit",
];

/// All that functions have put out, by where.
#[derive(Default)]
struct Output(Vec<(String, String)>);

impl Output {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// What discloses something, as `place: the word`.
    fn disclosures(&self) -> BTreeSet<String> {
        let found = self.0.iter().flat_map(|(place, text)| {
            let words = text.split(|c: char| !c.is_alphanumeric() && !"-_".contains(c));
            let disclosed =
                words.filter(|word| word.contains(MARK) || word.split(['-', '_']).any(|part| part == NUMBER));
            disclosed.map(move |word| format!("{place}: {word}"))
        });
        found.collect()
    }
}

#[test]
fn a_disclosure_is_found() {
    let mut output = Output::default();
    output.add("line", "{\"reason\":\"answer 735142 of P-MARKED-1\",\"id\":\"7351429a\"}");
    assert_eq!(output.disclosures(), ["line: 735142", "line: P-MARKED-1"].map(str::to_owned).into());
}

/// The functions in one world, with what they put out.
struct Functions {
    world: World,
    output: Output,
    statuses: BTreeSet<(String, u16)>,
}

impl Functions {
    /// Sends `request`. Its answer is searched if it is an error or `shows_nothing`: staff may see what patients sent.
    async fn call(&mut self, function: &impl Handler, mut request: Request, shows_nothing: bool) -> (u16, Value) {
        request.headers_mut().insert("authorization", format!("Bearer {MARK}-token").parse().unwrap());
        let route = api::http::route(&request);
        let (parts, body) = function.handle(request).await.unwrap().into_parts();
        let status = parts.status.as_u16();
        self.statuses.insert((route.clone(), status));
        let text = match body {
            Body::Text(text) => text,
            _ => String::new(),
        };
        if status >= 400 || shows_nothing {
            self.output.add(format!("{status} of {route}"), format!("{:?} {text}", parts.headers));
        }
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn submit(&mut self, patient: &str, route: &str, body: &Value) -> (u16, Value) {
        let patient = format!("{MARK}-{patient}");
        let claims = claims(&[("patient", &patient), ("sub", "MARKED-sub"), ("name", "MARKED-name")]);
        let request = request(route, &[], "", Some(claims), Some(&body.to_string()), Duration::from_secs(10));
        let submit = Submit::new(self.world.store());
        self.call(&submit, request, true).await
    }

    /// Sends `body` to a route of one draft.
    async fn patient(&mut self, drafts: &Drafts, route: &str, body: Option<&Value>) -> (u16, Value) {
        let claims = claims(&[("patient", "MARKED-P-1"), ("sub", "MARKED-sub"), ("name", "MARKED-name")]);
        let (id, body) = ("0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d70", body.map(Value::to_string));
        let request = request(route, &[("id", id)], "", Some(claims), body.as_deref(), Duration::from_secs(10));
        self.call(drafts, request, true).await
    }

    async fn score(&mut self, records: &[Value], remaining: Duration) {
        let score = Score::new(self.world.store(), self.world.topic());
        let ended = Box::pin(score.handle(stream_event(records, remaining))).await;
        self.ended("score", ended);
    }

    async fn sweep(&mut self, event: Value, escalation: Escalation) {
        let sweep = Sweep::new(self.world.store(), self.world.topic(), self.world.reminder_topic(), escalation);
        let ended = Box::pin(sweep.handle(LambdaEvent::new(event, context(PLENTY)))).await;
        self.ended("sweep", ended);
    }

    async fn reconcile(&mut self, remaining: Duration) {
        let settings = Settings { patience: time::Duration::ZERO, ..Settings::default() };
        let reconcile = Reconcile::with_settings(self.world.store(), time::Duration::DAY, settings);
        let ended = Box::pin(reconcile.handle(LambdaEvent::new(json!({"begin": true}), context(remaining)))).await;
        self.ended("reconcile", ended);
    }

    /// Adds what Lambda reports of an invocation.
    fn ended<T: std::fmt::Debug, E: std::error::Error + 'static>(&mut self, function: &str, ended: Result<T, E>) {
        let text = ended.map_or_else(|error| FunctionError::new(error).to_string(), |answer| format!("{answer:?}"));
        self.output.add(format!("answer of {function}"), text);
    }

    async fn staff(&mut self, function: &impl Handler, route: &str, query: &str, body: Option<&str>) -> (u16, Value) {
        let patient = ("patient", "MARKED-P-1");
        let parameters = [("site", "S01"), ("form", "vs"), ("version", "1.0.0"), ("event", "surgery"), patient];
        let role = if route.contains("alerts") { "clinician" } else { "staff" };
        let claims = claims(&[("role", role), ("patient", ""), ("sub", "MARKED-staff"), ("email", "MARKED-mail")]);
        let request = request(route, &parameters, query, Some(claims), body, Duration::from_secs(10));
        self.call(function, request, route.contains("validate")).await
    }

    async fn acknowledge(&mut self, id: &str, body: &Value) -> (u16, Value) {
        self.clinician("POST /v1/alerts/{alertId}/acknowledge", id, body).await
    }

    async fn clinician(&mut self, route: &str, id: &str, body: &Value) -> (u16, Value) {
        let claims = claims(&[("role", "clinician"), ("patient", ""), ("sub", "MARKED-clinician")]);
        let body = body.to_string();
        let request = request(route, &[("alertId", id)], "", Some(claims), Some(&body), Duration::from_secs(10));
        self.call(&Alerts::new(self.world.store()), request, false).await
    }
}

/// An instrument with an answer of each kind that can be marked.
fn instrument() -> String {
    json!({
        "id": "diary", "version": "1.0.0", "title": {"en": "Diary"},
        "licence": {"terms": "Public domain", "texts": "included"}, "sources": ["A test"],
        "items": [
            {"id": "1", "type": "integer", "min": 0, "max": 999_999, "text": {"en": "How many?"}},
            {"id": "2", "type": "boolean", "text": {"en": "Unwell?"}},
            {"id": "3", "type": "text", "text": {"en": "Anything else?"}},
        ],
        "scores": [{"id": "number", "value": "1", "range": [0, 999_999]}],
        "rules": [
            {"id": "unwell", "severity": "critical", "when": {"item": {"of": "2", "atLeast": 1}}},
            {"id": "many", "severity": "warning", "when": {"score": {"of": "number", "atLeast": 700_000}}},
            {"id": "more", "severity": "info",
             "when": {"change": {"of": "number", "against": "previous", "worse": "higher", "by": 10}}},
        ],
    })
    .to_string()
}

fn diary(authored_at: &str, unwell: bool) -> Value {
    json!({
        "id": Uuid::now_v7().to_string(), "instrument": "diary", "version": "1.0.0", "authoredAt": authored_at,
        "answers": {"1": 735_142, "2": unwell, "3": format!("{MARK} words")},
        "device": {"app": format!("{MARK} app"), "os": format!("{MARK} os")},
    })
}

fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let mut body = body.clone();
    body.pointer_mut(parent).unwrap()[name] = value;
    body
}

async fn world() -> World {
    let world = World::new();
    world.put_instrument(&instrument()).await;
    let instruments = json!([{"id": "phq-9", "version": "1.0.0"}, {"id": "diary", "version": "1.0.0"}]);
    let alerts = json!({"snooze": {"mostMinutes": 60}});
    world.put_study(json!({"instruments": instruments, "events": ["surgery"], "alerts": alerts})).await;
    world
}

/// Moves the time since which items wait into the past.
fn age(world: &World) {
    for item in world.all_items().iter().filter(|item| item["pending_since"].is_string()) {
        world.tamper_one(item, "pending_since", LONG_AGO);
    }
}

/// Submissions by every route, accepted and refused for every reason, and with a store that fails.
async fn submissions(functions: &mut Functions) {
    const ONE: &str = "POST /v1/submissions";
    const BATCH: &str = "POST /v1/submissions/batch";
    const FHIR: &str = "POST /v1/fhir/QuestionnaireResponse";
    let first = diary("2026-11-01T08:00:00Z", true);
    assert_eq!(functions.submit("P-1", ONE, &first).await.0, 202);
    assert_eq!(functions.submit("P-1", ONE, &first).await.0, 200);
    assert_eq!(functions.submit("P-1", ONE, &with(&first, "/answers/3", json!("MARKED other"))).await.0, 409);
    for (pointer, value) in [
        ("/answers/1", json!(7_351_420_000_u64)),
        ("/answers/1", json!("MARKED")),
        ("/answers/2", json!(735_142)),
        ("/answers/3", json!(735_142)),
        ("/authoredAt", json!("MARKED")),
        ("/id", json!("MARKED")),
        ("/version", json!("MARKED")),
        ("/reason", json!(["MARKED"])),
        ("/device", json!("MARKED")),
    ] {
        let id = json!(Uuid::now_v7().to_string());
        let refused = with(&with(&first, "/id", id), pointer, value);
        assert_eq!(functions.submit("P-1", ONE, &refused).await.0, 422, "{pointer}");
    }
    assert_eq!(functions.submit("P-1", ONE, &json!("MARKED")).await.0, 422);
    let late = diary("2025-10-01T08:00:00Z", false);
    let mut correction = diary("2026-11-01T08:00:00Z", false);
    correction["amends"] = first["id"].clone();
    correction["reason"] = json!("MARKED reason");
    let invalid = with(&late, "/answers/2", json!("MARKED"));
    let invalid = with(&invalid, "/id", json!(Uuid::now_v7().to_string()));
    let (status, results) = functions.submit("P-1", BATCH, &json!([late, correction, invalid, "MARKED"])).await;
    let statuses: Vec<u64> =
        results["results"].as_array().unwrap().iter().filter_map(|one| one["status"].as_u64()).collect();
    assert_eq!((status, statuses), (207, vec![202, 202, 422, 422]), "{results}");
    assert_eq!(functions.submit("P-1", BATCH, &json!({"MARKED": 735_142})).await.0, 422);

    let response = |value: Value| {
        json!({
            "resourceType": "QuestionnaireResponse", "status": "completed", "authored": "2026-11-02T08:00:00Z",
            "identifier": {"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", Uuid::now_v7())},
            "questionnaire": "urn:epro:questionnaire:diary|1.0.0", "text": {"div": MARK},
            "item": [
                {"linkId": "1", "text": MARK, "answer": [{"valueInteger": 735_142}]},
                {"linkId": "3", "answer": [value]},
            ],
        })
    };
    assert_eq!(functions.submit("P-2", FHIR, &response(json!({"valueString": MARK}))).await.0, 202);
    for value in [json!({"valueCoding": {"code": MARK, "display": MARK}}), json!({"valueDecimal": 735_142})] {
        assert_eq!(functions.submit("P-2", FHIR, &response(value)).await.0, 422);
    }
    // No token, and one that is not allowed.
    let submit = Submit::new(functions.world.store());
    for (claims, status) in [(None, 401), (Some(claims(&[("scope", MARK), ("patient", "MARKED-P")])), 403)] {
        let request = request(ONE, &[], "", claims, Some(&first.to_string()), Duration::from_secs(10));
        assert_eq!(functions.call(&submit, request, true).await.0, status);
    }
    for fault in [Fault::throttle(), Fault::internal(), Fault::Cut, Fault::Stall, Fault::error("ValidationException")] {
        functions.world.inject(move |call| (call.name() == "PutItem").then(|| fault.clone()));
        let (status, _) = functions.submit("P-3", ONE, &diary("2026-11-03T08:00:00Z", false)).await;
        assert!(status >= 500, "{status}");
        functions.world.heal();
    }
    let query = format!("patient={MARK}-P-1");
    for id in [first["id"].as_str().unwrap(), &Uuid::now_v7().to_string()] {
        let claims = claims(&[("role", "staff"), ("patient", ""), ("sub", "MARKED-staff")]);
        let request = request("GET /v1/submissions/{id}", &[("id", id)], &query, Some(claims), None, PLENTY);
        functions.call(&submit, request, false).await;
    }
}

/// Batches of the stream: conflicts, records that cannot be read, and an outage of SNS.
async fn batches(functions: &mut Functions) {
    let mut records = functions.world.stream();
    let mut bad = records[0].clone();
    bad["dynamodb"]["SequenceNumber"] = json!("7000000000000000000001");
    bad["dynamodb"]["NewImage"]["answers"] = json!({"M": {"1": {"NS": ["735142"]}, "3": {"S": MARK}}});
    records.insert(0, bad);
    // A number that is no answer to its item, of a definition that is not stored.
    let mut other = records[1].clone();
    other["dynamodb"]["SequenceNumber"] = json!("7000000000000000000002");
    other["dynamodb"]["NewImage"]["instrument"]["M"]["version"] = json!({"S": "9.9.9"});
    records.push(other);
    let mut conflicts = 1;
    functions.world.inject(move |call| {
        let hit = conflicts > 0 && call.name() == "TransactWriteItems";
        conflicts -= u32::from(hit);
        hit.then(|| Fault::conflict(call.body["TransactItems"].as_array().map_or(0, Vec::len), 0))
    });
    functions.world.inject_into("PublishBatch", usize::MAX, Fault::Cut);
    functions.score(&records, Duration::from_secs(60)).await;
    functions.world.heal();
    functions.world.inject(|call| (call.name() == "TransactWriteItems").then_some(Fault::Stall));
    functions.submit("P-4", "POST /v1/submissions", &diary("2026-11-04T08:00:00Z", true)).await;
    let records = functions.world.stream();
    functions.score(&records[records.len() - 1..], Duration::from_secs(5)).await;
    functions.world.heal();
    let mut unnamed = records[0].clone();
    unnamed["dynamodb"]["SequenceNumber"] = json!("");
    functions.world.inject(|_| Some(Fault::Cut));
    functions.score(&[unnamed], Duration::from_secs(5)).await;
    functions.world.heal();
    functions.score(&records, PLENTY).await;
}

/// Runs of sweep, clinicians who acknowledge, and alerts that nobody does.
async fn alerts_of_a_site(functions: &mut Functions) {
    const LIST: &str = "GET /v1/sites/{site}/alerts";
    const SNOOZE: &str = "POST /v1/alerts/{alertId}/snooze";
    let at_once = Escalation { after_minutes: 0, limit: 1 };
    age(&functions.world);
    functions.world.inject_into("PublishBatch", 1, Fault::error("InvalidParameter"));
    functions.sweep(json!({}), at_once).await;
    functions.world.heal();
    age(&functions.world);
    functions.sweep(json!({"retry": "quarantine"}), at_once).await;
    let list = Alerts::new(functions.world.store());
    let (status, listed) = functions.staff(&list, LIST, "", None).await;
    assert_eq!(status, 200, "{listed}");
    let ids: Vec<String> = listed["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["alertId"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.len() > 2, "{listed}");
    let until = OffsetDateTime::now_utc() + time::Duration::MINUTE;
    let snooze = json!({"until": until.format(&Rfc3339).unwrap(), "reason": format!("{MARK} reason 735142")});
    assert_eq!(functions.staff(&list, "GET /v1/alerts", "", None).await.0, 200);
    let note = json!({"note": format!("{MARK} note 735142")});
    let known = functions.world.items("alert").into_iter().find(|alert| alert["severity"] == "warning").unwrap();
    let id = known["alert_id"].as_str().unwrap();
    // A critical one that is snoozed would not be exhausted.
    assert_eq!(functions.clinician(SNOOZE, id, &snooze).await.0, 200);
    assert_eq!(functions.clinician(SNOOZE, id, &json!({"until": MARK, "reason": 735_142})).await.0, 422);
    functions.world.inject_into("TransactWriteItems", usize::MAX, Fault::Cut);
    assert_eq!(functions.clinician(SNOOZE, &ids[1], &snooze).await.0, 503);
    functions.world.heal();
    assert_eq!(functions.acknowledge(id, &note).await.0, 200);
    assert_eq!(functions.acknowledge(id, &json!({"note": MARK.repeat(1_000)})).await.0, 422);
    assert_eq!(functions.acknowledge(id, &json!({"note": 735_142})).await.0, 422);
    assert_eq!(functions.acknowledge(&Uuid::now_v7().to_string(), &note).await.0, 404);
    for fault in [Fault::Cut, Fault::Stall, Fault::error("ValidationException")] {
        functions.world.inject(move |call| (call.name() == "TransactWriteItems").then(|| fault.clone()));
        assert!(functions.acknowledge(&ids[0], &note).await.0 >= 400);
        functions.world.heal();
    }
    for _ in 0..3 {
        age(&functions.world);
        functions.sweep(json!({}), at_once).await;
    }
    let row = functions.world.items("alert").remove(0);
    functions.world.tamper_one(&row, "severity", "MARKED");
    functions.staff(&list, LIST, "", None).await;
    functions.world.tamper_one(&row, "severity", row["severity"].as_str().unwrap());
    functions.world.inject_into("Query RecordsTable", 1, Fault::error("ValidationException"));
    assert_eq!(functions.staff(&list, LIST, "", None).await.0, 500);
    functions.world.heal();
}

/// Lists, case-report rows and the report, in good times and when the store does not answer.
async fn staff_of_a_site(functions: &mut Functions) {
    const LIST: &str = "GET /v1/sites/{site}/patients";
    const REPORT: &str = "GET /v1/sites/{site}/report";
    const VALIDATE: &str = "POST /v1/forms/{form}/{version}/validate";
    let (patients, report) = (Patients::new(functions.world.store()), SiteReport::new(functions.world.store()));
    let validate = Validate::new(functions.world.store(), 1);
    let period = "from=2026-10-01&to=2026-11-14";
    assert_eq!(functions.staff(&patients, LIST, "", None).await.0, 200);
    assert_eq!(functions.staff(&report, REPORT, period, None).await.0, 200);
    assert_eq!(functions.staff(&report, REPORT, "from=MARKED&to=735142", None).await.0, 422);
    let row = |value: Value| {
        json!({
            "SITEID": "S01", "VISIT": "WEEK 2", "VSDTC": value, "VSTESTCD": "SYSBP", "VSORRES": value, "VSORRESU": value,
            "COMMENT": MARK,
        })
    };
    let rows = json!([row(json!(735_142)), row(json!("MARKED")), row(json!({"x": MARK})), "MARKED"]).to_string();
    assert_eq!(functions.staff(&validate, VALIDATE, "", Some(&rows)).await.0, 200);
    for body in ["[{\"VSORRES\": MARKED 735142", "\"MARKED\"", "{\"datasetJSONVersion\": \"MARKED\"}"] {
        assert_eq!(functions.staff(&validate, VALIDATE, "", Some(body)).await.0, 422, "{body}");
    }
    let profile = functions.world.items("profile").remove(0);
    functions.world.edit(RECORDS, &profile, |raw| raw["courses"] = json!({"S": "MARKED 735142"}));
    functions.staff(&patients, LIST, "", None).await;
    functions.world.inject(|call| (call.operation == "Query RecordsTable").then_some(Fault::Stall));
    assert_eq!(functions.staff(&patients, LIST, "cursor=MARKED", None).await.0, 422);
    assert_eq!(functions.staff(&patients, LIST, "", None).await.0, 504);
    assert_eq!(functions.staff(&report, REPORT, period, None).await.0, 504);
    functions.world.heal();
}

/// Drafts with answers that fit and that do not, refused, cut off, and unreadable where they are stored.
async fn drafts_of_a_patient(functions: &mut Functions) {
    const PUT: &str = "PUT /v1/drafts/{id}";
    const GET: &str = "GET /v1/drafts/{id}";
    let drafts = Drafts::new(functions.world.store());
    let complete = diary("2026-11-05T08:00:00Z", true);
    let draft = json!({"instrument": complete["instrument"], "version": complete["version"],
        "answers": complete["answers"], "device": {"app": MARK, "os": NUMBER}});
    for fault in [Fault::Cut, Fault::Stall, Fault::error("ValidationException")] {
        functions.world.inject(move |call| (call.operation == "PutItem RecordsTable").then(|| fault.clone()));
        assert!(functions.patient(&drafts, PUT, Some(&draft)).await.0 >= 500);
        functions.world.heal();
    }
    assert_eq!(functions.patient(&drafts, PUT, Some(&draft)).await.0, 201);
    assert_eq!(functions.patient(&drafts, PUT, Some(&with(&draft, "/answers", json!({})))).await.0, 428);
    for (pointer, value) in [
        ("/answers", json!({"9x": 735_142, "8x": MARK})),
        ("/answers", json!([MARK])),
        ("/device", json!({"name": NUMBER, "app": MARK.repeat(100)})),
        ("/instrument", json!(MARK)),
        ("/version", json!(MARK)),
    ] {
        let body = with(&draft, pointer, value);
        assert_eq!(functions.patient(&drafts, PUT, Some(&body)).await.0, 422, "{pointer}");
    }
    assert_eq!(functions.patient(&drafts, PUT, Some(&json!(MARK))).await.0, 422);
    let stored = functions.world.items("draft").remove(0);
    functions.world.edit(RECORDS, &stored, |raw| raw["content"] = json!({"S": "MARKED 735142"}));
    assert_eq!(functions.patient(&drafts, GET, None).await.0, 500);
    functions.world.remove(RECORDS, &stored);
}

/// What staff enter of a patient, with words in every field that takes them, and what phones are told after a withdrawal.
/// Windows of the enrolled patient: made, reminded of, missed, and shown.
async fn occurrences_of_a_patient(functions: &mut Functions) {
    const NEVER: Escalation = Escalation { after_minutes: 30, limit: 0 };
    let schedule = json!({
        "id": "daily", "instrument": "diary", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 4000},
        "window": {"opens": "00:00", "closes": "24:00"}, "reminders": [{"minutesAfterOpening": 1}],
        "missed": {"severity": "info", "after": 1},
    });
    let instruments = json!([{"id": "phq-9", "version": "1.0.0"}, {"id": "diary", "version": "1.0.0"}]);
    let changes =
        json!({"version": "2.0.0", "instruments": instruments, "events": ["surgery"], "schedules": [schedule]});
    functions.world.put_study(changes).await;
    age(&functions.world);
    functions.sweep(json!({}), NEVER).await;
    let occurrences = functions.world.items("occurrence");
    let [missed, reminded] = [&occurrences[3], &occurrences[4]];
    // Before all that the patient has submitted.
    let past = json!({"S": "2024-10-02T08:00:00Z"});
    functions.world.edit(RECORDS, missed, |raw| {
        (raw["opens"], raw["closes"]) = (json!({"S": "2024-10-01T08:00:00Z"}), past.clone());
    });
    functions.world.edit(RECORDS, reminded, |raw| raw["reminders"] = json!({"L": [past]}));
    for fault in [Fault::Cut, Fault::error("ValidationException")] {
        age(&functions.world);
        functions.world.inject(move |call| (call.name() == "Publish").then(|| fault.clone()));
        functions.sweep(json!({}), NEVER).await;
        functions.world.heal();
    }
    age(&functions.world);
    functions.sweep(json!({}), NEVER).await;
    assert_eq!(functions.world.reminders().len(), 1);
    let due = Due::new(functions.world.store());
    assert_eq!(functions.staff(&due, "GET /v1/sites/{site}/due", "status=missed", None).await.0, 200);
    functions.world.edit(RECORDS, &occurrences[5], |raw| raw["state"] = json!({"S": "MARKED 735142"}));
    assert_eq!(functions.staff(&due, "GET /v1/sites/{site}/due", "", None).await.0, 500);
    functions.sweep(json!({}), NEVER).await;
    functions.world.remove(RECORDS, &occurrences[5]);
}

async fn registry_of_a_site(functions: &mut Functions) {
    const PATIENT: &str = "PUT /v1/patients/{patient}";
    const EVENT: &str = "PUT /v1/patients/{patient}/events/{event}";
    const WITHDRAWAL: &str = "POST /v1/patients/{patient}/withdrawal";
    let registry = Registry::new(functions.world.store());
    let reason = format!("{MARK} reason 735142");
    let enrolment = json!({"enrolledOn": "2026-11-01", "reason": reason}).to_string();
    assert_eq!(functions.staff(&registry, PATIENT, "", Some(&enrolment)).await.0, 201);
    Box::pin(occurrences_of_a_patient(functions)).await;
    for (field, value) in [
        ("enrolledOn", json!(MARK)),
        ("timeZone", json!("MARKED/Zone")),
        ("language", json!(MARK)),
        ("site", json!("MARKED site")),
        ("group", json!(735_142)),
        ("reason", json!([MARK])),
        ("reason", json!(MARK.repeat(1_000))),
    ] {
        let body = json!({field: value}).to_string();
        assert_eq!(functions.staff(&registry, PATIENT, "", Some(&body)).await.0, 422, "{field}");
    }
    assert_eq!(functions.staff(&registry, PATIENT, "", Some("MARKED 735142")).await.0, 422);
    assert_eq!(functions.staff(&registry, EVENT, "", Some("{\"date\": \"MARKED\"}")).await.0, 422);
    let dated = json!({"date": "2026-11-20", "reason": reason}).to_string();
    assert_eq!(functions.staff(&registry, EVENT, "", Some(&dated)).await.0, 200);
    let withdrawal = json!({"mode": "stop", "requestedBy": format!("{MARK} person"), "reason": reason}).to_string();
    for fault in [Fault::Cut, Fault::Stall, Fault::error("ValidationException")] {
        functions.world.inject(move |call| (call.name() == "TransactWriteItems").then(|| fault.clone()));
        assert!(functions.staff(&registry, WITHDRAWAL, "", Some(&withdrawal)).await.0 >= 500);
        functions.world.heal();
    }
    assert_eq!(functions.staff(&registry, WITHDRAWAL, "", Some(&withdrawal)).await.0, 200);
    let refused = functions.submit("P-1", "POST /v1/submissions", &diary("2050-01-01T08:00:00Z", true)).await;
    assert_eq!(refused.0, 403);
    let registration = functions.world.items("registration").remove(0);
    functions.world.edit(RECORDS, &registration, |raw| raw["withdrawn"] = json!({"S": "MARKED 735142"}));
    assert_eq!(functions.staff(&registry, "GET /v1/patients/{patient}", "", None).await.0, 500);
    assert_eq!(functions.submit("P-1", "POST /v1/submissions", &diary("2026-11-05T08:00:00Z", true)).await.0, 500);
}

/// Verifications of what is stored, with differences that quote what they must not.
async fn verification(functions: &mut Functions) {
    let alert = functions.world.items("alert").remove(0);
    functions.world.tamper_one(&alert, "rule", "MARKED");
    for submission in functions.world.items("submission").iter().take(2) {
        functions.world.edit(RECORDS, submission, |raw| raw["digest"] = json!({"S": "MARKED"}));
    }
    functions.reconcile(PLENTY).await;
    functions.world.inject(|_| Some(Fault::Cut));
    functions.reconcile(Duration::from_secs(5)).await;
    functions.world.heal();
}

/// The values that `dimension` may have.
fn values(dimension: Dimension) -> BTreeSet<&'static str> {
    match dimension {
        // It is added when a report is written, and is the name of a crate.
        Dimension::Service => BTreeSet::new(),
        Dimension::Reason => ProblemKind::ALL.map(ProblemKind::name).into(),
        Dimension::Severity => ["info", "warning", "critical"].into(),
    }
}

#[tokio::test(start_paused = true)]
async fn promise_10_nothing_that_functions_put_out_has_an_answer_a_note_a_name_or_a_token() {
    let log = Log::default();
    let lines = log.clone();
    let environment =
        Environment::from_iter([("POWERTOOLS_LOGGER_SAMPLE_RATE", "1"), ("AWS_LAMBDA_FUNCTION_NAME", "f")]);
    let subscriber = telemetry::subscriber(&environment, "simulation", &LOGGED, move |line| lines.add(line));
    let logged = tracing::subscriber::set_default(subscriber);
    let captured = Captured::begin();
    let mut functions = Functions { world: world().await, output: Output::default(), statuses: BTreeSet::new() };

    Box::pin(submissions(&mut functions)).await;
    Box::pin(batches(&mut functions)).await;
    Box::pin(alerts_of_a_site(&mut functions)).await;
    Box::pin(staff_of_a_site(&mut functions)).await;
    Box::pin(drafts_of_a_patient(&mut functions)).await;
    Box::pin(registry_of_a_site(&mut functions)).await;
    Box::pin(verification(&mut functions)).await;
    drop(logged);

    let Functions { world, mut output, statuses } = functions;
    for published in world.published() {
        output.add("message", format!("{} {:?} {:?}", published.subject, published.message, published.attributes));
    }
    for line in log.text().lines() {
        output.add("line", line);
    }
    let reports = captured.reports();
    for report in &reports {
        output.add("metric", report.line("ePRO/epro", "simulation", UNIX_EPOCH));
    }
    assert_eq!(output.disclosures(), BTreeSet::new());

    // That is worth something only if all of it happened.
    let events: BTreeSet<String> =
        log.text().lines().map(|line| parsed(line)["event"].as_str().unwrap().to_owned()).collect();
    for event in [
        "service_called",
        "answered",
        "submission_received",
        "batch_received",
        "submission_not_confirmed",
        "submission_settled",
        "batch_processed",
        "record_quarantined",
        "alert_published",
        "alert_not_published",
        "swept",
        "alert_exhausted",
        "alert_unreadable",
        "patient_unreadable",
        "not_acknowledged",
        "not_snoozed",
        "registration_not_stored",
        "draft_not_stored",
        "read_failed",
        "read_timed_out",
        "report_step_timed_out",
        "reconciled",
        "record_differs",
        "not_reconciled",
    ] {
        assert!(events.contains(event), "{event} is not among {events:?}");
    }
    let refused: BTreeSet<u16> = statuses.iter().map(|(_, status)| *status).filter(|status| *status >= 400).collect();
    assert!(refused.is_superset(&[401, 403, 404, 409, 422, 500, 503, 504].into()), "{refused:?}");
    bounded(&reports);
}

/// Checks that the dimensions of `reports` have only their values, and that nearly every metric is among them.
fn bounded(reports: &[Report]) {
    for Report { metric, of, .. } in reports {
        let allowed = metric.dimension.map(values).unwrap_or_default();
        assert!(of.is_none_or(|of| allowed.contains(of)), "{} of {of:?}", metric.name);
        let needs_one = metric.dimension.is_some_and(|dimension| dimension != Dimension::Service);
        assert_eq!(of.is_some(), needs_one, "{}", metric.name);
    }
    let reported: BTreeSet<&str> = reports.iter().map(|report| report.metric.name).collect();
    // What these need has a test of its own.
    let elsewhere = [metrics::API_CALLS_NOT_COUNTED, metrics::NOT_REEVALUATED, metrics::STUDY_NOT_READ];
    let missing: Vec<&str> = metrics::ALL
        .iter()
        .filter(|metric| !reported.contains(metric.name) && !elsewhere.contains(metric))
        .map(|metric| metric.name)
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_correlation_id_of_a_request_leads_to_its_alert() {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = telemetry::subscriber(&Environment::default(), "simulation", &LOGGED, move |line| lines.add(line));
    let logged = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    let submit = Submit::new(world.store());
    let body = |patient: &str| {
        let answers: BTreeMap<String, u8> = (1..=9).map(|item| (item.to_string(), u8::from(item == 9))).collect();
        let id = format!("0192f3a4-7c1e-7b2a-9d4e-{:012x}", patient.len());
        json!({"id": id, "instrument": "phq-9", "version": "1.0.0", "authoredAt": "2026-11-01T08:00:00Z", "answers": answers})
    };
    let send = async |patient: &str, correlation_id: Option<&str>| {
        let claims = claims(&[("patient", patient)]);
        let body = body(patient).to_string();
        let mut request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body), PLENTY);
        if let Some(id) = correlation_id {
            request.headers_mut().insert("x-correlation-id", id.parse().unwrap());
        }
        let (parts, body) = submit.handle(request).await.unwrap().into_parts();
        let Body::Text(text) = body else { panic!("a receipt is text") };
        let header = parts.headers["x-correlation-id"].to_str().unwrap().to_owned();
        (parts.status.as_u16(), header, text)
    };
    let (status, header, receipt) = send("P-1", Some("app-7.31_b")).await;
    assert_eq!(
        (status, header.as_str(), &parsed(&receipt)["correlationId"]),
        (202, "app-7.31_b", &json!("app-7.31_b"))
    );
    // Promise 5: the same submission, in another request.
    assert_eq!(send("P-1", Some("app-8")).await, (200, "app-8".to_owned(), receipt));
    let (status, of_gateway, receipt) = send("P-22", None).await;
    assert_eq!((status, &parsed(&receipt)["correlationId"]), (202, &json!(of_gateway)));
    assert_eq!(world.items("submission").len(), 2);

    let event = stream_event(&world.stream(), PLENTY);
    let of_score = event.context.request_id.clone();
    Score::new(world.store(), world.topic()).handle(event).await.unwrap();
    drop(logged);

    let lines: Vec<Value> = log.text().lines().map(parsed).collect();
    for (patient, id) in [("P-1", "app-7.31_b"), ("P-22", of_gateway.as_str())] {
        let submission = body(patient)["id"].clone();
        let of_submission = |event: &str| {
            let mut found = lines.iter().filter(|line| line["event"] == event && line["submission_id"] == submission);
            found.next().unwrap_or_else(|| panic!("{event} of {patient}")).clone()
        };
        let received = of_submission("submission_received");
        assert_eq!((&received["correlation_id"], &received["outcome"]), (&json!(id), &json!("accepted")));
        let settled = of_submission("submission_settled");
        assert_eq!((&settled["correlation_id"], &settled["outcome"]), (&json!(id), &json!("scored")));
        assert_eq!((&settled["function_request_id"], &settled["site"]), (&json!(of_score), &json!("S01")));
        let published = of_submission("alert_published");
        assert_eq!(published["correlation_id"], id);
        let messages = world.published();
        let message = messages.iter().find(|message| message.message_id == published["message_id"]).unwrap();
        assert_eq!(message.attributes["correlationId"], id);
        assert_eq!(message.body()["alertId"], published["alert_id"]);
    }
    let repeated = lines.iter().find(|line| line["outcome"] == "repeated").unwrap();
    assert_eq!(repeated["correlation_id"], "app-8");
    let answered: Vec<&Value> =
        lines.iter().filter(|line| line["event"] == "answered").map(|line| &line["outcome"]).collect();
    assert_eq!(answered, ["ok", "ok", "ok"]);
    let batch = lines.iter().find(|line| line["event"] == "batch_processed").unwrap();
    assert_eq!((&batch["batch_size"], &batch["outcome"]), (&json!(2), &json!("ok")));
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_submissions_and_alerts_is_counted() {
    let metrics = Captured::begin();
    let mut functions = Functions { world: world().await, output: Output::default(), statuses: BTreeSet::new() };
    let first = diary("2026-11-02T08:00:00Z", true);
    let late = diary("2026-11-01T08:00:00Z", false);
    for body in [&first, &first, &late] {
        functions.submit("P-1", "POST /v1/submissions", body).await;
    }
    let conflict = with(&first, "/answers/2", json!(false));
    let invalid = with(&diary("2026-11-03T08:00:00Z", true), "/answers/2", json!(7));
    for body in [&conflict, &invalid, &invalid] {
        functions.submit("P-1", "POST /v1/submissions", body).await;
    }
    let sum = |metric: Metric| metrics.sum(metric).unwrap_or_default();
    assert_eq!((sum(metrics::SUBMISSIONS_ACCEPTED), sum(metrics::SUBMISSIONS_REPEATED)), (2, 1));
    let refused = |reason| metrics.sum_of(metrics::SUBMISSIONS_REFUSED, reason);
    assert_eq!(
        (refused("submission-conflict"), refused("invalid"), sum(metrics::SUBMISSIONS_REFUSED)),
        (Some(1), Some(2), 3)
    );

    // One by one, so that the second is late.
    for record in functions.world.stream() {
        functions.score(&[record], PLENTY).await;
    }
    assert_eq!((sum(metrics::SUBMISSIONS_SCORED), sum(metrics::SUBMISSIONS_LATE)), (2, 1));
    assert_eq!(sum(metrics::RULES_NOT_EVALUATED), 1, "the one that looks back, of the late one");
    let rows = functions.world.items("alert");
    let of = |metric, severity: &str| metrics.sum_of(metric, severity).unwrap_or_default();
    for severity in ["critical", "warning", "info"] {
        let raised = rows.iter().filter(|row| row["severity"] == severity).count() as u64;
        assert_eq!((of(metrics::ALERTS_RAISED, severity), of(metrics::ALERTS_PUBLISHED, severity)), (raised, raised));
    }
    assert_eq!(of(metrics::ALERTS_RAISED, "critical"), 1);
    // A delivery of what is done counts nothing again.
    functions.score(&functions.world.stream(), PLENTY).await;
    assert_eq!((sum(metrics::SUBMISSIONS_SCORED), sum(metrics::ALERTS_RAISED)), (2, rows.len() as u64));

    functions.sweep(json!({}), Escalation { after_minutes: 30, limit: 3 }).await;
    assert_eq!(sum(metrics::ALERTS_UNACKNOWLEDGED), 1, "only critical alerts wait for an acknowledgement");
    assert_eq!((sum(metrics::ITEMS_PENDING), sum(metrics::ITEMS_SWEPT)), (0, 0));
    functions.submit("P-2", "POST /v1/submissions", &diary("2026-11-02T08:00:00Z", false)).await;
    age(&functions.world);
    functions.sweep(json!({}), Escalation { after_minutes: 0, limit: 3 }).await;
    assert_eq!(sum(metrics::ITEMS_PENDING), 1);
    // The submission, its warning, and not the escalation of the other's alert.
    assert_eq!((sum(metrics::ITEMS_SWEPT), sum(metrics::ALERTS_ESCALATED)), (2, 1));
}
