//! DM: one row a subject.

use serde_json::{Value, json};

use crate::dataset::{Column, STUDY, Sample};
use crate::random::Random;
use crate::subjects::Subject;

const COLUMNS: &[Column] = &[
    ("STUDYID", "Study Identifier", "string"),
    ("DOMAIN", "Domain Abbreviation", "string"),
    ("USUBJID", "Unique Subject Identifier", "string"),
    ("RFSTDTC", "Subject Reference Start Date/Time", "date"),
    ("RFENDTC", "Subject Reference End Date/Time", "date"),
    ("RFICDTC", "Date/Time of Informed Consent", "date"),
    ("DTHDTC", "Date/Time of Death", "date"),
    ("DTHFL", "Subject Death Flag", "string"),
    ("SITEID", "Study Site Identifier", "string"),
    ("BRTHDTC", "Date/Time of Birth", "date"),
    ("AGE", "Age", "integer"),
    ("AGEU", "Age Units", "string"),
    ("SEX", "Sex", "string"),
    ("RACE", "Race", "string"),
    ("ETHNIC", "Ethnicity", "string"),
    ("COUNTRY", "Country", "string"),
];

pub(crate) fn sample(subjects: &[Subject]) -> Sample {
    let rows = subjects.iter().map(row).collect();
    let mut sample = Sample { domain: "DM", label: "Demographics", columns: COLUMNS, rows };
    damages(&mut sample);
    sample
}

fn row(subject: &Subject) -> Vec<Value> {
    let mut random = Random::new(1_000 + subject.number);
    let born = subject.born;
    let (month, day) = (u8::from(born.month()), born.day());
    let birthday_is_to_come = (u8::from(subject.consent.month()), subject.consent.day()) < (month, day);
    let age = subject.consent.year() - born.year() - i32::from(birthday_is_to_come);
    // Dates of birth as sites know them: complete, without the day, without the month, the year alone.
    let birth = match random.within(1, 20) {
        1 => format!("{}-{month:02}", born.year()),
        2 => format!("{}---{day:02}", born.year()),
        3 => born.year().to_string(),
        _ => born.to_string(),
    };
    let died = subject.number.is_multiple_of(90);
    let end = subject.day(random.within(40, 90));
    let country = match subject.site {
        "S01" => "DEU",
        "S02" => "USA",
        "S03" => "CHN",
        _ => "KEN",
    };
    vec![
        json!(STUDY),
        json!("DM"),
        json!(subject.id),
        json!(subject.start.to_string()),
        json!(end.to_string()),
        json!(subject.consent.to_string()),
        json!(if died { end.to_string() } else { String::new() }),
        json!(if died { "Y" } else { "" }),
        json!(subject.site),
        json!(birth),
        json!(age),
        json!("YEARS"),
        json!(if subject.female { "F" } else { "M" }),
        json!(random.one_of(&["ASIAN", "BLACK OR AFRICAN AMERICAN", "WHITE", "MULTIPLE", "UNKNOWN"])),
        json!(random.one_of(&["HISPANIC OR LATINO", "NOT HISPANIC OR LATINO", "NOT REPORTED"])),
        json!(country),
    ]
}

/// Damages the file.
fn damages(sample: &mut Sample) {
    // An age in months instead of years.
    sample.damage(16, &[("AGE", json!(65)), ("AGEU", json!("MONTHS"))]);
    // A country's code of sport instead of ISO 3166.
    sample.damage(33, &[("COUNTRY", json!("GER"))]);
    // A birth in the wrong century.
    sample.damage(50, &[("BRTHDTC", json!("1859-03-02"))]);
    // A death before the first dose, and one without its flag.
    sample.damage(89, &[("DTHDTC", json!("2024-01-02"))]);
    sample.damage(179, &[("DTHFL", json!(""))]);
    // A first dose in the future.
    sample.damage(120, &[("RFSTDTC", json!("2125-03-04"))]);
    // A subject twice.
    sample.rows.push(sample.rows[7].clone());
}
