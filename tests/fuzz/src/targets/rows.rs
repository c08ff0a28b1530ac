//! Case-report rows.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use clinical::forms::{Batch, Catalog, CheckContext, Form, NoRegister, Notation, Register, ReportOptions, Workers};
use local::replay;
use time::macros::datetime;

pub(super) fn dataset(input: &[u8]) {
    check(input, Notation::Json);
    let now = datetime!(2026-11-23 08:00:00 UTC);
    if let Err(error) = replay::check(Path::new("qs.json"), input, now) {
        drop(error.to_string());
    }
}

pub(super) fn rows(input: &[u8]) {
    check(input, if input.len().is_multiple_of(2) { Notation::Lines } else { Notation::Any });
}

/// All forms that ship, loaded with the first example.
static FORMS: LazyLock<Vec<&Arc<Form>>> = LazyLock::new(|| Catalog::shipped().iter().collect());

/// Reads a batch, checks it against one of the forms, and writes the report.
fn check(input: &[u8], notation: Notation) {
    let batch = match Batch::read(input, notation) {
        Ok(batch) => batch,
        Err(error) => return drop(error.to_string()),
    };
    let context = CheckContext {
        now: 1_795_420_800,
        sites: Register::Known(["701".to_owned(), "S01".to_owned()].into()),
        subjects: Register::Absent(NoRegister::NoSubjects),
    };
    // All forms for each input would take most of the time.
    let form = FORMS[input.len() / 2 % FORMS.len()];
    form.subjects(&batch);
    let report = form.check(&batch, &context, Workers::new(1)).expect("nothing stops it");
    let options = ReportOptions { batch: "fuzz", language: "en", values: true };
    // As much as Lambda answers: the function stops there too.
    let mut size = 0;
    let written = form.to_json(&report, options, |piece| {
        size += piece.len();
        size < 6 * 1024 * 1024
    });
    drop(written);
}
