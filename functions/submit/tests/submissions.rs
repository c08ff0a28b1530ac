//! `submit` for the app, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use harness::{Fault, World, claims, request};
use invocation::Deadline;
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;

const ID: &str = "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0e";
const PLENTY: Duration = Duration::from_secs(10);

fn submission() -> Value {
    json!({
        "id": ID, "instrument": "phq-9", "version": "1.0.0", "authoredAt": "2026-11-01T07:58:03+08:00",
        "answers": {"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 0, "10": 0},
        "device": {"app": "diary 4.2.1", "os": "android 16"}, "amends": null, "reason": null,
    })
}

fn with(changes: Value) -> Value {
    let mut submission = submission();
    for (name, value) in changes.as_object().unwrap() {
        submission[name] = value.clone();
    }
    submission
}

fn post(body: &str) -> Request {
    request("POST /v1/submissions", &[], "", Some(claims(&[])), Some(body), PLENTY)
}

fn get(changes: &[(&str, &str)], query: &str) -> Request {
    request("GET /v1/submissions/{id}", &[("id", ID)], query, Some(claims(changes)), None, PLENTY)
}

async fn send(world: &World, request: Request) -> (u16, Value, Response<Body>) {
    let response = Submit::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap(), response)
}

async fn send_body(world: &World, body: &Value) -> (u16, Value) {
    let (status, body, _) = send(world, post(&body.to_string())).await;
    (status, body)
}

fn codes(problem: &Value) -> Vec<(&str, &str)> {
    let errors = problem["errors"].as_array().unwrap();
    errors.iter().map(|error| (error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap())).collect()
}

#[tokio::test(start_paused = true)]
async fn promise_1_a_submission_answered_202_is_stored_as_it_was_sent() {
    let world = World::new();
    let (status, receipt, response) = send(&world, post(&submission().to_string())).await;
    assert_eq!(status, 202);
    assert_eq!(response.headers()["location"], format!("/v1/submissions/{ID}"));
    assert_eq!(receipt["id"], ID);
    assert_eq!(
        (&receipt["status"], &receipt["instrument"], &receipt["version"]),
        (&json!("queued"), &json!("phq-9"), &json!("1.0.0"))
    );
    assert_eq!(response.headers()["x-correlation-id"], receipt["correlationId"].as_str().unwrap());

    let stored = &world.items("submission")[0];
    assert_eq!(stored["answers"], submission()["answers"]);
    assert_eq!(stored["authored_at"], "2026-11-01T07:58:03+08:00");
    assert_eq!(stored["received_at"], receipt["receivedAt"]);
    assert_eq!(
        (&stored["study"], &stored["site"], &stored["patient"]),
        (&json!("DEMO"), &json!("S01"), &json!("P-001"))
    );
    assert_eq!(stored["device"], json!({"app": "diary 4.2.1", "os": "android 16"}));
    assert!(stored["pending"].as_str().unwrap().starts_with("PENDING#"));
}

#[tokio::test(start_paused = true)]
async fn promise_5_the_same_body_again_gets_the_same_receipt() {
    let world = World::new();
    let (_, first) = send_body(&world, &submission()).await;
    let same_meaning = format!(
        r#"{{ "version":"1.0.0", "answers": {{"10":0,"9":0,"8":0,"7":2,"6":1,"5":0,"4":0,"3":1,"2":0,"1":1}},
            "authoredAt":"2026-11-01T07:58:03+08:00", "device":{{"os":"android 16","app":"diary 4.2.1"}},
            "instrument":"phq-9", "id":"{}" }}"#,
        ID.to_uppercase()
    );
    let (status, second, _) = send(&world, post(&same_meaning)).await;
    assert_eq!((status, &second), (200, &first));
    assert_eq!(world.items("submission").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn promise_5_another_body_under_the_same_id_is_refused_and_changes_nothing() {
    let world = World::new();
    send_body(&world, &submission()).await;
    let before = world.items("submission");
    for changed in [
        json!({"answers": {"1": 2}}),
        json!({"authoredAt": "2026-11-01T07:58:04+08:00"}),
        json!({"authoredAt": "2026-11-01T08:58:03+09:00"}),
        json!({"instrument": "gad-7", "answers": {}}),
        json!({"device": {"app": "diary 4.2.2", "os": "android 16"}}),
        json!({"device": null}),
        json!({"amends": "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0f", "reason": "typing error"}),
    ] {
        let (status, problem) = send_body(&world, &with(changed.clone())).await;
        assert_eq!((status, &problem["type"]), (409, &json!("urn:epro:problem:submission-conflict")), "{changed}");
    }
    assert_eq!(world.items("submission"), before);
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_the_sdk_that_finds_its_own_write_counts_as_the_first_time() {
    for fault in [Fault::ApplyAndCut, Fault::ApplyTwice, Fault::ApplyAndStall] {
        let world = World::new();
        world.inject_into("PutItem RecordsTable", 1, fault.clone());
        let (status, _) = send_body(&world, &submission()).await;
        assert_eq!((status, world.items("submission").len()), (202, 1), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transient_fault_of_the_store_is_invisible_to_the_patient() {
    for fault in [Fault::Cut, Fault::throttle(), Fault::internal(), Fault::Stall] {
        let world = World::new();
        world.inject_into("PutItem RecordsTable", 2, fault.clone());
        assert_eq!(send_body(&world, &submission()).await.0, 202, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_7_a_write_that_is_cut_off_is_unknown_and_its_repeat_settles_it() {
    for (fault, then) in
        [(Fault::ApplyAndStall, 200), (Fault::ApplyAndCut, 200), (Fault::Stall, 202), (Fault::internal(), 202)]
    {
        let world = World::new();
        world.inject_into("PutItem RecordsTable", usize::MAX, fault.clone());
        let (status, problem, response) = send(&world, post(&submission().to_string())).await;
        assert_eq!((status, &problem["type"]), (503, &json!("urn:epro:problem:outcome-unknown")), "{fault:?}");
        assert_eq!(response.headers()["retry-after"], "1");
        assert!(problem["detail"].as_str().unwrap().contains("same id"));
        world.heal();
        assert_eq!(send_body(&world, &submission()).await.0, then, "{fault:?}");
        assert_eq!(world.items("submission").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_store_is_answered_500_without_its_reason() {
    let world = World::new();
    world.inject_into("PutItem RecordsTable", 1, Fault::error("AccessDeniedException"));
    let (status, problem) = send_body(&world, &submission()).await;
    assert_eq!((status, &problem["type"]), (500, &json!("urn:epro:problem:internal")));
    assert!(!problem.to_string().contains("AccessDenied"));
}

#[tokio::test(start_paused = true)]
async fn each_validation_error_has_its_pointer_and_nothing_is_written() {
    let cases = [
        (json!({"id": "not-a-uuid"}), ("/id", "id.not-a-uuid")),
        (json!({"id": "0192f3a47c1e7b2a9d4e5f6a7b8c9d0e"}), ("/id", "id.not-a-uuid")),
        (json!({"id": null}), ("/id", "field.required")),
        (json!({"id": 7}), ("/id", "field.type")),
        (json!({"instrument": "phq-99"}), ("/instrument", "instrument.unknown")),
        (json!({"instrument": ""}), ("/instrument", "instrument.unknown")),
        (json!({"version": "9.0.0"}), ("/version", "instrument.version-unknown")),
        (json!({"version": "1"}), ("/version", "instrument.version")),
        (json!({"authoredAt": "0000-01-01T00:00:00+23:59"}), ("/authoredAt", "authored-at.range")),
        (json!({"authoredAt": "9999-12-31T23:59:59-23:59"}), ("/authoredAt", "authored-at.range")),
        (json!({"sentAt": "now"}), ("/sentAt", "sent-at.format")),
        (json!({"sentAt": 1_795_420_800}), ("/sentAt", "field.type")),
        (json!({"sentAt": "9999-12-31T23:59:59-00:01"}), ("/sentAt", "sent-at.range")),
        (json!({"authoredAt": "2026-11-01T07:58:03"}), ("/authoredAt", "authored-at.format")),
        (json!({"authoredAt": "yesterday"}), ("/authoredAt", "authored-at.format")),
        (json!({"answers": [1, 2]}), ("/answers", "field.type")),
        (json!({"answers": null}), ("/answers", "field.required")),
        (json!({"answers": {"11": 1}}), ("/answers/11", "item.unknown")),
        (json!({"answers": {"9": "1"}}), ("/answers/9", "item.type")),
        (json!({"answers": {"9": 1.5}}), ("/answers/9", "item.code")),
        (json!({"answers": {"9": [1]}}), ("/answers/9", "item.type")),
        (json!({"answers": {"9": 4}}), ("/answers/9", "item.code")),
        (json!({"answers": {"9": -1}}), ("/answers/9", "item.code")),
        (json!({"device": "phone"}), ("/device", "field.type")),
        (json!({"device": {"app": 1}}), ("/device/app", "field.type")),
        (json!({"device": {"imei": "1"}}), ("/device/imei", "field.unknown")),
        (json!({"device": {"app": "x".repeat(201)}}), ("/device/app", "field.too-long")),
        (json!({"amends": "x", "reason": "r"}), ("/amends", "id.not-a-uuid")),
        (json!({"amends": ID, "reason": "r"}), ("/amends", "amends.itself")),
        (json!({"amends": "0192f3a4-7c1e-7b2a-9d4e-5f6a7b8c9d0f"}), ("/reason", "field.required")),
        (json!({"reason": "because"}), ("/amends", "field.required")),
        (json!({"patient": "P-002"}), ("/patient", "field.unknown")),
        (json!({"a/b~c": 1}), ("/a~1b~0c", "field.unknown")),
    ];
    let world = World::new();
    for (change, expected) in cases {
        let (status, problem) = send_body(&world, &with(change.clone())).await;
        assert_eq!((status, codes(&problem)), (422, vec![expected]), "{change}");
    }
    assert_eq!(world.count_calls("PutItem RecordsTable"), 0);
}

#[tokio::test(start_paused = true)]
async fn all_validation_errors_are_returned_together() {
    let body = format!(
        r#"{{"id": "x", "id": "{ID}", "instrument": "phq-9", "version": "1.0.0", "authoredAt": "soon", "extra": 1,
            "answers": {{"1": 9, "2": true, "x": 1, "3": 0, "3": 1}}, "device": {{"app": {}1{}}}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    let world = World::new();
    let (status, problem, _) = send(&world, post(&body)).await;
    let deep = format!("/device/app{}", "/0".repeat(14));
    let mut found = codes(&problem);
    found.sort_unstable();
    let mut expected = vec![
        ("/id", "json.duplicate-key"),
        ("/answers/3", "json.duplicate-key"),
        (deep.as_str(), "json.too-deep"),
        ("/extra", "field.unknown"),
        ("/authoredAt", "authored-at.format"),
        ("/answers/1", "item.code"),
        ("/answers/2", "item.type"),
        ("/answers/x", "item.unknown"),
        ("/device/app", "field.type"),
    ];
    expected.sort_unstable();
    assert_eq!((status, found), (422, expected));
    assert_eq!(world.count_calls("PutItem RecordsTable"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_a_submission_has_a_finding_of_its_own() {
    let world = World::new();
    for (body, code) in
        [("{\"id\": ", "json.syntax"), ("", "json.syntax"), ("[1]", "field.type"), ("null", "field.type")]
    {
        let (status, problem, _) = send(&world, post(body)).await;
        assert_eq!((status, codes(&problem)), (422, vec![("", code)]), "{body}");
    }
    let (status, problem, _) = send(&world, post(&format!("\"{}\"", "x".repeat(256 * 1024)))).await;
    assert_eq!((status, codes(&problem)), (413, vec![("", "body.too-large")]));
    let mut text = post("{}");
    text.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    assert_eq!(send(&world, text).await.0, 415);
    assert_eq!(world.count_calls("PutItem RecordsTable"), 0);
}

#[tokio::test(start_paused = true)]
async fn promise_10_no_error_repeats_an_answer() {
    let world = World::new();
    let changes = [
        json!({"answers": {"9": "secret-answer"}}),
        json!({"answers": {"9": 987_654}}),
        json!({"id": "secret-answer", "authoredAt": "secret-answer", "version": "secret-answer", "device": "secret-answer"}),
        json!({"reason": ["secret-answer"]}),
    ];
    for change in changes {
        let (status, problem) = send_body(&world, &with(change)).await;
        let text = problem.to_string();
        assert_eq!(status, 422);
        assert!(!text.contains("secret-answer") && !text.contains("987654"), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_9_callers_without_permission_to_send_are_refused() {
    let world = World::new();
    let body = submission().to_string();
    let without = request("POST /v1/submissions", &[], "", None, Some(&body), PLENTY);
    assert_eq!(send(&world, without).await.0, 401);
    let cases = [
        (("token_use", "id"), 401),
        (("study", ""), 401),
        (("scope", "submissions:read"), 403),
        (("role", "staff"), 403),
        (("role", "clinician"), 403),
        (("patient", ""), 401),
        (("sites", ""), 403),
        (("sites", "S01 S02"), 403),
    ];
    for (change, expected) in cases {
        let request = request("POST /v1/submissions", &[], "", Some(claims(&[change])), Some(&body), PLENTY);
        let (status, problem, _) = send(&world, request).await;
        assert_eq!((status, problem["status"].as_u64()), (expected, Some(u64::from(expected))), "{change:?}");
    }
    assert_eq!(world.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn promise_9_a_submission_is_seen_by_its_patient_and_its_sites_staff_only() {
    let world = World::new();
    let (_, receipt) = send_body(&world, &submission()).await;
    let staff = [("role", "staff"), ("patient", "")];
    assert_eq!(send(&world, get(&[], "")).await.1, receipt);
    assert_eq!(send(&world, get(&[], "patient=P-001")).await.1, receipt);
    assert_eq!(send(&world, get(&staff, "patient=P-001")).await.1, receipt);

    let elsewhere = [("role", "staff"), ("patient", ""), ("sites", "S02")];
    let other_study = [("role", "staff"), ("patient", ""), ("study", "OTHER")];
    let hidden: [(&[(&str, &str)], &str); 6] = [
        (&[("patient", "P-002")], ""),
        (&[("patient", "P-002")], "patient=P-001"),
        (&[("study", "OTHER")], ""),
        (&elsewhere, "patient=P-001"),
        (&other_study, "patient=P-001"),
        (&staff, "patient=no%20such%23one"),
    ];
    for (changes, query) in hidden {
        let (status, problem, _) = send(&world, get(changes, query)).await;
        assert_eq!((status, &problem["type"]), (404, &json!("urn:epro:problem:not-found")), "{changes:?} {query}");
    }
    for (changes, status) in [(&[("role", "clinician")], 403), (&[("role", "service")], 403), (&[("scope", "x")], 403)]
    {
        assert_eq!(send(&world, get(changes, "patient=P-001")).await.0, status);
    }
    assert_eq!(send(&world, get(&staff, "")).await.0, 422);
    let broken = request("GET /v1/submissions/{id}", &[("id", "7")], "", Some(claims(&[])), None, PLENTY);
    assert_eq!(send(&world, broken).await.0, 404);
}

#[tokio::test(start_paused = true)]
async fn every_request_of_a_site_is_counted_once() {
    let world = World::new();
    send_body(&world, &submission()).await;
    send_body(&world, &with(json!({"id": "broken"}))).await;
    send(&world, get(&[], "")).await;
    send(&world, get(&[("role", "staff"), ("sites", "S01 S02")], "patient=P-001")).await;
    let staff = [("role", "staff"), ("patient", ""), ("sites", "S02")];
    send(&world, get(&staff, "patient=P-001")).await;
    let (study, sites) = ("DEMO".parse().unwrap(), ["S01", "S02"].map(|site| site.parse().unwrap()));
    let store = world.store();
    let calls = async || {
        let counts = store.site_counts(&study, &sites, Deadline::after(PLENTY)).await.unwrap();
        (counts[0].api_calls, counts[1].api_calls)
    };
    // The call that brought the submission is counted with its score.
    assert_eq!(calls().await, (3, 1));
    for _ in 0..2 {
        assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
        assert_eq!(calls().await, (4, 1));
    }
    send_body(&world, &submission()).await;
    assert_eq!(calls().await, (5, 1), "a repeat is a call of its own");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_outcome_is_unknown_is_counted_if_its_submission_was_stored() {
    for (fault, stored) in [(Fault::ApplyAndStall, 1), (Fault::Stall, 0)] {
        let world = World::new();
        world.inject_into("PutItem RecordsTable", usize::MAX, fault.clone());
        assert_eq!(send_body(&world, &submission()).await.0, 503, "{fault:?}");
        world.heal();
        let (study, sites) = ("DEMO".parse().unwrap(), ["S01".parse().unwrap()]);
        let store = world.store();
        let calls = async || store.site_counts(&study, &sites, Deadline::after(PLENTY)).await.unwrap()[0].api_calls;
        assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
        assert_eq!(calls().await, stored, "{fault:?}");
        // The repeat is a call of its own: it finds the submission, or stores it.
        send_body(&world, &submission()).await;
        assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
        assert_eq!(calls().await, stored + 1, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn counting_neither_fails_nor_delays_a_request() {
    for fault in [Fault::Stall, Fault::internal(), Fault::ApplyAndCut, Fault::throttle(), Fault::error("AccessDenied")]
    {
        let world = World::new();
        world.inject_into("TransactWriteItems SiteCountsTable", usize::MAX, fault.clone());
        let start = Instant::now();
        assert_eq!(send_body(&world, &submission()).await.0, 202, "{fault:?}");
        assert!(start.elapsed() <= Duration::from_millis(300), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hostile_body_is_answered_briefly() {
    let world = World::new();
    let nested = format!("{{\"{}\": {{{}}}}}", "k".repeat(120_000), vec!["\"a\": 1"; 15_000].join(","));
    let unknown: serde_json::Map<String, Value> = (0..20_000).map(|n| (format!("x{n}"), json!(1))).collect();
    let answers: serde_json::Map<String, Value> = (0..15_000).map(|n| (format!("i{n}"), json!(1))).collect();
    for body in [nested, json!(unknown).to_string(), with(json!({"answers": answers})).to_string()] {
        let (status, problem, _) = send(&world, post(&body)).await;
        assert_eq!((status, problem["errors"].as_array().unwrap().len()), (422, 200));
        assert!(problem.to_string().len() < 300_000);
    }
}

#[tokio::test(start_paused = true)]
async fn all_calls_share_the_connections_opened_at_the_start() {
    let world = World::new();
    let store = world.store();
    store.warm_up(&store.tables().records).await;
    let submit = Submit::new(store);
    for remaining in [300, 700, 1_234, 10_000] {
        let claims = Some(claims(&[]));
        let body = submission().to_string();
        let request = request("POST /v1/submissions", &[], "", claims, Some(&body), Duration::from_millis(remaining));
        submit.handle(request).await.unwrap();
    }
    assert_eq!(world.pools(), 1);
}

/// The grid of deadlines: whatever stalls, the right answer comes before the reserve begins.
#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    let stalls: [&[&str]; 5] = [
        &["PutItem RecordsTable"],
        &["PutItem RecordsTable", "GetItem RecordsTable"],
        &["TransactWriteItems SiteCountsTable"],
        &["PutItem RecordsTable", "GetItem RecordsTable", "TransactWriteItems SiteCountsTable"],
        &[],
    ];
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
        for stalled in stalls {
            let world = World::new();
            world.inject(move |call| stalled.contains(&call.operation.as_str()).then_some(Fault::Stall));
            let store_stalls = stalled.contains(&"PutItem RecordsTable");
            let reads_stall = stalled.contains(&"GetItem RecordsTable");
            let enough = remaining > 250;
            let time = Duration::from_millis(remaining);
            let most = Duration::from_millis(remaining.saturating_sub(250));

            let body = submission().to_string();
            let post = request("POST /v1/submissions", &[], "", Some(claims(&[])), Some(&body), time);
            let start = Instant::now();
            let (status, problem, _) = send(&world, post).await;
            assert!(start.elapsed() <= most, "{remaining} {stalled:?}: {:?}", start.elapsed());
            let expected = match (enough && !reads_stall, store_stalls) {
                (true, false) => (202, Value::Null),
                (true, true) => (503, json!("urn:epro:problem:outcome-unknown")),
                (false, _) => (503, json!("urn:epro:problem:not-done")),
            };
            assert_eq!((status, &problem["type"]), (expected.0, &expected.1), "{remaining} {stalled:?}");
            let stored = world.items("submission").len();
            assert_eq!(stored, usize::from(status == 202), "{remaining} {stalled:?}");

            let parameters = [("id", ID)];
            let get = request("GET /v1/submissions/{id}", &parameters, "", Some(claims(&[])), None, time);
            let start = Instant::now();
            let (status, _, _) = send(&world, get).await;
            assert!(start.elapsed() <= most, "{remaining} {stalled:?}: {:?}", start.elapsed());
            let expected = match (enough && !reads_stall, store_stalls) {
                (true, false) => 200,
                (true, true) => 404,
                (false, _) => 503,
            };
            assert_eq!(status, expected, "{remaining} {stalled:?}");
        }
    }
}
