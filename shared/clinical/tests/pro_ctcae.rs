//! The composite grades of the PRO-CTCAE equal the published table in all its 179 combinations.

#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use clinical::instruments::Catalog;
use serde_json::{Map, Value, json};

/// Basch E, Becker C, Rogak LJ, et al. Clin Trials 2021;18:104-114. Each text is a row of the table: the grades for 0
/// to 4 of the last item. The rows are those of 1 to 4 of the item before; a first item of 0 is grade 0 whatever the
/// others are.
const FREQUENCY: &str = "01123";
const SEVERITY: &str = "01233";
const INTERFERENCE: &str = "01122";
const FREQUENCY_AND_SEVERITY: [&str; 4] = ["11122", "11222", "11233", "11233"];
const FREQUENCY_AND_INTERFERENCE: [&str; 4] = ["11122", "11122", "11233", "11233"];
const SEVERITY_AND_INTERFERENCE: [&str; 4] = ["11122", "11223", "12233", "22233"];
/// The grades by frequency 1 to 4, then severity 0 to 4.
const ALL_THREE: [[&str; 5]; 4] = [
    ["01122", "11122", "12223", "22233", "22333"],
    ["01122", "11122", "22233", "22233", "22333"],
    ["11122", "11122", "22233", "22333", "22333"],
    ["11122", "11223", "22233", "22333", "22333"],
];

/// The symptoms by their attributes; the others are present or absent.
const ASKED: [(&str, &[u8]); 7] = [
    ("frequency", &[16, 67]),
    ("severity", &[1, 2, 4, 6, 7, 15, 21, 25, 26, 28, 30, 36, 45, 60, 61, 66, 68, 71, 72, 80]),
    ("interference", &[27, 59]),
    ("frequency-severity", &[9, 10, 11, 13, 14, 23, 74, 75, 77, 78]),
    ("frequency-interference", &[18, 62, 63, 65]),
    ("severity-interference", &[3, 8, 19, 20, 39, 40, 41, 44, 46, 47, 52, 53]),
    ("frequency-severity-interference", &[17, 22, 48, 49, 50, 51, 54, 55, 56]),
];

#[test]
fn every_symptom_has_the_published_grade_of_every_combination() {
    let pro_ctcae = Catalog::shipped().latest(&"pro-ctcae".parse().unwrap()).unwrap();
    let items = &pro_ctcae.definition().items;
    let (mut graded, mut combinations) = (0, 0);
    for (asked, symptoms) in ASKED {
        let published = published(asked);
        combinations += published.len();
        for symptom in symptoms {
            let of_it = |letter: &str| {
                let name = format!("PROCTCAE_{symptom}{letter}");
                items.iter().find(|item| item.published_name().as_str() == name).map(|item| item.id.to_string())
            };
            let ids: Vec<_> = ["A", "B", "C"].into_iter().filter_map(of_it).collect();
            for (codes, grade) in &published {
                assert_eq!(ids.len(), codes.len());
                let answers: Map<String, Value> =
                    ids.iter().zip(codes).map(|(id, code)| (id.clone(), json!(code))).collect();
                let outcome = pro_ctcae.assess(&pro_ctcae.check(&answers).unwrap()).unwrap();
                let id = format!("PROCTCAE_{symptom}_COMP");
                let found = outcome.scores.iter().find(|score| score.id.as_str() == id).unwrap();
                assert_eq!(found.value, (*grade).into(), "{id} {codes:?}");
            }
            graded += 1;
        }
    }
    // Including the rows with a first item of 0, which the table has once each.
    assert_eq!((graded, combinations), (59, 179 + 24 + 3 * 4));
    let grades = pro_ctcae.definition().scores.iter().filter(|score| score.id.as_str().ends_with("_COMP"));
    assert_eq!(grades.count(), graded);
}

#[test]
fn presence_items_accept_0_and_1_and_the_other_choices_of_the_form() {
    const PRESENT: [usize; 21] =
        [6, 17, 39, 44, 46, 47, 48, 49, 50, 52, 53, 60, 61, 94, 95, 103, 109, 110, 113, 118, 123];
    let pro_ctcae = Catalog::shipped().latest(&"pro-ctcae".parse().unwrap()).unwrap();
    for item in 1..=124_usize {
        let scale: &[i64] = if PRESENT.contains(&item) { &[0, 1] } else { &[0, 1, 2, 3, 4] };
        let beside: &[i64] = match item {
            // Burns from radiation, periods, and where an injection was given.
            51 | 94 | 95 | 123 => &[97],
            // Sexual function.
            106..=111 => &[98, 99],
            _ => &[],
        };
        let allowed: Vec<i64> = (-1..=100)
            .filter(|code| {
                let answers = json!({item.to_string(): code});
                pro_ctcae.check(answers.as_object().unwrap()).is_ok()
            })
            .collect();
        assert_eq!(allowed, [scale, beside].concat(), "item {item}");
        for code in beside {
            let answers = json!({item.to_string(): code});
            let answers = pro_ctcae.check(answers.as_object().unwrap()).unwrap();
            assert_eq!(answers.len(), 1, "it is recorded");
            let outcome = pro_ctcae.assess(&answers).unwrap();
            assert!(outcome.scores.is_empty() && outcome.not_scored.is_empty(), "and missing in scores");
        }
    }
}

/// The codes of each combination, with its grade.
fn published(asked: &str) -> Vec<(Vec<i64>, i64)> {
    let row = |before: &[i64], grades: &str| -> Vec<(Vec<i64>, i64)> {
        let last = (0..).zip(grades.bytes());
        last.map(|(last, grade)| ([before, &[last]].concat(), i64::from(grade - b'0'))).collect()
    };
    let two = |rows: [&str; 4]| -> Vec<(Vec<i64>, i64)> {
        let zero = row(&[0], "00000");
        zero.into_iter().chain((1..).zip(rows).flat_map(|(first, grades)| row(&[first], grades))).collect()
    };
    match asked {
        "frequency" => row(&[], FREQUENCY),
        "severity" => row(&[], SEVERITY),
        "interference" => row(&[], INTERFERENCE),
        "frequency-severity" => two(FREQUENCY_AND_SEVERITY),
        "frequency-interference" => two(FREQUENCY_AND_INTERFERENCE),
        "severity-interference" => two(SEVERITY_AND_INTERFERENCE),
        _ => {
            let zero = (0..5).flat_map(|severity| row(&[0, severity], "00000"));
            let others = (1..).zip(ALL_THREE).flat_map(|(frequency, rows)| {
                (0..).zip(rows).flat_map(move |(severity, grades)| row(&[frequency, severity], grades))
            });
            zero.chain(others).collect()
        }
    }
}
