//! Forms: validation of their definitions, and the findings of their checks.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

mod batches;
mod broken;
mod properties;
mod real;
mod rules;
mod samples;
mod schema;
mod shipped;
mod texts;

use clinical::forms::{Batch, CheckContext, Form, Notation, Register, ReportOptions, Workers};
use serde_json::{Value, json};

/// 2026-11-23T12:00:00Z.
const NOW: i64 = 1_795_435_200;

/// Sites S01 and S02, subjects P-1 to P-3.
fn context() -> CheckContext {
    let names = |names: &[&str]| Register::Known(names.iter().map(|name| (*name).to_owned()).collect());
    CheckContext { now: NOW, sites: names(&["S01", "S02"]), subjects: names(&["P-1", "P-2", "P-3"]) }
}

/// The results of `rows`: for each row its findings as `check field`, and after a bar the checks that were not
/// evaluated as `check code`.
fn summary(form: &Form, rows: &Value) -> Vec<String> {
    let batch = Batch::read(rows.to_string().as_bytes(), Notation::Json).unwrap();
    findings_of(form, &batch, &context(), 1)
}

fn findings_of(form: &Form, batch: &Batch, context: &CheckContext, threads: usize) -> Vec<String> {
    let answer = answer(form, batch, context, threads, false);
    let entries = |row: &Value, list: &str, name: &str, other: &str| {
        let list = row[list].as_array().cloned().unwrap_or_default();
        let entries: Vec<String> = list
            .iter()
            .map(|one| format!("{} {}", one[name].as_str().unwrap(), one[other].as_str().unwrap_or("-")))
            .collect();
        entries.join(", ")
    };
    let rows = answer["rows"].as_array().unwrap();
    rows.iter()
        .map(|row| {
            let (found, not) =
                (entries(row, "findings", "check", "field"), entries(row, "notEvaluated", "check", "code"));
            if not.is_empty() { found } else { format!("{found} | {not}").trim_start().to_owned() }
        })
        .collect()
}

fn answer(form: &Form, batch: &Batch, context: &CheckContext, threads: usize, values: bool) -> Value {
    let report = form.check(batch, context, Workers::new(threads)).unwrap();
    let options = ReportOptions { batch: "b-1", language: "en", values };
    serde_json::from_str(&form.to_json(&report, options, |_| true).unwrap()).unwrap()
}

/// A form with some fields, the units `kg`, `LB`, `C`, `F`, and one check `c` of `rule` for rows that satisfy `when`.
fn form(rule: Value, when: Option<Value>) -> Form {
    let text = |text: &str| json!({"en": text});
    let field = |id: &str, kind: &str| json!({"id": id, "type": kind, "title": text(id)});
    let mut weight = field("WEIGHT", "decimal");
    weight["unit"] = json!("UNIT");
    let mut code = field("CODE", "codelist");
    code["codes"] = json!("code");
    let mut check = json!({"id": "c", "version": "1.2.0", "severity": "hard", "rule": rule, "message": text("Wrong")});
    if let Some(when) = when {
        check["when"] = when;
    }
    let form = json!({
        "id": "test", "version": "1.0.0", "title": text("Test"), "sources": ["A standard"], "key": ["ID", "VISIT"],
        "codeLists": {"code": {"codes": ["A", "B"], "extensible": true}},
        "units": {
            "kg": {}, "LB": {"to": "kg", "multiply": 0.45359237}, "C": {},
            "F": {"to": "C", "subtract": 32, "multiply": 5, "divide": 9}
        },
        "fields": [
            field("ID", "text"), field("SITE", "text"), field("VISIT", "integer"), code, field("A", "decimal"),
            field("B", "decimal"), field("N", "integer"), field("D1", "datetime"), field("D2", "datetime"),
            field("FLAG", "boolean"), weight, field("UNIT", "unit"), field("STD", "decimal"), field("STDU", "unit"),
        ],
        "checks": [check],
    });
    Form::parse(&form.to_string()).unwrap_or_else(|faults| panic!("{faults:#?}"))
}
