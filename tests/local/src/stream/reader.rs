//! Reads a stream: through the Streams API of any engine, or from the embedded one without HTTP and the SDK.

use super::event::Change;
use crate::dynamodb::{DynamoDb, cause};
use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsError;
use aws_sdk_dynamodbstreams::types::{Shard, ShardIteratorType};
use dynoxide::DynoxideError;
use dynoxide::actions::get_records::GetRecordsRequest;

/// The most records of one read, which is DynamoDB's limit.
pub(super) const MOST_READ: usize = 1_000;

/// A stream and how it is read.
pub(super) struct Reader {
    client: Client,
    /// Reads the records, which are nearly all that is read.
    engine: Option<dynoxide::Database>,
    /// The stream's ARN in the database.
    stream_arn: String,
    /// The ARN that functions see.
    shown_arn: String,
}

/// What one read returns.
pub(super) struct Page {
    pub(super) changes: Vec<Change>,
    /// `None`: the shard is closed, and this was the rest of it.
    pub(super) next: Option<String>,
}

/// Why a shard cannot be read.
pub(super) enum Problem {
    /// The iterator is older than 15 minutes.
    Expired,
    /// The next record is older than the stream's retention.
    Trimmed,
    /// The stream no longer has the shard.
    Gone,
    Other(String),
}

impl Reader {
    pub(super) fn new(database: &DynamoDb, stream_arn: String, shown_arn: String) -> Self {
        Self { client: database.streams().clone(), engine: database.engine().cloned(), stream_arn, shown_arn }
    }

    pub(super) async fn shards(&self) -> Result<Vec<Shard>, String> {
        let mut shards = Vec::new();
        let mut after = None;
        loop {
            let request = self.client.describe_stream().stream_arn(&self.stream_arn);
            let page = request.set_exclusive_start_shard_id(after).send().await;
            let description = page
                .map_err(|error| cause(&error))?
                .stream_description
                .ok_or_else(|| "DescribeStream returned no description".to_owned())?;
            shards.extend(description.shards.unwrap_or_default());
            after = description.last_evaluated_shard_id;
            if after.is_none() {
                return Ok(shards);
            }
        }
    }

    /// An iterator behind the record with the sequence number `after`, or at the oldest record.
    pub(super) async fn first_iterator(&self, shard: &str, after: Option<&str>) -> Result<String, Problem> {
        let request = self.client.get_shard_iterator().stream_arn(&self.stream_arn).shard_id(shard);
        let request = match after {
            Some(after) => request.shard_iterator_type(ShardIteratorType::AfterSequenceNumber).sequence_number(after),
            None => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
        };
        match request.send().await {
            Ok(answer) => {
                answer.shard_iterator.ok_or_else(|| Problem::Other("GetShardIterator returned none".to_owned()))
            }
            Err(error) if error.as_service_error().is_some_and(|e| e.is_trimmed_data_access_exception()) => {
                Err(Problem::Trimmed)
            }
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => {
                Err(Problem::Gone)
            }
            Err(error) => Err(Problem::Other(cause(&error))),
        }
    }

    pub(super) async fn records(&self, iterator: String) -> Result<Page, Problem> {
        match &self.engine {
            Some(engine) => self.records_of_engine(engine.clone(), iterator).await,
            None => self.records_by_api(iterator).await,
        }
    }

    async fn records_by_api(&self, iterator: String) -> Result<Page, Problem> {
        let limit = i32::try_from(MOST_READ).unwrap_or(i32::MAX);
        let answer = self.client.get_records().shard_iterator(iterator).limit(limit).send().await;
        let answer = answer.map_err(|error| match error.as_service_error() {
            Some(GetRecordsError::ExpiredIteratorException(_)) => Problem::Expired,
            Some(GetRecordsError::TrimmedDataAccessException(_)) => Problem::Trimmed,
            Some(GetRecordsError::ResourceNotFoundException(_)) => Problem::Gone,
            _ => Problem::Other(cause(&error)),
        })?;
        let records = answer.records.unwrap_or_default();
        let changes = records.iter().filter_map(|record| Change::of(record, &self.shown_arn)).collect();
        Ok(Page { changes, next: answer.next_shard_iterator })
    }

    async fn records_of_engine(&self, engine: dynoxide::Database, iterator: String) -> Result<Page, Problem> {
        let arn = self.shown_arn.clone();
        // The engine is locked while it writes, so this blocks.
        let read = tokio::task::spawn_blocking(move || {
            let request = GetRecordsRequest { shard_iterator: iterator, limit: Some(MOST_READ) };
            let answer = engine.get_records(request)?;
            let changes = answer.records.iter().filter_map(|record| Change::of_engine(record, &arn)).collect();
            Ok::<_, DynoxideError>(Page { changes, next: answer.next_shard_iterator })
        });
        let page = read.await.map_err(|error| Problem::Other(error.to_string()))?;
        page.map_err(|error| match error {
            DynoxideError::ResourceNotFoundException(_) => Problem::Gone,
            // Its message names no more than the table.
            error => Problem::Other(error.to_string()),
        })
    }
}
