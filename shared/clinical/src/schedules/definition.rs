//! The JSON format of a schedule.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::document::is_zero;
use crate::ids::{EventId, GroupId, IdError, InstrumentId, InstrumentVersion, ScheduleId, SiteId, as_text};
use crate::instruments::Severity;

/// When patients are asked to answer an instrument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Schedule {
    /// The schedule's id. It is published, so it must not name the instrument.
    pub id: ScheduleId,
    /// The instrument that is asked.
    pub instrument: InstrumentId,
    /// The version that is asked; the latest of the study if absent. An answer in another version counts too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<InstrumentVersion>,
    /// The sites whose patients are asked; those that use the instrument if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteId>,
    /// The groups whose patients are asked; all patients if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupId>,
    /// The day from which the days of the windows are counted.
    pub anchor: Anchor,
    /// The number of days from the anchor to the day of the first window.
    #[serde(default, skip_serializing_if = "is_none_of_days")]
    pub delay_days: i32,
    /// The recurrence; a single window if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Recurrence>,
    /// The part of the day in which an answer counts.
    pub window: WindowTimes,
    /// The reminders of each window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reminders: Vec<Reminder>,
    /// When missed windows are an alert; never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
}

/// The day from which the days of a schedule are counted, in the patient's local time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Anchor {
    /// The day of enrolment.
    Enrolment(NoOptions),
    /// The day of a named event. Nothing is asked before the event has a date.
    Event(EventId),
    /// The first such day of the week on or after the day of enrolment and the delay.
    Weekday(Weekday),
    /// A day that is the same for all patients.
    Date(LocalDate),
}

/// An empty object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoOptions {}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "a name of a day says all")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// How often a window recurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RecurrenceForm", into = "RecurrenceForm")]
pub struct Recurrence {
    /// The number of days from one window to the next.
    pub days: u32,
    /// The last window.
    pub end: End,
}

/// The last window of a recurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The number of windows.
    Count(u32),
    /// The last day on which a window may open.
    Until(LocalDate),
}

/// The recurrence as it is written, of which exactly one end must be present.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RecurrenceForm {
    days: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<LocalDate>,
}

/// The part of the day in which an answer counts, in the patient's local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowTimes {
    /// The time at which the window opens; an answer at this time counts.
    pub opens: ClockTime,
    /// The time at which the window closes; an answer at this time no longer counts. The end of the day is `24:00`.
    pub closes: ClockTime,
    /// The number of days from the day on which it opens to the day on which it closes.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub closes_after_days: u32,
}

/// A time at which a patient who has not answered is reminded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reminder {
    /// The number of minutes after the window opens, 0 for at its opening.
    MinutesAfterOpening(u32),
    /// The number of minutes before the window closes.
    MinutesBeforeClosing(u32),
}

/// When missed windows are an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Missed {
    /// The severity of the alert.
    pub severity: Severity,
    /// The number of windows missed in a row that is an alert.
    pub after: u32,
    /// For how many hours after the closing that raised a published alert of the schedule another one is quiet: stored,
    /// counted, and not published. Never if absent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quiet_hours: u32,
}

/// A day of the calendar, in JSON `2026-11-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalDate(pub Date);

/// A time of day in minutes, in JSON `18:00`, from `00:00` to `24:00`, which is the end of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockTime {
    minutes: u16,
}

impl Schedule {
    /// Whether patients of `site` and `group` are asked. Which sites use the instrument is known to the study only.
    pub fn is_for(&self, site: &SiteId, group: Option<&GroupId>) -> bool {
        (self.sites.is_empty() || self.sites.contains(site))
            && (self.groups.is_empty() || group.is_some_and(|group| self.groups.contains(group)))
    }

    /// `date` and the delay; `None` beyond the calendar.
    pub(crate) fn delayed(&self, date: Date) -> Option<Date> {
        date.checked_add(i64::from(self.delay_days).days()).ok()
    }
}

impl Weekday {
    /// The first such day on or after `date`; `None` beyond the calendar.
    pub fn on_or_after(self, date: Date) -> Option<Date> {
        let days = i32::from(date.weekday().until(self.into()));
        date.checked_add(days.days()).ok()
    }
}

impl From<Weekday> for jiff::civil::Weekday {
    fn from(weekday: Weekday) -> Self {
        match weekday {
            Weekday::Monday => Self::Monday,
            Weekday::Tuesday => Self::Tuesday,
            Weekday::Wednesday => Self::Wednesday,
            Weekday::Thursday => Self::Thursday,
            Weekday::Friday => Self::Friday,
            Weekday::Saturday => Self::Saturday,
            Weekday::Sunday => Self::Sunday,
        }
    }
}

impl WindowTimes {
    /// The minutes from the start of the day on which a window opens to its opening and to its closing, by the clock.
    pub fn minutes(&self) -> (i64, i64) {
        let days = i64::from(self.closes_after_days) * 24 * 60;
        (self.opens.minutes.into(), days + i64::from(self.closes.minutes))
    }

    /// The length of a window in minutes, by the clock; not positive if it never opens.
    pub fn length(&self) -> i64 {
        let (opens, closes) = self.minutes();
        closes - opens
    }
}

impl ClockTime {
    /// The time as a date and time of `date`; `24:00` is the start of the next day. `None` beyond the calendar.
    pub fn on(self, date: Date) -> Option<DateTime> {
        let minutes = i64::from(self.minutes);
        date.to_datetime(Time::midnight()).checked_add(minutes.minutes()).ok()
    }

    /// The minutes from the start of the day, by the clock.
    pub fn minutes(self) -> u16 {
        self.minutes
    }

    /// Whether this is the end of the day.
    pub fn is_end_of_day(self) -> bool {
        self.minutes == 24 * 60
    }
}

impl TryFrom<RecurrenceForm> for Recurrence {
    type Error = &'static str;

    fn try_from(form: RecurrenceForm) -> Result<Self, Self::Error> {
        let end = match (form.count, form.until) {
            (Some(count), None) => End::Count(count),
            (None, Some(until)) => End::Until(until),
            _ => return Err("a recurrence must have either `count` or `until`"),
        };
        Ok(Self { days: form.days, end })
    }
}

impl From<Recurrence> for RecurrenceForm {
    fn from(Recurrence { days, end }: Recurrence) -> Self {
        match end {
            End::Count(count) => Self { days, count: Some(count), until: None },
            End::Until(until) => Self { days, count: None, until: Some(until) },
        }
    }
}

impl FromStr for LocalDate {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
        date.map(Self).ok_or(IdError { what: "date", rule: "year, month and day, for example 2026-11-01" })
    }
}

impl FromStr for ClockTime {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u16>().ok())?;
        let parts = text.split_once(':').filter(|_| text.len() == 5);
        let minutes = parts.and_then(|(hours, minutes)| {
            let minute = number(minutes).filter(|minute| *minute < 60)?;
            Some(number(hours)? * 60 + minute).filter(|minutes| *minutes <= 24 * 60)
        });
        let error = IdError { what: "time of day", rule: "hours and minutes from 00:00 to 24:00, for example 18:00" };
        minutes.map(|minutes| Self { minutes }).ok_or(error)
    }
}

impl fmt::Display for LocalDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

as_text!(LocalDate, ClockTime);

fn is_none_of_days(days: &i32) -> bool {
    *days == 0
}
