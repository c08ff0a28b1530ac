//! The published JSON Schema describes the format that the loader accepts.

#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot read")]

use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// These have an invalid format, which the schema rejects.
const OF_THE_FORM: &[&str] = &[
    "answer-without-end.json",
    "empty-text.json",
    "decimals-out-of-range.json",
    "name-too-long.json",
    "no-source.json",
    "nothing-to-sum.json",
    "number-too-large.json",
    "quiet-for-millennia.json",
    "too-many-sources.json",
    "table-cell-of-a-word.json",
    "two-operations.json",
    "unknown-field.json",
    "unknown-operation.json",
];

#[test]
fn every_shipped_definition_is_valid_by_the_schema() {
    let (schemas, schema) = schema();
    for folder in files(&root().join("instruments")).filter(|path| path.is_dir()) {
        for file in files(&folder).filter(|path| !path.to_string_lossy().ends_with(".cases.json")) {
            let definition = read(&file);
            let result = schemas.validate(&definition, schema);
            assert!(result.is_ok(), "{}: {}", file.display(), result.unwrap_err());
        }
    }
}

#[test]
fn the_schema_rejects_exactly_the_definitions_of_invalid_format() {
    let (schemas, schema) = schema();
    for file in files(&root().join("tests/broken")).filter(|file| !file.ends_with("not-json.json")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let refused = schemas.validate(&read(&file), schema).is_err();
        assert_eq!(refused, OF_THE_FORM.contains(&name.as_str()), "{name}");
    }
}

fn schema() -> (Schemas, SchemaIndex) {
    let mut compiler = Compiler::new();
    compiler.add_resource("instrument.schema.json", read(&root().join("instruments/instrument.schema.json"))).unwrap();
    let mut schemas = Schemas::new();
    let schema = compiler.compile("instrument.schema.json", &mut schemas).unwrap();
    (schemas, schema)
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
