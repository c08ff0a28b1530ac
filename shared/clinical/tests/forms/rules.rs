//! Each rule finds its violations and nothing else, and reports rows that it cannot evaluate.

use serde_json::{Value, json};

use crate::{form, summary};

/// Checks the result of the rule for each row by itself.
#[track_caller]
fn each(rule: Value, rows: &[(Value, &str)]) {
    let form = form(rule, None);
    for (row, expected) in rows {
        assert_eq!(summary(&form, &json!([row])), [*expected], "{row}");
    }
}

#[test]
fn an_empty_required_field_is_found() {
    each(
        json!({"required": ["ID", "A"]}),
        &[
            (json!({"ID": "x", "A": 0}), ""),
            (json!({"ID": " ", "A": null}), "c ID, c A"),
            (json!({"A": ""}), "c ID, c A"),
            // An unreadable value is present, and a finding of its own.
            (json!({"ID": "x", "A": "much"}), "A.type A"),
        ],
    );
    each(
        json!({"requiredAny": ["A", "B"]}),
        &[(json!({"ID": "x", "B": 1}), ""), (json!({"ID": "x"}), "c A"), (json!({"A": "much"}), "A.type A")],
    );
}

#[test]
fn a_condition_selects_the_rows_of_a_check() {
    let skipped = json!({"in": {"field": "CODE", "in": ["B"]}});
    let both = json!({"all": [{"present": "A"}, {"not": skipped}]});
    let either = json!({"any": [{"absent": "A"}, skipped]});
    for (when, row, expected) in [
        (&skipped, json!({"CODE": "B", "A": 1}), "c A"),
        (&skipped, json!({"CODE": "A", "A": 1}), ""),
        (&skipped, json!({"A": 1}), ""),
        // A code that is not in the list can still be compared.
        (&skipped, json!({"CODE": "C", "A": 1}), "CODE.codes CODE"),
        (&skipped, json!({"CODE": true, "A": 1}), "CODE.type CODE | c field-unreadable"),
        (&both, json!({"CODE": "A", "A": 1}), "c A"),
        (&both, json!({"CODE": "B", "A": 1}), ""),
        // One false part determines the result, whatever the other is.
        (&both, json!({"CODE": true}), "CODE.type CODE"),
        (&both, json!({"CODE": true, "A": 1}), "CODE.type CODE | c field-unreadable"),
        (&either, json!({"CODE": "B", "A": 1}), "c A"),
        (&either, json!({"CODE": true, "A": 1}), "CODE.type CODE | c field-unreadable"),
    ] {
        let form = form(json!({"forbidden": ["A"]}), Some(when.clone()));
        assert_eq!(summary(&form, &json!([row])), [expected], "{when} {row}");
    }
}

#[test]
fn a_code_must_be_one_of_those_allowed_for_the_row() {
    each(
        json!({"oneOf": {"field": "CODE", "in": ["A"]}}),
        &[
            (json!({"CODE": "A"}), ""),
            (json!({"CODE": "B"}), "c CODE"),
            (json!({"ID": "x"}), ""),
            (json!({"CODE": []}), "CODE.type CODE | c field-unreadable"),
        ],
    );
    each(
        json!({"anyOf": {"fields": ["ID", "SITE"], "in": ["Y"]}}),
        &[
            (json!({"ID": "N", "SITE": "Y"}), ""),
            (json!({"ID": "N"}), "c ID"),
            (json!({"VISIT": 1}), "c ID"),
            (json!({"ID": "N", "SITE": {}}), "SITE.type SITE | c field-unreadable"),
        ],
    );
}

#[test]
fn a_range_is_checked_in_the_unit_of_the_row() {
    each(
        json!({"range": {"field": "WEIGHT", "unit": "kg", "min": 45.359237, "max": 90}}),
        &[
            (json!({"WEIGHT": 90, "UNIT": "kg"}), ""),
            (json!({"WEIGHT": "90.001", "UNIT": "kg"}), "c WEIGHT"),
            (json!({"WEIGHT": 100, "UNIT": "LB"}), ""),
            (json!({"WEIGHT": 99.99, "UNIT": "LB"}), "c WEIGHT"),
            (json!({"ID": "x"}), ""),
            (json!({"WEIGHT": 50}), "| c field-missing"),
            (json!({"WEIGHT": 50, "UNIT": "stone"}), "UNIT.unit UNIT | c field-unreadable"),
            (json!({"WEIGHT": 50, "UNIT": "C"}), "| c no-conversion"),
            (json!({"WEIGHT": "heavy", "UNIT": "kg"}), "WEIGHT.type WEIGHT | c field-unreadable"),
            (json!({"WEIGHT": "79228162514264337593543950335", "UNIT": "F"}), "| c no-conversion"),
        ],
    );
    each(
        json!({"range": {"field": "A", "min": -1}}),
        &[
            (json!({"A": -1}), ""),
            (json!({"A": -1.000_1}), "c A"),
            (json!({"A": "1e3"}), "A.type A | c field-unreadable"),
        ],
    );
}

#[test]
fn a_check_at_its_limits_is_accepted() {
    assert_eq!(summary(&form(json!({"range": {"field": "A", "min": 5, "max": 5}}), None), &json!([{"A": 5}])), [""]);
    let product = json!({"product": ["B", "B"]});
    let equals = form(json!({"equals": {"field": "A", "to": product, "decimals": 10}}), None);
    assert_eq!(summary(&equals, &json!([{"A": 4, "B": 2}])), [""]);
}

#[test]
fn an_impossible_value_is_not_also_unusual() {
    let form = clinical::forms::Catalog::shipped().find(&"vs".parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap();
    let row = |result: u32| json!([{"USUBJID": "P-1", "VSTESTCD": "SYSBP", "VSORRES": result, "VSORRESU": "mmHg", "VSDTC": "2012-11-23"}]);
    assert_eq!(summary(form, &row(120)), [""]);
    assert_eq!(summary(form, &row(190)), ["systolic-usual VSORRES"]);
    assert_eq!(summary(form, &row(720)), ["systolic-possible VSORRES"]);
}

#[test]
fn dates_must_be_in_order_and_not_in_the_future() {
    each(
        json!({"order": {"first": "D1", "then": "D2"}}),
        &[
            (json!({"D1": "2012-11-23", "D2": "2012-11-23"}), ""),
            (json!({"D1": "2012-11-23", "D2": "2012-11-22"}), "c D2"),
            (json!({"D1": "2012-11-23", "D2": "2012-11"}), ""),
            (json!({"D1": "2012-11-23", "D2": "2012-10"}), "c D2"),
            (json!({"D1": "2012-11-23"}), ""),
            (json!({"D1": "2012-11-31", "D2": "2012-11"}), "D1.type D1 | c field-unreadable"),
            (json!({"D1": "2012-11-31"}), "D1.type D1"),
            // The same second, and one after it.
            (json!({"D1": "2012-11-23T08:00:01", "D2": "2012-11-23T08:00:01"}), ""),
            (json!({"D1": "2012-11-23T08:00:02", "D2": "2012-11-23T08:00:01"}), "c D2"),
            // A local time may be up to 12 hours behind UTC.
            (json!({"D1": "2012-11-24T07:59Z", "D2": "2012-11-23T20:00"}), ""),
            (json!({"D1": "2012-11-24T08:01Z", "D2": "2012-11-23T20:00"}), "c D2"),
            (json!({"D1": "2012-11-23T08:00+1:00"}), "D1.type D1"),
            (json!({"D1": "2012-11-23T08:00+01:0"}), "D1.type D1"),
        ],
    );
    each(
        json!({"notFuture": "D1"}),
        &[
            (json!({"D1": "2026-11-23"}), ""),
            (json!({"D1": "2026"}), ""),
            (json!({"D1": "2026-11-25"}), "c D1"),
            (json!({"D1": "2026-11-23T13:00Z"}), "c D1"),
            (json!({"D1": 20_261_123}), "D1.type D1 | c field-unreadable"),
            (json!({"ID": "x"}), ""),
        ],
    );
}

#[test]
fn two_numbers_are_compared() {
    for (is, below, equal, above) in [
        ("below", true, false, false),
        ("at-most", true, true, false),
        ("equal", false, true, false),
        ("not-equal", true, false, true),
        ("at-least", false, true, true),
        ("above", false, false, true),
    ] {
        let expected = |holds: bool| if holds { "" } else { "c A" };
        each(
            json!({"compare": {"field": "A", "is": is, "than": "B"}}),
            &[
                (json!({"A": 1, "B": 2}), expected(below)),
                (json!({"A": "2.0", "B": 2}), expected(equal)),
                (json!({"A": 2.5, "B": 2}), expected(above)),
                (json!({"A": 2.5}), ""),
                (json!({"A": 2.5, "B": "x"}), "B.type B | c field-unreadable"),
            ],
        );
    }
}

#[test]
fn an_entered_number_must_equal_the_computed_one() {
    each(
        json!({"equals": {"field": "STD", "to": {"converted": ["WEIGHT", "STDU"]}, "tolerance": 0.01}}),
        &[
            (json!({"WEIGHT": 182, "UNIT": "LB", "STD": 82.56, "STDU": "kg"}), ""),
            (json!({"WEIGHT": 182, "UNIT": "LB", "STD": 82.57, "STDU": "kg"}), "c STD"),
            (json!({"WEIGHT": "98.6", "UNIT": "F", "STD": 37, "STDU": "C"}), ""),
            (json!({"WEIGHT": 37, "UNIT": "C", "STD": 98.6, "STDU": "F"}), ""),
            (json!({"WEIGHT": 37, "UNIT": "C", "STD": 98.6, "STDU": "kg"}), "| c no-conversion"),
            (json!({"WEIGHT": 37, "UNIT": "C", "STD": 98.6}), "| c field-missing"),
            (json!({"STD": 98.6, "STDU": "kg"}), "| c field-missing"),
            (json!({"WEIGHT": 37, "UNIT": "C"}), ""),
        ],
    );
    let of = |to: Value| json!({"equals": {"field": "N", "to": to, "decimals": 0}});
    each(
        of(json!({"sum": ["A", "B"]})),
        &[(json!({"N": 4, "A": 1.5, "B": 2}), ""), (json!({"N": 3, "A": 1.5, "B": 2}), "c N")],
    );
    each(
        of(json!({"difference": ["A", "B"]})),
        &[(json!({"N": -2, "A": -0.5, "B": 2}), ""), (json!({"N": -3, "A": -0.5, "B": 2}), "c N")],
    );
    each(
        of(json!({"product": ["A", "B"]})),
        &[(json!({"N": 3, "A": 1.5, "B": 2}), ""), (json!({"N": 3, "A": 1.5}), "| c field-missing")],
    );
    each(
        of(json!({"quotient": ["A", "B"]})),
        &[(json!({"N": 1, "A": 1, "B": 2}), ""), (json!({"N": 1, "A": 1, "B": 0}), "| c too-large")],
    );
    each(
        json!({"equals": {"field": "WEIGHT", "unit": "kg", "to": {"sum": ["A"]}, "tolerance": 1}}),
        &[
            (json!({"WEIGHT": 100, "UNIT": "LB", "A": 45}), ""),
            (json!({"WEIGHT": 100, "UNIT": "LB", "A": 47}), "c WEIGHT"),
            (json!({"WEIGHT": 100, "UNIT": "C", "A": 47}), "| c no-conversion"),
        ],
    );
    each(
        json!({"equals": {"field": "N", "to": {"years": ["D1", "D2"]}}}),
        &[
            (json!({"N": 62, "D1": "1950-11-23", "D2": "2012-11-23"}), ""),
            (json!({"N": 62, "D1": "1950-11-24", "D2": "2012-11-23"}), "c N"),
            (json!({"N": 61, "D1": "1950", "D2": "2012-11-23"}), ""),
            (json!({"N": 60, "D1": "1950", "D2": "2012-11-23"}), "c N"),
            (json!({"N": 0, "D1": "2013", "D2": "2012"}), "c N"),
        ],
    );
}

#[test]
fn rows_with_the_same_key_are_all_reported_with_each_other() {
    let form = form(json!({"unique": ["ID", "VISIT"]}), None);
    let rows = json!([
        {"ID": "P-1", "VISIT": 1}, {"ID": "P-1", "VISIT": 2}, {"ID": "P-1", "VISIT": "1.0"}, {"ID": "P-2", "VISIT": 1},
        {"ID": "P-2"}, {"VISIT": 1}, {"A": 1}, {"ID": "P-1", "VISIT": "one"}, {"ID": "P-2", "VISIT": ""},
    ]);
    assert_eq!(
        summary(&form, &rows),
        ["c -", "", "c -", "", "c -", "", "| c field-missing", "VISIT.type VISIT | c field-unreadable", "c -"]
    );
    let batch = clinical::forms::Batch::read(rows.to_string().as_bytes(), clinical::forms::Notation::Any);
    let answer = crate::answer(&form, &batch.unwrap(), &crate::context(), 1, false);
    assert_eq!(answer["rows"][0]["findings"][0]["otherRows"], json!([2]));
}

#[test]
fn the_findings_of_a_row_are_first_those_of_its_fields() {
    let form = form(json!({"unique": ["ID"]}), None);
    let row = json!({"ID": "P-1", "N": "?", "CODE": "C"});
    assert_eq!(summary(&form, &json!([row, row])), ["CODE.codes CODE, N.type N, c -"; 2]);
}

#[test]
fn an_impossible_value_hides_no_finding_of_another_kind() {
    let form = form(json!({"range": {"field": "A", "max": 5}}), None);
    assert_eq!(summary(&form, &json!([{"A": 7, "CODE": "C"}])), ["CODE.codes CODE, c A"]);
    let mut definition = serde_json::to_value(form.definition()).unwrap();
    let mut unusual = definition["checks"][0].clone();
    (unusual["id"], unusual["severity"]) = (json!("unusual"), json!("soft"));
    unusual["rule"] = json!({"range": {"field": "B", "max": 5}});
    definition["checks"].as_array_mut().unwrap().push(unusual);
    let both = clinical::forms::Form::parse(&definition.to_string()).unwrap();
    assert_eq!(summary(&both, &json!([{"A": 7, "B": 7}])), ["c A, unusual B"]);
}

#[test]
fn a_change_within_a_group_needs_each_value_that_makes_the_group() {
    let rule = json!({"change": {"field": "A", "same": ["ID", "CODE"], "by": "D1", "most": 2}});
    let row = |date: &str, value: i32| json!({"ID": "P-1", "D1": date, "A": value});
    let rows = json!([row("2012-11-01", 1), row("2012-11-02", 9)]);
    assert_eq!(summary(&form(rule, None), &rows), ["| c field-missing"; 2]);
}

#[test]
fn a_check_once_per_group_is_reported_at_the_first_row() {
    let mut definition = serde_json::to_value(form(json!({"unique": ["ID", "VISIT"]}), None).definition()).unwrap();
    definition["checks"][0]["severity"] = json!("soft");
    definition["checks"][0]["oncePerGroup"] = json!(true);
    let once = clinical::forms::Form::parse(&definition.to_string()).unwrap();
    let rows = json!([
        {"ID": "P-1", "VISIT": 1}, {"ID": "P-2", "VISIT": 1}, {"ID": "P-1", "VISIT": 1}, {"ID": "P-2", "VISIT": 1},
        {"ID": "P-1", "VISIT": 1},
    ]);
    assert_eq!(summary(&once, &rows), ["c -", "c -", "", "", ""]);
    let batch = clinical::forms::Batch::read(rows.to_string().as_bytes(), clinical::forms::Notation::Any);
    let answer = crate::answer(&once, &batch.unwrap(), &crate::context(), 1, false);
    assert_eq!(answer["rows"][0]["findings"][0]["otherRows"], json!([2, 4]));
}

#[test]
fn a_date_before_1900_is_found_and_still_compared() {
    each(
        json!({"order": {"first": "D1", "then": "D2"}}),
        &[
            (json!({"D1": "1900-01-01", "D2": "2012"}), ""),
            (json!({"D1": "1899-12-31", "D2": "2012"}), "D1.early D1"),
            (json!({"D1": "1900-01-01T00:00:00", "D2": "2012"}), ""),
            (json!({"D1": "1899-12-31T23:59:59", "D2": "2012"}), "D1.early D1"),
            (json!({"D1": "1900", "D2": "1899"}), "D2.early D2, c D2"),
            (json!({"D1": "0012-11-23T08:00"}), "D1.early D1"),
        ],
    );
}

#[test]
fn a_date_without_its_month_covers_every_possible_month() {
    each(
        json!({"order": {"first": "D1", "then": "D2"}}),
        &[
            (json!({"D1": "1950---03", "D2": "1950-01-03"}), ""),
            (json!({"D1": "1950---03", "D2": "1950-01-02"}), "c D2"),
            (json!({"D1": "1950-12-04", "D2": "1950---03"}), "c D2"),
            (json!({"D1": "1950---32", "D2": "1950"}), "D1.type D1 | c field-unreadable"),
        ],
    );
}

#[test]
fn different_keys_are_never_equal() {
    // A naive concatenation would make these equal.
    let form = form(json!({"unique": ["ID", "SITE"]}), None);
    let rows = json!([
        {"ID": "a\u{1f}b", "SITE": "c"}, {"ID": "a", "SITE": "b\u{1f}c"}, {"ID": "a", "SITE": "bc"}, {"ID": "ab", "SITE": "c"},
        {"ID": "1:a"}, {"ID": "a", "SITE": ""},
    ]);
    assert_eq!(summary(&form, &rows), ["", "", "", "", "", ""]);
}

#[test]
fn all_rows_of_too_many_repeats_are_reported() {
    let form = form(json!({"repeats": {"of": ["ID"], "most": 2}}), None);
    let rows = |count: usize| {
        json!(vec![json!({"ID": "P-1"}); count].into_iter().chain([json!({"ID": "P-2"})]).collect::<Vec<_>>())
    };
    assert_eq!(summary(&form, &rows(2)), ["", "", ""]);
    assert_eq!(summary(&form, &rows(3)), ["c -", "c -", "c -", ""]);
}

/// The rows of one subject: date, weight, unit, and the expected result.
#[track_caller]
fn course(rows: &[(&str, Value, &str, &str)]) {
    let rule =
        json!({"change": {"field": "WEIGHT", "unit": "kg", "same": ["ID", "CODE"], "by": "D1", "mostPercent": 5}});
    let form = form(rule, Some(json!({"in": {"field": "CODE", "in": ["A"]}})));
    let sent: Vec<Value> = rows
        .iter()
        .map(|(date, weight, unit, _)| json!({"ID": "P-1", "CODE": "A", "D1": date, "WEIGHT": weight, "UNIT": unit}))
        .collect();
    let expected: Vec<&str> = rows.iter().map(|(.., expected)| *expected).collect();
    assert_eq!(summary(&form, &json!(sent)), expected);
}

#[test]
fn a_change_is_measured_from_the_chronologically_preceding_row() {
    course(&[
        ("2012-11-01", json!(100), "kg", ""),
        ("2012-11-03", json!(100), "kg", ""),
        ("2012-11-02", json!(105), "kg", ""),
        ("2012-11-04", json!(94.9), "kg", "c WEIGHT"),
        ("2012-11-05", json!("209.2"), "LB", ""),
    ]);
    // Of several rows of one day the nearest value counts, and they are not compared with each other.
    course(&[
        ("2012-11-01", json!(100), "kg", ""),
        ("2012-11-01", json!(120), "kg", ""),
        ("2012-11-02", json!(118), "kg", ""),
        ("2012-11-03", json!(90), "kg", "c WEIGHT"),
    ]);
    // A row without a value is not compared.
    course(&[
        ("2012-11-01", json!(100), "kg", ""),
        ("2012-11-02", json!(null), "", ""),
        ("2012-11-03", json!(120), "kg", "c WEIGHT"),
    ]);
}

#[test]
fn a_change_from_a_row_that_cannot_be_read_is_not_evaluated() {
    // An unreadable value: the next row has nothing to compare with.
    course(&[
        ("2012-11-01", json!(100), "kg", ""),
        ("2012-11-02", json!("?"), "kg", "WEIGHT.type WEIGHT | c field-unreadable"),
        ("2012-11-03", json!(120), "kg", "| c other-row"),
        ("2012-11-04", json!(120), "kg", ""),
    ]);
    // An unreadable unit.
    course(&[
        ("2012-11-01", json!(100), "", "| c field-missing"),
        ("2012-11-02", json!(120), "kg", "| c other-row"),
        ("2012-11-03", json!(120), "kg", ""),
    ]);
    // An unreadable date, which may be before any other.
    course(&[
        ("2012-11-01", json!(100), "kg", "| c other-row"),
        ("2012-13-02", json!(100), "kg", "D1.type D1 | c field-unreadable"),
        ("2012-11-03", json!(120), "kg", "| c other-row"),
        ("", json!(100), "kg", "| c field-missing"),
    ]);
    // A partial date, so that the order is unknown.
    course(&[
        ("2012-10", json!(100), "kg", ""),
        ("2012-11-02", json!(120), "kg", "| c order-unclear"),
        ("2012-11", json!(100), "kg", "| c order-unclear"),
        ("2012-12-03", json!(100), "kg", "| c order-unclear"),
        ("2012-12-04", json!(120), "kg", "c WEIGHT"),
    ]);
}

#[test]
fn rows_of_other_subjects_and_tests_are_not_compared() {
    let rule = json!({"change": {"field": "A", "same": ["ID"], "by": "D1", "most": 2}});
    let form = form(rule, Some(json!({"in": {"field": "CODE", "in": ["A"]}})));
    let row = |id: &str, code: &str, date: &str, value: i32| json!({"ID": id, "CODE": code, "D1": date, "A": value});
    let rows = json!([
        row("P-1", "A", "2012-11-01", 10),
        row("P-2", "A", "2012-11-02", 20),
        row("P-1", "B", "2012-11-02", 30),
        row("P-1", "A", "2012-11-03", 12),
        row("P-1", "A", "2012-11-04", 15),
        json!({"CODE": "A", "D1": "2012", "A": 1}),
    ]);
    assert_eq!(summary(&form, &rows), ["", "", "", "", "c A", "| c field-missing"]);
}

#[test]
fn sites_and_subjects_are_checked_against_the_registers() {
    use clinical::forms::{Batch, CheckContext, NoRegister, Notation, Register};

    let rows = json!([{"ID": "P-1", "SITE": "S01"}, {"ID": "P-9", "SITE": "S03"}, {"ID": [], "SITE": 1}, {"VISIT": 1}]);
    let batch = Batch::read(rows.to_string().as_bytes(), Notation::Any).unwrap();
    let asked = |rows: &Value| {
        let batch = Batch::read(rows.to_string().as_bytes(), Notation::Any).unwrap();
        let subjects = form(json!({"knownSubject": "ID"}), None).subjects(&batch);
        subjects.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(asked(&rows), ["P-1", "P-9"]);
    assert_eq!(asked(&json!([{"ID": " P-2 ", "SITE": "P-3"}, {"ID": " "}])), ["P-2"]);
    assert!(form(json!({"knownSite": "SITE"}), None).subjects(&batch).is_empty());
    for (rule, known, third) in [
        (json!({"knownSite": "SITE"}), "c SITE", "ID.type ID, c SITE"),
        (json!({"knownSubject": "ID"}), "c ID", "ID.type ID | c field-unreadable"),
    ] {
        let form = form(rule, None);
        assert_eq!(summary(&form, &rows), ["", known, third, ""]);
        let nobody =
            |register: Register| CheckContext { sites: register.clone(), subjects: register, ..crate::context() };
        let unreachable = crate::findings_of(&form, &batch, &nobody(Register::Unreachable), 1);
        assert_eq!(unreachable[..2], ["| c register-unreachable", "| c register-unreachable"]);
        assert_eq!(unreachable[3], "");
        let answer = crate::answer(&form, &batch, &nobody(Register::Absent(NoRegister::NoSubjects)), 1, false);
        assert_eq!(answer["notRun"][0]["code"], "no-register");
        assert_eq!((answer["rows"][1].get("findings"), answer["rows"][1].get("notEvaluated")), (None, None));
    }
}

#[test]
fn a_value_is_parsed_by_the_type_of_its_field() {
    let form = form(json!({"forbidden": ["STDU"]}), None);
    for (row, expected) in [
        (json!({"ID": 12, "VISIT": "3", "A": "3.50", "N": 2.0, "FLAG": true, "UNIT": "kg"}), ""),
        (json!({"ID": true}), "ID.type ID"),
        (json!({"ID": "x".repeat(200)}), ""),
        (json!({"ID": "é".repeat(200)}), ""),
        (json!({"ID": "é".repeat(201)}), "ID.length ID"),
        (json!({"N": 2.5}), "N.type N"),
        (json!({"N": "1_000"}), "N.type N"),
        (json!({"A": "1,5"}), "A.type A"),
        (json!({"A": false}), "A.type A"),
        (json!({"A": 1e300}), "A.type A"),
        (json!({"FLAG": "N"}), ""),
        (json!({"FLAG": "Y"}), ""),
        (json!({"FLAG": "true"}), ""),
        (json!({"FLAG": "yes"}), "FLAG.type FLAG"),
        (json!({"UNIT": "KG"}), "UNIT.unit UNIT"),
        (json!({"UNIT": 1}), "UNIT.type UNIT"),
        (json!({"OTHER": {"nested": [1]}}), ""),
    ] {
        assert_eq!(summary(&form, &json!([row])), [expected], "{row}");
    }
}
