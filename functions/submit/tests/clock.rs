//! Submissions from devices whose clock is wrong.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use api::Handler;
use harness::{World, claims, request};
use lambda_http::Body;
use serde_json::{Value, json};
use submit::Submit;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(10);

fn submission(authored_at: &str) -> Value {
    json!({
        "id": Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0", "authoredAt": authored_at,
        "answers": {"1": 1, "9": 3},
    })
}

fn sent(mut submission: Value, at: &str) -> Value {
    submission["sentAt"] = json!(at);
    submission
}

/// The current time of a device whose clock is `seconds` ahead.
fn now_and(seconds: i64) -> String {
    (OffsetDateTime::now_utc() + time::Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

fn instant(text: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(text.as_str().unwrap(), &Rfc3339).unwrap()
}

async fn send_to(world: &World, route: &str, body: &Value) -> (u16, Value) {
    let request = request(route, &[], "", Some(claims(&[])), Some(&body.to_string()), PLENTY);
    let response = Submit::new(world.store()).handle(request).await.unwrap();
    let Body::Text(text) = response.body() else { panic!("answers are text") };
    (response.status().as_u16(), serde_json::from_str(text).unwrap())
}

async fn send(world: &World, body: &Value) -> (u16, Value) {
    send_to(world, "POST /v1/submissions", body).await
}

fn stored(world: &World, body: &Value) -> Value {
    world.items("submission").into_iter().find(|item| item["id"] == body["id"]).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_device_with_a_right_clock_keeps_its_time() {
    let world = World::new();
    for body in [submission("2026-11-01T07:58:03+08:00"), sent(submission("2026-11-01T07:58:03+08:00"), &now_and(-299))]
    {
        let (status, receipt) = send(&world, &body).await;
        assert_eq!((status, receipt.get("clock")), (202, None));
        let stored = stored(&world, &body);
        assert_eq!(stored["authored_at"], "2026-11-01T07:58:03+08:00");
        assert_eq!(stored["effective_at"], "2026-10-31T23:58:03.000000000Z");
        assert_eq!(stored.get("clock"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_skew_of_more_than_five_minutes_is_corrected_in_either_direction() {
    // A phone that was reset to 2010, one that is an hour behind, one seven minutes and one ten years ahead.
    for ahead in [-536_000_000, -3_600, -301, 420, 315_360_000] {
        let world = World::new();
        let body = sent(submission(&now_and(ahead - 7_200)), &now_and(ahead));
        let (status, receipt) = send(&world, &body).await;
        assert_eq!(status, 202, "{receipt}");
        let stored = stored(&world, &body);
        let skew = (instant(&body["sentAt"]) - instant(&stored["received_at"])).whole_seconds();
        assert_eq!(receipt["clock"], json!({"skewSeconds": skew, "usedReceivedAt": false}), "{ahead}");
        assert_eq!(stored["clock"], json!({"skew_seconds": skew, "used_received_at": false}));
        assert_eq!(stored["authored_at"], body["authoredAt"], "the device's own time is kept as it was claimed");
        let effective = instant(&body["authoredAt"]) - time::Duration::seconds(skew);
        assert_eq!(instant(&stored["effective_at"]), effective);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_counts_as_completed_after_it_was_received() {
    let in_a_minute = now_and(61);
    let cases = [
        (submission(&in_a_minute), false),
        (submission("2199-01-01T00:00:00Z"), false),
        (submission("9999-12-31T23:59:59Z"), false),
        (sent(submission(&in_a_minute), &in_a_minute), true),
        // By the device's clock, it was sent before it was completed.
        (sent(submission("2026-11-02T00:00:00Z"), "2026-11-01T00:00:00Z"), true),
        // The correction would leave the range of times.
        (sent(submission("9999-12-31T23:59:59Z"), "0000-01-01T00:00:00Z"), true),
        (sent(submission("0000-01-01T00:00:00Z"), "9999-12-31T23:59:59Z"), true),
    ];
    for (body, with_skew) in cases {
        let world = World::new();
        let (status, receipt) = send(&world, &body).await;
        assert_eq!(status, 202, "{receipt}");
        let stored = stored(&world, &body);
        assert_eq!(instant(&stored["effective_at"]), instant(&stored["received_at"]), "{body}");
        assert_eq!(receipt["clock"]["usedReceivedAt"], true);
        assert_eq!((receipt["clock"]["skewSeconds"].is_i64(), receipt["clock"]["skewSeconds"].is_null()), {
            (with_skew, !with_skew)
        });
    }
}

#[tokio::test(start_paused = true)]
async fn no_submission_is_refused_for_being_in_the_past() {
    let world = World::new();
    for (authored_at, effective_at) in [
        ("0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000000Z"),
        ("0001-01-01T00:00:00+23:59", "0000-12-31T00:01:00.000000000Z"),
        ("1969-12-31T23:59:59.999999999-00:01", "1970-01-01T00:00:59.999999999Z"),
        ("2010-01-01T00:00:00+14:00", "2009-12-31T10:00:00.000000000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999999Z"),
    ] {
        let body = submission(authored_at);
        let (status, receipt) = send(&world, &body).await;
        assert_eq!((status, receipt.get("clock")), (202, None), "{authored_at}: {receipt}");
        assert_eq!(stored(&world, &body)["effective_at"], effective_at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeat_may_be_sent_at_another_time_and_gets_the_first_receipt() {
    let world = World::new();
    let body = submission(&now_and(-60));
    let (_, first) = send(&world, &sent(body.clone(), &now_and(3_600))).await;
    assert!(first["clock"]["skewSeconds"].is_i64());
    for again in [body.clone(), sent(body.clone(), &now_and(7_200)), sent(body, "2010-01-01T00:00:00Z")] {
        assert_eq!(send(&world, &again).await, (200, first.clone()));
    }
    assert_eq!(world.items("submission").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn entries_of_a_batch_keep_their_distances_under_a_wrong_clock() {
    let world = World::new();
    let reset = "2010-01-05T00:00:00Z";
    let bodies: Vec<Value> = (1..=4).map(|day| sent(submission(&format!("2010-01-0{day}T00:00:00Z")), reset)).collect();
    let (status, answer) = send_to(&world, "POST /v1/submissions/batch", &json!(bodies)).await;
    assert_eq!(status, 207);
    let times: Vec<_> = bodies.iter().map(|body| instant(&stored(&world, body)["effective_at"])).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] == time::Duration::DAY), "{times:?}");
    assert!(answer["results"].as_array().unwrap().iter().all(|result| result["receipt"]["clock"].is_object()));
}

#[tokio::test(start_paused = true)]
async fn a_fhir_response_of_tomorrow_is_accepted_and_one_without_a_time_is_refused() {
    let world = World::new();
    let response = |authored: &str| {
        json!({
            "resourceType": "QuestionnaireResponse", "status": "completed", "authored": authored,
            "questionnaire": "https://epro.example/Questionnaire/phq-2|1.0.0",
            "identifier": {"system": "urn:ietf:rfc:3986", "value": format!("urn:uuid:{}", Uuid::now_v7())},
            "item": [{"linkId": "1", "answer": [{"valueInteger": 1}]}],
        })
    };
    let route = "POST /v1/fhir/QuestionnaireResponse";
    let (status, receipt) = send_to(&world, route, &response(&now_and(86_400))).await;
    assert_eq!((status, &receipt["clock"]), (202, &json!({"skewSeconds": null, "usedReceivedAt": true})));
    let (status, outcome) = send_to(&world, route, &response("9999-12-31T23:59:59-23:59")).await;
    assert_eq!((status, &outcome["resourceType"]), (422, &json!("OperationOutcome")));
    assert_eq!(outcome["issue"][1]["expression"], json!(["QuestionnaireResponse.authored"]));
    assert_eq!(outcome["issue"][1]["details"]["coding"][0]["code"], "authored-at.range");
}
