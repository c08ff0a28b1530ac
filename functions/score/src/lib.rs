//! Scores what the table's stream delivers. Each batch goes through the pipeline of [`scoring`]; the answer names the records
//! that are not done, and the stream delivers again from the first of them.

use invocation::aws;
use invocation::telemetry::{self, InvocationIds};
use invocation::{Clock, Deadline, Environment, EnvironmentError};
use lambda_runtime::LambdaEvent;
use notifications::Topic;
use records::Store;
use scoring::Scoring;
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument;

/// The function, with what it keeps between batches.
#[derive(Clone, Debug)]
pub struct Score {
    scoring: Scoring,
}

/// The answer to a batch: the records that are not done. The stream goes on from the first of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    /// The records that are not done, in order.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A record that is not done.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its sequence number.
    pub item_identifier: String,
}

/// A batch whose records cannot be answered for one by one. The mapping retries all of it, within its bounds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is no batch of a stream.
    #[error("the event holds no list of records: is the function's event source a DynamoDB stream?")]
    NoRecords,
    /// A record without a sequence number is not done, so that it cannot be named.
    #[error("a record that has no sequence number could not be set aside")]
    Nameless,
}

impl Score {
    /// The function as its environment variables set it up.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        let https = aws::https();
        let store = Store::from_environment(environment, https.clone())?;
        Ok(Self::new(store, Topic::from_environment(environment, https)?))
    }

    /// The function on `store` and `topic`.
    pub fn new(store: Store, topic: Topic) -> Self {
        Self { scoring: Scoring::new(store, topic) }
    }

    /// Opens the connections to the store and to SNS ahead of the first batch. What fails is opened by the first batch.
    pub async fn warm_up(&self) {
        self.scoring.warm_up().await;
    }

    /// Scores one batch, and returns the records that are not done, before the deadline.
    ///
    /// # Errors
    /// If the records that are not done cannot be named.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<BatchAnswer, BatchError> {
        let LambdaEvent { payload, context } = event;
        let deadline = Deadline::of(&context, Deadline::STREAM_RESERVE);
        let clock = Clock::system();
        let ids = InvocationIds {
            request_id: &context.request_id,
            trace_id: context.xray_trace_id.as_deref(),
            correlation_id: None,
        };
        let span = telemetry::invocation_span(&ids);
        async {
            let records = payload.get("Records").and_then(Value::as_array).ok_or(BatchError::NoRecords)?;
            let not_done = self.scoring.process(records, clock, deadline).await;
            tracing::info!(
                event = "batch_done",
                records = records.len(),
                not_done = not_done.len(),
                ms = clock.elapsed().as_millis() as u64,
                remaining_ms = deadline.remaining().as_millis() as u64,
            );
            BatchAnswer::of(&not_done, records)
        }
        .instrument(span)
        .await
    }
}

impl BatchAnswer {
    fn of(not_done: &[usize], records: &[Value]) -> Result<Self, BatchError> {
        let batch_item_failures = not_done.iter().map(|&index| {
            let number = records::stream::sequence_number(&records[index]).ok_or(BatchError::Nameless)?;
            Ok(BatchItemFailure { item_identifier: number.to_owned() })
        });
        Ok(Self { batch_item_failures: batch_item_failures.collect::<Result<_, _>>()? })
    }
}
