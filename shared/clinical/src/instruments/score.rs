//! Evaluation of the operations of a validated definition.

use std::sync::Arc;

use num_traits::Zero;

use super::exact::{self, Exact};

/// The value of a step of a computation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Value {
    /// A number.
    Known(Exact),
    /// No number, because an answer is missing.
    Missing,
    /// No number, because the item is not asked.
    Hidden,
    /// No number, because one became too large. The bounds of definitions exclude this.
    Overflow,
}

/// A resolved operation, with items and scores by their index.
#[derive(Debug)]
pub(crate) enum Node {
    Item(usize),
    Score(usize),
    Constant(Exact),
    Sum(Vec<Node>, Needed),
    Mean(Vec<Node>, Needed),
    /// Slope and intercept.
    Linear(Box<Node>, Exact, Exact),
    Recode(Box<Node>, Vec<(Exact, Exact)>),
    /// From, to, value.
    Lookup(Box<Node>, Vec<(Exact, Exact, Exact)>),
    Combination(Vec<Node>, Arc<[LoadedRow]>),
    CountAtLeast(Vec<Node>, Exact),
    Min(Vec<Node>),
    Max(Vec<Node>),
    Difference(Box<(Node, Node)>),
    Round(Box<Node>, u32),
    AtLeast(Box<(Node, Node)>),
    AtMost(Box<(Node, Node)>),
    Equals(Box<(Node, Node)>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// A row of a table: a range for each part that the row depends on, and its value.
#[derive(Debug)]
pub(crate) struct LoadedRow {
    pub(crate) cells: Vec<Option<(Exact, Exact)>>,
    pub(crate) value: Exact,
}

impl LoadedRow {
    /// Whether each part that the row depends on is known and in its range. No two rows apply to one combination, so
    /// that a row that applies does so whatever the other parts are.
    pub(crate) fn applies(&self, parts: &[Option<Exact>]) -> bool {
        self.cells.iter().zip(parts).all(|(cell, part)| match (cell, part) {
            (None, _) => true,
            (Some((from, to)), Some(value)) => from <= value && value <= to,
            (Some(_), None) => false,
        })
    }
}

/// How many parts of a list must have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needed {
    All,
    AtLeast(usize),
}

/// How many parts of a score had a value, if a missing-data rule was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PartialAnswers {
    pub(crate) answered: usize,
    pub(crate) of: usize,
}

/// The values of the items and of the scores computed so far.
pub(crate) struct Values<'a> {
    pub(crate) items: &'a [Value],
    pub(crate) scores: &'a [Value],
}

impl Node {
    /// Evaluates the operation. Sets `partly` if a missing-data rule was applied.
    pub(crate) fn value(&self, values: &Values<'_>, partly: &mut Option<PartialAnswers>) -> Value {
        match self {
            Node::Item(index) => values.items[*index],
            Node::Score(index) => values.scores[*index],
            Node::Constant(number) => Value::Known(*number),
            Node::Sum(parts, needed) => match gather(parts, *needed, values, partly) {
                Gathered::All { sum, .. } => Value::Known(sum),
                Gathered::Some { sum, answered, of } => prorated(sum, answered, of),
                Gathered::None(value) => value,
            },
            Node::Mean(parts, needed) => match gather(parts, *needed, values, partly) {
                Gathered::All { sum, of: answered } | Gathered::Some { sum, answered, .. } => {
                    known(count(answered).and_then(|answered| exact::divide(sum, answered)))
                }
                Gathered::None(value) => value,
            },
            Node::Linear(of, slope, intercept) => of
                .value(values, partly)
                .map(|number| exact::multiply(number, *slope).and_then(|scaled| exact::add(scaled, *intercept))),
            Node::Recode(of, table) => {
                of.value(values, partly).map(|number| table.iter().find(|(from, _)| *from == number).map(|(_, to)| *to))
            }
            Node::Lookup(of, table) => of.value(values, partly).map(|number| {
                table.iter().find(|(from, to, _)| *from <= number && number <= *to).map(|(_, _, value)| *value)
            }),
            Node::Combination(parts, rows) => combined(parts, rows, values, partly),
            Node::CountAtLeast(parts, least) => fold(parts, values, partly, |so_far, part| {
                exact::add(so_far.unwrap_or_default(), truth(part >= *least))
            }),
            Node::Min(parts) => {
                fold(parts, values, partly, |so_far, part| Some(so_far.map_or(part, |least| least.min(part))))
            }
            Node::Max(parts) => {
                fold(parts, values, partly, |so_far, part| Some(so_far.map_or(part, |most| most.max(part))))
            }
            Node::Difference(pair) => match both(pair, values, partly) {
                Ok((a, b)) => known(exact::subtract(a, b)),
                Err(value) => value,
            },
            Node::Round(of, places) => of
                .value(values, partly)
                .map(|number| exact::round_half_up(number, *places).and_then(exact::from_decimal)),
            Node::AtLeast(pair) => compare(pair, values, partly, |a, b| a >= b),
            Node::AtMost(pair) => compare(pair, values, partly, |a, b| a <= b),
            Node::Equals(pair) => compare(pair, values, partly, |a, b| a == b),
            Node::All(parts) => logic(parts, values, partly, true, |so_far, part| so_far && part),
            Node::Any(parts) => logic(parts, values, partly, false, |so_far, part| so_far || part),
        }
    }
}

impl Value {
    fn map(self, apply: impl FnOnce(Exact) -> Option<Exact>) -> Value {
        match self {
            Value::Known(number) => known(apply(number)),
            other => other,
        }
    }

    /// Whether the value is a number other than zero.
    pub(crate) fn is_true(self) -> bool {
        matches!(self, Value::Known(number) if !number.is_zero())
    }
}

enum Gathered {
    All { sum: Exact, of: usize },
    Some { sum: Exact, answered: usize, of: usize },
    None(Value),
}

/// Adds the parts that have a value, if there are enough of them. Parts that are not asked are ignored.
fn gather(parts: &[Node], needed: Needed, values: &Values<'_>, partly: &mut Option<PartialAnswers>) -> Gathered {
    let mut sum = Exact::zero();
    let (mut answered, mut missing) = (0, 0);
    for part in parts {
        match part.value(values, partly) {
            Value::Known(number) => match exact::add(sum, number) {
                Some(more) => {
                    sum = more;
                    answered += 1;
                }
                None => return Gathered::None(Value::Overflow),
            },
            Value::Missing if needed == Needed::All => return Gathered::None(Value::Missing),
            Value::Missing => missing += 1,
            Value::Hidden => {}
            Value::Overflow => return Gathered::None(Value::Overflow),
        }
    }
    let of = answered + missing;
    match needed {
        _ if of == 0 => Gathered::None(Value::Hidden),
        _ if missing == 0 => Gathered::All { sum, of },
        Needed::AtLeast(least) if answered >= least && answered > 0 => {
            *partly = Some(PartialAnswers { answered, of });
            Gathered::Some { sum, answered, of }
        }
        _ => Gathered::None(Value::Missing),
    }
}

/// A sum with its missing parts imputed with the mean of the others.
fn prorated(sum: Exact, answered: usize, of: usize) -> Value {
    known(
        count(of)
            .zip(count(answered))
            .and_then(|(of, answered)| exact::multiply(sum, of).and_then(|total| exact::divide(total, answered))),
    )
}

/// The value of the row that applies. If none does, a part that a row depends on is missing or not asked.
fn combined(parts: &[Node], rows: &[LoadedRow], values: &Values<'_>, partly: &mut Option<PartialAnswers>) -> Value {
    let mut known = Vec::with_capacity(parts.len());
    let mut otherwise = Value::Hidden;
    for part in parts {
        known.push(match part.value(values, partly) {
            Value::Known(number) => Some(number),
            Value::Overflow => return Value::Overflow,
            Value::Missing => {
                otherwise = Value::Missing;
                None
            }
            Value::Hidden => None,
        });
    }
    rows.iter().find(|row| row.applies(&known)).map_or(otherwise, |row| Value::Known(row.value))
}

fn fold(
    parts: &[Node],
    values: &Values<'_>,
    partly: &mut Option<PartialAnswers>,
    step: impl Fn(Option<Exact>, Exact) -> Option<Exact>,
) -> Value {
    let mut so_far = None;
    for part in parts {
        match part.value(values, partly) {
            Value::Known(number) => match step(so_far, number) {
                Some(next) => so_far = Some(next),
                None => return Value::Overflow,
            },
            Value::Hidden => {}
            other => return other,
        }
    }
    so_far.map_or(Value::Hidden, Value::Known)
}

fn both(
    pair: &(Node, Node),
    values: &Values<'_>,
    partly: &mut Option<PartialAnswers>,
) -> Result<(Exact, Exact), Value> {
    match (pair.0.value(values, partly), pair.1.value(values, partly)) {
        (Value::Known(a), Value::Known(b)) => Ok((a, b)),
        (Value::Known(_), other) | (other, _) => Err(other),
    }
}

fn compare(
    pair: &(Node, Node),
    values: &Values<'_>,
    partly: &mut Option<PartialAnswers>,
    holds: impl Fn(Exact, Exact) -> bool,
) -> Value {
    match both(pair, values, partly) {
        Ok((a, b)) => Value::Known(truth(holds(a, b))),
        Err(Value::Hidden) => Value::Known(truth(false)),
        Err(other) => other,
    }
}

fn logic(
    parts: &[Node],
    values: &Values<'_>,
    partly: &mut Option<PartialAnswers>,
    start: bool,
    step: impl Fn(bool, bool) -> bool,
) -> Value {
    let mut so_far = start;
    for part in parts {
        match part.value(values, partly) {
            Value::Known(number) => so_far = step(so_far, !number.is_zero()),
            Value::Hidden => so_far = step(so_far, false),
            other => return other,
        }
    }
    Value::Known(truth(so_far))
}

fn truth(holds: bool) -> Exact {
    Exact::from_integer(i64::from(holds))
}

fn count(parts: usize) -> Option<Exact> {
    i64::try_from(parts).ok().map(Exact::from_integer)
}

fn known(number: Option<Exact>) -> Value {
    number.map_or(Value::Overflow, Value::Known)
}
