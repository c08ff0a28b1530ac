//! What becomes of windows when a zone, an event or an enrolment changes, and when a patient withdraws.

use clinical::schedules::{Fact, Known, Occurrence, Replay, Schedule, Status, replay};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::windows::{at, daily, schedule, zone_of};

/// The fact, known at this time.
pub(crate) fn known(time: &str, fact: Fact) -> Known {
    Known { at: at(time), fact }
}

/// Enrolled at the site S01 on this day.
pub(crate) fn enrolled(time: &str, on: &str, zone: &str) -> Known {
    let (site, on, zone) = ("S01".parse().unwrap(), on.parse().unwrap(), zone_of(zone));
    known(time, Fact::Enrolled { site, on, zone, group: None })
}

/// A submission completed and received at these times.
pub(crate) fn submitted(id: u128, effective: &str, received: &str) -> Known {
    let (submission, instrument) = (Uuid::from_u128(id).into(), "pain".parse().unwrap());
    known(received, Fact::Submitted { submission, instrument, effective: at(effective) })
}

fn surgery(time: &str, on: &str) -> Known {
    known(time, Fact::EventDated { event: "surgery".parse().unwrap(), on: on.parse().unwrap() })
}

/// The replay at `now`, with what opens within a week.
pub(crate) fn replay_of(schedule: &Schedule, facts: &[Known], now: &str) -> Replay {
    replay(std::slice::from_ref(schedule), facts, at(now), at(now) + SignedDuration::from_hours(7 * 24))
}

/// The numbers, openings, closings and states of occurrences.
fn rows(replay: &Replay, now: &str) -> Vec<(u32, String, String, Status)> {
    let row = |one: &Occurrence| {
        (one.number, one.window.opens.to_string(), one.window.closes.to_string(), one.status(at(now)))
    };
    replay.occurrences.values().map(row).collect()
}

fn row(number: u32, opens: &str, closes: &str, status: Status) -> (u32, String, String, Status) {
    let text = |time: &str| time.parse::<Timestamp>().unwrap().to_string();
    (number, text(opens), text(closes), status)
}

/// Every evening, `count` times.
fn evenings(anchor: Value, count: u32) -> Schedule {
    let mut evenings = daily("18:00", "24:00", 0);
    evenings["anchor"] = anchor;
    evenings["every"]["count"] = json!(count);
    evenings["reminders"] = json!([{"minutesAfterOpening": 60}]);
    schedule(&evenings)
}

fn in_new_york(time: &str) -> Known {
    known(time, Fact::ZoneChanged(zone_of("America/New_York")))
}

#[test]
fn a_change_of_zone_moves_what_has_not_opened() {
    let schedule = evenings(json!({"enrolment": {}}), 3);
    let facts = [enrolled("2026-11-02T08:00Z", "2026-11-02", "Europe/Berlin"), in_new_york("2026-11-03T18:00Z")];
    let now = "2026-11-03T19:00Z";
    let expected = [
        row(1, "2026-11-02T17:00Z", "2026-11-02T23:00Z", Status::Missed),
        row(2, "2026-11-03T17:00Z", "2026-11-03T23:00Z", Status::Open),
        row(3, "2026-11-04T23:00Z", "2026-11-05T05:00Z", Status::NotYetOpen),
    ];
    assert_eq!(rows(&replay_of(&schedule, &facts, now), now), expected);
}

#[test]
fn a_moved_window_opens_no_earlier_than_the_last_one_closes() {
    let mut whole_days = daily("00:00", "24:00", 0);
    whole_days["every"]["count"] = json!(3);
    let schedule = schedule(&whole_days);
    let berlin = known("2026-11-03T01:00Z", Fact::ZoneChanged(zone_of("Europe/Berlin")));
    let facts = [enrolled("2026-11-02T15:00Z", "2026-11-02", "America/New_York"), berlin];
    let now = "2026-11-03T02:00Z";
    let expected = [
        row(1, "2026-11-02T05:00Z", "2026-11-03T05:00Z", Status::Open),
        // By Berlin's clock it opened on 2 November at 23:00 UTC.
        row(2, "2026-11-03T05:00Z", "2026-11-03T23:00Z", Status::NotYetOpen),
        row(3, "2026-11-03T23:00Z", "2026-11-04T23:00Z", Status::NotYetOpen),
    ];
    assert_eq!(rows(&replay_of(&schedule, &facts, now), now), expected);
}

#[test]
fn a_window_that_a_change_of_zone_moves_into_the_past_is_not_asked() {
    let mut afternoons = daily("18:00", "20:00", 0);
    afternoons["every"]["count"] = json!(2);
    let schedule = schedule(&afternoons);
    // At 17:00 in New York it is 23:00 in Berlin.
    let berlin = known("2026-11-02T22:00Z", Fact::ZoneChanged(zone_of("Europe/Berlin")));
    let facts = [enrolled("2026-11-02T15:00Z", "2026-11-02", "America/New_York"), berlin];
    let now = "2026-11-02T22:00Z";
    let expected = [row(2, "2026-11-03T17:00Z", "2026-11-03T19:00Z", Status::NotYetOpen)];
    assert_eq!(rows(&replay_of(&schedule, &facts, now), now), expected);
}

#[test]
fn a_moved_event_moves_what_is_neither_answered_nor_missed() {
    let schedule = evenings(json!({"event": "surgery"}), 5);
    let facts = [
        enrolled("2026-11-01T08:00Z", "2026-11-01", "Europe/Berlin"),
        surgery("2026-11-01T09:00Z", "2026-11-02"),
        submitted(1, "2026-11-03T18:00Z", "2026-11-03T18:00Z"),
        // The third window is open, and moves too.
        surgery("2026-11-04T18:00Z", "2026-11-04"),
    ];
    let now = "2026-11-04T18:00Z";
    let expected = [
        row(1, "2026-11-02T17:00Z", "2026-11-02T23:00Z", Status::Missed),
        row(2, "2026-11-03T17:00Z", "2026-11-03T23:00Z", Status::Done),
        row(3, "2026-11-06T17:00Z", "2026-11-06T23:00Z", Status::NotYetOpen),
        row(4, "2026-11-07T17:00Z", "2026-11-07T23:00Z", Status::NotYetOpen),
        row(5, "2026-11-08T17:00Z", "2026-11-08T23:00Z", Status::NotYetOpen),
    ];
    assert_eq!(rows(&replay_of(&schedule, &facts, now), now), expected);
}

#[test]
fn a_mistyped_date_costs_no_window_that_is_still_to_close() {
    let schedule = evenings(json!({"event": "surgery"}), 3);
    let mut facts = vec![
        enrolled("2026-11-01T08:00Z", "2026-11-01", "Europe/Berlin"),
        surgery("2026-11-01T09:00Z", "2026-11-02"),
        surgery("2026-11-02T18:00Z", "2025-11-02"),
    ];
    let now = "2026-11-02T18:00Z";
    let mistyped = rows(&replay_of(&schedule, &facts, now), now);
    assert_eq!(mistyped.iter().map(|row| row.3).collect::<Vec<_>>(), [Status::NotAsked]);
    facts.push(surgery("2026-11-02T18:05Z", "2026-11-02"));
    let now = "2026-11-02T18:05Z";
    let expected = [
        row(1, "2026-11-02T17:00Z", "2026-11-02T23:00Z", Status::Open),
        row(2, "2026-11-03T17:00Z", "2026-11-03T23:00Z", Status::NotYetOpen),
        row(3, "2026-11-04T17:00Z", "2026-11-04T23:00Z", Status::NotYetOpen),
    ];
    assert_eq!(rows(&replay_of(&schedule, &facts, now), now), expected);
}

#[test]
fn windows_that_closed_before_the_patient_was_known_are_not_made() {
    let schedule = evenings(json!({"enrolment": {}}), 4);
    let facts = [enrolled("2026-11-04T18:30Z", "2026-11-02", "Europe/Berlin")];
    let now = "2026-11-04T18:30Z";
    let replay = replay_of(&schedule, &facts, now);
    let expected = [
        row(3, "2026-11-04T17:00Z", "2026-11-04T23:00Z", Status::Open),
        row(4, "2026-11-05T17:00Z", "2026-11-05T23:00Z", Status::NotYetOpen),
    ];
    assert_eq!(rows(&replay, now), expected);
    // The reminder of the open window, at 18:00, was over.
    let times: Vec<usize> = replay.occurrences.values().map(|one| one.reminders.len()).collect();
    assert_eq!((times, replay.reminders.len()), (vec![0, 1], 0));
}

#[test]
fn nothing_is_due_after_a_withdrawal_and_what_a_phone_kept_from_before_counts() {
    let schedule = evenings(json!({"enrolment": {}}), 5);
    let withdrawn = known("2026-11-03T17:30Z", Fact::Withdrawn);
    let mut facts = vec![enrolled("2026-11-02T08:00Z", "2026-11-02", "Europe/Berlin"), withdrawn];
    let now = "2026-11-30T00:00Z";
    let replay = replay_of(&schedule, &facts, now);
    let expected = [
        row(1, "2026-11-02T17:00Z", "2026-11-02T23:00Z", Status::Missed),
        row(2, "2026-11-03T17:00Z", "2026-11-03T23:00Z", Status::Ended),
    ];
    assert_eq!(rows(&replay, now), expected);
    assert_eq!(replay.reminders.len(), 1, "the reminder of the second window ended");
    facts.push(submitted(1, "2026-11-03T17:30Z", "2026-11-03T17:31Z"));
    assert_eq!(rows(&replay_of(&schedule, &facts, now), now), expected, "it was completed after the withdrawal");
    facts.push(submitted(2, "2026-11-03T17:29Z", "2026-11-03T17:31Z"));
    facts.push(submitted(3, "2026-11-02T20:00Z", "2026-11-04T08:00Z"));
    let rows = rows(&replay_of(&schedule, &facts, now), now);
    assert_eq!(rows.iter().map(|row| row.3).collect::<Vec<_>>(), [Status::DoneLate, Status::Done]);
}

#[test]
fn a_patient_whose_group_has_no_such_schedule_is_no_longer_asked() {
    let mut evenings = daily("18:00", "24:00", 0);
    evenings["groups"] = json!(["men"]);
    let schedule = schedule(&evenings);
    let of_group = |time: &str, group: &str| {
        let (site, on, zone) = ("S01".parse().unwrap(), "2026-11-02".parse().unwrap(), zone_of("Europe/Berlin"));
        known(time, Fact::Enrolled { site, on, zone, group: Some(group.parse().unwrap()) })
    };
    let facts = [
        of_group("2026-11-02T08:00Z", "men"),
        of_group("2026-11-03T18:00Z", "women"),
        of_group("2026-11-06T18:00Z", "men"),
    ];
    let now = "2026-11-06T19:00Z";
    let rows = rows(&replay_of(&schedule, &facts, now), now);
    let states: Vec<_> = rows.iter().take(4).map(|row| (row.0, row.3)).collect();
    // What is open when the group changes stays open.
    let expected = [(1, Status::Missed), (2, Status::Missed), (5, Status::Open), (6, Status::NotYetOpen)];
    assert_eq!(states, expected);
}
