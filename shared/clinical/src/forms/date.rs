//! Dates of case-report forms: ISO 8601, complete or partial, with or without a time and an offset.

use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::Offset;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;
/// The greatest offsets from UTC that are in use, ahead and behind.
const AHEAD: i64 = 14 * HOUR;
const BEHIND: i64 = 12 * HOUR;
/// The first second of 1900.
const START_OF_1900: i64 = -25_567 * DAY;

/// The inclusive range of seconds that a complete or partial date covers: in UTC if it has an offset, otherwise in
/// local time of an unknown offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Moment {
    pub(super) first: i64,
    pub(super) last: i64,
    local: bool,
}

impl Moment {
    /// Parses `2012`, `2012-11`, `2012-11-23`, and SDTM's `2012---23` with an unknown month, which covers all days from
    /// the first to the last possible one. With `times` also parses `2012-11-23T08`, `T08:15`, `T08:15:30` and
    /// `T08:15:30.5`, each with or without `Z` or an offset.
    pub(super) fn read(text: &str, times: bool) -> Option<Self> {
        let (date, time) = match text.split_once('T') {
            Some((date, time)) if times => (date, Some(time)),
            Some(_) => return None,
            None => (text, None),
        };
        if let (9, [.., b'-', b'-', b'-', _, _], None) = (date.len(), date.as_bytes(), time) {
            // January and December have 31 days, as many as any month.
            let (year, day) = (number(date.get(..4)?)?, number(date.get(7..)?)?);
            return Some(Self {
                first: midnight(year, 1, day)?,
                last: midnight(year, 12, day)? + DAY - 1,
                local: true,
            });
        }
        let (year, month, day) = match (date.len(), date.as_bytes()) {
            (4, _) => (number(date)?, None, None),
            (7, [.., b'-', _, _]) => (number(date.get(..4)?)?, Some(number(date.get(5..)?)?), None),
            (10, [_, _, _, _, b'-', _, _, b'-', _, _]) => {
                (number(date.get(..4)?)?, Some(number(date.get(5..7)?)?), Some(number(date.get(8..)?)?))
            }
            _ => return None,
        };
        let Some(time) = time else {
            let first = midnight(year, month.unwrap_or(1), day.unwrap_or(1))?;
            let next = match (month, day) {
                (Some(_), Some(_)) => first + DAY,
                (Some(12) | None, _) => midnight(year + 1, 1, 1)?,
                (Some(month), None) => midnight(year, month + 1, 1)?,
            };
            return Some(Self { first, last: next - 1, local: true });
        };
        let midnight = midnight(year, month?, day?)?;
        let (clock, offset) = match time.find(['Z', '+', '-']) {
            Some(at) => time.split_at(at),
            None => (time, ""),
        };
        let (start, length) = clock_of(clock)?;
        let shift = if offset.is_empty() { 0 } else { offset_of(offset)? };
        let first = midnight + start - shift;
        Some(Self { first, last: first + length - 1, local: offset.is_empty() })
    }

    /// Whether this is after `other` for every possible completion of both.
    pub(super) fn is_after(self, other: Self) -> bool {
        let (this, other) = Self::comparable(self, other);
        this.first > other.last
    }

    /// Whether this is before 1900, when no subject of a trial was born.
    pub(super) fn is_before_1900(self) -> bool {
        self.last < START_OF_1900
    }

    /// Whether this is after `now`, in seconds since the Unix epoch, for every possible offset.
    pub(super) fn is_future(self, now: i64) -> bool {
        self.widened().first > now
    }

    /// The least and the greatest number of completed years from this to `later`; `None` if it can only be negative.
    pub(super) fn years_until(self, later: Self) -> Option<(i64, i64)> {
        let (this, later) = Self::comparable(self, later);
        let (most, least) = (years(this.first, later.last), years(this.last, later.first));
        (most >= 0).then_some((least.max(0), most))
    }

    /// Both in comparable form: two local times have the same offset, but a local time next to one with an offset has
    /// any.
    fn comparable(one: Self, other: Self) -> (Self, Self) {
        if one.local == other.local { (one, other) } else { (one.widened(), other.widened()) }
    }

    /// In UTC, for every offset that is in use.
    fn widened(self) -> Self {
        if !self.local {
            return self;
        }
        Self { first: self.first - AHEAD, last: self.last + BEHIND, local: false }
    }
}

/// The first second of a day.
fn midnight(year: i32, month: i32, day: i32) -> Option<i64> {
    let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    Some(Offset::UTC.to_timestamp(date.to_datetime(Time::midnight())).ok()?.as_second())
}

/// The number of birthdays from the second `from` to the second `to`.
fn years(from: i64, to: i64) -> i64 {
    // Parsed years have four digits, so that the conversion cannot fail.
    let date =
        |second: i64| Timestamp::from_second(second).map(|at| Offset::UTC.to_datetime(at).date()).unwrap_or_default();
    let (from, to) = (date(from), date(to));
    let birthday_is_to_come = (to.month(), to.day()) < (from.month(), from.day());
    i64::from(to.year()) - i64::from(from.year()) - i64::from(birthday_is_to_come)
}

/// The first second of the day that a time covers, and the number of seconds that it covers.
fn clock_of(clock: &str) -> Option<(i64, i64)> {
    let mut parts = clock.split(':');
    let mut next = |most: i32| match parts.next() {
        Some(part) if part.len() == 2 => {
            number(part).filter(|number| *number <= most).map(|number| Some(i64::from(number)))
        }
        Some(_) => None,
        None => Some(None),
    };
    let hour = next(23)??;
    let Some(minute) = next(59)? else { return Some((hour * HOUR, HOUR)) };
    let Some(seconds) = parts.next() else { return Some((hour * HOUR + minute * MINUTE, MINUTE)) };
    let (second, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let well_formed = second.len() == 2 && !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    let second = number(second).filter(|second| *second <= 59 && well_formed)?;
    parts.next().is_none().then_some((hour * HOUR + minute * MINUTE + i64::from(second), 1))
}

fn offset_of(offset: &str) -> Option<i64> {
    if offset == "Z" {
        return Some(0);
    }
    let (sign, rest) = offset.split_at_checked(1)?;
    let (hours, minutes) = rest.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let seconds =
        i64::from(number(hours)?) * HOUR + i64::from(number(minutes).filter(|minutes| *minutes <= 59)?) * MINUTE;
    (seconds <= AHEAD).then_some(if sign == "-" { -seconds } else { seconds })
}

/// Parses a number of digits only, without sign or space.
fn number(text: &str) -> Option<i32> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Moment {
        Moment::read(text, true).unwrap_or_else(|| panic!("{text} is a date"))
    }

    #[test]
    fn a_partial_date_covers_every_possible_second() {
        for (text, first, seconds) in [
            ("1970", 0, 365 * DAY),
            ("1972-02", 2 * 365 * DAY + 31 * DAY, 29 * DAY),
            ("1970-12", 334 * DAY, 31 * DAY),
            ("1970---03", 2 * DAY, 335 * DAY),
            ("1970---31", 30 * DAY, 335 * DAY),
            ("1970-01-02", DAY, DAY),
            ("1970-01-01T01", HOUR, HOUR),
            ("1970-01-01T01:02", HOUR + 2 * MINUTE, MINUTE),
            ("1970-01-01T01:02:03", HOUR + 2 * MINUTE + 3, 1),
            ("1970-01-01T01:02:03.25Z", HOUR + 2 * MINUTE + 3, 1),
            ("1970-01-01T08:00+08:00", 0, MINUTE),
            ("1970-01-01T00:00-05:30", 5 * HOUR + 30 * MINUTE, MINUTE),
        ] {
            let moment = moment(text);
            assert_eq!((moment.first, moment.last), (first, first + seconds - 1), "{text}");
        }
    }

    #[test]
    fn invalid_dates_are_rejected() {
        for text in [
            "",
            "12",
            "2012-13",
            "2012-02-30",
            "2013-02-29",
            "2012-00",
            "2012-1",
            "2012-1-1",
            "2012/11/23",
            "23.11.2012",
            "2012---32",
            "2012---00",
            "2012---1",
            "2012---23T08",
            "2012--23",
            "--11-23",
            "2012-11-23T",
            "2012-11-23T24:00",
            "2012-11-23T08:60",
            "2012-11-23T8:00",
            "2012-11T08",
            "2012T08",
            "2012-11-23T08:15:30.",
            "2012-11-23T08:15:30:1",
            "2012-11-23T08:15+8",
            "2012-11-23T08:15+25:00",
            "2012-11-23T08:15z",
            "2012-11-23 08:15",
            "+012-11-23",
            "２０１２",
            "2012-11-2é",
        ] {
            assert_eq!(Moment::read(text, true), None, "{text}");
        }
        assert_eq!(Moment::read("2012-11-23T08:15", false), None, "a time is not part of a date");
    }

    #[test]
    fn partial_dates_are_out_of_order_only_if_every_completion_is() {
        for (one, other, after) in [
            ("2012-11-24", "2012-11-23", true),
            ("2012-11-23", "2012-11-23", false),
            ("2012-12", "2012-11-23", true),
            ("2012-11", "2012-11-23", false),
            ("2013", "2012-11", true),
            ("2012", "2012-11", false),
            ("2012---23", "2012-01-22", true),
            ("2012---23", "2012-01-23", false),
            ("2012-12-24", "2012---23", true),
            ("2012-12-23", "2012---23", false),
            ("2012-11-23T08:15", "2012-11-23T08:14", true),
            ("2012-11-23T08:15", "2012-11-23", false),
            // One instant with two offsets.
            ("2012-11-23T08:00+08:00", "2012-11-23T00:00Z", false),
            ("2012-11-23T08:01+08:00", "2012-11-23T00:00Z", true),
            // A local time can differ by half a day from one with an offset.
            ("2012-11-23T08:00", "2012-11-22T22:00Z", false),
            ("2012-11-24", "2012-11-22T22:00Z", true),
        ] {
            assert_eq!(moment(one).is_after(moment(other)), after, "{one} {other}");
        }
    }

    #[test]
    fn a_date_is_in_the_future_only_if_it_is_for_every_offset() {
        let now = moment("2026-11-23T12:00:00Z").first;
        for (text, future) in [
            ("2026-11-23", false),
            // In Kiritimati, 14 hours ahead of UTC, it is already the 24th.
            ("2026-11-24", false),
            ("2026-11-25", true),
            ("2026-11", false),
            ("2026-12", true),
            ("2027", true),
            ("2026-11-23T12:00:00Z", false),
            ("2026-11-23T12:00:01Z", true),
            ("2026-11-24T02:00", false),
            ("2026-11-24T02:01", true),
        ] {
            assert_eq!(moment(text).is_future(now), future, "{text}");
        }
    }

    #[test]
    fn an_age_is_counted_in_birthdays_and_is_a_range_for_partial_dates() {
        for (birth, day, range) in [
            ("1950-11-23", "2012-11-22", Some((61, 61))),
            ("1950-11-23", "2012-11-23", Some((62, 62))),
            ("1952-02-29", "2013-02-28", Some((60, 60))),
            ("1950", "2012-11-23", Some((61, 62))),
            ("1950-11", "2012-11", Some((61, 62))),
            ("1950---03", "2012-12-02", Some((61, 62))),
            ("1950---03", "2012-12-03", Some((62, 62))),
            ("2013", "2012", None),
        ] {
            assert_eq!(moment(birth).years_until(moment(day)), range, "{birth} {day}");
        }
    }

    #[test]
    fn a_date_is_before_1900_only_if_every_completion_is() {
        for (text, before) in [
            ("1899-12-31", true),
            ("1899", true),
            ("0001-01-01", true),
            ("1900-01-01", false),
            ("1900", false),
            ("1899-12-31T23:59:59", true),
            ("1900-01-01T00:00", false),
        ] {
            assert_eq!(moment(text).is_before_1900(), before, "{text}");
        }
    }
}
