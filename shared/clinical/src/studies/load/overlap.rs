//! Whether two schedules can ask the same patient at the same time.

use jiff::civil::Date;

use crate::schedules::definition::{Anchor, End, Schedule};
use crate::schedules::{MOST_WINDOWS, last_window};

const DAY: i64 = 24 * 60;

/// Whether windows of `one` and of `other` overlap, by the clock, for any patient that both are for. It is decided
/// where both are counted from the same day: from enrolment (days of the week included), from the same event, or from dates.
pub(super) fn overlap(one: &Schedule, other: &Schedule) -> bool {
    is_shared(&one.sites, &other.sites) && is_shared(&one.groups, &other.groups) && {
        let days = first_days(one, other);
        days.into_iter().any(|(first, second)| meet(Windows::of(one, first), Windows::of(other, second)))
    }
}

/// Whether the lists have an entry in common, where an empty one has all.
fn is_shared<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    one.is_empty() || other.is_empty() || one.iter().any(|entry| other.contains(entry))
}

/// The days of the first windows of both, from a day that both are counted from, for each kind of patient. None if they
/// are counted from different days.
fn first_days(one: &Schedule, other: &Schedule) -> Vec<(i64, i64)> {
    let delays = (i64::from(one.delay_days), i64::from(other.delay_days));
    match (&one.anchor, &other.anchor) {
        (Anchor::Event(event), Anchor::Event(same)) if event == same => vec![delays],
        (Anchor::Date(first), Anchor::Date(second)) => {
            vec![(day_of(first.0) + delays.0, day_of(second.0) + delays.1)]
        }
        // Patients who are enrolled on different days of the week.
        _ => (0..7).filter_map(|day| Some((from_enrolment(one, day)?, from_enrolment(other, day)?))).collect(),
    }
}

/// The day of the first window of a patient who is enrolled on `enrolled`, a Monday being 0. Only a schedule that is
/// counted from enrolment has one.
fn from_enrolment(schedule: &Schedule, enrolled: i64) -> Option<i64> {
    let day = enrolled + i64::from(schedule.delay_days);
    match schedule.anchor {
        Anchor::Enrolment(_) => Some(day),
        Anchor::Weekday(weekday) => {
            let weekday = i64::from(jiff::civil::Weekday::from(weekday).to_monday_zero_offset());
            Some(day + (weekday - day).rem_euclid(7))
        }
        Anchor::Event(_) | Anchor::Date(_) => None,
    }
}

fn day_of(date: Date) -> i64 {
    i64::from((date - Date::constant(1970, 1, 1)).get_days())
}

/// The windows of a schedule, in minutes.
struct Windows {
    opens: i64,
    length: i64,
    every: i64,
    left: u32,
}

impl Windows {
    fn of(schedule: &Schedule, first_day: i64) -> Self {
        let (opens, _) = schedule.window.minutes();
        let left = match (schedule.every.map(|every| every.end), &schedule.anchor) {
            // A patient may be enrolled, or have the event, arbitrarily long before.
            (Some(End::Until(_)), Anchor::Enrolment(_) | Anchor::Weekday(_) | Anchor::Event(_)) => MOST_WINDOWS,
            (_, Anchor::Date(date)) => last_window(schedule, schedule.delayed(date.0).unwrap_or(date.0)),
            (_, _) => last_window(schedule, Date::MIN),
        };
        let every = DAY * schedule.every.map_or(1, |every| i64::from(every.days));
        Self { opens: first_day * DAY + opens, length: schedule.window.length(), every, left }
    }

    fn closes(&self) -> i64 {
        self.opens + self.length
    }

    fn next(&mut self) {
        self.opens += self.every;
        self.left -= 1;
    }
}

fn meet(mut one: Windows, mut other: Windows) -> bool {
    while one.left > 0 && other.left > 0 {
        if one.opens < other.closes() && other.opens < one.closes() {
            return true;
        }
        if one.closes() <= other.closes() { one.next() } else { other.next() }
    }
    false
}
