//! The samples of this repository: each planted error is found, and nothing else.

use std::collections::HashSet;
use std::path::Path;

use clinical::forms::{Batch, Catalog, CheckContext, Notation, Register};
use serde_json::Value;

use crate::{context, findings_of};

/// Checks the findings in the sample of a form's domain, by row, with the latest version of the form.
#[track_caller]
fn finds(form: &str, expected: &[(usize, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/samples/data/{form}.json"));
    let text = std::fs::read_to_string(path).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let rows = file["rows"].as_array().unwrap();
    let subjects: HashSet<String> = rows.iter().map(|row| row[2].as_str().unwrap().to_owned()).collect();
    let sites = Register::Known(["S01", "S02", "S03", "S04"].map(str::to_owned).into());
    let context = CheckContext { sites, subjects: Register::Known(subjects), ..context() };
    let batch = Batch::read(text.as_bytes(), Notation::Json).unwrap();
    let results = findings_of(Catalog::shipped().latest(&form.parse().unwrap()).unwrap(), &batch, &context, 2);
    let found: Vec<_> =
        results.iter().map(String::as_str).enumerate().filter(|(_, result)| !result.is_empty()).collect();
    assert_eq!(found, expected);
}

#[test]
fn demographics() {
    finds(
        "dm",
        &[
            (7, "one-row-a-subject -"),
            (16, "age-usual AGE, age-in-other-units-fits-consent AGE"),
            (33, "COUNTRY.codes COUNTRY"),
            (50, "BRTHDTC.early BRTHDTC, age-fits-consent AGE"),
            (89, "death-after-consent DTHDTC, death-after-start DTHDTC"),
            (120, "start-not-future RFSTDTC, end-after-start RFENDTC"),
            (179, "death-flag-required DTHFL"),
            (200, "one-row-a-subject -"),
        ],
    );
}

#[test]
fn vital_signs() {
    finds(
        "vs",
        &[
            (24, "VSDTC.type VSDTC | date-not-future field-unreadable"),
            (228, "VSDTC.early VSDTC"),
            (429, "systolic-possible VSORRES"),
            (
                722,
                "unit-required VSORRESU | diastolic-possible field-missing, diastolic-usual field-missing, \
                 standard-result field-missing",
            ),
            (1099, "weight-change VSORRES"),
            (1641, "result-when-not-done VSORRES, result-when-not-done VSSTRESN"),
            (1972, "temperature-possible VSORRES, standard-result VSSTRESN"),
            (2183, "one-row-a-measurement -"),
            (2200, "one-row-a-measurement -"),
        ],
    );
}

#[test]
fn adverse_events() {
    finds(
        "ae",
        &[
            (7, "end-after-start AEENDTC"),
            (16, "fatal-is-death AESDTH"),
            (24, "death-date-is-fatal AEOUT"),
            (33, "serious-names-a-criterion AESDTH"),
            (50, "ongoing-at-time-point AEENDTC"),
            (61, "AESTDTC.early AESTDTC"),
            // It occurs three times and is reported once.
            (82, "one-row-an-event -"),
        ],
    );
}

#[test]
fn laboratory_results() {
    finds(
        "lb",
        &[
            (53, "result-not-negative LBSTRESN"),
            (80, "high-is-above-range LBSTRESN"),
            (91, "normal-not-above-range LBSTRESN"),
            (164, "low-and-above-range LBSTRESN, low-is-below-range LBSTRESN"),
            (193, "range-upside-down LBSTNRLO, normal-not-below-range LBSTRESN, normal-not-above-range LBSTRESN"),
            (256, "potassium-grave LBSTRESN"),
            (322, "unit-required LBSTRESU"),
            (
                454,
                "result-when-not-done LBORRES, result-when-not-done LBSTRESC, result-when-not-done LBSTRESN, \
                 result-when-not-done LBNRIND",
            ),
            (587, "collection-not-future LBDTC"),
            (744, "laboratory-named LBNAM"),
            (833, "central-specimen-named LBREFID"),
            (981, "one-row-a-measurement -"),
        ],
    );
}
