//! QS: a PHQ-9 of each subject, and pain diaries of every tenth for a week.

use serde_json::{Value, json};

use crate::dataset::{Column, STUDY, Sample};
use crate::random::Random;
use crate::subjects::Subject;

const COLUMNS: &[Column] = &[
    ("STUDYID", "Study Identifier", "string"),
    ("DOMAIN", "Domain Abbreviation", "string"),
    ("USUBJID", "Unique Subject Identifier", "string"),
    ("QSSEQ", "Sequence Number", "integer"),
    ("QSTESTCD", "Question Short Name", "string"),
    ("QSTEST", "Question Name", "string"),
    ("QSCAT", "Category of Question", "string"),
    ("QSORRES", "Finding in Original Units", "string"),
    ("QSSTRESC", "Character Result/Finding in Std Format", "string"),
    ("QSSTRESN", "Numeric Finding in Standard Units", "integer"),
    ("VISITNUM", "Visit Number", "integer"),
    ("VISIT", "Visit Name", "string"),
    ("QSDTC", "Date/Time of Finding", "datetime"),
];

const ITEMS: [&str; 10] = [
    "PHQ01-Little Interest/Pleasure in Things",
    "PHQ01-Feeling Down Depressed or Hopeless",
    "PHQ01-Trouble Falling or Staying Asleep",
    "PHQ01-Feeling Tired or Little Energy",
    "PHQ01-Poor Appetite or Overeating",
    "PHQ01-Feeling Bad About Yourself",
    "PHQ01-Trouble Concentrating on Things",
    "PHQ01-Moving Slowly or Fidgety/Restless",
    "PHQ01-Thoughts You Be Better Off Dead",
    "PHQ01-Difficult to Work/Take Care Things",
];
const HOW_OFTEN: [&str; 4] = ["Not at all", "Several days", "More than half the days", "Nearly every day"];
const HOW_DIFFICULT: [&str; 4] =
    ["Not difficult at all", "Somewhat difficult", "Very difficult", "Extremely difficult"];

pub(crate) fn sample(subjects: &[Subject]) -> Sample {
    let mut rows = Vec::new();
    for subject in subjects {
        let mut random = Random::new(2_000 + subject.number);
        let first = rows.len();
        phq_9(subject, &mut random, &mut rows);
        if subject.number.is_multiple_of(10) {
            diary(subject, &mut random, &mut rows);
        }
        for (index, row) in rows[first..].iter_mut().enumerate() {
            row[3] = json!(index + 1);
        }
    }
    let mut sample = Sample { domain: "QS", label: "Questionnaires", columns: COLUMNS, rows };
    damages(&mut sample);
    sample
}

fn phq_9(subject: &Subject, random: &mut Random, rows: &mut Vec<Vec<Value>>) {
    let (visit, date) = ((1, "BASELINE"), subject.start.to_string());
    let mut total = 0;
    for (index, test) in ITEMS.iter().enumerate() {
        let code = format!("PHQ01{:02}", index + 1);
        let (words, answer) = match index {
            // Few subjects have thoughts of death.
            8 => (HOW_OFTEN, if random.percent(12) { random.within(1, subject.burden.max(1)) } else { 0 }),
            9 => (HOW_DIFFICULT, subject.burden),
            _ => (HOW_OFTEN, random.within(subject.burden / 2, subject.burden)),
        };
        total += if index < 9 { answer } else { 0 };
        let text_answer = words[usize::try_from(answer).unwrap_or_default()];
        // The difficulty is stored as text, as in real files.
        let (text, number) =
            if index < 9 { (answer.to_string(), json!(answer)) } else { (text_answer.to_owned(), Value::Null) };
        rows.push(row(subject, (&code, test, "PHQ-9"), (text_answer, &text, number), visit, &date));
    }
    let text = total.to_string();
    rows.push(row(subject, ("PHQ0111", "PHQ01-Total Score", "PHQ-9"), (&text, &text, json!(total)), visit, &date));
}

fn diary(subject: &Subject, random: &mut Random, rows: &mut Vec<Vec<Value>>) {
    let mut pain = subject.burden * 2;
    for day in 0..7 {
        pain = (pain + random.within(-2, 2)).clamp(0, 10);
        let name = format!("DAY {}", day + 1);
        let date = format!("{}T{:02}:{:02}", subject.day(day), random.within(18, 21), random.within(0, 59));
        let text = pain.to_string();
        let test = ("PAIN0101", "PAIN01-Pain Now", "PAIN DIARY");
        rows.push(row(subject, test, (&text, &text, json!(pain)), (100 + day, &name), &date));
    }
}

fn row(
    subject: &Subject,
    (code, test, category): (&str, &str, &str),
    (original, text, number): (&str, &str, Value),
    (visit_number, visit): (i64, &str),
    date: &str,
) -> Vec<Value> {
    vec![
        json!(STUDY),
        json!("QS"),
        json!(subject.id),
        json!(0),
        json!(code),
        json!(test),
        json!(category),
        json!(original),
        json!(text),
        number,
        json!(visit_number),
        json!(visit),
        json!(date),
    ]
}

/// Damages the file.
fn damages(sample: &mut Sample) {
    // A total that is one more than the sum of its items.
    let row = sample.find(&[("USUBJID", "SAMPLE-017"), ("QSTESTCD", "PHQ0111")], 0);
    let column = sample.column("QSSTRESN");
    let wrong = sample.rows[row][column].as_i64().unwrap_or_default() + 1;
    let text = json!(wrong.to_string());
    sample.damage(row, &[("QSORRES", text.clone()), ("QSSTRESC", text), ("QSSTRESN", json!(wrong))]);
}
