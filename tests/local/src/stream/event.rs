//! A stream's record in the form in which Lambda passes it to a function.

use crate::template::{ACCOUNT, REGION};
use aws_sdk_dynamodbstreams::types::{AttributeValue, Record as Source};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use dynoxide::actions::get_records::Record as EngineRecord;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use time::Duration;

/// A change that was read from a shard.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub(super) sequence_number: String,
    /// When it was written, in seconds since the epoch.
    pub(super) created: f64,
    /// A hash of the item's keys, equal for all of its records.
    pub(super) item: u64,
    /// Lambda's JSON of it: `eventID`, `eventName`, `dynamodb` with its images by typed attributes, ...
    pub(super) json: Value,
}

impl Change {
    /// A record of the Streams API; `None` if it lacks its sequence number.
    pub(super) fn of(source: &Source, stream_arn: &str) -> Option<Self> {
        let change = source.dynamodb.as_ref()?;
        let created = change.approximate_creation_date_time.map_or(0.0, |time| time.as_secs_f64());
        Some(Self::new(change.sequence_number.clone()?, created, to_json(source, stream_arn)))
    }

    /// A record of the embedded engine; `None` if it cannot be JSON, which the engine's tables rule out.
    pub(super) fn of_engine(source: &EngineRecord, stream_arn: &str) -> Option<Self> {
        let mut json = serde_json::to_value(source).ok()?;
        let created = source.dynamodb.approximate_creation_date_time;
        json["awsRegion"] = region(stream_arn).into();
        json["eventSourceARN"] = stream_arn.into();
        json["dynamodb"]["ApproximateCreationDateTime"] = seconds(created);
        Some(Self::new(source.dynamodb.sequence_number.clone(), created, json))
    }

    fn new(sequence_number: String, created: f64, json: Value) -> Self {
        Self { sequence_number, created, item: item_of(&json["dynamodb"]["Keys"]), json }
    }

    /// With the time of a clock that is ahead of the engine's by `offset`.
    pub(super) fn ahead(mut self, offset: Duration) -> Self {
        // As it is where nothing was moved: the API's times are not whole binary fractions.
        if !offset.is_zero() {
            // Whole seconds, as the engine's.
            self.created = (self.created + offset.as_seconds_f64()).floor();
            self.json["dynamodb"]["ApproximateCreationDateTime"] = seconds(self.created);
        }
        self
    }
}

/// One record, ready for delivery.
#[derive(Debug, Clone)]
pub(super) struct Record {
    /// Its position among the records read from the shard.
    pub(super) index: u64,
    pub(super) sequence_number: String,
    /// When it was written, in seconds since the epoch.
    pub(super) created: f64,
    /// The JSON text of the record in the event.
    pub(super) text: String,
}

fn to_json(source: &Source, stream_arn: &str) -> Value {
    let mut record = Map::new();
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            record.insert(key.to_owned(), value);
        }
    };
    set("eventID", source.event_id.clone().map(Value::String));
    set("eventName", source.event_name.as_ref().map(|name| name.as_str().into()));
    set("eventVersion", source.event_version.clone().map(Value::String));
    set("eventSource", source.event_source.clone().map(Value::String));
    set("awsRegion", region(stream_arn).map(Value::from));
    if let Some(change) = &source.dynamodb {
        let mut dynamodb = Map::new();
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                dynamodb.insert(key.to_owned(), value);
            }
        };
        set(
            "ApproximateCreationDateTime",
            change.approximate_creation_date_time.map(|time| seconds(time.as_secs_f64())),
        );
        set("Keys", change.keys.as_ref().map(attributes));
        set("NewImage", change.new_image.as_ref().map(attributes));
        set("OldImage", change.old_image.as_ref().map(attributes));
        set("SequenceNumber", change.sequence_number.clone().map(Value::String));
        set("SizeBytes", change.size_bytes.map(Value::from));
        set("StreamViewType", change.stream_view_type.as_ref().map(|view| view.as_str().into()));
        set_object(&mut record, "dynamodb", dynamodb);
    }
    record.insert("eventSourceARN".to_owned(), stream_arn.into());
    if let Some(identity) = &source.user_identity {
        record
            .insert("userIdentity".to_owned(), json!({"principalId": identity.principal_id, "type": identity.r#type}));
    }
    Value::Object(record)
}

fn region(arn: &str) -> Option<&str> {
    arn.split(':').nth(3)
}

fn item_of(keys: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut keys: Vec<_> = keys.as_object().into_iter().flatten().collect();
    keys.sort_by_key(|(name, _)| *name);
    for (name, value) in keys {
        name.hash(&mut hasher);
        value.to_string().hash(&mut hasher);
    }
    hasher.finish()
}

/// The event of a batch.
pub(super) fn event(records: &[Record]) -> String {
    let size: usize = records.iter().map(|record| record.text.len() + 1).sum();
    let mut event = String::with_capacity(size + 16);
    event.push_str("{\"Records\":[");
    for (place, record) in records.iter().enumerate() {
        if place > 0 {
            event.push(',');
        }
        event.push_str(&record.text);
    }
    event.push_str("]}");
    event
}

/// The stream's ARN as a function sees it: the local engines report regions of their own.
pub(super) fn local_arn(arn: &str) -> String {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, service, "dynoxide" | "ddblocal", _, resource] => {
            format!("arn:{partition}:{service}:{REGION}:{ACCOUNT}:{resource}")
        }
        _ => arn.to_owned(),
    }
}

fn set_object(record: &mut Map<String, Value>, key: &str, value: Map<String, Value>) {
    record.insert(key.to_owned(), Value::Object(value));
}

fn seconds(seconds: f64) -> Value {
    // A whole number is written without a fraction, as AWS does.
    if seconds.fract() == 0.0 { json!(seconds as i64) } else { json!(seconds) }
}

fn attributes(item: &HashMap<String, AttributeValue>) -> Value {
    let mut names: Vec<_> = item.keys().collect();
    names.sort();
    Value::Object(names.into_iter().map(|name| (name.clone(), attribute(&item[name]))).collect())
}

fn attribute(value: &AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(number) => json!({ "N": number }),
        AttributeValue::B(bytes) => json!({ "B": BASE64.encode(bytes) }),
        AttributeValue::Bool(flag) => json!({ "BOOL": flag }),
        AttributeValue::Null(is_null) => json!({ "NULL": is_null }),
        AttributeValue::L(values) => json!({ "L": values.iter().map(attribute).collect::<Vec<_>>() }),
        AttributeValue::M(item) => json!({ "M": attributes(item) }),
        AttributeValue::Ss(texts) => json!({ "SS": texts }),
        AttributeValue::Ns(numbers) => json!({ "NS": numbers }),
        AttributeValue::Bs(values) => json!({ "BS": values.iter().map(|v| BASE64.encode(v)).collect::<Vec<_>>() }),
        // A type that DynamoDB may add later.
        _ => Value::Null,
    }
}
