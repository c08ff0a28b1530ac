//! When patients are asked, computed from the study's text alone: by a few lines over the calendar, and not by the
//! product's code, which is compared with it.

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan};
use serde::Deserialize;

/// What is read of a study.
#[derive(Debug, Deserialize)]
pub(super) struct Study {
    pub(super) sites: Vec<Site>,
    pub(super) schedules: Vec<Schedule>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Site {
    pub(super) id: String,
    pub(super) time_zone: String,
}

/// A schedule, as far as the demonstration study uses its members.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Schedule {
    pub(super) id: String,
    pub(super) instrument: String,
    anchor: Anchor,
    #[serde(default)]
    delay_days: i64,
    every: Option<Every>,
    window: Daily,
    #[serde(default)]
    reminders: Vec<Reminder>,
    pub(super) missed: Option<Missed>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Anchor {
    Enrolment {},
    Event(String),
}

#[derive(Debug, Deserialize)]
struct Every {
    days: i64,
    count: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Daily {
    opens: String,
    closes: String,
    #[serde(default)]
    closes_after_days: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Reminder {
    MinutesAfterOpening(i64),
    MinutesBeforeClosing(i64),
}

/// When missed windows raise an alert.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Missed {
    pub(super) after: usize,
}

/// A window of a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// From 1.
    pub(super) number: u32,
    pub(super) opens: Timestamp,
    pub(super) closes: Timestamp,
    /// In the order of time.
    pub(super) reminders: Vec<Timestamp>,
}

impl Schedule {
    /// The windows that open before `end` of a patient in `zone` who is enrolled on `enrolled` and has the event on
    /// `event`. `None` if the study has a time that is none.
    pub(super) fn windows(
        &self,
        zone: &TimeZone,
        enrolled: Date,
        event: impl Fn(&str) -> Option<Date>,
        end: Timestamp,
    ) -> Option<Vec<Window>> {
        let anchor = match &self.anchor {
            Anchor::Enrolment {} => Some(enrolled),
            Anchor::Event(id) => event(id),
        };
        let Some(anchor) = anchor else { return Some(Vec::new()) };
        let (days, count) = self.every.as_ref().map_or((1, 1), |every| (every.days, every.count));
        let mut windows = Vec::new();
        for number in 1..=count {
            let day = anchor + (self.delay_days + days * i64::from(number - 1)).days();
            // Nobody is asked before the day of enrolment.
            if day < enrolled {
                continue;
            }
            let opens = instant(zone, day, &self.window.opens)?;
            if opens >= end {
                break;
            }
            let closes = instant(zone, day + self.window.closes_after_days.days(), &self.window.closes)?;
            let mut reminders: Vec<Timestamp> = self.reminders.iter().map(|one| one.at(opens, closes)).collect();
            reminders.sort_unstable();
            windows.push(Window { number, opens, closes, reminders });
        }
        Some(windows)
    }
}

impl Reminder {
    fn at(&self, opens: Timestamp, closes: Timestamp) -> Timestamp {
        match self {
            Self::MinutesAfterOpening(minutes) => opens + SignedDuration::from_mins(*minutes),
            Self::MinutesBeforeClosing(minutes) => closes - SignedDuration::from_mins(*minutes),
        }
    }
}

/// The instant of a time of day, `24:00` included, on `day` in `zone`.
pub(super) fn instant(zone: &TimeZone, day: Date, time: &str) -> Option<Timestamp> {
    let (day, time) = match time {
        "24:00" => (day + Span::new().days(1), Time::midnight()),
        time => (day, Time::strptime("%H:%M", time).ok()?),
    };
    Some(day.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn demo() -> Study {
        serde_json::from_str(crate::cloud::DEMO_STUDY).expect("its members are known here")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn windows_and_reminders_are_those_of_the_patients_own_clock() {
        let study = demo();
        let of = |id: &str, zone: &str| {
            let schedule = study.schedules.iter().find(|schedule| schedule.id == id).expect("the study has it");
            let zone = TimeZone::get(zone).expect("it exists");
            let event = |id: &str| (id == "visit").then(|| date(2026, 12, 2));
            schedule.windows(&zone, date(2026, 12, 1), event, at("2026-12-03T00:00:00Z")).expect("its times are times")
        };
        let window = |number, opens: &str, closes: &str, reminders: &[&str]| Window {
            number,
            opens: at(opens),
            closes: at(closes),
            reminders: reminders.iter().map(|reminder| at(reminder)).collect(),
        };
        let daily = [
            window(1, "2026-11-30T15:00:00Z", "2026-12-01T15:00:00Z", &["2026-12-01T11:00:00Z"]),
            window(2, "2026-12-01T15:00:00Z", "2026-12-02T15:00:00Z", &["2026-12-02T11:00:00Z"]),
            window(3, "2026-12-02T15:00:00Z", "2026-12-03T15:00:00Z", &["2026-12-03T11:00:00Z"]),
        ];
        assert_eq!(of("daily", "Asia/Tokyo"), daily);
        let reminders = ["2026-12-01T23:00:00Z", "2026-12-03T23:00:00Z"];
        let weekly = window(1, "2026-12-01T11:00:00Z", "2026-12-04T03:00:00Z", &reminders);
        assert_eq!(of("weekly", "America/New_York"), [weekly]);
        assert_eq!(of("visit", "Asia/Tokyo")[0].closes, at("2026-12-04T15:00:00Z"));
        let reminders = ["2026-12-03T23:00:00Z", "2026-12-04T19:00:00Z"];
        assert_eq!(
            of("visit", "Europe/Berlin"),
            [window(1, "2026-12-01T23:00:00Z", "2026-12-04T23:00:00Z", &reminders)]
        );
    }
}
