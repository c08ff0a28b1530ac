//! AE: adverse events of about half of the subjects.

use serde_json::{Value, json};
use time::Duration;

use crate::dataset::{Column, STUDY, Sample};
use crate::random::Random;
use crate::subjects::Subject;

const COLUMNS: &[Column] = &[
    ("STUDYID", "Study Identifier", "string"),
    ("DOMAIN", "Domain Abbreviation", "string"),
    ("USUBJID", "Unique Subject Identifier", "string"),
    ("AESEQ", "Sequence Number", "integer"),
    ("AETERM", "Reported Term for the Adverse Event", "string"),
    ("AESEV", "Severity/Intensity", "string"),
    ("AESER", "Serious Event", "string"),
    ("AEACN", "Action Taken with Study Treatment", "string"),
    ("AEREL", "Causality", "string"),
    ("AEOUT", "Outcome of Adverse Event", "string"),
    ("AESDTH", "Results in Death", "string"),
    ("AESHOSP", "Requires or Prolongs Hospitalization", "string"),
    ("AESMIE", "Other Medically Important Serious Event", "string"),
    ("AESTDTC", "Start Date/Time of Adverse Event", "date"),
    ("AEENDTC", "End Date/Time of Adverse Event", "date"),
    ("AEENRTPT", "End Relative to Reference Time Point", "string"),
    ("AEENTPT", "End Reference Time Point", "string"),
    ("DTHDTC", "Date/Time of Death", "date"),
];

pub(crate) fn sample(subjects: &[Subject]) -> Sample {
    let rows = subjects.iter().flat_map(of_subject).collect();
    let mut sample = Sample { domain: "AE", label: "Adverse Events", columns: COLUMNS, rows };
    damages(&mut sample);
    sample
}

fn of_subject(subject: &Subject) -> Vec<Vec<Value>> {
    let mut random = Random::new(4_000 + subject.number);
    let events = (random.within(-1, 2)).max(0);
    (1..=events)
        .map(|sequence| {
            // One event a fortnight, so that no two start on the same day.
            let start = subject.day(sequence * 14 - random.within(1, 12));
            let ongoing = random.percent(20);
            let serious = random.percent(8);
            let end = start + Duration::days(random.within(0, 9));
            let text = |text: &str| json!(text);
            vec![
                text(STUDY),
                text("AE"),
                text(&subject.id),
                json!(sequence),
                text(random.one_of(&["HEADACHE", "NAUSEA", "FATIGUE", "DIZZINESS", "INSOMNIA", "BACK PAIN", "RASH"])),
                text(if serious { "SEVERE" } else { random.one_of(&["MILD", "MODERATE"]) }),
                text(if serious { "Y" } else { "N" }),
                text(random.one_of(&["DOSE NOT CHANGED", "DRUG INTERRUPTED", "NOT APPLICABLE"])),
                text(random.one_of(&["NOT RELATED", "POSSIBLY RELATED", "RELATED"])),
                text(if ongoing { "NOT RECOVERED/NOT RESOLVED" } else { "RECOVERED/RESOLVED" }),
                text(if serious { "N" } else { "" }),
                text(if serious { "Y" } else { "" }),
                text(if serious { "N" } else { "" }),
                text(&start.to_string()),
                json!(if ongoing { String::new() } else { end.to_string() }),
                text(if ongoing { "ONGOING" } else { "" }),
                json!(if ongoing { subject.day(90).to_string() } else { String::new() }),
                text(""),
            ]
        })
        .collect()
}

/// Damages the file.
fn damages(sample: &mut Sample) {
    let recovered = [("AEOUT", "RECOVERED/RESOLVED"), ("AESER", "N")];
    let at = |sample: &Sample, nth: usize| sample.find(&recovered, nth);
    // An end before the start.
    let row = at(sample, 3);
    sample.damage(row, &[("AEENDTC", json!("2024-12-24"))]);
    // A fatal event that names another criterion than death.
    let row = at(sample, 9);
    let fatal = [("AEOUT", json!("FATAL")), ("AESER", json!("Y")), ("AESHOSP", json!("Y"))];
    sample.damage(row, &fatal);
    // A date of death of a subject who recovered.
    let row = at(sample, 15);
    let end = sample.rows[row][sample.column("AEENDTC")].clone();
    sample.damage(row, &[("DTHDTC", end)]);
    // A serious event without a criterion.
    let row = at(sample, 20);
    sample.damage(row, &[("AESER", json!("Y"))]);
    // An event that has an end and is ongoing.
    let row = at(sample, 30);
    sample.damage(row, &[("AEENRTPT", json!("ONGOING")), ("AEENTPT", json!("WEEK 12"))]);
    // A start in the wrong century.
    let row = at(sample, 40);
    sample.damage(row, &[("AESTDTC", json!("1825-02-03"))]);
    // An event three times.
    let row = sample.rows[at(sample, 50)].clone();
    sample.rows.extend([row.clone(), row]);
}
