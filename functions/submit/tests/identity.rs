//! The identities of senders and readers, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use harness::{Fault, World, claims, request};
use lambda_http::{Body, Request, RequestExt};
use serde_json::{Value, json};
use submit::Submit;

const ID: &str = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e";
const PLENTY: Duration = Duration::from_secs(10);

fn submission() -> Value {
    json!({
        "id": ID, "instrument": "phq-9", "version": "1.0.0", "authoredAt": "2026-11-01T07:58:03+08:00",
        "answers": {"1": 1, "2": 0},
    })
}

fn post(body: &Value, changes: &[(&str, &str)]) -> Request {
    request("POST /v1/submissions", &[], "", Some(claims(changes)), Some(&body.to_string()), PLENTY)
}

async fn send(world: &World, request: Request) -> (u16, Value) {
    let response = Submit::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_submission_keeps_the_tokens_sub_and_issuer_and_the_ids_of_its_request() {
    let world = World::new();
    let mut request = post(&submission(), &[("sub", "u-7"), ("iss", "https://one.example/")]);
    request.headers_mut().insert("x-correlation-id", "c-7".parse().unwrap());
    let (status, receipt) = send(&world, request).await;
    let stored = &world.items("submission")[0];
    let kept = ["sub", "iss", "correlation_id"].map(|name| stored[name].as_str().unwrap());
    assert_eq!((status, kept), (202, ["u-7", "https://one.example/", "c-7"]));
    // A repeat by another login of the same patient is a repeat, and does not change the sender.
    let again = post(&submission(), &[("sub", "u-8"), ("iss", "https://two.example/")]);
    assert_eq!(send(&world, again).await, (200, receipt));
    assert_eq!(&world.items("submission")[0], stored);
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_subject_stores_nothing() {
    for (claim, value) in [("sub", ""), ("sub", " "), ("sub", "<nil>"), ("sub", "null"), ("iss", ""), ("iss", "<nil>")]
    {
        let world = World::new();
        let (status, problem) = send(&world, post(&submission(), &[(claim, value)])).await;
        assert_eq!((status, &problem["type"]), (401, &json!("urn:epro:problem:unauthenticated")), "{claim} {value:?}");
        assert_eq!(world.calls(), [], "{claim} {value:?}");
    }
}

const STAFF: [(&str, &str); 4] = [("role", "staff"), ("patient", ""), ("sub", "u-9"), ("iss", "https://staff.example")];

fn get(changes: &[(&str, &str)], query: &str) -> Request {
    request("GET /v1/submissions/{id}", &[("id", ID)], query, Some(claims(changes)), None, PLENTY)
}

#[tokio::test(start_paused = true)]
async fn every_read_of_a_submission_is_on_the_audit_trail_with_actor_and_patient() {
    let world = World::new();
    send(&world, post(&submission(), &[])).await;
    assert!(world.items("audit").is_empty(), "to send one reads nothing");
    let mut by_staff = get(&STAFF, "patient=P-001");
    by_staff.headers_mut().insert("x-correlation-id", "c-9".parse().unwrap());
    let request_id = by_staff.lambda_context_ref().unwrap().request_id.clone();
    assert_eq!(send(&world, by_staff).await.0, 200);
    let mut entry = world.items("audit").remove(0);
    let entry = entry.as_object_mut().unwrap();
    entry.retain(|name, _| !["pk", "sk", "kind", "at", "audit_id"].contains(&name.as_str()));
    let expected = json!({
        "action": "submission-read", "study": "DEMO", "site": "S01", "patient": "P-001", "subject": ID,
        "sub": "u-9", "iss": "https://staff.example", "role": "staff", "request_id": request_id, "correlation_id": "c-9",
    });
    assert_eq!(json!(entry), expected);
    // So is a read by the patient, whose phone others may use.
    assert_eq!(send(&world, get(&[], "")).await.0, 200);
    let actions: Vec<_> = world.items("audit").iter().map(|entry| entry["role"].clone()).collect();
    assert_eq!(actions.len(), 2);
    assert!(actions.contains(&json!("patient")));
    // A submission that is not returned was not read.
    let elsewhere = [("role", "staff"), ("patient", ""), ("sites", "S02")];
    for (changes, query) in [(&elsewhere[..], "patient=P-001"), (&STAFF[..], "patient=P-002")] {
        assert_eq!(send(&world, get(changes, query)).await.0, 404);
    }
    assert_eq!(world.items("audit").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_not_returned_without_its_audit_entry() {
    let world = World::new();
    send(&world, post(&submission(), &[])).await;
    for (fault, expected) in
        [(Fault::Stall, 503), (Fault::throttle(), 503), (Fault::error("AccessDeniedException"), 500)]
    {
        world.inject(move |call| {
            let entry = call.name() == "PutItem" && call.body["Item"]["kind"]["S"] == "audit";
            entry.then(|| fault.clone())
        });
        for request in [get(&STAFF, "patient=P-001"), get(&[], "")] {
            let (status, body) = send(&world, request).await;
            assert_eq!((status, body.get("receivedAt")), (expected, None));
        }
        world.heal();
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_not_stored_is_refused_and_nothing_is_stored_unless_the_deployment_is_open() {
    let world = World::new();
    let batch = json!([submission()]).to_string();
    let answers = json!({"resourceType": "QuestionnaireResponse"}).to_string();
    let requests = || {
        let mut fhir =
            request("POST /v1/fhir/QuestionnaireResponse", &[], "", Some(claims(&[])), Some(&answers), PLENTY);
        fhir.headers_mut().insert("content-type", "application/fhir+json".parse().unwrap());
        [
            post(&submission(), &[]),
            request("POST /v1/submissions/batch", &[], "", Some(claims(&[])), Some(&batch), PLENTY),
            fhir,
            request("GET /v1/fhir/Questionnaire/{id}", &[("id", "phq-9")], "", Some(claims(&[])), None, PLENTY),
            get(&STAFF, "patient=P-001"),
            get(&[], ""),
        ]
    };
    for request in requests() {
        let route = request.uri().to_string();
        let is_batch = route.ends_with("/batch");
        let response = Submit::new(world.closed_store()).handle(request).await.unwrap();
        let Body::Text(text) = response.body() else { panic!("answers are text") };
        let body: Value = serde_json::from_str(text).unwrap();
        // A batch is answered entry by entry: one of them may repeat a stored submission.
        let status = if is_batch { &body["results"][0]["status"] } else { &json!(response.status().as_u16()) };
        assert_eq!(status, 403, "{route}");
    }
    assert!(world.items("submission").is_empty() && world.items("audit").is_empty());
    world.put_study(json!({})).await;
    let statuses =
        futures::future::join_all(requests().map(|request| async {
            Submit::new(world.closed_store()).handle(request).await.unwrap().status().as_u16()
        }));
    let statuses = statuses.await;
    assert!(!statuses.contains(&403), "{statuses:?}");
}
