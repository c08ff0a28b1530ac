//! An engine, and requests of it through the SDK's client.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    ConditionCheck, KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure, Select, TransactWriteItem, Update,
};
use aws_sdk_dynamodbstreams::types::ShardIteratorType;
use aws_smithy_types::retry::RetryConfig;
use local::dynamodb::DynamoDb;
use local::template::Template;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::notation::{Item, item, of_item, of_streamed_item};
use crate::sequence::RECORDS;

const START: Duration = Duration::from_secs(60);

/// A request: the name of the operation and its body as on the wire.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The operation, such as `PutItem`.
    pub operation: &'static str,
    /// The parameters.
    pub body: Value,
}

/// Which engine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The engine of the local cloud and of the tests.
    Embedded,
    /// <https://github.com/getmoto/moto>
    Moto,
    /// <https://github.com/architect/dynalite>
    Dynalite,
}

/// A running engine with the template's tables.
#[derive(Debug)]
pub struct Engine {
    /// Which it is.
    pub kind: Kind,
    database: DynamoDb,
    client: Client,
    /// The process of an engine that is not embedded. It ends when this is dropped.
    _process: Option<Child>,
}

/// Why an engine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The command does not start an engine.
    #[error("`{command}` does not start an engine: {problem}")]
    Start {
        /// The command.
        command: String,
        /// What it did instead.
        problem: String,
    },
    /// Tables or streams cannot be made or read.
    #[error("cannot use the tables of an engine")]
    Tables(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl EngineError {
    pub(crate) fn tables(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Tables(error.into())
    }
}

impl Engine {
    /// The embedded engine.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn embedded() -> Result<Self, EngineError> {
        let database = DynamoDb::embedded(None).await.map_err(EngineError::tables)?;
        Ok(Self::new(Kind::Embedded, database, None))
    }

    /// The engine that `command` starts, which prints `ready PORT` and ends with its standard input.
    ///
    /// # Errors
    /// If it does not start.
    pub async fn external(kind: Kind, command: &str) -> Result<Self, EngineError> {
        let failed = |problem: String| EngineError::Start { command: command.to_owned(), problem };
        let mut words = command.split_whitespace();
        let mut process = Command::new(words.next().unwrap_or_default())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line: Result<io::Result<Option<String>>, _> = timeout(START, lines.next_line()).await;
        let line = match line {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return Err(failed("it has ended".to_owned())),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => return Err(failed(format!("it is not ready within {} s", START.as_secs()))),
        };
        let port = line.strip_prefix("ready ").ok_or_else(|| failed(format!("it printed {line}")))?;
        let database = DynamoDb::at(&format!("http://127.0.0.1:{port}")).map_err(EngineError::tables)?;
        Ok(Self::new(kind, database, Some(process)))
    }

    fn new(kind: Kind, database: DynamoDb, process: Option<Child>) -> Self {
        let config = database.client().config().to_builder().retry_config(RetryConfig::disabled()).build();
        Self { kind, client: Client::from_conf(config), database, _process: process }
    }

    /// Whether it has transactions.
    pub fn has_transactions(&self) -> bool {
        self.kind != Kind::Dynalite
    }

    /// Whether its tables have streams.
    pub fn has_streams(&self) -> bool {
        self.kind != Kind::Dynalite
    }

    /// The changes in the stream of the Records table of the items whose keys hold `part`: of each item in their order,
    /// each with its kind and both images.
    pub async fn stream(&self, part: &str) -> Value {
        match self.changes(part).await {
            Ok(changes) => json!(changes),
            Err(error) => json!({"failure": authoring::error_chain(error.as_ref())}),
        }
    }

    async fn changes(&self, part: &str) -> Result<BTreeMap<String, Vec<Value>>, Box<dyn Error + Send + Sync>> {
        let streams = self.database.streams();
        let arn = self.database.stream_arn(RECORDS).await?;
        let described = streams.describe_stream().stream_arn(&arn).send().await?;
        let mut changes: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for shard in described.stream_description.and_then(|stream| stream.shards).unwrap_or_default() {
            let id = shard.shard_id.unwrap_or_default();
            let first = streams.get_shard_iterator().stream_arn(&arn).shard_id(id);
            let first = first.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?;
            let mut iterator = first.shard_iterator;
            while let Some(position) = iterator {
                let page = streams.get_records().shard_iterator(position).send().await?;
                let records = page.records.unwrap_or_default();
                iterator = page.next_shard_iterator.filter(|_| !records.is_empty());
                for record in records {
                    let Some(change) = record.dynamodb else { continue };
                    let image = |image: Option<_>| image.as_ref().map(of_streamed_item);
                    let key = image(change.keys).unwrap_or_default().to_string();
                    if key.contains(part) {
                        let event = record.event_name.map(|event| event.as_str().to_owned());
                        let images = (image(change.old_image), image(change.new_image));
                        changes.entry(key).or_default().push(json!([event, images.0, images.1]));
                    }
                }
            }
        }
        Ok(changes)
    }

    /// Makes the template's tables, empty.
    ///
    /// # Errors
    /// If it refuses.
    pub async fn make_tables(&self, template: &Template) -> Result<(), EngineError> {
        for table in &template.tables {
            let deleted = self.client.delete_table().table_name(&table.name).send().await;
            if let Err(error) = deleted
                && !error.as_service_error().is_some_and(|error| error.is_resource_not_found_exception())
            {
                return Err(EngineError::tables(error));
            }
        }
        self.database.make_tables(&template.tables).await.map(drop).map_err(EngineError::tables)
    }

    /// The answer to `request`, as comparable JSON: the members of the answer, or the error's code and status, with
    /// what it says about conditions.
    pub async fn send(&self, request: &Request) -> Value {
        match request.operation {
            "PutItem" => self.put(&request.body).await,
            "GetItem" => self.get(&request.body).await,
            "UpdateItem" => self.update(&request.body).await,
            "Query" => self.query(&request.body).await,
            "Scan" => self.scan(&request.body).await,
            "BatchGetItem" => self.batch_get(&request.body).await,
            "TransactWriteItems" => self.transact(&request.body).await,
            other => unreachable!("no function calls {other}"),
        }
    }

    async fn put(&self, body: &Value) -> Value {
        let request = self
            .client
            .put_item()
            .set_table_name(text(&body["TableName"]))
            .set_item(Some(item(&body["Item"])))
            .set_condition_expression(text(&body["ConditionExpression"]))
            .set_expression_attribute_names(names(&body["ExpressionAttributeNames"]))
            .set_expression_attribute_values(values(&body["ExpressionAttributeValues"]))
            .set_return_values_on_condition_check_failure(on_failure(body));
        match request.send().await {
            Ok(answer) => json!({"attributes": answer.attributes.as_ref().map(of_item)}),
            Err(error) => refusal(&error, |error| match error {
                PutItemError::ConditionalCheckFailedException(failed) => json!(failed.item.as_ref().map(of_item)),
                _ => Value::Null,
            }),
        }
    }

    async fn update(&self, body: &Value) -> Value {
        let request = self
            .client
            .update_item()
            .set_table_name(text(&body["TableName"]))
            .set_key(Some(item(&body["Key"])))
            .set_update_expression(text(&body["UpdateExpression"]))
            .set_condition_expression(text(&body["ConditionExpression"]))
            .set_expression_attribute_names(names(&body["ExpressionAttributeNames"]))
            .set_expression_attribute_values(values(&body["ExpressionAttributeValues"]))
            .set_return_values_on_condition_check_failure(on_failure(body));
        match request.send().await {
            Ok(answer) => json!({"attributes": answer.attributes.as_ref().map(of_item)}),
            Err(error) => refusal(&error, |error| match error {
                UpdateItemError::ConditionalCheckFailedException(failed) => json!(failed.item.as_ref().map(of_item)),
                _ => Value::Null,
            }),
        }
    }

    async fn get(&self, body: &Value) -> Value {
        let request = self
            .client
            .get_item()
            .set_table_name(text(&body["TableName"]))
            .set_key(Some(item(&body["Key"])))
            .set_consistent_read(body["ConsistentRead"].as_bool())
            .set_projection_expression(text(&body["ProjectionExpression"]))
            .set_expression_attribute_names(names(&body["ExpressionAttributeNames"]));
        match request.send().await {
            Ok(answer) => json!({"item": answer.item.as_ref().map(of_item)}),
            Err(error) => refusal(&error, |_| Value::Null),
        }
    }

    async fn query(&self, body: &Value) -> Value {
        let request = self
            .client
            .query()
            .set_table_name(text(&body["TableName"]))
            .set_index_name(text(&body["IndexName"]))
            .set_key_condition_expression(text(&body["KeyConditionExpression"]))
            .set_filter_expression(text(&body["FilterExpression"]))
            .set_projection_expression(text(&body["ProjectionExpression"]))
            .set_expression_attribute_names(names(&body["ExpressionAttributeNames"]))
            .set_expression_attribute_values(values(&body["ExpressionAttributeValues"]))
            .set_consistent_read(body["ConsistentRead"].as_bool())
            .set_scan_index_forward(body["ScanIndexForward"].as_bool())
            .set_select(body["Select"].as_str().map(Select::from))
            .set_limit(number(&body["Limit"]))
            .set_exclusive_start_key(values(&body["ExclusiveStartKey"]));
        match request.send().await {
            Ok(answer) => json!({
                "items": answer.items().iter().map(of_item).collect::<Vec<_>>(), "count": answer.count,
                "scanned": answer.scanned_count, "last": answer.last_evaluated_key.as_ref().map(of_item),
            }),
            Err(error) => refusal(&error, |_| Value::Null),
        }
    }

    async fn scan(&self, body: &Value) -> Value {
        let request = self
            .client
            .scan()
            .set_table_name(text(&body["TableName"]))
            .set_index_name(text(&body["IndexName"]))
            .set_consistent_read(body["ConsistentRead"].as_bool())
            .set_limit(number(&body["Limit"]))
            .set_exclusive_start_key(values(&body["ExclusiveStartKey"]));
        match request.send().await {
            Ok(answer) => json!({
                "items": answer.items().iter().map(of_item).collect::<Vec<_>>(), "count": answer.count,
                "scanned": answer.scanned_count, "last": answer.last_evaluated_key.as_ref().map(of_item),
            }),
            Err(error) => refusal(&error, |_| Value::Null),
        }
    }

    async fn batch_get(&self, body: &Value) -> Value {
        let mut request = self.client.batch_get_item();
        for (table, wanted) in body["RequestItems"].as_object().into_iter().flatten() {
            let keys = KeysAndAttributes::builder()
                .set_keys(Some(wanted["Keys"].as_array().into_iter().flatten().map(item).collect()))
                .set_consistent_read(wanted["ConsistentRead"].as_bool());
            request = request.request_items(table, keys.build().expect("keys are set"));
        }
        match request.send().await {
            Ok(answer) => {
                let tables = answer.responses.unwrap_or_default();
                let tables = tables.into_iter().map(|(table, items)| {
                    let mut items: Vec<Value> = items.iter().map(of_item).collect();
                    // Their order is not defined.
                    items.sort_by_cached_key(Value::to_string);
                    (table, Value::Array(items))
                });
                let unprocessed = answer.unprocessed_keys.is_some_and(|keys| !keys.is_empty());
                json!({"responses": tables.collect::<serde_json::Map<_, _>>(), "unprocessed": unprocessed})
            }
            Err(error) => refusal(&error, |_| Value::Null),
        }
    }

    async fn transact(&self, body: &Value) -> Value {
        let writes = body["TransactItems"].as_array().into_iter().flatten().map(write).collect();
        let request = self
            .client
            .transact_write_items()
            .set_client_request_token(text(&body["ClientRequestToken"]))
            .set_transact_items(Some(writes));
        match request.send().await {
            Ok(_) => json!({}),
            Err(error) => refusal(&error, |error| match error {
                TransactWriteItemsError::TransactionCanceledException(cancelled) => cancelled
                    .cancellation_reasons()
                    .iter()
                    .map(|reason| {
                        let item = reason.item.as_ref().filter(|item| !item.is_empty());
                        json!({"code": reason.code().unwrap_or("None"), "item": item.map(of_item)})
                    })
                    .collect(),
                _ => Value::Null,
            }),
        }
    }
}

fn write(write: &Value) -> TransactWriteItem {
    let complete = "the sequences of this crate are complete";
    if let Some(put) = write.get("Put") {
        let put = Put::builder()
            .set_table_name(text(&put["TableName"]))
            .set_item(Some(item(&put["Item"])))
            .set_condition_expression(text(&put["ConditionExpression"]))
            .set_expression_attribute_names(names(&put["ExpressionAttributeNames"]))
            .set_expression_attribute_values(values(&put["ExpressionAttributeValues"]))
            .set_return_values_on_condition_check_failure(on_failure(put));
        return TransactWriteItem::builder().put(put.build().expect(complete)).build();
    }
    if let Some(check) = write.get("ConditionCheck") {
        let check = ConditionCheck::builder()
            .set_table_name(text(&check["TableName"]))
            .set_key(Some(item(&check["Key"])))
            .set_condition_expression(text(&check["ConditionExpression"]))
            .set_expression_attribute_names(names(&check["ExpressionAttributeNames"]))
            .set_expression_attribute_values(values(&check["ExpressionAttributeValues"]));
        return TransactWriteItem::builder().condition_check(check.build().expect(complete)).build();
    }
    let update = &write["Update"];
    let update = Update::builder()
        .set_table_name(text(&update["TableName"]))
        .set_key(Some(item(&update["Key"])))
        .set_update_expression(text(&update["UpdateExpression"]))
        .set_condition_expression(text(&update["ConditionExpression"]))
        .set_expression_attribute_names(names(&update["ExpressionAttributeNames"]))
        .set_expression_attribute_values(values(&update["ExpressionAttributeValues"]))
        .set_return_values_on_condition_check_failure(on_failure(update));
    TransactWriteItem::builder().update(update.build().expect(complete)).build()
}

/// The refusal of a request; `about` adds what the error says about conditions.
fn refusal<E>(error: &SdkError<E>, about: impl FnOnce(&E) -> Value) -> Value
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(refused) => json!({
            "error": refused.err().code(), "status": refused.raw().status().as_u16(), "about": about(refused.err()),
        }),
        other => json!({"failure": authoring::error_chain(other)}),
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn number(value: &Value) -> Option<i32> {
    value.as_i64().and_then(|number| number.try_into().ok())
}

fn names(value: &Value) -> Option<HashMap<String, String>> {
    let names = value.as_object()?;
    Some(names.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
}

fn values(value: &Value) -> Option<Item> {
    value.is_object().then(|| item(value))
}

fn on_failure(body: &Value) -> Option<ReturnValuesOnConditionCheckFailure> {
    text(&body["ReturnValuesOnConditionCheckFailure"]).map(|value| value.as_str().into())
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
