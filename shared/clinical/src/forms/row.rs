//! Checking one row by itself, and preparing it for the checks over several rows.

use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use rust_decimal::Decimal;
use serde_json::Value;

use super::batch::{Broken, Row};
use super::cell::{Cell, Content};
use super::context::{CheckContext, Register};
use super::date::Moment;
use super::definition::{CheckSeverity, Comparison};
use super::program::{CheckProgram, LoadedComputed, LoadedCondition, LoadedRule};
use super::report::{FieldFault, FindingSource, Reason, RowDefect, RowFinding, RowReport};

/// So many rows take about a millisecond: a worker asks no more often than that whether it should stop.
pub(super) const CHUNK: usize = 256;

/// What one row brings to a check over several.
#[derive(Debug)]
pub(super) enum Part<'a> {
    /// The check is not for this row, or cannot place it.
    None,
    /// The row is one of those with this key.
    Of(Key),
    /// The row is one of those with this key; its date and its value are there if they can be read.
    Course { key: Key, date: Option<Moment>, value: Option<Decimal>, sent: Option<&'a Value> },
}

/// What rows have in common: a place in the texts of the chunk, and its hash, which is made where rows are checked side by
/// side.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    start: usize,
    end: usize,
    hash: u64,
}

/// What rows have in common.
#[derive(Debug, Clone, Copy, Eq)]
pub(super) struct KeyText<'s> {
    text: &'s str,
    pub(super) hash: u64,
}

impl PartialEq for KeyText<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }
}

impl Hash for KeyText<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

/// Some rows by themselves. Of a row with nothing to tell nothing is allocated: threads would wait for each other at it.
#[derive(Default)]
pub(super) struct Chunk<'a> {
    pub(super) reports: Vec<RowReport<'a>>,
    /// For each row as many as the form's key has fields.
    pub(super) keys: Vec<Option<&'a Value>>,
    /// For each row as many as there are checks over several rows, in their order.
    parts: Vec<Part<'a>>,
    texts: String,
}

/// All rows by themselves, in chunks of so many.
#[derive(Clone, Copy)]
pub(super) struct States<'s, 'a> {
    pub(super) chunks: &'s [Chunk<'a>],
    pub(super) rows: usize,
    /// How many checks over several rows there are.
    pub(super) parts: usize,
}

impl<'s, 'a> States<'s, 'a> {
    /// What a row brings to a check over several.
    pub(super) fn part(&self, row: usize, part: usize) -> &'s Part<'a> {
        &self.chunks[row / CHUNK].parts[row % CHUNK * self.parts + part]
    }

    pub(super) fn key(&self, row: usize, part: usize) -> Option<KeyText<'s>> {
        match self.part(row, part) {
            Part::Of(Key { start, end, hash }) | Part::Course { key: Key { start, end, hash }, .. } => {
                Some(KeyText { text: &self.chunks[row / CHUNK].texts[*start..*end], hash: *hash })
            }
            Part::None => None,
        }
    }
}

/// What a check says of a row.
enum Said {
    /// It holds, or is not for this row.
    Nothing,
    /// It does not hold, at this field.
    At(usize),
    AtEach(Vec<usize>),
    Not(Reason),
}

/// Checks rows one by one.
pub(super) struct RowChecker<'f> {
    pub(super) program: &'f CheckProgram,
    pub(super) context: &'f CheckContext,
    /// By column of the batch: the field, and which of its names it is.
    pub(super) columns: &'f [Option<(usize, usize)>],
    /// Of keys; another one for each batch, so that nobody can choose rows whose keys collide.
    pub(super) hash: RandomState,
}

impl RowChecker<'_> {
    /// Checks each of some rows.
    pub(super) fn chunk<'a>(&self, rows: &'a [Row]) -> Chunk<'a> {
        let mut chunk = Chunk::default();
        let mut cells = Vec::new();
        for row in rows {
            let report = self.check(row, &mut cells, &mut chunk);
            chunk.reports.push(report);
        }
        chunk
    }

    /// Checks a row; `cells` is room for its fields.
    fn check<'a>(&self, row: &'a Row, cells: &mut Vec<Cell<'a>>, chunk: &mut Chunk<'a>) -> RowReport<'a> {
        let program = self.program;
        cells.clear();
        cells.resize(program.fields.len(), Cell::NOTHING);
        match row {
            Row::Cells(values) => {
                for (column, value) in values {
                    self.take(cells, *column as usize, value);
                }
            }
            Row::List(values) => {
                for (column, value) in values.iter().enumerate() {
                    self.take(cells, column, value);
                }
            }
            Row::Broken(broken) => return self.broken(*broken, chunk),
        }
        let mut report = RowReport { findings: Vec::new(), not_evaluated: Vec::new() };
        for (place, (cell, field)) in cells.iter_mut().zip(&program.fields).enumerate() {
            if let Some(fault) = cell.read(field, &program.units) {
                let soft = fault == FieldFault::Codes && field.extensible;
                report.findings.push(RowFinding {
                    check: FindingSource::Field(place, fault),
                    severity: if soft { CheckSeverity::Soft } else { CheckSeverity::Hard },
                    field: Some(place),
                    value: cell.sent,
                    others: Vec::new(),
                });
            }
        }
        chunk.keys.extend(program.key.iter().map(|place| cells[*place].sent));
        for (place, check) in program.checks.iter().enumerate() {
            let over_rows = check.rule.is_over_rows();
            let holds = check.when.as_ref().map_or(Ok(true), |when| self.holds(when, cells));
            let said = match holds {
                Ok(true) if over_rows => {
                    let (part, reason) = self.part(&check.rule, cells, &mut chunk.texts);
                    chunk.parts.push(part);
                    reason.map_or(Said::Nothing, Said::Not)
                }
                Ok(true) => self.say(&check.rule, cells),
                Ok(false) => Said::Nothing,
                Err(field) => Said::Not(Reason::Unreadable(field)),
            };
            if over_rows && !matches!(holds, Ok(true)) {
                chunk.parts.push(Part::None);
            }
            let mut find = |field: usize| {
                report.findings.push(RowFinding {
                    check: FindingSource::Check(place),
                    severity: check.severity,
                    field: Some(field),
                    value: cells[field].sent,
                    others: Vec::new(),
                });
            };
            match said {
                Said::Nothing => {}
                Said::At(field) => find(field),
                Said::AtEach(fields) => fields.into_iter().for_each(find),
                Said::Not(reason) => report.not_evaluated.push((place, reason)),
            }
        }
        self.keep_the_worse_of_two_ranges(&mut report.findings);
        report
    }

    /// What is impossible is not also unusual.
    fn keep_the_worse_of_two_ranges(&self, findings: &mut Vec<RowFinding<'_>>) {
        let ranged = |finding: &RowFinding<'_>| match finding.check {
            FindingSource::Check(place) => matches!(self.program.checks[place].rule, LoadedRule::Range { .. }),
            _ => false,
        };
        let hard = findings.iter().filter(|finding| finding.severity == CheckSeverity::Hard && ranged(finding));
        let hard: Vec<usize> = hard.filter_map(|finding| finding.field).collect();
        if !hard.is_empty() {
            findings.retain(|finding| {
                finding.severity == CheckSeverity::Hard
                    || !ranged(finding)
                    || finding.field.is_none_or(|field| !hard.contains(&field))
            });
        }
    }

    fn take<'a>(&self, cells: &mut [Cell<'a>], column: usize, value: &'a Value) {
        if let Some(Some((field, rank))) = self.columns.get(column) {
            cells[*field].take(value, *rank);
        }
    }

    fn broken<'a>(&self, broken: Broken, chunk: &mut Chunk<'a>) -> RowReport<'a> {
        let kind = match broken {
            Broken::NoObject => RowDefect::NoObject,
            Broken::NoJson => RowDefect::NoJson,
            Broken::Twice(_) => RowDefect::Twice,
            Broken::Dataset(_) => RowDefect::NoList,
        };
        let finding = RowFinding {
            check: FindingSource::Row(kind),
            severity: CheckSeverity::Hard,
            field: match broken {
                Broken::Twice(column) => self.columns.get(column as usize).copied().flatten().map(|(field, _)| field),
                _ => None,
            },
            value: None,
            others: Vec::new(),
        };
        chunk.keys.extend(self.program.key.iter().map(|_| None));
        let over_rows = self.program.checks.iter().filter(|check| check.rule.is_over_rows());
        chunk.parts.extend(over_rows.map(|_| Part::None));
        RowReport { findings: vec![finding], not_evaluated: Vec::new() }
    }

    /// Whether the condition holds; the field that does not let it be told.
    fn holds(&self, condition: &LoadedCondition, cells: &[Cell<'_>]) -> Result<bool, usize> {
        match condition {
            LoadedCondition::In(field, codes) => match &cells[*field].value {
                Content::Unreadable => Err(*field),
                _ => Ok(self.is_one_of(&cells[*field], codes)),
            },
            LoadedCondition::Present(field) => Ok(cells[*field].is_there()),
            LoadedCondition::Not(part) => self.holds(part, cells).map(|holds| !holds),
            // One part that settles it does so whatever the others are.
            LoadedCondition::All(parts) => self.settle(parts, cells, false),
            LoadedCondition::Any(parts) => self.settle(parts, cells, true),
        }
    }

    fn settle(&self, parts: &[LoadedCondition], cells: &[Cell<'_>], by: bool) -> Result<bool, usize> {
        let mut unknown = None;
        for part in parts {
            match self.holds(part, cells) {
                Ok(holds) if holds == by => return Ok(by),
                Ok(_) => {}
                Err(field) => unknown = unknown.or(Some(field)),
            }
        }
        unknown.map_or(Ok(!by), Err)
    }

    fn is_one_of(&self, cell: &Cell<'_>, codes: &[String]) -> bool {
        cell.text(self.program).is_some_and(|text| codes.iter().any(|code| code == text))
    }

    fn say(&self, rule: &LoadedRule, cells: &[Cell<'_>]) -> Said {
        match rule {
            LoadedRule::Required(fields) => each(fields, |field| !cells[field].is_there()),
            LoadedRule::RequiredAny(fields) => {
                said(fields.iter().all(|field| !cells[*field].is_there()), fields.first().copied())
            }
            LoadedRule::Forbidden(fields) => each(fields, |field| cells[field].is_there()),
            LoadedRule::OneOf(field, codes) => match &cells[*field].value {
                Content::Nothing => Said::Nothing,
                Content::Unreadable => Said::Not(Reason::Unreadable(*field)),
                _ => said(!self.is_one_of(&cells[*field], codes), Some(*field)),
            },
            LoadedRule::AnyOf(fields, codes) => {
                if fields.iter().any(|field| self.is_one_of(&cells[*field], codes)) {
                    return Said::Nothing;
                }
                match fields.iter().find(|field| cells[**field].value == Content::Unreadable) {
                    Some(field) => Said::Not(Reason::Unreadable(*field)),
                    None => said(true, fields.first().copied()),
                }
            }
            LoadedRule::Range { field, unit, min, max } => match self.number(*field, *unit, cells) {
                Ok(None) => Said::Nothing,
                Ok(Some(number)) => {
                    let outside = min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max);
                    said(outside, Some(*field))
                }
                Err(reason) => Said::Not(reason),
            },
            LoadedRule::Order { first, then } => match (date(*first, cells), date(*then, cells)) {
                (Ok(Some(one)), Ok(Some(other))) => said(one.is_after(other), Some(*then)),
                // Where one of them is not there, there is no order.
                (Ok(None), _) | (_, Ok(None)) => Said::Nothing,
                (Err(reason), _) | (_, Err(reason)) => Said::Not(reason),
            },
            LoadedRule::NotFuture(field) => match date(*field, cells) {
                Ok(date) => said(date.is_some_and(|date| date.is_future(self.context.now)), Some(*field)),
                Err(reason) => Said::Not(reason),
            },
            LoadedRule::Compare { field, is, than } => {
                match (self.number(*field, None, cells), self.number(*than, None, cells)) {
                    (Ok(Some(one)), Ok(Some(other))) => said(!compares(one, *is, other), Some(*field)),
                    (Ok(None), _) | (_, Ok(None)) => Said::Nothing,
                    (Err(reason), _) | (_, Err(reason)) => Said::Not(reason),
                }
            }
            LoadedRule::Equals { field, unit, to, decimals, tolerance } => {
                let entered = match self.number(*field, *unit, cells) {
                    Ok(Some(entered)) => entered,
                    Ok(None) => return Said::Nothing,
                    Err(reason) => return Said::Not(reason),
                };
                match self.computed(to, *decimals, cells) {
                    Ok((least, most)) => {
                        let differs = match (entered.checked_add(*tolerance), entered.checked_sub(*tolerance)) {
                            (Some(high), Some(low)) => high < least || low > most,
                            _ => return Said::Not(Reason::TooLarge),
                        };
                        said(differs, Some(*field))
                    }
                    Err(reason) => Said::Not(reason),
                }
            }
            LoadedRule::KnownSite(field) => self.known(*field, &self.context.sites, cells),
            LoadedRule::KnownSubject(field) => self.known(*field, &self.context.subjects, cells),
            LoadedRule::Unique(_) | LoadedRule::Repeats { .. } | LoadedRule::Change { .. } => Said::Nothing,
        }
    }

    fn known(&self, field: usize, register: &Register, cells: &[Cell<'_>]) -> Said {
        let text = match &cells[field].value {
            Content::Nothing => return Said::Nothing,
            Content::Text(text) => text,
            _ => return Said::Not(Reason::Unreadable(field)),
        };
        match register {
            Register::Known(names) => said(!names.contains(text.as_ref()), Some(field)),
            Register::Unreachable => Said::Not(Reason::Unreachable),
            // Told once for the whole batch.
            Register::Absent(_) => Said::Nothing,
        }
    }

    /// The number of a field, in `unit` if there is one; `None` if the field has no value.
    fn number(&self, field: usize, unit: Option<usize>, cells: &[Cell<'_>]) -> Result<Option<Decimal>, Reason> {
        let number = match &cells[field].value {
            Content::Nothing => return Ok(None),
            Content::Number(number) => *number,
            _ => return Err(Reason::Unreadable(field)),
        };
        match unit {
            None => Ok(Some(number)),
            Some(unit) => self.converted(field, number, unit, cells).map(Some),
        }
    }

    /// The number of a field in another unit than that which its row names.
    fn converted(&self, field: usize, number: Decimal, unit: usize, cells: &[Cell<'_>]) -> Result<Decimal, Reason> {
        let Some(named) = self.program.fields[field].unit else { return Err(Reason::NoConversion(field)) };
        let from = match &cells[named].value {
            Content::Unit(from) => *from,
            Content::Nothing => return Err(Reason::Missing(named)),
            _ => return Err(Reason::Unreadable(named)),
        };
        if from == unit {
            return Ok(number);
        }
        let (from, to) = (&self.program.units[from], &self.program.units[unit]);
        if from.base != to.base {
            return Err(Reason::NoConversion(named));
        }
        let base = number
            .checked_sub(from.subtract)
            .and_then(|number| number.checked_mul(from.multiply))
            .and_then(|number| number.checked_div(from.divide));
        base.and_then(|base| base.checked_mul(to.divide))
            .and_then(|base| base.checked_div(to.multiply))
            .and_then(|base| base.checked_add(to.subtract))
            .ok_or(Reason::TooLarge)
    }

    /// What is computed, as the least and the greatest number that it may be.
    fn computed(
        &self,
        computed: &LoadedComputed,
        decimals: Option<u32>,
        cells: &[Cell<'_>],
    ) -> Result<(Decimal, Decimal), Reason> {
        let number = |field: usize| self.number(field, None, cells)?.ok_or(Reason::Missing(field));
        let all = |fields: &[usize]| fields.iter().map(|field| number(*field)).collect::<Result<Vec<_>, _>>();
        let result = match computed {
            LoadedComputed::Converted(field, unit) => {
                let to = match &cells[*unit].value {
                    Content::Unit(to) => *to,
                    Content::Nothing => return Err(Reason::Missing(*unit)),
                    _ => return Err(Reason::Unreadable(*unit)),
                };
                Some(self.converted(*field, number(*field)?, to, cells)?)
            }
            LoadedComputed::Sum(fields) => all(fields)?.into_iter().try_fold(Decimal::ZERO, Decimal::checked_add),
            LoadedComputed::Product(fields) => all(fields)?.into_iter().try_fold(Decimal::ONE, Decimal::checked_mul),
            LoadedComputed::Difference(one, other) => number(*one)?.checked_sub(number(*other)?),
            LoadedComputed::Quotient(one, other) => number(*one)?.checked_div(number(*other)?),
            LoadedComputed::Years(from, to) => {
                let there = |field: usize| date(field, cells)?.ok_or(Reason::Missing(field));
                let years = there(*from)?.years_until(there(*to)?);
                // Later than the other: no number of years is right.
                let (least, most) = years.unwrap_or((i64::MAX, i64::MAX));
                return Ok((least.into(), most.into()));
            }
        };
        let rounded = match decimals {
            None => result,
            Some(places) => result.and_then(|result| half_up(result, places)),
        };
        rounded.map(|number| (number, number)).ok_or(Reason::TooLarge)
    }

    /// What the row brings to a check over several rows, and why it cannot be checked itself.
    fn part<'a>(&self, rule: &LoadedRule, cells: &[Cell<'a>], texts: &mut String) -> (Part<'a>, Option<Reason>) {
        match rule {
            LoadedRule::Unique(fields) | LoadedRule::Repeats { of: fields, .. } => {
                match self.key(fields, false, cells, texts) {
                    Ok(key) => (Part::Of(key), None),
                    Err(reason) => (Part::None, Some(reason)),
                }
            }
            LoadedRule::Change { field, unit, same, by, .. } => {
                let value = self.number(*field, *unit, cells);
                if value == Ok(None) {
                    return (Part::None, None);
                }
                let key = match self.key(same, true, cells, texts) {
                    Ok(key) => key,
                    Err(reason) => return (Part::None, Some(reason)),
                };
                let date = date(*by, cells).and_then(|date| date.ok_or(Reason::Missing(*by)));
                let reason = value.err().or(date.err());
                let sent = cells[*field].sent;
                (Part::Course { key, date: date.ok(), value: value.ok().flatten(), sent }, reason)
            }
            _ => (Part::None, None),
        }
    }

    /// What the row's fields are, as one text at the end of `texts`. Fields without a value are a part of it, unless `all` are needed.
    fn key(&self, fields: &[usize], all: bool, cells: &[Cell<'_>], texts: &mut String) -> Result<Key, Reason> {
        let start = texts.len();
        for field in fields {
            match &cells[*field].value {
                Content::Unreadable => return Err(Reason::Unreadable(*field)),
                Content::Nothing if all => return Err(Reason::Missing(*field)),
                _ => cells[*field].add_to(texts),
            }
        }
        match fields.first() {
            Some(first) if fields.iter().all(|field| !cells[*field].is_there()) => Err(Reason::Missing(*first)),
            _ => Ok(Key { start, end: texts.len(), hash: self.hash.hash_one(&texts[start..]) }),
        }
    }
}

impl LoadedRule {
    /// Whether it is about more than one row.
    pub(super) fn is_over_rows(&self) -> bool {
        matches!(self, LoadedRule::Unique(_) | LoadedRule::Repeats { .. } | LoadedRule::Change { .. })
    }
}

fn date(field: usize, cells: &[Cell<'_>]) -> Result<Option<Moment>, Reason> {
    match &cells[field].value {
        Content::Nothing => Ok(None),
        Content::Date(date) => Ok(Some(*date)),
        _ => Err(Reason::Unreadable(field)),
    }
}

fn each(fields: &[usize], is_wrong: impl Fn(usize) -> bool) -> Said {
    let wrong: Vec<usize> = fields.iter().copied().filter(|field| is_wrong(*field)).collect();
    if wrong.is_empty() { Said::Nothing } else { Said::AtEach(wrong) }
}

fn said(is_wrong: bool, field: Option<usize>) -> Said {
    match field {
        Some(field) if is_wrong => Said::At(field),
        _ => Said::Nothing,
    }
}

fn compares(one: Decimal, is: Comparison, other: Decimal) -> bool {
    match is {
        Comparison::Below => one < other,
        Comparison::AtMost => one <= other,
        Comparison::Equal => one == other,
        Comparison::NotEqual => one != other,
        Comparison::AtLeast => one >= other,
        Comparison::Above => one > other,
    }
}

/// Rounded half up, towards the greater number, as scores are; `None` if it has too many digits.
fn half_up(number: Decimal, places: u32) -> Option<Decimal> {
    let half = Decimal::try_from_i128_with_scale(5, places + 1).ok()?;
    Some(number.checked_add(half)?.round_dp_with_strategy(places, rust_decimal::RoundingStrategy::ToNegativeInfinity))
}
