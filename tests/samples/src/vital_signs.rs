//! VS: two visits of each subject. Site S02 measures in Fahrenheit, pounds and inches.

use serde_json::{Value, json};

use crate::dataset::{Column, STUDY, Sample, decimal};
use crate::random::Random;
use crate::subjects::Subject;

const COLUMNS: &[Column] = &[
    ("STUDYID", "Study Identifier", "string"),
    ("DOMAIN", "Domain Abbreviation", "string"),
    ("USUBJID", "Unique Subject Identifier", "string"),
    ("VSSEQ", "Sequence Number", "integer"),
    ("VSTESTCD", "Vital Signs Test Short Name", "string"),
    ("VSPOS", "Vital Signs Position of Subject", "string"),
    ("VSORRES", "Result or Finding in Original Units", "string"),
    ("VSORRESU", "Original Units", "string"),
    ("VSSTRESN", "Numeric Result/Finding in Standard Units", "decimal"),
    ("VSSTRESU", "Standard Units", "string"),
    ("VSSTAT", "Completion Status", "string"),
    ("VSREASND", "Reason Not Performed", "string"),
    ("VISITNUM", "Visit Number", "integer"),
    ("VISIT", "Visit Name", "string"),
    ("VSDTC", "Date/Time of Measurements", "date"),
];

/// A measurement: the test, the position, and number and unit as entered and as standard, in thousandths.
type Measured = (&'static str, &'static str, (i64, &'static str), (i64, &'static str));

pub(crate) fn sample(subjects: &[Subject]) -> Sample {
    let rows = subjects.iter().flat_map(of_subject).collect();
    let mut sample = Sample { domain: "VS", label: "Vital Signs", columns: COLUMNS, rows };
    damages(&mut sample);
    sample
}

fn of_subject(subject: &Subject) -> Vec<Vec<Value>> {
    let mut random = Random::new(3_000 + subject.number);
    let imperial = subject.site == "S02";
    let height = random.within(150, 195);
    let weight = random.within(52_000, 110_000) / 100 * 100;
    let mut rows = Vec::new();
    for (number, visit, day) in [(1, "BASELINE", 0), (2, "WEEK 4", 28)] {
        let diastolic = random.within(60, 95);
        let systolic = diastolic + random.within(30, 60);
        let pulse = random.within(55, 95);
        let celsius = random.within(361, 374) * 100;
        let now = (weight + weight / 1_000 * random.within(-15, 15)) / 100 * 100;
        let mut measured: Vec<Measured> = vec![
            same("SYSBP", "SITTING", systolic * 1_000, "mmHg"),
            same("DIABP", "SITTING", diastolic * 1_000, "mmHg"),
            same("PULSE", "SITTING", pulse * 1_000, "beats/min"),
            if imperial {
                // To a tenth of a degree; the standard result to two decimals.
                let fahrenheit = (celsius * 9 / 5 + 32_000) / 100 * 100;
                let standard = ((fahrenheit - 32_000) * 5 / 9 + 5) / 10 * 10;
                ("TEMP", "", (fahrenheit, "F"), (standard, "C"))
            } else {
                same("TEMP", "", celsius, "C")
            },
            if imperial {
                let pounds = now * 1_000 / 453_592 * 1_000;
                ("WEIGHT", "", (pounds, "LB"), ((pounds * 45_359 / 100_000 + 5) / 10 * 10, "kg"))
            } else {
                same("WEIGHT", "", now, "kg")
            },
        ];
        if number == 1 {
            measured.push(if imperial {
                let inches = height * 1_000 / 254 * 100 / 1_000 * 1_000;
                ("HEIGHT", "", (inches, "in"), (inches * 254 / 100, "cm"))
            } else {
                same("HEIGHT", "", height * 1_000, "cm")
            });
        }
        // Some subjects refuse a measurement.
        let refused = random.percent(2).then_some("PULSE");
        for (test, position, entered, standard) in measured {
            let done = refused != Some(test);
            let of = |text: String| json!(if done { text } else { String::new() });
            rows.push(vec![
                json!(STUDY),
                json!("VS"),
                json!(subject.id),
                json!(rows.len() + 1),
                json!(test),
                json!(position),
                of(decimal(entered.0)),
                of(entered.1.to_owned()),
                if done { json!(decimal(standard.0)) } else { Value::Null },
                of(standard.1.to_owned()),
                json!(if done { "" } else { "NOT DONE" }),
                json!(if done { "" } else { "SUBJECT REFUSED" }),
                json!(number),
                json!(visit),
                json!(subject.day(day).to_string()),
            ]);
        }
    }
    rows
}

fn same(test: &'static str, position: &'static str, thousandths: i64, unit: &'static str) -> Measured {
    (test, position, (thousandths, unit), (thousandths, unit))
}

/// Damages the file.
fn damages(sample: &mut Sample) {
    let row = |sample: &Sample, subject: &str, test: &str, visit: usize| {
        sample.find(&[("USUBJID", subject), ("VSTESTCD", test)], visit)
    };
    // A day that does not exist, and a year of the wrong millennium.
    let at = row(sample, "SAMPLE-003", "PULSE", 0);
    sample.damage(at, &[("VSDTC", json!("2025-02-31"))]);
    let at = row(sample, "SAMPLE-021", "PULSE", 1);
    sample.damage(at, &[("VSDTC", json!("1025-04-11"))]);
    // A digit too many in the result and its standard result.
    let at = row(sample, "SAMPLE-040", "SYSBP", 0);
    sample.damage(at, &[("VSORRES", json!("720")), ("VSSTRESN", json!("720"))]);
    // A missing unit.
    let at = row(sample, "SAMPLE-066", "DIABP", 1);
    sample.damage(at, &[("VSORRESU", json!(""))]);
    // A weight that rose by a third in four weeks.
    let at = row(sample, "SAMPLE-100", "WEIGHT", 0);
    sample.damage(at, &[("VSORRES", json!("75")), ("VSORRESU", json!("kg")), ("VSSTRESN", json!("75"))]);
    let at = row(sample, "SAMPLE-100", "WEIGHT", 1);
    sample.damage(at, &[("VSORRES", json!("100")), ("VSORRESU", json!("kg")), ("VSSTRESN", json!("100"))]);
    // A result of a test that was not done.
    let at = row(sample, "SAMPLE-150", "PULSE", 0);
    sample.damage(at, &[("VSSTAT", json!("NOT DONE")), ("VSREASND", json!("DEVICE BROKEN"))]);
    // Degrees Fahrenheit with the unit Celsius.
    let at = row(sample, "SAMPLE-180", "TEMP", 0);
    sample.damage(at, &[("VSORRES", json!("98.6")), ("VSORRESU", json!("C"))]);
    // A measurement twice.
    let at = row(sample, "SAMPLE-199", "HEIGHT", 0);
    sample.rows.push(sample.rows[at].clone());
}
