//! What reads of several items see of a transaction while DynamoDB applies it. Each item is one that was committed, but
//! not all are of the same moment: some may be new already, and others still as they were (read-committed isolation).

use serde_json::Value;

use crate::Call;
use crate::dynamodb::Engine;

/// Items of transactions as they were before, while reads of several items may still see them.
#[derive(Default)]
pub(crate) struct Before(Vec<Old>);

struct Old {
    transaction: u64,
    table: String,
    key: Value,
    /// `None`: there was none.
    item: Option<Value>,
}

impl Before {
    /// Keeps those items that `call`, the `transaction`, is about to write and whose bit is set in `which`.
    pub(crate) fn keep(&mut self, transaction: u64, call: &Call, tables: &Engine, which: u64) {
        for (at, (table, key)) in call.written().into_iter().enumerate() {
            if which >> (at % 64) & 1 == 1 {
                let item = tables.get(&table, &key);
                self.0.push(Old { transaction, table, key, item });
            }
        }
    }

    /// From now on, everybody sees what `transaction` wrote.
    pub(crate) fn end(&mut self, transaction: u64) {
        self.0.retain(|old| old.transaction != transaction);
    }

    /// The answer `body` to `call`, with the items as they were; and the number of those. An answer with parts of items, or
    /// with those that a filter leaves, is as it is.
    pub(crate) fn show(&self, call: &Call, body: String) -> (String, u64) {
        let partial = ["ProjectionExpression", "FilterExpression"].iter().any(|name| call.body.get(name).is_some());
        if self.0.is_empty() || partial || !["Query", "Scan", "BatchGetItem"].contains(&call.name()) {
            return (body, 0);
        }
        let Ok(mut answer) = serde_json::from_str::<Value>(&body) else { return (body, 0) };
        let mut shown = 0;
        if let Some(tables) = answer["Responses"].as_object_mut() {
            for (table, items) in tables {
                shown += self.replace(table, items);
            }
        } else {
            shown += self.replace(call.body["TableName"].as_str().unwrap_or_default(), &mut answer["Items"]);
            answer["Count"] = answer["Items"].as_array().map_or(0, Vec::len).into();
        }
        (answer.to_string(), shown)
    }

    fn replace(&self, table: &str, items: &mut Value) -> u64 {
        let mut shown = 0;
        let Some(items) = items.as_array_mut() else { return 0 };
        items.retain_mut(|item| {
            let is_of = |old: &&Old| old.table == table && old.key["pk"] == item["pk"] && old.key["sk"] == item["sk"];
            let Some(old) = self.0.iter().find(is_of) else { return true };
            shown += 1;
            old.item.as_ref().map(|before| item.clone_from(before)).is_some()
        });
        shown
    }
}
