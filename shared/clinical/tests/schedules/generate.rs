//! Random schedules, and a random year of a patient.

use std::ops::Range;

use clinical::schedules::{Fact, Known, Schedule};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::windows::{schedule, zone_of};

pub(crate) const ZONES: [&str; 8] = [
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Africa/Casablanca",
    "Africa/Cairo",
    "America/Havana",
];
const DAY: i64 = 24 * 60;

/// A year of a patient.
#[derive(Debug, Clone)]
pub(crate) struct Year {
    pub(crate) schedules: Vec<Schedule>,
    /// In the order in which they became known.
    pub(crate) facts: Vec<Known>,
    /// How the engine is driven: the hours from one sweep to the next, and how many hours ahead it makes occurrences.
    pub(crate) sweeps: Vec<(u16, u16)>,
    pub(crate) start: Timestamp,
    pub(crate) now: Timestamp,
}

/// What becomes known, with the minute.
#[derive(Debug, Clone)]
enum Happens {
    Enrolled { days_before: i64, zone: &'static str, group: &'static str },
    Zone(&'static str),
    Event { id: &'static str, day: i64 },
    Withdrawn,
    Submitted { id: u128, instrument: &'static str, delay: i64 },
}

pub(crate) fn year() -> impl Strategy<Value = Year> {
    let parts = (
        select(vec!["2011-02-20", "2024-01-31", "2026-01-15", "2026-06-30"]),
        vec(any_schedule(), 1..4),
        vec(happens(), 2..13),
        vec(submitted(), 0..50),
        vec((1_u16..240, 0_u16..600), 1..20),
        select(ZONES.to_vec()),
    );
    parts.prop_map(|(day, forms, happens, submissions, sweeps, zone)| {
        let day: Date = day.parse().unwrap();
        let start = day.to_zoned(zone_of("UTC")).unwrap().timestamp();
        let at = |minute: i64| start + SignedDuration::from_mins(minute);
        let schedules = forms.iter().enumerate().map(|(place, form)| form.schedule(place, day)).collect();
        let enrolled = (0, Happens::Enrolled { days_before: 0, zone, group: "all" });
        let mut all: Vec<(i64, Happens)> = std::iter::once(enrolled).chain(happens).chain(submissions).collect();
        let mut facts: Vec<Known> = all.drain(..).map(|(minute, happens)| happens.known(minute, day, &at)).collect();
        facts.sort_by_key(|known| (known.at, rank(&known.fact)));
        // Which of two changes at the same time is the first is unknown.
        facts.dedup_by_key(|known| (known.at, rank(&known.fact)));
        Year { schedules, facts, sweeps, start, now: at(365 * DAY) }
    })
}

/// The order of facts that become known at the same time.
pub(crate) fn rank(fact: &Fact) -> u128 {
    if let Fact::Submitted { submission, .. } = fact { submission.as_uuid().as_u128() } else { 0 }
}

fn happens() -> impl Strategy<Value = (i64, Happens)> {
    let happens = prop_oneof![
        4 => select(ZONES.to_vec()).prop_map(Happens::Zone),
        4 => (select(vec!["surgery", "surgery", "relapse"]), 0..300_i64).prop_map(|(id, day)| Happens::Event { id, day }),
        1 => Just(Happens::Withdrawn),
        1 => (0..5_i64, select(ZONES.to_vec()), select(vec!["all", "some"]))
            .prop_map(|(days_before, zone, group)| Happens::Enrolled { days_before, zone, group }),
    ];
    (quarters(0..365 * DAY), happens).prop_map(|(minute, happens)| match happens {
        // Late enough that much has happened before.
        Happens::Withdrawn => (180 * DAY + minute / 2, Happens::Withdrawn),
        happens => (minute, happens),
    })
}

fn submitted() -> impl Strategy<Value = (i64, Happens)> {
    let delay = prop_oneof![
        4 => Just(0_i64),
        2 => quarters(0..DAY),
        2 => quarters(0..12 * DAY),
    ];
    (quarters(0..365 * DAY), any::<u128>(), select(vec!["pain", "mood"]), delay).prop_map(
        |(minute, id, instrument, delay)| (minute + delay, Happens::Submitted { id: id.max(1), instrument, delay }),
    )
}

/// Minutes on the quarter of an hour, so that they often meet the ends of windows.
fn quarters(minutes: Range<i64>) -> impl Strategy<Value = i64> {
    (minutes.start / 15..minutes.end / 15).prop_map(|quarter| quarter * 15)
}

impl Happens {
    fn known(self, minute: i64, first: Date, at: &dyn Fn(i64) -> Timestamp) -> Known {
        let day = |days: i64| first.checked_add(days.days()).unwrap();
        let fact = match self {
            Happens::Enrolled { days_before, zone, group } => Fact::Enrolled {
                site: "S01".parse().unwrap(),
                on: day(minute / DAY - days_before),
                zone: zone_of(zone),
                group: Some(group.parse().unwrap()),
            },
            Happens::Zone(zone) => Fact::ZoneChanged(zone_of(zone)),
            Happens::Event { id, day: days } => Fact::EventDated { event: id.parse().unwrap(), on: day(days) },
            Happens::Withdrawn => Fact::Withdrawn,
            Happens::Submitted { id, instrument, delay } => Fact::Submitted {
                submission: Uuid::from_u128(id).into(),
                instrument: instrument.parse().unwrap(),
                effective: at(minute - delay),
            },
        };
        Known { at: at(minute), fact }
    }
}

/// The choices of a schedule.
#[derive(Debug, Clone)]
struct Form {
    instrument: &'static str,
    anchor: (u8, i64),
    delay: i64,
    /// Days, and windows or the last day.
    every: Option<(i64, Result<u32, i64>)>,
    opens: i64,
    length: i64,
    reminders: Vec<Result<i64, i64>>,
    /// After how many windows missed in a row, and for how many hours others are quiet.
    missed: Option<(u32, u32)>,
    grouped: bool,
}

fn any_schedule() -> impl Strategy<Value = Form> {
    let days = prop_oneof![2 => Just(1_i64), 2 => Just(7_i64), 1 => 2..5_i64, 3 => 5..60_i64];
    let end = prop_oneof![(1..400_u32).prop_map(Ok), (20..400_i64).prop_map(Err)];
    let every = option::weighted(0.9, (days, end));
    let times = prop_oneof![
        1 => Just((0_i64, DAY)),
        4 => (quarters(0..DAY), quarters(15..3 * DAY)),
        1 => (quarters(0..4 * 60), quarters(15..90)),
    ];
    let reminders = vec(prop_oneof![quarters(0..DAY).prop_map(Ok), quarters(15..DAY).prop_map(Err)], 0..4);
    let parts = (
        select(vec!["pain", "pain", "mood"]),
        (0..6_u8, 0..60_i64),
        prop_oneof![3 => Just(0_i64), 1 => 1..20_i64],
        every,
        times,
        reminders,
        option::weighted(0.8, (1..5_u32, prop_oneof![2 => Just(0), 1 => 1..400_u32])),
        any::<u8>(),
    );
    parts.prop_map(|(instrument, anchor, delay, every, (opens, length), reminders, missed, grouped)| {
        let longest = every.map_or(5 * DAY, |(days, _)| days * DAY);
        let length = length.min(longest);
        Form { instrument, anchor, delay, every, opens, length, reminders, missed, grouped: grouped < 40 }
    })
}

impl Form {
    fn schedule(&self, place: usize, first: Date) -> Schedule {
        let day = |days: i64| first.checked_add(days.days()).unwrap().to_string();
        let closes = self.opens + self.length;
        // The end of a day, not the start of the next one.
        let last_day = (closes - 1) / DAY;
        let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
        let anchor = match self.anchor {
            (0 | 1, _) => json!({"enrolment": {}}),
            (2 | 3, days) => json!({"event": if days % 2 == 0 { "surgery" } else { "relapse" }}),
            (4, days) => json!({"weekday": if days % 2 == 0 { "sunday" } else { "wednesday" }}),
            (_, days) => json!({"date": day(days - 20)}),
        };
        let mut form = json!({
            "id": format!("diary-{place}"), "instrument": self.instrument, "anchor": anchor, "delayDays": self.delay,
            "window": {"opens": clock(self.opens), "closes": clock(closes - last_day * DAY), "closesAfterDays": last_day},
            "groups": if self.grouped { json!(["all"]) } else { json!([]) },
        });
        if let Some((days, end)) = self.every {
            form["every"] = match end {
                Ok(count) => json!({"days": days, "count": count}),
                Err(until) => json!({"days": days, "until": day(until)}),
            };
        }
        let inside = |minutes: i64| minutes.rem_euclid(self.length);
        let reminders = self.reminders.iter().map(|reminder| match reminder {
            Ok(minutes) => json!({"minutesAfterOpening": inside(*minutes)}),
            Err(minutes) => json!({"minutesBeforeClosing": inside(*minutes).max(1)}),
        });
        form["reminders"] = Value::Array(reminders.collect());
        if let Some((after, quiet_hours)) = self.missed {
            form["missed"] = json!({"severity": "warning", "after": after});
            if quiet_hours > 0 {
                form["missed"]["quietHours"] = json!(quiet_hours);
            }
        }
        schedule(&form)
    }
}
