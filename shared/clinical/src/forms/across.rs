//! Checks over several rows of a batch. What they say of a row does not depend on where in the batch it stands, except
//! that a check once per group is reported at the group's first row.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rust_decimal::Decimal;

use super::date::Moment;
use super::program::{Limit, LoadedCheck, LoadedRule};
use super::report::{FindingSource, Reason, RowFinding};
use super::row::{KeyText, Part, States};

/// As many other rows as a finding names.
const OTHERS: usize = 10;

/// What a check over several rows says of one.
pub(super) enum GroupVerdict<'a> {
    Finding(RowFinding<'a>),
    NotEvaluated(Reason),
}

/// Into so many shares the keys of a check are divided, for as many threads.
pub(super) const SHARES: usize = 4;

/// What the check of place `place`, which is the `part`th over several rows, says: by row, for one share of the keys.
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
                let course = Course::of(states, part, &rows);
                for (row, said) in course.check(*most, *field, *by) {
                    let Part::Course { sent, .. } = states.part(row, part) else { continue };
                    verdicts.push((
                        row,
                        match said {
                            Said::Changed(other) => finding(Some(*field), *sent, vec![other]),
                            Said::Not(reason) => GroupVerdict::NotEvaluated(reason),
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
                    let others = rows.iter().copied().filter(|other| other != row).take(OTHERS).collect();
                    verdicts.push((*row, finding(None, None, others)));
                }
            }
        }
    }
    verdicts
}

/// Rows with the same key.
struct Groups<'s> {
    /// By key the last row of the group, and how many there are.
    groups: HashMap<KeyText<'s>, (usize, usize), BuildHasherDefault<Hashed>>,
    /// For each row the one before it in its group.
    before: Vec<usize>,
}

/// The groups of one share of the keys.
fn groups<'s>(states: States<'s, '_>, part: usize, share: usize) -> Groups<'s> {
    let mut groups: HashMap<_, (usize, usize), _> =
        HashMap::with_capacity_and_hasher(states.rows / SHARES, BuildHasherDefault::default());
    let mut before = vec![0; states.rows];
    for (row, before) in before.iter_mut().enumerate() {
        // The map goes by the last bits of the hash, and by the first seven.
        if let Some(key) = states.key(row, part).filter(|key| (key.hash >> 32) as usize % SHARES == share) {
            let (last, count) = groups.entry(key).or_default();
            *before = std::mem::replace(last, row);
            *count += 1;
        }
    }
    Groups { groups, before }
}

impl Groups<'_> {
    /// The groups of more than so many rows, each in the order of the batch.
    fn larger_than(&self, rows: usize) -> impl Iterator<Item = Vec<usize>> {
        self.groups.values().filter(move |(_, count)| *count > rows).map(|(last, count)| {
            let back = std::iter::successors(Some(*last), |row| Some(self.before[*row]));
            let mut rows: Vec<usize> = back.take(*count).collect();
            rows.reverse();
            rows
        })
    }
}

/// The hash that a key brings.
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
        // A key writes nothing but its hash.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }
}

/// Rows of one subject and test in the order of time.
struct Course {
    /// Each of the dates that there are, with the rows of that date.
    days: Vec<Day>,
    /// A row whose date cannot be read: it may lie anywhere.
    undated: Option<usize>,
}

struct Day {
    date: Moment,
    /// Row and value; no value where it cannot be read.
    rows: Vec<(usize, Option<Decimal>)>,
}

enum Said {
    Changed(usize),
    Not(Reason),
}

impl Course {
    fn of(states: States<'_, '_>, part: usize, rows: &[usize]) -> Self {
        let mut dated = Vec::new();
        let mut undated = None;
        for row in rows {
            match states.part(*row, part) {
                Part::Course { date: Some(date), value, .. } => dated.push((*date, *row, *value)),
                Part::Course { date: None, .. } => undated = undated.or(Some(*row)),
                _ => {}
            }
        }
        // Stable: rows of one date stay in the order of the batch.
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

    fn check(&self, most: Limit, field: usize, by: usize) -> Vec<(usize, Said)> {
        let mut said = Vec::new();
        // Of the days so far the one that may end last.
        let mut latest: Option<&Day> = None;
        let mut previous_is_clear = true;
        for (at, day) in self.days.iter().enumerate() {
            // Partial dates overlap: which of the two came first cannot be told.
            let behind = latest.filter(|latest| !day.date.is_after(latest.date));
            let ahead = self.days.get(at + 1).filter(|next| !next.date.is_after(day.date));
            let unclear = behind.or(ahead).map(|day| day.rows[0].0);
            let previous = at.checked_sub(1).map(|before| &self.days[before]);
            for (row, value) in &day.rows {
                // The row itself has said why already.
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
                    (Some(reason), _) => said.push((*row, Said::Not(reason))),
                    (None, Some(previous)) => {
                        said.extend(previous.compare(*value, most, field).map(|said| (*row, said)))
                    }
                    (None, None) => {}
                }
            }
            previous_is_clear = unclear.is_none();
            if latest.is_none_or(|latest| latest.date.last < day.date.last) {
                latest = Some(day);
            }
        }
        said
    }
}

impl Day {
    /// Whether `value` differs too much from each value of this day, and from which the least.
    fn compare(&self, value: Decimal, most: Limit, field: usize) -> Option<Said> {
        let mut nearest: Option<(Decimal, usize)> = None;
        for (row, before) in &self.rows {
            let Some(before) = before else {
                return Some(Said::Not(Reason::OtherRow { row: *row, field }));
            };
            let beyond = match beyond(*before, value, most) {
                Some(beyond) => beyond,
                None => return Some(Said::Not(Reason::TooLarge)),
            };
            if nearest.is_none_or(|(least, _)| beyond < least) {
                nearest = Some((beyond, *row));
            }
        }
        nearest.filter(|(beyond, _)| *beyond > Decimal::ZERO).map(|(_, row)| Said::Changed(row))
    }
}

/// By how much a change is beyond its limit, below zero if it is within; `None` if a number has too many digits.
fn beyond(before: Decimal, value: Decimal, most: Limit) -> Option<Decimal> {
    let change = value.checked_sub(before)?.abs();
    match most {
        Limit::Points(points) => change.checked_sub(points),
        Limit::Percent(percent) => {
            change.checked_mul(Decimal::ONE_HUNDRED)?.checked_sub(percent.checked_mul(before.abs())?)
        }
    }
}
