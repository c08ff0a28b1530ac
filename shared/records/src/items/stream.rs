//! Records of the table's stream, read leniently: what one of them is stays that one's affair.

use serde_json::{Value, json};

use crate::table::attributes::{Item, Unreadable, item_from_notation, item_to_notation, unreadable};
use crate::table::digest::sha256_hex;
use crate::table::keys::{PK, SK};
use crate::items::submission::{KIND, Submission};

/// The sequence number of `record`, by which a failure of it is reported; `None` if it has none.
pub fn sequence_number(record: &Value) -> Option<&str> {
    record.pointer("/dynamodb/SequenceNumber")?.as_str().filter(|number| !number.is_empty())
}

/// What identifies `record` for good: its sequence number, or a digest of it where it has none.
pub fn identity(record: &Value) -> String {
    match sequence_number(record) {
        Some(number) => number.to_owned(),
        None => sha256_hex(record.to_string().as_bytes()),
    }
}

/// The submission that `record` says was stored; `None` if it tells of something else. The mapping's filter lets only
/// submissions through, but filters are configuration, and a filter that fell away must not make noise of every score.
///
/// # Errors
/// If it tells of a submission that cannot be read, or it cannot be told what it tells of.
pub fn submission(record: &Value) -> Result<Option<Submission>, Unreadable> {
    let event = record.get("eventName").and_then(Value::as_str).ok_or_else(|| unreadable("eventName", "is missing"))?;
    if matches!(event, "MODIFY" | "REMOVE") {
        return Ok(None);
    }
    let image = record.pointer("/dynamodb/NewImage").and_then(Value::as_object);
    let image = image.ok_or_else(|| unreadable("NewImage", "is missing"))?;
    // Before the whole image is read: that of another kind may hold types that a submission cannot.
    match image.get("kind").and_then(|kind| kind.get("S")).and_then(Value::as_str) {
        Some(KIND) => Submission::from_item(&item_from_notation(image)?).map(Some),
        Some(_) => Ok(None),
        None => Err(unreadable("kind", "is missing")),
    }
}

/// The key of the submission that `record` tells of, if it says which.
pub(crate) fn key(record: &Value) -> Option<Item> {
    item_from_notation(record.pointer("/dynamodb/Keys")?.as_object()?).ok()
}

/// A record that tells of the submission `item` as the stream did, for who finds it in the table. The stream numbers its
/// records; this one has no number.
pub(crate) fn record(item: &Item) -> Value {
    let mut image = item.clone();
    // How it waits is no part of what was sent: a submission gives the same record however long it waits.
    image.retain(|name, _| !matches!(name.as_str(), "pending" | "pending_since"));
    let keys: Item = [PK, SK].into_iter().filter_map(|name| Some((name.to_owned(), item.get(name)?.clone()))).collect();
    // Without its image it cannot be scored, and is set aside as what it is.
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
    fn what_is_no_new_submission_is_passed_over() {
        for (event, kind) in [("MODIFY", "submission"), ("REMOVE", "submission"), ("INSERT", "alert")] {
            let record =
                json!({"eventName": event, "dynamodb": {"NewImage": {"kind": {"S": kind}, "set": {"SS": ["x"]}}}});
            assert_eq!(submission(&record), Ok(None), "{event} {kind}");
        }
    }

    #[test]
    fn what_cannot_be_read_says_why_and_not_what() {
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
