//! Submissions to studies, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::instruments::Catalog;
use harness::{Call, Fault, World, claims, request};
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use submit::Submit;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(10);

fn submission(instrument: &str, version: &str, answers: Value) -> Value {
    let authored_at = OffsetDateTime::UNIX_EPOCH.format(&Rfc3339).unwrap();
    let id = Uuid::now_v7().to_string();
    json!({"id": id, "instrument": instrument, "version": version, "authoredAt": authored_at, "answers": answers})
}

fn post(site: &str, body: &Value) -> Request {
    let claims = claims(&[("sites", site)]);
    request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY)
}

async fn send(submit: &Submit, request: Request) -> (u16, Value) {
    let response = submit.handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

async fn send_to(world: &World, site: &str, body: &Value) -> (u16, Value) {
    send(&Submit::new(world.store()), post(site, body)).await
}

fn found(problem: &Value) -> (&str, &str) {
    let error = &problem["errors"][0];
    (error["code"].as_str().unwrap(), error["detail"].as_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn only_instruments_that_the_study_asks_at_the_site_are_accepted() {
    let world = World::new();
    let site = |id: &str| json!({"id": id, "name": id, "timeZone": "Europe/Berlin"});
    world
        .put_study(json!({
            "sites": [site("S01"), site("S02")],
            "instruments": [
                {"id": "phq-9", "version": "1.0.0"},
                {"id": "gad-7", "version": "1.0.0", "sites": ["S02"]},
            ],
        }))
        .await;
    let (phq_9, gad_7) = (submission("phq-9", "1.0.0", json!({})), submission("gad-7", "1.0.0", json!({})));
    assert_eq!(send_to(&world, "S01", &phq_9).await.0, 202);
    assert_eq!(send_to(&world, "S02", &gad_7).await.0, 202);

    let (status, problem) = send_to(&world, "S01", &submission("gad-7", "1.0.0", json!({}))).await;
    assert_eq!((status, found(&problem).0), (422, "instrument.not-at-site"));
    let (status, problem) = send_to(&world, "S01", &submission("phq-2", "1.0.0", json!({}))).await;
    assert_eq!((status, found(&problem)), (422, ("instrument.unknown", "the study does not ask such an instrument")));
    let (_, problem) = send_to(&world, "S01", &submission("phq-9", "1.1.0", json!({}))).await;
    let expected = "the study does not ask this version of the instrument; it asks 1.0.0";
    assert_eq!(found(&problem), ("instrument.version-unknown", expected));
    let (status, problem) = send_to(&world, "S03", &submission("phq-9", "1.0.0", json!({}))).await;
    assert_eq!((status, &problem["type"]), (403, &json!("urn:epro:problem:forbidden")));
    assert_eq!(world.items("submission").len(), 2, "what was refused was not stored");
}

#[tokio::test(start_paused = true)]
async fn a_submission_keeps_the_version_of_the_study_that_accepted_it() {
    let world = World::new();
    let of_none = submission("phq-9", "1.0.0", json!({}));
    assert_eq!(send_to(&world, "S01", &of_none).await.0, 202);
    assert_eq!(world.items("submission")[0].get("study_version"), None);
    world.put_study(json!({"version": "1.4.0"})).await;
    let of_study = submission("phq-9", "1.0.0", json!({}));
    assert_eq!(send_to(&world, "S01", &of_study).await.0, 202);
    world.put_study(json!({"version": "1.5.0"})).await;
    let items = world.items("submission");
    let kept = &items.iter().find(|item| item["id"] == of_study["id"]).unwrap()["study_version"];
    let put = world.items("study").into_iter().find(|study| study["version"] == "1.4.0").unwrap();
    assert_eq!(*kept, json!({"version": "1.4.0", "hash": put["hash"]}));
    assert_eq!(send_to(&world, "S01", &of_study).await.0, 200, "and it is read back");
}

#[tokio::test(start_paused = true)]
async fn a_studys_own_instrument_is_accepted_by_its_own_rules() {
    let world = World::new();
    let phq_2 = Catalog::shipped().find(&"phq-2".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    world.put_instrument(&phq_2.json().replacen("\"phq-2\"", "\"own-diary\"", 1)).await;
    world.put_study(json!({"instruments": [{"id": "own-diary", "version": "1.0.0"}]})).await;
    assert_eq!(send_to(&world, "S01", &submission("own-diary", "1.0.0", json!({"1": 3, "2": 3}))).await.0, 202);
    let (status, problem) = send_to(&world, "S01", &submission("own-diary", "1.0.0", json!({"1": 4}))).await;
    assert_eq!((status, found(&problem).0), (422, "item.code"));
    // It does not exist for other studies.
    let others = claims(&[("study", "OTHER")]);
    let body = submission("own-diary", "1.0.0", json!({})).to_string();
    let other = request("POST /v1/submissions", &[], "", Some(others), Some(&body), PLENTY);
    assert_eq!(send(&Submit::new(world.store()), other).await.0, 422);
}

#[tokio::test(start_paused = true)]
async fn a_study_is_read_once_a_minute_and_stays_in_force_while_it_cannot_be_read() {
    let world = World::new();
    world.put_study(json!({})).await;
    let submit = Submit::new(world.store());
    let of_study = |call: &Call| call.body["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("STUDY#"));
    let reads = || world.calls().iter().filter(|call| of_study(call)).count();
    for _ in 0..3 {
        assert_eq!(send(&submit, post("S01", &submission("phq-9", "1.0.0", json!({})))).await.0, 202);
    }
    assert_eq!(reads(), 1);
    let gad_7 = json!([{"id": "gad-7", "version": "1.0.0"}]);
    world.put_study(json!({"version": "1.1.0", "instruments": gad_7})).await;
    tokio::time::advance(Duration::from_secs(61)).await;
    world.inject(move |call| of_study(call).then_some(Fault::Stall));
    assert_eq!(send(&submit, post("S01", &submission("phq-9", "1.0.0", json!({})))).await.0, 202);
    world.heal();
    assert_eq!(send(&submit, post("S01", &submission("phq-9", "1.0.0", json!({})))).await.0, 202, "not asked at once");
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(send(&submit, post("S01", &submission("phq-9", "1.0.0", json!({})))).await.0, 422);
    assert_eq!(send(&submit, post("S01", &submission("gad-7", "1.0.0", json!({})))).await.0, 202);
    let known = reads();
    assert_eq!(send(&submit, post("S01", &submission("gad-7", "1.0.0", json!({})))).await.0, 202);
    assert_eq!(reads(), known);
}

#[tokio::test(start_paused = true)]
async fn a_study_that_cannot_be_read_is_reported_and_nothing_is_stored() {
    let world = World::new();
    world.put_study(json!({})).await;
    world.tamper("study", "json", "{}");
    let (status, problem) = send_to(&world, "S01", &submission("phq-9", "1.0.0", json!({}))).await;
    assert_eq!((status, &problem["type"]), (500, &json!("urn:epro:problem:internal")));
    assert!(world.items("submission").is_empty());
}
