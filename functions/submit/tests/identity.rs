//! Who sent a submission and who read it, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use harness::{World, claims, request};
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
async fn a_submission_keeps_the_tokens_sub_and_issuer_and_the_request_that_brought_it() {
    let world = World::new();
    let mut request = post(&submission(), &[("sub", "u-7"), ("iss", "https://one.example/")]);
    request.headers_mut().insert("x-correlation-id", "c-7".parse().unwrap());
    let request_id = request.lambda_context_ref().unwrap().request_id.clone();
    let (status, receipt) = send(&world, request).await;
    let stored = &world.items("submission")[0];
    let kept = ["sub", "iss", "request_id", "correlation_id"].map(|name| stored[name].as_str().unwrap());
    assert_eq!((status, kept), (202, ["u-7", "https://one.example/", &request_id, "c-7"]));
    // A repeat by another login of the same patient is a repeat, and changes nothing of who sent it.
    let again = post(&submission(), &[("sub", "u-8"), ("iss", "https://two.example/")]);
    assert_eq!(send(&world, again).await, (200, receipt));
    assert_eq!(&world.items("submission")[0], stored);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_names_nobody_stores_nothing() {
    for (claim, value) in [("sub", ""), ("sub", " "), ("sub", "<nil>"), ("sub", "null"), ("iss", ""), ("iss", "<nil>")]
    {
        let world = World::new();
        let (status, problem) = send(&world, post(&submission(), &[(claim, value)])).await;
        assert_eq!((status, &problem["type"]), (401, &json!("urn:epro:problem:unauthenticated")), "{claim} {value:?}");
        assert_eq!(world.calls(), [], "{claim} {value:?}");
    }
}
