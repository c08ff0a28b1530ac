//! `validate` for site staff, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use harness::{Fault, World, claims, request};
use lambda_http::http::{HeaderMap, HeaderValue};
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;
use validate::Validate;

const ROUTE: &str = "POST /v1/forms/{form}/{version}/validate";
const PLENTY: Duration = Duration::from_secs(10);
const STAFF: [(&str, &str); 3] = [("role", "staff"), ("patient", ""), ("sites", "S01 S02")];

fn post_as(caller: &[(&str, &str)], form: (&str, &str), query: &str, body: &str, remaining: Duration) -> Request {
    request(ROUTE, &[("form", form.0), ("version", form.1)], query, Some(claims(caller)), Some(body), remaining)
}

fn post(query: &str, rows: &Value) -> Request {
    post_as(&STAFF, ("vs", "1.0.0"), query, &rows.to_string(), PLENTY)
}

fn typed(body: &str, media_type: &str) -> Request {
    let mut request = post_as(&STAFF, ("vs", "1.0.0"), "", body, PLENTY);
    request.headers_mut().insert("content-type", HeaderValue::try_from(media_type).unwrap());
    request
}

async fn send(world: &World, request: Request) -> (u16, HeaderMap, Value) {
    let (parts, body) = Validate::new(world.store(), 2).handle(request).await.unwrap().into_parts();
    let Body::Text(text) = body else { panic!("answers are text") };
    (parts.status.as_u16(), parts.headers, serde_json::from_str(&text).unwrap())
}

/// A valid row: a blood pressure of a patient at a site.
fn row(subject: &str, visit: usize) -> Value {
    json!({
        "USUBJID": subject, "SITEID": "S01", "VISITNUM": visit, "VSTESTCD": "SYSBP", "VSORRES": "124", "VSORRESU": "mmHg",
        "VSDTC": "2012-11-23",
    })
}

fn with(mut row: Value, field: &str, value: Value) -> Value {
    row[field] = value;
    row
}

fn checks(row: &Value, list: &str) -> Vec<String> {
    let list = row[list].as_array().cloned().unwrap_or_default();
    list.iter().map(|one| one["check"].as_str().unwrap().to_owned()).collect()
}

/// Sends and scores a submission of `patient` at `site`, which enrols them.
async fn enrol(world: &World, site: &str, patient: &str) {
    let before = world.stream().len();
    let body = json!({
        "id": uuid::Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0", "authoredAt": "2026-11-20T08:00:00+01:00",
        "answers": {"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 0},
    });
    let claims = claims(&[("sites", site), ("patient", patient)]);
    let post = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(post).await.unwrap().status(), 202);
    assert_eq!(world.score(&world.stream()[before..], Duration::from_secs(60)).await, 0);
}

#[tokio::test(start_paused = true)]
async fn every_row_is_reported_in_order_with_all_its_findings() {
    let world = World::new();
    let rows = json!([
        row("P-1", 1),
        with(with(row("P-1", 2), "VSORRES", json!("720")), "VSDTC", json!("2012-11-2x")),
        with(row("P-1", 3), "VSORRES", json!(190)),
        with(row("P-1", 4), "VSORRESU", json!("")),
        7,
        with(row("P-1", 6), "SITEID", json!("S03")),
    ]);
    let (status, headers, body) = send(&world, post("", &rows)).await;
    assert_eq!(
        (status, &headers["content-type"], &headers["content-language"]),
        (200, &HeaderValue::from_static("application/json"), &HeaderValue::from_static("en"))
    );
    assert_eq!(body["batch"].as_str().unwrap().len(), 36);
    assert_eq!((&body["form"], &body["version"]), (&json!("vs"), &json!("1.0.0")));
    let form = clinical::forms::Catalog::shipped().latest(&"vs".parse().unwrap()).unwrap();
    assert_eq!(body["hash"], form.hash());
    assert_eq!(body["counts"], json!({"rows": 6, "clean": 1, "withWarnings": 1, "rejected": 4, "notEvaluated": 0}));
    let rows = body["rows"].as_array().unwrap();
    let indices: Vec<&Value> = rows.iter().map(|row| &row["index"]).collect();
    assert_eq!(indices, [0, 1, 2, 3, 4, 5]);
    let found: Vec<Vec<String>> = rows.iter().map(|row| checks(row, "findings")).collect();
    assert_eq!(
        found,
        [
            vec![],
            vec!["VSDTC.type", "systolic-possible"],
            vec!["systolic-usual"],
            vec!["unit-required"],
            vec!["row"],
            vec!["known-site"],
        ]
    );
    assert_eq!(checks(&rows[1], "notEvaluated"), ["date-not-future"]);
    assert_eq!(checks(&rows[3], "notEvaluated"), ["systolic-possible", "systolic-usual"]);
    assert_eq!(rows[0]["key"], json!({"USUBJID": "P-1", "VSTESTCD": "SYSBP", "VISITNUM": 1}));
    assert_eq!(
        rows[1]["findings"][1],
        json!({
            "check": "systolic-possible", "version": "1.0.0", "kind": "range", "severity": "hard", "field": "VSORRES",
            "message": "Not possible as a systolic pressure: outside 30 to 300 mmHg", "query": "open",
        })
    );
    // Without a register, that is reported once.
    assert_eq!(
        body["notRun"],
        json!([{
            "check": "known-subject", "version": "1.0.0", "code": "no-register",
            "reason": "the study keeps no register of its subjects",
        }])
    );
}

#[tokio::test(start_paused = true)]
async fn values_are_repeated_only_on_request() {
    let world = World::new();
    // No id and no time of the answer has these digits by chance.
    let value = "98761234";
    let rows = json!([with(row("P-1", 1), "VSORRES", json!(value))]);
    for query in ["", "values=false", "values"] {
        assert!(!send(&world, post(query, &rows)).await.2.to_string().contains(value), "{query}");
    }
    assert_eq!(send(&world, post("values=true", &rows)).await.2["rows"][0]["findings"][0]["value"], value);
}

#[tokio::test(start_paused = true)]
async fn messages_are_in_the_callers_language() {
    let world = World::new();
    let rows = json!([with(row("P-1", 1), "VSORRES", json!("720"))]);
    let mut request = post("", &rows);
    request.headers_mut().insert("accept-language", HeaderValue::from_static("zh-CN"));
    for request in [request, post("lang=zh", &rows)] {
        let (_, headers, body) = send(&world, request).await;
        assert_eq!(
            (&headers["content-language"], &body["language"]),
            (&HeaderValue::from_static("zh-Hans"), &json!("zh-Hans"))
        );
        assert_eq!(body["rows"][0]["findings"][0]["message"], "收缩压不可能为该值：超出 30 至 300 mmHg");
        assert_eq!(body["notRun"][0]["reason"], "该研究未登记受试者");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_are_accepted_as_an_array_by_line_or_as_a_data_set() {
    let world = World::new();
    let names: Vec<String> = row("P-1", 1).as_object().unwrap().keys().cloned().collect();
    let values: Vec<Value> = row("P-1", 1).as_object().unwrap().values().cloned().collect();
    let columns: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
    let head = json!({"datasetJSONVersion": "1.1.0", "columns": columns, "records": 1});
    let mut whole = head.clone();
    whole["rows"] = json!([values]);
    for (body, media_type) in [
        (json!([row("P-1", 1)]).to_string(), "application/json; charset=utf-8"),
        (whole.to_string(), "application/json"),
        (row("P-1", 1).to_string(), "application/x-ndjson"),
        (format!("{head}\n{}", json!(values)), "application/x-ndjson"),
        (row("P-1", 1).to_string(), "application/jsonl"),
    ] {
        let (status, _, answer) = send(&world, typed(&body, media_type)).await;
        assert_eq!((status, &answer["counts"]["clean"]), (200, &json!(1)), "{media_type} {body}");
    }
    let mut binary = typed("", "application/x-ndjson");
    *binary.body_mut() = Body::Binary(row("P-1", 1).to_string().into_bytes());
    assert_eq!(send(&world, binary).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_a_batch_of_rows_is_refused_with_the_reason() {
    let world = World::new();
    for (request, status, said) in [
        (typed("[{", "application/json"), 422, "it is not valid JSON at line 1, column 2"),
        (typed("[]", "application/json"), 422, "it has no rows"),
        (typed("", "application/x-ndjson"), 422, "it has no rows"),
        (typed("{}", "application/json"), 422, "it is neither a JSON array of rows nor CDISC Dataset-JSON"),
        (typed(r#"{"datasetJSONVersion":"1.0"}"#, "application/json"), 422, "its `datasetJSONVersion` is \\\"1.0\\\""),
        (typed("[1]", "text/csv"), 415, "application/x-ndjson"),
        (typed("[1]", "application/json; charset=latin1"), 415, "application/x-ndjson"),
        (typed(&" ".repeat(6 * 1024 * 1024 + 1), "application/json"), 413, "send less at once"),
        (typed(&format!("[{}1]", "1,".repeat(50_000)), "application/json"), 413, "more than 50000 rows"),
        (post_as(&STAFF, ("vs", "2.0.0"), "", "[1]", PLENTY), 404, "it has 1.0.0"),
        (post_as(&STAFF, ("vs", "latest"), "", "[1]", PLENTY), 404, "a version has three numbers"),
        (post_as(&STAFF, ("eg", "1.0.0"), "", "[1]", PLENTY), 404, "there is no such form"),
    ] {
        let (found, _, problem) = send(&world, request).await;
        assert_eq!(found, status, "{problem}");
        assert!(problem.to_string().contains(said), "{problem}");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_9_batches_are_for_staff_and_each_is_one_call_of_their_sites() {
    let world = World::new();
    let refusals: [(&[(&str, &str)], u16); 5] = [
        (&[("role", "patient")], 403),
        (&[("role", "clinician")], 403),
        (&[("role", "service")], 403),
        (&[("role", "staff"), ("scope", "counts:read")], 403),
        (&[("role", "staff"), ("token_use", "id")], 401),
    ];
    for (caller, expected) in refusals {
        assert_eq!(send(&world, post_as(caller, ("vs", "1.0.0"), "", "[1]", PLENTY)).await.0, expected, "{caller:?}");
    }
    assert_eq!(send(&world, request(ROUTE, &[], "", None, Some("[1]"), PLENTY)).await.0, 401);
    assert_eq!(send(&world, request("GET /v1/forms", &[], "", Some(claims(&STAFF)), None, PLENTY)).await.0, 404);
    assert_eq!(world.calls(), []);
    send(&world, post("", &json!([row("P-1", 1)]))).await;
    let counted =
        world.calls().into_iter().find(|call| call.operation == "TransactWriteItems SiteCountsTable").unwrap();
    assert_eq!(counted.body["TransactItems"].as_array().unwrap().len(), 2, "two sites");
}

#[tokio::test(start_paused = true)]
async fn in_a_study_that_enrols_first_subjects_are_patients_with_a_submission_at_the_callers_sites() {
    let world = World::new();
    world.put_study(json!({
        "subjectsEnrolFirst": true,
        "sites": [
            {"id": "S01", "name": "One", "timeZone": "Europe/Berlin"}, {"id": "S09", "name": "Nine", "timeZone": "Europe/Berlin"},
        ],
    })).await;
    enrol(&world, "S01", "P-1").await;
    enrol(&world, "S09", "P-9").await;
    let mut rows = vec![row("P-1", 1), row(" P-1 ", 2), row("P-2", 1), row("P-9", 1), row("no subject's id", 1)];
    rows.extend((0..250).map(|subject| row(&format!("X-{subject}"), 1)));
    let (_, _, body) = send(&world, post("", &json!(rows))).await;
    assert_eq!(body["notRun"], json!([]));
    let found: Vec<Vec<String>> = body["rows"].as_array().unwrap().iter().map(|row| checks(row, "findings")).collect();
    let unknown = vec!["known-subject".to_owned()];
    assert!(found[..2].iter().all(Vec::is_empty), "{found:?}");
    // Nor does the answer disclose who is a patient elsewhere.
    assert!(found[2..].iter().all(|found| *found == unknown), "{found:?}");
    assert_eq!(
        world.count_calls("BatchGetItem RecordsTable"),
        2 + 6,
        "two were scored, and two items of each of 253 ids asked for in hundreds"
    );
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve() {
    for enrols in [false, true] {
        for remaining in [0, 50, 100, 250, 500, 1_000, 3_000, 10_000] {
            for stalled in
                ["GetItem RecordsTable", "BatchGetItem RecordsTable", "TransactWriteItems SiteCountsTable", ""]
            {
                let world = World::new();
                world.put_study(json!({"subjectsEnrolFirst": enrols})).await;
                enrol(&world, "S01", "P-1").await;
                world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
                let (time, most) =
                    (Duration::from_millis(remaining), Duration::from_millis(remaining.saturating_sub(250)));
                let start = Instant::now();
                let rows = json!([row("P-1", 1)]).to_string();
                let (status, headers, body) = send(&world, post_as(&STAFF, ("vs", "1.0.0"), "", &rows, time)).await;
                let case = format!("{enrols} {remaining} {stalled} {body}");
                // The wall clock runs while Tokio's is paused, and rows are checked by it.
                assert!(start.elapsed() <= most, "{case}: {:?}", start.elapsed());
                if remaining <= 250 {
                    assert_eq!((status, &body["type"]), (504, &json!("urn:epro:problem:timed-out")), "{case}");
                    assert!(headers.contains_key("retry-after"));
                    continue;
                }
                assert_eq!(status, 200, "{case}");
                // Where the register cannot be read, the rule was not evaluated.
                let asks = stalled == "GetItem RecordsTable" || (enrols && stalled == "BatchGetItem RecordsTable");
                assert_eq!(
                    checks(&body["rows"][0], "notEvaluated").contains(&"known-subject".to_owned()),
                    asks,
                    "{case}"
                );
                assert_eq!(body["rows"][0]["status"], if asks { "not-evaluated" } else { "clean" }, "{case}");
                assert_eq!(body["notRun"].as_array().unwrap().len(), usize::from(!enrols && !asks), "{case}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_register_that_fails_is_reported_as_unreachable() {
    for fault in [Fault::internal(), Fault::error("AccessDeniedException"), Fault::Cut] {
        for operation in ["GetItem RecordsTable", "BatchGetItem RecordsTable"] {
            let world = World::new();
            world.put_study(json!({"subjectsEnrolFirst": true})).await;
            world.inject_into(operation, usize::MAX, fault.clone());
            let (status, _, body) = send(&world, post("", &json!([row("P-1", 1)]))).await;
            assert_eq!((status, &body["rows"][0]["status"]), (200, &json!("not-evaluated")), "{operation} {fault:?}");
        }
    }
}

/// The clock runs here: the work itself takes the time.
#[tokio::test]
async fn a_batch_that_times_out_reports_the_rows_checked_and_no_findings() {
    let world = World::new();
    let rows: Vec<Value> = (0..12_000).map(|visit| row("P-1", visit)).collect();
    let rows = Value::from(rows).to_string();
    let mut details = Vec::new();
    for remaining in [265, 330, 420, 600, 800] {
        let request = post_as(&STAFF, ("vs", "1.0.0"), "", &rows, Duration::from_millis(remaining));
        let start = Instant::now();
        let (status, _, body) = send(&world, request).await;
        assert!(start.elapsed() < Duration::from_millis(remaining), "{remaining}: {:?}", start.elapsed());
        if status == 200 {
            assert_eq!(body["rows"].as_array().unwrap().len(), 12_000);
            continue;
        }
        assert_eq!((status, &body["type"]), (504, &json!("urn:epro:problem:timed-out")));
        assert!(body.get("rows").is_none());
        let detail = body["detail"].as_str().unwrap().to_owned();
        assert!(detail.ends_with("nothing was stored: send smaller batches"), "{detail}");
        details.push(detail);
    }
    assert!(!details.is_empty(), "10 ms do not suffice");
}

#[tokio::test]
async fn an_answer_over_6_mb_is_refused_and_never_truncated() {
    let world = World::new();
    // Each row is small, and its findings are large.
    let rows = vec![json!({"USUBJID": "P-1", "AESDTH": "Y"}); 8_000];
    let body = Value::from(rows).to_string();
    let (status, _, problem) = send(&world, post_as(&STAFF, ("ae", "1.0.0"), "", &body, Duration::from_secs(60))).await;
    assert_eq!((status, &problem["type"]), (413, &json!("urn:epro:problem:too-large")), "{}", problem["detail"]);
    assert!(problem["detail"].as_str().unwrap().contains("of 8000 rows; send smaller batches"), "{problem}");
}

#[tokio::test]
async fn an_answer_just_within_6_mb_is_accepted_by_lambda() {
    let world = World::new();
    let answer = async |rows: usize| {
        let body = Value::from(vec![json!({"USUBJID": "P-1", "AESDTH": "Y"}); rows]).to_string();
        let request = post_as(&STAFF, ("ae", "1.0.0"), "", &body, Duration::from_secs(60));
        let response = Validate::new(world.store(), 2).handle(request).await.unwrap();
        if response.status() == 413 {
            return None;
        }
        let Body::Text(text) = response.body() else { panic!("answers are text") };
        // As Lambda's runtime sends it: a JSON string, with some headers.
        Some(serde_json::to_string(&json!({"body": text, "headers": {}, "statusCode": 200})).unwrap().len())
    };
    let (mut fits, mut too_many) = (1_000, 8_000);
    while too_many - fits > 20 {
        let middle = (fits + too_many) / 2;
        if answer(middle).await.is_some() { fits = middle } else { too_many = middle }
    }
    let size = answer(fits).await.unwrap();
    assert!((5_900_000..=6 * 1024 * 1024).contains(&size), "{fits}: {size}");
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_not_stored_is_refused_unless_the_deployment_is_open() {
    let world = World::new();
    let check = async || {
        let response = Validate::new(world.closed_store(), 2).handle(post("", &json!([row("P-1", 1)]))).await.unwrap();
        response.status().as_u16()
    };
    assert_eq!(check().await, 403);
    world.put_study(json!({})).await;
    assert_eq!(check().await, 200);
}
