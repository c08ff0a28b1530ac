//! Attribute values, and how Rust values become such and are read back.

use std::collections::HashMap;
use std::str::FromStr;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use invocation::{Principal, rfc3339};
use serde_json::Value;
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::digest::hex;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// A stored item, or one from the stream, is not as this crate writes it. Names the attribute, never its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attribute {attribute} {problem}")]
pub struct Unreadable {
    pub(crate) attribute: String,
    pub(crate) problem: &'static str,
}

pub(crate) fn unreadable(attribute: &str, problem: &'static str) -> Unreadable {
    Unreadable { attribute: attribute.to_owned(), problem }
}

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

/// A map of `members`.
pub(crate) fn map<'a>(members: impl IntoIterator<Item = (&'a str, AttributeValue)>) -> AttributeValue {
    AttributeValue::M(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(crate) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

/// The SHA-256 that is written in hexadecimal as `hex`, in half of the bytes.
pub(crate) fn digest(hex: &str) -> AttributeValue {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("a digest is in hexadecimal");
    bytes(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>())
}

pub(crate) fn instant(value: OffsetDateTime) -> AttributeValue {
    text(rfc3339(value))
}

/// `value` in RFC 3339, written so that texts sort as their times do: in UTC, and in one width.
pub(crate) fn sortable(value: OffsetDateTime) -> String {
    const FIXED_WIDTH: &[BorrowedFormatItem<'_>] =
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
    value.to_offset(UtcOffset::UTC).format(FIXED_WIDTH).expect("the format takes only what every time has")
}

/// An item or a map in it, read attribute by attribute.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a Item);

impl<'a> Reader<'a> {
    pub(crate) fn optional_text(self, name: &str) -> Result<Option<&'a str>, Unreadable> {
        match self.0.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::S(value)) => Ok(Some(value)),
            Some(_) => Err(unreadable(name, "is not a string")),
        }
    }

    pub(crate) fn text(self, name: &str) -> Result<&'a str, Unreadable> {
        self.optional_text(name)?.ok_or_else(|| unreadable(name, "is missing"))
    }

    pub(crate) fn parsed<T: FromStr>(self, name: &str) -> Result<T, Unreadable> {
        self.text(name)?.parse().map_err(|_| unreadable(name, "cannot be parsed"))
    }

    pub(crate) fn optional_parsed<T: FromStr>(self, name: &str) -> Result<Option<T>, Unreadable> {
        let parsed = self.optional_text(name)?.map(str::parse).transpose();
        parsed.map_err(|_| unreadable(name, "cannot be parsed"))
    }

    pub(crate) fn instant(self, name: &str) -> Result<OffsetDateTime, Unreadable> {
        OffsetDateTime::parse(self.text(name)?, &Rfc3339).map_err(|_| unreadable(name, "is not a time"))
    }

    pub(crate) fn optional_instant(self, name: &str) -> Result<Option<OffsetDateTime>, Unreadable> {
        self.optional_text(name)?.map(|_| self.instant(name)).transpose()
    }

    /// The instant `name`, in UTC.
    pub(crate) fn instant_in_utc(self, name: &str) -> Result<OffsetDateTime, Unreadable> {
        let at = self.instant(name)?.checked_to_offset(UtcOffset::UTC);
        at.ok_or_else(|| unreadable(name, "is not a time in UTC"))
    }

    pub(crate) fn owned_text(self, name: &str) -> Result<String, Unreadable> {
        self.text(name).map(str::to_owned)
    }

    pub(crate) fn optional_owned_text(self, name: &str) -> Result<Option<String>, Unreadable> {
        Ok(self.optional_text(name)?.map(str::to_owned))
    }

    /// The principal that `sub` and `iss` name.
    pub(crate) fn principal(self) -> Result<Principal, Unreadable> {
        Principal::new(self.text("sub")?, self.text("iss")?).ok_or_else(|| unreadable("sub", "names no principal"))
    }

    pub(crate) fn optional_count(self, name: &str) -> Result<Option<u64>, Unreadable> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(value)) => value.parse().map(Some).map_err(|_| unreadable(name, "is not a count")),
            Some(_) => Err(unreadable(name, "is not a number")),
        }
    }

    pub(crate) fn optional_integer(self, name: &str) -> Result<Option<i64>, Unreadable> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(value)) => {
                value.parse().map(Some).map_err(|_| unreadable(name, "is not an integer"))
            }
            Some(_) => Err(unreadable(name, "is not a number")),
        }
    }

    fn optional_bytes(self, name: &str) -> Result<Option<&'a [u8]>, Unreadable> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::B(value)) => Ok(Some(value.as_ref())),
            Some(_) => Err(unreadable(name, "is not binary")),
        }
    }

    pub(crate) fn optional_uuid(self, name: &str) -> Result<Option<Uuid>, Unreadable> {
        let uuid = self.optional_bytes(name)?.map(Uuid::from_slice).transpose();
        uuid.map_err(|_| unreadable(name, "is not a UUID"))
    }

    pub(crate) fn uuid(self, name: &str) -> Result<Uuid, Unreadable> {
        self.optional_uuid(name)?.ok_or_else(|| unreadable(name, "is missing"))
    }

    /// The SHA-256 `name`, in hexadecimal.
    pub(crate) fn digest(self, name: &str) -> Result<String, Unreadable> {
        let bytes = self.optional_bytes(name)?.ok_or_else(|| unreadable(name, "is missing"))?;
        if bytes.len() == 32 { Ok(hex(bytes)) } else { Err(unreadable(name, "is not a SHA-256")) }
    }

    /// The time in UTC that `name` has as a number, in nanoseconds since 1970.
    pub(crate) fn optional_nanoseconds(self, name: &str) -> Result<Option<OffsetDateTime>, Unreadable> {
        let number = match self.0.get(name) {
            None => return Ok(None),
            Some(AttributeValue::N(value)) => value.parse().ok(),
            Some(_) => None,
        };
        let at = number.and_then(|nanos| OffsetDateTime::from_unix_timestamp_nanos(nanos).ok());
        at.map(Some).ok_or_else(|| unreadable(name, "is not a time"))
    }

    pub(crate) fn flag(self, name: &str) -> Result<bool, Unreadable> {
        match self.0.get(name) {
            Some(AttributeValue::Bool(value)) => Ok(*value),
            Some(_) => Err(unreadable(name, "is not true or false")),
            None => Err(unreadable(name, "is missing")),
        }
    }

    /// Whether `name` is present and true.
    pub(crate) fn is_set(self, name: &str) -> Result<bool, Unreadable> {
        if self.0.contains_key(name) { self.flag(name) } else { Ok(false) }
    }

    pub(crate) fn optional_map(self, name: &str) -> Result<Option<Reader<'a>>, Unreadable> {
        match self.0.get(name) {
            None | Some(AttributeValue::Null(_)) => Ok(None),
            Some(AttributeValue::M(map)) => Ok(Some(Reader(map))),
            Some(_) => Err(unreadable(name, "is not a map")),
        }
    }

    pub(crate) fn map(self, name: &str) -> Result<Reader<'a>, Unreadable> {
        self.optional_map(name)?.ok_or_else(|| unreadable(name, "is missing"))
    }

    /// The maps in the list `name`; empty where it is absent.
    pub(crate) fn maps(self, name: &str) -> Result<Vec<Reader<'a>>, Unreadable> {
        if !self.0.contains_key(name) {
            return Ok(Vec::new());
        }
        let maps = self.list(name)?.iter().map(|value| value.as_m().map(Reader));
        maps.collect::<Result<_, _>>().map_err(|_| unreadable(name, "holds a value that is not a map"))
    }

    pub(crate) fn list(self, name: &str) -> Result<&'a [AttributeValue], Unreadable> {
        match self.0.get(name) {
            Some(AttributeValue::L(list)) => Ok(list),
            Some(_) => Err(unreadable(name, "is not a list")),
            None => Err(unreadable(name, "is missing")),
        }
    }
}

/// `value` in the types of DynamoDB.
pub(crate) fn from_json(value: &Value) -> AttributeValue {
    match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::Number(value) => AttributeValue::N(value.to_string()),
        Value::String(value) => AttributeValue::S(value.clone()),
        Value::Array(list) => AttributeValue::L(list.iter().map(from_json).collect()),
        Value::Object(map) => {
            AttributeValue::M(map.iter().map(|(name, value)| (name.clone(), from_json(value))).collect())
        }
    }
}

/// `value` as JSON; `None` for the types that this crate never stores.
pub(crate) fn to_json(value: &AttributeValue) -> Option<Value> {
    Some(match value {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::N(value) => Value::Number(value.parse().ok()?),
        AttributeValue::S(value) => Value::String(value.clone()),
        AttributeValue::L(list) => Value::Array(list.iter().map(to_json).collect::<Option<_>>()?),
        AttributeValue::M(map) => {
            Value::Object(map.iter().map(|(name, value)| Some((name.clone(), to_json(value)?))).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use time::macros::datetime;

    #[test]
    fn json_survives_being_stored() {
        let value = json!({"a": [1, -2.5, "x", true, null], "b": {"c": []}});
        assert_eq!(to_json(&from_json(&value)), Some(value));
    }

    #[test]
    fn times_sort_as_their_texts_do_whatever_their_fraction_and_offset() {
        let times = [
            datetime!(2026-11-23 08:00:00 UTC),
            datetime!(2026-11-23 08:00:00.05 UTC),
            datetime!(2026-11-23 09:00:00.1 +1),
            datetime!(2026-11-23 08:00:01 UTC),
        ];
        let texts = times.map(sortable);
        assert!(texts.is_sorted(), "{texts:?}");
        assert_eq!(texts[2], "2026-11-23T08:00:00.100000000Z");
    }
}
