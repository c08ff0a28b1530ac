//! The figures of a report.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]
#![allow(dead_code, reason = "other tests use the rest of the sample")]

mod sample;

use std::collections::{BTreeMap, BTreeSet};

use clinical::ids::InstrumentId;
use clinical::instruments::Severity;
use clinical::studies::{Protocol, Study};
use records::{Compliance, PatientPeriod, SitePeriod, Stay};
use report::period::{ReportPeriod, Zone};
use report::statistics::{PatientInstrument, SitePlan, Totals, statistics};
use rust_decimal::Decimal;
use sample::Random;
use time::macros::{date, datetime};
use time::{Date, Duration, OffsetDateTime};

fn id(id: &str) -> InstrumentId {
    id.parse().unwrap()
}

fn period(zone: &str) -> ReportPeriod {
    let now = datetime!(2026-12-01 00:00 UTC);
    ReportPeriod::parse(Some("2026-11-01"), Some("2026-11-14"), now, Zone::named(zone).unwrap()).unwrap()
}

/// A patient who completed a PHQ-9 at each of `times`, and whose first one ever was at `first`.
fn patient(first: Option<OffsetDateTime>, times: &[OffsetDateTime]) -> PatientPeriod {
    let mut random = Random(3);
    let submissions: Vec<_> = times.iter().map(|at| sample::submission("phq-9", *at, 50, &mut random)).collect();
    let first_submission = first.into_iter().chain(times.iter().copied()).min();
    PatientPeriod {
        patient: "P-1".parse().unwrap(),
        first_submission,
        stay: Stay::default(),
        submissions,
        alerts: Vec::new(),
        compliance: BTreeMap::new(),
    }
}

fn noon(day: u8) -> OffsetDateTime {
    datetime!(2026-11-01 12:00 UTC) + Duration::days(i64::from(day) - 1)
}

/// Expected and completed windows of a PHQ-9 every `every` days, from 1 to 14 November 2026, as seen on `today`.
fn compliance(patient: &PatientPeriod, every: u32, zone: &str, today: Date) -> (u64, u64) {
    let data = SitePeriod { patients: vec![patient.clone()], unreadable: 0 };
    let (protocol, phq_9) = (Protocol::of_no_study(), id("phq-9"));
    let plan =
        SitePlan { protocol: &protocol, intervals: BTreeMap::from([(&phq_9, every)]), scheduled: BTreeSet::new() };
    let statistics = statistics(&data, &plan, &period(zone), today);
    let Compliance { expected, completed, .. } = statistics.patients[0].instruments[&phq_9].compliance.unwrap();
    assert_eq!(statistics.instruments[&phq_9].compliance, Some(Compliance { expected, completed, late: 0 }));
    (expected, completed)
}

#[test]
fn windows_are_counted_from_the_first_submission_by_the_schedule() {
    let before = Some(noon(1) - Duration::days(20));
    let after = date!(2026 - 12 - 01);
    let days = |days: &[u8]| days.iter().map(|day| noon(*day)).collect::<Vec<_>>();
    for (first, answered_on, every, today, expected, why) in [
        (before, vec![], 1, after, (14, 0), "daily, never answered"),
        (before, (1..=14).collect(), 1, after, (14, 14), "daily, always answered"),
        (before, vec![3, 3, 3, 5], 1, after, (14, 2), "three on a day are one time"),
        (None, vec![5, 6], 1, after, (10, 2), "from the first submission on"),
        (None, vec![], 1, after, (0, 0), "nothing is due before a first submission"),
        (before, vec![1, 8], 7, after, (2, 2), "weekly"),
        (before, vec![7, 8], 7, after, (2, 2), "the last day of a week, and the first of the next"),
        (before, vec![1, 7], 7, after, (2, 1), "twice in a week"),
        (before, vec![], 5, after, (2, 0), "a window that the period cuts off is not due"),
        (before, vec![14], 5, after, (3, 1), "unless it is answered"),
        (before, vec![], 30, after, (0, 0), "a window longer than the period"),
        (before, vec![], 1, date!(2026 - 11 - 04), (3, 0), "today is not over"),
        (before, vec![4], 1, date!(2026 - 11 - 04), (4, 1), "and counts once it is answered"),
        (before, vec![], 1, date!(2026 - 10 - 01), (0, 0), "nothing is due in the future"),
    ] {
        let patient = patient(first, &days(&answered_on));
        assert_eq!(compliance(&patient, every, "UTC", today), expected, "{why}");
    }
}

#[test]
fn days_are_those_of_the_sites_time_zone() {
    // 23:30 and 00:30 in Shanghai: two days there, one in UTC.
    let late = patient(None, &[datetime!(2026-11-03 15:30 UTC), datetime!(2026-11-03 16:30 UTC)]);
    let today = date!(2026 - 12 - 01);
    assert_eq!(compliance(&late, 1, "Asia/Shanghai", today), (12, 2));
    assert_eq!(compliance(&late, 1, "UTC", today), (12, 1));
}

#[test]
fn percent_is_rounded_half_up_and_undefined_for_nothing_expected() {
    let percent = |expected, completed| Compliance { expected, completed, late: 0 }.percent();
    assert_eq!((percent(8, 1), percent(3, 2), percent(200, 1), percent(3, 0)), (Some(13), Some(67), Some(1), Some(0)));
    assert_eq!(percent(0, 0), None);
}

#[test]
fn without_a_schedule_submissions_are_counted_and_nothing_is_expected() {
    let data = SitePeriod { patients: vec![patient(None, &[noon(2), noon(4)])], unreadable: 3 };
    let (protocol, phq_9) = (Protocol::of_no_study(), id("phq-9"));
    let plan = SitePlan::at(&protocol, &"S01".parse().unwrap());
    let statistics = statistics(&data, &plan, &period("UTC"), date!(2026 - 12 - 01));
    let line = PatientInstrument { submissions: 2, last: Some(noon(4)), clock_corrected: false, compliance: None };
    assert_eq!(statistics.patients[0].instruments, BTreeMap::from([(&phq_9, line)]));
    assert_eq!(statistics.instruments[&phq_9].compliance, None);
    let counts = Totals { patients: 1, active: 1, submissions: 2, scored: 2, unreadable: 3, ..Totals::default() };
    assert_eq!(statistics.totals, counts);
}

#[test]
fn a_submission_without_a_score_completes_its_window_and_is_in_no_course() {
    let mut patient = patient(None, &[noon(1), noon(2), noon(3)]);
    patient.submissions[0].scores = Some(Vec::new());
    patient.submissions[1].scores = None;
    assert_eq!(compliance(&patient, 1, "UTC", date!(2026 - 12 - 01)), (14, 3));
    let data = SitePeriod { patients: vec![patient], unreadable: 0 };
    let protocol = Protocol::of_no_study();
    let plan = SitePlan::at(&protocol, &"S01".parse().unwrap());
    let statistics = statistics(&data, &plan, &period("UTC"), date!(2026 - 12 - 01));
    let Totals { scored, not_scorable, waiting, .. } = statistics.totals;
    assert_eq!((scored, not_scorable, waiting), (1, 1, 1));
    assert_eq!(statistics.courses[0].patients[0].1.len(), 1);
}

#[test]
fn courses_are_in_the_instruments_order_of_its_scores() {
    let data = sample::site(2, 3, &["phq-4", "gad-7"]);
    let protocol = Protocol::of_no_study();
    let plan = SitePlan::at(&protocol, &"S01".parse().unwrap());
    let statistics = statistics(&data, &plan, &period("UTC"), date!(2026 - 12 - 01));
    let names: Vec<_> =
        statistics.courses.iter().map(|course| (course.instrument.as_str(), course.score.as_str())).collect();
    assert_eq!(names, [("gad-7", "total"), ("phq-4", "total"), ("phq-4", "anxiety"), ("phq-4", "depression")]);
    let total = &statistics.courses[1];
    assert_eq!(total.range, (Decimal::ZERO, Decimal::from(12)));
    assert_eq!(total.definition.unwrap().bands.len(), 4);
    assert_eq!(total.patients.len(), 2);
}

#[test]
fn alerts_are_counted_by_severity_and_status_and_listed_newest_first() {
    let data = sample::site(40, 30, &["phq-9"]);
    let protocol = Protocol::of_no_study();
    let plan = SitePlan::at(&protocol, &"S01".parse().unwrap());
    let statistics = statistics(&data, &plan, &period("UTC"), date!(2026 - 12 - 01));
    let raised: usize = data.patients.iter().map(|patient| patient.alerts.len()).sum();
    assert!(raised > 20, "{raised}");
    assert_eq!(statistics.alerts.len(), raised);
    assert_eq!(statistics.alert_counts.values().flatten().sum::<u64>(), raised as u64);
    let critical = statistics.alerts.iter().filter(|line| line.alert.severity == Severity::Critical).count();
    assert_eq!(statistics.alert_counts[&Severity::Critical].iter().sum::<u64>(), critical as u64);
    assert!(statistics.alerts.is_sorted_by(|one, other| one.alert.raised_at >= other.alert.raised_at));
    assert!(statistics.alerts.iter().all(|line| line.instrument == Some(&id("phq-9"))));
}

#[test]
fn an_interval_applies_to_the_sites_that_the_study_names_and_where_no_schedule_asks() {
    let study = r#"{
        "id": "DEMO", "version": "1.0.0", "title": {"en": "A study"}, "languages": ["en"],
        "sites": [
            {"id": "S01", "name": "One", "timeZone": "UTC"}, {"id": "S02", "name": "Two", "timeZone": "UTC"}
        ],
        "instruments": [
            {"id": "phq-9", "version": "1.0.0", "everyDays": 7},
            {"id": "gad-7", "version": "1.0.0", "everyDays": 1, "sites": ["S02"]},
            {"id": "phq-2", "version": "1.0.0"},
            {"id": "phq-4", "version": "1.0.0", "everyDays": 1}
        ],
        "schedules": [{
            "id": "evening", "instrument": "phq-4", "sites": ["S02"], "anchor": {"enrolment": {}},
            "every": {"days": 7, "count": 4}, "window": {"opens": "17:00", "closes": "24:00"}
        }]
    }"#;
    let protocol = Study::parse(study).unwrap().with_instruments(&[], |_| true).unwrap();
    let plan = |site: &str| {
        let plan = SitePlan::at(&protocol, &site.parse().unwrap());
        let intervals = plan.intervals.into_iter().map(|(id, every)| (id.as_str().to_owned(), every));
        (intervals.collect::<Vec<_>>(), plan.scheduled.into_iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>())
    };
    let days = |id: &str, days| (id.to_owned(), days);
    assert_eq!(plan("S01"), (vec![days("phq-4", 1), days("phq-9", 7)], vec![]));
    assert_eq!(plan("S02"), (vec![days("gad-7", 1), days("phq-9", 7)], vec!["phq-4".to_owned()]));
}

#[test]
fn where_a_schedule_asks_the_windows_count_and_not_the_submissions() {
    let mut of_windows = patient(None, &[noon(2), noon(4)]);
    let (phq_9, gad_7) = (id("phq-9"), id("gad-7"));
    let compliance = |expected, completed, late| Compliance { expected, completed, late };
    of_windows.compliance =
        BTreeMap::from([(phq_9.clone(), compliance(5, 3, 1)), (gad_7.clone(), compliance(1, 0, 0))]);
    let other = PatientPeriod { patient: "P-2".parse().unwrap(), ..patient(None, &[]) };
    let data = SitePeriod { patients: vec![of_windows, other], unreadable: 0 };
    let protocol = Protocol::of_no_study();
    let plan = SitePlan { protocol: &protocol, intervals: BTreeMap::new(), scheduled: [&phq_9].into() };
    let statistics = statistics(&data, &plan, &period("UTC"), date!(2026 - 12 - 01));
    let of =
        |patient: usize, instrument| statistics.patients[patient].instruments.get(instrument).map(|one| one.compliance);
    assert_eq!(of(0, &phq_9), Some(Some(compliance(5, 3, 1))));
    assert_eq!(of(1, &phq_9), Some(Some(compliance(0, 0, 0))), "nothing was due yet");
    assert_eq!((of(0, &gad_7), of(1, &gad_7)), (Some(Some(compliance(1, 0, 0))), None), "asked by an earlier version");
    assert_eq!(statistics.instruments[&phq_9].compliance, Some(compliance(5, 3, 1)));
}
