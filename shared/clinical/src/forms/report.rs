//! The result of checking a batch.

use serde_json::Value;

use super::definition::CheckSeverity;

/// The result of checking a batch, with its rows in the order of the batch.
#[derive(Debug)]
pub struct CheckReport<'a> {
    /// The number of rows by verdict.
    pub counts: RowCounts,
    /// The checks that were not run, by their index in the definition, and why.
    pub not_run: Vec<(usize, NoRegister)>,
    /// The columns of the batch that the form does not have, at most a hundred.
    pub not_checked: Vec<&'a str>,
    /// The values of the key fields, row by row.
    pub(super) keys: Vec<Option<&'a Value>>,
    /// The results of the rows.
    pub rows: Vec<RowReport<'a>>,
}

/// The number of rows by verdict. Each row has exactly one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// The total number of rows.
    pub rows: usize,
    /// No findings, and all checks were evaluated.
    pub clean: usize,
    /// Soft findings only.
    pub with_warnings: usize,
    /// At least one hard finding.
    pub rejected: usize,
    /// No findings, but at least one check could not be evaluated.
    pub not_evaluated: usize,
}

/// The verdict on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowVerdict {
    /// No findings, and all checks were evaluated.
    Clean,
    /// No findings, but at least one check could not be evaluated.
    NotEvaluated,
    /// Soft findings only.
    Warnings,
    /// At least one hard finding.
    Rejected,
}

/// The result of checking a row. Its `Debug` shows values.
#[derive(Debug, Clone, PartialEq)]
pub struct RowReport<'a> {
    /// The findings: first those of single fields, then those of checks, in the order of the definition.
    pub findings: Vec<RowFinding<'a>>,
    /// The checks that could not be evaluated, by their index in the definition, and why.
    pub not_evaluated: Vec<(usize, Reason)>,
}

/// A violation in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowFinding<'a> {
    /// The check, field or row rule that was violated.
    pub check: FindingSource,
    /// The severity.
    pub severity: CheckSeverity,
    /// The field, by its index in the definition.
    pub field: Option<usize>,
    /// The value of the field in the row.
    pub value: Option<&'a Value>,
    /// The indices of the other rows concerned, at most ten.
    pub others: Vec<usize>,
}

/// The source of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingSource {
    /// A check, by its index in the definition.
    Check(usize),
    /// The type, code list, length or pattern of a field, by its index in the definition.
    Field(usize, FieldFault),
    /// The row as a whole.
    Row(RowDefect),
}

/// A violation of a field's own constraints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldFault {
    /// A required value is missing.
    Required,
    /// The value has another type.
    Type,
    /// The value is not in the code list.
    Codes,
    /// The value is too long.
    Length,
    /// The value does not match the pattern.
    Pattern,
    /// The value is not a unit of the form.
    Unit,
    /// The date is before 1900.
    Early,
}

/// Why a row cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowDefect {
    /// The row is not an object.
    NoObject,
    /// The row is not JSON.
    NoJson,
    /// The row has a field twice.
    Twice,
    /// The row is not a list with one value per column.
    NoList,
}

/// Why a check could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A required field cannot be read.
    Unreadable(usize),
    /// A required field has no value.
    Missing(usize),
    /// The value cannot be converted from the unit in this field.
    NoConversion(usize),
    /// The computed number has too many digits.
    TooLarge,
    /// A required field of another row of the batch cannot be read or has no value.
    OtherRow {
        /// The index of the row.
        row: usize,
        /// The index of the field.
        field: usize,
    },
    /// The dates do not determine the order of the row and this other row.
    Order {
        /// The index of the row.
        row: usize,
    },
    /// The register of sites or subjects could not be read.
    Unreachable,
}

/// Why there is no register, so that checks against it are not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRegister {
    /// The study keeps no register of its subjects.
    NoSubjects,
    /// The command line has no register of sites or subjects.
    CommandLine,
}

impl<'a> CheckReport<'a> {
    /// The values of the form's key fields in a row, as received; `None` for a field without a value.
    pub fn key(&self, row: usize) -> &[Option<&'a Value>] {
        // A form has at least one key field; a report without rows has no keys.
        let fields = self.keys.len() / self.rows.len().max(1);
        &self.keys[row * fields..][..fields]
    }
}

impl RowReport<'_> {
    /// The verdict on the row.
    pub fn verdict(&self) -> RowVerdict {
        match self.findings.iter().map(|finding| finding.severity).max() {
            Some(CheckSeverity::Hard) => RowVerdict::Rejected,
            Some(CheckSeverity::Soft) => RowVerdict::Warnings,
            None if self.not_evaluated.is_empty() => RowVerdict::Clean,
            None => RowVerdict::NotEvaluated,
        }
    }
}

impl RowCounts {
    pub(super) fn of(rows: &[RowReport<'_>]) -> Self {
        let mut counts = Self { rows: rows.len(), ..Self::default() };
        for row in rows {
            *match row.verdict() {
                RowVerdict::Clean => &mut counts.clean,
                RowVerdict::NotEvaluated => &mut counts.not_evaluated,
                RowVerdict::Warnings => &mut counts.with_warnings,
                RowVerdict::Rejected => &mut counts.rejected,
            } += 1;
        }
        counts
    }
}
