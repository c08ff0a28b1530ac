//! DynamoDB in memory, behind the protocol of the SDK.

use std::sync::Mutex;

use dynoxide::actions::transact_write_items::TransactWriteItemsRequest;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{COUNTS, Call, RECORDS, lock};

pub(crate) struct Engine {
    database: Database,
    /// The records of the stream: one for each submission that was inserted.
    stream: Mutex<Vec<Value>>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let database = Database::memory().expect("an engine in memory needs no resources");
        for table in tables() {
            let request = serde_json::from_value(table).expect("the tables of this file are well formed");
            database.create_table(request).expect("the tables of this file can be made");
        }
        Self { database, stream: Mutex::default() }
    }

    pub(crate) fn apply(&self, call: &Call) -> (u16, String) {
        self.apply_with(call, |request| request)
    }

    /// As [`Self::apply`], whatever was applied with the same token before.
    pub(crate) fn apply_again(&self, call: &Call) -> (u16, String) {
        self.apply_with(call, |request| TransactWriteItemsRequest { client_request_token: None, ..request })
    }

    fn apply_with(
        &self,
        call: &Call,
        transaction: impl FnOnce(TransactWriteItemsRequest) -> TransactWriteItemsRequest,
    ) -> (u16, String) {
        let body = &call.body;
        let answer = match call.name() {
            "PutItem" => run(body, |request| self.database.put_item(request)),
            "GetItem" => run(body, |request| self.database.get_item(request)),
            "UpdateItem" => run(body, |request| self.database.update_item(request)),
            "Query" => run(body, |request| self.database.query(request)),
            "Scan" => run(body, |request| self.database.scan(request)),
            "BatchGetItem" => run(body, |request| self.database.batch_get_item(request)),
            "TransactWriteItems" => run(body, |request| self.database.transact_write_items(transaction(request))),
            other => unreachable!("no function calls {other}"),
        };
        match answer {
            Ok(answer) => {
                for put in puts(call).filter(|put| put["TableName"] == RECORDS) {
                    if put["Item"]["kind"]["S"] == "submission" {
                        self.stream_insert(&put["Item"]);
                    }
                }
                (200, answer)
            }
            Err(error) => (error.status_code(), error.to_json()),
        }
    }

    pub(crate) fn items(&self, table: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut request = json!({"TableName": table});
        // A page has a megabyte at most.
        loop {
            let page = serde_json::from_value(request.clone()).expect("a scan needs a table");
            let answer = self.database.scan(page).expect("the table is there");
            let mut answer = serde_json::to_value(answer).expect("answers serialise");
            items.extend(answer["Items"].as_array().into_iter().flatten().map(plain_item));
            match answer.get_mut("LastEvaluatedKey").map(Value::take) {
                Some(key) if !key.is_null() => request["ExclusiveStartKey"] = key,
                _ => return items,
            }
        }
    }

    pub(crate) fn set(&self, table: &str, item: &Value, attribute: &str, value: Value) {
        let request = json!({
            "TableName": table, "Key": {"pk": {"S": item["pk"]}, "sk": {"S": item["sk"]}},
            "UpdateExpression": "SET #a = :v", "ExpressionAttributeNames": {"#a": attribute},
            "ExpressionAttributeValues": {":v": value},
        });
        let request = serde_json::from_value(request).expect("an update is well formed");
        self.database.update_item(request).expect("the item is there");
    }

    /// The item of `key`, in DynamoDB's notation.
    pub(crate) fn get(&self, table: &str, key: &Value) -> Option<Value> {
        let request = serde_json::from_value(json!({"TableName": table, "Key": key})).expect("a key is well formed");
        let answer = self.database.get_item(request).expect("the table is there");
        serde_json::to_value(answer).expect("answers serialise").get_mut("Item").map(Value::take)
    }

    /// As [`Engine::get`], as plain JSON.
    pub(crate) fn item(&self, table: &str, key: &Value) -> Option<Value> {
        self.get(table, key).as_ref().map(plain_item)
    }

    pub(crate) fn put(&self, table: &str, item: Value) {
        let request = serde_json::from_value(json!({"TableName": table, "Item": item}));
        self.database.put_item(request.expect("a put is well formed")).expect("the table is there");
    }

    pub(crate) fn copy(&self, table: &str, item: &Value, changes: &[(&str, &str)]) {
        let key = json!({"TableName": table, "Key": {"pk": {"S": item["pk"]}, "sk": {"S": item["sk"]}}});
        let request = serde_json::from_value(key).expect("a key is well formed");
        let stored = self.database.get_item(request).expect("the table is there");
        let mut stored = serde_json::to_value(stored).expect("answers serialise")["Item"].take();
        for (name, value) in changes {
            stored[name] = json!({"S": value});
        }
        let request = serde_json::from_value(json!({"TableName": table, "Item": stored}));
        self.database.put_item(request.expect("a put is well formed")).expect("the table is there");
    }

    pub(crate) fn edit(&self, table: &str, item: &Value, change: impl FnOnce(&mut Value)) {
        let request = serde_json::from_value(json!({"TableName": table, "Key": key(item)}));
        let stored = self.database.get_item(request.expect("a key is well formed")).expect("the table is there");
        let mut stored = serde_json::to_value(stored).expect("answers serialise")["Item"].take();
        change(&mut stored);
        let request = serde_json::from_value(json!({"TableName": table, "Item": stored}));
        self.database.put_item(request.expect("a put is well formed")).expect("the table is there");
    }

    pub(crate) fn remove(&self, table: &str, item: &Value) {
        let request = serde_json::from_value(json!({"TableName": table, "Key": key(item)}));
        self.database.delete_item(request.expect("a key is well formed")).expect("the table is there");
    }

    pub(crate) fn stream(&self) -> Vec<Value> {
        lock(&self.stream).clone()
    }

    fn stream_insert(&self, item: &Value) {
        let mut stream = lock(&self.stream);
        let position = stream.len();
        let number = format!("{:021}", 100_000 + position);
        stream.push(json!({
            "eventID": format!("{position:032x}"), "eventName": "INSERT", "eventVersion": "1.1",
            "eventSource": "aws:dynamodb", "awsRegion": "eu-central-1",
            "dynamodb": {
                "ApproximateCreationDateTime": 1_795_420_683, "Keys": {"pk": item["pk"], "sk": item["sk"]},
                "NewImage": item, "SequenceNumber": number, "SizeBytes": 500, "StreamViewType": "NEW_AND_OLD_IMAGES",
            },
            "eventSourceARN": "arn:aws:dynamodb:eu-central-1:000000000000:table/RecordsTable/stream/x",
        }));
    }
}

/// An index of the Records table.
pub(crate) struct Index {
    pub(crate) name: &'static str,
    /// Its hash key and its sort key. It has keys only.
    pub(crate) keys: [&'static str; 2],
}

/// The indexes of the Records table in the template.
pub(crate) fn indexes() -> [Index; 2] {
    [
        Index { name: "site", keys: ["site_key", "site_sort"] },
        Index { name: "pending", keys: ["pending", "pending_since"] },
    ]
}

/// The puts of `call`, alone or in a transaction.
pub(crate) fn puts(call: &Call) -> impl Iterator<Item = &Value> {
    let alone = (call.name() == "PutItem").then_some(&call.body);
    let together = call.body["TransactItems"].as_array().into_iter().flatten().filter_map(|write| write.get("Put"));
    alone.into_iter().chain(together)
}

/// The key of `item` in DynamoDB's notation.
fn key(item: &Value) -> Value {
    let parts = ["pk", "sk"].into_iter().filter(|part| item[part].is_string());
    Value::Object(parts.map(|part| (part.to_owned(), json!({"S": item[part]}))).collect())
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &Value,
    operation: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<String, DynoxideError> {
    let request = Q::deserialize(body).expect("the SDK sends what the engine reads");
    operation(request).map(|answer| serde_json::to_string(&answer).expect("answers serialise"))
}

fn tables() -> [Value; 2] {
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    let attribute = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    let index = |index: Index| {
        let [hash, range] = index.keys;
        json!({
            "IndexName": index.name, "KeySchema": [key(hash, "HASH"), key(range, "RANGE")],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        })
    };
    let attributes = ["pk", "sk"].into_iter().chain(indexes().into_iter().flat_map(|index| index.keys));
    [
        json!({
            "TableName": RECORDS, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("pk", "HASH"), key("sk", "RANGE")],
            "AttributeDefinitions": attributes.map(attribute).collect::<Vec<_>>(),
            "GlobalSecondaryIndexes": indexes().map(index),
        }),
        json!({
            "TableName": COUNTS, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [key("pk", "HASH")], "AttributeDefinitions": [attribute("pk")],
        }),
    ]
}

/// An item without DynamoDB's type tags.
fn plain_item(item: &Value) -> Value {
    let members = item.as_object().into_iter().flatten();
    Value::Object(members.map(|(name, value)| (name.clone(), plain(value))).collect::<Map<_, _>>())
}

/// The bytes in `base64` as tests compare them: a UUID as such, anything else in hexadecimal.
fn plain_bytes(base64: &str) -> Option<Value> {
    let bytes = aws_smithy_types::base64::decode(base64).ok()?;
    let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Value::String(Uuid::from_slice(&bytes).map_or_else(|_| hex(), |uuid| uuid.to_string())))
}

fn plain(value: &Value) -> Value {
    match value.as_object().and_then(|tagged| tagged.iter().next()) {
        Some((tag, value)) => match tag.as_str() {
            "N" => value.as_str().and_then(|number| number.parse().ok()).map_or(Value::Null, Value::Number),
            "L" => value.as_array().into_iter().flatten().map(plain).collect(),
            "M" => plain_item(value),
            "NULL" => Value::Null,
            "B" => value.as_str().and_then(plain_bytes).unwrap_or_else(|| value.clone()),
            _ => value.clone(),
        },
        None => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_more_than_a_page_is_returned_whole() {
        let engine = Engine::new();
        for n in 0..20 {
            engine.put(
                RECORDS,
                json!({"pk": {"S": "P"}, "sk": {"S": n.to_string()}, "text": {"S": "x".repeat(100_000)}}),
            );
        }
        assert_eq!(engine.items(RECORDS).len(), 20);
    }
}
