//! The rules of a mapping with a scripted function, on the embedded engine's real stream.

use super::*;
use crate::failures::Failures;
use crate::feed::Feed;
use crate::lambda::{Invocation, InvocationOutcome};
use crate::template::{FailureDestination, Key, StartingPosition, Table};
use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

/// Delivered batches in the order of invocations, each as the list of its items' sort keys.
type Seen = Arc<Mutex<Vec<Vec<String>>>>;

/// A table with a stream, a scripted function that it is delivered to, and the delivered batches.
struct World {
    database: DynamoDb,
    failures: Failures,
    seen: Seen,
    folder: PathBuf,
}

impl World {
    async fn new() -> Self {
        let database = DynamoDb::embedded(None).await.expect("starts");
        let table = Table {
            name: "Table".to_owned(),
            attributes: BTreeMap::from(["pk", "sk"].map(|name| (name.to_owned(), "S".to_owned()))),
            key: Key { hash: "pk".to_owned(), range: Some("sk".to_owned()) },
            indexes: Vec::new(),
            stream: Some("NEW_AND_OLD_IMAGES".to_owned()),
            time_to_live: None,
        };
        database.make_tables(&[table]).await.expect("made");
        let folder = env::temp_dir().join(format!("local-stream-{}", uuid::Uuid::new_v4()));
        Self { database, failures: Failures::new(None), seen: Seen::default(), folder }
    }

    async fn put(&self, pk: &str, sk: &str) {
        let put = self.database.client().put_item().table_name("Table");
        let put = put.item("pk", AttributeValue::S(pk.into())).item("sk", AttributeValue::S(sk.into()));
        put.item("kind", AttributeValue::S("submission".into())).send().await.expect("put");
    }

    /// Writes one item each, `00` to `<count - 1>`.
    async fn put_many(&self, count: usize) {
        for number in 0..count {
            self.put("P", &format!("{number:02}")).await;
        }
    }

    /// Starts the mapping with a function that returns what `script` does for a batch's sort keys and event.
    async fn start(
        &self,
        mapping: StreamMapping,
        script: impl Fn(&[String], &Value) -> InvocationOutcome + Send + Sync + 'static,
    ) -> Streams {
        let seen = Arc::clone(&self.seen);
        let invoke: Invoke = Arc::new(move |_, payload| {
            let event: Value = serde_json::from_slice(&payload).expect("an event is JSON");
            let keys: Vec<String> = records(&event)
                .iter()
                .map(|record| record["dynamodb"]["Keys"]["sk"]["S"].as_str().expect("a sort key").to_owned())
                .collect();
            let outcome = script(&keys, &event);
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(keys);
            Box::pin(async move { Invocation { request_id: "request".to_owned(), took: Duration::ZERO, outcome } })
        });
        let publish: Publish = Arc::new(|_, _| Box::pin(async { Ok(()) }));
        let destinations =
            Destinations { failures: self.failures.clone(), publish, warn: Arc::new(|_| ()), feed: Feed::default() };
        start(&self.database, &[mapping], invoke, destinations, Some(&self.folder)).await.expect("starts")
    }

    fn seen(&self) -> Vec<Vec<String>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn failed(&self) -> Vec<Value> {
        self.failures.list().await.expect("lists").into_iter().map(|object| object.document).collect()
    }

    /// Waits until the delivered batches are the expected ones.
    async fn until(&self, expected: impl Fn(&[Vec<String>]) -> bool) {
        let met = async {
            while !expected(&self.seen()) {
                time::sleep(Duration::from_millis(2)).await;
            }
        };
        let seen = || format!("seen: {:?}", self.seen());
        time::timeout(Duration::from_secs(30), met).await.unwrap_or_else(|_| panic!("{}", seen()));
    }

    async fn until_failed(&self, count: usize) {
        let met = async {
            while self.failed().await.len() < count {
                time::sleep(Duration::from_millis(2)).await;
            }
        };
        time::timeout(Duration::from_secs(30), met).await.unwrap_or_else(|_| panic!("seen: {:?}", self.seen()));
    }

    async fn end(self, streams: Streams) {
        streams.stop().await;
        self.database.stop().await;
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn mapping() -> StreamMapping {
    StreamMapping {
        name: "ScoreFunction/Submissions".to_owned(),
        function: "ScoreFunction".to_owned(),
        table: "Table".to_owned(),
        starting_position: StartingPosition::TrimHorizon,
        batch_size: 10,
        batching_window: Duration::ZERO,
        parallelization_factor: 1,
        report_batch_item_failures: true,
        bisect_batch_on_function_error: false,
        maximum_retry_attempts: Some(2),
        maximum_record_age: None,
        filters: Vec::new(),
        on_failure: Some(FailureDestination::Bucket("FailuresBucket".to_owned())),
    }
}

fn records(event: &Value) -> &Vec<Value> {
    event["Records"].as_array().expect("an event has records")
}

fn answer(value: &Value) -> InvocationOutcome {
    InvocationOutcome::Answer(Bytes::from(value.to_string()))
}

fn error() -> InvocationOutcome {
    InvocationOutcome::FunctionError(Bytes::from_static(b"{\"errorType\":\"Poison\"}"))
}

/// The result of a function that reports the records of these sort keys as failed.
fn reports(event: &Value, failing: &[&str]) -> InvocationOutcome {
    let failed = records(event)
        .iter()
        .filter(|record| failing.contains(&record["dynamodb"]["Keys"]["sk"]["S"].as_str().unwrap_or_default()))
        .map(|record| json!({"itemIdentifier": record["dynamodb"]["SequenceNumber"]}));
    answer(&json!({ "batchItemFailures": failed.collect::<Vec<_>>() }))
}

fn keys(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("{number:02}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_has_the_shape_that_lambda_sends() {
    let world = World::new().await;
    world.put("P", "00").await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&events);
    let streams = world
        .start(mapping(), move |_, event| {
            kept.lock().expect("no panic").push(event.clone());
            answer(&Value::Null)
        })
        .await;
    world.until(|seen| seen.len() == 1).await;
    let event = events.lock().expect("no panic")[0].clone();
    let record = &event["Records"][0];
    let image = json!({"kind": {"S": "submission"}, "pk": {"S": "P"}, "sk": {"S": "00"}});
    assert_eq!(record["eventName"], "INSERT");
    assert_eq!(record["eventVersion"], "1.1");
    assert_eq!(record["eventSource"], "aws:dynamodb");
    assert_eq!(record["awsRegion"], "us-east-1");
    assert!(record["eventID"].is_string());
    let arn = record["eventSourceARN"].as_str().expect("an ARN");
    assert!(arn.starts_with("arn:aws:dynamodb:us-east-1:000000000000:table/Table/stream/"), "{arn}");
    assert_eq!(record["dynamodb"]["NewImage"], image);
    assert_eq!(record["dynamodb"]["Keys"], json!({"pk": {"S": "P"}, "sk": {"S": "00"}}));
    assert_eq!(record["dynamodb"]["OldImage"], Value::Null);
    assert_eq!(record["dynamodb"]["StreamViewType"], "NEW_AND_OLD_IMAGES");
    assert!(record["dynamodb"]["SequenceNumber"].is_string() && record["dynamodb"]["SizeBytes"].is_u64());
    assert!(record["dynamodb"]["ApproximateCreationDateTime"].is_u64());
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_engine_and_the_streams_api_give_the_same_changes() {
    let world = World::new().await;
    world.put_many(3).await;
    world.put("P", "01").await;
    let arn = world.database.stream_arn("Table").await.expect("has a stream");
    let shown = event::local_arn(&arn);
    let by_api = DynamoDb::at(world.database.endpoint()).expect("an address");
    let mut read = Vec::new();
    for database in [&world.database, &by_api] {
        let reader = Reader::new(database, arn.clone(), shown.clone());
        let shards = reader.shards().await.expect("lists");
        let shard = shards[0].shard_id.as_deref().expect("an id");
        let iterator = reader.first_iterator(shard, None).await.ok().expect("begins");
        let page = reader.records(iterator).await.ok().expect("reads");
        assert_eq!(page.changes.len(), 4);
        let rest = reader.records(page.next.expect("it is open")).await.ok().expect("reads");
        assert!(rest.changes.is_empty());
        let after = reader.first_iterator(shard, Some(&page.changes[2].sequence_number)).await.ok().expect("continues");
        assert_eq!(reader.records(after).await.ok().expect("reads").changes, page.changes[3..]);
        read.push(page.changes);
    }
    assert_eq!(read[0], read[1]);
    world.database.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_is_isolated_by_bisecting_and_its_neighbours_are_delivered() {
    let world = World::new().await;
    world.put_many(10).await;
    let bisecting = StreamMapping { bisect_batch_on_function_error: true, ..mapping() };
    let poisoned = |keys: &[String], _: &Value| {
        if keys.iter().any(|key| key == "06") { error() } else { answer(&Value::Null) }
    };
    let streams = world.start(bisecting, poisoned).await;
    world.until(|seen| seen.last() == Some(&keys(8..10))).await;
    let failed = world.failed().await;
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["DDBStreamBatchInfo"]["batchSize"], 1);
    assert_eq!(failed[0]["requestContext"]["condition"], "RetryAttemptsExhausted");
    assert_eq!(failed[0]["requestContext"]["approximateInvokeCount"], 3);
    assert_eq!(failed[0]["responseContext"]["functionError"], "Unhandled");
    let payload: Value = serde_json::from_str(failed[0]["payload"].as_str().expect("text")).expect("JSON");
    assert_eq!(payload["Records"][0]["dynamodb"]["NewImage"]["sk"]["S"], "06");
    let delivered: Vec<String> =
        world.seen().into_iter().filter(|batch| !batch.contains(&"06".to_owned())).flatten().collect();
    let all_but_the_poison: Vec<_> = keys(0..10).into_iter().filter(|key| key != "06").collect();
    assert_eq!(delivered, all_but_the_poison, "each neighbour once, in order");
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_bisecting_the_whole_batch_is_repeated_and_then_given_up() {
    let world = World::new().await;
    world.put_many(3).await;
    let streams = world.start(mapping(), |keys, _| if keys.len() == 3 { error() } else { answer(&json!({})) }).await;
    world.until_failed(1).await;
    world.put("P", "03").await;
    world.until(|seen| seen.last() == Some(&keys(3..4))).await;
    assert_eq!(world.seen()[..3], [keys(0..3), keys(0..3), keys(0..3)], "one attempt and two repetitions");
    let failed = world.failed().await;
    assert_eq!(failed[0]["DDBStreamBatchInfo"]["batchSize"], 3);
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_failure_is_retried_from_the_lowest_failed_record() {
    let world = World::new().await;
    world.put_many(5).await;
    let failing = Arc::new(Mutex::new(vec!["04", "02"]));
    let left = Arc::clone(&failing);
    let streams = world
        .start(mapping(), move |_, event| {
            let mut left = left.lock().expect("no panic");
            let outcome = reports(event, &left);
            left.pop();
            outcome
        })
        .await;
    world.until(|seen| seen.len() == 3).await;
    assert_eq!(world.seen(), [keys(0..5), keys(2..5), keys(4..5)]);
    assert!(world.failed().await.is_empty());
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_of_another_shape_is_a_failure_and_an_empty_one_a_success() {
    let failure = [
        r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#,
        r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#,
        r#"{"batchItemFailures": [{"sequenceNumber": "1"}]}"#,
        r#"{"batchItemFailures": [{"itemIdentifier": "100000000000000000001"}]}"#,
        r#"{"batchItemFailures": "none"}"#,
        r#""done""#,
        "done",
    ];
    let success = [r#"{"batchItemFailures": []}"#, r#"{"batchItemFailures": null}"#, "{}", "null", ""];
    let world = World::new().await;
    let answers = failure.iter().flat_map(|failure| [*failure, "null"]).chain(success);
    let answers = Mutex::new(answers.collect::<Vec<_>>().into_iter());
    let streams = world
        .start(mapping(), move |_, _| {
            let answer = answers.lock().expect("no panic").next().expect("no more invocations than answers");
            InvocationOutcome::Answer(Bytes::from_static(answer.as_bytes()))
        })
        .await;
    for (number, failure) in failure.iter().enumerate() {
        world.put("P", &format!("{number:02}")).await;
        world.until(|seen| seen.len() == 2 * (number + 1)).await;
        assert_eq!(world.seen()[2 * number], world.seen()[2 * number + 1], "again after {failure}");
    }
    for number in failure.len()..failure.len() + success.len() {
        world.put("P", &format!("{number:02}")).await;
        world.until(|seen| seen.concat().contains(&format!("{number:02}"))).await;
    }
    assert_eq!(world.seen().len(), 2 * failure.len() + success.len(), "none of the successes again");
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_too_old_are_given_up_without_an_attempt() {
    let world = World::new().await;
    world.put_many(2).await;
    let young = StreamMapping { maximum_record_age: Some(Duration::ZERO), ..mapping() };
    let streams = world.start(young, |_, _| answer(&Value::Null)).await;
    world.until_failed(1).await;
    let failed = world.failed().await;
    assert_eq!(failed[0]["requestContext"]["condition"], "RecordAgeExceeded");
    assert_eq!(failed[0]["requestContext"]["approximateInvokeCount"], 0);
    assert!(failed[0].get("responseContext").is_none());
    assert!(world.seen().is_empty());
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_invocation_does_not_count_as_an_attempt() {
    let world = World::new().await;
    world.put_many(1).await;
    let refusals = Mutex::new(5);
    let strict = StreamMapping { maximum_retry_attempts: Some(0), ..mapping() };
    let streams = world
        .start(strict, move |_, _| {
            let mut left = refusals.lock().expect("no panic");
            if *left == 0 {
                return answer(&Value::Null);
            }
            *left -= 1;
            InvocationOutcome::Unavailable("busy".to_owned())
        })
        .await;
    world.until(|seen| seen.len() == 6).await;
    assert!(world.failed().await.is_empty());
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lanes_work_in_parallel_and_keep_each_items_order() {
    let world = World::new().await;
    let client = world.database.client();
    for round in 0..20 {
        for item in 0..8 {
            let put = client.put_item().table_name("Table").item("pk", AttributeValue::S("P".into()));
            let put = put.item("sk", AttributeValue::S(format!("{item:02}")));
            put.item("round", AttributeValue::N(round.to_string())).send().await.expect("put");
        }
    }
    let rounds = Arc::new(Mutex::new(BTreeMap::<String, Vec<u32>>::new()));
    let kept = Arc::clone(&rounds);
    let parallel = StreamMapping { parallelization_factor: 4, batch_size: 7, ..mapping() };
    let streams = world
        .start(parallel, move |_, event| {
            for record in records(event) {
                let image = &record["dynamodb"]["NewImage"];
                let item = image["sk"]["S"].as_str().expect("a sort key").to_owned();
                let round = image["round"]["N"].as_str().and_then(|round| round.parse().ok()).expect("a number");
                kept.lock().expect("no panic").entry(item).or_default().push(round);
            }
            answer(&Value::Null)
        })
        .await;
    world.until(|seen| seen.iter().map(Vec::len).sum::<usize>() == 160).await;
    for (item, seen) in rounds.lock().expect("no panic").iter() {
        assert_eq!(*seen, (0..20).collect::<Vec<_>>(), "item {item}");
    }
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_continues_after_the_checkpoint() {
    let world = World::new().await;
    world.put_many(3).await;
    let streams = world.start(mapping(), |_, _| answer(&Value::Null)).await;
    world.until(|seen| seen.concat() == keys(0..3)).await;
    streams.stop().await;
    for number in 3..5 {
        world.put("P", &format!("{number:02}")).await;
    }
    let streams = world.start(mapping(), |_, _| answer(&Value::Null)).await;
    world.until(|seen| seen.concat() == keys(0..5)).await;
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undelivered_record_is_delivered_after_a_restart() {
    let world = World::new().await;
    world.put_many(3).await;
    let endless = StreamMapping { maximum_retry_attempts: None, ..mapping() };
    let streams = world.start(endless.clone(), |_, event| reports(event, &["01"])).await;
    world.until(|seen| seen.last() == Some(&keys(1..3))).await;
    streams.stop().await;
    world.seen.lock().expect("no panic").clear();
    let streams = world.start(endless, |_, _| answer(&Value::Null)).await;
    world.until(|seen| seen.concat() == keys(1..3)).await;
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_do_not_match_the_filter_are_skipped_without_delaying_the_others() {
    let world = World::new().await;
    world.put_many(3).await;
    let filter = json!({"eventName": ["INSERT"], "dynamodb": {"NewImage": {"sk": {"S": [{"anything-but": ["01"]}]}}}});
    let filtered = StreamMapping { filters: vec![filter], ..mapping() };
    let streams = world.start(filtered, |_, _| answer(&Value::Null)).await;
    world.until(|seen| seen.concat().len() == 2).await;
    assert_eq!(world.seen().concat(), ["00", "02"]);
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batching_window_gathers_records_into_one_batch() {
    let world = World::new().await;
    let gathering = StreamMapping { batching_window: Duration::from_secs(20), batch_size: 4, ..mapping() };
    let streams = world.start(gathering, |_, _| answer(&Value::Null)).await;
    world.put_many(4).await;
    world.until(|seen| seen.len() == 1).await;
    assert_eq!(world.seen(), [keys(0..4)], "full before the window was over");
    world.end(streams).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_from_the_latest_record_skips_earlier_ones() {
    let world = World::new().await;
    world.put("P", "00").await;
    // The engine's timestamps have whole seconds: the mapping has to start in a later one.
    let second = || SystemTime::now().duration_since(UNIX_EPOCH).map(|now| now.as_secs()).unwrap_or_default();
    let put_in = second();
    while second() == put_in {
        time::sleep(Duration::from_millis(5)).await;
    }
    let latest = StreamMapping { starting_position: StartingPosition::Latest, ..mapping() };
    let streams = world.start(latest, |_, _| answer(&Value::Null)).await;
    world.put("P", "01").await;
    world.until(|seen| !seen.is_empty()).await;
    assert_eq!(world.seen(), [keys(1..2)]);
    world.end(streams).await;
}

/// A streams endpoint with two shards, the second a child of the first, whose iterators expire once.
async fn two_shards() -> DynamoDb {
    let expired = Arc::new(Mutex::new(HashSet::new()));
    let handler = axum::routing::post(move |headers: axum::http::HeaderMap, body: Bytes| {
        let request: Value = serde_json::from_slice(&body).expect("JSON");
        let target = headers["x-amz-target"].to_str().expect("text").to_owned();
        let record = |number: usize| {
            json!({"eventID": number.to_string(), "eventName": "INSERT", "dynamodb": {
                "Keys": {"pk": {"S": "P"}, "sk": {"S": format!("{number:02}")}},
                "SequenceNumber": number.to_string(), "ApproximateCreationDateTime": 1_790_000_000,
            }})
        };
        let answer = match target.rsplit('.').next().expect("an operation") {
            "DescribeTable" => {
                json!({"Table": {"LatestStreamArn": "arn:aws:dynamodb:ddblocal:0:table/Table/stream/1"}})
            }
            // The child is listed first, on the first page.
            "DescribeStream" if request["ExclusiveStartShardId"].is_null() => json!({"StreamDescription": {
                "Shards": [{"ShardId": "child", "ParentShardId": "parent"}], "LastEvaluatedShardId": "child",
            }}),
            "DescribeStream" => {
                json!({"StreamDescription": {"Shards": [{"ShardId": "parent", "ParentShardId": "trimmed"}]}})
            }
            "GetShardIterator" => {
                let after = request["SequenceNumber"].as_str().unwrap_or("0");
                json!({"ShardIterator": format!("{} {after}", request["ShardId"].as_str().expect("a shard"))})
            }
            _ => {
                let iterator = request["ShardIterator"].as_str().expect("an iterator").to_owned();
                let (shard, after) = iterator.split_once(' ').expect("an iterator of this test");
                let after: usize = after.parse().expect("a number");
                if after > 0 && expired.lock().expect("no panic").insert(iterator.clone()) {
                    let error = json!({"__type": "com.amazonaws.dynamodb.v20120810#ExpiredIteratorException"});
                    return std::future::ready((axum::http::StatusCode::BAD_REQUEST, error.to_string()));
                }
                let (first, last) = if shard == "parent" { (1, 3) } else { (4, 5) };
                let number = after.max(first - 1) + 1;
                let next = (number < last || shard == "child").then(|| format!("{shard} {number}"));
                let records: Vec<_> = (number <= last).then(|| record(number)).into_iter().collect();
                json!({ "Records": records, "NextShardIterator": next })
            }
        };
        std::future::ready((axum::http::StatusCode::OK, answer.to_string()))
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}", listener.local_addr().expect("has an address"));
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().route("/", handler)).await });
    DynamoDb::at(&url).expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_shard_waits_for_its_parent_and_iterators_are_renewed() {
    let world = World { database: two_shards().await, ..World::new().await };
    let streams = world.start(mapping(), |_, _| answer(&Value::Null)).await;
    world.until(|seen| seen.concat() == keys(1..6)).await;
    streams.stop().await;
    let checkpoints = fs::read(world.folder.join("checkpoints.json")).expect("written");
    let checkpoints: Value = serde_json::from_slice(&checkpoints).expect("JSON");
    let shards = &checkpoints["ScoreFunction/Submissions"]["shards"];
    assert_eq!(
        *shards,
        json!({"parent": {"after": "3", "finished": true}, "child": {"after": "5", "finished": false}})
    );
    fs::remove_dir_all(&world.folder).expect("removes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_lambda_would_not_accept_prevents_the_start() {
    let world = World::new().await;
    let filtered = StreamMapping { filters: vec![json!({"eventName": [{"wildcard": "IN*"}]})], ..mapping() };
    let invoke: Invoke = Arc::new(|_, _| Box::pin(std::future::pending()));
    let publish: Publish = Arc::new(|_, _| Box::pin(async { Ok(()) }));
    let destinations =
        Destinations { failures: world.failures.clone(), publish, warn: Arc::new(|_| ()), feed: Feed::default() };
    let error = start(&world.database, &[filtered], invoke, destinations, None).await.expect_err("refused");
    assert_eq!(error.to_string(), "Lambda would not accept the filter of ScoreFunction/Submissions");
    world.database.stop().await;
}
