//! `instruments` for the app, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeSet;
use std::time::Duration;

use api::Handler;
use clinical::instruments::Catalog;
use harness::{Fault, World, claims, request};
use instruments::Instruments;
use invocation::Deadline;
use lambda_http::http::HeaderMap;
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use tokio::time::Instant;

const PLENTY: Duration = Duration::from_secs(10);
const PATIENT: [(&str, &str); 0] = [];

fn list(caller: &[(&str, &str)], remaining: Duration) -> Request {
    request("GET /v1/instruments", &[], "", Some(claims(caller)), None, remaining)
}

fn one(id: &str, version: &str, query: &str, headers: &[(&'static str, &str)]) -> Request {
    one_of(&PATIENT, id, version, query, headers, PLENTY)
}

fn one_of(
    caller: &[(&str, &str)],
    id: &str,
    version: &str,
    query: &str,
    headers: &[(&'static str, &str)],
    remaining: Duration,
) -> Request {
    let parameters = [("id", id), ("version", version)];
    let route = "GET /v1/instruments/{id}/{version}";
    let mut request = request(route, &parameters, query, Some(claims(caller)), None, remaining);
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

async fn send(world: &World, request: Request) -> (u16, HeaderMap, Value) {
    let response = Instruments::new(world.store()).handle(request).await.unwrap();
    let body = match response.body() {
        Body::Text(text) => serde_json::from_str(text).unwrap(),
        Body::Empty => Value::Null,
        _ => panic!("answers are text, or nothing"),
    };
    (response.status().as_u16(), response.headers().clone(), body)
}

#[tokio::test(start_paused = true)]
async fn the_list_has_every_instrument_that_ships() {
    let (status, _, body) = send(&World::new(), list(&PATIENT, PLENTY)).await;
    assert_eq!(status, 200);
    let listed = body["instruments"].as_array().unwrap();
    assert_eq!(listed.len(), Catalog::shipped().iter().count());
    let phq_2 = listed.iter().find(|instrument| instrument["id"] == "phq-2").unwrap();
    let definition = Catalog::shipped().find(&"phq-2".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    assert_eq!(phq_2["title"]["zh-Hans"], "患者健康问卷-2 (PHQ-2)");
    assert_eq!(phq_2["licence"]["texts"], "included");
    assert!(phq_2["sources"][0].as_str().unwrap().starts_with("Kroenke"));
    for (field, expected) in [
        ("version", json!("1.0.0")),
        ("languages", json!(["en", "zh-Hans"])),
        ("hash", json!(definition.hash())),
        ("items", json!(2)),
    ] {
        assert_eq!(phq_2[field], expected);
    }
}

#[tokio::test(start_paused = true)]
async fn every_listed_definition_has_an_etag_for_each_of_its_languages() {
    let world = World::new();
    let (_, _, body) = send(&world, list(&PATIENT, PLENTY)).await;
    let mut etags = BTreeSet::new();
    let mut given = 0;
    for listed in body["instruments"].as_array().unwrap() {
        let (id, version) = (listed["id"].as_str().unwrap(), listed["version"].as_str().unwrap());
        for tag in listed["languages"].as_array().unwrap() {
            let tag = tag.as_str().unwrap();
            let (status, headers, body) = send(&world, one(id, version, &format!("lang={tag}"), &[])).await;
            assert_eq!((status, &body["id"], &body["version"]), (200, &json!(id), &json!(version)));
            assert_eq!(body["items"].as_array().unwrap().len(), listed["items"].as_u64().unwrap() as usize);
            assert_eq!(body["title"], json!({tag: listed["title"][tag]}), "the texts of one language only");
            assert_eq!(headers["content-language"], tag);
            assert_eq!(headers["etag"], format!("\"{}-{tag}\"", listed["hash"].as_str().unwrap()));
            etags.insert(headers["etag"].to_str().unwrap().to_owned());
            given += 1;
        }
    }
    assert!(given > 23, "some are there in two languages");
    assert_eq!(etags.len(), given);
}

#[tokio::test(start_paused = true)]
async fn a_definition_is_returned_in_the_callers_language() {
    let world = World::new();
    for (query, header, expected) in [
        ("", None, "en"),
        ("", Some("de"), "en"),
        ("", Some("de, zh-CN;q=0.8, en;q=0.5"), "zh-Hans"),
        ("", Some("zh-TW, en;q=0.1"), "en"),
        ("lang=zh-Hans", Some("en"), "zh-Hans"),
        ("lang=fr", Some("zh"), "zh-Hans"),
    ] {
        let headers: Vec<_> = header.map(|value| ("accept-language", value)).into_iter().collect();
        let (status, headers, body) = send(&world, one("phq-9", "1.0.0", query, &headers)).await;
        assert_eq!((status, headers["content-language"].to_str().unwrap()), (200, expected), "{query} {header:?}");
        let texts: Vec<_> = body["items"][0]["text"].as_object().unwrap().keys().collect();
        assert_eq!(texts, [expected]);
        assert_eq!(headers["vary"], "Accept-Language");
    }
}

#[tokio::test(start_paused = true)]
async fn a_definition_may_be_cached_and_is_not_sent_again_to_a_caller_who_has_it() {
    let world = World::new();
    let (_, headers, _) = send(&world, one("phq-9", "1.0.0", "", &[])).await;
    let etag = headers["etag"].to_str().unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with("-en\""), "{etag}");
    assert_eq!(headers["cache-control"], "private, max-age=31536000, immutable");
    let weak = format!("W/{etag}");
    let among = format!("\"x\", {etag}");
    for same in [etag.as_str(), &weak, &among, "*"] {
        let (status, headers, body) = send(&world, one("phq-9", "1.0.0", "", &[("if-none-match", same)])).await;
        assert_eq!((status, body), (304, Value::Null), "{same}");
        assert_eq!(headers["etag"], etag);
        assert_eq!(headers["cache-control"], "private, max-age=31536000, immutable");
        assert_eq!(
            (&headers["vary"], &headers["content-language"]),
            (&"Accept-Language".parse().unwrap(), &"en".parse().unwrap())
        );
        assert!(!headers.contains_key("content-type"));
    }
    for (query, other) in [("", "\"x\""), ("", etag.trim_matches('"')), ("lang=zh", &etag), ("", "")] {
        assert_eq!(
            send(&world, one("phq-9", "1.0.0", query, &[("if-none-match", other)])).await.0,
            200,
            "{query} {other}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_version_is_404_with_the_versions_that_exist() {
    let world = World::new();
    for (id, version) in [("phq-99", "1.0.0"), ("phq-9", "9.9.9"), ("phq-9", "latest"), ("PHQ 9", "1.0.0"), ("", "")] {
        let (status, headers, problem) = send(&world, one(id, version, "", &[("if-none-match", "*")])).await;
        assert_eq!((status, &problem["type"]), (404, &json!("urn:epro:problem:not-found")), "{id} {version}");
        assert_eq!(headers["cache-control"], "no-store", "it may come to be");
    }
    let (_, _, problem) = send(&world, one("phq-9", "9.9.9", "", &[])).await;
    assert!(problem["detail"].as_str().unwrap().contains("1.0.0"));
}

#[tokio::test(start_paused = true)]
async fn promise_9_any_role_with_the_scope_may_read_and_none_without() {
    let world = World::new();
    for role in ["patient", "staff", "clinician", "service"] {
        assert_eq!(send(&world, list(&[("role", role)], PLENTY)).await.0, 200, "{role}");
        let request = one_of(&[("role", role)], "phq-9", "1.0.0", "", &[], PLENTY);
        assert_eq!(send(&world, request).await.0, 200, "{role}");
    }
    let world = World::new();
    for (change, expected) in
        [(("scope", "submissions:read"), 403), (("token_use", "id"), 401), (("role", "root"), 401)]
    {
        assert_eq!(send(&world, list(&[change], PLENTY)).await.0, expected, "{change:?}");
        let request = one_of(&[change], "phq-9", "1.0.0", "", &[("if-none-match", "*")], PLENTY);
        assert_eq!(send(&world, request).await.0, expected, "{change:?}");
    }
    let nobody = request("GET /v1/instruments", &[], "", None, None, PLENTY);
    assert_eq!(send(&world, nobody).await.0, 401);
    let elsewhere = request("GET /v1/elsewhere", &[], "", Some(claims(&PATIENT)), None, PLENTY);
    assert_eq!(send(&world, elsewhere).await.0, 404);
    assert_eq!(world.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn each_request_is_one_call_of_each_of_the_callers_sites() {
    let world = World::new();
    let staff = [("role", "staff"), ("patient", ""), ("sites", "S01 S02")];
    let nowhere = [("role", "service"), ("patient", ""), ("sites", "")];
    send(&world, list(&PATIENT, PLENTY)).await;
    send(&world, list(&staff, PLENTY)).await;
    assert_eq!(send(&world, list(&nowhere, PLENTY)).await.0, 200);
    send(&world, one("phq-9", "1.0.0", "", &[])).await;
    send(&world, one("phq-9", "1.0.0", "", &[("if-none-match", "*")])).await;
    send(&world, one("phq-9", "9.9.9", "", &[])).await;
    let sites = ["S01".parse().unwrap(), "S02".parse().unwrap()];
    let counts = world.store().site_counts(&"DEMO".parse().unwrap(), &sites, Deadline::after(PLENTY)).await.unwrap();
    assert_eq!((counts[0].api_calls, counts[1].api_calls), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
        for fault in [Some(Fault::Stall), Some(Fault::ApplyAndStall), Some(Fault::throttle()), None] {
            let world = World::new();
            let case = format!("{remaining} {fault:?}");
            if let Some(fault) = fault {
                world.inject_into("TransactWriteItems SiteCountsTable", usize::MAX, fault);
            }
            let time = Duration::from_millis(remaining);
            // A stalled count delays the answer by its grace at most. The first request must read the study.
            let most = Duration::from_millis(remaining.saturating_sub(250).min(260));
            for asked in ["list", "one", "one that is known", "none"] {
                // Each request is built when it is sent, because its deadline is by the wall clock, which runs.
                let (request, expected) = match asked {
                    "list" => (list(&PATIENT, time), 200),
                    "one" => (one_of(&PATIENT, "phq-9", "1.0.0", "", &[], time), 200),
                    "none" => (one_of(&PATIENT, "phq-9", "9.9.9", "", &[], time), 404),
                    _ => (one_of(&PATIENT, "phq-9", "1.0.0", "", &[("if-none-match", "*")], time), 304),
                };
                let start = Instant::now();
                let (status, _, _) = send(&world, request).await;
                assert!(start.elapsed() <= most, "{case}: {:?}", start.elapsed());
                // The count is dispensable.
                let expected = if remaining > 250 { expected } else { 503 };
                assert_eq!(status, expected, "{case}");
            }
        }
        let world = World::new();
        world.inject_into("GetItem RecordsTable", usize::MAX, Fault::Stall);
        let start = Instant::now();
        let (status, headers, problem) = send(&world, list(&PATIENT, Duration::from_millis(remaining))).await;
        assert!(start.elapsed() <= Duration::from_millis(remaining.saturating_sub(250)), "{remaining}");
        assert_eq!((status, &problem["type"]), (503, &json!("urn:epro:problem:not-done")), "{remaining}");
        assert_eq!(headers["retry-after"], "1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_lists_its_own_instruments_and_an_earlier_one_can_still_be_shown() {
    let world = World::new();
    let phq_2 = Catalog::shipped().find(&"phq-2".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    let diary = phq_2.json().replacen("\"phq-2\"", "\"own-diary\"", 1);
    world.put_instrument(&diary).await;
    let rules = json!([{"id": "watch", "severity": "info", "when": {"score": {"of": "total", "atLeast": 1}}}]);
    let asked = json!([
        {"id": "own-diary", "version": "1.0.0"},
        {"id": "gad-7", "version": "1.0.0", "rules": rules},
    ]);
    world.put_study(json!({"instruments": asked})).await;
    let (_, _, body) = send(&world, list(&PATIENT, PLENTY)).await;
    let listed: Vec<&Value> = body["instruments"].as_array().unwrap().iter().map(|listed| &listed["id"]).collect();
    assert_eq!(listed, ["own-diary", "gad-7"]);
    assert_eq!(send(&world, one("own-diary", "1.0.0", "", &[])).await.0, 200);
    assert_eq!(send(&world, one("phq-9", "1.0.0", "", &[])).await.0, 200, "asked once, perhaps");
    // Its content is that of its hash, without the study's rules.
    let (_, headers, gad_7) = send(&world, one("gad-7", "1.0.0", "", &[])).await;
    let shipped = Catalog::shipped().find(&"gad-7".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    assert_eq!(headers["etag"], format!("\"{}-en\"", shipped.hash()));
    assert_eq!(gad_7["rules"].as_array().unwrap().len(), shipped.definition().rules.len());
    // It does not exist for another study.
    let request = one_of(&[("study", "OTHER")], "own-diary", "1.0.0", "", &[], PLENTY);
    assert_eq!(send(&world, request).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_not_stored_asks_nothing_unless_the_deployment_is_open() {
    let world = World::new();
    let requests = || [list(&PATIENT, PLENTY), one("phq-9", "1.0.0", "", &[])];
    for request in requests() {
        let response = Instruments::new(world.closed_store()).handle(request).await.unwrap();
        assert_eq!(response.status(), 403);
    }
    world.put_study(json!({})).await;
    for request in requests() {
        let response = Instruments::new(world.closed_store()).handle(request).await.unwrap();
        assert_eq!(response.status(), 200);
    }
}
