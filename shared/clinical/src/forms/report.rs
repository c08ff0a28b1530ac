//! What was found in a batch.

use serde_json::Value;

use super::definition::CheckSeverity;

/// What was found, row by row in the order of the batch.
#[derive(Debug)]
pub struct CheckReport<'a> {
    /// How many rows there are of each kind.
    pub counts: RowCounts,
    /// Checks that were not run at all, by their place in the definition.
    pub not_run: Vec<(usize, NoRegister)>,
    /// Columns of the batch that the form does not know, the first hundred.
    pub not_checked: Vec<&'a str>,
    /// For each row as many as the form's key has fields.
    pub(super) keys: Vec<Option<&'a Value>>,
    /// The rows.
    pub rows: Vec<RowReport<'a>>,
}

/// How many rows there are of each kind. Each row is of one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowCounts {
    /// All rows.
    pub rows: usize,
    /// Nothing was found, and every check was evaluated.
    pub clean: usize,
    /// Only soft findings.
    pub with_warnings: usize,
    /// At least one hard finding.
    pub rejected: usize,
    /// Nothing was found, but at least one check could not be evaluated.
    pub not_evaluated: usize,
}

/// What a row comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowVerdict {
    /// Nothing was found, and every check was evaluated.
    Clean,
    /// Nothing was found, but at least one check could not be evaluated.
    NotEvaluated,
    /// Only soft findings.
    Warnings,
    /// At least one hard finding.
    Rejected,
}

/// What was found in one row. Its `Debug` shows values.
#[derive(Debug, Clone, PartialEq)]
pub struct RowReport<'a> {
    /// What is wrong: of fields by themselves first, then by check, in the order of the definition.
    pub findings: Vec<RowFinding<'a>>,
    /// Checks that could not be evaluated, by their place in the definition, and why.
    pub not_evaluated: Vec<(usize, Reason)>,
}

/// Something wrong with a row.
#[derive(Debug, Clone, PartialEq)]
pub struct RowFinding<'a> {
    /// What found it.
    pub check: FindingSource,
    /// What it means.
    pub severity: CheckSeverity,
    /// At which field, by its place in the definition.
    pub field: Option<usize>,
    /// What the row has there.
    pub value: Option<&'a Value>,
    /// Other rows that it is about, by their index: the first ten.
    pub others: Vec<usize>,
}

/// What found something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingSource {
    /// A check of the definition, by its place.
    Check(usize),
    /// A field's own type, list, length or pattern, by the field's place.
    Field(usize, FieldFault),
    /// That a row is one.
    Row(RowDefect),
}

/// What is wrong with a field by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldFault {
    /// It is not there.
    Required,
    /// It is of another type.
    Type,
    /// It is none of the codes.
    Codes,
    /// It is too long.
    Length,
    /// It does not have the form.
    Pattern,
    /// It is no unit of the form.
    Unit,
    /// It is a date before 1900.
    Early,
}

/// What is wrong with a row as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowDefect {
    /// It is no object.
    NoObject,
    /// It is no JSON.
    NoJson,
    /// It has a field twice.
    Twice,
    /// It is no list of as many values as there are columns.
    NoList,
}

/// Why a check could not be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A field that it needs cannot be read.
    Unreadable(usize),
    /// A field that it needs has no value.
    Missing(usize),
    /// The value cannot be converted from the unit that this field names.
    NoConversion(usize),
    /// The number that it computes has too many digits.
    TooLarge,
    /// Of this other row of the batch a field that it needs cannot be read or has no value.
    OtherRow {
        /// The row's index.
        row: usize,
        /// The field.
        field: usize,
    },
    /// Which row came before cannot be told from the dates, because of this row.
    Order {
        /// The row's index.
        row: usize,
    },
    /// The register of sites or subjects could not be read.
    Unreachable,
}

/// Why a check was not run at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRegister {
    /// The study keeps no register of its subjects.
    NoSubjects,
    /// The command line knows no sites and no subjects.
    CommandLine,
}

impl<'a> CheckReport<'a> {
    /// A row's values in the form's key fields, as they were sent; nothing where it has none.
    pub fn key(&self, row: usize) -> &[Option<&'a Value>] {
        // A form has a key field at least; a report without rows has no keys.
        let fields = self.keys.len() / self.rows.len().max(1);
        &self.keys[row * fields..][..fields]
    }
}

impl RowReport<'_> {
    /// What the row comes to.
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
