//! Batches of the stream from handler to stored scores and published alerts, over the real SDK, a store in memory and
//! an SNS that records what it is sent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::Handler;
use clinical::instruments::Catalog;
use harness::{Call, Fault, Path, Published, World, claims, context, record_texts, request, stream_event};
use invocation::{Clock, Deadline};
use lambda_runtime::LambdaEvent;
use records::SiteCounts;
use records::stream::{Batch, Record};
use score::{BatchError, Score};
use scoring::{Queue, Scoring, StagesEnded};
use serde_json::{Value, json};
use submit::Submit;
use tokio::time::Instant;
use uuid::Uuid;

const PLENTY: Duration = Duration::from_secs(60);

/// Submits a PHQ-9 whose items have `codes`, and returns its id.
async fn send(world: &World, site: &str, patient: &str, codes: &[(u8, u8)]) -> String {
    send_as(world, "phq-9", site, patient, codes, "2026-11-01T08:00:00Z").await
}

/// The latest version of a shipped instrument.
fn latest(instrument: &str) -> String {
    Catalog::shipped().latest(&instrument.parse().unwrap()).unwrap().version().to_string()
}

async fn send_as(
    world: &World,
    instrument: &str,
    site: &str,
    patient: &str,
    codes: &[(u8, u8)],
    authored_at: &str,
) -> String {
    let id = Uuid::now_v7().to_string();
    let answers: BTreeMap<String, u8> = codes.iter().map(|(item, code)| (item.to_string(), *code)).collect();
    let body = json!({
        "id": id, "instrument": instrument, "version": latest(instrument), "authoredAt": authored_at, "answers": answers,
    });
    let claims = claims(&[("sites", site), ("patient", patient)]);
    let request = request("POST /v1/submissions", &[], "", Some(claims), Some(&body.to_string()), PLENTY);
    let answer = Submit::new(world.store()).handle(request).await.unwrap();
    assert_eq!(answer.status(), 202);
    id
}

const CALM: [(u8, u8); 9] = [(1, 1), (2, 0), (3, 1), (4, 0), (5, 0), (6, 1), (7, 2), (8, 0), (9, 0)];
const UNSAFE: [(u8, u8); 9] = [(1, 1), (2, 0), (3, 1), (4, 0), (5, 0), (6, 1), (7, 2), (8, 0), (9, 1)];
const SEVERE: [(u8, u8); 9] = [(1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (7, 3), (8, 3), (9, 3)];

/// Processes `records`, and returns the sequence numbers of those that are not done.
async fn process(world: &World, records: &[Value], remaining: Duration) -> Vec<String> {
    let score = Score::new(world.store(), world.topic());
    let answer = score.handle(stream_event(records, remaining)).await.unwrap();
    answer.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}

async fn process_all(world: &World) {
    assert_eq!(process(world, &world.stream(), PLENTY).await, Vec::<String>::new());
}

fn number(record: &Value) -> String {
    record["dynamodb"]["SequenceNumber"].as_str().unwrap().to_owned()
}

async fn counts(world: &World, site: &str) -> SiteCounts {
    let (study, site) = ("DEMO".parse().unwrap(), site.parse().unwrap());
    world.store().site_counts(&study, &[site], Deadline::after(PLENTY)).await.unwrap().remove(0)
}

/// Asserts promises 2, 3 and 4, which hold once all records are processed, whatever happened before.
async fn all_promises_hold(world: &World, site: &str, submissions: u64, alerts: u64) {
    let counts = counts(world, site).await;
    assert_eq!((counts.submissions, counts.alerts), (submissions, alerts), "the counts of {site}");
    assert_eq!(counts.by_instrument.values().sum::<u64>(), submissions);
    let scored: Vec<Value> = world.items("submission").into_iter().filter(|item| item["site"] == site).collect();
    assert_eq!(scored.len() as u64, submissions);
    for submission in &scored {
        assert!(
            submission["scored_at"].is_string() && submission["pending"].is_null(),
            "scored, and no longer on the list"
        );
    }
    let rows: Vec<Value> = world.items("alert").into_iter().filter(|item| item["site"] == site).collect();
    assert_eq!(rows.len() as u64, alerts, "the alerts of {site}");
    let published: Vec<Value> = world.published().iter().map(|published| published.body()).collect();
    for row in &rows {
        let waits = row["pending"].as_str().is_some_and(|pending| pending.starts_with("OPEN#"));
        assert_eq!((&row["status"], waits), (&json!("SENT"), row["severity"] == "critical"), "on the list to escalate");
        assert!(row["message_id"].is_string());
        assert!(published.iter().any(|body| body["alertId"] == row["alert_id"]), "each alert is published");
    }
    for body in published.iter().filter(|body| body["site"] == site) {
        assert!(rows.iter().any(|row| row["alert_id"] == body["alertId"]), "nothing without a row is published");
    }
    let open: u64 = world
        .items("profile")
        .iter()
        .filter(|profile| profile["site_key"] == format!("SITE#DEMO#{site}"))
        .map(|profile| profile["open_alerts"].as_u64().unwrap())
        .sum();
    assert_eq!(open, alerts);
}

#[tokio::test(start_paused = true)]
async fn a_submission_is_scored_counted_and_its_alert_published() {
    let world = World::new();
    let id = send(&world, "S01", "P-001", &UNSAFE).await;
    process_all(&world).await;
    all_promises_hold(&world, "S01", 1, 1).await;

    let submission = &world.items("submission")[0];
    assert_eq!(submission["score"]["scores"][0]["value"], 6);
    assert_eq!(submission["score"]["scores"][0]["band"], "mild");

    let published = &world.published()[0];
    assert_eq!(published.subject, "ePRO alert: critical at S01");
    let attributes = [("rule", "safety"), ("severity", "critical"), ("site", "S01"), ("study", "DEMO")];
    let mut expected: BTreeMap<String, String> =
        attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let correlation_id = world.items("submission")[0]["correlation_id"].as_str().unwrap().to_owned();
    expected.insert("correlationId".to_owned(), correlation_id);
    assert_eq!(published.attributes, expected);
    assert_eq!(published.body()["submissionId"], id);
}

#[tokio::test(start_paused = true)]
async fn promise_10_no_alert_contains_an_answer_a_score_an_instrument_or_a_patient() {
    let world = World::new();
    send(&world, "S01", "P-SECRET", &SEVERE).await;
    process_all(&world).await;
    assert_eq!(world.published().len(), 2);
    for published in world.published() {
        let Published { subject, message, attributes, .. } = &published;
        let all = format!("{subject} {message:?} {attributes:?}").to_lowercase();
        for secret in ["p-secret", "phq", "27", "severe\"", "item", "depress"] {
            // The ids are hexadecimal, so digits alone prove nothing in them.
            let body = published.body();
            let without_ids = all
                .replace(body["alertId"].as_str().unwrap(), "")
                .replace(attributes["correlationId"].as_str(), "")
                .replace(body["submissionId"].as_str().unwrap(), "")
                .replace(body["raisedAt"].as_str().unwrap().to_lowercase().as_str(), "");
            assert!(!without_ids.contains(secret), "{secret} in {without_ids}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_response_gets_no_score_and_its_safety_alert() {
    let world = World::new();
    send(&world, "S01", "P-001", &[(1, 1), (9, 2)]).await;
    process_all(&world).await;
    all_promises_hold(&world, "S01", 1, 1).await;
    let score = &world.items("submission")[0]["score"];
    assert_eq!(score["scores"], json!([]));
    assert_eq!(score["not_scored"][0]["id"], "total");
    assert!(score["not_scored"][0]["reason"].as_str().unwrap().contains("not answered"), "{score}");
    assert_eq!(world.items("profile")[0]["courses"], json!({}), "a submission without a score changes no course");
}

#[tokio::test(start_paused = true)]
async fn one_batch_of_many_sites_and_patients_is_committed_in_few_transactions() {
    let world = World::new();
    for n in 0..100 {
        let codes = if n % 10 == 0 { UNSAFE } else { CALM };
        send(&world, &format!("S0{}", n % 2), &format!("P-{:03}", n % 40), &codes).await;
    }
    process_all(&world).await;
    all_promises_hold(&world, "S00", 50, 10).await;
    all_promises_hold(&world, "S01", 50, 0).await;
    assert_eq!(world.count_calls("TransactWriteItems"), 4, "two sites, two chunks each");
    assert_eq!(world.count_calls("PublishBatch"), 2, "the alerts of a chunk in one call, where it has any");
}

#[tokio::test(start_paused = true)]
async fn promise_2_a_repeated_record_is_scored_and_counted_once() {
    let world = World::new();
    for n in 0..5 {
        send(&world, "S01", &format!("P-{n}"), &UNSAFE).await;
    }
    let stream = world.stream();
    let twice: Vec<Value> = stream.iter().chain(&stream).cloned().collect();
    assert_eq!(process(&world, &twice, PLENTY).await, Vec::<String>::new());
    assert_eq!(process(&world, &stream[2..], PLENTY).await, Vec::<String>::new());
    process_all(&world).await;
    all_promises_hold(&world, "S01", 5, 5).await;
    assert_eq!(world.published().len(), 5, "a repeat finds its alert sent");
}

#[tokio::test(start_paused = true)]
async fn promise_8_a_scored_submission_is_recognised_whichever_reason_of_its_cancellation_is_reported() {
    // The reasons are those of the submission and its alert; DynamoDB need not report both.
    for reported in 0..2 {
        let world = World::new();
        send(&world, "S01", "P-1", &UNSAFE).await;
        process_all(&world).await;
        world.connect(move |_| Path { one_reason: Some(reported), ..Path::default() });
        process_all(&world).await;
        assert_eq!(world.items("quarantined"), Vec::<Value>::new(), "{reported}");
        all_promises_hold(&world, "S01", 1, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn promise_2_scored_and_new_submissions_in_one_chunk_are_distinguished() {
    let world = World::new();
    for n in 0..6 {
        send(&world, "S01", "P-001", &if n % 2 == 0 { UNSAFE } else { CALM }).await;
        if n == 2 {
            process_all(&world).await;
        }
    }
    process_all(&world).await;
    all_promises_hold(&world, "S01", 6, 3).await;
    let course = &world.items("profile")[0]["courses"]["phq-9#1.0.0"];
    let latest = world.items("submission").into_iter().max_by_key(|item| item["id"].to_string()).unwrap();
    assert_eq!(course["l"][0]["s"], latest["id"]);
}

#[tokio::test(start_paused = true)]
async fn a_late_submission_is_ordered_by_its_effective_time() {
    let world = World::new();
    for (day, codes) in [("03", CALM), ("01", UNSAFE), ("02", SEVERE)] {
        send_as(&world, "phq-9", "S01", "P-001", &codes, &format!("2026-11-{day}T08:00:00Z")).await;
        process_all(&world).await;
    }
    let course = world.items("profile")[0]["courses"]["phq-9#1.0.0"].clone();
    let totals = [&course["b"], &course["l"][0]].map(|point| point["x"]["total"].clone());
    assert_eq!((totals, &course["n"]), ([json!(6), json!(5)], &json!(3)));
}

#[tokio::test(start_paused = true)]
async fn promise_8_one_bad_record_is_quarantined_with_its_payload_and_affects_no_neighbour() {
    let world = World::new();
    for n in 0..4 {
        send(&world, "S01", &format!("P-{n}"), &CALM).await;
    }
    let mut stream = world.stream();
    stream[1]["dynamodb"]["NewImage"]["answers"] = json!({"S": "not a map"});
    stream[2]["dynamodb"]["NewImage"]["instrument"]["M"]["version"]["S"] = json!("7.0.0");
    stream.push(json!("no record at all"));
    assert_eq!(process(&world, &stream, PLENTY).await, Vec::<String>::new());

    let scored = world.items("submission").iter().filter(|item| item["scored_at"].is_string()).count();
    assert_eq!((scored, counts(&world, "S01").await.submissions), (2, 2));
    let quarantined = world.items("quarantined");
    let mut reasons: Vec<&str> = quarantined.iter().map(|item| item["reason"].as_str().unwrap()).collect();
    reasons.sort_unstable();
    assert_eq!(
        reasons,
        [
            "attribute answers is not a map",
            "attribute dynamodb is not as the stream has it",
            "it names an instrument, or a version of one, that its study does not have",
        ]
    );
    let kept = quarantined.iter().find(|item| item["sk"] == number(&stream[1])).unwrap();
    assert_eq!(serde_json::from_str::<Value>(kept["payload"].as_str().unwrap()).unwrap(), stream[1]);

    assert_eq!(process(&world, &stream, PLENTY).await, Vec::<String>::new(), "a second time changes nothing");
    assert_eq!(world.items("quarantined"), quarantined);
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_answers_do_not_match_its_definition_is_quarantined() {
    let world = World::new();
    send(&world, "S01", "P-1", &CALM).await;
    for (at, value) in [("answers", json!({"M": {"9": {"N": "17"}}})), ("instrument", Value::Null)] {
        let mut stream = world.stream();
        stream[0]["dynamodb"]["SequenceNumber"] = json!(format!("9{at}"));
        if value.is_null() {
            stream[0]["dynamodb"]["NewImage"][at]["M"]["hash"] =
                json!({"B": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="});
        } else {
            stream[0]["dynamodb"]["NewImage"][at] = value;
        }
        assert_eq!(process(&world, &stream, PLENTY).await, Vec::<String>::new());
    }
    assert_eq!(world.items("quarantined").len(), 2);
    assert_eq!(counts(&world, "S01").await.submissions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_of_a_submission_that_is_not_stored_is_never_counted() {
    let (world, other) = (World::new(), World::new());
    send(&other, "S01", "P-1", &UNSAFE).await;
    assert_eq!(process(&world, &other.stream(), PLENTY).await, Vec::<String>::new());
    assert_eq!(world.items("quarantined")[0]["reason"], "it is not in the table");
    assert_eq!(counts(&world, "S01").await, SiteCounts::default());
    assert_eq!(world.published(), []);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_quarantined_is_reported_and_the_others_are_done() {
    let world = World::new();
    for n in 0..3 {
        send(&world, "S01", &format!("P-{n}"), &CALM).await;
    }
    let mut stream = world.stream();
    stream[1]["dynamodb"]["NewImage"] = json!({"kind": {"S": "submission"}});
    world.inject_into("PutItem RecordsTable", usize::MAX, Fault::error("AccessDeniedException"));
    assert_eq!(process(&world, &stream, PLENTY).await, [number(&stream[1])]);
    assert_eq!(counts(&world, "S01").await.submissions, 2);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_records_is_an_error_and_a_failure_without_a_sequence_number_fails_the_batch() {
    let world = World::new();
    let score = Score::new(world.store(), world.topic());
    let event = LambdaEvent::new(Batch(None), context(PLENTY));
    assert_eq!(score.handle(event).await, Err(BatchError::NoRecords));
    world.inject_into("PutItem RecordsTable", usize::MAX, Fault::error("AccessDeniedException"));
    assert_eq!(score.handle(stream_event(&[json!({})], PLENTY)).await, Err(BatchError::NoSequenceNumber));
}

#[tokio::test(start_paused = true)]
async fn other_kinds_of_records_are_ignored() {
    let world = World::new();
    send(&world, "S01", "P-1", &UNSAFE).await;
    let mut modified = world.stream();
    modified[0]["eventName"] = json!("MODIFY");
    assert_eq!(process(&world, &modified, PLENTY).await, Vec::<String>::new());
    assert_eq!(world.count_calls("TransactWriteItems"), 0);
}

#[tokio::test(start_paused = true)]
async fn promise_4_an_alert_whose_publication_failed_is_published_at_the_next_delivery() {
    for fault in [Fault::Cut, Fault::Stall, Fault::ApplyAndCut, Fault::error("AuthorizationError"), Fault::throttle()] {
        let world = World::new();
        send(&world, "S01", "P-1", &UNSAFE).await;
        send(&world, "S01", "P-2", &CALM).await;
        let stream = world.stream();
        world.inject_into("PublishBatch", usize::MAX, fault.clone());
        assert_eq!(process(&world, &stream, Duration::from_secs(5)).await, Vec::<String>::new(), "{fault:?}: scored");
        let row = &world.items("alert")[0];
        assert_eq!((&row["status"], row["pending"].is_string()), (&json!("PENDING"), true), "{fault:?}");
        world.heal();
        assert_eq!(process(&world, &stream, PLENTY).await, Vec::<String>::new(), "{fault:?}");
        all_promises_hold(&world, "S01", 2, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn promise_4_an_alert_that_a_score_names_and_the_store_does_not_return_stays_on_its_list() {
    let world = World::new();
    send(&world, "S01", "P-1", &UNSAFE).await;
    let stream = world.stream();
    world.inject_into("PublishBatch", usize::MAX, Fault::Cut);
    process(&world, &stream, Duration::from_secs(5)).await;
    world.heal();
    world.inject(|call| {
        let alerts = call.name() == "BatchGetItem" && call.body.to_string().contains("ALERTS#");
        alerts.then(|| Fault::Answer(200, json!({"Responses": {"RecordsTable": []}, "UnprocessedKeys": {}})))
    });
    assert_eq!(process(&world, &stream, PLENTY).await, Vec::<String>::new());
    assert!(world.items("alert")[0]["pending"].as_str().unwrap().starts_with("PENDING#"));
    world.heal();
    process_all(&world).await;
    all_promises_hold(&world, "S01", 1, 1).await;
}

#[tokio::test(start_paused = true)]
async fn promise_4_an_alert_whose_mark_failed_is_published_again() {
    let world = World::new();
    send(&world, "S01", "P-1", &UNSAFE).await;
    let stream = world.stream();
    world.inject_into("UpdateItem RecordsTable", usize::MAX, Fault::Cut);
    assert_eq!(process(&world, &stream, Duration::from_secs(5)).await, Vec::<String>::new());
    assert_eq!(world.items("alert")[0]["status"], "PENDING");
    world.heal();
    process_all(&world).await;
    all_promises_hold(&world, "S01", 1, 1).await;
    let ids: Vec<Value> = world.published().iter().map(|published| published.body()["alertId"].clone()).collect();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]), "under the same alert id, by which the receiver drops the repeat");
}

#[tokio::test(start_paused = true)]
async fn the_failed_part_of_a_publication_is_sent_again() {
    let world = World::new();
    for n in 0..3 {
        send(&world, "S01", &format!("P-{n}"), &UNSAFE).await;
    }
    let partial = "<PublishBatchResponse><PublishBatchResult>\
        <Failed><member><Id>1</Id><Code>InternalError</Code><SenderFault>false</SenderFault></member></Failed>\
        <Successful><member><Id>0</Id><MessageId>m-0</MessageId></member><member><Id>2</Id><MessageId>m-2</MessageId></member></Successful>\
        </PublishBatchResult></PublishBatchResponse>";
    world.inject_into("PublishBatch", 1, Fault::Answer(200, json!(partial)));
    assert_eq!(process(&world, &world.stream(), PLENTY).await, Vec::<String>::new());
    let entries: Vec<usize> = world
        .calls()
        .iter()
        .filter(|call| call.name() == "PublishBatch")
        .map(|call| call.body.as_object().unwrap().keys().filter(|key| key.ends_with(".Id")).count())
        .collect();
    assert_eq!(entries, [3, 1]);
    assert!(world.items("alert").iter().all(|row| row["status"] == "SENT"));
}

#[tokio::test(start_paused = true)]
async fn an_alert_that_sns_rejects_alone_stays_on_its_list() {
    let world = World::new();
    for n in 0..2 {
        send(&world, "S01", &format!("P-{n}"), &UNSAFE).await;
    }
    let partial = "<PublishBatchResponse><PublishBatchResult>\
        <Failed><member><Id>0</Id><Code>InvalidParameter</Code><SenderFault>true</SenderFault></member></Failed>\
        <Successful><member><Id>1</Id><MessageId>m-1</MessageId></member></Successful>\
        </PublishBatchResult></PublishBatchResponse>";
    world.inject_into("PublishBatch", 1, Fault::Answer(200, json!(partial)));
    let stream = world.stream();
    assert_eq!(process(&world, &stream, PLENTY).await, Vec::<String>::new());
    let waiting: Vec<Value> = world.items("alert").into_iter().filter(|row| row["status"] == "PENDING").collect();
    assert_eq!((waiting.len(), waiting[0]["patient"].as_str()), (1, Some("P-0")));
    assert_eq!(world.count_calls("PublishBatch"), 1, "an alert that SNS rejects is not sent again");
}

#[tokio::test(start_paused = true)]
async fn promise_3_a_transaction_whose_answer_was_lost_is_recognised_by_its_token() {
    for fault in [Fault::ApplyAndCut, Fault::ApplyAndStall, Fault::ApplyTwice, Fault::internal(), Fault::Cut] {
        let world = World::new();
        for n in 0..5 {
            send(&world, "S01", &format!("P-{n}"), &UNSAFE).await;
        }
        world.inject_into("TransactWriteItems", 3, fault.clone());
        assert_eq!(process(&world, &world.stream(), PLENTY).await, Vec::<String>::new(), "{fault:?}");
        all_promises_hold(&world, "S01", 5, 5).await;
        let tokens: std::collections::BTreeSet<String> = transactions(&world)
            .iter()
            .map(|call| call.body["ClientRequestToken"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(tokens.len(), 1, "{fault:?}: the same transaction is sent under the same token");
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_retried_and_then_split_in_halves() {
    let world = World::new();
    for n in 0..8 {
        send(&world, "S01", &format!("P-{n}"), &CALM).await;
    }
    let mut left = 3;
    world.inject(move |call| {
        let writes = call.body["TransactItems"].as_array()?.len();
        left -= 1;
        (left >= 0).then(|| Fault::conflict(writes, writes - 1))
    });
    assert_eq!(process(&world, &world.stream(), PLENTY).await, Vec::<String>::new());
    all_promises_hold(&world, "S01", 8, 0).await;
    let sizes: Vec<usize> =
        transactions(&world).iter().map(|call| call.body["TransactItems"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [17, 17, 9, 9, 9], "whole, whole, then a half that conflicts once, and the other");
}

#[tokio::test(start_paused = true)]
async fn promise_8_an_unreadable_profile_affects_no_other_patients_submission() {
    let world = World::new();
    send(&world, "S01", "P-1", &CALM).await;
    process_all(&world).await;
    world.tamper("profile", "courses", "not a map");
    for n in 1..5 {
        send(&world, "S01", &format!("P-{n}"), &UNSAFE).await;
    }
    assert_eq!(process(&world, &world.stream()[1..], PLENTY).await, Vec::<String>::new());
    assert_eq!(counts(&world, "S01").await.submissions, 4);
    assert_eq!(world.published().len(), 3);
    assert_eq!(world.items("quarantined")[0]["reason"], "its patient's profile cannot be read");
}

#[tokio::test(start_paused = true)]
async fn promise_8_a_submission_that_the_store_always_refuses_is_found_among_its_neighbours() {
    let cancelled = |writes: usize| {
        let reasons: Vec<Value> =
            (0..writes).map(|at| json!({"Code": if at == 0 { "ValidationError" } else { "None" }})).collect();
        let code = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
        Fault::Answer(400, json!({"__type": code, "Message": "cancelled", "CancellationReasons": reasons}))
    };
    for inside in [false, true] {
        let world = World::new();
        for n in 0..7 {
            send(&world, "S01", &format!("P-{n}"), &CALM).await;
        }
        let stream = world.stream();
        world.inject(move |call| {
            let writes =
                call.body["TransactItems"].as_array().filter(|_| call.body.to_string().contains("#P-4"))?.len();
            Some(if inside { cancelled(writes) } else { Fault::error("ValidationException") })
        });
        assert_eq!(process(&world, &stream, PLENTY).await, Vec::<String>::new());
        assert_eq!(counts(&world, "S01").await.submissions, 6);
        let quarantined = world.items("quarantined");
        assert_eq!((quarantined.len(), &quarantined[0]["sk"]), (1, &json!(number(&stream[4]))));
    }
}

#[tokio::test(start_paused = true)]
async fn promise_8_a_refusal_that_is_not_for_the_content_quarantines_nothing() {
    let world = World::new();
    send(&world, "S01", "P-1", &CALM).await;
    let stream = world.stream();
    world.inject_into("TransactWriteItems", usize::MAX, Fault::error("AccessDeniedException"));
    assert_eq!(process(&world, &stream, PLENTY).await, [number(&stream[0])]);
    assert_eq!(world.items("quarantined"), Vec::<Value>::new());
    world.heal();
    process_all(&world).await;
    assert_eq!(counts(&world, "S01").await.submissions, 1);
}

#[tokio::test(start_paused = true)]
async fn an_alert_does_not_wait_for_a_neighbour_that_conflicts() {
    let world = World::new();
    send(&world, "S01", "P-1", &UNSAFE).await;
    send(&world, "S01", "P-2", &CALM).await;
    let stream = world.stream();
    let (published_at, start) = (std::sync::Arc::new(std::sync::Mutex::new(None)), Instant::now());
    let seen = published_at.clone();
    world.inject(move |call| {
        if call.name() == "PublishBatch" {
            seen.lock().unwrap().get_or_insert(start.elapsed());
        }
        let writes = call.body["TransactItems"].as_array().map_or(0, Vec::len);
        let conflicts = writes > 0 && call.body.to_string().contains("#P-2");
        conflicts.then(|| Fault::conflict(writes, writes - 1))
    });
    assert_eq!(process(&world, &stream, PLENTY).await, [number(&stream[1])]);
    let published_at = published_at.lock().unwrap().expect("it was published");
    assert!(published_at < Duration::from_secs(1), "only after {published_at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rule_on_change_compares_by_effective_time() {
    let world = World::new();
    let at = |day: u8| format!("2026-11-{day:02}T08:00:00Z");
    let who_5 = |codes: [u8; 5]| (1..).zip(codes).collect::<Vec<(u8, u8)>>();
    // The first, then one that is 40 points lower, then a late one that is earlier than both.
    for (day, codes) in [(2, [5; 5]), (3, [3; 5]), (1, [1; 5])] {
        send_as(&world, "who-5", "S01", "P-1", &who_5(codes), &at(day)).await;
        process_all(&world).await;
    }
    let change: Vec<Value> = world.items("alert").into_iter().filter(|alert| alert["rule"] == "change").collect();
    assert_eq!(change.len(), 1, "of the fall from the first to the second, and of nothing else");
    assert_eq!(change[0]["superseded"], true, "there is no fall from the true baseline");
    let course = &world.items("profile")[0]["courses"]["who-5#1.1.0"];
    assert_eq!((&course["n"], &course["b"]["x"]["total"]), (&json!(3), &json!(20)));
}

#[tokio::test(start_paused = true)]
async fn all_calls_share_the_connections_of_the_warm_up() {
    let world = World::new();
    send(&world, "S01", "P-1", &UNSAFE).await;
    let (store, topic) = (world.store(), world.topic());
    store.warm_up(&store.tables().records).await;
    topic.warm_up().await;
    let score = Score::new(store, topic);
    for remaining in [700, 1_300, 2_100, 60_000] {
        score.handle(stream_event(&world.stream(), Duration::from_millis(remaining))).await.unwrap();
    }
    assert_eq!(world.pools(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_profile_that_was_written_concurrently_is_read_again() {
    // The patient's first submissions, and later ones, whose profile is there already.
    for earlier in [0, 1] {
        let world = World::new();
        for _ in 0..earlier {
            send(&world, "S01", "P-1", &CALM).await;
        }
        process_all(&world).await;
        let transactions_before = transactions(&world).len();
        send(&world, "S01", "P-1", &CALM).await;
        send(&world, "S01", "P-1", &UNSAFE).await;
        let stream = world.stream().split_off(earlier);
        // Both read the profile before either writes it.
        let both = tokio::join!(process(&world, &stream[..1], PLENTY), process(&world, &stream[1..], PLENTY));
        assert_eq!(both, (vec![], vec![]));
        all_promises_hold(&world, "S01", earlier as u64 + 2, 1).await;
        assert!(transactions(&world).len() - transactions_before >= 3, "one of them once more");
        let profile = &world.items("profile")[0];
        assert!(profile["revision"].as_u64().unwrap() >= earlier as u64 + 2);
        assert_eq!(profile["courses"]["phq-9#1.0.0"]["n"], earlier + 2, "no submission is missing from the course");
    }
}

#[tokio::test(start_paused = true)]
async fn promise_3_the_counts_are_exact_wherever_a_process_died() {
    for cut_at in 0..14 {
        let world = World::new();
        for n in 0..6 {
            send(&world, &format!("S0{}", n % 2), &format!("P-{n}"), &UNSAFE).await;
        }
        let stream = world.stream();
        let before = world.calls().len();
        let score = Score::new(world.store(), world.topic());
        // The process dies once its call number `cut_at` is sent: the handler is dropped at that point.
        let event = stream_event(&stream, PLENTY);
        tokio::select! {
            _ = score.handle(event) => {}
            () = async {
                while world.calls().len() < before + cut_at {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            } => {}
        }
        process_all(&world).await;
        all_promises_hold(&world, "S00", 3, 3).await;
        all_promises_hold(&world, "S01", 3, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn promise_6_whatever_stalls_the_answer_is_returned_before_the_reserve_with_the_records_that_are_not_done() {
    let stalls = [
        "TransactWriteItems",
        "BatchGetItem RecordsTable",
        "UpdateItem RecordsTable",
        "PublishBatch",
        "PutItem RecordsTable",
        "",
    ];
    for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
        for stalled in stalls {
            let world = World::new();
            for n in 0..3 {
                send(&world, "S01", &format!("P-{n}"), &if n == 1 { UNSAFE } else { CALM }).await;
            }
            let mut stream = world.stream();
            stream[2]["dynamodb"]["NewImage"] = json!({"kind": {"S": "submission"}});
            world.inject(move |call| (call.operation == stalled).then_some(Fault::Stall));
            let start = Instant::now();
            let not_done = process(&world, &stream, Duration::from_millis(remaining)).await;
            let most = Duration::from_millis(remaining.saturating_sub(500));
            assert!(start.elapsed() <= most, "{remaining} {stalled}: {:?}", start.elapsed());

            let expected: &[usize] = match stalled {
                _ if remaining <= 500 => &[0, 1, 2],
                "TransactWriteItems" | "BatchGetItem RecordsTable" => &[0, 1],
                "PutItem RecordsTable" => &[2],
                _ => &[],
            };
            let expected: Vec<String> = expected.iter().map(|&index| number(&stream[index])).collect();
            assert_eq!(not_done, expected, "{remaining} {stalled}");

            world.heal();
            assert_eq!(process(&world, &stream, PLENTY).await, Vec::<String>::new());
            assert_eq!(counts(&world, "S01").await.submissions, 2, "{remaining} {stalled}");
            assert!(world.items("alert").iter().all(|row| row["status"] == "SENT"));
        }
    }
}

fn transactions(world: &World) -> Vec<Arc<Call>> {
    world.calls().into_iter().filter(|call| call.operation == "TransactWriteItems").collect()
}

#[tokio::test(start_paused = true)]
async fn alerts_whose_publication_is_cut_off_are_reported_as_unpublished() {
    let world = World::new();
    for patient in ["P-1", "P-2", "P-3"] {
        send(&world, "S01", patient, &[(9, 1)]).await;
    }
    let texts = record_texts(&world.stream());
    let records: Vec<_> = texts.iter().map(|text| Record::new(text)).collect();
    let scoring = Scoring::new(world.store(), world.topic());
    let (clock, deadline) = (Clock::system(), Deadline::after(PLENTY));
    let commit = async |queue: Queue, commit_by: Deadline| {
        assert!(scoring.commit(&records, &queue, clock, commit_by).await.is_empty());
    };
    world.inject_into("PublishBatch", usize::MAX, Fault::Stall);
    let ended = scoring.commit_and_publish(commit, Some(Duration::from_secs(1)), |_, _| {}, clock, deadline).await;
    assert_eq!(ended, StagesEnded { committed: true, unpublished: 3 });
    assert!(world.items("alert").iter().all(|row| row["pending"].is_string()), "the sweep finds them");
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_meets_conflicts_is_written_and_one_that_is_refused_ends_at_once() {
    let conflict = || Fault::error("TransactionConflictException");
    for (times, fault, status) in
        [(3, conflict(), "SENT"), (usize::MAX, Fault::error("ValidationException"), "PENDING")]
    {
        let world = World::new();
        send(&world, "S01", "P-1", &[(9, 1)]).await;
        world.inject_into("UpdateItem RecordsTable", times, fault);
        let began = Instant::now();
        assert_eq!(world.score(&world.stream(), PLENTY).await, 0);
        assert_eq!((&world.items("alert")[0]["status"], world.published().len()), (&json!(status), 1));
        assert!(began.elapsed() < Duration::from_secs(3), "{status}: {:?}", began.elapsed());
    }
}
