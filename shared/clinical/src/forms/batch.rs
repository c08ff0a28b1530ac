//! Parsing of batches: a JSON array of objects, NDJSON, or CDISC Dataset-JSON v1.1 as one document or by line.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::dataset::{self, Dataset, DatasetError, RowFault};

/// The maximum number of rows of a batch.
pub const MOST_ROWS: usize = 50_000;

/// Rows in the order of the input. Its `Debug` shows no values.
pub struct Batch {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// The format of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// One JSON document: an array of objects, or Dataset-JSON.
    Json,
    /// One JSON document per line: an object each, or Dataset-JSON by line.
    Lines,
    /// Any of these, detected from the content.
    Any,
}

/// Why the input is not a batch. It contains no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The input is not JSON.
    #[error("it is not valid JSON at line {line}, column {column}")]
    Syntax {
        /// The line, counted from 1.
        line: usize,
        /// The column, counted from 1.
        column: usize,
    },
    /// The input is not UTF-8.
    #[error("it is not valid UTF-8")]
    Encoding,
    /// The input is JSON of another format.
    #[error("it is neither a JSON array of rows nor CDISC Dataset-JSON")]
    Other,
    /// The batch has no rows.
    #[error("it has no rows")]
    Empty,
    /// The batch has too many rows.
    #[error("it has more than {MOST_ROWS} rows; send several smaller batches")]
    TooManyRows,
    /// The input declares itself as Dataset-JSON and does not conform to it.
    #[error("it is not valid CDISC Dataset-JSON v1.1: {0}")]
    Dataset(#[from] DatasetError),
}

pub(super) enum Row {
    /// Values with the index of their column.
    Cells(Vec<(u32, Value)>),
    /// One value per column.
    List(Vec<Value>),
    Broken(Broken),
}

/// Why a row cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    NoObject,
    NoJson,
    /// The row has two values for the column of this index.
    Twice(u32),
    Dataset(RowFault),
}

impl Batch {
    /// Parses a batch.
    ///
    /// A row that cannot be read does not affect the others.
    ///
    /// # Errors
    /// The input is not a batch.
    pub fn read(bytes: &[u8], notation: Notation) -> Result<Self, BatchError> {
        // Some editors put a byte order mark before the text.
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| BatchError::Encoding)?;
        let first = text.trim_start().as_bytes().first();
        let batch = match (first, notation) {
            (None, _) => return Err(BatchError::Empty),
            (_, Notation::Lines) => lines(text)?,
            (Some(b'['), _) => array(text)?,
            (_, Notation::Json) => document(text)?,
            // The first line of a data set in several lines is not JSON by itself.
            (_, Notation::Any) => match text.trim().split_once('\n') {
                Some((line, _)) if serde_json::from_str::<IgnoredAny>(line).is_ok() => lines(text)?,
                _ => match document(text) {
                    Err(BatchError::Other) => lines(text)?,
                    read => read?,
                },
            },
        };
        match batch.rows.len() {
            0 => Err(BatchError::Empty),
            rows if rows > MOST_ROWS => Err(BatchError::TooManyRows),
            _ => Ok(batch),
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has no rows; a parsed batch always has some.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn of(dataset: Dataset) -> Self {
        let row =
            |row: Result<Vec<Value>, RowFault>| row.map_or_else(|fault| Row::Broken(Broken::Dataset(fault)), Row::List);
        Self { columns: dataset.columns, rows: dataset.rows.into_iter().map(row).collect() }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("columns", &self.columns).field("rows", &self.rows.len()).finish()
    }
}

fn array(text: &str) -> Result<Batch, BatchError> {
    let mut columns = Columns::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let rows = Rows(&mut columns).deserialize(&mut deserializer);
    let rows = rows.and_then(|rows| deserializer.end().map(|()| rows)).map_err(|error| syntax(&error))?;
    Ok(Batch { columns: columns.names, rows })
}

fn document(text: &str) -> Result<Batch, BatchError> {
    match serde_json::from_str(text).map_err(|error| syntax(&error))? {
        Value::Object(document) if dataset::is_declared(&document) => {
            Ok(Batch::of(Dataset::of(Value::Object(document))?))
        }
        _ => Err(BatchError::Other),
    }
}

fn lines(text: &str) -> Result<Batch, BatchError> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    let metadata = lines.peek().and_then(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    if let Some(metadata) = metadata.filter(dataset::is_declared) {
        lines.next();
        let columns = dataset::columns(&metadata)?;
        let row = |line: &str| match serde_json::from_str(line) {
            Ok(row) => {
                dataset::row_of(row, columns.len()).map_or_else(|fault| Row::Broken(Broken::Dataset(fault)), Row::List)
            }
            Err(_) => Row::Broken(Broken::NoJson),
        };
        let rows: Vec<Row> = lines.take(MOST_ROWS + 1).map(row).collect();
        if rows.len() <= MOST_ROWS {
            dataset::check_complete(&metadata, rows.len())?;
        }
        return Ok(Batch { columns, rows });
    }
    let mut columns = Columns::default();
    let mut broken = 0;
    let rows: Vec<Row> = lines
        .take(MOST_ROWS + 1)
        .map(|line| {
            let mut deserializer = serde_json::Deserializer::from_str(line);
            let row = OneRow(&mut columns).deserialize(&mut deserializer);
            row.and_then(|row| deserializer.end().map(|()| row)).unwrap_or_else(|_| {
                broken += 1;
                Row::Broken(Broken::NoJson)
            })
        })
        .collect();
    // No line is JSON, so that the input is not a batch.
    if !rows.is_empty() && broken == rows.len() {
        return Err(BatchError::Syntax { line: 1, column: 1 });
    }
    Ok(Batch { columns: columns.names, rows })
}

/// Only the position: the message of `serde_json` may quote the input.
fn syntax(error: &serde_json::Error) -> BatchError {
    BatchError::Syntax { line: error.line(), column: error.column() }
}

/// The names of columns, in the order of their first occurrence.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    places: HashMap<String, u32>,
    /// The current row, counted from 1, and for each column the last row that has it.
    row: u32,
    last: Vec<u32>,
    /// The number of cells of the row before.
    cells: usize,
}

impl Columns {
    /// The index of a column of the current row, and whether this is its first value in the row.
    fn place(&mut self, name: &str) -> (u32, bool) {
        let place = self.places.get(name).copied().unwrap_or_else(|| {
            // The size of a batch limits the number of columns.
            let place = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
            self.names.push(name.to_owned());
            self.last.push(0);
            self.places.insert(name.to_owned(), place);
            place
        });
        let last = std::mem::replace(&mut self.last[place as usize], self.row);
        (place, last != self.row)
    }
}

/// A list of rows.
struct Rows<'a>(&'a mut Columns);

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = Vec<Row>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Row>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Vec<Row>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<Row>, A::Error> {
        let mut rows = Vec::new();
        while rows.len() <= MOST_ROWS
            && let Some(row) = list.next_element_seed(OneRow(self.0))?
        {
            rows.push(row);
        }
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(rows)
    }
}

/// A row: an object, or any other value in its place.
struct OneRow<'a>(&'a mut Columns);

impl<'de> DeserializeSeed<'de> for OneRow<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for OneRow<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Row, A::Error> {
        // As many as the row before had: most have the same, and a row of none pays for the room of no other.
        let mut cells: Vec<(u32, Value)> = Vec::with_capacity(self.0.cells);
        let mut twice = None;
        self.0.row += 1;
        while let Some((column, is_first)) = members.next_key_seed(Name(self.0))? {
            if is_first {
                cells.push((column, members.next_value()?));
            } else {
                twice = Some(column);
                members.next_value::<IgnoredAny>()?;
            }
        }
        self.0.cells = cells.len();
        Ok(twice.map_or(Row::Cells(cells), |column| Row::Broken(Broken::Twice(column))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Row, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Row::Broken(Broken::NoObject))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Row, E> {
        Ok(Row::Broken(Broken::NoObject))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Row, E> {
        Ok(Row::Broken(Broken::NoObject))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Row, E> {
        Ok(Row::Broken(Broken::NoObject))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Row, E> {
        Ok(Row::Broken(Broken::NoObject))
    }

    fn visit_str<E>(self, _: &str) -> Result<Row, E> {
        Ok(Row::Broken(Broken::NoObject))
    }

    fn visit_unit<E>(self) -> Result<Row, E> {
        Ok(Row::Broken(Broken::NoObject))
    }
}

/// The name of a column.
struct Name<'a>(&'a mut Columns);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = (u32, bool);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(u32, bool), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = (u32, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<(u32, bool), E> {
        Ok(self.0.place(name))
    }
}
