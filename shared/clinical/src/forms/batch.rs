//! Rows as they are sent: a JSON array of objects, NDJSON, or CDISC Dataset-JSON v1.1 as one document or by line.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::dataset::{self, Dataset, DatasetError, RowFault};

/// As many rows as one batch may have.
pub const MOST_ROWS: usize = 50_000;

/// Rows in the order in which they came. Its `Debug` shows none of their values.
pub struct Batch {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Row>,
}

/// How a batch may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// One JSON document: an array of objects, or Dataset-JSON.
    Json,
    /// One JSON document a line: an object each, or Dataset-JSON by line.
    Lines,
    /// Whichever it is.
    Any,
}

/// Why something is no batch. Tells no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is no JSON.
    #[error("it is no JSON from line {line}, column {column} on")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// It is no text.
    #[error("it is not UTF-8")]
    Encoding,
    /// It is other JSON.
    #[error("it is neither a JSON array of rows nor CDISC Dataset-JSON")]
    Other,
    /// It has nothing to check.
    #[error("it has no rows")]
    Empty,
    /// It has too many rows.
    #[error("it has more than {MOST_ROWS} rows; send several smaller batches")]
    TooManyRows,
    /// It says that it is Dataset-JSON, and is not.
    #[error("it is no CDISC Dataset-JSON v1.1: {0}")]
    Dataset(#[from] DatasetError),
}

pub(super) enum Row {
    /// Values by column.
    Cells(Vec<(u32, Value)>),
    /// A value for each column.
    List(Vec<Value>),
    Broken(Broken),
}

/// What is wrong with a row as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    NoObject,
    NoJson,
    /// Of the column of this place it has two values.
    Twice(u32),
    Dataset(RowFault),
}

impl Batch {
    /// Reads a batch.
    ///
    /// A row that cannot be read is a row that cannot be read; the others are there.
    ///
    /// # Errors
    /// If it is no batch at all.
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
            // The first line of a data set written over several lines is no JSON by itself.
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

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it has none; a batch that was read has some.
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
        Value::Object(document) if dataset::says_so(&document) => Ok(Batch::of(Dataset::of(Value::Object(document))?)),
        _ => Err(BatchError::Other),
    }
}

fn lines(text: &str) -> Result<Batch, BatchError> {
    let mut lines = text.lines().filter(|line| !line.trim().is_empty()).peekable();
    let metadata = lines.peek().and_then(|line| serde_json::from_str::<Map<String, Value>>(line).ok());
    if let Some(metadata) = metadata.filter(dataset::says_so) {
        lines.next();
        let columns = dataset::columns(&metadata)?;
        let row = |line: &str| match serde_json::from_str(line) {
            Ok(row) => {
                dataset::one(row, columns.len()).map_or_else(|fault| Row::Broken(Broken::Dataset(fault)), Row::List)
            }
            Err(_) => Row::Broken(Broken::NoJson),
        };
        let rows: Vec<Row> = lines.take(MOST_ROWS + 1).map(row).collect();
        if rows.len() <= MOST_ROWS {
            dataset::complete(&metadata, rows.len())?;
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
    // Not one line is JSON: whatever it is, it is not rows.
    if !rows.is_empty() && broken == rows.len() {
        return Err(BatchError::Syntax { line: 1, column: 1 });
    }
    Ok(Batch { columns: columns.names, rows })
}

/// serde_json's own message may quote the text.
fn syntax(error: &serde_json::Error) -> BatchError {
    BatchError::Syntax { line: error.line(), column: error.column() }
}

/// The names of columns in the order in which they were first seen.
#[derive(Default)]
struct Columns {
    names: Vec<String>,
    places: HashMap<String, u32>,
    /// The row that is being read, from 1, and for each column the last one that has it.
    row: u32,
    last: Vec<u32>,
}

impl Columns {
    /// The place of a column of the row that is being read, and whether the row has it for the first time.
    fn place(&mut self, name: &str) -> (u32, bool) {
        let place = self.places.get(name).copied().unwrap_or_else(|| {
            // A batch has fewer characters.
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

/// One row: an object, or whatever else was sent for one.
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
        let mut cells: Vec<(u32, Value)> = Vec::with_capacity(self.0.names.len().min(64));
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

/// A column's name.
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
