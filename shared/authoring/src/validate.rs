//! Checking a file of case-report rows as the function `validate` does: `cargo run -- validate FORM FILE`.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use clinical::document::{DefinitionFault, NotFound, Texts};
use clinical::forms::definition::CheckSeverity;
use clinical::forms::{
    Batch, BatchError, Catalog, CheckContext, CheckReport, FindingSource, Form, NoRegister, Notation, Register,
    ReportOptions, Workers,
};
use clinical::ids::FormVersion;
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::progress::ProgressBar;
use crate::table::{aligned, listed};
use crate::{ReadError, read_bytes, read_text};

/// Characters of a value that the table shows.
const LONGEST_VALUE: usize = 30;

/// The form, the rows, and how the result is written.
#[derive(Debug)]
pub struct ValidateOptions {
    /// The id of a form that ships, or the path of a definition.
    pub form: String,
    /// The file of the rows.
    pub file: PathBuf,
    /// The version of a form that ships; `None`: the newest.
    pub version: Option<FormVersion>,
    /// Whether the result is the API's response instead of a table.
    pub json: bool,
    /// Whether findings show the values that they are about.
    pub values: bool,
    /// The language of messages, as a BCP 47 tag.
    pub language: String,
    /// Whether no progress is shown.
    pub quiet: bool,
}

/// The result of a validation.
#[derive(Debug)]
pub struct ValidationResult {
    /// The table or the JSON, ready to print.
    pub text: String,
    /// Whether any row is rejected.
    pub rejected: bool,
}

/// Why nothing was validated.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// The form's definition or the rows cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No form that ships has this id.
    #[error("no form {form} ships; name one of {}, or the path of a definition", known.join(", "))]
    UnknownForm {
        /// The id that was given.
        form: String,
        /// The forms that ship.
        known: Vec<String>,
    },
    /// The form does not ship in this version.
    #[error("the form does not ship in this version, but in {}", known.join(", "))]
    UnknownVersion {
        /// The versions that ship.
        known: Vec<String>,
    },
    /// The definition has faults.
    #[error("the form has faults ({}){}", .0.len(), listed(.0))]
    Definition(Vec<DefinitionFault>),
    /// The definition is of another version than the one that was given.
    #[error("{} is version {found} of the form; leave out --version, or give this one", path.display())]
    OtherVersion {
        /// The file of the definition.
        path: PathBuf,
        /// The definition's version.
        found: FormVersion,
    },
    /// The file holds no rows.
    #[error("{} is not a batch of rows", path.display())]
    NoBatch {
        /// The file.
        path: PathBuf,
        /// What keeps it from being one.
        source: BatchError,
    },
}

/// Validates a file.
///
/// # Errors
/// If the form or the file cannot be used.
pub fn validate(options: &ValidateOptions) -> Result<ValidationResult, ValidateError> {
    let own;
    let form = match shipped(options)? {
        Some(form) => form,
        None => {
            own = definition(options)?;
            &own
        }
    };
    let bytes = read_bytes(&options.file)?;
    let no_batch = |source| ValidateError::NoBatch { path: options.file.clone(), source };
    let batch = Batch::read(&bytes, Notation::Any).map_err(no_batch)?;
    let context = CheckContext {
        now: OffsetDateTime::now_utc().unix_timestamp(),
        sites: Register::Absent(NoRegister::CommandLine),
        subjects: Register::Absent(NoRegister::CommandLine),
    };
    let progress = ProgressBar::new("checked", batch.len(), options.quiet);
    let step = |rows| progress.steps(rows);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let report = form.check(&batch, &context, Workers::new(threads).reporting(&step));
    let report = report.unwrap_or_else(|stopped| unreachable!("nothing stops it: {stopped}"));
    drop(progress);
    let language = language(form, &options.language);
    let text = if options.json {
        let id = Uuid::new_v4().to_string();
        let wording = ReportOptions { batch: &id, language, values: options.values };
        let response = form.to_json(&report, wording, |_| true);
        let mut text = response.unwrap_or_else(|row| unreachable!("nothing stops it: {row}"));
        text.push('\n');
        text
    } else {
        table(form, &report, language, options.values)
    };
    Ok(ValidationResult { text, rejected: report.counts.rejected > 0 })
}

/// The form that ships under this id; `None` if `options.form` is the path of a definition.
fn shipped(options: &ValidateOptions) -> Result<Option<&'static Form>, ValidateError> {
    let unknown = || ValidateError::UnknownForm {
        form: options.form.clone(),
        known: Catalog::shipped()
            .iter()
            .map(|form| form.id().to_string())
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect(),
    };
    let is_path = options.form.contains(['/', '\\']) || options.form.ends_with(".json");
    if is_path {
        return Ok(None);
    }
    let id = options.form.parse().map_err(|_| unknown())?;
    let Some(version) = &options.version else {
        return Catalog::shipped().latest(&id).map(|form| Some(form.as_ref())).ok_or_else(unknown);
    };
    Catalog::shipped().find(&id, version).map(|form| Some(form.as_ref())).map_err(|error| match error {
        NotFound::Id => unknown(),
        NotFound::Version { known } => {
            ValidateError::UnknownVersion { known: known.iter().map(ToString::to_string).collect() }
        }
    })
}

/// The form of the definition in a file.
fn definition(options: &ValidateOptions) -> Result<Form, ValidateError> {
    let path = PathBuf::from(&options.form);
    let json = read_text(&path)?;
    let form = Form::parse_file(&options.form, &json).map_err(ValidateError::Definition)?;
    match &options.version {
        Some(version) if version != form.version() => {
            Err(ValidateError::OtherVersion { path, found: form.version().clone() })
        }
        _ => Ok(form),
    }
}

/// The form's language for a tag: the same one, otherwise one with the same primary subtag, otherwise its first.
fn language<'a>(form: &'a Form, wanted: &str) -> &'a str {
    let primary = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let offered: Vec<&str> = form.languages().collect();
    let same = offered.iter().find(|tag| tag.eq_ignore_ascii_case(wanted));
    let found = same.or_else(|| offered.iter().find(|tag| primary(tag) == primary(wanted)));
    found.or(offered.first()).copied().unwrap_or("en")
}

/// The findings and the checks that could not be evaluated, one a line, and the number of rows of each status.
fn table(form: &Form, report: &CheckReport<'_>, language: &str, values: bool) -> String {
    let mut lines = vec![["ROW", "KEY", "WHAT", "CHECK", "FIELD", "MESSAGE"].map(str::to_owned)];
    for (index, row) in report.rows.iter().enumerate() {
        let key = key(report.key(index));
        for finding in &row.findings {
            let mut message = form.message(finding.check, language);
            if !finding.others.is_empty() {
                let others: Vec<String> = finding.others.iter().map(ToString::to_string).collect();
                message.push_str(&format!(" [rows {}]", others.join(", ")));
            }
            if let Some(value) = finding.value.filter(|_| values) {
                message.push_str(&format!(" [{}]", shown(value)));
            }
            let what = match finding.severity {
                CheckSeverity::Hard => "reject",
                CheckSeverity::Soft => "warning",
            };
            let field = finding.field.map(|field| form.definition().fields[field].id.to_string());
            let check = form.names(finding.check).0;
            lines.push([index.to_string(), key.clone(), what.to_owned(), check, field.unwrap_or_default(), message]);
        }
        for (check, reason) in &row.not_evaluated {
            let check = form.names(FindingSource::Check(*check)).0;
            let reason = form.reason(*reason, language);
            let what = "not evaluated".to_owned();
            lines.push([index.to_string(), key.clone(), what, check, String::new(), reason]);
        }
    }
    let mut text = if lines.len() > 1 { aligned(&lines, &[0]) + "\n" } else { String::new() };
    for (check, _) in &report.not_run {
        let check = form.names(FindingSource::Check(*check)).0;
        text.push_str(&format!("not run: {check} (sites and subjects are not known here)\n"));
    }
    if !report.not_checked.is_empty() {
        text.push_str(&format!("columns not checked: {}\n", report.not_checked.join(", ")));
    }
    let counts = report.counts;
    text.push_str(&format!(
        "{} ({} {}): {} rows: {} clean, {} with warnings, {} rejected, {} not evaluated\n",
        title(&form.definition().title, language),
        form.id(),
        form.version(),
        counts.rows,
        counts.clean,
        counts.with_warnings,
        counts.rejected,
        counts.not_evaluated
    ));
    text
}

fn title<'a>(texts: &'a Texts, language: &str) -> &'a str {
    texts.get(language).or(texts.values().next()).map(String::as_str).unwrap_or_default()
}

fn key(values: &[Option<&Value>]) -> String {
    let values: Vec<String> = values.iter().flatten().map(|value| shown(value)).collect();
    values.join(" ")
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // A control character could overwrite the table.
    text.chars().take(LONGEST_VALUE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
