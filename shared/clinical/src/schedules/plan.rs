//! Where the windows of a schedule are for one patient, from the patient's data as they are now.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::clock;
use super::definition::{Anchor, End, Schedule};
use super::subject::Subject;
use super::window::Window;

/// The maximum number of windows of a schedule.
pub(crate) const MOST_WINDOWS: u32 = 4_000;

/// The windows of a schedule for one patient, each by its number from 1. A window is computed from its number alone, so
/// that any part of the plan costs the same.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    schedule: &'a Schedule,
    zone: &'a TimeZone,
    /// The day on which the window with the number 1 opens.
    first_day: Date,
    /// The numbers of the first and the last window. If none is left, the first is greater.
    first: u32,
    last: u32,
}

impl<'a> Plan<'a> {
    /// The windows of `schedule` for `subject`. `None` if the schedule is not for the subject's site or group, if its
    /// event has no date yet, or if the subject withdrew.
    pub fn of(schedule: &'a Schedule, subject: &'a Subject) -> Option<Self> {
        if subject.withdrawn_at.is_some() || !schedule.is_for(&subject.site, subject.group.as_ref()) {
            return None;
        }
        let delayed = |date: Date| schedule.delayed(date);
        let first_day = match &schedule.anchor {
            Anchor::Enrolment(_) => delayed(subject.enrolled_on)?,
            Anchor::Event(event) => delayed(*subject.events.get(event)?)?,
            Anchor::Weekday(weekday) => weekday.on_or_after(delayed(subject.enrolled_on)?)?,
            Anchor::Date(date) => delayed(date.0)?,
        };
        let mut plan = Self {
            schedule,
            zone: &subject.zone,
            first_day,
            first: 1,
            last: last_window(schedule, first_day).min(MOST_WINDOWS),
        };
        plan.first = plan.first_on_or_after(subject.enrolled_on);
        Some(plan)
    }

    /// The day on which the window with the number 1 opens, or would if the patient had been enrolled by then.
    pub fn first_day(&self) -> Date {
        self.first_day
    }

    /// The schedule.
    pub fn schedule(&self) -> &'a Schedule {
        self.schedule
    }

    /// The window with the number `n`; `None` if there is none. It is empty if the patient's clock skips it.
    pub fn window(&self, n: u32) -> Option<Window> {
        if !(self.first..=self.last).contains(&n) {
            return None;
        }
        let times = self.schedule.window;
        let opens = self.opening(n)?;
        let last_day = self.day(n)?.checked_add(i64::from(times.closes_after_days).days()).ok()?;
        let closes = clock::closing(times.closes.on(last_day)?, self.zone)?;
        // A window never reaches into the next one, not even if the time at which one closes and the other opens
        // occurs twice.
        let next = self.schedule.every.and_then(|_| self.opening(n + 1));
        Some(Window { opens, closes: next.map_or(closes, |next| closes.min(next)) })
    }

    /// The number of the first window that closes after `at`; one more than the last number if none does.
    pub fn first_closing_after(&self, at: Timestamp) -> u32 {
        let days = i64::from(self.schedule.window.closes_after_days) + 2;
        // Clocks of two time zones differ by less than two days: all windows of earlier days are closed.
        let earliest = self.zone.to_datetime(at).date().checked_sub(days.days()).unwrap_or(Date::MIN);
        let mut n = self.first_on_or_after(earliest).max(self.first);
        while self.window(n).is_some_and(|window| window.closes <= at) {
            n += 1;
        }
        n
    }

    /// The windows that close after `at`, with their numbers, in ascending order.
    pub fn closing_after(&self, at: Timestamp) -> impl Iterator<Item = (u32, Window)> + '_ {
        (self.first_closing_after(at)..=self.last).map_while(|n| Some((n, self.window(n)?)))
    }

    /// When the window with the number `n` opens, or would if there was one.
    pub(super) fn opening(&self, n: u32) -> Option<Timestamp> {
        clock::opening(self.schedule.window.opens.on(self.day(n)?)?, self.zone)
    }

    /// The number of the first window that opens on `date` or later.
    fn first_on_or_after(&self, date: Date) -> u32 {
        let days = days_between(self.first_day, date);
        let Some(every) = self.schedule.every.map(|every| i64::from(every.days.max(1))) else {
            return if days > 0 { 2 } else { 1 };
        };
        let before = if days > 0 { (days + every - 1) / every } else { 0 };
        u32::try_from(before + 1).unwrap_or(u32::MAX).min(self.last + 1)
    }

    fn day(&self, n: u32) -> Option<Date> {
        let every = self.schedule.every.map_or(1, |every| i64::from(every.days));
        self.first_day.checked_add((i64::from(n - 1) * every).days()).ok()
    }
}

/// The number of the last window of `schedule` if the first one opens on `first_day`; 0 if there is none.
pub(crate) fn last_window(schedule: &Schedule, first_day: Date) -> u32 {
    let Some(every) = schedule.every else { return 1 };
    match every.end {
        End::Count(count) => count,
        End::Until(until) => match days_between(first_day, until.0) {
            days @ 0.. => u32::try_from(days / i64::from(every.days.max(1)) + 1).unwrap_or(u32::MAX),
            _ => 0,
        },
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    i64::from((to - from).get_days())
}
