//! Checks of a single row, and its preparation for the checks over several rows.

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

/// The number of rows per task, which take about a millisecond: between tasks, workers check whether to stop.
pub(super) const CHUNK: usize = 256;

/// The membership of a row in a group of a check over several rows.
#[derive(Debug)]
pub(super) enum Membership<'a> {
    /// The check does not apply to the row, or its group is unknown.
    None,
    /// The row is in the group with this key.
    Member(Key),
    /// The row is in the group with this key. Its date and its value are `None` if they cannot be read.
    Dated { key: Key, date: Option<Moment>, value: Option<Decimal>, sent: Option<&'a Value> },
}

/// The key of a group: a range in the texts of the chunk, and its hash, which is computed in parallel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    start: usize,
    end: usize,
    hash: u64,
}

/// The key of a group, resolved to its text.
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

/// The results of some rows. Rows without findings allocate nothing, since threads would contend for the allocator.
#[derive(Default)]
pub(super) struct Chunk<'a> {
    pub(super) reports: Vec<RowReport<'a>>,
    /// The values of the key fields, row by row.
    pub(super) keys: Vec<Option<&'a Value>>,
    /// The memberships for each check over several rows, row by row.
    parts: Vec<Membership<'a>>,
    texts: String,
}

/// The results of all rows, in chunks of `CHUNK`.
#[derive(Clone, Copy)]
pub(super) struct States<'s, 'a> {
    pub(super) chunks: &'s [Chunk<'a>],
    pub(super) rows: usize,
    /// The number of checks over several rows.
    pub(super) parts: usize,
}

impl<'s, 'a> States<'s, 'a> {
    /// The membership of a row for the `part`th check over several rows.
    pub(super) fn part(&self, row: usize, part: usize) -> &'s Membership<'a> {
        &self.chunks[row / CHUNK].parts[row % CHUNK * self.parts + part]
    }

    pub(super) fn key(&self, row: usize, part: usize) -> Option<KeyText<'s>> {
        match self.part(row, part) {
            Membership::Member(Key { start, end, hash }) | Membership::Dated { key: Key { start, end, hash }, .. } => {
                Some(KeyText { text: &self.chunks[row / CHUNK].texts[*start..*end], hash: *hash })
            }
            Membership::None => None,
        }
    }
}

/// The result of a rule for a row.
enum RuleResult {
    /// It holds, or does not apply to the row.
    Holds,
    /// It does not hold; the finding refers to this field.
    FailsAt(usize),
    /// It does not hold; there is a finding for each of these fields.
    FailsAtEach(Vec<usize>),
    NotEvaluated(Reason),
}

/// Checks rows one by one.
pub(super) struct RowChecker<'f> {
    pub(super) program: &'f CheckProgram,
    pub(super) context: &'f CheckContext,
    /// By column of the batch: the index of the field, and the rank of the name among the field's names.
    pub(super) columns: &'f [Option<(usize, usize)>],
    /// The hasher of keys, seeded for each batch, so that senders cannot construct keys that collide.
    pub(super) hash: RandomState,
}

impl RowChecker<'_> {
    /// Checks the rows of a chunk.
    pub(super) fn chunk<'a>(&self, rows: &'a [Row]) -> Chunk<'a> {
        let mut chunk = Chunk::default();
        let mut cells = Vec::new();
        for row in rows {
            let report = self.check(row, &mut cells, &mut chunk);
            chunk.reports.push(report);
        }
        chunk
    }

    /// Checks a row. `cells` is a buffer for its fields.
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
            let result = match holds {
                Ok(true) if over_rows => {
                    let (part, reason) = self.part(&check.rule, cells, &mut chunk.texts);
                    chunk.parts.push(part);
                    reason.map_or(RuleResult::Holds, RuleResult::NotEvaluated)
                }
                Ok(true) => self.evaluate(&check.rule, cells),
                Ok(false) => RuleResult::Holds,
                Err(field) => RuleResult::NotEvaluated(Reason::Unreadable(field)),
            };
            if over_rows && !matches!(holds, Ok(true)) {
                chunk.parts.push(Membership::None);
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
            match result {
                RuleResult::Holds => {}
                RuleResult::FailsAt(field) => find(field),
                RuleResult::FailsAtEach(fields) => fields.into_iter().for_each(find),
                RuleResult::NotEvaluated(reason) => report.not_evaluated.push((place, reason)),
            }
        }
        self.keep_the_worse_of_two_ranges(&mut report.findings);
        report
    }

    /// Removes soft range findings for fields with a hard one: an impossible value is not also reported as unusual.
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
            cells[*field].set(value, *rank);
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
        chunk.parts.extend(over_rows.map(|_| Membership::None));
        RowReport { findings: vec![finding], not_evaluated: Vec::new() }
    }

    /// Whether the condition holds. The error is the field that cannot be read.
    fn holds(&self, condition: &LoadedCondition, cells: &[Cell<'_>]) -> Result<bool, usize> {
        match condition {
            LoadedCondition::In(field, codes) => match &cells[*field].value {
                Content::Unreadable => Err(*field),
                _ => Ok(self.is_one_of(&cells[*field], codes)),
            },
            LoadedCondition::Present(field) => Ok(cells[*field].is_there()),
            LoadedCondition::Not(part) => self.holds(part, cells).map(|holds| !holds),
            // One part can determine the result whatever the others are.
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

    fn evaluate(&self, rule: &LoadedRule, cells: &[Cell<'_>]) -> RuleResult {
        match rule {
            LoadedRule::Required(fields) => each(fields, |field| !cells[field].is_there()),
            LoadedRule::RequiredAny(fields) => {
                fails_if(fields.iter().all(|field| !cells[*field].is_there()), fields.first().copied())
            }
            LoadedRule::Forbidden(fields) => each(fields, |field| cells[field].is_there()),
            LoadedRule::OneOf(field, codes) => match &cells[*field].value {
                Content::Nothing => RuleResult::Holds,
                Content::Unreadable => RuleResult::NotEvaluated(Reason::Unreadable(*field)),
                _ => fails_if(!self.is_one_of(&cells[*field], codes), Some(*field)),
            },
            LoadedRule::AnyOf(fields, codes) => {
                if fields.iter().any(|field| self.is_one_of(&cells[*field], codes)) {
                    return RuleResult::Holds;
                }
                match fields.iter().find(|field| cells[**field].value == Content::Unreadable) {
                    Some(field) => RuleResult::NotEvaluated(Reason::Unreadable(*field)),
                    None => fails_if(true, fields.first().copied()),
                }
            }
            LoadedRule::Range { field, unit, min, max } => match self.number(*field, *unit, cells) {
                Ok(None) => RuleResult::Holds,
                Ok(Some(number)) => {
                    let outside = min.is_some_and(|min| number < min) || max.is_some_and(|max| number > max);
                    fails_if(outside, Some(*field))
                }
                Err(reason) => RuleResult::NotEvaluated(reason),
            },
            LoadedRule::Order { first, then } => match (date(*first, cells), date(*then, cells)) {
                (Ok(Some(one)), Ok(Some(other))) => fails_if(one.is_after(other), Some(*then)),
                // A missing date cannot violate the order.
                (Ok(None), _) | (_, Ok(None)) => RuleResult::Holds,
                (Err(reason), _) | (_, Err(reason)) => RuleResult::NotEvaluated(reason),
            },
            LoadedRule::NotFuture(field) => match date(*field, cells) {
                Ok(date) => fails_if(date.is_some_and(|date| date.is_future(self.context.now)), Some(*field)),
                Err(reason) => RuleResult::NotEvaluated(reason),
            },
            LoadedRule::Compare { field, is, than } => {
                match (self.number(*field, None, cells), self.number(*than, None, cells)) {
                    (Ok(Some(one)), Ok(Some(other))) => fails_if(!compares(one, *is, other), Some(*field)),
                    (Ok(None), _) | (_, Ok(None)) => RuleResult::Holds,
                    (Err(reason), _) | (_, Err(reason)) => RuleResult::NotEvaluated(reason),
                }
            }
            LoadedRule::Equals { field, unit, to, decimals, tolerance } => {
                let entered = match self.number(*field, *unit, cells) {
                    Ok(Some(entered)) => entered,
                    Ok(None) => return RuleResult::Holds,
                    Err(reason) => return RuleResult::NotEvaluated(reason),
                };
                match self.computed(to, *decimals, cells) {
                    Ok((least, most)) => {
                        let differs = match (entered.checked_add(*tolerance), entered.checked_sub(*tolerance)) {
                            (Some(high), Some(low)) => high < least || low > most,
                            _ => return RuleResult::NotEvaluated(Reason::TooLarge),
                        };
                        fails_if(differs, Some(*field))
                    }
                    Err(reason) => RuleResult::NotEvaluated(reason),
                }
            }
            LoadedRule::KnownSite(field) => self.known(*field, &self.context.sites, cells),
            LoadedRule::KnownSubject(field) => self.known(*field, &self.context.subjects, cells),
            LoadedRule::Unique(_) | LoadedRule::Repeats { .. } | LoadedRule::Change { .. } => RuleResult::Holds,
        }
    }

    fn known(&self, field: usize, register: &Register, cells: &[Cell<'_>]) -> RuleResult {
        let text = match &cells[field].value {
            Content::Nothing => return RuleResult::Holds,
            Content::Text(text) => text,
            _ => return RuleResult::NotEvaluated(Reason::Unreadable(field)),
        };
        match register {
            Register::Known(names) => fails_if(!names.contains(text.as_ref()), Some(field)),
            Register::Unreachable => RuleResult::NotEvaluated(Reason::Unreachable),
            // Reported once for the batch, in `not_run`.
            Register::Absent(_) => RuleResult::Holds,
        }
    }

    /// The number of a field, converted to `unit` if given; `None` if the field has no value.
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

    /// The number of a field, converted from the unit in its row to `unit`.
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

    /// The result of a computation, as the least and the greatest possible number.
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
                // The first date is later: no number of years is correct.
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

    /// The membership of the row for a check over several rows, and why the row itself cannot be checked, if so.
    fn part<'a>(&self, rule: &LoadedRule, cells: &[Cell<'a>], texts: &mut String) -> (Membership<'a>, Option<Reason>) {
        match rule {
            LoadedRule::Unique(fields) | LoadedRule::Repeats { of: fields, .. } => {
                match self.key(fields, false, cells, texts) {
                    Ok(key) => (Membership::Member(key), None),
                    Err(reason) => (Membership::None, Some(reason)),
                }
            }
            LoadedRule::Change { field, unit, same, by, .. } => {
                let value = self.number(*field, *unit, cells);
                if value == Ok(None) {
                    return (Membership::None, None);
                }
                let key = match self.key(same, true, cells, texts) {
                    Ok(key) => key,
                    Err(reason) => return (Membership::None, Some(reason)),
                };
                let date = date(*by, cells).and_then(|date| date.ok_or(Reason::Missing(*by)));
                let reason = value.err().or(date.err());
                let sent = cells[*field].sent;
                (Membership::Dated { key, date: date.ok(), value: value.ok().flatten(), sent }, reason)
            }
            _ => (Membership::None, None),
        }
    }

    /// Appends the key of the row's `fields` to `texts`. Fields without a value are part of the key, unless `all` are
    /// required.
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
    /// Whether the rule compares several rows.
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

fn each(fields: &[usize], is_wrong: impl Fn(usize) -> bool) -> RuleResult {
    let wrong: Vec<usize> = fields.iter().copied().filter(|field| is_wrong(*field)).collect();
    if wrong.is_empty() { RuleResult::Holds } else { RuleResult::FailsAtEach(wrong) }
}

fn fails_if(is_wrong: bool, field: Option<usize>) -> RuleResult {
    match field {
        Some(field) if is_wrong => RuleResult::FailsAt(field),
        _ => RuleResult::Holds,
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

/// Rounds half up, towards the greater number, as scores are; `None` if the number has too many digits.
fn half_up(number: Decimal, places: u32) -> Option<Decimal> {
    let half = Decimal::try_from_i128_with_scale(5, places + 1).ok()?;
    Some(number.checked_add(half)?.round_dp_with_strategy(places, rust_decimal::RoundingStrategy::ToNegativeInfinity))
}
