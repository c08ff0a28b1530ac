//! Records of the table's stream. Each is read by itself, so that one that cannot be read does not affect the others.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;

use super::submission::{KIND, Submission};
use crate::table::attributes::{Item, Unreadable, unreadable};
use crate::table::digest::sha256_hex;
use crate::table::keys::{PK, SK};
use crate::table::lists::{PENDING, PENDING_SINCE};
use crate::table::notation::{item_from_notation, item_to_notation};

/// An event of the stream: the texts of its records. `None` if the event is something else.
#[derive(Clone)]
pub struct Batch(pub Option<Vec<Box<RawValue>>>);

impl<'de> Deserialize<'de> for Batch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BatchReader)
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("records", &self.0.as_ref().map(Vec::len)).finish_non_exhaustive()
    }
}

/// Reads a batch. Its errors quote nothing, because the runtime logs them and an event may hold what a patient sent.
struct BatchReader;

impl<'de> Visitor<'de> for BatchReader {
    type Value = Batch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event of the stream")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Batch, A::Error> {
        let mut records = None;
        while let Some(name) = members.next_key::<String>()? {
            if name == "Records" {
                let list = members.next_value();
                records = Some(list.map_err(|_| Error::custom("the event's Records are no list"))?);
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Batch(records))
    }

    fn visit_str<E>(self, _: &str) -> Result<Batch, E> {
        Ok(Batch(None))
    }
}

/// A record of the stream. It keeps the text that it came in, and reads of it what is asked for.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    text: &'a RawValue,
    /// `None` if it does not have the form of a record.
    parts: Option<Parts<'a>>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parts<'a> {
    #[serde(borrow)]
    event_name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    dynamodb: Change<'a>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Change<'a> {
    #[serde(borrow)]
    approximate_creation_date_time: Option<&'a RawValue>,
    #[serde(borrow)]
    keys: Option<&'a RawValue>,
    #[serde(borrow)]
    new_image: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
}

impl<'a> Record<'a> {
    /// The record in `text`, which may be anything.
    pub fn new(text: &'a RawValue) -> Self {
        Self { text, parts: serde_json::from_str(text.get()).ok() }
    }

    /// Its text.
    pub(crate) fn text(&self) -> &'a str {
        self.text.get()
    }

    fn change(&self) -> Change<'a> {
        self.parts.map(|parts| parts.dynamodb).unwrap_or_default()
    }

    /// Its sequence number, by which a failure of it is reported; `None` if it has none.
    pub fn sequence_number(&self) -> Option<String> {
        parsed(self.change().sequence_number).filter(|number: &String| !number.is_empty())
    }

    /// When the change was made, in seconds since the Unix epoch; `None` if the record does not say it.
    pub fn written_at(&self) -> Option<i64> {
        // A number with a fraction in some events, which is zero.
        parsed(self.change().approximate_creation_date_time).map(|seconds: f64| seconds as i64)
    }

    /// Its permanent id: its sequence number, or a digest of it where it has none.
    pub fn identity(&self) -> String {
        self.sequence_number().unwrap_or_else(|| sha256_hex(self.text().as_bytes()))
    }

    /// The new submission in the record; `None` if it is of another change. The event source mapping filters for
    /// submissions, but the function must not fail if the filter is missing.
    ///
    /// # Errors
    /// If the submission cannot be read, or the record does not show what it is of.
    pub fn submission(&self) -> Result<Option<Submission>, Unreadable> {
        let parts = self.parts.ok_or_else(|| unreadable("dynamodb", "is not as the stream has it"))?;
        let event: String = parsed(parts.event_name).ok_or_else(|| unreadable("eventName", "is missing"))?;
        if matches!(event.as_str(), "MODIFY" | "REMOVE") {
            return Ok(None);
        }
        let image = parts.dynamodb.new_image.ok_or_else(|| unreadable("NewImage", "is missing"))?;
        match item_from_notation(image.get()) {
            Ok(item) if is_submission(item.get("kind").and_then(|kind| kind.as_s().ok()))? => {
                Submission::from_item(&item).map(Some)
            }
            Ok(_) => Ok(None),
            // An item of another kind may hold types that a submission does not have.
            Err(error) if is_submission(kind(image).as_ref())? => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// The key of the item that the record is of, if it has it.
    pub(crate) fn key(&self) -> Option<Item> {
        item_from_notation(self.change().keys?.get()).ok()
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record").field("id", &self.identity()).finish_non_exhaustive()
    }
}

fn is_submission(kind: Option<&String>) -> Result<bool, Unreadable> {
    kind.map(|kind| kind == KIND).ok_or_else(|| unreadable("kind", "is missing"))
}

/// The kind of the item in `image`, whatever else it holds.
fn kind(image: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Image {
        kind: Kind,
    }
    #[derive(Deserialize)]
    struct Kind {
        #[serde(rename = "S")]
        kind: String,
    }
    parsed(Some(image)).map(|Image { kind: Kind { kind } }| kind)
}

fn parsed<T: DeserializeOwned>(text: Option<&RawValue>) -> Option<T> {
    serde_json::from_str(text?.get()).ok()
}

/// The text of a record of the submission `item`, which was found in the table, as the stream had it but without a
/// sequence number.
pub(crate) fn record(item: &Item) -> Box<RawValue> {
    let mut image = item.clone();
    // Its list is no part of what was sent: the record is the same on each list, and its digest identifies it.
    image.retain(|name, _| !matches!(name.as_str(), PENDING | PENDING_SINCE));
    let keys: Item = [PK, SK].into_iter().filter_map(|name| Some((name.to_owned(), item.get(name)?.clone()))).collect();
    // Without an image it cannot be scored, and is quarantined.
    let mut dynamodb = json!({"Keys": item_to_notation(&keys)});
    if let Some(image) = item_to_notation(&image) {
        dynamodb["NewImage"] = image;
    }
    let record = json!({"eventName": "INSERT", "dynamodb": dynamodb});
    RawValue::from_string(record.to_string()).expect("it is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn text(record: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(record).unwrap()
    }

    #[test]
    fn an_event_that_is_no_batch_is_not_quoted() {
        let read = |event: Value| serde_json::from_str::<Batch>(&event.to_string());
        let batch = read(json!({"Records": [{"a": 1}, "x"], "other": {"Records": 1}})).unwrap();
        let texts: Vec<_> = batch.0.unwrap().iter().map(|text| text.get().to_owned()).collect();
        assert_eq!(texts, [r#"{"a":1}"#, r#""x""#]);
        for event in [json!({}), json!({"hello": "PATIENT"}), json!("PATIENT")] {
            assert!(read(event.clone()).unwrap().0.is_none(), "{event}");
        }
        for event in [json!({"Records": "PATIENT"}), json!({"Records": {"PATIENT": 1}}), json!(["PATIENT"]), json!(1)] {
            let error = read(event.clone()).unwrap_err().to_string();
            assert!(!error.contains("PATIENT"), "{event}: {error}");
        }
    }

    #[test]
    fn a_record_without_a_sequence_number_is_still_identified() {
        for unnumbered in [json!({"eventName": "INSERT", "dynamodb": {"SequenceNumber": ""}}), json!([1]), json!(null)]
        {
            let text = text(&unnumbered);
            let record = Record::new(&text);
            assert_eq!((record.sequence_number(), record.identity().len()), (None, 64), "{unnumbered}");
        }
        let text = text(&json!({"dynamodb": {"SequenceNumber": "111", "ApproximateCreationDateTime": 1.5}}));
        let record = Record::new(&text);
        assert_eq!((record.identity().as_str(), record.written_at()), ("111", Some(1)));
    }

    #[test]
    fn a_record_of_another_change_is_passed_over() {
        for (event, kind) in [("MODIFY", "submission"), ("REMOVE", "submission"), ("INSERT", "alert")] {
            for set in [json!({"SS": ["x"]}), json!({"S": "x"})] {
                let image = json!({"set": set, "kind": {"S": kind}});
                let text = text(&json!({"eventName": event, "dynamodb": {"NewImage": image}}));
                assert_eq!(Record::new(&text).submission(), Ok(None), "{event} {kind} {set}");
            }
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_is_reported_with_the_reason_and_without_its_values() {
        let cases = [
            (json!({}), "attribute eventName is missing"),
            (json!("INSERT"), "attribute dynamodb is not as the stream has it"),
            (json!({"eventName": "INSERT", "dynamodb": 1}), "attribute dynamodb is not as the stream has it"),
            (json!({"eventName": "INSERT"}), "attribute NewImage is missing"),
            (json!({"eventName": "INSERT", "dynamodb": {"NewImage": {}}}), "attribute kind is missing"),
            (
                json!({"eventName": "INSERT", "dynamodb": {"NewImage": {"kind": {"S": "submission"}}}}),
                "attribute instrument is missing",
            ),
            (
                json!({"eventName": "INSERT",
                    "dynamodb": {"NewImage": {"kind": {"S": "submission"}, "set": {"SS": ["x"]}}}}),
                "attribute set is not an attribute value",
            ),
        ];
        for (record, expected) in cases {
            assert_eq!(Record::new(&text(&record)).submission().unwrap_err().to_string(), expected);
        }
    }
}
