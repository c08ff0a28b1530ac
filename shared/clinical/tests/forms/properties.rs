//! Properties of all batches.

use clinical::forms::{Batch, Catalog, Form, Notation};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::{answer, context};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_number_of_threads_does_not_matter(rows in rows()) {
        let form = vs();
        let batch = batch(&rows);
        let one = answer(form, &batch, &context(), 1, true);
        for threads in [2, 3, 16] {
            prop_assert_eq!(&answer(form, &batch, &context(), threads, true), &one);
        }
        let indices: Vec<u64> = rows_of(&one).iter().map(|row| row["index"].as_u64().unwrap()).collect();
        prop_assert_eq!(indices, (0..rows.len() as u64).collect::<Vec<_>>(), "in the order of the batch");
    }

    #[test]
    fn rows_in_another_order_give_the_same_findings(rows in rows(), keys in vec(any::<u32>(), 60)) {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|row| keys[*row]);
        let other: Vec<Value> = order.iter().map(|row| rows[*row].clone()).collect();
        let (here, there) = (checked(&rows), checked(&other));
        for (at, row) in order.iter().enumerate() {
            prop_assert_eq!(without_rows(&rows_of(&there)[at]), without_rows(&rows_of(&here)[*row]));
        }
        prop_assert_eq!(&here["counts"], &there["counts"]);
    }

    #[test]
    fn a_malformed_row_does_not_change_the_others(rows in rows(), at in any::<prop::sample::Index>(), junk in junk()) {
        let at = at.index(rows.len() + 1);
        let mut more = rows.clone();
        more.insert(at, junk);
        let (alone, beside) = (checked(&rows), checked(&more));
        let mut others = rows_of(&beside).clone();
        let added = others.remove(at);
        prop_assert_eq!(&added["status"], "rejected");
        for (row, other) in rows_of(&alone).iter().zip(&others) {
            prop_assert_eq!(without_rows(row), without_rows(other));
        }
    }

    #[test]
    fn a_cell_that_cannot_be_read_adds_no_finding_to_another_row(
        rows in rows(), at in any::<prop::sample::Index>(), column in prop::sample::select(COLUMNS.to_vec()),
    ) {
        let at = at.index(rows.len());
        let mut broken = rows.clone();
        broken[at][column] = json!({"not": "a value"});
        let (before, after) = (checked(&rows), checked(&broken));
        for (row, (was, is)) in rows_of(&before).iter().zip(rows_of(&after)).enumerate() {
            if row == at {
                continue;
            }
            let (was, is) = (findings(was), findings(is));
            for found in &is {
                // A change may now be measured from the row before the unreadable one, or not be evaluated.
                prop_assert!(was.contains(found) || found == "weight-change" || found == "height-change", "{found}");
            }
        }
    }

    #[test]
    fn any_input_is_reported_row_by_row_or_rejected(text in ".{0,200}", value in junk()) {
        for bytes in [text.as_bytes(), value.to_string().as_bytes(), format!("[{value}]").as_bytes()] {
            if let Ok(batch) = Batch::read(bytes, Notation::Any) {
                let answer = answer(vs(), &batch, &context(), 2, true);
                prop_assert_eq!(rows_of(&answer).len(), batch.len());
            }
        }
    }
}

const COLUMNS: [&str; 10] =
    ["USUBJID", "SITEID", "VISITNUM", "VSDTC", "VSTESTCD", "VSSTAT", "VSPOS", "VSORRES", "VSORRESU", "VSSTRESN"];

fn vs() -> &'static Form {
    Catalog::shipped().find(&"vs".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap()
}

fn batch(rows: &[Value]) -> Batch {
    Batch::read(json!(rows).to_string().as_bytes(), Notation::Json).unwrap()
}

fn checked(rows: &[Value]) -> Value {
    let mut answer = answer(vs(), &batch(rows), &context(), 2, false);
    answer.as_object_mut().unwrap().remove("batch");
    answer
}

fn rows_of(answer: &Value) -> &Vec<Value> {
    answer["rows"].as_array().unwrap()
}

/// The result of a row without the indices of other rows.
fn without_rows(row: &Value) -> Value {
    let mut row = row.clone();
    row["index"] = Value::Null;
    for finding in row["findings"].as_array_mut().into_iter().flatten() {
        finding.as_object_mut().unwrap().remove("otherRows");
    }
    for reason in row["notEvaluated"].as_array_mut().into_iter().flatten() {
        if ["other-row", "order-unclear"].contains(&reason["code"].as_str().unwrap()) {
            reason["reason"] = Value::Null;
        }
    }
    row
}

fn findings(row: &Value) -> Vec<String> {
    let findings = row["findings"].as_array().cloned().unwrap_or_default();
    findings.iter().map(|finding| finding["check"].as_str().unwrap().to_owned()).collect()
}

/// Rows of few subjects, tests and dates, so that groups arise; some are invalid.
fn rows() -> impl Strategy<Value = Vec<Value>> {
    let one_of = |values: &[Value]| prop::sample::select(values.to_vec());
    let row = (
        one_of(&[json!("P-1"), json!("P-2"), json!("P-9"), json!(7), json!(null)]),
        one_of(&[json!("S01"), json!("S09"), json!("")]),
        one_of(&[json!(1), json!(2), json!("2.0"), json!(null)]),
        one_of(&[
            json!("2012-11-01"),
            json!("2012-11-02"),
            json!("2012-11-03T08:00"),
            json!("2012-11"),
            json!("2012"),
            json!("2099-01-01"),
            json!("2012-13"),
            json!(""),
        ]),
        one_of(&[json!("WEIGHT"), json!("WEIGHT"), json!("SYSBP"), json!("TEMP"), json!("X"), json!(false)]),
        one_of(&[json!(null), json!(""), json!("NOT DONE")]),
        one_of(&[json!("SUPINE"), json!("STANDING"), json!("HEAD"), json!(null)]),
        one_of(&[json!(70), json!("80"), json!(91.5), json!(98.6), json!("0"), json!("much"), json!("")]),
        one_of(&[json!("kg"), json!("LB"), json!("F"), json!("mmHg"), json!("stone"), json!("")]),
        one_of(&[json!(70), json!(37), json!(null), json!("?")]),
    );
    let row = row.prop_map(|(a, b, c, d, e, f, g, h, i, j)| {
        let mut row: Map<String, Value> =
            COLUMNS.iter().map(|name| (*name).to_owned()).zip([a, b, c, d, e, f, g, h, i, j]).collect();
        row.insert("VSSTRESU".to_owned(), json!("kg"));
        Value::Object(row)
    });
    vec(row, 1..60)
}

/// A value that is not a row.
fn junk() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        vec(any::<i64>(), 0..4).prop_map(Value::from),
    ]
}
