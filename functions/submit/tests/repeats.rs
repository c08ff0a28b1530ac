//! Repeats of stored submissions that the study does not accept any more.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::instruments::Catalog;
use harness::{Fault, World, claims, request};
use lambda_http::Body;
use serde_json::{Value, json};
use submit::Submit;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(10);
const ALONE: &str = "POST /v1/submissions";
const BATCH: &str = "POST /v1/submissions/batch";
const FHIR: &str = "POST /v1/fhir/QuestionnaireResponse";

/// Instruments and their versions.
type Instruments<'a> = &'a [(&'a str, &'a str)];

fn submission(instrument: &str) -> Value {
    json!({
        "id": Uuid::now_v7().to_string(), "instrument": instrument, "version": "1.0.0",
        "authoredAt": "2026-11-01T07:58:03+08:00", "answers": {"1": 1, "2": 0},
    })
}

/// The same submission as FHIR R4.
fn in_fhir(submission: &Value) -> Value {
    let answer = |item: &str| json!({"linkId": item, "answer": [{"valueInteger": submission["answers"][item].as_i64().unwrap()}]});
    json!({
        "resourceType": "QuestionnaireResponse", "status": "completed", "authored": submission["authoredAt"],
        "questionnaire": format!("https://epro.example/Questionnaire/{}|1.0.0", submission["instrument"].as_str().unwrap()),
        "identifier": {"value": format!("urn:uuid:{}", submission["id"].as_str().unwrap())},
        "item": [answer("1"), answer("2")],
    })
}

async fn send_as(world: &World, token: &[(&str, &str)], route: &str, body: &Value) -> (u16, Value) {
    let request = request(route, &[], "", Some(claims(token)), Some(&body.to_string()), PLENTY);
    let response = Submit::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

async fn send(world: &World, body: &Value) -> (u16, Value) {
    send_as(world, &[], ALONE, body).await
}

/// The results of a batch: the status, and the receipt or problem, of each entry.
async fn send_batch(world: &World, entries: &[Value]) -> Vec<(u64, Value)> {
    let (status, answer) = send_as(world, &[], BATCH, &json!(entries)).await;
    assert_eq!(status, 207, "{answer}");
    let of = |result: &Value| {
        let body = result.get("receipt").or(result.get("problem")).unwrap().clone();
        (result["status"].as_u64().unwrap(), body)
    };
    answer["results"].as_array().unwrap().iter().map(of).collect()
}

/// A study that asks the `instruments`, at the `sites`.
async fn put_study(world: &World, version: &str, instruments: Instruments<'_>, sites: &[&str]) {
    let instruments: Vec<Value> =
        instruments.iter().map(|(id, version)| json!({"id": id, "version": version})).collect();
    let sites: Vec<Value> = sites.iter().map(|id| json!({"id": id, "name": id, "timeZone": "Europe/Berlin"})).collect();
    world.put_study(json!({"version": version, "instruments": instruments, "sites": sites})).await;
}

#[tokio::test(start_paused = true)]
async fn a_repeat_gets_its_receipt_after_the_study_dropped_its_instrument_or_its_site() {
    // The study changed to only another instrument, another version, or another site.
    let changes: [(Instruments<'_>, &[&str], u16); 3] = [
        (&[("gad-7", "1.0.0")], &["S01"], 422),
        (&[("own-diary", "2.0.0")], &["S01"], 422),
        (&[("own-diary", "1.0.0")], &["S02"], 403),
    ];
    let phq_2 = Catalog::shipped().find(&"phq-2".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    let own = phq_2.json().replacen("\"phq-2\"", "\"own-diary\"", 1);
    for (instruments, sites, refused) in changes {
        let world = World::new();
        world.put_instrument(&own).await;
        world.put_instrument(&own.replacen("\"version\":\"1.0.0\"", "\"version\":\"2.0.0\"", 1)).await;
        put_study(&world, "1.0.0", &[("own-diary", "1.0.0")], &["S01"]).await;
        let body = submission("own-diary");
        let (status, receipt) = send(&world, &body).await;
        assert_eq!(status, 202, "{receipt}");
        put_study(&world, "2.0.0", instruments, sites).await;

        assert_eq!(send(&world, &body).await, (200, receipt.clone()), "{instruments:?}");
        assert_eq!(send_as(&world, &[], FHIR, &in_fhir(&body)).await, (200, receipt.clone()), "{instruments:?}");
        let mut changed = body.clone();
        changed["answers"]["1"] = json!(2);
        let mut broken = body.clone();
        broken["answers"]["1"] = json!(9);
        let mut other = body.clone();
        other["instrument"] = json!("phq-2");
        let fresh = submission("own-diary");
        let entries = [fresh.clone(), body, changed.clone(), broken, other, json!(7)];
        let results = send_batch(&world, &entries).await;
        let statuses: Vec<u64> = results.iter().map(|(status, _)| *status).collect();
        let no_submission = u64::from(refused);
        let expected = [u64::from(refused), 200, 409, 422, 409, no_submission];
        assert_eq!(statuses, expected, "{results:?}");
        assert_eq!(results[1].1, receipt);
        assert_eq!(results[2].1["type"], "urn:epro:problem:submission-conflict");
        assert_eq!(results[3].1["errors"][0]["pointer"], "/answers/1");
        for (body, status) in [(&fresh, refused), (&changed, 409)] {
            assert_eq!(send(&world, body).await.0, status);
            let (in_fhir, outcome) = send_as(&world, &[], FHIR, &in_fhir(body)).await;
            assert_eq!((in_fhir, &outcome["resourceType"]), (status, &json!("OperationOutcome")));
        }
        assert_eq!(world.items("submission").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_correction_gets_its_receipt_after_the_study_dropped_its_instrument() {
    let world = World::new();
    put_study(&world, "1.0.0", &[("phq-2", "1.0.0")], &["S01"]).await;
    let original = submission("phq-2");
    let mut correction = submission("phq-2");
    correction["amends"] = original["id"].clone();
    correction["reason"] = json!("wrong week");
    assert_eq!(send(&world, &original).await.0, 202);
    let (_, receipt) = send(&world, &correction).await;
    put_study(&world, "2.0.0", &[("gad-7", "1.0.0")], &["S01"]).await;
    assert_eq!(send(&world, &correction).await, (200, receipt));
}

#[tokio::test(start_paused = true)]
async fn a_repeat_by_another_patient_is_refused_as_before() {
    let world = World::new();
    put_study(&world, "1.0.0", &[("phq-2", "1.0.0")], &["S01"]).await;
    let body = submission("phq-2");
    assert_eq!(send(&world, &body).await.0, 202);
    put_study(&world, "2.0.0", &[("gad-7", "1.0.0")], &["S01"]).await;
    assert_eq!(send_as(&world, &[("patient", "P-002")], ALONE, &body).await.0, 422);
}

#[tokio::test(start_paused = true)]
async fn accepted_and_invalid_submissions_are_not_looked_up() {
    let world = World::new();
    put_study(&world, "1.0.0", &[("phq-2", "1.0.0")], &["S01"]).await;
    let submit = Submit::new(world.store());
    let body = submission("phq-2");
    let mut broken = body.clone();
    broken["answers"]["1"] = json!(9);
    let mut unknown = body.clone();
    unknown["id"] = json!("7");
    unknown["instrument"] = json!("gad-7");
    for (body, status) in [(&body, 202), (&body, 200), (&broken, 422), (&unknown, 422)] {
        let request = request(ALONE, &[], "", Some(claims(&[])), Some(&body.to_string()), PLENTY);
        assert_eq!(submit.handle(request).await.unwrap().status(), status);
    }
    assert_eq!(world.count_calls("GetItem RecordsTable"), 1 + 4, "the study, and the registration each time");
}

#[tokio::test(start_paused = true)]
async fn a_repeat_is_not_refused_while_the_stored_submission_cannot_be_read() {
    let world = World::new();
    put_study(&world, "1.0.0", &[("phq-2", "1.0.0")], &["S01"]).await;
    let body = submission("phq-2");
    assert_eq!(send(&world, &body).await.0, 202);
    put_study(&world, "2.0.0", &[("gad-7", "1.0.0")], &["S01"]).await;
    world.inject(|call| {
        let key = call.body["Key"]["sk"]["S"].as_str().unwrap_or_default();
        key.starts_with("SUBMISSION#").then_some(Fault::Stall)
    });
    let (status, problem) = send(&world, &body).await;
    assert_eq!((status, &problem["type"]), (503, &json!("urn:epro:problem:not-done")));
}
