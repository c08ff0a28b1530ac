//! Checks over several rows of a batch. Their results do not depend on the order of the rows, except that a check with
//! `oncePerGroup` is reported for the first row of a group.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rust_decimal::Decimal;

use super::date::Moment;
use super::program::{Limit, LoadedCheck, LoadedRule};
use super::report::{FindingSource, Reason, RowFinding};
use super::row::{KeyText, Membership, States};

/// The maximum number of other rows that a finding lists.
const MAX_OTHERS: usize = 10;

/// The result of a check over several rows for one of them.
pub(super) enum GroupVerdict<'a> {
    Finding(RowFinding<'a>),
    NotEvaluated(Reason),
}

/// The number of shares into which the keys of a check are divided, for as many threads.
pub(super) const SHARES: usize = 4;

/// Evaluates the check with index `place`, the `part`th over several rows, for one share of the keys. Returns the
/// results with the index of their row.
pub(super) fn check<'a>(
    states: States<'_, 'a>,
    part: usize,
    place: usize,
    check: &LoadedCheck,
    share: usize,
) -> Vec<(usize, GroupVerdict<'a>)> {
    let groups = groups(states, part, share);
    let finding = |field, value, others| {
        let check_of = FindingSource::Check(place);
        GroupVerdict::Finding(RowFinding { check: check_of, severity: check.severity, field, value, others })
    };
    let mut verdicts = Vec::new();
    match &check.rule {
        LoadedRule::Change { field, by, most, .. } => {
            for rows in groups.larger_than(1) {
                let series = Series::of(states, part, &rows);
                for (row, comparison) in series.check(*most, *field, *by) {
                    let Membership::Dated { sent, .. } = states.part(row, part) else { continue };
                    verdicts.push((
                        row,
                        match comparison {
                            Comparison::Exceeds(other) => finding(Some(*field), *sent, vec![other]),
                            Comparison::NotEvaluated(reason) => GroupVerdict::NotEvaluated(reason),
                        },
                    ));
                }
            }
        }
        rule => {
            let most = if let LoadedRule::Repeats { most, .. } = rule { *most } else { 1 };
            for rows in groups.larger_than(most) {
                let at_each = if check.once_per_group { 1 } else { rows.len() };
                for row in &rows[..at_each] {
                    let others = rows.iter().copied().filter(|other| other != row).take(MAX_OTHERS).collect();
                    verdicts.push((*row, finding(None, None, others)));
                }
            }
        }
    }
    verdicts
}

/// Rows with the same key.
struct Groups<'s> {
    /// The last row and the number of rows of each group, by key.
    groups: HashMap<KeyText<'s>, (usize, usize), BuildHasherDefault<Hashed>>,
    /// The preceding row in its group, for each row.
    before: Vec<usize>,
}

/// The groups of one share of the keys.
fn groups<'s>(states: States<'s, '_>, part: usize, share: usize) -> Groups<'s> {
    let mut groups: HashMap<_, (usize, usize), _> =
        HashMap::with_capacity_and_hasher(states.rows / SHARES, BuildHasherDefault::default());
    let mut before = vec![0; states.rows];
    for (row, before) in before.iter_mut().enumerate() {
        // `HashMap` uses the last bits and the first seven, so that the share must come from others.
        if let Some(key) = states.key(row, part).filter(|key| (key.hash >> 32) as usize % SHARES == share) {
            let (last, count) = groups.entry(key).or_default();
            *before = std::mem::replace(last, row);
            *count += 1;
        }
    }
    Groups { groups, before }
}

impl Groups<'_> {
    /// The groups of more than `rows` rows, each in the order of the batch.
    fn larger_than(&self, rows: usize) -> impl Iterator<Item = Vec<usize>> {
        self.groups.values().filter(move |(_, count)| *count > rows).map(|(last, count)| {
            let back = std::iter::successors(Some(*last), |row| Some(self.before[*row]));
            let mut rows: Vec<usize> = back.take(*count).collect();
            rows.reverse();
            rows
        })
    }
}

/// Passes on the hash that a key contains.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not called: a key writes only its hash.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
}

/// The rows of a group in chronological order.
struct Series {
    /// The distinct dates with their rows.
    days: Vec<Day>,
    /// A row whose date cannot be read, so that its position is unknown.
    undated: Option<usize>,
}

struct Day {
    date: Moment,
    /// The rows with their values, which are `None` if they cannot be read.
    rows: Vec<(usize, Option<Decimal>)>,
}

enum Comparison {
    /// The value differs too much from that of this row.
    Exceeds(usize),
    NotEvaluated(Reason),
}

impl Series {
    fn of(states: States<'_, '_>, part: usize, rows: &[usize]) -> Self {
        let mut dated = Vec::new();
        let mut undated = None;
        for row in rows {
            match states.part(*row, part) {
                Membership::Dated { date: Some(date), value, .. } => dated.push((*date, *row, *value)),
                Membership::Dated { date: None, .. } => undated = undated.or(Some(*row)),
                _ => {}
            }
        }
        // The sort is stable, so that rows of the same date stay in the order of the batch.
        dated.sort_by_key(|(date, ..)| *date);
        let mut days: Vec<Day> = Vec::new();
        for (date, row, value) in dated {
            match days.last_mut() {
                Some(day) if day.date == date => day.rows.push((row, value)),
                _ => days.push(Day { date, rows: vec![(row, value)] }),
            }
        }
        Self { days, undated }
    }

    fn check(&self, most: Limit, field: usize, by: usize) -> Vec<(usize, Comparison)> {
        let mut results = Vec::new();
        // The preceding day with the latest possible end.
        let mut latest: Option<&Day> = None;
        let mut previous_is_clear = true;
        for (at, day) in self.days.iter().enumerate() {
            // The order of overlapping partial dates is unknown.
            let behind = latest.filter(|latest| !day.date.is_after(latest.date));
            let ahead = self.days.get(at + 1).filter(|next| !next.date.is_after(day.date));
            let unclear = behind.or(ahead).map(|day| day.rows[0].0);
            let previous = at.checked_sub(1).map(|before| &self.days[before]);
            for (row, value) in &day.rows {
                // The row already reports why.
                let Some(value) = value else { continue };
                let reason = match (self.undated, unclear, previous) {
                    (Some(row), ..) => Some(Reason::OtherRow { row, field: by }),
                    (None, Some(row), _) => Some(Reason::Order { row }),
                    (None, None, Some(previous)) if !previous_is_clear => {
                        Some(Reason::Order { row: previous.rows[0].0 })
                    }
                    _ => None,
                };
                match (reason, previous) {
                    (Some(reason), _) => results.push((*row, Comparison::NotEvaluated(reason))),
                    (None, Some(previous)) => {
                        results.extend(previous.compare(*value, most, field).map(|comparison| (*row, comparison)))
                    }
                    (None, None) => {}
                }
            }
            previous_is_clear = unclear.is_none();
            if latest.is_none_or(|latest| latest.date.last < day.date.last) {
                latest = Some(day);
            }
        }
        results
    }
}

impl Day {
    /// Compares `value` with the values of this day. It violates the limit if it does for each of them.
    fn compare(&self, value: Decimal, most: Limit, field: usize) -> Option<Comparison> {
        let mut nearest: Option<(Decimal, usize)> = None;
        for (row, before) in &self.rows {
            let Some(before) = before else {
                return Some(Comparison::NotEvaluated(Reason::OtherRow { row: *row, field }));
            };
            let beyond = match beyond(*before, value, most) {
                Some(beyond) => beyond,
                None => return Some(Comparison::NotEvaluated(Reason::TooLarge)),
            };
            if nearest.is_none_or(|(least, _)| beyond < least) {
                nearest = Some((beyond, *row));
            }
        }
        nearest.filter(|(beyond, _)| *beyond > Decimal::ZERO).map(|(_, row)| Comparison::Exceeds(row))
    }
}

/// The excess of a change over its limit, negative if within; `None` if a number has too many digits.
fn beyond(before: Decimal, value: Decimal, most: Limit) -> Option<Decimal> {
    let change = value.checked_sub(before)?.abs();
    match most {
        Limit::Points(points) => change.checked_sub(points),
        Limit::Percent(percent) => {
            change.checked_mul(Decimal::ONE_HUNDRED)?.checked_sub(percent.checked_mul(before.abs())?)
        }
    }
}
