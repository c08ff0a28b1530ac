//! LB: safety laboratory of each subject. Sites S01 to S03 use a central laboratory, site S04 has its own.

use serde_json::{Value, json};

use crate::dataset::{Column, STUDY, Sample, decimal};
use crate::random::Random;
use crate::subjects::Subject;

const COLUMNS: &[Column] = &[
    ("STUDYID", "Study Identifier", "string"),
    ("DOMAIN", "Domain Abbreviation", "string"),
    ("USUBJID", "Unique Subject Identifier", "string"),
    ("LBSEQ", "Sequence Number", "integer"),
    ("LBREFID", "Specimen ID", "string"),
    ("LBTESTCD", "Lab Test or Examination Short Name", "string"),
    ("LBORRES", "Result or Finding in Original Units", "string"),
    ("LBORRESU", "Original Units", "string"),
    ("LBORNRLO", "Reference Range Lower Limit in Orig Unit", "string"),
    ("LBORNRHI", "Reference Range Upper Limit in Orig Unit", "string"),
    ("LBSTRESC", "Character Result/Finding in Std Format", "string"),
    ("LBSTRESN", "Numeric Result/Finding in Standard Units", "decimal"),
    ("LBSTRESU", "Standard Units", "string"),
    ("LBSTNRLO", "Reference Range Lower Limit-Std Units", "decimal"),
    ("LBSTNRHI", "Reference Range Upper Limit-Std Units", "decimal"),
    ("LBSTNRC", "Reference Range for Char Rslt-Std Units", "string"),
    ("LBNRIND", "Reference Range Indicator", "string"),
    ("LBSTAT", "Completion Status", "string"),
    ("LBREASND", "Reason Test Not Done", "string"),
    ("LBNAM", "Vendor Name", "string"),
    ("LBLOC", "Central or Local Laboratory", "string"),
    ("LBSPEC", "Specimen Type", "string"),
    ("VISITNUM", "Visit Number", "integer"),
    ("VISIT", "Visit Name", "string"),
    ("LBDTC", "Date/Time of Specimen Collection", "datetime"),
];

/// A test with its specimen and unit and, in thousandths, its reference range and the range of values drawn.
type Test = (&'static str, &'static str, &'static str, (i64, i64), (i64, i64));

const TESTS: [Test; 7] = [
    ("K", "SERUM", "mmol/L", (3_500, 5_100), (3_200, 5_500)),
    ("NA", "SERUM", "mmol/L", (136_000, 145_000), (133_000, 147_000)),
    ("CREAT", "SERUM", "umol/L", (45_000, 110_000), (40_000, 130_000)),
    ("ALT", "SERUM", "U/L", (5_000, 45_000), (8_000, 60_000)),
    ("GLUC", "PLASMA", "mmol/L", (3_900, 6_100), (3_700, 8_900)),
    ("HGB", "BLOOD", "g/L", (120_000, 170_000), (105_000, 172_000)),
    ("PLAT", "BLOOD", "10^9/L", (150_000, 400_000), (130_000, 420_000)),
];

pub(crate) fn sample(subjects: &[Subject]) -> Sample {
    let rows = subjects.iter().flat_map(of_subject).collect();
    let mut sample = Sample { domain: "LB", label: "Laboratory Test Results", columns: COLUMNS, rows };
    damages(&mut sample);
    sample
}

fn of_subject(subject: &Subject) -> Vec<Vec<Value>> {
    let mut random = Random::new(5_000 + subject.number);
    let local = subject.site == "S04";
    let (name, place) = if local { ("CLINIC LABORATORY S04", "LOCAL") } else { ("NORTH CENTRAL LAB", "CENTRAL") };
    let specimen = if local { String::new() } else { format!("N{:05}", 70_000 + subject.number) };
    let collected = format!("{}T{:02}:{:02}", subject.start, random.within(7, 10), random.within(0, 59));
    let row = |sequence: usize, test: &str, material: &str, results: [Value; 11], status: (&str, &str)| {
        let mut row = vec![json!(STUDY), json!("LB"), json!(subject.id), json!(sequence), json!(specimen), json!(test)];
        row.extend(results);
        row.extend([json!(status.0), json!(status.1), json!(name), json!(place), json!(material)]);
        row.extend([json!(1), json!("BASELINE"), json!(collected)]);
        row
    };
    let mut rows = Vec::new();
    for (test, material, unit, (low, high), (least, most)) in TESTS {
        // Rounded to as many digits as such results have.
        let digits = if most > 20_000 { 1_000 } else { 100 };
        let result = random.within(least, most) / digits * digits;
        let indicator = match result {
            low_one if low_one < low => "LOW",
            high_one if high_one > high => "HIGH",
            _ => "NORMAL",
        };
        let (result, low, high) = (json!(decimal(result)), json!(decimal(low)), json!(decimal(high)));
        let results = [
            result.clone(),
            json!(unit),
            low.clone(),
            high.clone(),
            result.clone(),
            result,
            json!(unit),
            low,
            high,
            json!(""),
            json!(indicator),
        ];
        rows.push(row(rows.len() + 1, test, material, results, ("", "")));
    }
    let nothing = || json!("");
    if random.percent(3) {
        let results = std::array::from_fn(|at| if at == 5 || at == 7 || at == 8 { Value::Null } else { nothing() });
        rows.push(row(rows.len() + 1, "NITRITE", "URINE", results, ("NOT DONE", "SPECIMEN LOST")));
    } else {
        let found = json!(if random.percent(5) { "POSITIVE" } else { "NEGATIVE" });
        let indicator = json!(if found == "NEGATIVE" { "NORMAL" } else { "ABNORMAL" });
        let results = [
            found.clone(),
            nothing(),
            nothing(),
            nothing(),
            found,
            Value::Null,
            nothing(),
            Value::Null,
            Value::Null,
            json!("NEGATIVE"),
            indicator,
        ];
        rows.push(row(rows.len() + 1, "NITRITE", "URINE", results, ("", "")));
    }
    rows
}

/// Damages the file.
fn damages(sample: &mut Sample) {
    let at = |sample: &Sample, test: &str, indicator: &str, nth: usize| {
        sample.find(&[("LBTESTCD", test), ("LBNRIND", indicator)], nth)
    };
    // A haemolysed specimen: potassium far too high, and correctly flagged.
    let row = at(sample, "K", "HIGH", 3);
    let eight = || json!("8.4");
    sample.damage(row, &[("LBORRES", eight()), ("LBSTRESC", eight()), ("LBSTRESN", eight())]);
    // Indicators that contradict their ranges, one of them at the other end.
    let row = at(sample, "K", "NORMAL", 4);
    sample.damage(row, &[("LBNRIND", json!("HIGH"))]);
    let row = at(sample, "ALT", "HIGH", 2);
    sample.damage(row, &[("LBNRIND", json!("NORMAL"))]);
    let row = at(sample, "GLUC", "HIGH", 5);
    sample.damage(row, &[("LBNRIND", json!("LOW"))]);
    // A range with its limits swapped.
    let row = at(sample, "NA", "NORMAL", 20);
    sample.damage(row, &[("LBSTNRLO", json!("145")), ("LBSTNRHI", json!("136"))]);
    // A missing unit.
    let row = at(sample, "CREAT", "NORMAL", 30);
    sample.damage(row, &[("LBSTRESU", json!(""))]);
    // A result below zero.
    let row = at(sample, "HGB", "LOW", 1);
    sample.damage(row, &[("LBSTRESN", json!("-110"))]);
    // A result of a test that was not done.
    let row = at(sample, "PLAT", "NORMAL", 50);
    sample.damage(row, &[("LBSTAT", json!("NOT DONE")), ("LBREASND", json!("CLOTTED"))]);
    // A collection in the future.
    let row = at(sample, "ALT", "NORMAL", 60);
    sample.damage(row, &[("LBDTC", json!("2125-04-05T08:00"))]);
    // A row without its laboratory (central or local), and one of a central laboratory without its specimen.
    let row = at(sample, "K", "NORMAL", 70);
    sample.damage(row, &[("LBNAM", json!("")), ("LBLOC", json!(""))]);
    let row = sample.find(&[("LBTESTCD", "NA"), ("LBLOC", "CENTRAL")], 80);
    sample.damage(row, &[("LBREFID", json!(""))]);
    // A measurement twice.
    let row = at(sample, "HGB", "NORMAL", 90);
    sample.rows.push(sample.rows[row].clone());
}
