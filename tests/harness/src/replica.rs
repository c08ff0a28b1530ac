//! What eventually consistent reads see: the tables and their indexes as they were a short time ago.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::dynamodb::Engine;
use crate::{Call, RECORDS, lock};

/// A copy of the tables that follows them with a lag.
pub(crate) struct Replica {
    engine: Engine,
    behind: Mutex<VecDeque<Change>>,
    /// The list of each item of the index `pending`, and its place in it, by key.
    pending: Mutex<BTreeMap<String, (String, String)>>,
}

/// An item as a write left it, and when the copy has it.
struct Change {
    due: Instant,
    table: String,
    item: Value,
}

impl Replica {
    pub(crate) fn new() -> Self {
        Self { engine: Engine::new(), behind: Mutex::default(), pending: Mutex::default() }
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
        // In the order of the writes, as an index is updated.
        let due = behind.back().map_or(due, |last| last.due.max(due));
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
                behind.push_back(Change { due, table, item });
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
        while behind.front().is_some_and(|change| change.due <= now) {
            if let Some(Change { table, item, .. }) = behind.pop_front() {
                self.engine.put(&table, item);
            }
        }
        drop(behind);
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
