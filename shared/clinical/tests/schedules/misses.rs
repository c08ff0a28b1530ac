//! Answers, late answers, reminders, and alerts of windows missed in a row.

use clinical::schedules::{Known, Replay, Status, answered_by};
use jiff::Timestamp;
use serde_json::json;

use crate::moves::{enrolled, replay_of, submitted};
use crate::windows::{at, daily, schedule};

/// The replay of evenings from 2 November in Berlin, with reminders after an hour and half an hour before closing, of
/// which `after` missed in a row are an alert.
fn evenings(after: u32, submissions: &[Known], now: &str) -> Replay {
    with_quiet_hours(after, 0, submissions, now)
}

/// As [`evenings`], with a quiet period.
fn with_quiet_hours(after: u32, quiet_hours: u32, submissions: &[Known], now: &str) -> Replay {
    let mut evenings = daily("18:00", "24:00", 0);
    evenings["reminders"] = json!([{"minutesBeforeClosing": 30}, {"minutesAfterOpening": 60}]);
    evenings["missed"] = json!({"severity": "warning", "after": after, "quietHours": quiet_hours});
    let enrolled = enrolled("2026-11-02T08:00Z", "2026-11-02", "Europe/Berlin");
    let facts: Vec<Known> = std::iter::once(enrolled).chain(submissions.iter().cloned()).collect();
    replay_of(&schedule(&evenings), &facts, now)
}

/// The numbers that raised an alert, each with the number that resolved it.
fn alerts(replay: &Replay) -> Vec<(u32, Option<u32>)> {
    let alerts = replay.occurrences.values().filter_map(|one| Some((one.number, one.alert?)));
    alerts.map(|(number, alert)| (number, alert.resolved.map(|resolved| resolved.number))).collect()
}

fn reminders(replay: &Replay) -> Vec<(u32, Timestamp)> {
    replay.reminders.iter().map(|due| (due.number, due.at)).collect()
}

fn status(replay: &Replay, number: u32, now: &str) -> Status {
    replay.occurrences[&("diary".parse().unwrap(), number)].status(at(now))
}

#[test]
fn an_answer_counts_from_the_opening_on_and_before_the_closing() {
    for (effective, received, expected) in [
        ("2026-11-02T16:59:59Z", "2026-11-02T18:00Z", Status::Missed),
        ("2026-11-02T17:00Z", "2026-11-02T18:00Z", Status::Done),
        ("2026-11-02T22:59:59Z", "2026-11-02T22:59:59Z", Status::Done),
        ("2026-11-02T22:59:59Z", "2026-11-02T23:00Z", Status::DoneLate),
        ("2026-11-02T17:00Z", "2026-11-09T18:00Z", Status::DoneLate),
        ("2026-11-02T23:00Z", "2026-11-02T23:00Z", Status::Missed),
    ] {
        let now = "2026-11-10T00:00Z";
        let replay = evenings(1, &[submitted(1, effective, received)], now);
        assert_eq!(status(&replay, 1, now), expected, "{effective} {received}");
    }
}

#[test]
fn a_second_submission_answers_nothing() {
    let facts = [
        submitted(2, "2026-11-02T18:00Z", "2026-11-02T18:00Z"),
        submitted(1, "2026-11-02T17:30Z", "2026-11-03T08:00Z"),
    ];
    let now = "2026-11-03T09:00Z";
    let replay = evenings(1, &facts, now);
    assert_eq!(status(&replay, 1, now), Status::Done);
    assert_eq!(status(&replay, 2, now), Status::NotYetOpen);
}

#[test]
fn of_two_schedules_the_one_that_closes_first_is_answered() {
    let occurrences: Vec<_> = [("24:00", "first"), ("20:00", "second")]
        .into_iter()
        .flat_map(|(closes, id)| {
            let mut diary = daily("18:00", closes, 0);
            diary["id"] = json!(id);
            let enrolled = [enrolled("2026-11-02T08:00Z", "2026-11-02", "Europe/Berlin")];
            replay_of(&schedule(&diary), &enrolled, "2026-11-02T18:00Z").occurrences.into_values()
        })
        .collect();
    let found = |instrument: &str, time: &str| {
        answered_by(&occurrences, &instrument.parse().unwrap(), at(time)).map(|one| (one.schedule.as_str(), one.number))
    };
    assert_eq!(found("pain", "2026-11-02T18:30Z"), Some(("second", 1)));
    assert_eq!(found("pain", "2026-11-02T19:00Z"), Some(("first", 1)));
    assert_eq!(found("pain", "2026-11-03T18:30Z"), Some(("second", 2)));
    assert_eq!(found("pain", "2026-11-02T12:00Z"), None);
    assert_eq!(found("mood", "2026-11-02T18:30Z"), None);
}

#[test]
fn no_reminder_is_due_after_the_answer() {
    let both = [(1, at("2026-11-02T18:00Z")), (1, at("2026-11-02T22:30Z"))];
    let now = "2026-11-03T08:00Z";
    assert_eq!(reminders(&evenings(1, &[], now)), both);
    assert_eq!(reminders(&evenings(1, &[], "2026-11-02T22:29:59Z")), both[..1]);
    for (received, expected) in
        [("2026-11-02T17:59:59Z", &both[..0]), ("2026-11-02T18:00Z", &both[..1]), ("2026-11-02T22:30Z", &both[..])]
    {
        let answer = submitted(1, "2026-11-02T17:10Z", received);
        assert_eq!(reminders(&evenings(1, &[answer], now)), expected, "{received}");
    }
}

#[test]
fn each_row_of_missed_windows_is_one_alert() {
    let now = "2026-11-09T08:00Z";
    assert_eq!(alerts(&evenings(1, &[], now)), [1, 2, 3, 4, 5, 6, 7].map(|number| (number, None)));
    assert_eq!(alerts(&evenings(3, &[], now)), [(3, None), (6, None)]);
    let answer = submitted(1, "2026-11-03T18:00Z", "2026-11-03T18:00Z");
    assert_eq!(alerts(&evenings(3, &[answer], now)), [(5, None)]);
    assert_eq!(alerts(&evenings(30, &[], now)), []);
}

#[test]
fn an_alert_within_the_quiet_period_of_a_published_one_is_quiet() {
    let now = "2026-11-09T08:00Z";
    let quiet = |after, hours, submissions: &[Known]| -> Vec<(u32, bool)> {
        let replay = with_quiet_hours(after, hours, submissions, now);
        replay.occurrences.values().filter_map(|one| Some((one.number, one.alert?.quiet))).collect()
    };
    let each = |quiet: [bool; 7]| (1..).zip(quiet).collect::<Vec<(u32, bool)>>();
    assert_eq!(quiet(1, 0, &[]), each([false; 7]));
    // From closing to closing a day passes: the period is over then, and one hour longer it is not.
    assert_eq!(quiet(1, 24, &[]), each([false; 7]));
    assert_eq!(quiet(1, 25, &[]), each([false, true, false, true, false, true, false]));
    assert_eq!(quiet(1, 72, &[]), each([false, true, true, false, true, true, false]));
    assert_eq!(quiet(2, 72, &[]), [(2, false), (4, true), (6, false)]);
    // An alert stays published if its window is answered late.
    let late = submitted(1, "2026-11-02T18:00Z", "2026-11-03T08:00Z");
    assert_eq!(quiet(1, 72, &[late]), each([false, true, true, false, true, true, false]));
}

#[test]
fn a_late_answer_resolves_the_alert_that_counts_it_and_frees_the_others() {
    let now = "2026-11-09T08:00Z";
    // The second of the first three, when the fourth was missed.
    let late = submitted(1, "2026-11-03T18:00Z", "2026-11-06T08:00Z");
    let replay = evenings(3, &[late], now);
    assert_eq!(alerts(&replay), [(3, Some(2)), (5, None)]);
    assert_eq!(status(&replay, 2, now), Status::DoneLate);
    // Missed windows that no alert counts, and windows before a row, resolve nothing.
    let uncounted = submitted(1, "2026-11-08T18:00Z", "2026-11-09T07:00Z");
    assert_eq!(alerts(&evenings(3, &[uncounted], now)), [(3, None), (6, None)]);
    // The window that raised it.
    let last = submitted(1, "2026-11-04T18:00Z", "2026-11-05T08:00Z");
    assert_eq!(alerts(&evenings(3, &[last], now)), [(3, Some(3)), (6, None)]);
}
