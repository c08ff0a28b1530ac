//! The local cloud's clock: what moves with it, and that it is kept.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use end_to_end::{Cloud, phq_9, until};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

const DAY: i64 = 86_400;

fn at(text: &Value) -> OffsetDateTime {
    OffsetDateTime::parse(text.as_str().expect("a time is text"), &Rfc3339).expect("it is in RFC 3339")
}

async fn now(cloud: &Cloud) -> OffsetDateTime {
    at(&cloud.get("/local/clock", None).await.body["now"])
}

/// Asserts that `time` is at most two minutes before now.
#[track_caller]
fn assert_just_now(time: OffsetDateTime, now: OffsetDateTime) {
    assert!(time <= now && now - time < Duration::minutes(2), "{time}, and it is {now}");
}

#[tokio::test]
async fn what_is_received_scored_raised_and_delivered_follows_the_clock() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    assert_eq!(cloud.get("/local/clock", None).await.body["offsetSeconds"], 0);
    let patient = cloud.patient("S01", "P-1").await;
    // The functions have run with the machine's time before.
    assert_eq!(cloud.submit(&patient, &phq_9([0; 9])).await.status, 202);

    let moved = cloud.post("/local/clock", None, &json!({"advanceSeconds": 400 * DAY})).await;
    assert_eq!((moved.status, &moved.body["offsetSeconds"]), (200, &json!(400 * DAY)));
    assert_just_now(at(&moved.body["now"]) - Duration::days(400), OffsetDateTime::now_utc());

    let patient = cloud.patient("S01", "P-1").await;
    let submission = phq_9([1, 1, 1, 1, 1, 1, 1, 1, 2]);
    let receipt = cloud.submit(&patient, &submission).await;
    assert_eq!(receipt.status, 202, "{receipt:?}");
    assert_just_now(at(&receipt.body["receivedAt"]), now(&cloud).await);
    let path = format!("/v1/submissions/{}?patient=P-1", submission["id"].as_str().unwrap());
    let staff = cloud.staff("S01").await;
    let score = until("the score", async || {
        let state = cloud.get(&path, Some(&staff)).await.body;
        (state["status"] == "scored").then(|| state["score"].clone())
    });
    assert_just_now(at(&score.await["scoredAt"]), now(&cloud).await);
    let message = until("the alert", async || cloud.inbox("S01").await.into_iter().next()).await;
    assert_just_now(at(&message["body"]["raisedAt"]), now(&cloud).await);
    assert_just_now(at(&message["publishedAt"]), now(&cloud).await);
    // It is listed once it has ended, which is after the publication.
    let scoring = until("the invocation", async || {
        let listed = cloud.get("/local/invocations?function=score", None).await.body["invocations"].clone();
        let is_its = |one: &&Value| one["cause"]["stream"]["submissions"][0] == submission["id"];
        listed.as_array().unwrap().iter().find(is_its).cloned()
    });
    let scoring = scoring.await;
    assert_just_now(at(&scoring["startedAt"]), now(&cloud).await);
    // What the stream says of the record, which the function compares with its own clock.
    let written = scoring["cause"]["stream"]["oldestMs"].as_i64().unwrap();
    let written = OffsetDateTime::from_unix_timestamp(written / 1_000).unwrap();
    assert_just_now(written, now(&cloud).await);
}

#[tokio::test]
async fn tokens_expire_and_sweep_escalates_when_the_clock_says_so() {
    let (cloud, _data) = Cloud::fresh(&["--memory"]).await;
    let claims = json!({"role": "patient", "study": "DEMO", "sites": "S01", "patient": "P-1", "expiresIn": 3_600});
    let patient = cloud.token(claims).await;
    let submission = phq_9([1, 1, 1, 1, 1, 1, 1, 1, 2]);
    assert_eq!(cloud.submit(&patient, &submission).await.status, 202);
    until("the alert", async || cloud.inbox("S01").await.into_iter().next()).await;
    let sweep = async || cloud.post("/local/schedules/sweep", None, &json!({})).await.body;
    assert_eq!(sweep().await["invocations"][0]["answer"]["escalated"], 0);

    let advance =
        async |seconds: i64| cloud.post("/local/clock", None, &json!({"advanceSeconds": seconds})).await.status;
    assert_eq!(advance(1_700).await, 200);
    assert_eq!(sweep().await["invocations"][0]["answer"]["escalated"], 0, "half an hour is not over");
    assert_eq!(advance(200).await, 200);
    assert_eq!(sweep().await["invocations"][0]["answer"]["escalated"], 1);
    assert_eq!(cloud.submit(&patient, &submission).await.status, 200);
    assert_eq!(advance(1_800).await, 200);
    assert_eq!(cloud.submit(&patient, &submission).await.status, 401, "the token lived for an hour");
}

#[tokio::test]
async fn the_clock_never_goes_back_and_goes_on_from_where_it_was_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let cloud = Cloud::start(&data, &[]).await.expect("it starts");
    let later = OffsetDateTime::now_utc() + Duration::days(30);
    let asked = json!({"now": later.format(&Rfc3339).unwrap()});
    let moved = cloud.post("/local/clock", None, &asked).await;
    assert_eq!(moved.status, 200, "{moved:?}");
    assert_just_now(later - Duration::SECOND, now(&cloud).await);
    for (asked, expected) in [
        (asked, "never goes back"),
        (json!({"advanceSeconds": -1}), "never goes back"),
        (json!({"advanceSeconds": 3_653 * DAY}), "ten years"),
        (json!({"advance": 1}), "advanceSeconds"),
    ] {
        let refused = cloud.post("/local/clock", None, &asked).await;
        assert_eq!(refused.status, 422, "{asked}");
        assert!(refused.body["detail"].as_str().unwrap().contains(expected), "{asked}: {refused:?}");
    }
    // A phone sends again what a function that was killed has not answered.
    let received = async |cloud: &Cloud| {
        let (patient, submission) = (cloud.patient("S01", "P-1").await, phq_9([0; 9]));
        let accepted = until("it is accepted", async || {
            let answer = cloud.submit(&patient, &submission).await;
            matches!(answer.status, 200 | 202).then_some(answer)
        });
        at(&accepted.await.body["receivedAt"])
    };
    assert_just_now(received(&cloud).await, now(&cloud).await);
    // A function that was killed and starts again follows too.
    assert!(cloud.kill_environments("submit").await > 0, "one has just answered");
    assert_just_now(received(&cloud).await, now(&cloud).await);
    let before = now(&cloud).await;
    cloud.kill().await;

    let again = Cloud::start(&data, &[]).await.expect("it starts again");
    let after = now(&again).await;
    assert!(before <= after && after - before < Duration::minutes(10), "{before}, then {after}");
    assert!(again.log().contains("the clock goes on from where it was moved"), "{}", again.log());
    assert_just_now(received(&again).await, now(&again).await);
    let verified = again.command(&["verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}
