//! Random patients of random studies: what becomes known of them, and when it is processed.

use std::ops::Range;

use clinical::studies::Study;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

pub(crate) const SECONDS_OF_DAY: i64 = 24 * 3_600;
/// The days that are simulated.
pub(crate) const DAYS: i64 = 24;
/// The second of its minute at which something becomes known: after what closes at the minute was worked off.
const KNOWN: i64 = 50;
const DAY: i64 = 24 * 60;
const ZONES: [&str; 5] = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"];
const INSTRUMENTS: [&str; 2] = ["phq-9", "gad-7"];

/// A patient, from the first second on. Times are in seconds since then.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    /// The day on which it begins, at midnight UTC: such that clocks change in it, or not.
    pub(crate) first_day: &'static str,
    /// The definition of the study.
    pub(crate) study: Value,
    /// What becomes known, in order.
    pub(crate) facts: Vec<(i64, Fact)>,
}

/// What becomes known.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// Staff enrol the patient, or change the group.
    Enrolled { group: &'static str },
    /// The patient has moved.
    Zone(&'static str),
    /// The day of an event, counted from the first day.
    Event(i64),
    /// The patient withdraws.
    Withdrawn,
    /// A submission that was completed so many seconds before, and is processed so many seconds after, each time.
    Submitted { instrument: &'static str, before: i64, processed: Vec<i64> },
}

pub(crate) fn course() -> impl Strategy<Value = Course> {
    let parts = (
        select(vec!["2026-03-15", "2026-06-01", "2026-10-12"]),
        vec(instrument_schedules(), INSTRUMENTS.len()),
        vec(change(), 1..9),
        vec(submitted(), 5..45),
        select(ZONES.to_vec()),
    );
    let courses = parts.prop_map(|(first_day, schedules, changes, submissions, zone)| {
        let schedules: Vec<Value> = schedules
            .into_iter()
            .zip(INSTRUMENTS)
            .flat_map(|(schedules, instrument)| schedules.into_iter().map(move |schedule| (instrument, schedule)))
            .enumerate()
            .map(|(place, (instrument, schedule))| schedule.definition(place, instrument))
            .collect();
        let study = json!({
            "sites": [{"id": "S01", "name": "Site 1", "timeZone": zone}],
            "instruments": INSTRUMENTS.map(|id| json!({"id": id, "version": "1.0.0"})),
            "events": ["surgery"], "schedules": schedules,
        });
        let enrolled = (10 * 60 + KNOWN, Fact::Enrolled { group: "one" });
        let mut facts: Vec<_> = std::iter::once(enrolled).chain(changes).chain(submissions).collect();
        // Nothing is registered after a withdrawal.
        let withdrawal = facts.iter().filter(|(_, fact)| matches!(fact, Fact::Withdrawn)).map(|(at, _)| *at).min();
        facts.retain(|(at, fact)| {
            let is_submission = matches!(fact, Fact::Submitted { .. });
            is_submission || withdrawal.is_none_or(|withdrawal| *at <= withdrawal)
        });
        facts.sort_by_key(|(at, _)| *at);
        facts.dedup_by_key(|(at, _)| *at);
        Course { first_day, study, facts }
    });
    courses.prop_filter("a valid study", |course| definition(&course.study).is_some())
}

/// The study with these changes, as [`harness::World::put_study`] makes it, if it is valid.
pub(crate) fn definition(changes: &Value) -> Option<Study> {
    let mut study = json!({"id": "DEMO", "version": "1.0.0", "title": {"en": "A study"}, "languages": ["en"]});
    study.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    Study::parse(&study.to_string()).ok()
}

fn change() -> impl Strategy<Value = (i64, Fact)> {
    let change = prop_oneof![
        3 => select(ZONES.to_vec()).prop_map(Fact::Zone),
        4 => (-2..DAYS).prop_map(Fact::Event),
        2 => select(vec!["one", "two"]).prop_map(|group| Fact::Enrolled { group }),
        1 => Just(Fact::Withdrawn),
    ];
    (minute(60..DAYS * DAY), change).prop_map(|(minute, change)| match change {
        // Late enough that much has happened before.
        Fact::Withdrawn => ((DAYS * DAY / 2 + minute / 2) * 60 + KNOWN, Fact::Withdrawn),
        change => (minute * 60 + KNOWN, change),
    })
}

fn submitted() -> impl Strategy<Value = (i64, Fact)> {
    let before =
        prop_oneof![4 => Just(0_i64), 2 => 1..600_i64, 3 => minute(1..5 * DAY).prop_map(|minutes| minutes * 60)];
    let processed = vec(prop_oneof![0..5_i64, 0..3 * SECONDS_OF_DAY], 1..4);
    (minute(60..DAYS * DAY), select(INSTRUMENTS.to_vec()), before, processed).prop_map(
        |(minute, instrument, before, processed)| {
            (minute * 60 + KNOWN, Fact::Submitted { instrument, before, processed })
        },
    )
}

/// Often one at which windows open and close.
fn minute(minutes: Range<i64>) -> impl Strategy<Value = i64> {
    prop_oneof![
        minutes.clone(),
        (minutes.start / 15..minutes.end / 15, 0..2_i64).prop_map(|(quarter, after)| (quarter * 15 + after).max(1)),
    ]
}

/// The choices of a schedule.
#[derive(Clone, Debug)]
struct Form {
    anchor: (u8, i64),
    days: i64,
    windows: i64,
    opens: i64,
    length: i64,
    reminders: Vec<i64>,
    /// The severity, after how many windows missed in a row, and for how many hours others are quiet.
    missed: Option<(&'static str, u32, u32)>,
    group: Option<&'static str>,
}

/// A schedule, or a morning and an evening one.
fn instrument_schedules() -> impl Strategy<Value = Vec<Form>> {
    prop_oneof![
        3 => form(0..DAY, 15..40 * 60).prop_map(|form| vec![form]),
        1 => (form(0..8 * 60, 15..120), form(14 * 60..20 * 60, 15..240)).prop_map(|(morning, evening)| {
            let evening = Form { anchor: morning.anchor, days: morning.days, ..evening };
            vec![morning, evening]
        }),
    ]
}

fn form(opens: Range<i64>, length: Range<i64>) -> impl Strategy<Value = Form> {
    let parts = (
        (0..4_u8, 0..6_i64),
        prop_oneof![4 => Just(1_i64), 2 => 2..5_i64],
        3..40_i64,
        (opens.start / 15..opens.end / 15),
        (length.start / 15..length.end / 15),
        vec(0..1_000_i64, 0..3),
        option::weighted(0.8, (select(vec!["info", "warning", "critical"]), 1..4_u32, select(vec![0, 0, 30, 60, 100]))),
        option::weighted(0.15, select(vec!["one", "two"])),
    );
    parts.prop_map(|(anchor, days, windows, opens, length, reminders, missed, group)| Form {
        anchor,
        days,
        windows,
        opens: opens * 15,
        length: (length * 15).min(days * DAY),
        reminders,
        missed,
        group,
    })
}

impl Form {
    fn definition(&self, place: usize, instrument: &str) -> Value {
        let closes = self.opens + self.length;
        // The end of a day, not the start of the next one.
        let last_day = (closes - 1) / DAY;
        let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
        let anchor = match self.anchor {
            (0, _) => json!({"enrolment": {}}),
            (1, days) => json!({"weekday": if days % 2 == 0 { "sunday" } else { "wednesday" }}),
            _ => json!({"event": "surgery"}),
        };
        let mut reminders: Vec<i64> = self.reminders.iter().map(|minutes| minutes.rem_euclid(self.length)).collect();
        reminders.dedup();
        let mut definition = json!({
            "id": format!("diary-{place}"), "instrument": instrument, "anchor": anchor,
            "every": {"days": self.days, "count": self.windows},
            "window": {"opens": clock(self.opens), "closes": clock(closes - last_day * DAY), "closesAfterDays": last_day},
            "reminders": reminders.iter().map(|minutes| json!({"minutesAfterOpening": minutes})).collect::<Vec<_>>(),
        });
        if let Some((severity, after, quiet_hours)) = self.missed {
            definition["missed"] = json!({"severity": severity, "after": after});
            if quiet_hours > 0 {
                definition["missed"]["quietHours"] = json!(quiet_hours);
            }
        }
        if let Some(group) = self.group {
            definition["groups"] = json!([group]);
        }
        definition
    }
}
