//! Every fault of a form's definition is reported with its JSON pointer and advice, and nothing else is.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clinical::forms::Form;

/// File in `tests/broken-forms`, code, pointer.
const BROKEN: &[(&str, &str, &str)] = &[
    ("not-json", "form", ""),
    ("unknown-attribute", "form", "/fields/0/lenght"),
    ("unknown-rule", "form", "/checks/2/rule"),
    ("two-rules", "form", "/checks/2/rule"),
    ("unknown-severity", "form", "/checks/0/severity"),
    ("no-source", "source.none", "/sources"),
    ("no-key", "key.none", "/key"),
    ("no-fields", "field.none", "/fields"),
    ("empty-message", "text.none", "/checks/0/message/en"),
    ("language-missing", "text.language", "/checks/1/message"),
    ("no-language", "text.language", "/title"),
    ("list-empty", "codes.none", "/codeLists/code/codes"),
    ("list-unused", "codes.unused", "/codeLists/spare"),
    ("code-twice", "codes.duplicate", "/codeLists/code/codes/2"),
    ("code-with-blanks", "codes.blank", "/codeLists/code/codes/2"),
    ("list-missing", "field.codes", "/fields/4/codes"),
    ("field-twice", "field.duplicate", "/fields/7/id"),
    ("name-of-another-field", "field.duplicate", "/fields/3/also/0"),
    ("attribute-of-another-type", "field.attribute", "/fields/1/pattern"),
    ("no-length", "field.length", "/fields/0/maxLength"),
    ("pattern-unreadable", "field.pattern", "/fields/0/pattern"),
    ("pattern-looks-ahead", "field.pattern", "/fields/0/pattern"),
    ("no-units", "field.units", "/fields/6/type"),
    ("unit-field-missing", "field.unknown", "/fields/5/unit"),
    ("unit-field-of-another-type", "field.type", "/fields/5/unit"),
    ("unit-without-base", "unit.base", "/units/g/to"),
    ("unit-of-a-converted-one", "unit.base", "/units/st/to"),
    ("unit-converted-to-nothing", "unit.base", "/units/g"),
    ("unit-times-zero", "unit.factor", "/units/g/multiply"),
    ("key-missing", "field.unknown", "/key/1"),
    ("key-twice", "field.repeated", "/key/1"),
    ("check-twice", "check.duplicate", "/checks/2/id"),
    ("check-of-unknown-field", "field.unknown", "/checks/2/rule/notFuture"),
    ("check-of-another-type", "field.type", "/checks/2/rule/notFuture"),
    ("condition-of-unknown-field", "field.unknown", "/checks/2/when/all/1/not/present"),
    ("condition-that-never-holds", "check.code", "/checks/2/when/in/in/0"),
    ("condition-of-a-number", "field.type", "/checks/2/when/in/field"),
    ("condition-of-nothing", "check.empty", "/checks/2/when/any"),
    ("unit-that-is-none", "check.code", "/checks/2/rule/oneOf/in/0"),
    ("value-that-cannot-be", "check.code", "/checks/2/rule/anyOf/in/1"),
    ("required-already", "check.redundant", "/checks/2/rule/required/1"),
    ("nothing-required", "check.empty", "/checks/2/rule/required"),
    ("range-upside-down", "check.range", "/checks/2/rule/range/max"),
    ("range-without-ends", "check.range", "/checks/2/rule/range"),
    ("range-without-unit", "check.unit", "/checks/2/rule/range"),
    ("range-in-a-unit-without-conversion", "check.unit", "/checks/2/rule/range/unit"),
    ("range-with-a-unit-of-nothing", "check.unit", "/checks/2/rule/range/unit"),
    ("converted-without-unit", "check.unit", "/checks/2/rule/equals/to/converted/0"),
    ("tolerance-below-zero", "check.limit", "/checks/2/rule/equals/tolerance"),
    ("too-many-decimals", "check.decimals", "/checks/2/rule/equals/decimals"),
    ("compared-with-itself", "check.same", "/checks/2/rule/order/then"),
    ("number-compared-with-itself", "check.same", "/checks/2/rule/compare/than"),
    ("no-repeat-allowed", "check.limit", "/checks/2/rule/repeats/most"),
    ("change-with-two-limits", "check.limit", "/checks/2/rule/change"),
    ("change-of-less-than-nothing", "check.limit", "/checks/2/rule/change"),
    ("change-by-no-date", "field.type", "/checks/2/rule/change/by"),
    ("hard-and-once-a-group", "check.once", "/checks/2/oncePerGroup"),
    ("once-a-group-of-one-row", "check.once", "/checks/2/oncePerGroup"),
    ("age-in-a-unit-without-conversion", "check.unit", "/checks/2/rule/equals/unit"),
    ("repeats-without-end", "bounds", "/checks/2/rule/repeats/most"),
    ("limit-beyond-bounds", "bounds", "/checks/0/rule/range/max"),
    ("factor-beyond-bounds", "bounds", "/units/LB/multiply"),
    ("text-without-end", "bounds", "/fields/0/maxLength"),
];

#[test]
fn each_broken_form_is_rejected_for_its_one_fault() {
    for (name, code, pointer) in BROKEN {
        let file = format!("{name}.json");
        let faults = Form::parse_file(&file, &read(&file)).expect_err(name);
        let found: Vec<_> = faults.iter().map(|fault| (fault.code, fault.pointer.as_str())).collect();
        assert_eq!(found, [(*code, *pointer)], "{name}: {faults:#?}");
        let shown = faults[0].to_string();
        assert!(shown.starts_with(&format!("{file}: /")) && !faults[0].advice.is_empty(), "{shown}");
    }
}

#[test]
fn every_broken_form_is_in_the_table() {
    let listed: BTreeSet<_> = BROKEN.iter().map(|(name, ..)| format!("{name}.json")).collect();
    let files: BTreeSet<_> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, listed);
}

#[test]
fn all_faults_are_returned_at_once() {
    let json = read("range-upside-down.json")
        .replace("\"DAY\", \"then\"", "\"DATE\", \"then\"")
        .replace("[\"A standard\"]", "[]");
    let faults = Form::parse(&json).expect_err("three faults");
    let codes: Vec<_> = faults.iter().map(|fault| fault.code).collect();
    assert_eq!(codes, ["source.none", "field.unknown", "check.range"]);
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken-forms")
}

fn read(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap()
}
