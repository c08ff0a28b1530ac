//! CDISC Dataset-JSON v1.1: the columns and the rows of one data set.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// A data set whose form is right; a row of it may still be wrong.
#[derive(Debug)]
pub struct Dataset {
    /// The names of the columns, each of them once.
    pub columns: Vec<String>,
    /// The rows in their order, each with one value for each column.
    pub rows: Vec<Result<Vec<Value>, RowFault>>,
}

/// Why something is no data set of this format. Tells no value of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatasetError(pub String);

/// What is wrong with a row as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowFault {
    /// It is something else.
    #[error("is no list")]
    NoList,
    /// Which value is of which column cannot be told.
    #[error("has {values} values for {columns} columns")]
    Length {
        /// How many it has.
        values: usize,
        /// How many there are.
        columns: usize,
    },
}

impl Dataset {
    /// The data set that a JSON document is.
    ///
    /// # Errors
    /// If it is none, or says of itself that a part of it is missing.
    pub fn of(json: Value) -> Result<Self, DatasetError> {
        let Value::Object(mut document) = json else { return Err(not("it is no JSON object")) };
        let columns = columns(&document)?;
        let Some(Value::Array(rows)) = document.remove("rows") else { return Err(not("it has no list `rows`")) };
        complete(&document, rows.len())?;
        let rows = rows.into_iter().map(|row| one(row, columns.len())).collect();
        Ok(Self { columns, rows })
    }
}

/// Whether an object says that it is a data set, of whatever version.
pub(crate) fn says_so(document: &Map<String, Value>) -> bool {
    document.contains_key("datasetJSONVersion")
}

/// The names of the columns of a data set by its metadata.
pub(crate) fn columns(document: &Map<String, Value>) -> Result<Vec<String>, DatasetError> {
    match document.get("datasetJSONVersion").and_then(Value::as_str) {
        Some(version) if version == "1.1" || version.starts_with("1.1.") => {}
        Some(version) => return Err(not(format!("its `datasetJSONVersion` is {version:?}"))),
        None => return Err(not("it has no `datasetJSONVersion`")),
    }
    let Some(Value::Array(columns)) = document.get("columns") else { return Err(not("it has no list `columns`")) };
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for (at, column) in columns.iter().enumerate() {
        let name = column.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| not(format!("column {} has no `name`", at + 1)))?;
        if !seen.insert(name) {
            return Err(not(format!("it has the column {name} twice")));
        }
        names.push(name.to_owned());
    }
    Ok(names)
}

/// That a data set has as many rows as it says, so that none was cut off on its way.
pub(crate) fn complete(document: &Map<String, Value>, rows: usize) -> Result<(), DatasetError> {
    match document.get("records").and_then(Value::as_u64) {
        Some(records) if records != rows as u64 => {
            Err(not(format!("it says that it has {records} records, and has {rows}")))
        }
        _ => Ok(()),
    }
}

/// One row with a value for each of `columns`.
pub(crate) fn one(row: Value, columns: usize) -> Result<Vec<Value>, RowFault> {
    match row {
        Value::Array(values) if values.len() == columns => Ok(values),
        Value::Array(values) => Err(RowFault::Length { values: values.len(), columns }),
        _ => Err(RowFault::NoList),
    }
}

fn not(what: impl Into<String>) -> DatasetError {
    DatasetError(what.into())
}
