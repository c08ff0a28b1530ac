//! `definitions` for data managers, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::instruments::{Catalog, Instrument};
use definitions::Definitions;
use harness::{Fault, World, claims, request};
use invocation::Deadline;
use lambda_http::http::HeaderMap;
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use tokio::time::Instant;

const PLENTY: Duration = Duration::from_secs(10);
const MANAGER: [(&str, &str); 3] = [("role", "data-manager"), ("patient", ""), ("sub", "dm-7")];
const STUDY: &str = "PUT /v1/studies/{study}";
const INSTRUMENT: &str = "PUT /v1/instruments/{id}/{version}";

/// The study DEMO, whose only instrument is `own-diary`, with `changes`.
fn study(changes: &Value) -> Value {
    let mut study = json!({
        "id": "DEMO", "version": "1.0.0", "title": {"en": "A study"}, "languages": ["en"],
        "sites": [{"id": "S01", "name": "Site 1", "timeZone": "Europe/Berlin"}],
        "instruments": [{"id": "own-diary", "version": "1.0.0"}],
    });
    for (name, value) in changes.as_object().unwrap() {
        study[name] = value.clone();
    }
    study
}

/// The shipped PHQ-2 under another id, with `changes`.
fn diary(changes: &Value) -> Value {
    let phq_2 = Catalog::shipped().find(&"phq-2".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    let mut diary: Value = serde_json::from_str(phq_2.json()).unwrap();
    diary["id"] = json!("own-diary");
    for (name, value) in changes.as_object().unwrap() {
        diary[name] = value.clone();
    }
    diary
}

fn put_study(caller: &[(&str, &str)], id: &str, body: &str, remaining: Duration) -> Request {
    let claims = claims(&[&MANAGER, caller].concat());
    request(STUDY, &[("study", id)], "", Some(claims), Some(body), remaining)
}

fn put_instrument(caller: &[(&str, &str)], version: &str, body: &str, remaining: Duration) -> Request {
    let claims = claims(&[&MANAGER, caller].concat());
    request(INSTRUMENT, &[("id", "own-diary"), ("version", version)], "", Some(claims), Some(body), remaining)
}

async fn send(world: &World, request: Request) -> (u16, HeaderMap, Value) {
    // Closed, as a deployment is: the study comes to be by being put.
    let response = Definitions::new(world.closed_store()).handle(request).await.unwrap();
    let Body::Text(body) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), response.headers().clone(), serde_json::from_str(body).unwrap())
}

async fn send_study(world: &World, changes: Value) -> (u16, HeaderMap, Value) {
    send(world, put_study(&[], "DEMO", &study(&changes).to_string(), PLENTY)).await
}

async fn send_instrument(world: &World, version: &str, changes: Value) -> (u16, HeaderMap, Value) {
    send(world, put_instrument(&[], version, &diary(&changes).to_string(), PLENTY)).await
}

/// The audit entries of `action`.
fn entries(world: &World, action: &str) -> Vec<Value> {
    world.items("audit").into_iter().filter(|entry| entry["action"] == action).collect()
}

fn codes(problem: &Value) -> Vec<(&str, &str)> {
    let text = |error: &'_ Value, name: &str| error[name].as_str().unwrap().to_owned();
    let errors = problem["errors"].as_array().unwrap().iter();
    errors
        .inspect(|error| assert!(!text(error, "detail").is_empty()))
        .map(|error| (error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_data_manager_puts_an_instrument_and_a_study_that_names_it_in_force() {
    let world = World::new();
    let (status, headers, body) = send_instrument(&world, "1.0.0", json!({})).await;
    let hash = Instrument::parse(&diary(&json!({})).to_string()).unwrap().hash().to_owned();
    assert_eq!((status, body), (201, json!({"instrument": "own-diary", "version": "1.0.0", "hash": hash})));
    assert_eq!(headers["location"], "/v1/instruments/own-diary/1.0.0");

    let (status, headers, body) = send_study(&world, json!({})).await;
    assert_eq!((status, &body["study"], &body["version"]), (201, &json!("DEMO"), &json!("1.0.0")));
    assert_eq!(headers["location"], "/v1/studies/DEMO");
    let protocol = world.closed_store().protocol(&"DEMO".parse().unwrap(), Deadline::after(PLENTY)).await.unwrap();
    let in_force = protocol.study().unwrap();
    assert_eq!((in_force.version().as_str(), json!(in_force.hash())), ("1.0.0", body["hash"].clone()));
    let named: Vec<&str> = protocol.catalog().iter().map(|instrument| instrument.id().as_str()).collect();
    assert_eq!(named, ["own-diary"]);
}

#[tokio::test(start_paused = true)]
async fn the_audit_names_who_put_what_and_an_instruments_entry_no_study() {
    let world = World::new();
    send_instrument(&world, "1.0.0", json!({})).await;
    send_study(&world, json!({})).await;
    for (action, place, subject) in
        [("instrument-put", "AUDIT#", "own-diary 1.0.0"), ("study-put", "AUDIT#DEMO", "1.0.0")]
    {
        let entries = entries(&world, action);
        assert_eq!(entries.len(), 1, "{action}");
        for (name, expected) in [("pk", place), ("subject", subject), ("sub", "dm-7"), ("role", "data-manager")] {
            assert_eq!(entries[0][name], expected, "{action}: {name}");
        }
        assert!(entries[0]["request_id"].is_string(), "{action}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_200_and_changes_nothing() {
    let world = World::new();
    let instrument = send_instrument(&world, "1.0.0", json!({})).await.2;
    let study = send_study(&world, json!({})).await.2;
    let before = (world.items("study"), world.items("instrument"), world.items("audit").len());
    let (status, headers, body) = send_instrument(&world, "1.0.0", json!({})).await;
    assert_eq!((status, body, headers.contains_key("location")), (200, instrument, false));
    let (status, headers, body) = send_study(&world, json!({})).await;
    assert_eq!((status, body, headers.contains_key("location")), (200, study, false));
    assert_eq!((world.items("study"), world.items("instrument"), world.items("audit").len()), before);
}

#[tokio::test(start_paused = true)]
async fn a_version_with_other_content_or_below_the_one_in_force_is_409_and_stores_nothing() {
    let world = World::new();
    send_instrument(&world, "1.0.0", json!({})).await;
    assert_eq!(send_study(&world, json!({"version": "1.1.0"})).await.0, 201);
    let before = world.all_items();
    let shipped = json!({"id": "phq-2"});
    let claims = || Some(claims(&MANAGER));
    let of_shipped = request(
        INSTRUMENT,
        &[("id", "phq-2"), ("version", "1.0.0")],
        "",
        claims(),
        Some(&diary(&shipped).to_string()),
        PLENTY,
    );
    for ((status, _, problem), kind, named) in [
        (
            send_instrument(&world, "1.0.0", json!({"title": {"en": "Other", "zh-Hans": "其他"}})).await,
            "version-conflict",
            "own-diary 1.0.0",
        ),
        (send(&world, of_shipped).await, "version-conflict", "phq-2 1.0.0 ships"),
        (
            send_study(&world, json!({"version": "1.1.0", "patientsSeeScores": true})).await,
            "version-conflict",
            "DEMO 1.1.0",
        ),
        (send_study(&world, json!({})).await, "later-version", "1.1.0"),
    ] {
        assert_eq!((status, &problem["type"]), (409, &json!(format!("urn:epro:problem:{kind}"))), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(named), "{problem}");
    }
    assert_eq!(world.all_items(), before);
}

#[tokio::test(start_paused = true)]
async fn all_faults_are_returned_each_with_its_pointer_and_nothing_is_stored() {
    let world = World::new();
    let sites = json!([{"id": "S01", "name": " ", "timeZone": "Europe/Atlantis"}, {"id": "S01", "name": "2", "timeZone": "UTC"}]);
    let (status, _, problem) = send_study(&world, json!({"sites": sites})).await;
    assert_eq!((status, &problem["type"]), (422, &json!("urn:epro:problem:invalid")));
    let found = codes(&problem);
    for expected in [
        ("/sites/0/name", "site.name"),
        ("/sites/0/timeZone", "site.time-zone"),
        ("/sites/1/id", "site.duplicate"),
        ("/instruments/0/id", "instrument.unknown"),
    ] {
        assert!(found.contains(&expected), "{expected:?} is not among {found:?}");
    }
    let mut faulty = diary(&json!({}));
    faulty["scores"][0]["range"] = json!([0, 1]);
    faulty["title"] = json!({"en": ""});
    let (status, _, problem) = send(&world, put_instrument(&[], "1.0.0", &faulty.to_string(), PLENTY)).await;
    assert_eq!(status, 422, "{problem}");
    assert!(codes(&problem).len() > 1, "{problem}");
    assert!(world.all_items().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_the_definition_of_the_path_is_refused() {
    let world = World::new();
    let (status, _, problem) = send_study(&world, json!({"id": "OTHER"})).await;
    assert_eq!((status, codes(&problem)), (422, vec![("/id", "definition.other")]));
    let (status, _, problem) = send_instrument(&world, "1.0.0", json!({"id": "another"})).await;
    assert_eq!((status, codes(&problem)), (422, vec![("/id", "definition.other")]));
    let (status, _, problem) = send_instrument(&world, "2.0.0", json!({})).await;
    assert_eq!((status, codes(&problem)), (422, vec![("/version", "definition.other")]));
    for body in ["", "{", "[]", "null", "{\"id\":\"DEMO\"}", "{\"unknown\":1}"] {
        assert_eq!(send(&world, put_study(&[], "DEMO", body, PLENTY)).await.0, 422, "{body}");
        assert_eq!(send(&world, put_instrument(&[], "1.0.0", body, PLENTY)).await.0, 422, "{body}");
    }
    let large = study(&json!({"title": {"en": "x".repeat(256 * 1024)}})).to_string();
    assert_eq!(send(&world, put_study(&[], "DEMO", &large, PLENTY)).await.0, 413);
    for (media_type, expected) in
        [("text/plain", 415), ("application/json; charset=latin1", 415), ("application/json; charset=utf-8", 422)]
    {
        let mut request = put_study(&[], "DEMO", "{}", PLENTY);
        request.headers_mut().insert("content-type", media_type.parse().unwrap());
        assert_eq!(send(&world, request).await.0, expected, "{media_type}");
    }
    let mut request = put_study(&[], "DEMO", "{}", PLENTY);
    *request.body_mut() = Body::Binary(vec![0xff, 0xfe]);
    assert_eq!(send(&world, request).await.0, 422, "not UTF-8");
    assert!(world.all_items().is_empty());
}

#[tokio::test(start_paused = true)]
async fn promise_9_only_a_data_manager_puts_definitions_and_a_study_only_its_own() {
    let world = World::new();
    let (of_study, of_instrument) = (study(&json!({})).to_string(), diary(&json!({})).to_string());
    for (change, expected) in [
        (("role", "patient"), 403),
        (("role", "staff"), 403),
        (("role", "clinician"), 403),
        (("role", "service"), 403),
        (("role", "monitor"), 403),
        (("scope", "instruments:read"), 403),
        (("token_use", "id"), 401),
        (("sub", ""), 401),
    ] {
        let change = [change, ("patient", "P-001")];
        assert_eq!(send(&world, put_study(&change, "DEMO", &of_study, PLENTY)).await.0, expected, "{change:?}");
        let request = put_instrument(&change, "1.0.0", &of_instrument, PLENTY);
        assert_eq!(send(&world, request).await.0, expected, "{change:?}");
    }
    for other in
        [put_study(&[], "OTHER", &of_study, PLENTY), put_study(&[("study", "OTHER")], "DEMO", &of_study, PLENTY)]
    {
        let (status, _, problem) = send(&world, other).await;
        assert_eq!((status, &problem["type"]), (404, &json!("urn:epro:problem:not-found")));
    }
    let nobody = request(STUDY, &[("study", "DEMO")], "", None, Some(&of_study), PLENTY);
    assert_eq!(send(&world, nobody).await.0, 401);
    let elsewhere = request("PUT /v1/elsewhere", &[], "", Some(claims(&MANAGER)), Some("{}"), PLENTY);
    assert_eq!(send(&world, elsewhere).await.0, 404);
    assert_eq!(world.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn each_request_is_one_call_of_each_of_the_callers_sites() {
    let world = World::new();
    send_instrument(&world, "1.0.0", json!({})).await;
    send_study(&world, json!({"sites": []})).await;
    let nowhere = put_instrument(&[("sites", "")], "1.0.0", &diary(&json!({})).to_string(), PLENTY);
    assert_eq!(send(&world, nowhere).await.0, 200);
    let (study, sites) = ("DEMO".parse().unwrap(), ["S01".parse().unwrap()]);
    let counts = world.store().site_counts(&study, &sites, Deadline::after(PLENTY)).await.unwrap();
    assert_eq!(counts[0].api_calls, 2);
}

#[tokio::test(start_paused = true)]
async fn promise_7_an_unknown_outcome_is_reported_and_the_repeat_settles_it() {
    for (fault, times, expected) in [
        (Fault::throttle(), 2, 201),
        (Fault::ApplyAndCut, 1, 201),
        (Fault::ApplyTwice, 1, 201),
        (Fault::ApplyAndStall, usize::MAX, 503),
        (Fault::Cut, usize::MAX, 503),
        (Fault::internal(), usize::MAX, 503),
        (Fault::throttle(), usize::MAX, 503),
        (Fault::error("AccessDeniedException"), usize::MAX, 500),
    ] {
        let world = World::new();
        send_instrument(&world, "1.0.0", json!({})).await;
        world.inject_into("TransactWriteItems", times, fault.clone());
        let body = study(&json!({})).to_string();
        let (status, _, problem) = send(&world, put_study(&[], "DEMO", &body, Duration::from_secs(5))).await;
        assert_eq!(status, expected, "{fault:?}: {problem}");
        if status == 503 {
            let kind = if matches!(fault, Fault::Answer(400, _)) { "not-done" } else { "outcome-unknown" };
            assert_eq!(problem["type"], format!("urn:epro:problem:{kind}"), "{fault:?}");
        }
        let is_stored = !world.items("study").is_empty();
        world.heal();
        let (status, _, _) = send_study(&world, json!({})).await;
        assert_eq!(status, if is_stored { 200 } else { 201 }, "{fault:?}");
        assert_eq!(entries(&world, "study-put").len(), 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
        for stalled in ["BatchGetItem RecordsTable", "TransactWriteItems", "TransactWriteItems SiteCountsTable", ""] {
            let world = World::new();
            send_instrument(&world, "1.0.0", json!({})).await;
            world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
            let start = Instant::now();
            let body = study(&json!({})).to_string();
            let (status, headers, _) =
                send(&world, put_study(&[], "DEMO", &body, Duration::from_millis(remaining))).await;
            let most = Duration::from_millis(remaining.saturating_sub(250));
            assert!(start.elapsed() <= most, "{remaining} {stalled}: {:?}", start.elapsed());
            let stalls = ["BatchGetItem RecordsTable", "TransactWriteItems"].contains(&stalled);
            assert_eq!(status, if remaining > 250 && !stalls { 201 } else { 503 }, "{remaining} {stalled}");
            assert_eq!(headers.contains_key("retry-after"), status == 503, "{remaining} {stalled}");
        }
    }
}
