//! Records of the table's stream. Each is read by itself, so that one that cannot be read does not affect the others.

use serde_json::{Value, json};

use super::submission::{KIND, Submission};
use crate::table::attributes::{Item, Unreadable, item_from_notation, item_to_notation, unreadable};
use crate::table::digest::sha256_hex;
use crate::table::keys::{PK, SK};
use crate::table::lists::{PENDING, PENDING_SINCE};

/// The sequence number of `record`, by which a failure of it is reported; `None` if it has none.
pub fn sequence_number(record: &Value) -> Option<&str> {
    record.pointer("/dynamodb/SequenceNumber")?.as_str().filter(|number| !number.is_empty())
}

/// When the change that `record` is of was made, in seconds since the Unix epoch; `None` if the record does not say it.
pub fn written_at(record: &Value) -> Option<i64> {
    // A number with a fraction in some events, which is zero.
    record.pointer("/dynamodb/ApproximateCreationDateTime")?.as_f64().map(|seconds| seconds as i64)
}

/// The permanent id of `record`: its sequence number, or a digest of it where it has none.
pub fn identity(record: &Value) -> String {
    match sequence_number(record) {
        Some(number) => number.to_owned(),
        None => sha256_hex(record.to_string().as_bytes()),
    }
}

/// The new submission in `record`; `None` if it is of another change. The event source mapping filters for submissions,
/// but the function must not fail if the filter is missing.
///
/// # Errors
/// If the submission cannot be read, or the record does not show what it is of.
pub fn submission(record: &Value) -> Result<Option<Submission>, Unreadable> {
    let event = record.get("eventName").and_then(Value::as_str).ok_or_else(|| unreadable("eventName", "is missing"))?;
    if matches!(event, "MODIFY" | "REMOVE") {
        return Ok(None);
    }
    let image = record.pointer("/dynamodb/NewImage").and_then(Value::as_object);
    let image = image.ok_or_else(|| unreadable("NewImage", "is missing"))?;
    // Before the whole image is read: an item of another kind may hold types that a submission does not have.
    match image.get("kind").and_then(|kind| kind.get("S")).and_then(Value::as_str) {
        Some(KIND) => Submission::from_item(&item_from_notation(image)?).map(Some),
        Some(_) => Ok(None),
        None => Err(unreadable("kind", "is missing")),
    }
}

/// The key of the item that `record` is of, if the record has it.
pub(crate) fn key(record: &Value) -> Option<Item> {
    item_from_notation(record.pointer("/dynamodb/Keys")?.as_object()?).ok()
}

/// A record of the submission `item`, which was found in the table, as the stream had it but without a sequence number.
pub(crate) fn record(item: &Item) -> Value {
    let mut image = item.clone();
    // Its list is no part of what was sent: the record is the same on each list, and its digest identifies it.
    image.retain(|name, _| !matches!(name.as_str(), PENDING | PENDING_SINCE));
    let keys: Item = [PK, SK].into_iter().filter_map(|name| Some((name.to_owned(), item.get(name)?.clone()))).collect();
    // Without an image it cannot be scored, and is quarantined.
    let mut dynamodb = json!({"Keys": item_to_notation(&keys)});
    if let Some(image) = item_to_notation(&image) {
        dynamodb["NewImage"] = image;
    }
    json!({"eventName": "INSERT", "dynamodb": dynamodb})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_a_sequence_number_is_still_identified() {
        let record = json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": ""}});
        assert_eq!(sequence_number(&record), None);
        assert_eq!(identity(&record).len(), 64);
        let record = json!({"dynamodb": {"SequenceNumber": "111"}});
        assert_eq!(identity(&record), "111");
    }

    #[test]
    fn a_record_of_another_change_is_passed_over() {
        for (event, kind) in [("MODIFY", "submission"), ("REMOVE", "submission"), ("INSERT", "alert")] {
            let record =
                json!({"eventName": event, "dynamodb": {"NewImage": {"kind": {"S": kind}, "set": {"SS": ["x"]}}}});
            assert_eq!(submission(&record), Ok(None), "{event} {kind}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_is_reported_with_the_reason_and_without_its_values() {
        let cases = [
            (json!({}), "attribute eventName is missing"),
            (json!({"eventName": "INSERT"}), "attribute NewImage is missing"),
            (json!({"eventName": "INSERT", "dynamodb": {"NewImage": {}}}), "attribute kind is missing"),
            (
                json!({"eventName": "INSERT", "dynamodb": {"NewImage": {"kind": {"S": "submission"}}}}),
                "attribute instrument is missing",
            ),
        ];
        for (record, expected) in cases {
            assert_eq!(submission(&record).unwrap_err().to_string(), expected);
        }
    }
}
