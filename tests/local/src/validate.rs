//! `cargo run -- validate FORM FILE`: rows checked as the function `validate` does it, for a person.

use std::{collections::BTreeSet, fs, io, num::NonZero, path::PathBuf, thread};

use clinical::{
    definition::Texts,
    forms::{
        Context, Form, Register, Workers,
        answer::Wording,
        batch::{Batch, NoBatch, Notation},
        catalog::{self, NotFound},
        definition::CheckSeverity,
        report::{CheckOf, NotKept, Report},
    },
    ids::FormVersion,
    instrument::DefinitionFault,
};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::progress::Progress;

/// As much of a value as a table shows, in characters.
const LONGEST_VALUE: usize = 30;

/// What a person can choose.
#[derive(Debug)]
pub struct Options {
    /// A form that ships, or the path of a definition.
    pub form: String,
    /// The rows.
    pub file: PathBuf,
    /// The version of a form that ships; `None`: the newest.
    pub version: Option<FormVersion>,
    /// The API's answer instead of a table.
    pub json: bool,
    /// Whether values are shown.
    pub values: bool,
    /// The language of messages, as a BCP 47 tag.
    pub language: String,
    /// Whether no progress is shown.
    pub quiet: bool,
}

/// What is to be written, and whether any row is rejected.
#[derive(Debug)]
pub struct Told {
    /// A table or JSON.
    pub text: String,
    /// Whether any row is rejected.
    pub rejected: bool,
}

/// Why nothing was checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The form or the rows cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no such form.
    #[error("there is no form {named}; there are {}, or name the file of a definition", forms.join(", "))]
    NoForm {
        /// What was named.
        named: String,
        /// The forms that ship.
        forms: Vec<String>,
    },
    /// It is there, but not in this version.
    #[error("the form is not there in this version, but in {}", known.join(", "))]
    NoVersion {
        /// The versions that there are.
        known: Vec<String>,
    },
    /// The definition has faults.
    #[error("the form has faults ({}){}", .0.len(), .0.iter().map(|fault| format!("\n  {fault}")).collect::<String>())]
    Definition(Vec<DefinitionFault>),
    /// The file is of another version than was asked for.
    #[error("{} is version {found} of the form", path.display())]
    OtherVersion {
        /// The file of the definition.
        path: PathBuf,
        /// Its version.
        found: FormVersion,
    },
    /// There are no rows in the file.
    #[error("{} is no batch of rows", path.display())]
    NoBatch {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: NoBatch,
    },
}

/// Checks a file and says what is in it.
///
/// # Errors
/// If the form or the file cannot be used.
pub fn run(options: &Options) -> Result<Told, Error> {
    let own;
    let form = match shipped(options)? {
        Some(form) => form,
        None => {
            own = definition(options)?;
            &own
        }
    };
    let bytes = fs::read(&options.file).map_err(|source| Error::Read { path: options.file.clone(), source })?;
    let no_batch = |source| Error::NoBatch { path: options.file.clone(), source };
    let batch = Batch::read(&bytes, Notation::Any).map_err(no_batch)?;
    let context = Context {
        now: OffsetDateTime::now_utc().unix_timestamp(),
        sites: Register::NotKept(NotKept::CommandLine),
        subjects: Register::NotKept(NotKept::CommandLine),
    };
    let progress = Progress::new("checked", batch.len(), options.quiet);
    let step = |rows| progress.steps(rows);
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let report = form.check(&batch, &context, Workers::new(threads).telling(&step));
    let report = report.unwrap_or_else(|stopped| unreachable!("nobody stops it: {stopped}"));
    drop(progress);
    let language = language(form, &options.language);
    let text = if options.json {
        let id = Uuid::new_v4().to_string();
        let wording = Wording { batch: &id, language, values: options.values };
        let told = form.tell(&report, wording, |_| true);
        let mut text = told.unwrap_or_else(|row| unreachable!("nobody stops it: {row}"));
        text.push('\n');
        text
    } else {
        table(form, &report, language, options.values)
    };
    Ok(Told { text, rejected: report.counts.rejected > 0 })
}

/// The form that ships under the name; `None` if it is the path of a file.
fn shipped(options: &Options) -> Result<Option<&'static Form>, Error> {
    let no_form = || Error::NoForm {
        named: options.form.clone(),
        forms: catalog::all().map(|form| form.id().to_string()).collect::<BTreeSet<_>>().into_iter().collect(),
    };
    let is_path = options.form.contains(['/', '\\']) || options.form.ends_with(".json");
    if is_path {
        return Ok(None);
    }
    let id = options.form.parse().map_err(|_| no_form())?;
    let Some(version) = &options.version else { return catalog::latest(&id).map(Some).ok_or_else(no_form) };
    catalog::find(&id, version).map(Some).map_err(|error| match error {
        NotFound::Form => no_form(),
        NotFound::Version { known } => Error::NoVersion { known: known.iter().map(ToString::to_string).collect() },
    })
}

/// The form in a file.
fn definition(options: &Options) -> Result<Form, Error> {
    let path = PathBuf::from(&options.form);
    let json = fs::read_to_string(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
    let form = Form::parse_file(&options.form, &json).map_err(Error::Definition)?;
    match &options.version {
        Some(version) if version != form.version() => Err(Error::OtherVersion { path, found: form.version().clone() }),
        _ => Ok(form),
    }
}

/// The language of the form that a tag names, or a wider or narrower one; the form's first if there is none.
fn language<'a>(form: &'a Form, wanted: &str) -> &'a str {
    let primary = |tag: &str| tag.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let offered: Vec<&str> = form.languages().collect();
    let same = offered.iter().find(|tag| tag.eq_ignore_ascii_case(wanted));
    let found = same.or_else(|| offered.iter().find(|tag| primary(tag) == primary(wanted)));
    found.or(offered.first()).copied().unwrap_or("en")
}

/// All findings and all that could not be evaluated, one a line, and how many rows there are of each kind.
fn table(form: &Form, report: &Report<'_>, language: &str, values: bool) -> String {
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
            let check = form.names(CheckOf::Check(*check)).0;
            let reason = form.reason(*reason, language);
            let what = "not evaluated".to_owned();
            lines.push([index.to_string(), key.clone(), what, check, String::new(), reason]);
        }
    }
    let mut text = if lines.len() > 1 { aligned(&lines) + "\n" } else { String::new() };
    for (check, _) in &report.not_run {
        let check = form.names(CheckOf::Check(*check)).0;
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
    // A value must not write over the table.
    text.chars().take(LONGEST_VALUE).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The cells of each column under each other.
fn aligned(lines: &[[String; 6]]) -> String {
    let mut widths = [0; 6];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let text = lines.iter().map(|line| {
        let cells = line.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:>width$}"),
            _ => format!("{cell:<width$}"),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    });
    text.collect()
}
