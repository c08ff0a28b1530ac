//! Scores what the table's stream delivers. Each batch goes through the pipeline of [`scoring`]; the answer names the
//! records that are not done, and the stream delivers again from the first of them.

use invocation::event_function::in_invocation;
use invocation::metrics;
use lambda_runtime::LambdaEvent;
use notifications::Topic;
use records::Store;
use records::stream::{Batch, Record};
use scoring::Scoring;
use serde::Serialize;

/// The function, with what it keeps between batches.
#[derive(Clone, Debug)]
pub struct Score {
    scoring: Scoring,
}

/// The answer to a batch, as the event source mapping reads it with `ReportBatchItemFailures`.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    /// The records that are not done, in the order of the batch.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A record that is not done.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// The record's sequence number.
    pub item_identifier: String,
}

/// A batch whose records that are not done cannot be named. The mapping retries all of it, within its limits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The event is not a batch of a stream.
    #[error("the event holds no list of records: is the function's event source a DynamoDB stream?")]
    NoRecords,
    /// A record that is not done has no sequence number.
    #[error("a record without a sequence number could not be quarantined")]
    NoSequenceNumber,
}

impl Score {
    /// The function on `store` and `topic`.
    pub fn new(store: Store, topic: Topic) -> Self {
        Self { scoring: Scoring::new(store, topic) }
    }

    /// Processes one batch, and returns the records that are not done, before the deadline.
    ///
    /// # Errors
    /// If the records that are not done cannot be named.
    pub async fn handle(&self, event: LambdaEvent<Batch>) -> Result<BatchAnswer, BatchError> {
        let LambdaEvent { payload: Batch(texts), context } = event;
        in_invocation(&context, async |clock, deadline| {
            let texts = texts.ok_or(BatchError::NoRecords)?;
            let records: Vec<_> = texts.iter().map(|text| Record::new(text)).collect();
            let lag = records.iter().filter_map(Record::written_at).min();
            let lag_seconds = lag.map(|oldest| (clock.now().unix_timestamp() - oldest).max(0).unsigned_abs());
            if let Some(seconds) = lag_seconds {
                metrics::report(metrics::STREAM_LAG_SECONDS, seconds);
            }
            let not_done = self.scoring.process(&records, clock, deadline).await;
            tracing::info!(
                event = "batch_processed",
                outcome = if not_done.is_empty() { "ok" } else { "not-done" },
                batch_size = records.len(),
                not_done = not_done.len(),
                lag_seconds,
                ms = clock.elapsed().as_millis() as u64,
                remaining_ms = deadline.remaining().as_millis() as u64,
            );
            BatchAnswer::new(&not_done, &records)
        })
        .await
    }
}

impl BatchAnswer {
    fn new(not_done: &[usize], records: &[Record<'_>]) -> Result<Self, BatchError> {
        let batch_item_failures = not_done.iter().map(|&index| {
            let item_identifier = records[index].sequence_number().ok_or(BatchError::NoSequenceNumber)?;
            Ok(BatchItemFailure { item_identifier })
        });
        Ok(Self { batch_item_failures: batch_item_failures.collect::<Result<_, _>>()? })
    }
}
