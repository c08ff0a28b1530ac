//! A value of a row, parsed by the type of its field.

use std::borrow::Cow;

use rust_decimal::Decimal;
use serde_json::Value;

use super::date::Moment;
use super::definition::FieldKind;
use super::program::{CheckProgram, LoadedField, LoadedUnit};
use super::report::FieldFault;
use crate::document::decimal;

/// The value of a field in a row.
#[derive(Debug, Clone)]
pub(super) struct Cell<'a> {
    /// The value as received, if there is one.
    pub(super) sent: Option<&'a Value>,
    pub(super) value: Content<'a>,
    /// The rank of the name that it was found under.
    rank: usize,
}

/// The parsed value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content<'a> {
    Nothing,
    Text(Cow<'a, str>),
    Number(Decimal),
    Date(Moment),
    Boolean(bool),
    /// The index of a unit of the form.
    Unit(usize),
    /// A value of another type than the field's.
    Unreadable,
}

impl<'a> Cell<'a> {
    pub(super) const NOTHING: Cell<'static> = Cell { sent: None, value: Content::Nothing, rank: usize::MAX };

    /// Sets the value that a row has under the name of this rank, unless a name of a better rank has one.
    pub(super) fn set(&mut self, sent: &'a Value, rank: usize) {
        if rank < self.rank && !is_blank(sent) {
            (self.sent, self.rank) = (Some(sent), rank);
        }
    }

    /// Parses the value and returns its violation of the field's constraints, if any.
    pub(super) fn read(&mut self, field: &LoadedField, units: &[LoadedUnit]) -> Option<FieldFault> {
        let Some(sent) = self.sent else { return field.required.then_some(FieldFault::Required) };
        let content = content(sent, field, units);
        let fault = match &content {
            None if field.kind == FieldKind::Unit && sent.is_string() => Some(FieldFault::Unit),
            None => Some(FieldFault::Type),
            Some(Content::Text(text)) if field.kind == FieldKind::Codelist => {
                (!field.codes.contains(text.as_ref())).then_some(FieldFault::Codes)
            }
            Some(Content::Text(text)) if text.len() > field.max_length && text.chars().count() > field.max_length => {
                Some(FieldFault::Length)
            }
            Some(Content::Text(text)) => {
                let fits = field.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text));
                (!fits).then_some(FieldFault::Pattern)
            }
            Some(Content::Date(date)) => date.is_before_1900().then_some(FieldFault::Early),
            Some(_) => None,
        };
        self.value = content.unwrap_or(Content::Unreadable);
        fault
    }

    pub(super) fn is_there(&self) -> bool {
        self.sent.is_some()
    }

    /// The text that conditions compare: a code, a text, or a unit's name.
    pub(super) fn text<'b>(&'b self, program: &'b CheckProgram) -> Option<&'b str> {
        match &self.value {
            Content::Text(text) => Some(text),
            Content::Unit(unit) => Some(&program.units[*unit].name),
            _ => None,
        }
    }

    /// Appends a unique representation of the value to `key`, so that two keys are equal if and only if their values
    /// are.
    pub(super) fn add_to(&self, key: &mut String) {
        use std::fmt::Write as _;

        // Writing to a string cannot fail. Texts are prefixed with their length, since they can contain any character.
        _ = match &self.value {
            Content::Nothing | Content::Unreadable => Ok(()),
            Content::Text(text) => write!(key, "{}:{text}", text.len()),
            Content::Number(number) => write!(key, "{}", number.normalize()),
            Content::Date(moment) => write!(key, "{}-{}", moment.first, moment.last),
            Content::Boolean(boolean) => write!(key, "{boolean}"),
            Content::Unit(unit) => write!(key, "{unit}"),
        };
        key.push('\u{1f}');
    }
}

fn is_blank(sent: &Value) -> bool {
    match sent {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        _ => false,
    }
}

fn content<'a>(sent: &'a Value, field: &LoadedField, units: &[LoadedUnit]) -> Option<Content<'a>> {
    let text = sent.as_str().map(str::trim);
    match field.kind {
        FieldKind::Text | FieldKind::Codelist => match sent {
            Value::String(text) => Some(Content::Text(text.trim().into())),
            // Spreadsheets and laboratory systems write numeric codes as numbers.
            Value::Number(number) => Some(Content::Text(decimal(number)?.normalize().to_string().into())),
            _ => None,
        },
        FieldKind::Integer => number(sent).filter(|number| number.is_integer()).map(Content::Number),
        FieldKind::Decimal => number(sent).map(Content::Number),
        FieldKind::Date => Moment::read(text?, false).map(Content::Date),
        FieldKind::Datetime => Moment::read(text?, true).map(Content::Date),
        FieldKind::Boolean => match (sent, text) {
            (Value::Bool(boolean), _) => Some(Content::Boolean(*boolean)),
            (_, Some("Y" | "true")) => Some(Content::Boolean(true)),
            (_, Some("N" | "false")) => Some(Content::Boolean(false)),
            _ => None,
        },
        FieldKind::Unit => {
            let text = text?;
            // Units are sorted by name.
            units.binary_search_by(|unit| unit.name.as_str().cmp(text)).ok().map(Content::Unit)
        }
    }
}

/// Parses a number from a number or a text, since Dataset-JSON and SDTM write decimals as text.
fn number(sent: &Value) -> Option<Decimal> {
    match sent {
        Value::Number(number) => decimal(number),
        Value::String(text) => {
            let text = text.trim();
            // `Decimal` also accepts underscores between digits.
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+'));
            plain.then(|| Decimal::from_str_exact(text).ok()).flatten()
        }
        _ => None,
    }
}
