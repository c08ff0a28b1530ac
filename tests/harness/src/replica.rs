//! What eventually consistent reads see: the tables and their indexes as they were a short time ago.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::dynamodb::Engine;
use crate::{Call, RECORDS, lock};

/// A copy of the tables that follows them with a lag.
pub(crate) struct Replica {
    engine: Engine,
    behind: Mutex<Behind>,
    /// The list of each item of the index `pending`, and its place in it, by key: as the tables have it.
    pending: Mutex<BTreeMap<String, (String, String)>>,
    /// The list of each item, by key: as the copy has it.
    listed: Mutex<BTreeMap<String, String>>,
}

/// Items as writes left them, by when the copy has them. Those of one item keep their order; there is none between
/// items.
#[derive(Default)]
struct Behind {
    changes: BTreeMap<(Instant, u64), Change>,
    /// When the copy has the last change of an item.
    last: BTreeMap<String, Instant>,
    count: u64,
}

struct Change {
    table: String,
    item: Value,
}

impl Behind {
    fn add(&mut self, due: Instant, key: String, change: Change) {
        let due = self.last.get(&key).map_or(due, |last| due.max(*last));
        self.last.insert(key, due);
        self.count += 1;
        self.changes.insert((due, self.count), change);
    }

    /// The next change that is due by `now`.
    fn next(&mut self, now: Instant) -> Option<Change> {
        let first = self.changes.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

impl Replica {
    pub(crate) fn new() -> Self {
        Self { engine: Engine::new(), behind: Mutex::default(), pending: Mutex::default(), listed: Mutex::default() }
    }

    /// Whether `call` is a read that may be behind.
    pub(crate) fn answers(call: &Call) -> bool {
        match call.name() {
            "Query" | "GetItem" => call.body["ConsistentRead"] != true,
            "BatchGetItem" => {
                let tables = call.body["RequestItems"].as_object().into_iter().flatten();
                tables.into_iter().all(|(_, request)| request["ConsistentRead"] != true)
            }
            _ => false,
        }
    }

    /// Lets the copy have what `call` wrote to `tables` after `lag`.
    pub(crate) fn follow(&self, call: &Call, tables: &Engine, lag: Duration) {
        let mut behind = lock(&self.behind);
        let due = Instant::now() + lag;
        for (table, key) in call.written() {
            if let Some(item) = tables.get(&table, &key) {
                let mut pending = lock(&self.pending);
                match (item["pending"]["S"].as_str(), item["pending_since"]["S"].as_str()) {
                    (Some(list), Some(since)) => {
                        pending.insert(key.to_string(), (list.to_owned(), since.to_owned()));
                    }
                    _ => {
                        pending.remove(&key.to_string());
                    }
                }
                drop(pending);
                behind.add(due, format!("{table} {key}"), Change { table, item });
            }
        }
    }

    /// The items that are on a list: the list's shard, and since when or from when.
    pub(crate) fn pending(&self) -> Vec<(String, String)> {
        lock(&self.pending).values().cloned().collect()
    }

    pub(crate) fn read(&self, call: &Call) -> (u16, String) {
        let now = Instant::now();
        let mut behind = lock(&self.behind);
        let mut listed = lock(&self.listed);
        while let Some(Change { table, item }) = behind.next(now) {
            let key = format!("{} {}", item["pk"], item["sk"]);
            match item["pending"]["S"].as_str() {
                Some(list) => listed.insert(key, list.to_owned()),
                None => listed.remove(&key),
            };
            self.engine.put(&table, item);
        }
        // Most runs of `sweep` find most shards empty: these cost no query.
        let list = &call.body["ExpressionAttributeValues"][":list"]["S"];
        let is_empty = call.body["IndexName"] == "pending" && listed.values().all(|listed| *list != **listed);
        drop((behind, listed));
        if is_empty {
            return (200, r#"{"Count":0,"Items":[],"ScannedCount":0}"#.to_owned());
        }
        self.engine.apply(call)
    }
}

impl Call {
    /// The tables and keys of the items that a write is of.
    pub(crate) fn written(&self) -> Vec<(String, Value)> {
        let alone = ["PutItem", "UpdateItem"].contains(&self.name()).then_some(&self.body);
        let writes = self.body["TransactItems"].as_array().into_iter().flatten();
        let writes = writes.filter_map(|write| write.as_object()?.values().next());
        let key = |write: &Value| {
            let table = write["TableName"].as_str().unwrap_or_default().to_owned();
            let key = write.get("Key").cloned().unwrap_or_else(|| {
                let mut key = serde_json::json!({"pk": write["Item"]["pk"]});
                if table == RECORDS {
                    key["sk"] = write["Item"]["sk"].clone();
                }
                key
            });
            (table, key)
        };
        alone.into_iter().chain(writes).map(key).collect()
    }
}
