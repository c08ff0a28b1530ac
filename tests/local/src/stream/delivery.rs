//! Delivers one batch as Lambda does, until each of its records is delivered or given up.
//!
//! The rules are those of the Lambda developer guide ("Using AWS Lambda with Amazon DynamoDB", the pages on errors and
//! on partial batch responses):
//!
//! - A failed invocation is retried with the whole batch, up to `MaximumRetryAttempts` times, and until the
//!   records are older than `MaximumRecordAgeInSeconds`. One that the function never received (throttled, not started)
//!   is no attempt: it is repeated until the records are too old.
//! - With `BisectBatchOnFunctionError` a failed batch is split in two, which is no attempt either.
//! - With `ReportBatchItemFailures` the retry starts at the lowest sequence number that the result names: the records
//!   before it are delivered. No failures, no list or no result: all are delivered. A sequence number that is empty or
//!   not of the batch, or a result of another shape: all have failed.
//! - A batch that is given up goes to the failure destination as a whole, and the stream continues after it.

use super::event::{Record, event};
use crate::clock;
use crate::failures::Failures;
use crate::feed::Feed;
use crate::lambda::{Invocation, InvocationOutcome};
use crate::template::{ACCOUNT, FailureDestination, REGION, StreamMapping};
use bytes::Bytes;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use tokio::sync::watch;
use tokio::time::sleep;

/// The pause before the first retry; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause between two retries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Invokes a function by its logical id.
pub type Invoke = Arc<dyn Fn(&str, Bytes) -> BoxFuture<'static, Invocation> + Send + Sync>;

/// Publishes a message to a topic by its ARN.
pub type Publish = Arc<dyn Fn(&str, String) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// Where records go that are given up.
#[derive(Clone)]
pub struct Destinations {
    /// The buckets.
    pub failures: Failures,
    /// Publishes to a topic.
    pub publish: Publish,
    /// Reports what a person should know.
    pub warn: Warn,
    /// Shows the changes that the stream's records are about.
    pub feed: Feed,
}

/// Receives warnings.
pub type Warn = Arc<dyn Fn(String) + Send + Sync>;

impl fmt::Debug for Destinations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Destinations").field("failures", &self.failures).finish_non_exhaustive()
    }
}

/// Delivers the batches of one mapping.
pub(super) struct Delivery {
    pub(super) mapping: StreamMapping,
    pub(super) stream_arn: String,
    pub(super) invoke: Invoke,
    pub(super) destinations: Destinations,
    /// True once the local cloud stops: no further invocation begins.
    pub(super) stopping: watch::Receiver<bool>,
}

/// Records of one invocation, in the stream's order.
struct Batch {
    records: Vec<Record>,
    /// Failed invocations that count as attempts.
    attempts: u32,
    last: Option<Invocation>,
}

impl Delivery {
    /// Delivers `records` and returns when none is left: `done` was called for each, once and in the stream's order; or
    /// when the local cloud stops.
    pub(super) async fn deliver(&self, shard: &str, records: Vec<Record>, done: &(dyn Fn(&[Record]) + Send + Sync)) {
        // The last batch of the list is delivered first.
        let mut batches = vec![Batch { records, attempts: 0, last: None }];
        let mut refused = 0;
        while let Some(mut batch) = batches.pop() {
            let old = batch.records.iter().take_while(|record| self.too_old(record)).count();
            if old > 0 {
                let rest = batch.records.split_off(old);
                self.give_up(shard, "RecordAgeExceeded", &batch).await;
                done(&batch.records);
                batch.records = rest;
            }
            if batch.records.is_empty() {
                continue;
            }
            if *self.stopping.borrow() {
                return;
            }
            let invocation = (self.invoke)(&self.mapping.function, Bytes::from(event(&batch.records))).await;
            let failed_at = match &invocation.outcome {
                InvocationOutcome::Unavailable(_) => {
                    refused += 1;
                    batches.push(batch);
                    self.pause(refused).await;
                    continue;
                }
                InvocationOutcome::Answer(answer) => self.first_failure(answer, &batch.records),
                InvocationOutcome::FunctionError(_) | InvocationOutcome::TimedOut | InvocationOutcome::Crashed => {
                    Some(0)
                }
            };
            refused = 0;
            let Some(failed_at) = failed_at else {
                done(&batch.records);
                continue;
            };
            let rest = batch.records.split_off(failed_at);
            done(&batch.records);
            let bisect = self.mapping.bisect_batch_on_function_error;
            let mut batch = Batch { records: rest, attempts: batch.attempts, last: Some(invocation) };
            if bisect && failed_at > 0 {
                batches.push(batch);
            } else if bisect && batch.records.len() > 1 {
                let second = batch.records.split_off(batch.records.len().div_ceil(2));
                batches.push(Batch { records: second, attempts: batch.attempts, last: None });
                batches.push(batch);
            } else if self.mapping.maximum_retry_attempts.is_some_and(|most| batch.attempts >= most) {
                batch.attempts += 1;
                self.give_up(shard, "RetryAttemptsExhausted", &batch).await;
                done(&batch.records);
            } else {
                batch.attempts += 1;
                let attempts = batch.attempts;
                batches.push(batch);
                self.pause(attempts).await;
            }
        }
    }

    fn too_old(&self, record: &Record) -> bool {
        let now = (clock::now() - OffsetDateTime::UNIX_EPOCH).as_seconds_f64();
        self.mapping.maximum_record_age.is_some_and(|age| now - record.created > age.as_secs_f64())
    }

    /// The index of the first record to retry; `None`: all are delivered.
    fn first_failure(&self, answer: &[u8], records: &[Record]) -> Option<usize> {
        if !self.mapping.report_batch_item_failures {
            return None;
        }
        if answer.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let failures = match serde_json::from_slice(answer) {
            Ok(Value::Null) => return None,
            Ok(Value::Object(mut fields)) => fields.remove("batchItemFailures").unwrap_or(Value::Null),
            _ => return Some(0),
        };
        let failures = match failures {
            Value::Null => return None,
            Value::Array(failures) => failures,
            _ => return Some(0),
        };
        let place = |failure: &Value| {
            let identifier = failure.get("itemIdentifier")?.as_str()?;
            records.iter().position(|record| record.sequence_number == identifier)
        };
        // One sequence number that is not of the batch invalidates all of them.
        failures.iter().map(|failure| place(failure).unwrap_or(0)).min()
    }

    async fn pause(&self, times: u32) {
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1))).min(LONGEST_PAUSE);
        let mut stopping = self.stopping.clone();
        tokio::select! {
            biased;
            () = sleep(pause) => {}
            // An error means that the sender is gone and no stop can come.
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }

    async fn give_up(&self, shard: &str, condition: &str, batch: &Batch) {
        let (StreamMapping { function, table, .. }, count) = (&self.mapping, batch.records.len());
        (self.destinations.warn)(format!(
            "stream: {function} gave up on {count} {} of {table} after {} attempts ({condition}){}",
            if count == 1 { "record" } else { "records" },
            batch.attempts,
            match &self.mapping.on_failure {
                Some(FailureDestination::Bucket(bucket)) => format!(": kept in {bucket}, see /local/failures"),
                Some(FailureDestination::Topic(topic)) => format!(": published to {topic}, without the records"),
                None => ": lost, because the mapping has no failure destination".to_owned(),
            }
        ));
        let mut failed = 0;
        while let Err(error) = self.send_away(shard, condition, batch).await {
            (self.destinations.warn)(format!(
                "stream: the failure destination of {function} failed, retrying: {error}"
            ));
            failed += 1;
            self.pause(failed).await;
            if *self.stopping.borrow() {
                return;
            }
        }
    }

    async fn send_away(&self, shard: &str, condition: &str, batch: &Batch) -> Result<(), String> {
        match &self.mapping.on_failure {
            None => Ok(()),
            Some(FailureDestination::Bucket(bucket)) => {
                let mut document = self.document(shard, condition, batch);
                document["payload"] = event(&batch.records).into();
                let key = self.key(shard);
                self.destinations.failures.put(bucket, &key, document).await.map_err(|error| error.to_string())
            }
            Some(FailureDestination::Topic(topic)) => {
                (self.destinations.publish)(topic, self.document(shard, condition, batch).to_string()).await
            }
        }
    }

    /// The document that AWS writes about a batch, without the records.
    fn document(&self, shard: &str, condition: &str, batch: &Batch) -> Value {
        let time = |seconds: f64| {
            let time = OffsetDateTime::UNIX_EPOCH + time::Duration::seconds_f64(seconds);
            time.format(&Rfc3339).unwrap_or_default()
        };
        let now = clock::now();
        let (first, last) = (batch.records.first(), batch.records.last());
        let mut document = json!({
            "requestContext": {
                "requestId": batch.last.as_ref().map(|last| last.request_id.clone()),
                "functionArn": format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.mapping.function),
                "condition": condition,
                "approximateInvokeCount": batch.attempts,
            },
            "version": "1.0",
            "timestamp": time(now.unix_timestamp() as f64 + f64::from(now.millisecond()) / 1e3),
            "DDBStreamBatchInfo": {
                "shardId": shard,
                "startSequenceNumber": first.map(|record| record.sequence_number.as_str()),
                "endSequenceNumber": last.map(|record| record.sequence_number.as_str()),
                "approximateArrivalOfFirstRecord": first.map(|record| time(record.created)),
                "approximateArrivalOfLastRecord": last.map(|record| time(record.created)),
                "batchSize": batch.records.len(),
                "streamArn": self.stream_arn,
            },
        });
        if let Some(last) = &batch.last {
            document["responseContext"] = json!({"statusCode": 200, "executedVersion": "$LATEST"});
            if !matches!(last.outcome, InvocationOutcome::Answer(_)) {
                document["responseContext"]["functionError"] = "Unhandled".into();
            }
        }
        document
    }

    fn key(&self, shard: &str) -> String {
        let now = clock::now();
        let day = now.format(format_description!("[year]/[month]/[day]")).unwrap_or_default();
        let time = now.format(format_description!("[year]-[month]-[day]T[hour].[minute].[second]"));
        let mapping = self.mapping.name.replace('/', "-");
        format!("aws/lambda/{mapping}/{shard}/{day}/{}-{}", time.unwrap_or_default(), uuid::Uuid::new_v4())
    }
}
