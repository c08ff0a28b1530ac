//! The guides' claims about the code: each test that the security guide names as evidence exists.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeSet;

use house::{files, root, text};

const GUIDE: &str = "functions/SECURITY.md";

/// The names of all tests: functions that follow an attribute `#[test]` or `#[tokio::test]`.
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in files("", ".rs") {
        let mut is_test = false;
        for line in text(&file).lines().map(str::trim) {
            if let Some(name) = line.trim_start_matches("async ").strip_prefix("fn ")
                && std::mem::take(&mut is_test)
            {
                names.extend(name.split('(').next().map(str::to_owned));
            }
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        }
    }
    names
}

/// The cells of each row of the tables of `guide` whose first cell is `first`.
fn rows<'a>(guide: &'a str, first: &str) -> Vec<Vec<&'a str>> {
    let mut rows = Vec::new();
    let mut is_wanted = false;
    for line in guide.lines() {
        let cells = || line.trim_matches('|').split(" | ").map(str::trim).collect::<Vec<_>>();
        match line.strip_prefix("| ") {
            Some(_) if is_wanted => rows.push(cells()),
            Some(_) => is_wanted = cells()[0] == first,
            None if line.starts_with("|---") => {}
            None => is_wanted = false,
        }
    }
    rows
}

/// The texts in backquotes in `cell`.
fn quoted(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

#[test]
fn each_test_that_is_named_as_evidence_exists() {
    let (guide, tests) = (text(&root().join(GUIDE)), tests());
    assert!(tests.len() > 500, "only {} tests were found", tests.len());
    let rows = rows(&guide, "requirement");
    assert!(rows.len() > 20, "only {} requirements were found", rows.len());
    let mut named = 0;
    for row in rows {
        let [requirement, _, evidence] = row[..] else { panic!("not three cells: {row:?}") };
        for name in quoted(evidence) {
            named += 1;
            assert!(tests.contains(name), "{requirement}: there is no test {name}");
        }
    }
    assert!(named > 40, "only {named} tests are named");
}
