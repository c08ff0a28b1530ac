//! Decimal numbers in JSON, read and written without rounding.

use std::fmt;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A decimal number that is read from JSON without rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number(pub Decimal);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        number(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_number(deserializer).map(Self)
    }
}

/// Reads a JSON number without rounding; `None` if it has more digits than a `Decimal` holds.
pub(crate) fn decimal(number: &serde_json::Number) -> Option<Decimal> {
    if let Some(integer) = number.as_i64() {
        return Some(Decimal::from(integer));
    }
    let text = number.to_string();
    let read = if text.contains(['e', 'E']) { Decimal::from_scientific(&text) } else { Decimal::from_str_exact(&text) };
    read.ok().map(|decimal| decimal.normalize())
}

/// Serializes a number: as a JSON integer if it is one.
pub(crate) fn number<S: Serializer>(value: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    match value.is_integer().then(|| value.to_i64()).flatten() {
        Some(integer) => serializer.serialize_i64(integer),
        // `serde_json` writes the shortest decimal that parses to the same double, so that the digits that were read
        // are written again.
        None => serializer.serialize_f64(value.to_f64().ok_or_else(|| serde::ser::Error::custom("not a number"))?),
    }
}

/// Deserializes what `number` serializes.
pub(crate) fn from_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    decimal(&serde_json::Number::deserialize(deserializer)?)
        .ok_or_else(|| de::Error::custom("the number has too many digits"))
}
