//! The data model's guide: each attribute that it names is one that the code writes, and each item kind of the code is in it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeSet;

use house::{files, root, text};

/// The code of storage, in one text.
fn code() -> String {
    let files = files("shared/records/src", ".rs");
    assert!(files.len() > 30, "shared/records/src has {} files only", files.len());
    files.iter().map(|file| text(file)).collect()
}

/// Whether `code` has `name` as a whole word in a string.
fn is_written(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (code[..at].chars().next_back(), code[at + name.len()..].chars().next());
        // `"name"`, or `SET name = …` and `, name = …` of an update expression.
        before == Some('"') && after == Some('"')
            || !before.is_some_and(is_word) && code[at + name.len()..].starts_with(" = :")
    })
}

#[test]
fn each_attribute_of_the_data_model_is_one_that_the_code_writes() {
    let (guide, code) = (text(&root().join("shared/records/README.md")), code());
    let (_, attributes) = guide.split_once("## Attributes").unwrap();
    let (attributes, _) = attributes.split_once("## Counters").unwrap();
    let mut named = 0;
    for row in attributes.lines().filter_map(|line| line.strip_prefix("| `")) {
        for name in row.split(" | ").next().unwrap().split('`').step_by(2).filter(|name| !name.is_empty()) {
            named += 1;
            assert!(is_written(&code, name), "no code writes the attribute {name}");
        }
    }
    assert!(named > 70, "only {named} attributes were found");
}

#[test]
fn no_item_but_a_draft_has_the_attribute_that_the_tables_time_to_live_goes_by() {
    let writers: Vec<_> =
        files("shared/records/src", ".rs").into_iter().filter(|file| text(file).contains("\"expires_at\"")).collect();
    assert!(matches!(&writers[..], [only] if only.ends_with("items/draft.rs")), "{writers:?}");
}

#[test]
fn each_kind_of_item_is_in_the_data_model() {
    let (guide, code) = (text(&root().join("shared/records/README.md")), code());
    let constants = code.split("const KIND: &str = \"").skip(1);
    let literals =
        code.split("\"kind\"").skip(1).filter_map(|rest| rest.split_once("text(\"").filter(|(gap, _)| gap.len() < 20));
    let kinds: BTreeSet<&str> =
        constants.chain(literals.map(|(_, rest)| rest)).filter_map(|rest| rest.split('"').next()).collect();
    assert!(kinds.len() >= 9, "only {kinds:?} were found");
    for kind in kinds {
        assert!(guide.contains(&format!("\n### `{kind}`\n")), "the data model does not describe the kind {kind}");
        assert!(guide.contains(&format!("\n| `{kind}` | ")), "the table of kinds lacks {kind}");
    }
}
