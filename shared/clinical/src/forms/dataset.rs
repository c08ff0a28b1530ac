//! CDISC Dataset-JSON v1.1: the columns and the rows of one data set.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// A well-formed data set, of which single rows may be malformed.
#[derive(Debug)]
pub struct Dataset {
    /// The distinct names of the columns.
    pub columns: Vec<String>,
    /// The rows in order, each with one value per column.
    pub rows: Vec<Result<Vec<Value>, RowFault>>,
}

/// Why a document is not a valid data set. The message contains no values of rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatasetError(pub String);

/// Why a row is malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// The row is not a list.
    #[error("is not a list")]
    NoList,
    /// The number of values differs from the number of columns.
    #[error("has {values} values for {columns} columns")]
    Length {
        /// The number of values.
        values: usize,
        /// The number of columns.
        columns: usize,
    },
}

impl Dataset {
    /// Reads a data set from a JSON document.
    ///
    /// # Errors
    /// The document is not a data set, or has another number of rows than it declares.
    pub fn of(json: Value) -> Result<Self, DatasetError> {
        let Value::Object(mut document) = json else { return Err(invalid("it is not a JSON object")) };
        let columns = columns(&document)?;
        let Some(Value::Array(rows)) = document.remove("rows") else { return Err(invalid("it has no list `rows`")) };
        check_complete(&document, rows.len())?;
        let rows = rows.into_iter().map(|row| row_of(row, columns.len())).collect();
        Ok(Self { columns, rows })
    }
}

/// Whether an object declares itself as a data set, of any version.
pub(crate) fn is_declared(document: &Map<String, Value>) -> bool {
    document.contains_key("datasetJSONVersion")
}

/// The names of the columns, from the metadata of a data set.
pub(crate) fn columns(document: &Map<String, Value>) -> Result<Vec<String>, DatasetError> {
    match document.get("datasetJSONVersion").and_then(Value::as_str) {
        Some(version) if version == "1.1" || version.starts_with("1.1.") => {}
        Some(version) if is_version(version) => {
            return Err(invalid(format!("its `datasetJSONVersion` is {version:?}, not 1.1")));
        }
        // It may be anything that the file has.
        Some(_) => return Err(invalid("its `datasetJSONVersion` is not 1.1")),
        None => return Err(invalid("it has no `datasetJSONVersion`")),
    }
    let Some(Value::Array(columns)) = document.get("columns") else { return Err(invalid("it has no list `columns`")) };
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for (at, column) in columns.iter().enumerate() {
        let name = column.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| invalid(format!("column {} has no `name`", at + 1)))?;
        if !seen.insert(name) {
            return Err(invalid(format!("it has the column {name} twice")));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// Whether `text` has the form of a version, such as `1.0` and `1.0.12`.
fn is_version(text: &str) -> bool {
    let is_part = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    (2..=3).contains(&text.split('.').count()) && text.split('.').all(is_part)
}

/// Checks that a data set has the declared number of rows, so that a truncated one is detected.
pub(crate) fn check_complete(document: &Map<String, Value>, rows: usize) -> Result<(), DatasetError> {
    match document.get("records").and_then(Value::as_u64) {
        Some(records) if records != rows as u64 => {
            Err(invalid(format!("`records` is {records}, but it has {rows} rows")))
        }
        _ => Ok(()),
    }
}

/// Reads a row with one value per column.
pub(crate) fn row_of(row: Value, columns: usize) -> Result<Vec<Value>, RowFault> {
    match row {
        Value::Array(values) if values.len() == columns => Ok(values),
        Value::Array(values) => Err(RowFault::Length { values: values.len(), columns }),
        _ => Err(RowFault::NoList),
    }
}

fn invalid(what: impl Into<String>) -> DatasetError {
    DatasetError(what.into())
}
