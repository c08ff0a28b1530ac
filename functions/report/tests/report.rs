//! `report` as site staff see it, over the real SDK and a store in memory that real functions filled.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use clinical::schedules::State;
use harness::{Fault, World, claims, request};
use invocation::Deadline;
use lambda_http::{Body, Request, Response};
use registry::Registry;
use report::Report;
use serde_json::{Value, json};
use submit::Submit;
use time::OffsetDateTime;
use time::macros::datetime;
use tokio::time::Instant;

const PLENTY: Duration = Duration::from_secs(10);
const STAFF: [(&str, &str); 3] = [("role", "staff"), ("patient", ""), ("scope", "reports:read")];
const PERIOD: &str = "from=2026-11-01&to=2026-11-14";
const RECORDS: &str = "Query RecordsTable";

/// Sends a PHQ-9 of `patient`, completed at `authored_at`, whose ninth item has the code `ninth`; 5 or more in all.
async fn send(world: &World, site: &str, patient: &str, authored_at: &str, ninth: u8) {
    let id = format!("0192f3a4-7c1e-7b2a-9d4e-{:012x}", world.count_calls("PutItem RecordsTable"));
    let answers = json!({"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": ninth});
    let body =
        json!({"id": id, "instrument": "phq-9", "version": "1.0.0", "authoredAt": authored_at, "answers": answers});
    let claims = claims(&[("sites", site), ("patient", patient)]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
}

async fn score_all(world: &World) {
    assert_eq!(world.score(&world.stream(), Duration::from_secs(60)).await, 0);
}

/// A site with two patients, one of whom raised an alert.
async fn filled() -> World {
    let world = World::new();
    for day in 1..=9 {
        send(&world, "S01", "P-001", &format!("2026-11-0{day}T08:00:00Z"), 0).await;
    }
    send(&world, "S01", "P-002", "2026-11-03T08:00:00Z", 2).await;
    score_all(&world).await;
    // It was raised when it was scored, which is now.
    world.tamper("alert", "raised_at", "2026-11-03T08:00:02Z");
    world
}

fn get(caller: &[(&str, &str)], site: &str, query: &str, remaining: Duration) -> Request {
    request("GET /v1/sites/{site}/report", &[("site", site)], query, Some(claims(caller)), None, remaining)
}

async fn answer(world: &World, request: Request) -> Response<Body> {
    Report::new(world.store()).handle(request).await.unwrap()
}

async fn refusal(world: &World, request: Request) -> (u16, Value) {
    let response = answer(world, request).await;
    let Body::Text(text) = response.body() else { panic!("a problem is text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

/// The text of the report.
fn text(response: &Response<Body>) -> String {
    let Body::Binary(pdf) = response.body() else { panic!("a report is binary: {:?}", response.body()) };
    let document = lopdf::Document::load_mem(pdf).unwrap();
    let pages: Vec<u32> = document.get_pages().keys().copied().collect();
    document.extract_text(&pages).unwrap().replace('\n', " ")
}

#[tokio::test(start_paused = true)]
async fn submissions_scores_and_alerts_are_in_the_report_of_their_site() {
    let world = filled().await;
    let response = answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await;
    assert_eq!(response.status(), 200);
    let header = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/pdf");
    assert_eq!(header("content-disposition"), "inline; filename=\"report-S01-2026-11-01-2026-11-14.pdf\"");
    assert_eq!((header("cache-control"), header("content-language")), ("no-store", "en"));

    let text = text(&response);
    for expected in [
        "Patients  2 2 with submissions",
        "Submissions  10",
        "P-001  phq-9  9 no schedule",
        "P-002  phq-9  1 no schedule",
        "Submissions by state: 10 scored",
        "critical  P-002  phq-9  safety  sent",
        header("x-report-hash"),
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn schedule_names_and_time_zone_are_those_of_the_stored_study() {
    let world = World::new();
    world
        .put_study(json!({
            "title": {"en": "Sleep and mood"},
            "sites": [{"id": "S01", "name": "Charité Mitte", "timeZone": "Asia/Shanghai"}],
            "instruments": [{"id": "phq-9", "version": "1.0.0", "everyDays": 7}],
        }))
        .await;
    // The last minutes of 31 October in UTC are the morning of 1 November in Shanghai.
    send(&world, "S01", "P-001", "2026-10-31T23:50:00Z", 0).await;
    send(&world, "S01", "P-001", "2026-11-14T15:59:00Z", 0).await;
    // And this is the 15th there.
    send(&world, "S01", "P-001", "2026-11-14T16:00:00Z", 0).await;
    score_all(&world).await;
    let text = text(&answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await);
    for expected in [
        "DEMO – Sleep and mood",
        "S01 – Charité Mitte",
        "2026-11-01 – 2026-11-14 (Asia/Shanghai)",
        "P-001  phq-9  2 2 2 100 %  2026-11-14 23:59",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_language_is_that_of_the_request() {
    let world = filled().await;
    let response = answer(&world, get(&STAFF, "S01", &format!("{PERIOD}&lang=zh"), PLENTY)).await;
    assert_eq!(response.headers()["content-language"], "zh-Hans");
    assert!(text(&response).contains("研究中心报告"));
    let mut request = get(&STAFF, "S01", PERIOD, PLENTY);
    request.headers_mut().insert("accept-language", "zh-CN, en;q=0.5".parse().unwrap());
    assert_eq!(answer(&world, request).await.headers()["content-language"], "zh-Hans");
}

#[tokio::test(start_paused = true)]
async fn the_hash_covers_the_data_and_not_the_language() {
    let world = filled().await;
    let hash = async |query: &str| {
        answer(&world, get(&STAFF, "S01", query, PLENTY)).await.headers()["x-report-hash"].to_str().unwrap().to_owned()
    };
    let first = hash(PERIOD).await;
    assert_eq!((first.len(), &first), (64, &hash(&format!("{PERIOD}&lang=zh")).await));
    assert_ne!(first, hash("from=2026-11-01&to=2026-11-13").await);
    world.tamper("alert", "status", "ACKNOWLEDGED");
    let second = hash(PERIOD).await;
    world.tamper("alert", "acknowledged_at", "2026-11-03T09:10:00Z");
    world.tamper("alert", "acknowledged_by", "clinician-7");
    assert!(second != first && second != hash(PERIOD).await);
    let text = text(&answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await);
    assert!(text.contains("acknowledged") && text.contains("2026-11-03 09:10   clinician-7"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn the_report_is_limited_to_its_site_and_period() {
    let world = filled().await;
    send(&world, "S02", "P-100", "2026-11-03T08:00:00Z", 3).await;
    // A patient who moved to S01: what was sent at the other site stays that site's.
    send(&world, "S02", "P-003", "2026-11-03T08:00:00Z", 3).await;
    send(&world, "S01", "P-003", "2026-11-05T08:00:00Z", 0).await;
    // Just inside and just outside of the period, whatever offset the phone has.
    send(&world, "S01", "P-004", "2026-10-31T19:00:00-05:00", 0).await;
    send(&world, "S01", "P-004", "2026-10-31T18:59:59-05:00", 0).await;
    send(&world, "S01", "P-004", "2026-11-15T04:59:59+05:00", 0).await;
    send(&world, "S01", "P-004", "2026-11-15T05:00:00+05:00", 0).await;
    score_all(&world).await;
    world.tamper("alert", "raised_at", "2026-11-03T08:00:02Z");
    let text = text(&answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await);
    for expected in ["Patients  4 4 with", "Submissions  13", "P-003  phq-9  1 no", "P-004  phq-9  2 no"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("P-100") && !text.contains("critical  P-003"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn promise_8_an_unreadable_record_affects_no_other_and_is_counted() {
    let world = filled().await;
    world.tamper("alert", "severity", "terrible");
    let text = text(&answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await);
    assert!(
        text.contains("records that could not be read and are not included in this report: 1.")
            && text.contains("Submissions  10"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn pages_of_the_store_are_read_to_the_end() {
    let world = filled().await;
    // A first page with nothing on it, of the patients, of each patient's records, and of the alerts.
    world.inject(|call| {
        let first = call.operation == RECORDS && call.body["ExclusiveStartKey"].is_null();
        if !first {
            return None;
        }
        let (pk, sk) = (json!({"S": "PATIENT#DEMO#P-000"}), json!({"S": "0"}));
        let mut key = json!({"pk": pk, "sk": sk});
        let values = &call.body["ExpressionAttributeValues"];
        if call.body["IndexName"] == "site" {
            (key["site_key"], key["site_sort"]) = (json!({"S": "SITE#DEMO#S01"}), json!({"S": "PATIENT#P-000"}));
        } else {
            key["pk"] = values[":pk"].clone();
            // Of a patient, it is within what is asked for.
            if !values[":first"].is_null() {
                key["sk"] = values[":first"].clone();
            }
        }
        let nothing = json!({"Items": [], "Count": 0, "ScannedCount": 1, "LastEvaluatedKey": key});
        Some(Fault::Answer(200, nothing))
    });
    let text = text(&answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await);
    assert!(text.contains("Patients  2 2 with") && text.contains("Submissions  10"), "{text}");
    assert_eq!(world.count_calls(RECORDS), 8, "two pages of the patients, of each of the two, and of the alerts");
}

#[tokio::test(start_paused = true)]
async fn a_site_without_patients_has_a_report_too() {
    let text = text(&answer(&World::new(), get(&STAFF, "S01", "", PLENTY)).await);
    assert!(text.contains("The site has no patients yet."), "{text}");
}

#[tokio::test(start_paused = true)]
async fn promise_9_reports_are_for_the_sites_own_staff() {
    let world = World::new();
    for (request, expected) in [
        (get(&[("scope", "reports:read")], "S01", "", PLENTY), 403),
        (get(&[("role", "clinician"), ("scope", "reports:read")], "S01", "", PLENTY), 403),
        (get(&[("role", "service"), ("scope", "reports:read")], "S01", "", PLENTY), 403),
        (get(&[("role", "staff"), ("scope", "counts:read patients:read")], "S01", "", PLENTY), 403),
        (get(&STAFF, "S02", "", PLENTY), 404),
        (get(&[("token_use", "id"), ("role", "staff")], "S01", "", PLENTY), 401),
        (request("GET /v1/sites/{site}/report", &[("site", "S01")], "", None, None, PLENTY), 401),
        (request("GET /v1/elsewhere", &[], "", Some(claims(&STAFF)), None, PLENTY), 404),
    ] {
        assert_eq!(refusal(&world, request).await.0, expected);
    }
    assert_eq!(world.calls(), []);
    // Another study's staff of a site of the same name see their own patients, of whom there are none.
    let world = filled().await;
    let others = [("role", "staff"), ("patient", ""), ("scope", "reports:read"), ("study", "OTHER")];
    assert!(text(&answer(&world, get(&others, "S01", PERIOD, PLENTY)).await).contains("no patients"));
}

#[tokio::test(start_paused = true)]
async fn invalid_days_are_returned_with_their_pointers() {
    let world = World::new();
    for (query, pointer, code) in [
        ("from=2026-11-31", "/from", "query.date"),
        ("from=2026-11-01&to=tomorrow", "/to", "query.date"),
        ("from=2026-11-02&to=2026-11-01", "/from", "query.order"),
        ("from=2025-01-01&to=2026-11-01", "/from", "query.length"),
    ] {
        let (status, problem) = refusal(&world, get(&STAFF, "S01", query, PLENTY)).await;
        let found = &problem["errors"][0];
        assert_eq!((status, &found["pointer"], &found["code"]), (422, &json!(pointer), &json!(code)), "{query}");
    }
    assert_eq!(world.items("audit"), Vec::<Value>::new(), "nothing was read");
}

#[tokio::test(start_paused = true)]
async fn a_report_is_returned_only_once_its_audit_entry_is_stored() {
    let world = filled().await;
    assert_eq!(answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await.status(), 200);
    let entries = world.items("audit");
    let [entry] = entries.as_slice() else { panic!("one entry: {entries:?}") };
    assert_eq!(
        (&entry["action"], &entry["pk"], &entry["sub"], &entry["subject"]),
        (&json!("report-read"), &json!("AUDIT#DEMO#S01"), &json!("user-1"), &json!("2026-11-01/2026-11-14")),
    );
    world.inject_into("PutItem RecordsTable", usize::MAX, Fault::Stall);
    let (status, problem) = refusal(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await;
    assert_eq!((status, problem["type"].as_str()), (504, Some("urn:epro:problem:timed-out")));
    assert!(problem["detail"].as_str().unwrap().contains("the step audit"), "{problem}");
    let (_, problem) = refusal(&world, get(&STAFF, "S01", &format!("{PERIOD}&lang=zh"), PLENTY)).await;
    assert_eq!(problem["detail"], "步骤 audit 超时，请稍后重试，或缩短报告期间");
}

#[tokio::test(start_paused = true)]
async fn each_request_is_counted_as_a_call_of_its_site() {
    let world = filled().await;
    answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await;
    let (study, sites) = ("DEMO".parse().unwrap(), ["S01".parse().unwrap()]);
    let counts = world.store().site_counts(&study, &sites, Deadline::after(PLENTY)).await.unwrap();
    assert_eq!(counts[0].api_calls, 11, "ten submissions and the report");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_or_throttles_is_distinguished_from_a_slow_one() {
    for (fault, expected) in [
        (Fault::throttle(), (503, "urn:epro:problem:not-done")),
        (Fault::error("AccessDeniedException"), (500, "urn:epro:problem:internal")),
        (Fault::internal(), (503, "urn:epro:problem:not-done")),
    ] {
        let world = filled().await;
        world.inject_into(RECORDS, usize::MAX, fault.clone());
        let (status, problem) = refusal(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await;
        assert_eq!((status, problem["type"].as_str().unwrap()), expected, "{fault:?}");
    }
    // What passes within the SDK's own repeats is not noticed.
    let world = filled().await;
    world.inject_into(RECORDS, 2, Fault::throttle());
    assert_eq!(answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn rendering_that_cannot_end_in_time_is_not_started() {
    let world = World::new();
    // As many as take longer to draw than the least that the other steps leave.
    for patient in 0..400 {
        send(&world, "S01", &format!("P-{patient}"), "2026-11-03T08:00:00Z", 0).await;
    }
    score_all(&world).await;
    // The first few come at the second attempt only, which takes a part of the time that there is.
    let mut left = 10;
    world.inject(move |call| {
        let partition = call.body["ExpressionAttributeValues"][":pk"]["S"].as_str()?;
        let _of_a_patient = partition.strip_prefix("PATIENT#").filter(|_| left > 0)?;
        left -= 1;
        Some(Fault::Stall)
    });
    let start = Instant::now();
    let (status, problem) = refusal(&world, get(&STAFF, "S01", PERIOD, Duration::from_millis(480))).await;
    assert_eq!((status, problem["type"].as_str()), (504, Some("urn:epro:problem:timed-out")));
    assert!(problem["detail"].as_str().unwrap().contains("the step render"), "{problem}");
    assert!(start.elapsed() <= Duration::from_millis(230), "{:?}", start.elapsed());
    world.heal();
    assert_eq!(answer(&world, get(&STAFF, "S01", PERIOD, Duration::from_millis(600))).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_is_returned_before_the_reserve_and_names_the_step() {
    let reads_of_a_site = |body: &Value| body["IndexName"] == "site";
    let world = filled().await;
    for remaining in [0, 50, 100, 250, 300, 400, 500, 1_000, 3_000, 10_000] {
        for (stalled, step) in [
            ("the study", "authorise"),
            ("the patients", "data"),
            ("a patient's records", "data"),
            ("the entry", "audit"),
            ("the count", ""),
            ("nothing", ""),
        ] {
            world.heal();
            world.inject(move |call| {
                let hit = match stalled {
                    "the study" => call.operation == "GetItem RecordsTable",
                    "the patients" => call.operation == RECORDS && reads_of_a_site(&call.body),
                    "a patient's records" => call.operation == RECORDS && !reads_of_a_site(&call.body),
                    "the entry" => call.operation == "PutItem RecordsTable",
                    "the count" => call.operation == "TransactWriteItems SiteCountsTable",
                    _ => false,
                };
                hit.then_some(Fault::Stall)
            });
            let (time, most) = (Duration::from_millis(remaining), Duration::from_millis(remaining.saturating_sub(250)));
            let start = Instant::now();
            let response = answer(&world, get(&STAFF, "S01", PERIOD, time)).await;
            assert!(start.elapsed() <= most, "{remaining} {stalled}: {:?}", start.elapsed());
            let status = response.status().as_u16();
            // Between: the wall clock goes on while Tokio's is stopped, and what a step takes at least decides.
            let expected: &[u16] = match (remaining, step) {
                (500.., "") => &[200],
                (..500, "") => &[200, 504, 503],
                (..=250, _) => &[504, 503],
                _ => &[504],
            };
            assert!(expected.contains(&status), "{remaining} {stalled}: {status}");
            if status == 504 {
                let Body::Text(text) = response.body() else { panic!("a problem is text") };
                let steps = ["authorise", "data", "audit", "statistics", "render"];
                let named = steps.iter().find(|step| text.contains(&format!("the step {step}")));
                assert!(named.is_some(), "{text}");
                assert!(remaining < 500 || *named.unwrap() == step, "{remaining} {stalled}: {text}");
            }
        }
    }
}

/// Sends `body` of P-001 at S01.
async fn post(world: &World, body: &Value) {
    let request = request("POST /v1/submissions", &[], "", Some(claims(&[])), Some(&body.to_string()), PLENTY);
    assert_eq!(Submit::new(world.store()).handle(request).await.unwrap().status(), 202);
}

/// A PHQ-9 whose id ends in `id`, completed at `authored_at`.
fn phq_9(id: u8, authored_at: &str) -> Value {
    json!({
        "id": format!("0192f3a4-7c1e-7b2a-9d4e-0000000000{id:02}"), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": authored_at, "answers": {"1": 1},
    })
}

/// The ids of what P-001 sent that stands from `from` on and before `until`, and what each is corrected by.
async fn standing(world: &World, from: OffsetDateTime, until: OffsetDateTime) -> Vec<(String, Option<String>)> {
    let (study, site) = ("DEMO".parse().unwrap(), "S01".parse().unwrap());
    let (store, deadline) = (world.store(), Deadline::after(PLENTY));
    let patients = store.site_patients(&study, &site, deadline).await.unwrap();
    let period = store.site_period(&study, &site, patients, from, until, deadline).await.unwrap();
    assert_eq!((period.patients.len(), period.unreadable), (1, 0));
    let submissions = period.patients[0].submissions.iter();
    submissions.map(|one| (one.id.to_string(), one.amended_by.map(|id| id.to_string()))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_correction_is_in_the_period_of_the_submission_that_it_corrects() {
    let world = World::new();
    let original = phq_9(1, "2026-10-03T23:59:59.999Z");
    let mut correction = phq_9(2, "2026-10-20T08:00:00Z");
    correction["amends"] = original["id"].clone();
    correction["reason"] = json!("wrong day");
    post(&world, &original).await;
    post(&world, &correction).await;
    score_all(&world).await;
    let [of, by] = [&original, &correction].map(|body| body["id"].as_str().unwrap().to_owned());
    let (first, fourth) = (datetime!(2026-10-01 00:00 UTC), datetime!(2026-10-04 00:00 UTC));
    assert_eq!(standing(&world, first, fourth).await, [(of, Some(by.clone())), (by, None)]);
    assert_eq!(standing(&world, fourth, datetime!(2026-11-01 00:00 UTC)).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_dated_by_its_effective_time_whatever_the_devices_clock_showed() {
    let world = World::new();
    let mut reset = phq_9(1, "2010-01-01T00:00:00Z");
    reset["sentAt"] = json!("2010-01-01T02:00:00Z");
    post(&world, &reset).await;
    post(&world, &phq_9(2, "2199-01-01T00:00:00Z")).await;
    post(&world, &phq_9(3, "2026-10-03T08:00:00+08:00")).await;
    score_all(&world).await;
    let ids = async |from, until| -> Vec<String> {
        standing(&world, from, until).await.into_iter().map(|(id, _)| id[34..].to_owned()).collect()
    };
    let now = OffsetDateTime::now_utc();
    assert_eq!(ids(now - time::Duration::HOUR * 3, now + time::Duration::HOUR).await, ["01", "02"]);
    assert_eq!(ids(datetime!(2026-10-03 00:00 UTC), datetime!(2026-10-03 00:00:00.000000001 UTC)).await, ["03"]);
    for year in [datetime!(2010-01-01 00:00 UTC), datetime!(2199-01-01 00:00 UTC)] {
        assert_eq!(ids(year - time::Duration::DAY, year + time::Duration::DAY).await, [""; 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_study_that_is_not_stored_is_refused_unless_the_deployment_is_open() {
    let world = World::new();
    let make = async || Report::new(world.closed_store()).handle(get(&STAFF, "S01", PERIOD, PLENTY)).await.unwrap();
    assert_eq!((make().await.status().as_u16(), world.items("audit").len()), (403, 0));
    world.put_study(json!({})).await;
    let made = make().await;
    assert_eq!((made.status().as_u16(), made.headers()["cache-control"].to_str().unwrap()), (200, "no-store"));
}

/// Sends `body` to the registry's route of `patient` whose last part is `part`, or enrols the patient.
async fn register(world: &World, part: &str, patient: &str, body: Value) {
    let method = if part.is_empty() { "PUT" } else { "POST" };
    let route = format!("{method} /v1/patients/{{patient}}{part}");
    let staff = claims(&[("role", "staff"), ("patient", "")]);
    let request = request(&route, &[("patient", patient)], "", Some(staff), Some(&body.to_string()), PLENTY);
    assert!(Registry::new(world.store()).handle(request).await.unwrap().status().is_success());
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_at_a_site_is_in_its_report_after_a_transfer_and_in_no_other() {
    let world = filled().await;
    let of_both = [("role", "staff"), ("patient", ""), ("scope", "reports:read"), ("sites", "S01 S02")];
    register(&world, "/transfer", "P-001", json!({"site": "S02", "reason": "moved"})).await;
    let here = text(&answer(&world, get(&of_both, "S01", PERIOD, PLENTY)).await);
    for expected in ["Patients  1 2 with submissions", "Submissions  10", "P-001 (m)  phq-9  9", "marked (m): 1"] {
        assert!(here.contains(expected), "{expected}: {here}");
    }
    let there = text(&answer(&world, get(&of_both, "S02", PERIOD, PLENTY)).await);
    assert!(there.contains("Patients  1 0 with submissions") && there.contains("Submissions  0"), "{there}");
}

#[tokio::test(start_paused = true)]
async fn a_patient_who_sent_nothing_before_leaving_is_in_the_report_of_the_time_at_the_site() {
    let world = filled().await;
    register(&world, "/transfer", "P-001", json!({"site": "S02", "reason": "moved"})).await;
    // Nothing of the patient is in this period, in which the site was responsible.
    let silent = text(&answer(&world, get(&STAFF, "S01", "from=2026-11-20&to=2026-11-26", PLENTY)).await);
    assert!(silent.contains("P-001 (m)"), "{silent}");
    world.edit("RecordsTable", &world.items("registration")[0], |raw| {
        raw["transfers"]["L"][0]["M"]["at"] = json!({"S": "2026-11-15T08:00:00Z"});
    });
    let gone = text(&answer(&world, get(&STAFF, "S01", "from=2026-11-20&to=2026-11-26", PLENTY)).await);
    assert!(!gone.contains("P-001"), "{gone}");
}

#[tokio::test(start_paused = true)]
async fn a_patient_who_moved_without_a_transfer_stays_in_the_report_of_the_site_that_was_left() {
    let world = filled().await;
    let of_both = [("role", "staff"), ("patient", ""), ("scope", "reports:read"), ("sites", "S01 S02")];
    send(&world, "S02", "P-001", "2026-11-12T08:00:00Z", 0).await;
    score_all(&world).await;
    let here = text(&answer(&world, get(&of_both, "S01", PERIOD, PLENTY)).await);
    assert!(here.contains("P-001 (m)  phq-9  9") && here.contains("Submissions  10"), "{here}");
    let there = text(&answer(&world, get(&of_both, "S02", PERIOD, PLENTY)).await);
    assert!(there.contains("P-001  phq-9  1"), "{there}");
    let later = text(&answer(&world, get(&of_both, "S01", "from=2026-11-20&to=2026-11-26", PLENTY)).await);
    assert!(!later.contains("P-001"), "who left and sent nothing here is not reported: {later}");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawal_is_marked_and_hides_the_data_where_that_was_asked_for() {
    let world = filled().await;
    for (patient, mode) in [("P-001", "stop"), ("P-002", "stop-and-hide")] {
        let body = json!({"mode": mode, "requestedBy": "patient", "reason": "no time"});
        register(&world, "/withdrawal", patient, body).await;
    }
    let text = text(&answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await);
    for expected in ["P-001 (w)  phq-9  9", "P-002 (w)  no submissions", "Submissions  9", "marked (w): 2"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("critical  P-002"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn compliance_is_that_of_the_windows_that_opened_in_the_period_where_a_schedule_asks() {
    let world = World::new();
    let daily = json!({
        "id": "daily", "instrument": "phq-9", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 90},
        "window": {"opens": "08:00", "closes": "09:00"},
    });
    world.put_study(json!({"sites": [{"id": "S01", "name": "One", "timeZone": "UTC"}], "schedules": [daily]})).await;
    let registered = json!({"enrolledOn": "2026-10-30"});
    register(&world, "", "P-001", registered.clone()).await;
    register(&world, "", "P-002", registered).await;
    let done = |late| State::Done { submission: phq_9(1, "")["id"].as_str().unwrap().parse().unwrap(), late };
    let states = [State::Missed, done(false), done(true), State::Missed, done(false), State::Waiting, State::NotAsked];
    for (number, state) in (1..).zip(states) {
        // The first is of 31 October, and in no report of November.
        let opens = datetime!(2026-10-30 08:00 UTC) + time::Duration::days(number.into());
        world.put_window("P-001", number, opens, state).await;
    }
    let text = text(&answer(&world, get(&STAFF, "S01", PERIOD, PLENTY)).await);
    assert!(text.contains("P-001  phq-9  0 4 3 (1 late)  75 %"), "{text}");
    assert!(text.contains("P-002  phq-9  0 0 0"), "{text}");
}
