//! The forms that ship: their checks on rows as a site would send them.

use std::collections::BTreeSet;

use clinical::forms::{Form, catalog};
use serde_json::{Value, json};

use crate::told;

/// The SHA-256 of each definition, by `jq -cSj . FILE | sha256sum`.
const SHIPPED: &[(&str, &str, &str)] = &[
    ("ae", "1.0.0", "d9202d06555b047c3c7934e8255ecb08a4daa814170f0c59d6acaaec5a09248f"),
    ("dm", "1.0.0", "6c27bb7573ce9fc3ada1a4b5a0098bff996872e322dd5e2f90e85e2433aa4b12"),
    ("vs", "1.0.0", "ae4b2a97351fd89f63ac6cff1d9e3d55087107dd8b450e1acbdbf02814c0c8f7"),
];

#[test]
fn every_shipped_form_has_the_hash_that_it_was_shipped_with() {
    let found: Vec<_> = catalog::all().map(|form| (form.id().as_str(), form.version().as_str(), form.hash())).collect();
    assert_eq!(found, SHIPPED, "to change a definition, add a version");
}

#[test]
fn every_text_is_there_in_english_and_chinese() {
    for form in catalog::all() {
        assert_eq!(form.languages().collect::<Vec<_>>(), ["en", "zh-Hans"]);
    }
}

fn shipped(id: &str) -> &'static Form {
    catalog::latest(&id.parse().unwrap()).unwrap()
}

/// A clean row with changes, and what is told of it.
#[track_caller]
fn each(id: &str, clean: &Value, cases: &[(Value, &str)]) {
    let form = shipped(id);
    assert_eq!(told(form, &json!([clean])), [""]);
    for (changes, expected) in cases {
        let mut row = clean.clone();
        row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert_eq!(told(form, &json!([row])), [*expected], "{changes}");
    }
}

#[test]
fn vital_signs_as_a_site_collects_them() {
    let clean = json!({
        "STUDYID": "DEMO", "SITEID": "S01", "SUBJID": "P-1", "VISIT": "WEEK 2", "VSDAT": "2012-11-23", "VSPERF": "Y",
        "VSTESTCD": "TEMP", "VSORRES": "36.9", "VSORRESU": "C",
    });
    each(
        "vs",
        &clean,
        &[
            (json!({"VSORRES": 98.4, "VSORRESU": "F"}), ""),
            (json!({"VSORRES": 98.4}), "temperature-possible VSORRES"),
            (json!({"VSORRES": 39.5}), "temperature-usual VSORRES"),
            (
                json!({"VSORRESU": "kg"}),
                "unit-temperature VSORRESU | temperature-possible no-conversion, temperature-usual no-conversion",
            ),
            (json!({"VSPERF": "N"}), "result-when-not-done VSORRES, reason-not-done VSREASND"),
            (json!({"VSPERF": "N", "VSORRES": "", "VSORRESU": "", "VSREASND": "REFUSED"}), ""),
            (json!({"VSDAT": "2012-11"}), ""),
            (json!({"SITEID": "S03"}), "known-site SITEID"),
            (json!({"SUBJID": "P-7"}), "known-subject USUBJID"),
            (json!({"DOMAIN": "AE"}), "DOMAIN.codes DOMAIN"),
        ],
    );
    for (test, usual, unusual, impossible, unit) in [
        ("SYSBP", "120", "181", "301", "mmHg"),
        ("SYSBP", "16", "11.9", "41", "kPa"),
        ("DIABP", "80", "39", "9", "mmHg"),
        ("MAP", "90", "131", "251", "mmHg"),
        ("PULSE", "72", "40", "14", "beats/min"),
        ("HR", "72", "131", "301", "beats/min"),
        ("RESP", "12", "25", "101", "breaths/min"),
        ("OXYSAT", "98", "91", "101", "%"),
        ("WEIGHT", "70", "201", "651", "kg"),
        ("WEIGHT", "70000", "20000", "100", "g"),
        ("HEIGHT", "1.75", "1.1", "2.8", "m"),
        ("BMI", "24", "41", "251", "kg/m2"),
    ] {
        let row = |value: &str| {
            let mut row = clean.clone();
            for (name, value) in [("VSTESTCD", test), ("VSORRES", value), ("VSORRESU", unit)] {
                row[name] = json!(value);
            }
            told(shipped("vs"), &json!([row])).remove(0)
        };
        assert_eq!(row(usual), "", "{test} {usual}");
        assert!(row(unusual).ends_with("-usual VSORRES"), "{test} {unusual}: {}", row(unusual));
        assert!(row(impossible).ends_with("-possible VSORRES"), "{test} {impossible}: {}", row(impossible));
    }
}

#[test]
fn adverse_events() {
    let clean = json!({
        "USUBJID": "P-1", "AETERM": "HEADACHE", "AESTDTC": "2012-11", "AEENDTC": "2012-11-23", "AESEV": "MILD", "AESER": "N",
        "AEREL": "NOT RELATED", "AEOUT": "RECOVERED/RESOLVED",
    });
    each(
        "ae",
        &clean,
        &[
            (json!({"AEENDTC": "2012-10-31"}), "end-after-start AEENDTC"),
            (json!({"AEENDTC": ""}), "end-when-over AEENDTC"),
            (json!({"AEONGO": "Y"}), "ongoing-without-end AEENDTC"),
            (json!({"AESEV": ""}), "severity-required AESEV"),
            (json!({"AESEV": "BAD"}), "AESEV.codes AESEV"),
            (json!({"AETOXGR": 1}), ""),
            (json!({"AETOXGR": "3"}), "grade-fits-severity-mild AETOXGR"),
            (json!({"AEREL": "MAYBE"}), "AEREL.codes AEREL"),
            (json!({"AEREL": "", "AEOUT": ""}), "causality-required AEREL, outcome-required AEOUT"),
            (json!({"AESER": "Y"}), "serious-names-a-criterion AESDTH"),
            (json!({"AESER": "Y", "AESHOSP": "Y"}), ""),
            (json!({"AESHOSP": "Y"}), "criterion-makes-serious AESER"),
            (json!({"AEOUT": "FATAL"}), "fatal-is-serious AESER"),
            (json!({"AEOUT": "FATAL", "AESER": "Y", "AESDTH": "N", "AESHOSP": "Y"}), "fatal-is-death AESDTH"),
            (json!({"AEOUT": "FATAL", "AESER": "Y", "AESDTH": "Y", "DTHDTC": "2012-10"}), "death-after-start DTHDTC"),
            (json!({"AESER": "Y", "AESDTH": "Y"}), "death-is-fatal AEOUT"),
            (json!({"AEOUT": "NOT RECOVERED/NOT RESOLVED"}), "open-when-not-recovered AEENDTC"),
            (json!({"AESTDTC": "2027"}), "start-not-future AESTDTC, end-after-start AEENDTC"),
            (json!({"AETERM": "", "AESER": null}), "AETERM.required AETERM, AESER.required AESER"),
        ],
    );
    let twice = json!([clean, clean]);
    assert_eq!(told(shipped("ae"), &twice), ["one-row-an-event -", "one-row-an-event -"]);
}

#[test]
fn demographics() {
    let clean = json!({
        "USUBJID": "P-1", "SITEID": "S01", "BRTHDTC": "1950", "AGE": 61, "AGEU": "YEARS", "SEX": "F", "RACE": "WHITE",
        "COUNTRY": "USA", "RFICDTC": "2012-11-20", "RFSTDTC": "2012-11-30", "RFENDTC": "2013-05-20",
    });
    each(
        "dm",
        &clean,
        &[
            (json!({"AGE": 60}), "age-fits-consent AGE"),
            (json!({"AGE": 62}), ""),
            (json!({"AGE": 60, "RFICDTC": ""}), "age-fits-start AGE"),
            (json!({"AGE": 17, "BRTHDTC": "1995-11-20"}), "age-usual AGE"),
            (json!({"AGE": 130, "BRTHDTC": ""}), "age-possible AGE"),
            (json!({"AGEU": ""}), "age-unit-required AGEU"),
            (json!({"AGE": "", "AGEU": "", "BRTHDTC": ""}), "birth-or-age BRTHDTC"),
            (json!({"SEX": "X"}), "SEX.codes SEX"),
            (json!({"RACE": "MARTIAN"}), "RACE.codes RACE"),
            (json!({"COUNTRY": "US"}), "COUNTRY.pattern COUNTRY"),
            (json!({"COUNTRY": "USA\nX"}), "COUNTRY.pattern COUNTRY"),
            (json!({"RFSTDTC": "2012-11-19"}), "start-after-consent RFSTDTC"),
            (json!({"RFENDTC": "2012-11-29"}), "end-after-start RFENDTC"),
            (json!({"DTHFL": "Y"}), "death-date-required DTHDTC"),
            (json!({"DTHDTC": "2013"}), "death-flag-required DTHFL"),
            (json!({"DTHFL": "Y", "DTHDTC": "2012-11-19"}), "death-after-consent DTHDTC"),
        ],
    );
    assert_eq!(told(shipped("dm"), &json!([clean, clean])), ["one-row-a-subject -", "one-row-a-subject -"]);
}

#[test]
fn ids_of_checks_are_one_kind_of_name() {
    for form in catalog::all() {
        let ids: BTreeSet<&str> = form.definition().checks.iter().map(|check| check.id.as_str()).collect();
        // A field's own checks are named `FIELD.kind`.
        assert!(
            ids.iter().all(|id| !id.contains('.') && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        );
    }
}
