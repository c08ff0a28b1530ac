//! Items in the JSON notation of the stream, `{"name": {"S": "value"}}`. They are read from their text: a batch is mostly
//! items, and a tree of JSON in between would cost more than all the rest of reading it.

use std::fmt;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_smithy_types::base64;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, json};

use super::attributes::{Item, Unreadable, unreadable};

/// The item that `json` is the notation of.
///
/// # Errors
/// The first attribute that is not of a type that this crate stores.
pub(crate) fn item_from_notation(json: &str) -> Result<Item, Unreadable> {
    let mut reading = String::new();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let item = ItemReader { reading: &mut reading }.deserialize(&mut deserializer);
    item.map_err(|_| unreadable(&reading, "is not an attribute value"))
}

/// `item` in the notation; `None` if it holds a type that this crate never stores.
pub(crate) fn item_to_notation(item: &Item) -> Option<Value> {
    let members = item.iter().map(|(name, value)| Some((name.clone(), to_notation(value)?)));
    members.collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn to_notation(value: &AttributeValue) -> Option<Value> {
    Some(match value {
        AttributeValue::S(value) => json!({"S": value}),
        AttributeValue::N(value) => json!({"N": value}),
        AttributeValue::Bool(value) => json!({"BOOL": value}),
        AttributeValue::Null(_) => json!({"NULL": true}),
        AttributeValue::B(value) => json!({"B": base64::encode(value)}),
        AttributeValue::L(list) => json!({"L": list.iter().map(to_notation).collect::<Option<Vec<_>>>()?}),
        AttributeValue::M(map) => json!({"M": item_to_notation(map)?}),
        _ => return None,
    })
}

/// The attributes of most submissions and of most maps in them fit: the map need not grow.
const TYPICAL: usize = 14;

/// Reads an item, and keeps the name of the attribute that it is reading for the error.
struct ItemReader<'a> {
    reading: &'a mut String,
}

impl<'de> DeserializeSeed<'de> for ItemReader<'_> {
    type Value = Item;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Item, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ItemReader<'_> {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Item, A::Error> {
        let mut item = Item::with_capacity(TYPICAL);
        while let Some(name) = members.next_key::<String>()? {
            match members.next_value() {
                Ok(Notation(value)) => item.insert(name, value),
                Err(error) => {
                    *self.reading = name;
                    return Err(error);
                }
            };
        }
        Ok(item)
    }
}

/// An attribute value: an object with one member, which is named as its type.
struct Notation(AttributeValue);

#[derive(Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum Type {
    S,
    N,
    Bool,
    Null,
    B,
    L,
    M,
}

impl<'de> Deserialize<'de> for Notation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NotationReader)
    }
}

struct NotationReader;

impl<'de> Visitor<'de> for NotationReader {
    type Value = Notation;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an attribute value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Notation, A::Error> {
        let value = match members.next_key()?.ok_or_else(|| Error::custom("no type"))? {
            Type::S => AttributeValue::S(members.next_value()?),
            Type::N => AttributeValue::N(members.next_value()?),
            Type::Bool => AttributeValue::Bool(members.next_value()?),
            Type::Null => members.next_value::<IgnoredAny>().map(|_| AttributeValue::Null(true))?,
            Type::B => {
                let bytes = base64::decode(members.next_value::<String>()?).map_err(Error::custom)?;
                AttributeValue::B(Blob::new(bytes))
            }
            Type::L => {
                let list: Vec<Notation> = members.next_value()?;
                AttributeValue::L(list.into_iter().map(|Notation(value)| value).collect())
            }
            Type::M => AttributeValue::M(members.next_value_seed(ItemReader { reading: &mut String::new() })?),
        };
        match members.next_key::<IgnoredAny>()? {
            None => Ok(Notation(value)),
            Some(_) => Err(Error::custom("two types")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::attributes::{bytes, to_json};

    fn read(notation: &Value) -> Result<Item, Unreadable> {
        item_from_notation(&notation.to_string())
    }

    #[test]
    fn the_streams_notation_is_read() {
        let notation =
            json!({"id": {"S": "x\n"}, "n": {"N": "3"}, "m": {"M": {"l": {"L": [{"BOOL": true}, {"NULL": true}]}}}});
        let mut item = read(&notation).unwrap();
        let values: Map<_, _> = item.iter().map(|(name, value)| (name.clone(), to_json(value).unwrap())).collect();
        assert_eq!(Value::Object(values), json!({"id": "x\n", "n": 3, "m": {"l": [true, null]}}));
        assert_eq!(item_to_notation(&item), Some(notation), "and written as it was");
        item.insert("b".to_owned(), bytes(&[0, 255]));
        let notation = item_to_notation(&item).unwrap();
        assert_eq!((&notation["b"], read(&notation)), (&json!({"B": "AP8="}), Ok(item)));
    }

    #[test]
    fn what_is_not_the_notation_is_named_and_not_quoted() {
        for bad in [
            json!("x"),
            json!({"S": 1}),
            json!({"S": "a", "N": "1"}),
            json!({}),
            json!({"M": {"x": 1}}),
            json!({"L": ["x"]}),
            json!({"B": "-"}),
            json!({"SS": ["a"]}),
        ] {
            let error = read(&json!({"a": {"S": "x"}, "answers": bad, "z": {"S": "x"}})).unwrap_err();
            assert_eq!(error.to_string(), "attribute answers is not an attribute value", "{bad}");
        }
    }
}
