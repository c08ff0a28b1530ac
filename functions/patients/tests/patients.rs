//! `patients` for site staff, over the real SDK and a store in memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeSet;
use std::time::Duration;

use api::Handler;
use clinical::schedules::State;
use harness::{Fault, World, claims, request};
use lambda_http::http::{HeaderMap, HeaderValue};
use lambda_http::{Body, Request};
use patients::Patients;
use registry::Registry;
use serde_json::{Value, json};
use submit::Submit;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::datetime;
use tokio::time::Instant;
use uuid::Uuid;

const ROUTE: &str = "GET /v1/sites/{site}/patients";
const PLENTY: Duration = Duration::from_secs(10);
const STAFF: [(&str, &str); 3] = [("role", "staff"), ("patient", ""), ("sites", "S01 S02")];
const ENGLISH: &str = "Fetching the patients timed out; please try again later";
const CHINESE: &str = "获取患者数据超时，请稍后重试";

fn get_as(caller: &[(&str, &str)], site: &str, query: &str, remaining: Duration) -> Request {
    request(ROUTE, &[("site", site)], query, Some(claims(caller)), None, remaining)
}

fn get(site: &str, query: &str) -> Request {
    get_as(&STAFF, site, query, PLENTY)
}

async fn answer(patients: &Patients, request: Request) -> (u16, HeaderMap, Value) {
    let (parts, body) = patients.handle(request).await.unwrap().into_parts();
    let Body::Text(text) = body else { panic!("answers are text") };
    (parts.status.as_u16(), parts.headers, serde_json::from_str(&text).unwrap())
}

async fn send(world: &World, request: Request) -> (u16, HeaderMap, Value) {
    answer(&Patients::new(world.store()), request).await
}

/// Sends and scores submissions, each of a site, a patient, an instrument, a time, and answers; returns their ids.
async fn arrive(world: &World, submissions: &[(&str, &str, &str, &str, Value)]) -> Vec<String> {
    let before = world.stream().len();
    let mut ids = Vec::new();
    for (site, patient, instrument, authored_at, answers) in submissions {
        let id = Uuid::now_v7().to_string();
        let body = json!({
            "id": id, "instrument": instrument, "version": "1.0.0", "authoredAt": authored_at, "answers": answers,
        });
        let claims = claims(&[("sites", site), ("patient", patient)]);
        let post = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
        assert_eq!(Submit::new(world.store()).handle(post).await.unwrap().status(), 202);
        ids.push(id);
    }
    assert_eq!(world.score(&world.stream()[before..], Duration::from_secs(60)).await, 0);
    ids
}

/// When `alert` was raised. Texts with fractions of other lengths are not in the order of their times.
fn raised(alert: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(alert["raised_at"].as_str().unwrap(), &Rfc3339).unwrap()
}

fn phq_2(first: u8) -> Value {
    json!({"1": first, "2": 1})
}

/// Patients of S01, each with one submission.
async fn enrol(world: &World, patients: impl IntoIterator<Item = String>) {
    let patients: Vec<String> = patients.into_iter().collect();
    let of = |patient| ("S01", patient, "phq-2", "2026-11-01T08:00:00Z", phq_2(0));
    let submissions: Vec<_> = patients.iter().map(|patient| of(patient.as_str())).collect();
    arrive(world, &submissions).await;
}

fn names(page: &Value) -> Vec<String> {
    let patients = page["patients"].as_array().unwrap();
    patients.iter().map(|patient| patient["patient"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_patient_is_listed_with_the_last_submission_the_last_scores_and_open_alerts() {
    let world = World::new();
    let phq_9 = json!({"1": 1, "3": 1, "6": 1, "7": 2, "2": 0, "4": 0, "5": 0, "8": 0, "9": 1});
    let ids = arrive(
        &world,
        &[
            ("S01", "P-002", "phq-9", "2026-11-01T08:00:00+08:00", phq_9.clone()),
            ("S01", "P-002", "phq-2", "2026-11-02T08:00:00Z", phq_2(3)),
            ("S01", "P-002", "phq-2", "2026-11-03T08:00:00Z", phq_2(0)),
            ("S01", "P-001", "phq-2", "2026-11-01T08:00:00Z", phq_2(0)),
            ("S02", "P-003", "phq-2", "2026-11-01T08:00:00Z", phq_2(0)),
        ],
    )
    .await;
    let (status, _, body) = send(&world, get("S01", "")).await;
    let oldest = world.items("alert").iter().min_by_key(|alert| raised(alert)).unwrap()["raised_at"].clone();
    let total = |value: i32, highest: i32, band: &str| json!([{"id": "total", "value": value, "range": [0, highest], "band": band}]);
    let one = |instrument: &str, submission: &String, at: &str, count: u64, scores: Value| {
        json!({
            "instrument": instrument, "version": "1.0.0", "submission": submission, "effectiveAt": at, "count": count,
            "scores": scores,
        })
    };
    let expected = json!({"study": {"id": "DEMO"}, "site": {"id": "S01"}, "patients": [
        {
            "patient": "P-001", "openAlerts": 0,
            "lastSubmission": {"id": ids[3], "instrument": "phq-2", "effectiveAt": "2026-11-01T08:00:00Z"},
            "scores": [one("phq-2", &ids[3], "2026-11-01T08:00:00Z", 1, total(1, 6, "negative"))],
        },
        {
            "patient": "P-002", "openAlerts": 2, "highestSeverity": "critical", "oldestRaisedAt": oldest,
            "lastSubmission": {"id": ids[2], "instrument": "phq-2", "effectiveAt": "2026-11-03T08:00:00Z"},
            "scores": [
                one("phq-2", &ids[2], "2026-11-03T08:00:00Z", 2, total(1, 6, "negative")),
                one("phq-9", &ids[0], "2026-11-01T00:00:00Z", 1, total(6, 27, "mild")),
            ],
        },
    ]});
    assert_eq!((status, body), (200, expected));
}

#[tokio::test(start_paused = true)]
async fn severity_and_age_are_those_of_the_alerts_that_are_still_open() {
    let world = World::new();
    let mut items: serde_json::Map<String, Value> = (1..=9).map(|item| (item.to_string(), json!(3))).collect();
    arrive(&world, &[("S01", "P-1", "phq-9", "2026-11-01T08:00:00Z", Value::Object(items.clone()))]).await;
    items.insert("9".to_owned(), json!(0));
    arrive(&world, &[("S01", "P-1", "phq-9", "2026-11-02T08:00:00Z", Value::Object(items))]).await;
    let mut alerts = world.items("alert");
    alerts.sort_by_key(|alert| (alert["severity"] != "critical", raised(alert)));
    let [critical, first, second] = alerts.as_slice() else { panic!("{alerts:?}") };
    let shown = async || {
        let (_, _, body) = send(&world, get("S01", "")).await;
        ["openAlerts", "highestSeverity", "oldestRaisedAt"].map(|name| body["patients"][0][name].clone())
    };
    assert_eq!(shown().await, [json!(3), json!("critical"), critical["raised_at"].clone()]);
    for (acknowledged, left) in [
        (critical, [json!(2), json!("warning"), first["raised_at"].clone()]),
        (first, [json!(1), json!("warning"), second["raised_at"].clone()]),
        (second, [json!(0), Value::Null, Value::Null]),
    ] {
        let route = "POST /v1/alerts/{alertId}/acknowledge";
        let clinician = claims(&[("role", "clinician"), ("patient", "")]);
        let id = acknowledged["alert_id"].as_str().unwrap();
        let request = request(route, &[("alertId", id)], "", Some(clinician), None, PLENTY);
        assert_eq!(alerts::Alerts::new(world.store()).handle(request).await.unwrap().status(), 200);
        assert_eq!(shown().await, left);
    }
    assert!(world.items("profile")[0].get("open_marks").is_none(), "what is over takes no room");
}

#[tokio::test(start_paused = true)]
async fn of_alerts_that_have_no_mark_only_the_number_is_shown() {
    let world = World::new();
    let phq_9 = json!({"1": 1, "3": 1, "6": 1, "7": 2, "2": 0, "4": 0, "5": 0, "8": 0, "9": 1});
    arrive(&world, &[("S01", "P-1", "phq-9", "2026-11-01T08:00:00Z", phq_9.clone())]).await;
    world.edit(harness::RECORDS, &world.items("profile")[0], |raw| {
        raw.as_object_mut().unwrap().remove("open_marks").unwrap();
    });
    let shown = async || {
        let (_, _, body) = send(&world, get("S01", "")).await;
        ["openAlerts", "highestSeverity", "oldestRaisedAt"].map(|name| body["patients"][0][name].clone())
    };
    assert_eq!(shown().await, [json!(1), Value::Null, Value::Null]);
    // One that has no mark might be the oldest.
    arrive(&world, &[("S01", "P-1", "phq-9", "2026-11-02T08:00:00Z", phq_9)]).await;
    assert_eq!(shown().await, [json!(2), Value::Null, Value::Null]);
}

#[tokio::test(start_paused = true)]
async fn a_stored_study_adds_names_and_the_bands_of_its_own_instruments() {
    let world = World::new();
    let mut own: Value =
        serde_json::from_str(include_str!("../../../shared/clinical/instruments/phq-2/1.0.0.json")).unwrap();
    own["id"] = json!("mood-2");
    own["scores"][0]["bands"][0]["id"] = json!("calm");
    world.put_instrument(&own.to_string()).await;
    let asked = |id: &str| json!({"id": id, "version": "1.0.0"});
    let titles = json!({"en": "A study", "zh-Hans": "一项研究"});
    let changes = |asked: Value| json!({"title": titles, "languages": ["en"], "instruments": asked});
    world.put_study(changes(json!([asked("mood-2"), asked("phq-2")]))).await;
    arrive(
        &world,
        &[
            ("S01", "P-001", "mood-2", "2026-11-01T08:00:00Z", phq_2(0)),
            ("S01", "P-001", "phq-2", "2026-11-01T08:00:00Z", phq_2(0)),
        ],
    )
    .await;
    let (_, headers, page) = send(&world, get("S01", "lang=zh")).await;
    assert_eq!(page["study"], json!({"id": "DEMO", "title": "一项研究"}));
    assert_eq!(page["site"], json!({"id": "S01", "name": "Site 1"}));
    assert_eq!(headers["content-language"], "zh-Hans");
    let band = |page: &Value, place: usize| page["patients"][0]["scores"][place]["scores"][0]["band"].clone();
    assert_eq!((band(&page, 0), band(&page, 1)), (json!("calm"), json!("negative")));

    // Of instruments that the study does not ask any more, those that ship have a band, its own ones only a value.
    let mut later = changes(json!([asked("phq-9")]));
    later["version"] = json!("2.0.0");
    world.put_study(later).await;
    let (_, headers, page) = send(&world, get("S01", "")).await;
    assert_eq!((band(&page, 0), band(&page, 1)), (Value::Null, json!("negative")));
    assert_eq!(page["patients"][0]["scores"][0]["scores"][0]["value"], 1);
    assert_eq!(headers["content-language"], "en");
}

#[tokio::test(start_paused = true)]
async fn a_patient_is_listed_at_the_site_of_the_last_submission() {
    let world = World::new();
    for (day, site) in [(1, "S01"), (2, "S02")] {
        arrive(&world, &[(site, "P-001", "phq-2", &format!("2026-11-0{day}T08:00:00Z"), phq_2(0))]).await;
        for other in ["S01", "S02"] {
            let expected: &[&str] = if other == site { &["P-001"] } else { &[] };
            assert_eq!(names(&send(&world, get(other, "")).await.2), expected, "{site} {other}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_patient_is_listed_once_while_others_arrive_between_pages() {
    let world = World::new();
    // Ids whose order is not numeric, some of them prefixes of others.
    let known: BTreeSet<String> = (0..250).map(|n| format!("P{}{n}", ["", "-", ".", ":"][n % 4])).collect();
    enrol(&world, known.iter().cloned()).await;
    for limit in [1, 7, 25, 99, 100] {
        let (mut listed, mut query) = (Vec::new(), format!("limit={limit}"));
        for page_number in 0.. {
            assert!(page_number <= 300, "{limit}: it comes to an end");
            let (status, _, page) = send(&world, get("S01", &query)).await;
            assert_eq!(status, 200);
            let names = names(&page);
            let last = names.last().unwrap().clone();
            listed.extend(names);
            let Some(next) = page["next"].as_str() else { break };
            query = format!("limit={limit}&cursor={next}");
            if page_number % 50 == 0 {
                // Directly after the cursor, far before it, far after it, and a prefix of others.
                enrol(&world, [format!("{last}-0"), format!("A{limit}"), format!("z{limit}"), last[..1].to_owned()])
                    .await;
            }
        }
        assert!(listed.is_sorted_by(|one, next| one < next), "{limit}: in order, and nobody twice");
        let listed: BTreeSet<String> = listed.into_iter().collect();
        assert!(known.is_subset(&listed), "{limit}: {:?}", known.difference(&listed));
        assert!(listed.contains(&format!("z{limit}")), "{limit}: who came behind the reader is met");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_last_page_has_no_next() {
    let world = World::new();
    let (_, _, nobody) = send(&world, get("S01", "")).await;
    assert_eq!((&nobody["patients"], nobody.get("next")), (&json!([]), None));
    enrol(&world, (0..50).map(|n| format!("P-{n:02}"))).await;
    let (_, _, first) = send(&world, get("S01", "")).await;
    assert_eq!(names(&first).len(), 25, "as many as the caller gets who does not say");
    let (_, _, second) = send(&world, get("S01", &format!("cursor={}", first["next"].as_str().unwrap()))).await;
    assert_eq!((names(&second).len(), &second["next"]), (25, &Value::Null));
}

#[tokio::test(start_paused = true)]
async fn a_list_is_complete_if_the_store_returns_it_in_parts() {
    let world = World::new();
    enrol(&world, (0..9).map(|n| format!("P-{n}"))).await;
    // As with large profiles: each of the first queries returns one of them.
    let mut given = 0;
    world.inject(move |call| {
        if call.operation != "Query RecordsTable" || given == 3 {
            return None;
        }
        given += 1;
        let key = format!("P-{}", given - 1);
        let text = |text: &str| json!({"S": text});
        let position = json!({
            "pk": text(&format!("PATIENT#DEMO#{key}")), "sk": text("PROFILE"), "site_key": text("SITE#DEMO#S01"),
            "site_sort": text(&format!("PATIENT#{key}")),
        });
        Some(Fault::Answer(200, json!({"Items": [position], "Count": 1, "LastEvaluatedKey": position})))
    });
    let (_, _, page) = send(&world, get("S01", "limit=7")).await;
    let expected: Vec<String> = (0..7).map(|n| format!("P-{n}")).collect();
    assert_eq!(names(&page), expected);
}

#[tokio::test(start_paused = true)]
async fn promise_8_a_profile_that_cannot_be_read_is_reported_and_affects_no_other() {
    let world = World::new();
    enrol(&world, ["P-001".to_owned()]).await;
    world.tamper("profile", "revision", "seven");
    enrol(&world, ["P-002".to_owned()]).await;
    let (status, _, page) = send(&world, get("S01", "")).await;
    assert_eq!((status, names(&page)), (200, vec!["P-001".to_owned(), "P-002".to_owned()]));
    assert_eq!(page["patients"][0], json!({"patient": "P-001", "unreadable": "attribute revision is not a number"}));
    assert_eq!(page["patients"][1]["openAlerts"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_cursor_is_valid_for_its_list_in_every_environment_and_for_no_other() {
    let world = World::new();
    enrol(&world, (0..4).map(|n| format!("P-{n}"))).await;
    let (_, _, first) = send(&world, get("S01", "limit=2")).await;
    let cursor = first["next"].as_str().unwrap();
    // In another environment, with another limit.
    let (status, _, rest) = send(&world, get("S01", &format!("limit=1&cursor={cursor}"))).await;
    assert_eq!((status, names(&rest)), (200, vec!["P-2".to_owned()]));

    let looks = world.items("audit").len();
    let other_study = [("role", "staff"), ("patient", ""), ("study", "OTHER")];
    let mut refused = vec![
        get("S02", &format!("cursor={cursor}")),
        get_as(&other_study, "S01", &format!("cursor={cursor}"), PLENTY),
        get("S01", "cursor="),
        get("S01", "cursor=P-1"),
    ];
    let patients = Patients::new(world.store());
    for place in 0..cursor.len() {
        let mut forged = cursor.to_owned().into_bytes();
        forged[place] = if forged[place] == b'x' { b'y' } else { b'x' };
        refused.push(get("S01", &format!("cursor={}", String::from_utf8(forged).unwrap())));
    }
    for request in refused {
        let (status, _, problem) = answer(&patients, request).await;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("query.cursor")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("start again"));
    }
    assert_eq!(world.items("audit").len(), looks, "nothing was shown, and nothing is on record");
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_a_number_from_1_to_100() {
    let world = World::new();
    for limit in ["0", "101", "-1", "x", ""] {
        let (status, _, problem) = send(&world, get("S01", &format!("limit={limit}"))).await;
        assert_eq!((status, &problem["errors"][0]["code"]), (422, &json!("query.limit")), "{limit}");
    }
    assert_eq!(world.count_calls("Query RecordsTable"), 0);
}

#[tokio::test(start_paused = true)]
async fn the_audit_entry_is_stored_before_patients_are_returned() {
    let world = World::new();
    enrol(&world, ["P-001".to_owned()]).await;
    send(&world, get("S01", "")).await;
    let entries = world.items("audit");
    assert_eq!(entries.len(), 1);
    let field = |name: &str| entries[0][name].as_str().unwrap();
    assert_eq!((field("sub"), field("role"), field("action")), ("user-1", "staff", "patients-read"));
    assert_eq!((field("study"), field("site"), entries[0].get("subject")), ("DEMO", "S01", None));

    for (fault, expected) in
        [(Fault::Stall, 504), (Fault::throttle(), 503), (Fault::error("AccessDeniedException"), 500)]
    {
        let patients = Patients::new(world.store());
        answer(&patients, get("S01", "")).await;
        world.inject_into("PutItem RecordsTable", usize::MAX, fault.clone());
        let (status, _, body) = answer(&patients, get("S01", "")).await;
        assert_eq!((status, body.get("patients")), (expected, None), "{fault:?}");
        world.heal();
    }
}

#[tokio::test(start_paused = true)]
async fn promise_9_patients_are_for_the_sites_own_staff() {
    let world = World::new();
    let refusals = [
        (get_as(&[("role", "patient")], "S01", "", PLENTY), 403),
        (get_as(&[("role", "clinician")], "S01", "", PLENTY), 403),
        (get_as(&[("role", "service")], "S01", "", PLENTY), 403),
        (get_as(&[("role", "staff"), ("scope", "counts:read reports:read")], "S01", "", PLENTY), 403),
        (get("S03", ""), 404),
        (get("S01 S02", ""), 404),
        (get("", ""), 404),
        (get_as(&[("role", "staff"), ("token_use", "id")], "S01", "", PLENTY), 401),
        (get_as(&[("role", "staff"), ("sub", "")], "S01", "", PLENTY), 401),
        (request(ROUTE, &[("site", "S01")], "", None, None, PLENTY), 401),
        (request("GET /v1/elsewhere", &[], "", Some(claims(&STAFF)), None, PLENTY), 404),
    ];
    for (request, expected) in refusals {
        let route = request.uri().to_string();
        assert_eq!(send(&world, request).await.0, expected, "{route}");
    }
    assert_eq!(world.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn each_request_is_one_call_of_the_site() {
    let world = World::new();
    for query in ["", "limit=x", "cursor=x"] {
        send(&world, get("S01", query)).await;
    }
    assert_eq!(world.count_calls("TransactWriteItems SiteCountsTable"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_read_of_more_than_two_seconds_is_504_in_the_callers_language() {
    for (accepted, named, tag, detail) in [
        ("", "", "en", ENGLISH),
        ("de", "", "en", ENGLISH),
        ("zh-CN, en;q=0.5", "", "zh-Hans", CHINESE),
        ("en", "lang=zh", "zh-Hans", CHINESE),
    ] {
        let world = World::new();
        world.inject_into("Query RecordsTable", usize::MAX, Fault::Stall);
        let mut request = get("S01", named);
        request.headers_mut().insert("accept-language", HeaderValue::from_static(accepted));
        let (patients, start) = (Patients::new(world.store()), Instant::now());
        let (status, headers, problem) = answer(&patients, request).await;
        assert_eq!((status, &problem["type"]), (504, &json!("urn:epro:problem:timed-out")));
        assert_eq!((&problem["detail"], headers["content-language"].to_str().unwrap()), (&json!(detail), tag));
        assert_eq!(headers["retry-after"], "1");
        assert_eq!(start.elapsed().as_millis() / 10, 200, "not before, and not long after: {:?}", start.elapsed());
        // No call is in flight after the answer.
        assert!(world.count_calls("Query RecordsTable") > 0);
        assert_eq!((world.in_flight(), tokio::runtime::Handle::current().metrics().num_alive_tasks()), (0, 0));
        let calls = world.calls().len();
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(world.calls().len(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn everything_besides_the_patients_is_read_at_the_same_time() {
    let world = World::new();
    let start = Instant::now();
    assert_eq!(send(&world, get("S01", "")).await.0, 200);
    // The query, the key, the entry and the count take 2 ms each on the test's clock.
    assert!(start.elapsed() <= Duration::from_millis(3), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_comes_before_the_reserve_and_leaves_nothing_running() {
    let world = World::new();
    enrol(&world, (0..4).map(|n| format!("P-{n}"))).await;
    let (_, _, first) = send(&world, get("S01", "limit=2")).await;
    let following = format!("cursor={}", first["next"].as_str().unwrap());
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000, 10_000] {
        for stalled in ["Query", "GetItem", "PutItem key", "PutItem audit", "TransactWriteItems", ""] {
            for fault in [Fault::Stall, Fault::ApplyAndStall] {
                for query in ["", following.as_str()] {
                    let case = format!("{remaining} {stalled} {fault:?} {query}");
                    let fault = fault.clone();
                    world.inject(move |call| {
                        let kind = call.body["Item"]["kind"]["S"].as_str().unwrap_or_default();
                        (format!("{} {kind}", call.name()).trim_end() == stalled).then(|| fault.clone())
                    });
                    let request = get_as(&STAFF, "S01", query, Duration::from_millis(remaining));
                    let start = Instant::now();
                    let (status, _, body) = send(&world, request).await;
                    let most = Duration::from_millis(remaining.saturating_sub(250));
                    assert!(start.elapsed() <= most, "{case}: {:?}", start.elapsed());
                    let enough = remaining > 250 && ["TransactWriteItems", ""].contains(&stalled);
                    assert_eq!(status, if enough { 200 } else { 504 }, "{case}: {body}");
                    // The count is retried once the store responds again.
                    let counting = usize::from(enough && stalled == "TransactWriteItems");
                    assert_eq!(world.in_flight(), counting, "{case}");
                    world.heal();
                    tokio::time::sleep(Duration::from_secs(20)).await;
                    assert_eq!(world.in_flight(), 0, "{case}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_not_stored_is_refused_unless_the_deployment_is_open() {
    let world = World::new();
    let (status, _, body) = answer(&Patients::new(world.closed_store()), get("S01", "")).await;
    assert_eq!((status, body.get("patients")), (403, None));
    world.put_study(json!({})).await;
    let (status, headers, _) = answer(&Patients::new(world.closed_store()), get("S01", "")).await;
    assert_eq!((status, &headers["cache-control"]), (200, &HeaderValue::from_static("no-store")));
}

/// Sends `body` to the registry's route of `patient` whose last part is `part`.
async fn register(world: &World, method: &str, part: &str, patient: &str, body: Value) {
    let route = format!("{method} /v1/patients/{{patient}}{part}");
    let request = request(&route, &[("patient", patient)], "", Some(claims(&STAFF)), Some(&body.to_string()), PLENTY);
    assert!(Registry::new(world.store()).handle(request).await.unwrap().status().is_success());
}

#[tokio::test(start_paused = true)]
async fn a_patient_who_is_enrolled_and_has_sent_nothing_is_listed() {
    let world = World::new();
    register(&world, "PUT", "", "P-7", json!({"site": "S01", "enrolledOn": "2026-11-01"})).await;
    let (_, _, page) = send(&world, get("S01", "")).await;
    assert_eq!(page["patients"], json!([{"patient": "P-7", "enrolledOn": "2026-11-01"}]));
}

#[tokio::test(start_paused = true)]
async fn a_registered_patient_is_listed_once_and_at_the_site_that_is_responsible() {
    let world = World::new();
    enrol(&world, (1..=3).map(|n| format!("P-{n}"))).await;
    register(&world, "PUT", "", "P-2", json!({"enrolledOn": "2026-11-01"})).await;
    // Two entries of the index are one patient, also where a page ends.
    let (_, _, first) = send(&world, get("S01", "limit=2")).await;
    assert_eq!(names(&first), ["P-1", "P-2"]);
    let (_, _, last) = send(&world, get("S01", &format!("limit=2&cursor={}", first["next"].as_str().unwrap()))).await;
    assert_eq!((names(&last), last.get("next")), (vec!["P-3".to_owned()], None));

    register(&world, "POST", "/transfer", "P-2", json!({"site": "S02", "reason": "moved"})).await;
    // What a phone still sends for the old site moves nobody back.
    arrive(&world, &[("S01", "P-2", "phq-2", "2026-11-05T08:00:00Z", phq_2(0))]).await;
    assert_eq!(names(&send(&world, get("S01", "")).await.2), ["P-1", "P-3"]);
    let (_, _, there) = send(&world, get("S02", "")).await;
    assert_eq!((names(&there), &there["patients"][0]["scores"][0]["count"]), (vec!["P-2".to_owned()], &json!(2)));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_marked_and_hides_the_data_where_that_was_asked_for() {
    let world = World::new();
    enrol(&world, ["P-1", "P-2"].map(str::to_owned)).await;
    for (patient, mode) in [("P-1", "stop"), ("P-2", "stop-and-hide")] {
        let body = json!({"mode": mode, "requestedBy": "patient", "reason": "no time"});
        register(&world, "POST", "/withdrawal", patient, body).await;
    }
    let (_, _, page) = send(&world, get("S01", "")).await;
    let [stopped, hidden] = [0, 1].map(|index| &page["patients"][index]);
    assert_eq!((&stopped["withdrawn"]["mode"], stopped["scores"].is_array()), (&json!("stop"), true));
    assert_eq!(&hidden["withdrawn"]["mode"], "stop-and-hide");
    let shown: Vec<&String> = hidden.as_object().unwrap().keys().collect();
    assert_eq!(shown, ["enrolledOn", "patient", "withdrawn"]);
}

#[tokio::test(start_paused = true)]
async fn a_registration_that_cannot_be_read_hides_the_data_of_its_patient_alone() {
    let world = World::new();
    enrol(&world, ["P-1", "P-2"].map(str::to_owned)).await;
    register(&world, "PUT", "", "P-1", json!({"enrolledOn": "2026-11-01"})).await;
    world.tamper("registration", "enrolled_on", "soon");
    let (_, _, page) = send(&world, get("S01", "")).await;
    assert_eq!(page["patients"][0], json!({"patient": "P-1", "unreadable": "attribute enrolled_on is not a date"}));
    assert!(page["patients"][1]["scores"].is_array(), "{page}");
}

#[tokio::test(start_paused = true)]
async fn compliance_is_that_of_all_windows_that_were_answered_or_missed() {
    let world = World::new();
    let daily = json!({
        "id": "daily", "instrument": "phq-9", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 90},
        "window": {"opens": "08:00", "closes": "09:00"},
    });
    world.put_study(json!({"schedules": [daily]})).await;
    for patient in ["P-1", "P-2", "P-3"] {
        register(&world, "PUT", "", patient, json!({"enrolledOn": "2026-10-30", "site": "S01"})).await;
    }
    let done = |late| State::Done { submission: Uuid::now_v7().into(), late };
    for (number, state) in (1..).zip([State::Missed, done(false), done(true), State::Waiting]) {
        for patient in ["P-1", "P-2"] {
            let opens = datetime!(2026-10-30 08:00 UTC) + time::Duration::days(number.into());
            world.put_window(patient, number, opens, state).await;
        }
    }
    let body = json!({"mode": "stop-and-hide", "requestedBy": "patient", "reason": "no time"});
    register(&world, "POST", "/withdrawal", "P-2", body).await;
    let (_, _, page) = send(&world, get("S01", "")).await;
    let compliance = |index: usize| page["patients"][index].get("compliance");
    let of_first = json!([{"instrument": "phq-9", "expected": 3, "completed": 2, "late": 1}]);
    assert_eq!([compliance(0), compliance(1), compliance(2)], [Some(&of_first), None, None], "{page}");
    world.put_study(json!({"version": "1.1.0", "schedules": []})).await;
    let before = world.count_calls("Query RecordsTable");
    send(&world, get("S01", "")).await;
    assert_eq!(world.count_calls("Query RecordsTable") - before, 1, "a study without schedules pays nothing for them");
}
