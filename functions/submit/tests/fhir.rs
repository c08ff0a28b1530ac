//! `submit` for FHIR clients, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::instruments::Catalog;
use harness::{Fault, World, claims, request};
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;

const ID: &str = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e";
const ROUTE: &str = "POST /v1/fhir/QuestionnaireResponse";
const PLENTY: Duration = Duration::from_secs(10);

/// The official example of the SDC guide's PHQ-9, which states a total of 13 where its answers give 10, with an id.
fn official() -> Value {
    let mut example: Value =
        serde_json::from_str(include_str!("../../../shared/clinical/tests/fhir/sdc-phq-9.json")).unwrap();
    example["identifier"] = json!({"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{ID}")});
    example["authored"] = json!("2026-11-01T07:58:03+08:00");
    example
}

/// The official example in the native format.
fn plain() -> Value {
    json!({
        "id": ID, "instrument": "phq-9", "version": "1.0.0", "authoredAt": "2026-11-01T07:58:03+08:00",
        "answers": {"1": 0, "2": 0, "3": 0, "4": 1, "5": 2, "6": 1, "7": 3, "8": 2, "9": 1},
    })
}

fn post(route: &str, body: &str) -> Request {
    request(route, &[], "", Some(claims(&[])), Some(body), PLENTY)
}

fn get(id: &str, query: &str, changes: &[(&str, &str)]) -> Request {
    let claims = claims(&[&[("scope", "instruments:read")], changes].concat());
    request("GET /v1/fhir/Questionnaire/{id}", &[("id", id)], query, Some(claims), None, PLENTY)
}

async fn send(world: &World, request: Request) -> (u16, Value, Response<Body>) {
    let response = Submit::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap(), response)
}

async fn send_fhir(world: &World, body: &Value) -> (u16, Value) {
    let (status, body, _) = send(world, post(ROUTE, &body.to_string())).await;
    (status, body)
}

/// Each issue of an OperationOutcome after the first: its expression and code.
fn issues(outcome: &Value) -> Vec<(&str, &str)> {
    assert_eq!(outcome["resourceType"], "OperationOutcome");
    let issues = outcome["issue"].as_array().unwrap();
    let has_text = |issue: &'_ Value| issue["details"]["text"].as_str().is_some_and(|text| !text.is_empty());
    assert!(issues.iter().all(|issue| issue["severity"] == "error" && has_text(issue)));
    issues[1..]
        .iter()
        .map(|issue| {
            let expression = issue["expression"][0].as_str().unwrap_or_default();
            (expression, issue["details"]["coding"][0]["code"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_official_example_is_stored_with_its_answers_and_its_claimed_total() {
    let world = World::new();
    let mut post = post(ROUTE, &official().to_string());
    post.headers_mut().insert("content-type", "application/fhir+json; fhirVersion=4.0".parse().unwrap());
    let (status, receipt, response) = send(&world, post).await;
    assert_eq!((status, &receipt["id"], &receipt["instrument"]), (202, &json!(ID), &json!("phq-9")));
    assert_eq!(response.headers()["location"], format!("/v1/submissions/{ID}"));
    let stored = &world.items("submission")[0];
    assert_eq!((&stored["answers"], &stored["claimed"]), (&plain()["answers"], &json!({"total": 13})));
}

#[tokio::test(start_paused = true)]
async fn promise_5_the_same_questionnaire_in_fhir_and_in_the_native_format_is_the_same_submission() {
    for fhir_first in [true, false] {
        let world = World::new();
        let (fhir, plain) = ((ROUTE, official().to_string()), ("POST /v1/submissions", plain().to_string()));
        let [first, second] = if fhir_first { [fhir, plain] } else { [plain, fhir] };
        let (status, receipt, _) = send(&world, post(first.0, &first.1)).await;
        assert_eq!(status, 202);
        let (status, repeated, _) = send(&world, post(second.0, &second.1)).await;
        assert_eq!((status, &repeated), (200, &receipt));
        assert_eq!(world.items("submission").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn promise_5_other_answers_under_the_same_id_are_refused_with_an_operation_outcome() {
    let world = World::new();
    send_fhir(&world, &official()).await;
    let mut other = official();
    other["item"][0]["item"][8]["answer"][0]["valueCoding"]["code"] = json!("Not-at-all");
    let (status, outcome) = send_fhir(&world, &other).await;
    assert_eq!((status, &outcome["issue"][0]["code"]), (409, &json!("conflict")));
    assert_eq!(outcome["issue"][0]["details"]["coding"][0]["code"], "submission-conflict");
}

#[tokio::test(start_paused = true)]
async fn all_findings_are_returned_each_with_its_expression_and_nothing_is_written() {
    let body = json!({
        "resourceType": "QuestionnaireResponse", "status": "entered-in-error", "authored": "2026-11-01",
        "questionnaire": "urn:epro:questionnaire:phq-9|1.0.0",
        "item": [
            {"linkId": "1", "answer": [{"valueInteger": 0}, {"valueInteger": 1}]},
            {"linkId": "2", "answer": [{"valueInteger": 4}]},
            {"linkId": "3", "answer": [{"valueBoolean": true}]},
            {"linkId": "x", "answer": [{"valueInteger": 1}]},
        ],
    });
    let body = body.to_string().replacen("\"status\"", "\"id\":\"a\",\"id\":\"b\",\"status\"", 1);
    let world = World::new();
    let (status, outcome, response) = send(&world, post(ROUTE, &body)).await;
    let at = |place: &str| format!("QuestionnaireResponse.{place}");
    let expected = [
        (at("id"), "json.duplicate-key"),
        (at("status"), "fhir.status"),
        (at("item[0].answer[1]"), "item.answers"),
        (at("item[2].answer[0]"), "item.type"),
        (at("item[3].answer[0]"), "item.unknown"),
        (at("id"), "id.not-a-uuid"),
        (at("authored"), "authored-at.format"),
        (at("item[1].answer[0]"), "item.code"),
    ];
    let expected: Vec<_> = expected.iter().map(|(at, code)| (at.as_str(), *code)).collect();
    assert_eq!((status, issues(&outcome)), (422, expected));
    assert_eq!(response.headers()["content-type"], "application/fhir+json");
    let correlation_id = response.headers()["x-correlation-id"].to_str().unwrap();
    assert!(outcome["issue"][0]["diagnostics"].as_str().unwrap().ends_with(correlation_id));
    assert_eq!(world.count_calls("PutItem RecordsTable"), 0);
}

#[tokio::test(start_paused = true)]
async fn faults_of_the_whole_are_returned_as_an_operation_outcome() {
    let cases = [
        (json!({"questionnaire": "urn:epro:questionnaire:phq-99|1.0.0"}), ("questionnaire", "instrument.unknown")),
        (
            json!({"questionnaire": "urn:epro:questionnaire:phq-9|9.0.0"}),
            ("questionnaire", "instrument.version-unknown"),
        ),
        (json!({"questionnaire": "urn:epro:questionnaire:phq-9"}), ("questionnaire", "field.required")),
        (json!({"questionnaire": null}), ("questionnaire", "field.required")),
        (json!({"questionnaire": "#contained"}), ("questionnaire", "field.required")),
        (json!({"identifier": {"value": "7"}}), ("identifier.value", "id.not-a-uuid")),
        (json!({"identifier": {}}), ("identifier.value", "field.required")),
        (json!({"authored": "0000-01-01T00:00:00+14:00"}), ("authored", "authored-at.range")),
        (json!({"authored": null}), ("authored", "field.required")),
        (json!({"status": "amended"}), ("status", "fhir.status")),
        (json!({"status": "in-progress"}), ("status", "fhir.status")),
        (json!({"implicitRules": "http://example.org"}), ("implicitRules", "fhir.modifier")),
        (json!({"colour": 1}), ("colour", "field.unknown")),
    ];
    let world = World::new();
    for (change, (place, code)) in cases {
        let mut body = official();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let (status, outcome) = send_fhir(&world, &body).await;
        let found = issues(&outcome);
        let expected = format!("QuestionnaireResponse.{place}");
        assert_eq!((status, found.contains(&(expected.as_str(), code))), (422, true), "{change} {found:?}");
        assert!(found.iter().all(|(at, _)| *at == expected), "{change} {found:?}");
    }
    for (body, code) in
        [("{", "json.syntax"), ("[]", "fhir.resource-type"), (r#"{"resourceType":"Patient"}"#, "fhir.resource-type")]
    {
        let (status, outcome, _) = send(&world, post(ROUTE, body)).await;
        assert_eq!((status, issues(&outcome)[0].1, issues(&outcome).len()), (422, code, 1), "{body}");
    }
    let mut text = post(ROUTE, "{}");
    text.headers_mut().insert("content-type", "application/fhir+xml".parse().unwrap());
    let (status, outcome, _) = send(&world, text).await;
    assert_eq!((status, &outcome["issue"][0]["code"]), (415, &json!("not-supported")));
    assert_eq!(world.count_calls("PutItem RecordsTable"), 0);
}

/// The stored answers to `instrument` in its latest version, as they are scored: the total, its band and the rules that
/// fire.
fn scored(world: &World, instrument: &str) -> (String, Option<String>, Vec<String>) {
    let instrument = Catalog::shipped().latest(&instrument.parse().unwrap()).unwrap();
    let stored = &world.items("submission")[0];
    assert_eq!(stored["instrument"]["hash"], instrument.hash());
    let outcome = instrument.assess(&instrument.check(stored["answers"].as_object().unwrap()).unwrap()).unwrap();
    let total = &outcome.scores[0];
    let fired = outcome.alerts.iter().map(|fired| fired.rule.to_string()).collect();
    (total.value.to_string(), total.band.clone(), fired)
}

#[tokio::test(start_paused = true)]
async fn the_worst_answers_of_a_mother_have_the_highest_score() {
    let (_, questionnaire, _) = send(&World::new(), get("epds", "", &[])).await;
    let worst = |item: &Value| {
        let options = item["answerOption"].as_array().unwrap().iter();
        let weight = |option: &&Value| option["valueCoding"]["extension"][0]["valueDecimal"].as_i64();
        options.max_by_key(weight).unwrap().clone()
    };
    let items = questionnaire["item"].as_array().unwrap().iter();
    let as_options: Vec<_> = items.map(|item| json!({"linkId": item["linkId"], "answer": [worst(item)]})).collect();
    let as_published_scores: Vec<_> =
        (1..=10).map(|item| json!({"linkId": item.to_string(), "answer": [{"valueInteger": 3}]})).collect();
    for items in [as_options, as_published_scores] {
        let world = World::new();
        let mut body = official();
        body["questionnaire"] =
            json!(format!("{}|{}", questionnaire["url"].as_str().unwrap(), questionnaire["version"].as_str().unwrap()));
        body["item"] = json!(items);
        assert_eq!(send_fhir(&world, &body).await.0, 202);
        let alerts = vec!["safety".to_owned(), "threshold".to_owned()];
        assert_eq!(scored(&world, "epds"), ("30".to_owned(), Some("probable".to_owned()), alerts));
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_of_another_system_or_with_the_text_of_another_choice_is_refused_and_nothing_is_written() {
    let own = "urn:epro:questionnaire:phq-9:frequency";
    let world = World::new();
    for (coding, code) in [
        (json!({"system": "http://example.org/phq9-1-to-4", "code": "1"}), "item.system"),
        (json!({"code": "1"}), "item.system"),
        (json!({"system": own, "code": "1", "display": "Nearly every day"}), "item.display"),
    ] {
        let mut body = official();
        body["item"] = json!([{"linkId": "1", "answer": [{"valueCoding": coding}]}]);
        let (status, outcome) = send_fhir(&world, &body).await;
        assert_eq!((status, issues(&outcome)), (422, vec![("QuestionnaireResponse.item[0].answer[0]", code)]));
    }
    assert_eq!(world.count_calls("PutItem RecordsTable"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_not_applicable_answer_is_stored_as_it_was_given() {
    let world = World::new();
    let list = "urn:epro:questionnaire:pro-ctcae:present-or-not-sexually-active";
    let mut body = official();
    body["questionnaire"] = json!("urn:epro:questionnaire:pro-ctcae|1.1.0");
    body["item"] = json!([
        {"linkId": "PROCTCAE_70A", "answer": [{"valueCoding": {"system": list, "code": "98"}}]},
        {"linkId": "PROCTCAE_9A", "answer": [{"valueInteger": 0}]},
    ]);
    assert_eq!(send_fhir(&world, &body).await.0, 202);
    assert_eq!(world.items("submission")[0]["answers"], json!({"11": 0, "110": 98}));
    assert_eq!(scored(&world, "pro-ctcae").0, "0");
}

#[tokio::test(start_paused = true)]
async fn a_question_may_be_nested_five_deep() {
    let weight = json!([{"url": "http://hl7.org/fhir/StructureDefinition/ordinalValue", "valueDecimal": 2}]);
    let coding = json!({"system": "urn:epro:questionnaire:phq-9:frequency", "code": "2", "extension": weight});
    for (depth, expected) in [(5, 202), (6, 422)] {
        let mut item = json!({"linkId": "1", "answer": [{"valueCoding": coding}]});
        for _ in 1..depth {
            item = json!({"linkId": "group", "item": [item]});
        }
        let mut body = official();
        body["item"] = json!([item]);
        assert_eq!(send_fhir(&World::new(), &body).await.0, expected, "{depth}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_10_no_outcome_repeats_an_answer() {
    let world = World::new();
    let answers = [
        json!({"valueString": "secret-answer"}),
        json!({"valueCoding": {"code": "secret-answer", "display": "secret-answer"}}),
        json!({"valueInteger": 987_654}),
        json!({"valueQuantity": {"value": 987_654}}),
    ];
    for answer in answers {
        let mut body = official();
        body["item"][0]["item"][8]["answer"] = json!([answer]);
        body["item"][0]["text"] = json!("secret-answer");
        let (status, outcome) = send_fhir(&world, &body).await;
        let text = outcome.to_string();
        assert_eq!(status, 422);
        assert!(!text.contains("secret-answer") && !text.contains("987654"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hostile_body_is_answered_briefly() {
    let items: Vec<Value> =
        (0..5_000).map(|n| json!({"linkId": format!("x{n}"), "answer": [{"valueInteger": 1}]})).collect();
    let nested = "[{\"item\":".repeat(60_000);
    let mut body = official();
    body["item"] = json!(items);
    let (status, outcome) = send_fhir(&World::new(), &body).await;
    assert_eq!((status, issues(&outcome).len()), (422, 200));
    assert_eq!(send(&World::new(), post(ROUTE, &nested)).await.0, 413);
    let deep = format!(
        "{{\"resourceType\":\"QuestionnaireResponse\",\"item\":{}1{}}}",
        "[{\"item\":".repeat(40),
        "}]".repeat(40)
    );
    let (status, outcome, _) = send(&World::new(), post(ROUTE, &deep)).await;
    assert_eq!(status, 422);
    assert!(issues(&outcome).iter().any(|(_, code)| *code == "json.too-deep"));
}

#[tokio::test(start_paused = true)]
async fn promise_9_callers_without_permission_are_refused_with_an_operation_outcome() {
    let world = World::new();
    for (change, expected, code) in [
        (("token_use", "id"), 401, "login"),
        (("scope", "submissions:read"), 403, "forbidden"),
        (("role", "staff"), 403, "forbidden"),
    ] {
        let request = request(ROUTE, &[], "", Some(claims(&[change])), Some(&official().to_string()), PLENTY);
        let (status, outcome, _) = send(&world, request).await;
        assert_eq!((status, &outcome["issue"][0]["code"]), (expected, &json!(code)), "{change:?}");
    }
    assert_eq!(world.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn promise_6_and_7_a_stalled_store_is_reported_in_time_as_an_operation_outcome() {
    for (remaining, code) in [(0, "transient"), (250, "transient"), (500, "timeout"), (3_000, "timeout")] {
        let world = World::new();
        world.inject_into("PutItem RecordsTable", usize::MAX, Fault::Stall);
        let time = Duration::from_millis(remaining);
        let start = Instant::now();
        let request = request(ROUTE, &[], "", Some(claims(&[])), Some(&official().to_string()), time);
        let (status, outcome, response) = send(&world, request).await;
        assert!(start.elapsed() <= Duration::from_millis(remaining.saturating_sub(250)), "{remaining}");
        assert_eq!((status, &outcome["issue"][0]["code"]), (503, &json!(code)), "{remaining}");
        assert_eq!(response.headers()["retry-after"], "1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_questionnaire_is_returned_by_version_and_language_to_callers_who_may_read_instruments() {
    let world = World::new();
    for role in ["patient", "staff", "clinician", "service"] {
        let (status, questionnaire, response) = send(&world, get("phq-9", "", &[("role", role)])).await;
        assert_eq!((status, &questionnaire["resourceType"]), (200, &json!("Questionnaire")), "{role}");
        assert_eq!(response.headers()["content-type"], "application/fhir+json");
        assert_eq!(response.headers()["content-language"], "en");
    }
    let (_, chinese, _) = send(&world, get("phq-9", "version=1.0.0&lang=zh-Hans", &[])).await;
    assert_eq!((&chinese["language"], &chinese["version"]), (&json!("zh-Hans"), &json!("1.0.0")));
    for (id, query) in [("phq-99", ""), ("phq-9", "version=9.9.9"), ("phq-9", "version=x"), ("a b", "")] {
        let (status, outcome, _) = send(&world, get(id, query, &[])).await;
        assert_eq!((status, &outcome["issue"][0]["code"]), (404, &json!("not-found")), "{id} {query}");
    }
    assert_eq!(send(&world, get("phq-9", "", &[("scope", "counts:read")])).await.0, 403);
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted_once() {
    let world = World::new();
    send_fhir(&world, &official()).await;
    send(&world, get("phq-9", "", &[("role", "staff"), ("sites", "S01 S02")])).await;
    assert_eq!(world.score(&world.stream(), PLENTY).await, 0, "the response is counted with its score");
    let (study, sites) = ("DEMO".parse().unwrap(), ["S01", "S02"].map(|site| site.parse().unwrap()));
    let counts = world.store().site_counts(&study, &sites, invocation::Deadline::after(PLENTY)).await.unwrap();
    assert_eq!((counts[0].api_calls, counts[1].api_calls), (2, 1));
}
