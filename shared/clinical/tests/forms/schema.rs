//! The published JSON Schema describes the format that the loader accepts.

use std::fs;
use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::Value;

/// These have an invalid format, which the schema rejects.
const OF_THE_FORM: &[&str] = &[
    "change-of-less-than-nothing.json",
    "condition-of-nothing.json",
    "empty-message.json",
    "factor-beyond-bounds.json",
    "limit-beyond-bounds.json",
    "list-empty.json",
    "no-fields.json",
    "no-key.json",
    "no-language.json",
    "no-length.json",
    "no-repeat-allowed.json",
    "no-source.json",
    "nothing-required.json",
    "repeats-without-end.json",
    "text-without-end.json",
    "tolerance-below-zero.json",
    "too-many-decimals.json",
    "two-rules.json",
    "unit-times-zero.json",
    "unknown-attribute.json",
    "unknown-rule.json",
    "unknown-severity.json",
];

#[test]
fn every_shipped_form_is_valid_by_the_schema() {
    let (schemas, schema) = schema();
    for folder in files(&root().join("forms")).filter(|path| path.is_dir()) {
        for file in files(&folder) {
            let form = read(&file);
            let result = schemas.validate(&form, schema);
            assert!(result.is_ok(), "{}: {}", file.display(), result.unwrap_err());
        }
    }
}

#[test]
fn the_schema_rejects_exactly_the_forms_of_invalid_format() {
    let (schemas, schema) = schema();
    for file in files(&root().join("tests/broken-forms")).filter(|file| !file.ends_with("not-json.json")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let refused = schemas.validate(&read(&file), schema).is_err();
        assert_eq!(refused, OF_THE_FORM.contains(&name.as_str()), "{name}");
    }
}

fn schema() -> (Schemas, SchemaIndex) {
    let mut compiler = Compiler::new();
    compiler.add_resource("form.schema.json", read(&root().join("forms/form.schema.json"))).unwrap();
    let mut schemas = Schemas::new();
    let schema = compiler.compile("form.schema.json", &mut schemas).unwrap();
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
