//! The disk under the local cloud: full, or with what a crash leaves in the middle of a write.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use end_to_end::{Answer, Cloud, phq_9, until};
use serde_json::{Value, json};

const UNSAFE: [u8; 9] = [1, 0, 1, 0, 0, 1, 2, 0, 1];

/// Less than a page of the tables: no write of them fits.
const FULL: u64 = 1_000;

/// Asserts that `submissions`, each with one alert, are stored, scored, counted and published, and nothing else is.
async fn assert_complete(cloud: &Cloud, submissions: &[(Value, Answer)]) {
    let (patient, staff) = (cloud.patient("S01", "P-001").await, cloud.staff("S01").await);
    let expected = submissions.len();
    let alerts = async || -> BTreeSet<String> {
        cloud.inbox("S01").await.iter().map(|message| message["body"]["alertId"].to_string()).collect()
    };
    until("every alert", async || Some(alerts().await).filter(|alerts| alerts.len() >= expected)).await;
    let counts = until("all are scored", async || {
        Some(cloud.counts(&staff, "S01").await).filter(|counts| counts["submissions"].as_u64() >= Some(expected as u64))
    })
    .await;
    assert_eq!((&counts["submissions"], &counts["alerts"]), (&json!(expected), &json!(expected)));
    assert_eq!(alerts().await.len(), expected);
    for (submission, first) in submissions {
        let repeat = cloud.submit(&patient, submission).await;
        assert_eq!((repeat.status, &repeat.body), (200, &first.body), "the receipt from before");
    }
}

async fn accepted(cloud: &Cloud, submission: Value) -> (Value, Answer) {
    let patient = cloud.patient("S01", "P-001").await;
    let answer = until("it is accepted", async || {
        Some(cloud.submit(&patient, &submission).await).filter(|answer| answer.status != 503)
    })
    .await;
    assert!([200, 202].contains(&answer.status), "{}", answer.status);
    (submission, answer)
}

fn append(file: &Path, text: &str) {
    OpenOptions::new().append(true).open(file).unwrap().write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn promises_1_and_7_a_full_disk_accepts_nothing_loses_nothing_and_goes_on_once_there_is_room() {
    let data = tempfile::tempdir().unwrap();
    let cloud = Cloud::start(data.path(), &[]).await.unwrap();
    let patient = cloud.patient("S01", "P-001").await;
    let mut all = vec![accepted(&cloud, phq_9(UNSAFE)).await];
    assert_complete(&cloud, &all).await;

    cloud.limit_files(Some(FULL));
    let late = phq_9(UNSAFE);
    let refused = cloud.submit(&patient, &late).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    until("the disk is reported", async || cloud.log().contains("Free space on its disk").then_some(())).await;
    let message = cloud.log();
    assert!(message.contains("the store cannot write to") && message.contains("it goes on by itself"), "{message}");

    cloud.limit_files(None);
    until("the room is reported", async || cloud.log().contains("the store can write again").then_some(())).await;
    all.push(accepted(&cloud, late).await);
    assert_complete(&cloud, &all).await;

    // The end of the process in the middle of it changes nothing.
    cloud.limit_files(Some(FULL));
    let last = phq_9(UNSAFE);
    assert_eq!(cloud.submit(&patient, &last).await.status, 503);
    cloud.kill().await;
    let cloud = Cloud::start(data.path(), &[]).await.unwrap();
    all.push(accepted(&cloud, last).await);
    assert_complete(&cloud, &all).await;
}

#[tokio::test]
async fn promise_1_what_a_crash_leaves_of_a_write_is_ignored_or_reported_and_nothing_stored_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let file = |name: &str| data.path().join(name);
    let elsewhere = tempfile::tempdir().unwrap();
    let subscribe = format!("file:{}", elsewhere.path().join("delivered.ndjson").display());
    let cloud = Cloud::start(data.path(), &["--subscribe", &subscribe]).await.unwrap();
    let mut all = vec![accepted(&cloud, phq_9(UNSAFE)).await, accepted(&cloud, phq_9(UNSAFE)).await];
    assert_complete(&cloud, &all).await;
    cloud.kill().await;

    // Torn ends of the files that are appended to, and files beside those that are replaced whole.
    append(&file("dynamodb/tables.sqlite-wal"), &"a page that was written in part".repeat(50));
    append(&file("sns/messages.ndjson"), "{\"message\":{\"id\":\"ha");
    append(&file("sns/deliveries.ndjson"), "{\"message\":\"ha");
    for whole in ["version", "issuer.der", "stream/checkpoints.json", "sns/messages.ndjson"] {
        fs::write(file(&format!("{whole}.tmp")), "ha").unwrap();
    }
    let cloud = Cloud::start(data.path(), &[]).await.unwrap();
    assert_complete(&cloud, &all).await;
    all.push(accepted(&cloud, phq_9(UNSAFE)).await);
    assert_complete(&cloud, &all).await;
    cloud.kill().await;

    // A damaged position of the stream is an error that says what to do. Doing it delivers everything again.
    let checkpoints = file("stream/checkpoints.json");
    let text = fs::read(&checkpoints).unwrap();
    fs::write(&checkpoints, &text[..text.len() / 2]).unwrap();
    let failure = Cloud::start(data.path(), &[]).await.err().expect("the checkpoints are damaged");
    assert_eq!(failure.code, Some(1));
    assert!(failure.message.contains("cannot read the checkpoints in"), "{}", failure.message);
    assert!(failure.message.contains("removing them delivers all records again"), "{}", failure.message);
    fs::remove_file(&checkpoints).unwrap();
    let cloud = Cloud::start(data.path(), &[]).await.unwrap();
    assert_complete(&cloud, &all).await;
    cloud.kill().await;

    // So are damaged messages.
    let messages = file("sns/messages.ndjson");
    let text = fs::read_to_string(&messages).unwrap();
    fs::write(&messages, text.replacen('{', "", 1)).unwrap();
    let failure = Cloud::start(data.path(), &[]).await.err().expect("the messages are damaged");
    assert_eq!(failure.code, Some(1));
    assert!(failure.message.contains("cannot use the messages and subscriptions in"), "{}", failure.message);
    fs::write(&messages, text).unwrap();
    let cloud = Cloud::start(data.path(), &[]).await.unwrap();
    assert_complete(&cloud, &all).await;
}
