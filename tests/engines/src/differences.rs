//! The differences between engines that are known and explained (`tests/README.md`, "Real engines").

use serde_json::{Value, json};

use crate::engine::{Kind, Request};
use crate::sequence::STREAM;

/// A known difference of an engine from the embedded one. They are looked for in the order of [`ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// The engine.
    pub engine: Kind,
    /// What it does otherwise.
    pub what: &'static str,
}

const fn of_moto(what: &'static str) -> Known {
    Known { engine: Kind::Moto, what }
}

const fn of_dynalite(what: &'static str) -> Known {
    Known { engine: Kind::Dynalite, what }
}

const NO_OLD_ITEM: Known = of_dynalite("a failed condition returns no item");
const SIZE_OF_NOTHING: Known =
    of_moto("`size` of a missing attribute cancels a transaction with the reason ValueError");
const NUMBERS: Known = of_moto("numbers are stored as they are written, 1e2 and 36.60");
/// Repeats of a transaction are not sent to it.
pub(crate) const NO_TOKENS: Known = of_moto("a transaction is applied again under the same ClientRequestToken");
/// Each write of a transaction is sent to it alone.
pub(crate) const NO_TRANSACTIONS: Known = of_dynalite("there are no transactions");
pub(crate) const NO_STREAMS: Known = of_dynalite("there are no streams");
const NO_LAST_KEY: Known = of_moto("a page that ends with the last item has no LastEvaluatedKey");

const KEY_FIRST: Known =
    of_moto("the stream has the key alone as an insertion before that of an item that an update makes");

/// All of them.
pub const ALL: [Known; 8] =
    [NO_OLD_ITEM, SIZE_OF_NOTHING, NUMBERS, NO_LAST_KEY, KEY_FIRST, NO_TOKENS, NO_TRANSACTIONS, NO_STREAMS];

/// The known differences that explain why `engine` answered `request` with `actual` and the embedded engine with
/// `expected`; `None` if they do not.
pub fn known(engine: Kind, request: &Request, expected: &Value, actual: &Value) -> Option<Vec<Known>> {
    let mut answer = actual.clone();
    let mut met = Vec::new();
    for known in ALL.into_iter().filter(|known| known.engine == engine) {
        let as_expected = without(known, request, expected, &answer);
        if as_expected != answer {
            met.push(known);
            answer = as_expected;
        }
        if answer == *expected {
            return Some(met);
        }
    }
    None
}

/// The `answer` to `request` as it would be without the `known` difference.
fn without(known: Known, request: &Request, expected: &Value, answer: &Value) -> Value {
    let mut answer = answer.clone();
    match known {
        NO_OLD_ITEM => with_old_items(expected, &mut answer),
        SIZE_OF_NOTHING if request.body.to_string().contains("size(#later)") => with_condition(expected, &mut answer),
        NUMBERS => with_normal_numbers(&mut answer),
        NO_LAST_KEY if request.operation == "Query" => with_last_page(expected, &mut answer),
        KEY_FIRST if request.operation == STREAM => without_keys_alone(&mut answer),
        _ => {}
    }
    answer
}

/// Adds the empty page that follows one that ends with the last item.
fn with_last_page(expected: &Value, answer: &mut Value) {
    let (Some(expected), Some(pages)) = (expected.as_array(), answer.as_array_mut()) else { return };
    if let [.., full, empty] = expected.as_slice()
        && pages.len() + 1 == expected.len()
        && empty["count"] == 0
        && let Some(last) = pages.last_mut()
    {
        last["last"] = full["last"].clone();
        pages.push(empty.clone());
    }
}

/// Removes, of the changes of each item, an insertion of its key alone that another insertion follows.
fn without_keys_alone(answer: &mut Value) {
    for changes in answer.as_object_mut().into_iter().flat_map(|items| items.values_mut()) {
        let Some(changes) = changes.as_array_mut() else { continue };
        let is_insertion = |change: &Value| change[0] == "INSERT";
        let is_key = |change: &Value| change[2].as_object().is_some_and(|item| item.keys().eq(["pk", "sk"]));
        let alone = |pair: &[Value]| is_insertion(&pair[0]) && is_key(&pair[0]) && is_insertion(&pair[1]);
        while let Some(at) = changes.windows(2).position(alone) {
            changes.remove(at);
        }
    }
}

/// Adds the items that failed conditions return.
fn with_old_items(expected: &Value, answer: &mut Value) {
    match (&expected["about"], &mut answer["about"]) {
        (Value::Array(expected), Value::Array(reasons)) => {
            for (expected, reason) in expected.iter().zip(reasons).filter(|(_, reason)| reason["item"].is_null()) {
                reason["item"] = expected["item"].clone();
            }
        }
        (expected, about) if about.is_null() => *about = expected.clone(),
        _ => {}
    }
}

/// Replaces the reason `ValueError` by the condition that failed.
fn with_condition(expected: &Value, answer: &mut Value) {
    let expected = expected["about"].as_array().into_iter().flatten();
    for (expected, reason) in expected.zip(answer["about"].as_array_mut().into_iter().flatten()) {
        if reason["code"] == "ValueError" && expected["code"] == "ConditionalCheckFailed" {
            *reason = expected.clone();
        }
    }
}

fn with_normal_numbers(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(with_normal_numbers),
        Value::Object(map) => match map.get("N").and_then(Value::as_str) {
            Some(number) if map.len() == 1 => *value = json!({"N": normal(number)}),
            _ => map.values_mut().for_each(with_normal_numbers),
        },
        _ => {}
    }
}

/// `number` as DynamoDB returns it: without an exponent and without zeros that mean nothing.
fn normal(number: &str) -> String {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap_or_default();
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let mut all = format!("{whole}{fraction}");
    // The place of the point, from the left.
    let mut point = whole.len() as i64 + exponent;
    while point < 1 {
        all.insert(0, '0');
        point += 1;
    }
    while (all.len() as i64) < point {
        all.push('0');
    }
    let (whole, fraction) = all.split_at(usize::try_from(point).unwrap_or_default());
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    match (whole, fraction) {
        ("", "") => "0".to_owned(),
        (whole, "") => format!("{sign}{whole}"),
        ("", fraction) => format!("{sign}0.{fraction}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        for (number, expected) in [
            ("0", "0"),
            ("-0.0", "0"),
            ("36.60", "36.6"),
            ("1e2", "100"),
            ("0.000001", "0.000001"),
            ("-2.50", "-2.5"),
            ("100", "100"),
            ("1.25E-1", "0.125"),
            ("12345678901234567890123456789.125", "12345678901234567890123456789.125"),
        ] {
            assert_eq!(normal(number), expected, "{number}");
        }
    }

    #[test]
    fn a_difference_is_known_only_where_it_explains_the_whole_answer() {
        let request = Request { operation: "GetItem", body: json!({}) };
        let (expected, actual) = (json!({"item": {"a": {"N": "100"}}}), json!({"item": {"a": {"N": "1e2"}}}));
        assert_eq!(known(Kind::Moto, &request, &expected, &actual), Some(vec![NUMBERS]));
        assert_eq!(known(Kind::Dynalite, &request, &expected, &actual), None);
        let wrong = json!({"item": {"a": {"N": "1e2"}, "b": {"N": "1"}}});
        assert_eq!(known(Kind::Moto, &request, &expected, &wrong), None);
    }
}
