//! Attribute values in the JSON notation of DynamoDB, `{"S": "text"}`.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_dynamodbstreams::types::AttributeValue as StreamedValue;
use aws_smithy_types::{Blob, base64};
use serde_json::{Map, Value, json};

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The item that `notation` writes.
pub(crate) fn item(notation: &Value) -> Item {
    let members = notation.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), attribute(value))).collect()
}

fn attribute(notation: &Value) -> AttributeValue {
    let tagged = notation.as_object().and_then(|tagged| tagged.iter().next());
    let (tag, value) = tagged.expect("the sequences of this crate are in the notation");
    let text = || value.as_str().unwrap_or_default().to_owned();
    let binary = |text: &str| Blob::new(base64::decode(text).expect("the sequences write base64"));
    match tag.as_str() {
        "S" => AttributeValue::S(text()),
        "N" => AttributeValue::N(text()),
        "B" => AttributeValue::B(binary(&text())),
        "BS" => {
            let values = value.as_array().into_iter().flatten();
            AttributeValue::Bs(values.map(|value| binary(value.as_str().unwrap_or_default())).collect())
        }
        "BOOL" => AttributeValue::Bool(value == true),
        "NULL" => AttributeValue::Null(true),
        "L" => AttributeValue::L(value.as_array().into_iter().flatten().map(attribute).collect()),
        "M" => AttributeValue::M(item(value)),
        other => unreachable!("the functions store no {other}"),
    }
}

// The SDK has a type of its own for the values of streams.
macro_rules! notations {
    ($($of_item:ident, $of_value:ident: $kind:ident;)*) => {$(
        /// `item` in the notation.
        pub(crate) fn $of_item(item: &HashMap<String, $kind>) -> Value {
            Value::Object(item.iter().map(|(name, value)| (name.clone(), $of_value(value))).collect::<Map<_, _>>())
        }

        fn $of_value(value: &$kind) -> Value {
            match value {
                $kind::S(value) => json!({"S": value}),
                $kind::N(value) => json!({"N": value}),
                $kind::B(value) => json!({"B": base64::encode(value)}),
                // A set has no order.
                $kind::Bs(values) => {
                    let mut values: Vec<String> = values.iter().map(base64::encode).collect();
                    values.sort_unstable();
                    json!({"BS": values})
                }
                $kind::Bool(value) => json!({"BOOL": value}),
                $kind::Null(value) => json!({"NULL": value}),
                $kind::L(list) => json!({"L": list.iter().map($of_value).collect::<Vec<_>>()}),
                $kind::M(map) => json!({"M": $of_item(map)}),
                other => json!({"unexpected": format!("{other:?}")}),
            }
        }
    )*};
}

notations! {
    of_item, of_value: AttributeValue;
    of_streamed_item, of_streamed_value: StreamedValue;
}
