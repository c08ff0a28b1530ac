//! A data set in CDISC Dataset-JSON v1.1, one row a line, so that differences can be read.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// The study of all samples.
pub(crate) const STUDY: &str = "EPRO-SAMPLE";

/// A column: its name, its label, and its type in Dataset-JSON.
pub(crate) type Column = (&'static str, &'static str, &'static str);

/// A file of one domain.
pub struct Sample {
    pub(crate) domain: &'static str,
    pub(crate) label: &'static str,
    pub(crate) columns: &'static [Column],
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Sample {
    /// The name of the file.
    pub fn file(&self) -> String {
        format!("{}.json", self.domain.to_lowercase())
    }

    /// The content of the file.
    pub fn text(&self) -> String {
        let domain = self.domain;
        let columns: Vec<String> = self
            .columns
            .iter()
            .map(|(name, label, kind)| {
                let oid = format!("IT.{domain}.{name}");
                format!(r#"{{"itemOID":{},"name":"{name}","label":{},"dataType":"{kind}"}}"#, json!(oid), json!(label))
            })
            .collect();
        let mut text = format!(
            "{{\"datasetJSONCreationDateTime\":\"2025-12-01T00:00:00\",\"datasetJSONVersion\":\"1.1.0\",\
             \"originator\":\"tests/samples: made up\",\"studyOID\":\"{STUDY}\",\"itemGroupOID\":\"IG.{domain}\",\
             \"records\":{},\"name\":\"{domain}\",\"label\":{},\"columns\":[\n{}\n],\"rows\":[\n",
            self.rows.len(),
            json!(self.label),
            columns.join(",\n"),
        );
        for (index, row) in self.rows.iter().enumerate() {
            // Writing to a string cannot fail.
            _ = write!(text, "{}{}", if index > 0 { ",\n" } else { "" }, json!(row));
        }
        text.push_str("\n]}\n");
        text
    }

    /// The index of an existing column.
    pub(crate) fn column(&self, name: &str) -> usize {
        let place = self.columns.iter().position(|(column, ..)| *column == name);
        place.unwrap_or_else(|| unreachable!("{} has a column {name}", self.domain))
    }

    /// The `nth` row, from 0, with these values.
    pub(crate) fn find(&self, values: &[(&str, &str)], nth: usize) -> usize {
        let has = |row: &Vec<Value>| values.iter().all(|(name, value)| row[self.column(name)] == **value);
        let mut rows = self.rows.iter().enumerate().filter(|(_, row)| has(row)).map(|(at, _)| at);
        rows.nth(nth).unwrap_or_else(|| unreachable!("{} has a row of {values:?}", self.domain))
    }

    /// Replaces values of a row.
    pub(crate) fn damage(&mut self, row: usize, values: &[(&str, Value)]) {
        for (name, value) in values {
            let column = self.column(name);
            self.rows[row][column] = value.clone();
        }
    }
}

/// A number of thousandths as text, without trailing zeros.
pub(crate) fn decimal(thousandths: i64) -> String {
    let sign = if thousandths < 0 { "-" } else { "" };
    let (whole, part) = (thousandths.abs() / 1_000, thousandths.abs() % 1_000);
    if part == 0 {
        return format!("{sign}{whole}");
    }
    let part = format!("{part:03}");
    format!("{sign}{whole}.{}", part.trim_end_matches('0'))
}
