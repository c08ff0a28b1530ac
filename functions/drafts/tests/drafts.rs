//! Drafts, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use drafts::Drafts;
use futures::future::join_all;
use harness::{Fault, RECORDS, World, claims, request};
use lambda_http::http::HeaderValue;
use lambda_http::{Body, Response};
use registry::Registry;
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;

const PLENTY: Duration = Duration::from_secs(10);
const ID: &str = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e";
const PUT: &str = "PUT /v1/drafts/{id}";
const GET: &str = "GET /v1/drafts/{id}";
const ANY: (&str, &str) = ("if-none-match", "*");

/// An answer: its status, its ETag (empty without one), and its body.
type Answered = (u16, String, Value);

fn body(answers: Value) -> Value {
    json!({"instrument": "phq-9", "version": "1.0.0", "answers": answers})
}

fn answered(response: &Response<Body>) -> Answered {
    let Body::Text(body) = response.body() else { panic!("answers are text") };
    let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned());
    (response.status().as_u16(), etag.unwrap_or_default(), serde_json::from_str(body).unwrap())
}

/// Sends a request for the draft ID, as a caller with these `changes` to a patient's token.
async fn send(
    world: &World,
    route: &str,
    changes: &[(&str, &str)],
    headers: &[(&'static str, &str)],
    body: Option<&str>,
    remaining: Duration,
) -> Answered {
    let mut request = request(route, &[("id", ID)], "", Some(claims(changes)), body, remaining);
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::try_from(*value).unwrap());
    }
    answered(&Drafts::new(world.store()).handle(request).await.unwrap())
}

async fn put(world: &World, headers: &[(&'static str, &str)], body: &Value) -> Answered {
    send(world, PUT, &[], headers, Some(&body.to_string()), PLENTY).await
}

async fn get(world: &World) -> Answered {
    send(world, GET, &[], &[], None, PLENTY).await
}

async fn submit(world: &World) -> u16 {
    let mut body = body(json!({"1": 1}));
    (body["id"], body["authoredAt"]) = (ID.into(), "2026-11-23T07:58:03+08:00".into());
    let request = request("POST /v1/submissions", &[], "", Some(claims(&[])), Some(&body.to_string()), PLENTY);
    Submit::new(world.store()).handle(request).await.unwrap().status().as_u16()
}

async fn withdraw(world: &World) {
    let staff = claims(&[("role", "staff"), ("patient", "")]);
    let body = json!({"mode": "stop", "requestedBy": "patient", "reason": "no time", "enrolledOn": "2026-11-01"});
    for (route, names) in [
        ("PUT /v1/patients/{patient}", &["enrolledOn"][..]),
        ("POST /v1/patients/{patient}/withdrawal", &["mode", "requestedBy", "reason"]),
    ] {
        let part: Value = names.iter().map(|name| ((*name).to_owned(), body[*name].clone())).collect();
        let request = request(route, &[("patient", "P-001")], "", Some(staff.clone()), Some(&part.to_string()), PLENTY);
        assert!(Registry::new(world.store()).handle(request).await.unwrap().status().is_success());
    }
}

fn expire(world: &World) {
    let draft = world.items("draft").remove(0);
    world.edit(RECORDS, &draft, |raw| raw["expires_at"] = json!({"N": "1700000000"}));
}

#[tokio::test(start_paused = true)]
async fn a_draft_is_read_as_it_was_put_and_changed_by_who_knows_the_last_one() {
    let world = World::new();
    assert_eq!(get(&world).await.0, 404);
    let mut first = body(json!({"1": 1, "2": null}));
    first["device"] = json!({"app": "diary 4.2.1"});
    let (status, etag, receipt) = put(&world, &[ANY], &first).await;
    assert_eq!((status, &receipt["id"]), (201, &json!(ID)));
    let (status, read_etag, read) = get(&world).await;
    assert_eq!((status, &read_etag), (200, &etag));
    let mut expected = receipt.clone();
    for (name, value) in [
        ("instrument", json!("phq-9")),
        ("version", json!("1.0.0")),
        ("answers", json!({"1": 1})),
        ("device", json!({"app": "diary 4.2.1"})),
    ] {
        expected[name] = value;
    }
    assert_eq!(read, expected);

    let second = body(json!({"1": 1, "2": 3}));
    let (status, changed, _) = put(&world, &[("if-match", &etag)], &second).await;
    assert!(status == 200 && changed != etag && !changed.is_empty(), "{status} {changed}");
    // Whoever has the first one must not overwrite the second, and is told what there is.
    for (headers, expected, kind) in [
        (vec![("if-match", etag.as_str())], 412, "draft-changed"),
        (vec![("if-match", "*")], 412, "draft-changed"),
        (vec![("if-match", "\"other\"")], 412, "draft-changed"),
        (vec![ANY], 412, "draft-changed"),
        (vec![], 428, "if-match-required"),
    ] {
        let (status, current, problem) = put(&world, &headers, &body(json!({"1": 0}))).await;
        assert_eq!((status, &current), (expected, &changed), "{headers:?}");
        assert_eq!(problem["type"], format!("urn:epro:problem:{kind}"), "{headers:?}");
        assert!(problem["detail"].as_str().unwrap().contains("If-Match"), "{problem}");
    }
    assert_eq!(get(&world).await.2["answers"], json!({"1": 1, "2": 3}));
    assert_eq!(world.items("draft").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn promise_7_the_repeat_of_a_put_whose_answer_was_lost_settles_it() {
    let (first, second) = (body(json!({"1": 1})), body(json!({"1": 2})));
    for fault in [Fault::ApplyAndCut, Fault::ApplyAndStall, Fault::ApplyAndFail, Fault::ApplyTwice] {
        let world = World::new();
        let is_answered = matches!(fault, Fault::ApplyTwice);
        for (content, is_first) in [(&first, true), (&second, false)] {
            let etag = get(&world).await.1;
            let headers = if is_first { vec![] } else { vec![("if-match", etag.as_str())] };
            let injected = fault.clone();
            world.inject(move |call| (call.operation == "PutItem RecordsTable").then(|| injected.clone()));
            let (status, answered, problem) = put(&world, &headers, content).await;
            world.heal();
            let (expected, done) = if is_first { (201, "1") } else { (200, "2") };
            let stored = get(&world).await;
            if is_answered {
                assert_eq!((status, answered), (expected, stored.1.clone()), "{fault:?}");
            } else {
                assert_eq!(problem["type"], "urn:epro:problem:outcome-unknown", "{fault:?}: {status}");
            }
            let repeated = put(&world, &headers, content).await;
            assert_eq!((repeated.0, &repeated.1), (200, &stored.1), "{fault:?}");
            assert_eq!(stored.2["answers"]["1"].to_string(), done, "{fault:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_devices_that_change_the_same_draft_one_is_told_of_the_other() {
    let world = World::new();
    let etag = put(&world, &[], &body(json!({}))).await.1;
    let contents: Vec<Value> = (0..4).map(|code| body(json!({"1": code}))).collect();
    let headers = [("if-match", etag.as_str())];
    let answers = join_all(contents.iter().map(|content| put(&world, &headers, content))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|(status, ..)| *status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412]);
    // A draft that was changed back is not taken for the one before.
    let current = get(&world).await.1;
    let back = put(&world, &[("if-match", &current)], &body(json!({}))).await;
    assert_eq!((back.0, back.1 == etag), (200, false));
    assert_eq!(put(&world, &headers, &body(json!({"1": 3}))).await.0, 412);
}

#[tokio::test(start_paused = true)]
async fn the_same_content_again_writes_nothing() {
    let world = World::new();
    let (_, etag, receipt) = put(&world, &[ANY], &body(json!({"1": 1, "2": 0}))).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let other_form = r#"{"version":"1.0.0","answers":{"2":0,"3":null,"1":1},"instrument":"phq-9"}"#;
    for headers in [vec![], vec![ANY], vec![("if-match", etag.as_str())]] {
        let again = send(&world, PUT, &[], &headers, Some(other_form), PLENTY).await;
        assert_eq!(again, (200, etag.clone(), receipt.clone()), "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_draft_is_gone_once_its_submission_is_stored() {
    let world = World::new();
    let (_, etag, _) = put(&world, &[], &body(json!({"1": 1}))).await;
    assert_eq!(submit(&world).await, 202);
    let (status, tag, problem) = get(&world).await;
    assert_eq!((status, tag.as_str(), &problem["type"]), (410, "", &json!("urn:epro:problem:draft-gone")));
    assert!(problem["detail"].as_str().unwrap().contains("was submitted"), "{problem}");
    for headers in [vec![], vec![ANY], vec![("if-match", etag.as_str())]] {
        let (status, _, problem) = put(&world, &headers, &body(json!({"1": 2}))).await;
        assert_eq!((status, &problem["type"]), (409, &json!("urn:epro:problem:draft-submitted")), "{headers:?}");
    }
    // The row stays until DynamoDB removes it: no function may.
    assert_eq!(world.items("draft").len(), 1);
    assert!(world.calls().iter().all(|call| !call.operation.contains("Delete")));
}

#[tokio::test(start_paused = true)]
async fn a_put_that_meets_the_submission_is_not_seen_afterwards() {
    let world = World::new();
    let content = body(json!({"1": 1}));
    let (put, submitted) = futures::join!(put(&world, &[], &content), submit(&world));
    assert_eq!(submitted, 202);
    assert!([201, 409].contains(&put.0), "{put:?}");
    assert_eq!(get(&world).await.0, 410);
}

#[tokio::test(start_paused = true)]
async fn a_draft_expires_thirty_days_after_its_last_change_whether_dynamodb_has_removed_it_or_not() {
    let world = World::new();
    let content = body(json!({"1": 1}));
    let (_, etag, receipt) = put(&world, &[ANY], &content).await;
    let item = world.items("draft").remove(0);
    let at = |name: &str| receipt[name].as_str().unwrap()[..10].to_owned();
    assert!(at("expiresAt") > at("changedAt"), "{receipt}");
    assert!(item["expires_at"].is_number(), "DynamoDB's time to live goes by seconds since 1970: {item}");
    expire(&world);
    assert_eq!(get(&world).await.0, 404);
    let (status, tag, _) = put(&world, &[("if-match", &etag)], &body(json!({"1": 2}))).await;
    assert_eq!((status, tag.as_str()), (412, ""), "there is nothing to change any more");
    let (status, anew, _) = put(&world, &[ANY], &content).await;
    assert_eq!((status, get(&world).await.1 == anew, anew == etag), (201, true, false));
    world.remove(RECORDS, &world.items("draft")[0]);
    assert_eq!(put(&world, &[("if-match", &anew)], &content).await.0, 412);
}

#[tokio::test(start_paused = true)]
async fn the_draft_of_a_patient_who_has_withdrawn_is_not_stored() {
    let world = World::new();
    let (_, etag, _) = put(&world, &[], &body(json!({"1": 1}))).await;
    withdraw(&world).await;
    let (status, _, problem) = put(&world, &[("if-match", &etag)], &body(json!({"1": 2}))).await;
    assert_eq!((status, &problem["type"]), (403, &json!("urn:epro:problem:patient-withdrawn")));
    // What was begun before may be submitted still, so that the app may read it.
    assert_eq!(get(&world).await.2["answers"], json!({"1": 1}));
}

#[tokio::test(start_paused = true)]
async fn a_patient_who_must_be_enrolled_first_has_no_draft() {
    let world = World::new();
    world.put_study(json!({"enrolment": "required"})).await;
    let (status, _, problem) = put(&world, &[], &body(json!({}))).await;
    assert_eq!((status, &problem["type"]), (403, &json!("urn:epro:problem:patient-not-enrolled")));
}

#[tokio::test(start_paused = true)]
async fn what_is_there_must_have_its_type_and_may_be_unfinished() {
    let world = World::new();
    world.put_study(json!({"instruments": [{"id": "pain-nrs", "version": "1.0.0"}]})).await;
    let of = |changes: &[(&str, Value)]| {
        let mut body = json!({"instrument": "pain-nrs", "version": "1.0.0"});
        for (name, value) in changes {
            body[*name] = value.clone();
        }
        body
    };
    for (changes, pointer, code) in [
        (vec![("answers", json!({"1": "x"}))], "/answers/1", "item.type"),
        (vec![("answers", json!({"1": {"a": 1}}))], "/answers/1", "item.type"),
        (vec![("answers", json!({"9": 1}))], "/answers/9", "item.unknown"),
        (vec![("answers", json!([1]))], "/answers", "field.type"),
        (vec![("instrument", json!("phq-9"))], "/instrument", "instrument.unknown"),
        (vec![("version", json!("9.9.9"))], "/version", "instrument.version-unknown"),
        (vec![("instrument", Value::Null)], "/instrument", "field.required"),
        (vec![("id", json!("0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0f"))], "/id", "id.other"),
        (vec![("device", json!({"app": "a".repeat(201)}))], "/device/app", "field.too-long"),
        (vec![("authoredAt", json!("2026-11-23T07:58:03+08:00"))], "/authoredAt", "field.unknown"),
    ] {
        let (status, _, problem) = put(&world, &[], &of(&changes)).await;
        assert_eq!(status, 422, "{changes:?}");
        let errors: Vec<_> =
            problem["errors"].as_array().unwrap().iter().map(|e| (&e["pointer"], &e["code"])).collect();
        assert_eq!(errors, [(&json!(pointer), &json!(code))], "{changes:?}");
    }
    assert_eq!(send(&world, PUT, &[], &[], Some("[]"), PLENTY).await.0, 422);
    assert_eq!(send(&world, PUT, &[], &[], Some(r#"{"answers":{"1":1,"1":2}}"#), PLENTY).await.0, 422);
    let large = of(&[("answers", json!({"1": "x".repeat(256 * 1024)}))]).to_string();
    assert_eq!(send(&world, PUT, &[], &[], Some(&large), PLENTY).await.0, 413);
    assert!(world.items("draft").is_empty());
    // Out of range, and nothing at all.
    let (status, etag, _) = put(&world, &[], &of(&[("answers", json!({"1": 77}))])).await;
    assert_eq!(status, 201);
    assert_eq!(put(&world, &[("if-match", &etag)], &of(&[("id", json!(ID))])).await.0, 200);
    assert_eq!(get(&world).await.2["answers"], json!({}));
}

#[tokio::test(start_paused = true)]
async fn promise_9_a_draft_is_its_patients_alone() {
    let world = World::new();
    let content = body(json!({"1": 1})).to_string();
    assert_eq!(send(&world, PUT, &[], &[], Some(&content), PLENTY).await.0, 201);
    for role in ["staff", "clinician", "service", "monitor", "data-manager"] {
        let caller = [("role", role), ("patient", "")];
        assert_eq!(send(&world, GET, &caller, &[], None, PLENTY).await.0, 403, "{role}");
        assert_eq!(send(&world, PUT, &caller, &[], Some(&content), PLENTY).await.0, 403, "{role}");
    }
    assert_eq!(send(&world, GET, &[("scope", "submissions:write")], &[], None, PLENTY).await.0, 403);
    assert_eq!(send(&world, PUT, &[("scope", "submissions:read")], &[], Some(&content), PLENTY).await.0, 403);
    // Another patient has a draft of the same id of its own.
    let other = [("patient", "P-002")];
    assert_eq!(send(&world, GET, &other, &[], None, PLENTY).await.0, 404);
    assert_eq!(send(&world, PUT, &other, &[ANY], Some(&content), PLENTY).await.0, 201);
    assert_eq!(world.items("draft").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn promise_6_a_store_that_never_answers_costs_the_deadline_and_no_more() {
    for (route, operation, expected) in [
        (PUT, "BatchGetItem RecordsTable", 503),
        (PUT, "PutItem RecordsTable", 503),
        (GET, "BatchGetItem RecordsTable", 503),
    ] {
        let world = World::new();
        world.inject(move |call| (call.operation == operation).then_some(Fault::Stall));
        let began = Instant::now();
        let content = (route == PUT).then(|| body(json!({"1": 1})).to_string());
        let (status, _, problem) = send(&world, route, &[], &[], content.as_deref(), Duration::from_secs(3)).await;
        assert_eq!(status, expected, "{route} {operation}: {problem}");
        assert!(began.elapsed() <= Duration::from_millis(2_750), "{route} {operation}: {:?}", began.elapsed());
    }
    let world = World::new();
    world.inject(|call| (call.operation == "PutItem RecordsTable").then(|| Fault::error("AccessDeniedException")));
    assert_eq!(put(&world, &[], &body(json!({}))).await.0, 500);
}

#[tokio::test(start_paused = true)]
async fn a_put_costs_one_read_and_one_write_and_a_get_one_read() {
    let world = World::new();
    put(&world, &[], &body(json!({}))).await;
    let of_records = |name: &str| world.count_calls(&format!("{name} {RECORDS}"));
    assert_eq!((of_records("BatchGetItem"), of_records("PutItem")), (1, 1));
    get(&world).await;
    assert_eq!((of_records("BatchGetItem"), of_records("PutItem")), (2, 1));
    assert!(world.calls().iter().all(|call| call.name() != "TransactWriteItems" || call.operation.contains("Counts")));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_scored_or_listed_of_a_draft() {
    let world = World::new();
    put(&world, &[], &body(json!({"9": 3}))).await;
    assert!(world.stream().is_empty(), "no submission is inserted");
    // The mapping passes none of these; nor does the function take them for a submission.
    let item = world.items("draft").remove(0);
    let keys = json!({"pk": {"S": item["pk"]}, "sk": {"S": item["sk"]}});
    let mut image = keys.clone();
    for name in ["kind", "content", "changed_at"] {
        image[name] = json!({"S": item[name]});
    }
    image["expires_at"] = json!({"N": item["expires_at"].to_string()});
    let record = |event: &str, image_name: &str| {
        let mut record = json!({"eventName": event, "dynamodb": {"Keys": keys, "SequenceNumber": "1"}});
        record["dynamodb"][image_name] = image.clone();
        record
    };
    let mut removal = record("REMOVE", "OldImage");
    removal["userIdentity"] = json!({"type": "Service", "principalId": "dynamodb.amazonaws.com"});
    let records = [record("INSERT", "NewImage"), record("MODIFY", "NewImage"), removal];
    assert_eq!(world.score(&records, PLENTY).await, 0);
    assert!(["submission", "profile", "alert", "quarantined"].iter().all(|kind| world.items(kind).is_empty()));
}
