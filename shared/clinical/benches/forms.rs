//! The throughput of edit checks, on one core and on two, compared with hand-written checks and with parsing only.
//!
//! `cargo bench --workspace --bench forms`. The targets for 20,000 rows with 12 checks each: a million checks per
//! second on one core, and on two at most 1.3 times half of the time.

#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark may panic on invalid data")]

use std::collections::HashSet;
use std::hint::black_box;

use clinical::forms::{Batch, CheckContext, Form, Notation, Register, Workers};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde_json::{Value, json};

const ROWS: usize = 20_000;
const CHECKS: usize = 12;

fn checking(criterion: &mut Criterion) {
    let form = form();
    assert_eq!(form.definition().checks.len(), CHECKS);
    let text = rows();
    let batch = Batch::read(text.as_bytes(), Notation::Json).unwrap();
    let known = Register::Known((0..500).map(|subject| format!("S-{subject:04}")).collect());
    let context = CheckContext { now: 1_800_000_000, sites: known.clone(), subjects: known };
    let report = form.check(&batch, &context, Workers::new(1)).unwrap();
    assert_eq!((report.counts.rows, report.counts.clean), (ROWS, ROWS));
    let values: Vec<Value> = serde_json::from_str(&text).unwrap();
    let subjects: HashSet<String> = (0..500).map(|subject| format!("S-{subject:04}")).collect();
    assert_eq!(by_hand(&values, &subjects), 0);

    let mut group = criterion.benchmark_group("20,000 rows of 12 checks");
    group.throughput(Throughput::Elements((ROWS * CHECKS) as u64)).sample_size(20);
    for threads in [1, 2] {
        group.bench_function(format!("form, {threads} thread(s)"), |bencher| {
            // Dropping the report is not measured.
            bencher.iter_with_large_drop(|| form.check(black_box(&batch), &context, Workers::new(threads)).unwrap());
        });
    }
    group.bench_function("by hand, 1 thread", |bencher| bencher.iter(|| by_hand(black_box(&values), &subjects)));
    group.bench_function("parsing only", |bencher| {
        bencher.iter(|| Batch::read(black_box(text.as_bytes()), Notation::Json).unwrap().len());
    });
    group.finish();
}

/// Valid weights of 500 subjects at 40 visits, in pounds and in kilograms.
fn rows() -> String {
    let row = |row: usize| {
        let (subject, visit) = (row / 40, row % 40);
        let date = format!("20{:02}-{:02}-{:02}", 12 + visit / 12, visit % 12 + 1, subject % 28 + 1);
        let pounds = 1_500 + subject % 400 + visit % 7;
        let kilograms = (pounds as f64 * 4.535_923_7).round() / 100.0;
        json!({
            "STUDYID": "DEMO", "DOMAIN": "VS", "SITEID": "S-0001", "USUBJID": format!("S-{subject:04}"), "VSSEQ": visit,
            "VISITNUM": visit, "VSDTC": date, "VSTESTCD": "WEIGHT", "VSTEST": "Weight", "VSPOS": "STANDING",
            "VSORRES": format!("{}.{}", pounds / 10, pounds % 10), "VSORRESU": "LB", "VSSTAT": "",
            "VSSTRESN": kilograms, "VSSTRESU": "kg",
        })
    };
    Value::from((0..ROWS).map(row).collect::<Vec<_>>()).to_string()
}

fn form() -> Form {
    let text = |text: &str| json!({"en": text});
    let field = |id: &str, kind: &str| json!({"id": id, "type": kind, "title": text(id)});
    let check = |id: &str, rule: Value| json!({"id": id, "version": "1.0.0", "severity": "hard", "rule": rule, "message": text(id)});
    let weight = |mut check: Value| {
        check["when"] = json!({"in": {"field": "VSTESTCD", "in": ["WEIGHT"]}});
        check
    };
    let mut result = field("VSORRES", "decimal");
    result["unit"] = json!("VSORRESU");
    let mut test = field("VSTESTCD", "codelist");
    test["codes"] = json!("test");
    let form = json!({
        "id": "bench", "version": "1.0.0", "title": text("Bench"), "sources": ["A benchmark"], "key": ["USUBJID", "VISITNUM"],
        "codeLists": {"test": {"codes": ["WEIGHT", "HEIGHT"]}},
        "units": {"kg": {}, "LB": {"to": "kg", "multiply": 0.45359237}},
        "fields": [
            field("SITEID", "text"), field("USUBJID", "text"), field("VISITNUM", "integer"), field("VSDTC", "date"), test,
            field("VSSTAT", "text"), result, field("VSORRESU", "unit"), field("VSSTRESN", "decimal"), field("VSSTRESU", "unit"),
        ],
        "checks": [
            check("result", json!({"required": ["VSORRES"]})),
            check("unit", json!({"required": ["VSORRESU"]})),
            check("not-done", json!({"requiredAny": ["VSORRES", "VSSTAT"]})),
            weight(check("unit-suits", json!({"oneOf": {"field": "VSORRESU", "in": ["kg", "LB"]}}))),
            weight(check("possible", json!({"range": {"field": "VSORRES", "unit": "kg", "min": 1, "max": 400}}))),
            weight(check("usual", json!({"range": {"field": "VSORRES", "unit": "kg", "min": 30, "max": 200}}))),
            check("standard", json!({"equals": {"field": "VSSTRESN", "to": {"converted": ["VSORRES", "VSSTRESU"]}, "tolerance": 0.01}})),
            check("future", json!({"notFuture": "VSDTC"})),
            check("one", json!({"unique": ["USUBJID", "VSTESTCD", "VISITNUM"]})),
            weight(check("change", json!({"change": {"field": "VSORRES", "unit": "kg", "same": ["USUBJID", "VSTESTCD"], "by": "VSDTC", "mostPercent": 10}}))),
            check("site", json!({"knownSite": "SITEID"})),
            check("subject", json!({"knownSubject": "USUBJID"})),
        ],
    });
    Form::parse(&form.to_string()).unwrap_or_else(|faults| unreachable!("{faults:#?}"))
}

/// The number of rows that violate the same checks, hand-written in floating point.
fn by_hand(rows: &[Value], known: &HashSet<String>) -> usize {
    let mut wrong = 0;
    let mut seen = HashSet::with_capacity(rows.len());
    let mut courses: std::collections::HashMap<&str, Vec<(&str, f64)>> = std::collections::HashMap::new();
    for row in rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        let (subject, date, test, unit) = (text("USUBJID"), text("VSDTC"), text("VSTESTCD"), text("VSORRESU"));
        let result: Option<f64> = text("VSORRES").parse().ok();
        let Some(result) = result else {
            wrong += 1;
            continue;
        };
        let is_date = date.len() == 10
            && date
                .bytes()
                .enumerate()
                .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() });
        let kilograms = if unit == "LB" { result * 0.453_592_37 } else { result };
        let standard = row.get("VSSTRESN").and_then(Value::as_f64).unwrap_or_default();
        let visit = row.get("VISITNUM").and_then(Value::as_i64).unwrap_or_default();
        let fits = is_date
            && date < "2027-01-16"
            && (unit == "kg" || unit == "LB")
            && (test == "WEIGHT" || test == "HEIGHT")
            && (30.0..=200.0).contains(&kilograms)
            && (standard - kilograms).abs() <= 0.01
            && seen.insert((subject, test, visit))
            && known.contains(text("SITEID"))
            && known.contains(subject);
        courses.entry(subject).or_default().push((date, kilograms));
        wrong += usize::from(!fits);
    }
    for course in courses.values_mut() {
        course.sort_by_key(|(date, _)| *date);
        wrong += course.windows(2).filter(|pair| (pair[1].1 - pair[0].1).abs() > pair[0].1 / 10.0).count();
    }
    wrong
}

criterion_group!(benches, checking);
criterion_main!(benches);
