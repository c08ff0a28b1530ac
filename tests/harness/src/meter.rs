//! The capacity that calls of DynamoDB consume, worked out from the items that they write and read by DynamoDB's rules:
//! <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html>.

use serde_json::{Map, Value};

use crate::dynamodb::{Engine, Index, indexes};
use crate::{Call, RECORDS};

/// The bytes of a write unit.
const WRITE: usize = 1_024;
/// The bytes of a read unit.
const READ: usize = 4_096;

/// What one call consumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumed {
    /// The operation and its table, as in [`Call::operation`].
    pub operation: String,
    /// The writes, one for each item and one for each index that it changed.
    pub writes: Vec<Written>,
    /// Read units: of strongly consistent reads 1 for each 4 KB begun, of others half of it.
    pub read_units: f64,
}

/// A write of one item, to the table or to one of its indexes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// What was written: the kind of the item, `counter`, or a kind with its index, such as `alert in pending`.
    pub what: String,
    /// Write units: 1 for each KB begun of the larger of the item before and after, twice in a transaction.
    pub units: usize,
    /// The bytes of the item afterwards; 0 if it is not there any more.
    pub bytes: usize,
}

impl Consumed {
    /// The write units of the call.
    pub fn write_units(&self) -> usize {
        self.writes.iter().map(|written| written.units).sum()
    }
}

/// The items that a call is about to write, as they are before it.
pub(crate) struct Before(Vec<(String, Value, Option<Value>)>);

impl Before {
    pub(crate) fn of(call: &Call, engine: &Engine) -> Self {
        let items = call.written().into_iter().map(|(table, key)| {
            let item = engine.get(&table, &key);
            (table, key, item)
        });
        Self(items.collect())
    }

    /// What `call` consumed, which was answered with `body`. One that was refused consumes nothing here: DynamoDB
    /// charges for a condition that fails as for a write.
    pub(crate) fn consumed(self, call: &Call, engine: &Engine, body: &Value) -> Consumed {
        let in_transaction = call.name() == "TransactWriteItems";
        let writes = self.0.iter().flat_map(|(table, key, before)| {
            let after = engine.get(table, key);
            written(table, before.as_ref(), after.as_ref(), in_transaction)
        });
        Consumed { operation: call.operation.clone(), writes: writes.collect(), read_units: read_units(call, body) }
    }
}

fn written(table: &str, before: Option<&Value>, after: Option<&Value>, in_transaction: bool) -> Vec<Written> {
    let size = |item: Option<&Value>| item.map_or(0, bytes);
    let kind = after.or(before).and_then(|item| item["kind"]["S"].as_str()).unwrap_or("counter");
    let times = if in_transaction { 2 } else { 1 };
    let units = units(size(before).max(size(after)), WRITE) * times;
    let mut all = vec![Written { what: kind.to_owned(), units, bytes: size(after) }];
    if table != RECORDS {
        return all;
    }
    for index in indexes() {
        let (old, new) = (before.and_then(|item| index.entry(item)), after.and_then(|item| index.entry(item)));
        let units = match (&old, &new) {
            (None, None) => continue,
            (Some(old), Some(new)) if old == new => continue,
            // Another key is a deletion and a put.
            (Some(old), Some(new)) if !index.has_same_key(old, new) => {
                self::units(bytes(old), WRITE) + self::units(bytes(new), WRITE)
            }
            (old, new) => self::units(size(old.as_ref()).max(size(new.as_ref())), WRITE),
        };
        all.push(Written { what: format!("{kind} in {}", index.name), units, bytes: size(new.as_ref()) });
    }
    all
}

impl Index {
    /// The entry of `item`, if the index has one.
    fn entry(&self, item: &Value) -> Option<Value> {
        let item = item.as_object()?;
        if !self.keys.iter().all(|key| item.contains_key(*key)) {
            return None;
        }
        let is_projected = |name: &str| ["pk", "sk"].contains(&name) || self.keys.contains(&name);
        let projected = item.iter().filter(|(name, _)| is_projected(name));
        Some(Value::Object(projected.map(|(name, value)| (name.clone(), value.clone())).collect()))
    }

    fn has_same_key(&self, one: &Value, other: &Value) -> bool {
        self.keys.iter().all(|key| one[key] == other[key])
    }
}

fn read_units(call: &Call, answer: &Value) -> f64 {
    // A projection lessens what is returned, not what is read: the functions' projections leave out little.
    let sum = |items: &Value| items.as_array().into_iter().flatten().map(bytes).sum::<usize>();
    let share = |request: &Value| if request["ConsistentRead"] == true { 1.0 } else { 0.5 };
    match call.name() {
        "GetItem" => units(answer.get("Item").map_or(0, bytes), READ) as f64 * share(&call.body),
        "Query" | "Scan" => units(sum(&answer["Items"]), READ) as f64 * share(&call.body),
        "BatchGetItem" => {
            let of_table = |(table, items): (&String, &Value)| {
                let of_item = |item: &Value| units(bytes(item), READ) as f64;
                let read: f64 = items.as_array().into_iter().flatten().map(of_item).sum();
                let requested = &call.body["RequestItems"][table];
                let missing = requested["Keys"].as_array().map_or(0, Vec::len) - items.as_array().map_or(0, Vec::len);
                (read + missing as f64) * share(requested)
            };
            answer["Responses"].as_object().into_iter().flatten().map(of_table).sum()
        }
        _ => 0.0,
    }
}

/// The units of `bytes`; a read or a write of nothing takes one.
fn units(bytes: usize, unit: usize) -> usize {
    bytes.div_ceil(unit).max(1)
}

/// The bytes of `item`, by DynamoDB's rules for the size of an item.
pub(crate) fn bytes(item: &Value) -> usize {
    item.as_object().into_iter().flatten().map(|(name, value)| name.len() + bytes_of(value)).sum()
}

fn bytes_of(value: &Value) -> usize {
    let Some((tag, value)) = value.as_object().and_then(|tagged| tagged.iter().next()) else { return 0 };
    let elements = |list: &Value| list.as_array().into_iter().flatten().map(|one| 1 + bytes_of(one)).sum::<usize>();
    let members =
        |map: &Map<String, Value>| map.iter().map(|(name, value)| 1 + name.len() + bytes_of(value)).sum::<usize>();
    match tag.as_str() {
        "S" => value.as_str().map_or(0, str::len),
        // Two digits a byte, and one; a sign takes another.
        "N" => {
            let digits = value.as_str().unwrap_or_default();
            let significant = digits.trim_start_matches('-').replace('.', "");
            let significant = significant.trim_start_matches('0').trim_end_matches('0');
            significant.len().div_ceil(2) + 1 + usize::from(digits.starts_with('-'))
        }
        // In base64.
        "B" => value.as_str().map_or(0, |text| text.trim_end_matches('=').len() * 3 / 4),
        "L" => 3 + elements(value),
        "M" => 3 + value.as_object().map_or(0, members),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_has_the_size_that_dynamodb_gives_it() {
        // The example of the documentation's page on item sizes, and each other type.
        assert_eq!(bytes(&json!({"shirt-color": {"S": "R"}, "shirt-size": {"S": "M"}})), 23);
        for (value, expected) in [
            (json!({"N": "120.50"}), 3),
            (json!({"N": "-7"}), 3),
            (json!({"B": "AAECAw=="}), 4),
            (json!({"BOOL": true}), 1),
            (json!({"L": [{"S": "ab"}, {"N": "1"}]}), 3 + 1 + 2 + 1 + 2),
            (json!({"M": {"ab": {"S": "c"}}}), 3 + 1 + 2 + 1),
        ] {
            assert_eq!(bytes(&json!({"n": value})), 1 + expected, "{value}");
        }
    }

    #[test]
    fn a_write_is_charged_for_the_larger_item_and_for_each_index_that_changes() {
        let item = |pending: Option<&str>, bytes: usize| {
            let mut item = json!({
                "pk": {"S": "P"}, "sk": {"S": "S"}, "kind": {"S": "alert"}, "text": {"S": "x".repeat(bytes)},
            });
            for name in ["pending", "pending_since"] {
                if let Some(pending) = pending {
                    item[name] = json!({"S": pending});
                }
            }
            item
        };
        let units = |before: Option<Value>, after: Option<Value>, in_transaction| {
            let written = written(RECORDS, before.as_ref(), after.as_ref(), in_transaction);
            written.into_iter().map(|written| (written.what, written.units)).collect::<Vec<_>>()
        };
        let (table, index) = (|units| ("alert".to_owned(), units), |units| ("alert in pending".to_owned(), units));
        assert_eq!(units(None, Some(item(None, 10)), false), [table(1)]);
        assert_eq!(units(Some(item(None, 2_000)), Some(item(None, 10)), true), [table(4)]);
        assert_eq!(units(None, Some(item(Some("A"), 10)), true), [table(2), index(1)]);
        assert_eq!(
            units(Some(item(Some("A"), 1)), Some(item(Some("A"), 2)), false),
            [table(1)],
            "nothing of it changed"
        );
        assert_eq!(units(Some(item(Some("A"), 1)), Some(item(Some("B"), 1)), false), [table(1), index(2)]);
        assert_eq!(units(Some(item(Some("A"), 1)), Some(item(None, 1)), false), [table(1), index(1)]);
    }
}
