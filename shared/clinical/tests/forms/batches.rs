//! Parsing of batches: every format gives the same rows, and a malformed row does not affect the others.

use clinical::forms::{Batch, BatchError, MOST_ROWS, Notation};
use serde_json::{Value, json};

use crate::{answer, context, findings_of, form};

fn read(text: &str) -> Result<Batch, BatchError> {
    Batch::read(text.as_bytes(), Notation::Any)
}

#[track_caller]
fn findings(text: &str) -> Vec<String> {
    findings_of(&form(json!({"required": ["ID"]}), None), &read(text).unwrap(), &context(), 1)
}

#[test]
fn the_same_rows_give_the_same_batch_in_every_format() {
    let columns = json!([{"name": "ID"}, {"name": "A"}]);
    let document = json!({"datasetJSONVersion": "1.1.0", "columns": columns, "records": 3, "rows": [["x", 1], ["", "?"], ["y", null]]});
    let head = json!({"datasetJSONVersion": "1.1.0", "columns": columns, "records": 3});
    for text in [
        r#"[{"ID":"x","A":1},{"ID":"","A":"?"},{"ID":"y"}]"#.to_owned(),
        "\u{feff}{\"ID\":\"x\",\"A\":1}\n\n{\"A\":\"?\"}\r\n{\"ID\":\"y\"}".to_owned(),
        document.to_string(),
        serde_json::to_string_pretty(&document).unwrap(),
        format!("{head}\n[\"x\",1]\n[\"\",\"?\"]\n[\"y\",null]\n"),
    ] {
        assert_eq!(findings(&text), ["", "A.type A, c ID", ""], "{text}");
    }
}

#[test]
fn a_malformed_row_is_reported_and_does_not_affect_others() {
    assert_eq!(
        findings(r#"[{"ID":"x"}, 7, null, "x", [1], true, 1.5, -1, {"ID":"x","ID":"y"}, {"ID":"y"}]"#),
        ["", "row -", "row -", "row -", "row -", "row -", "row -", "row -", "row ID", ""]
    );
    assert_eq!(findings("{\"ID\":\"x\"}\n{\"ID\n{\"ID\":\"x\"} 7\n{\"ID\":\"y\"}"), ["", "row -", "row -", ""]);
    let head = r#"{"datasetJSONVersion":"1.1","columns":[{"name":"ID"},{"name":"A"}]"#;
    assert_eq!(
        findings(&format!(r#"{head},"rows":[["x",1],["x"],{{"ID":"x"}},["y",2]]}}"#)),
        ["", "row -", "row -", ""]
    );
    assert_eq!(findings(&format!("{head}}}\n[\"x\",1]\n[\"x\"]\nnonsense\n[\"y\",2]")), ["", "row -", "row -", ""]);
}

#[test]
fn other_inputs_are_rejected_with_a_reason() {
    for (text, message) in [
        ("", "it has no rows"),
        (" \n", "it has no rows"),
        ("[]", "it has no rows"),
        ("[{}", "it is not valid JSON at line 1, column 3"),
        ("[{}] 7", "it is not valid JSON at line 1, column 6"),
        ("[{\"A\": 1},\n{\"A\" 1}]", "it is not valid JSON at line 2, column 6"),
        ("rows", "it is not valid JSON"),
        (
            r#"{"datasetJSONVersion": "1.0.0"}"#,
            "it is not valid CDISC Dataset-JSON v1.1: its `datasetJSONVersion` is \"1.0.0\"",
        ),
        (
            r#"{"datasetJSONVersion": "1.1", "columns": [], "records": 2, "rows": [[]]}"#,
            "`records` is 2, but it has 1 rows",
        ),
        ("{\"datasetJSONVersion\": \"1.1\", \"columns\": [], \"records\": 2}\n[]", "`records` is 2, but it has 1 rows"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
    assert_eq!(Batch::read(b"[\"\xff\"]", Notation::Any).unwrap_err(), BatchError::Encoding);
    assert_eq!(Batch::read(br#"{"ID": "x"}"#, Notation::Json).unwrap_err(), BatchError::Other);
    assert!(Batch::read(br#"{"ID": "x"}"#, Notation::Lines).is_ok());
    let rows = |count: usize| format!("[{}]", vec!["0"; count].join(","));
    assert_eq!(read(&rows(MOST_ROWS)).unwrap().len(), MOST_ROWS);
    assert_eq!(read(&rows(MOST_ROWS + 1)).unwrap_err(), BatchError::TooManyRows);
}

#[test]
fn a_row_with_very_many_columns_is_parsed_in_time() {
    let members: Vec<String> = (0..200_000).map(|name| format!("\"n{name}\":0")).collect();
    let text = format!("[{{{}}},{{\"ID\":\"x\",\"n5\":1}}]", members.join(","));
    assert_eq!(findings(&text), ["c ID", ""]);
}

#[test]
fn each_row_is_reported_with_the_values_of_its_own_key() {
    let form = form(json!({"range": {"field": "A", "max": 5}}), None);
    let batch = read(r#"[{"ID":"P-1","VISIT":1,"A":7},{"ID":{"a":1},"VISIT":[2],"A":7},{"ID":"P-3","VISIT":3,"A":7}]"#);
    let answer = answer(&form, &batch.unwrap(), &context(), 1, false);
    let keys: Vec<&Value> = answer["rows"].as_array().unwrap().iter().map(|row| &row["key"]).collect();
    // Objects and lists do not help to find a row.
    assert_eq!(keys, [&json!({"ID": "P-1", "VISIT": 1}), &json!({}), &json!({"ID": "P-3", "VISIT": 3})]);
}

#[test]
fn no_value_of_a_batch_is_in_debug_output() {
    let batch = read(r#"[{"ID":"P-1","A":77.5},{"ID":"P-2"}]"#).unwrap();
    assert_eq!(format!("{batch:?}"), r#"Batch { columns: ["ID", "A"], rows: 2 }"#);
    assert!(!batch.is_empty());
}

#[test]
fn a_batch_of_the_most_rows_is_read_and_a_larger_one_is_refused() {
    let head = r#"{"datasetJSONVersion":"1.1","columns":[{"name":"ID"}]}"#;
    for (head, row) in [("", "{}"), (head, "[1]")] {
        let lines = |rows: usize| format!("{head}\n{}", format!("{row}\n").repeat(rows));
        assert_eq!(read(&lines(MOST_ROWS)).unwrap().len(), MOST_ROWS);
        for more in [1, 2] {
            assert_eq!(read(&lines(MOST_ROWS + more)).unwrap_err(), BatchError::TooManyRows);
        }
    }
}

#[test]
fn lines_of_which_none_is_json_are_no_batch() {
    let lines = |text: &str| Batch::read(text.as_bytes(), Notation::Lines).map(|batch| batch.len());
    assert_eq!(lines("one\ntwo\n"), Err(BatchError::Syntax { line: 1, column: 1 }));
    assert_eq!(lines("one\n{}\n"), Ok(2));
}

#[test]
fn values_are_reported_only_on_request() {
    let form = form(json!({"range": {"field": "A", "max": 5}}), None);
    let batch = read(r#"[{"ID":"P-1","VISIT":3,"A":77.5,"EXTRA":1}]"#).unwrap();
    let without = answer(&form, &batch, &context(), 1, false);
    assert!(!without.to_string().contains("77.5"));
    let with = answer(&form, &batch, &context(), 1, true);
    assert_eq!(
        with,
        json!({
            "batch": "b-1", "form": "test", "version": "1.0.0", "hash": form.hash(), "language": "en",
            "counts": {"rows": 1, "clean": 0, "withWarnings": 0, "rejected": 1, "notEvaluated": 0},
            "notRun": [], "notChecked": ["EXTRA"],
            "rows": [{
                "index": 0, "status": "rejected", "key": {"ID": "P-1", "VISIT": 3},
                "findings": [{
                    "check": "c", "version": "1.2.0", "kind": "range", "severity": "hard", "field": "A", "message": "Wrong",
                    "query": "open", "value": 77.5,
                }],
            }],
        })
    );
}

#[test]
fn each_row_has_exactly_one_verdict() {
    let soft = r#"{"CODE": "C"}"#;
    let form = form(json!({"range": {"field": "WEIGHT", "unit": "kg", "max": 5}}), None);
    let batch = read(&format!(
        "[{soft}, {{\"ID\":\"x\"}}, {{\"WEIGHT\":1}}, {{\"WEIGHT\":1,\"CODE\":\"C\"}}, {{\"WEIGHT\":7,\"UNIT\":\"kg\",\"CODE\":\"C\"}}]"
    ));
    let answer = answer(&form, &batch.unwrap(), &context(), 1, false);
    assert_eq!(answer["counts"], json!({"rows": 5, "clean": 1, "withWarnings": 2, "rejected": 1, "notEvaluated": 1}));
    let kinds: Vec<&Value> = answer["rows"].as_array().unwrap().iter().map(|row| &row["status"]).collect();
    assert_eq!(kinds, ["warnings", "clean", "not-evaluated", "warnings", "rejected"]);
}

#[test]
fn checking_stops_on_request_without_a_partial_report() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use clinical::forms::{Stopped, Workers};

    let form = form(json!({"unique": ["ID"]}), None);
    let batch = read(&format!("[{}]", vec![r#"{"ID":"x"}"#; 2_000].join(","))).unwrap();
    let asked = AtomicUsize::new(0);
    let reported = AtomicUsize::new(0);
    let stop = || asked.fetch_add(1, Ordering::Relaxed) >= 3;
    let progress = |rows| {
        reported.fetch_add(rows, Ordering::Relaxed);
    };
    let result = form.check(&batch, &context(), Workers::new(1).until(&stop).reporting(&progress));
    assert_eq!(result.unwrap_err(), Stopped { checked: 768, rows: 2_000 });
    assert_eq!(reported.into_inner(), 768);
}

#[test]
fn writing_stops_on_request() {
    use clinical::forms::{ReportOptions, Workers};

    let form = form(json!({"unique": ["ID"]}), None);
    let batch = read(r#"[{"ID":"x"},{"ID":"y"},{"ID":"z"}]"#).unwrap();
    let report = form.check(&batch, &context(), Workers::new(1)).unwrap();
    let options = ReportOptions { batch: "b", language: "en", values: false };
    let mut pieces = 0;
    let result = form.to_json(&report, options, |_| {
        pieces += 1;
        pieces < 4
    });
    assert_eq!(result, Err(2));
}

#[test]
fn a_row_of_a_data_set_says_why_it_is_malformed() {
    let document = json!({
        "datasetJSONVersion": "1.1", "columns": [{"name": "ID"}, {"name": "A"}], "rows": [["x", 1], ["x"], {"ID": "x"}],
    });
    let rows = clinical::forms::Dataset::of(document).unwrap().rows;
    let faults: Vec<String> = rows.iter().filter_map(|row| row.as_ref().err().map(ToString::to_string)).collect();
    assert_eq!(faults, ["has 1 values for 2 columns", "is not a list"]);
}
