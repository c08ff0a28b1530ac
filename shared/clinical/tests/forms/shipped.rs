//! The shipped forms: their checks on rows as sites send them.

use std::collections::BTreeSet;

use clinical::forms::{Catalog, Form};
use serde_json::{Value, json};

use crate::summary;

/// The SHA-256 of each definition, by `jq -cSj . FILE | sha256sum`.
const SHIPPED: &[(&str, &str, &str)] = &[
    ("ae", "1.0.0", "d9202d06555b047c3c7934e8255ecb08a4daa814170f0c59d6acaaec5a09248f"),
    ("ae", "1.1.0", "98b5f8dd9f1a8050235ec09125905209bd38abaaf14209a90961dbd56cc93611"),
    ("dm", "1.0.0", "6c27bb7573ce9fc3ada1a4b5a0098bff996872e322dd5e2f90e85e2433aa4b12"),
    ("dm", "1.1.0", "760bec2e38dad689e938f2acf8dce8ad937ab02796aecba6cbeba101599ed51d"),
    ("lb", "1.0.0", "ce605161f004159816f27a337d55e40e005ec92f0443141590db043e7d1d4d84"),
    ("vs", "1.0.0", "ae4b2a97351fd89f63ac6cff1d9e3d55087107dd8b450e1acbdbf02814c0c8f7"),
];

#[test]
fn every_shipped_form_keeps_its_hash() {
    let found: Vec<_> =
        Catalog::shipped().iter().map(|form| (form.id().as_str(), form.version().as_str(), form.hash())).collect();
    assert_eq!(found, SHIPPED, "to change a definition, add a version");
}

#[test]
fn every_text_has_english_and_chinese() {
    for form in Catalog::shipped().iter() {
        assert_eq!(form.languages().collect::<Vec<_>>(), ["en", "zh-Hans"]);
    }
}

fn shipped(id: &str) -> &'static Form {
    Catalog::shipped().latest(&id.parse().unwrap()).unwrap()
}

/// A clean row with changes, and the expected results.
#[track_caller]
fn each(id: &str, clean: &Value, cases: &[(Value, &str)]) {
    let form = shipped(id);
    assert_eq!(summary(form, &json!([clean])), [""]);
    for (changes, expected) in cases {
        let mut row = clean.clone();
        row.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert_eq!(summary(form, &json!([row])), [*expected], "{changes}");
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
            summary(shipped("vs"), &json!([row])).remove(0)
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
            (json!({"AESER": "Y", "AESCAN": "Y"}), ""),
            (json!({"AESER": "Y", "AESOD": "Y"}), ""),
            (json!({"AESCAN": "Y"}), "criterion-makes-serious AESER"),
            (json!({"AESOD": "Y"}), "criterion-makes-serious AESER"),
            (json!({"AESHOSP": "Y"}), "criterion-makes-serious AESER"),
            (json!({"AEOUT": "FATAL"}), "fatal-is-death AESDTH, fatal-is-serious AESER"),
            (json!({"AEOUT": "FATAL", "AESER": "Y", "AESHOSP": "Y"}), "fatal-is-death AESDTH"),
            (json!({"AEOUT": "FATAL", "AESER": "Y", "AESDTH": "Y"}), ""),
            (json!({"DTHDTC": "2012-11-23"}), "death-date-is-fatal AEOUT"),
            (json!({"DTHDTC": "2012-11-23", "AEOUT": ""}), "outcome-required AEOUT, death-date-is-fatal AEOUT"),
            (json!({"AEOUT": "FATAL", "AESER": "Y", "AESDTH": "N", "AESHOSP": "Y"}), "fatal-is-death AESDTH"),
            (json!({"AEOUT": "FATAL", "AESER": "Y", "AESDTH": "Y", "DTHDTC": "2012-10"}), "death-after-start DTHDTC"),
            (json!({"AESER": "Y", "AESDTH": "Y"}), "death-is-fatal AEOUT"),
            (json!({"AEOUT": "NOT RECOVERED/NOT RESOLVED"}), "open-when-not-recovered AEENDTC"),
            (json!({"AEENRTPT": "AFTER", "AEENTPT": "2012-11-20"}), ""),
            (json!({"AEENRTPT": "AFTER"}), "time-point-required AEENTPT"),
            (json!({"AEENRTPT": "DURING", "AEENTPT": "2012-11-20"}), "AEENRTPT.codes AEENRTPT"),
            (json!({"AEENRTPT": "ONGOING", "AEENTPT": "2012-11-20"}), "ongoing-at-time-point AEENDTC"),
            (json!({"AEENRTPT": "ONGOING", "AEENTPT": "WEEK 4", "AEENDTC": "", "AEOUT": "UNKNOWN"}), ""),
            (
                json!({"AEENRTPT": "ONGOING", "AEENTPT": "WEEK 4", "AEONGO": "N", "AEENDTC": "", "AEOUT": "UNKNOWN"}),
                "end-when-over AEENDTC, ongoing-both-ways AEONGO",
            ),
            (json!({"AEENRTPT": "BEFORE", "AEENTPT": "2012-11-20", "AEENDTC": ""}), ""),
            (
                json!({"AEENRTPT": "BEFORE", "AEENTPT": "2012-11-20", "AEENDTC": "", "AEONGO": "Y"}),
                "ended-both-ways AEONGO",
            ),
            (json!({"AESTDTC": "1812-11", "AEENDTC": "2012---23"}), "AESTDTC.early AESTDTC"),
            (json!({"AESTDTC": "2027"}), "start-not-future AESTDTC, end-after-start AEENDTC"),
            (json!({"AETERM": "", "AESER": null}), "AETERM.required AETERM, AESER.required AESER"),
        ],
    );
    let twice = json!([clean, clean]);
    assert_eq!(summary(shipped("ae"), &twice), ["one-row-an-event -", ""], "once for all rows of the event");
    let former = Catalog::shipped().find(&"ae".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    assert_eq!(summary(former, &twice), ["one-row-an-event -", "one-row-an-event -"]);
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
            (json!({"COUNTRY": "US"}), "COUNTRY.codes COUNTRY"),
            (json!({"COUNTRY": "GER"}), "COUNTRY.codes COUNTRY"),
            (json!({"COUNTRY": "ZZZ"}), "COUNTRY.codes COUNTRY"),
            (json!({"COUNTRY": "DEU"}), ""),
            (json!({"COUNTRY": "CHN"}), ""),
            (json!({"COUNTRY": "ZWE"}), ""),
            (json!({"AGE": 65, "AGEU": "MONTHS", "BRTHDTC": ""}), "age-usual AGE"),
            (json!({"AGE": 65, "AGEU": "MONTHS"}), "age-usual AGE, age-in-other-units-fits-consent AGE"),
            (json!({"AGE": 740, "AGEU": "MONTHS"}), ""),
            (json!({"AGE": 65, "AGEU": "MONTHS", "RFICDTC": ""}), "age-usual AGE, age-in-other-units-fits-start AGE"),
            (json!({"AGE": 1500, "AGEU": "MONTHS", "BRTHDTC": ""}), "age-possible AGE"),
            (
                json!({"AGE": 65, "AGEU": "YEAR"}),
                "AGEU.unit AGEU | age-possible field-unreadable, age-usual field-unreadable, \
                 age-fits-consent field-unreadable, age-in-other-units-fits-consent field-unreadable",
            ),
            (json!({"BRTHDTC": "1851"}), "BRTHDTC.early BRTHDTC, age-fits-consent AGE"),
            (json!({"BRTHDTC": "1950---03"}), ""),
            (json!({"RFSTDTC": "2012-11-19"}), "start-after-consent RFSTDTC"),
            (json!({"RFENDTC": "2012-11-29"}), "end-after-start RFENDTC"),
            (json!({"DTHFL": "Y"}), "death-date-required DTHDTC"),
            (json!({"DTHDTC": "2013"}), "death-flag-required DTHFL"),
            (json!({"DTHFL": "Y", "DTHDTC": "2012-11-19"}), "death-after-consent DTHDTC, death-after-start DTHDTC"),
            (json!({"DTHFL": "Y", "DTHDTC": "2012-11-29"}), "death-after-start DTHDTC"),
            (json!({"DTHFL": "Y", "DTHDTC": "2012-11-30"}), ""),
            (json!({"RFSTDTC": "2027-01-01", "RFENDTC": ""}), "start-not-future RFSTDTC"),
            (json!({"RFENDTC": "2027-01-01"}), "end-not-future RFENDTC"),
        ],
    );
    assert_eq!(summary(shipped("dm"), &json!([clean, clean])), ["one-row-a-subject -", "one-row-a-subject -"]);
}

#[test]
fn laboratory_results() {
    let clean = json!({
        "DOMAIN": "LB", "SITEID": "S01", "USUBJID": "P-1", "VISITNUM": 3, "LBDTC": "2012-11-23T08:15", "LBTESTCD": "K",
        "LBSPEC": "SERUM", "LBNAM": "CENTRAL LAB", "LBLOC": "CENTRAL", "LBREFID": "A-17", "LBORRES": "4.1",
        "LBORRESU": "mEq/L", "LBORNRLO": "3.5", "LBORNRHI": "5.1", "LBSTRESC": "4.1", "LBSTRESN": 4.1,
        "LBSTRESU": "mmol/L", "LBSTNRLO": 3.5, "LBSTNRHI": 5.1, "LBNRIND": "NORMAL",
    });
    each(
        "lb",
        &clean,
        &[
            (json!({"LBORRES": ""}), "result-required LBORRES"),
            (
                json!({"LBSTAT": "NOT DONE"}),
                "result-when-not-done LBORRES, result-when-not-done LBSTRESC, result-when-not-done LBSTRESN, \
                 result-when-not-done LBNRIND, reason-not-done LBREASND",
            ),
            (
                json!({
                    "LBSTAT": "NOT DONE", "LBREASND": "HEMOLYZED", "LBORRES": "", "LBSTRESC": "", "LBSTRESN": null,
                    "LBNRIND": "",
                }),
                "",
            ),
            (json!({"LBSTRESU": ""}), "unit-required LBSTRESU"),
            (json!({"LBORRESU": ""}), "original-unit-required LBORRESU"),
            (json!({"LBTESTCD": "PH", "LBSTRESU": "", "LBORRESU": ""}), ""),
            (json!({"LBTESTCD": "KALIUM"}), "LBTESTCD.codes LBTESTCD"),
            (json!({"LBSTRESC": ""}), "standard-text-required LBSTRESC"),
            (json!({"LBSTRESN": -4.1, "LBNRIND": "LOW"}), "result-not-negative LBSTRESN"),
            (
                json!({"LBSTRESN": "4,1"}),
                "LBSTRESN.type LBSTRESN | result-not-negative field-unreadable, \
                normal-not-below-range field-unreadable, normal-not-above-range field-unreadable, \
                potassium-grave field-unreadable",
            ),
            (json!({"LBDTC": "2027-01-01"}), "collection-not-future LBDTC"),
            (json!({"LBDTC": "1812-11-23"}), "LBDTC.early LBDTC"),
            (json!({"LBENDTC": "2027-01-01"}), "collection-end-not-future LBENDTC"),
            (json!({"LBENDTC": "2012-11-22"}), "collection-end-after-start LBENDTC"),
            // The range, and the position of the result in it.
            (
                json!({"LBSTNRLO": 5.1, "LBSTNRHI": 3.5}),
                "range-upside-down LBSTNRLO, normal-not-below-range LBSTRESN, \
                normal-not-above-range LBSTRESN",
            ),
            (json!({"LBSTNRLO": "", "LBSTNRHI": "", "LBORNRLO": "", "LBORNRHI": ""}), "range-required LBSTNRLO"),
            (json!({"LBNRIND": ""}), "indicator-required LBNRIND"),
            (json!({"LBNRIND": "RAISED"}), "LBNRIND.codes LBNRIND"),
            (json!({"LBNRIND": "LOW"}), "low-is-below-range LBSTRESN"),
            (json!({"LBNRIND": "HIGH"}), "high-is-above-range LBSTRESN"),
            (json!({"LBNRIND": "HIGH", "LBSTRESN": 5.1}), "high-is-above-range LBSTRESN"),
            (json!({"LBNRIND": "HIGH", "LBSTRESN": 5.11}), ""),
            (json!({"LBNRIND": "LOW", "LBSTRESN": 3.49}), ""),
            (json!({"LBSTRESN": 3.5}), ""),
            (json!({"LBSTRESN": 3.49}), "normal-not-below-range LBSTRESN"),
            (json!({"LBSTRESN": 5.11}), "normal-not-above-range LBSTRESN"),
            (json!({"LBNRIND": "LOW", "LBSTRESN": 6}), "low-and-above-range LBSTRESN, low-is-below-range LBSTRESN"),
            (json!({"LBNRIND": "HIGH", "LBSTRESN": 3}), "high-and-below-range LBSTRESN, high-is-above-range LBSTRESN"),
            (json!({"LBNRIND": "LOW LOW", "LBSTRESN": 2.4}), "potassium-grave LBSTRESN"),
            // The limits do not apply in other units.
            (json!({"LBNRIND": "HIGH", "LBSTRESN": 410, "LBSTRESU": "mg/dL"}), ""),
            // The laboratory.
            (json!({"LBNAM": "", "LBLOC": ""}), "laboratory-named LBNAM"),
            (json!({"LBLOC": "LOCAL", "LBNAM": ""}), "local-laboratory-named LBNAM"),
            (json!({"LBLOC": "LOCAL", "LBREFID": ""}), ""),
            (json!({"LBREFID": ""}), "central-specimen-named LBREFID"),
            // A textual result has neither number nor unit.
            (
                json!({
                    "LBTESTCD": "NITRITE", "LBSPEC": "URINE", "LBORRES": "NEGATIVE", "LBSTRESC": "NEGATIVE", "LBSTRESN": null,
                    "LBORRESU": "", "LBSTRESU": "", "LBSTNRLO": "", "LBSTNRHI": "", "LBORNRLO": "", "LBORNRHI": "",
                    "LBSTNRC": "NEGATIVE",
                }),
                "",
            ),
            (json!({"SITEID": "S03"}), "known-site SITEID"),
            (json!({"USUBJID": "P-7"}), "known-subject USUBJID"),
        ],
    );
    assert_eq!(summary(shipped("lb"), &json!([clean, clean, clean])), ["one-row-a-measurement -", "", ""]);
}

#[test]
fn a_laboratory_result_that_endangers_a_patient_is_a_soft_finding() {
    for (test, usual, grave, unit) in [
        ("K", "4.1", "7.1", "mmol/L"),
        ("K", "4.1", "2.4", "mEq/L"),
        ("NA", "140", "119", "mmol/L"),
        ("NA", "140", "161", "mmol/L"),
        ("CA", "2.4", "3.5", "mmol/L"),
        ("GLUC", "5", "1.6", "mmol/L"),
        ("HGB", "140", "79", "g/L"),
        ("PLAT", "200", "24", "10^9/L"),
        ("NEUT", "4", "0.49", "10^9/L"),
        ("WBC", "7", "0.9", "10^9/L"),
        ("WBC", "7", "101", "10^9/L"),
    ] {
        let row = |value: &str, specimen: &str| {
            let row = json!({
                "USUBJID": "P-1", "LBDTC": "2012-11-23", "LBTESTCD": test, "LBSPEC": specimen, "LBNAM": "LAB", "LBORRES": value,
                "LBORRESU": unit, "LBSTRESN": value, "LBSTRESU": unit, "LBSTNRC": "SEE REPORT",
            });
            summary(shipped("lb"), &json!([row])).remove(0)
        };
        assert_eq!(row(usual, "BLOOD"), "", "{test} {usual}");
        assert!(row(grave, "BLOOD").ends_with("-grave LBSTRESN"), "{test} {grave}: {}", row(grave, "BLOOD"));
        assert_eq!(row(grave, "URINE"), "", "{test} {grave}");
    }
}

#[test]
fn check_ids_do_not_contain_dots() {
    for form in Catalog::shipped().iter() {
        let ids: BTreeSet<&str> = form.definition().checks.iter().map(|check| check.id.as_str()).collect();
        // The ids of built-in checks of fields are `FIELD.kind`.
        assert!(
            ids.iter().all(|id| !id.contains('.') && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'))
        );
    }
}
