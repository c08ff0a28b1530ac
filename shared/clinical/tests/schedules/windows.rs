//! The instants of windows, where daylight saving and time zones make a difference.

use clinical::schedules::{Plan, Schedule, Subject, Window};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

/// A daily schedule from enrolment with this window.
pub(crate) fn daily(opens: &str, closes: &str, closes_after_days: u32) -> Value {
    json!({
        "id": "diary", "instrument": "pain", "anchor": {"enrolment": {}}, "every": {"days": 1, "count": 400},
        "window": {"opens": opens, "closes": closes, "closesAfterDays": closes_after_days},
    })
}

pub(crate) fn schedule(schedule: &Value) -> Schedule {
    serde_json::from_value(schedule.clone()).unwrap()
}

pub(crate) fn subject(enrolled_on: &str, zone: &str) -> Subject {
    Subject {
        site: "S01".parse().unwrap(),
        enrolled_on: enrolled_on.parse().unwrap(),
        zone: zone_of(zone),
        group: None,
        events: [].into(),
        withdrawn_at: None,
    }
}

pub(crate) fn zone_of(name: &str) -> TimeZone {
    jiff::tz::db().get(name).unwrap()
}

pub(crate) fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn window(opens: &str, closes: &str) -> Window {
    Window { opens: at(opens), closes: at(closes) }
}

#[test]
fn a_time_that_daylight_saving_skips_is_the_first_instant_after_the_gap() {
    for (zone, day, opens, closes, expected) in [
        // From 2:00 to 3:00.
        ("Europe/Berlin", "2026-03-29", "02:30", "04:00", window("2026-03-29T01:00Z", "2026-03-29T02:00Z")),
        ("Europe/Berlin", "2026-03-29", "01:00", "02:30", window("2026-03-29T00:00Z", "2026-03-29T01:00Z")),
        // By half an hour.
        ("Australia/Lord_Howe", "2026-10-04", "02:15", "03:00", window("2026-10-03T15:30Z", "2026-10-03T16:00Z")),
        // At midnight.
        ("Africa/Cairo", "2026-04-24", "00:00", "24:00", window("2026-04-23T22:00Z", "2026-04-24T21:00Z")),
        ("Africa/Cairo", "2026-04-23", "00:00", "24:00", window("2026-04-22T22:00Z", "2026-04-23T22:00Z")),
        // A whole day.
        ("Pacific/Apia", "2011-12-29", "20:00", "24:00", window("2011-12-30T06:00Z", "2011-12-30T10:00Z")),
        ("Pacific/Apia", "2011-12-30", "20:00", "24:00", window("2011-12-30T10:00Z", "2011-12-30T10:00Z")),
    ] {
        let (schedule, subject) = (schedule(&daily(opens, closes, 0)), subject(day, zone));
        assert_eq!(Plan::of(&schedule, &subject).unwrap().window(1), Some(expected), "{zone} {day} {opens}");
    }
}

#[test]
fn a_time_that_occurs_twice_is_the_earlier_for_opening_and_the_later_for_closing() {
    for (zone, day, opens, closes, expected) in [
        ("Europe/Berlin", "2026-10-25", "02:30", "04:00", window("2026-10-25T00:30Z", "2026-10-25T03:00Z")),
        ("Europe/Berlin", "2026-10-25", "01:00", "02:30", window("2026-10-24T23:00Z", "2026-10-25T01:30Z")),
        ("America/New_York", "2026-11-01", "01:15", "01:45", window("2026-11-01T05:15Z", "2026-11-01T06:45Z")),
        ("Australia/Lord_Howe", "2026-04-05", "01:30", "01:45", window("2026-04-04T14:30Z", "2026-04-04T15:15Z")),
        // Midnight occurs twice: the next day's window opens at the earlier one, which also closes this one.
        ("America/Havana", "2024-11-02", "00:00", "24:00", window("2024-11-02T04:00Z", "2024-11-03T04:00Z")),
        ("America/Havana", "2024-11-03", "00:00", "24:00", window("2024-11-03T04:00Z", "2024-11-04T05:00Z")),
    ] {
        let (schedule, subject) = (schedule(&daily(opens, closes, 0)), subject(day, zone));
        assert_eq!(Plan::of(&schedule, &subject).unwrap().window(1), Some(expected), "{zone} {day} {opens}");
    }
}

#[test]
fn whole_days_neither_overlap_nor_leave_a_hole() {
    for (zone, first) in [
        ("Europe/Berlin", "2024-01-01"),
        ("America/New_York", "2024-01-01"),
        ("America/Havana", "2024-01-01"),
        ("Africa/Cairo", "2024-01-01"),
        ("Africa/Casablanca", "2024-01-01"),
        ("Asia/Kathmandu", "2024-01-01"),
        ("Australia/Lord_Howe", "2024-01-01"),
        ("Pacific/Apia", "2011-06-01"),
    ] {
        let (schedule, subject) = (schedule(&daily("00:00", "24:00", 0)), subject(first, zone));
        let plan = Plan::of(&schedule, &subject).unwrap();
        let windows: Vec<Window> = (1..=400).map(|n| plan.window(n).unwrap()).collect();
        for (n, pair) in windows.windows(2).enumerate() {
            assert_eq!(pair[0].closes, pair[1].opens, "{zone} {n}");
            assert!(pair[0].opens <= pair[0].closes);
        }
        assert!(plan.window(0).is_none() && plan.window(401).is_none());
    }
}

#[test]
fn any_part_of_a_plan_begins_with_the_window_that_closes_next() {
    for (zone, times) in [("Europe/Berlin", ("18:00", "24:00", 0)), ("Pacific/Apia", ("12:00", "12:00", 1))] {
        let mut diary = daily(times.0, times.1, times.2);
        diary["every"] = json!({"days": 3, "count": 120});
        let (schedule, subject) = (schedule(&diary), subject("2011-03-01", zone));
        let plan = Plan::of(&schedule, &subject).unwrap();
        let start = at("2011-02-20T00:00Z");
        for hours in (0..9_600).step_by(7) {
            let now = start + jiff::SignedDuration::from_hours(hours);
            let plain = (1..=120).find(|n| plan.window(*n).unwrap().closes > now);
            assert_eq!(plan.first_closing_after(now), plain.unwrap_or(121), "{zone} {now}");
        }
        assert_eq!(plan.closing_after(start).count(), 120);
    }
}

#[test]
fn the_first_day_is_counted_from_the_anchor() {
    let first_days = |anchor: Value, delay: i32| {
        let mut diary = daily("18:00", "24:00", 0);
        diary["anchor"] = anchor;
        diary["delayDays"] = json!(delay);
        let schedule = schedule(&diary);
        // A Friday.
        let mut subject = subject("2026-11-27", "Europe/Berlin");
        let before = Plan::of(&schedule, &subject).map(|plan| plan.first_day());
        subject.events.insert("surgery".parse().unwrap(), "2026-12-10".parse().unwrap());
        (before, Plan::of(&schedule, &subject).map(|plan| plan.first_day()))
    };
    let date = |text: &str| text.parse::<Date>().ok();
    let same = |text: &str| (date(text), date(text));
    assert_eq!(first_days(json!({"enrolment": {}}), 0), same("2026-11-27"));
    assert_eq!(first_days(json!({"enrolment": {}}), 7), same("2026-12-04"));
    assert_eq!(first_days(json!({"weekday": "friday"}), 0), same("2026-11-27"));
    assert_eq!(first_days(json!({"weekday": "friday"}), 1), same("2026-12-04"));
    assert_eq!(first_days(json!({"weekday": "thursday"}), 0), same("2026-12-03"));
    assert_eq!(first_days(json!({"date": "2026-11-01"}), 3), same("2026-11-04"));
    assert_eq!(first_days(json!({"event": "surgery"}), -1), (None, date("2026-12-09")));
    assert_eq!(first_days(json!({"event": "relapse"}), 0), (None, None));
}

#[test]
fn no_window_opens_before_the_day_of_enrolment() {
    let mut diary = daily("18:00", "24:00", 0);
    diary["anchor"] = json!({"date": "2026-11-01"});
    diary["every"] = json!({"days": 7, "until": "2026-11-22"});
    let (schedule, subject) = (schedule(&diary), subject("2026-11-09", "Europe/Berlin"));
    let plan = Plan::of(&schedule, &subject).unwrap();
    let made: Vec<_> = plan.closing_after(Timestamp::MIN).collect();
    assert_eq!(made.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(made[0].1, window("2026-11-15T17:00Z", "2026-11-15T23:00Z"));
}

#[test]
fn a_schedule_is_for_its_sites_and_groups() {
    let mut diary = daily("18:00", "24:00", 0);
    diary["sites"] = json!(["S01"]);
    diary["groups"] = json!(["men"]);
    let schedule = schedule(&diary);
    for (site, group, expected) in
        [("S01", Some("men"), true), ("S02", Some("men"), false), ("S01", Some("women"), false), ("S01", None, false)]
    {
        let mut subject = subject("2026-11-27", "Europe/Berlin");
        subject.site = site.parse().unwrap();
        subject.group = group.map(|group| group.parse().unwrap());
        assert_eq!(Plan::of(&schedule, &subject).is_some(), expected, "{site} {group:?}");
    }
}
