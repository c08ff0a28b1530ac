//! Every fault of a definition is reported with its JSON pointer and advice, and nothing else is.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use clinical::instruments::Instrument;

/// File in `tests/broken`, code, pointer.
const BROKEN: &[(&str, &str, &str)] = &[
    ("not-json", "form", ""),
    ("unknown-field", "form", "/items/0/txt"),
    ("unknown-operation", "form", "/scores/0/value/formula"),
    ("two-operations", "form", "/scores/0/value"),
    ("no-source", "source.none", "/sources"),
    ("comparable-to-itself", "version.comparable", "/comparableTo"),
    ("no-items-text", "text.none", "/items/1/text"),
    ("empty-text", "text.none", "/items/1/text/en"),
    ("language-missing", "text.language", "/items/0/text"),
    ("text-without-licence", "text.licence", "/items/0/text"),
    ("item-twice", "item.duplicate", "/items/1/id"),
    ("code-twice", "codes.duplicate", "/codeLists/often/1/code"),
    ("code-list-missing", "item.codes", "/items/0/codes"),
    ("code-list-unused", "codes.unused", "/codeLists/spare"),
    ("code-counts-as-two-things", "codes.counts", "/codeLists/often/2"),
    ("name-of-another-item", "item.name", "/items/0/name"),
    ("attribute-of-another-type", "item.attribute", "/items/0/max"),
    ("number-without-range", "item.range", "/items/2"),
    ("decimals-out-of-range", "number.decimals", "/scores/1/decimals"),
    ("number-too-large", "number.limits", "/items/2/max"),
    ("score-twice", "score.duplicate", "/scores/1/id"),
    ("score-of-unknown-item", "operation.item", "/scores/0/value/sum/1"),
    ("score-of-text", "operation.type", "/scores/1/value"),
    ("score-of-unknown-score", "operation.score", "/scores/1/value/score"),
    ("score-in-circle", "score.cycle", "/scores/0/value"),
    ("item-counted-twice", "operation.repeated", "/scores/0/value/sum/1"),
    ("nothing-to-sum", "operation.empty", "/scores/1/value/sum"),
    ("line-through-one-point", "operation.linear", "/scores/1/value/linear/from"),
    ("recode-leaves-a-code", "operation.recode", "/scores/1/value/recode/to"),
    ("recode-of-a-code-that-is-not-there", "operation.recode", "/scores/1/value/recode/to/3/0"),
    ("lookup-with-a-hole", "operation.lookup", "/scores/1/value/lookup/table"),
    ("lookup-overlaps", "operation.lookup", "/scores/1/value/lookup/table/1"),
    ("table-of-a-prorated-sum", "operation.table", "/scores/1/value/lookup/of"),
    ("table-of-fractions", "operation.table", "/scores/1/value/lookup/of"),
    ("combination-in-no-row", "operation.combination", "/scores/1/value/combination/table"),
    ("combination-in-two-rows", "operation.combination", "/scores/1/value/combination/table"),
    ("table-row-never-applies", "operation.combination", "/scores/1/value/combination/table"),
    ("table-of-other-parts", "operation.combination", "/scores/1/value/combination/table"),
    ("table-missing", "operation.combination", "/scores/1/value/combination/table"),
    ("table-of-too-many-combinations", "operation.table", "/scores/1/value/max/0/combination/of"),
    ("table-unused", "table.unused", "/tables/grade"),
    ("table-cell-of-nothing", "table.cell", "/tables/grade/1/when/0"),
    ("table-cell-of-a-word", "form", "/tables/grade/1/when/0"),
    ("comparison-never-holds", "operation.never", "/scores/1/value/atLeast"),
    ("asked-by-a-later-item", "operation.item", "/items/0/enableWhen/atLeast/0"),
    ("needed-by-a-later-item", "operation.item", "/items/0/neededWhen/atLeast/0"),
    ("asked-by-a-score", "operation.score", "/items/0/enableWhen/atLeast/0/score"),
    ("range-too-wide", "score.range", "/scores/1/range"),
    ("bands-overlap", "band.overlap", "/scores/0/bands/1/from"),
    ("bands-leave-a-hole", "band.hole", "/scores/0/bands/1/from"),
    ("bands-end-early", "band.hole", "/scores/0/bands"),
    ("band-beyond-the-range", "band.range", "/scores/0/bands/1"),
    ("band-twice", "band.name", "/scores/0/bands/1/id"),
    ("missing-rule-without-effect", "missing.count", "/scores/0/value/sum"),
    ("missing-rule-gives-low-sums", "missing.prorate", "/scores/0/value/sum"),
    ("missing-rule-over-two-ranges", "missing.prorate", "/scores/0/value/sum"),
    ("missing-rule-of-no-list", "missing.list", "/scores/1/missing"),
    ("rule-twice", "rule.duplicate", "/rules/1/id"),
    ("rule-names-the-instrument", "rule.telling", "/rules/0/id"),
    ("rule-names-an-item", "rule.telling", "/rules/0/id"),
    ("rule-names-a-band", "rule.telling", "/rules/0/id"),
    ("rule-of-unknown-item", "rule.item", "/rules/0/when/item/of"),
    ("rule-of-unknown-score", "rule.score", "/rules/0/when/score/of"),
    ("rule-of-unknown-band", "rule.band", "/rules/0/when/band/in"),
    ("rule-never-fires", "rule.never", "/rules/0/when/item"),
    ("rule-always-fires", "rule.always", "/rules/0/when/score"),
    ("change-of-nothing", "rule.never", "/rules/0/when/change"),
    ("change-beyond-the-range", "rule.never", "/rules/0/when/change"),
    ("more-times-than-submissions", "rule.never", "/rules/0/when/consecutive"),
    ("quiet-for-millennia", "bounds", "/rules/0/quietHours"),
    ("answer-without-end", "bounds", "/items/3/maxLength"),
    ("name-too-long", "bounds", "/title/en"),
    ("too-many-sources", "bounds", "/sources"),
];

#[test]
fn each_broken_definition_is_rejected_for_its_one_fault() {
    for (name, code, pointer) in BROKEN {
        let file = format!("{name}.json");
        let faults = Instrument::parse_file(&file, &read(&file)).expect_err(name);
        let found: Vec<_> = faults.iter().map(|fault| (fault.code, fault.pointer.as_str())).collect();
        assert_eq!(found, [(*code, *pointer)], "{name}: {faults:#?}");
        let shown = faults[0].to_string();
        assert!(shown.starts_with(&format!("{file}: /")) && !faults[0].advice.is_empty(), "{shown}");
    }
}

#[test]
fn every_broken_definition_is_in_the_table() {
    let listed: BTreeSet<_> = BROKEN.iter().map(|(name, ..)| format!("{name}.json")).collect();
    let files: BTreeSet<_> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, listed);
}

#[test]
fn all_faults_are_returned_at_once() {
    let json = read("score-of-unknown-item.json").replace("\"threshold\"", "\"mood\"").replace("[\"A paper\"]", "[]");
    let faults = Instrument::parse(&json).expect_err("three faults");
    let codes: Vec<_> = faults.iter().map(|fault| fault.code).collect();
    assert_eq!(codes, ["source.none", "operation.item", "rule.telling"]);
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken")
}

fn read(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap()
}
