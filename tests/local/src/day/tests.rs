use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::date;

use super::calendar::Study;
use super::course::Seen;
use super::expected::{alerts, differences};
use super::observed::{Key, Listed, Observed, Reminder};
use super::plan::{BEFORE, Draw, Habit, Outcome, Plan, STEP};

fn study() -> Study {
    serde_json::from_str(crate::cloud::DEMO_STUDY).expect("its members are known here")
}

fn plan(study: &Study, seed: u64) -> Plan {
    let draw = Draw { patients: 200, seed, day: date(2026, 12, 1), run: "test" };
    Plan::draw(study, draw).expect("the study has sites, zones and times")
}

/// What a faultless product shows of `plan`.
fn faultless(plan: &Plan, study: &Study) -> (Seen, Observed) {
    let mut seen = Seen::default();
    let (mut windows, mut reminders) = (BTreeMap::new(), Vec::new());
    for patient in &plan.patients {
        for asked in &patient.windows {
            let key = Key::of(&patient.id, asked);
            let outcome = asked.outcome(plan.ends);
            let (opens, closes) = (Some(asked.window.opens), Some(asked.window.closes));
            if matches!(outcome, Outcome::Missed | Outcome::Late) {
                seen.missed.insert(key.clone());
            }
            for due in asked.reminded(plan.ends) {
                let id = format!("{key} {due}");
                reminders.push(Reminder { key: key.clone(), id, due: Some(due), published: Some(due) });
            }
            windows.insert(key.clone(), Listed { key, outcome, opens, closes });
        }
    }
    (seen, Observed { windows, reminders, alerts: alerts(plan, study), unpublished: 0 })
}

#[test]
fn every_habit_every_outcome_and_patients_abroad_are_in_a_day() {
    let study = study();
    let plan = plan(&study, 1);
    let habits: BTreeSet<Habit> = plan.patients.iter().map(|patient| patient.habit).collect();
    assert_eq!(habits.len(), 6);
    let windows = || plan.patients.iter().flat_map(|patient| &patient.windows);
    let outcomes: BTreeSet<Outcome> = windows().map(|asked| asked.outcome(plan.ends)).collect();
    assert_eq!(outcomes.len(), 4);
    let abroad = plan.patients.iter().filter(|patient| patient.abroad.is_some()).count();
    assert!((20..80).contains(&abroad), "{abroad}");
    let alerts = alerts(&plan, &study);
    for schedule in &study.schedules {
        let own: Vec<_> =
            alerts.iter().filter(|((_, rule), _)| *rule == schedule.id).flat_map(|(_, own)| own).collect();
        let resolved = own.iter().filter(|alert| alert.resolved).count();
        assert!(0 < resolved && resolved < own.len(), "{}: {resolved} of {}", schedule.id, own.len());
    }
}

#[test]
fn answers_are_completed_in_their_windows_and_sent_when_their_outcome_is_certain() {
    let study = study();
    for seed in 0..20 {
        let plan = plan(&study, seed);
        for asked in plan.patients.iter().flat_map(|patient| &patient.windows) {
            let (opens, closes) = (asked.window.opens, asked.window.closes);
            assert!(opens < closes && closes.as_second() % STEP.as_secs() == 0);
            let Some(answer) = &asked.answer else { continue };
            assert!((opens..closes).contains(&answer.completed));
            assert!(answer.completed + BEFORE <= answer.sent && answer.sent <= plan.ends);
            assert_eq!(answer.sent.as_second() % STEP.as_secs(), 0);
            // Neither at the closing nor before sweep has found it missed.
            assert!(answer.sent <= closes || answer.sent > closes + STEP);
            let is_reminded = asked.reminded(plan.ends).next().is_some();
            assert!(!answer.after_reminder || is_reminded, "{asked:?}");
        }
    }
}

#[test]
fn a_seed_determines_who_does_what() {
    let study = study();
    let shown = |seed: u64| {
        let plan = plan(&study, seed);
        let windows = plan.patients.iter().flat_map(|patient| &patient.windows);
        windows
            .map(|asked| (asked.outcome(plan.ends), asked.answer.as_ref().map(|answer| answer.sent)))
            .collect::<Vec<_>>()
    };
    assert_eq!(shown(7), shown(7));
    assert_ne!(shown(7), shown(8));
}

#[test]
fn each_kind_of_difference_is_found() {
    let study = study();
    let plan = plan(&study, 1);
    assert_eq!(differences(&plan, &study, &faultless(&plan, &study).0, &faultless(&plan, &study).1), [] as [&str; 0]);
    let found = |change: &dyn Fn(&mut Seen, &mut Observed)| {
        let (mut seen, mut observed) = faultless(&plan, &study);
        change(&mut seen, &mut observed);
        differences(&plan, &study, &seen, &observed)
    };
    let one = |change: &dyn Fn(&mut Seen, &mut Observed), expected: &str| {
        let found = found(change);
        assert!(found.len() == 1 && found[0].contains(expected), "{expected}: {found:?}");
    };
    one(&|_, observed| drop(observed.windows.pop_first()), "it is not listed");
    one(
        &|_, observed| {
            let late = observed.windows.values_mut().find(|window| window.outcome == Outcome::Late);
            late.expect("some are late").outcome = Outcome::Done;
        },
        "it is Done, and should be Late",
    );
    one(
        &|_, observed| {
            let window = observed.windows.values_mut().next().expect("there are windows");
            window.closes = window.closes.map(|closes| closes + STEP);
        },
        "at another time",
    );
    one(&|seen, _| drop(seen.missed.pop_first()), "after the closing");
    one(&|_, observed| drop(observed.reminders.pop()), "was not published");
    one(
        &|_, observed| {
            let reminder = observed.reminders.last_mut().expect("some are reminded");
            reminder.published = reminder.published.map(|at| at + STEP);
        },
        "was published at",
    );
    one(
        &|_, observed| {
            let Reminder { key, due, published, .. } = observed.reminders.pop().expect("some are reminded");
            let twice = ["a", "b"].map(|id| Reminder { key: key.clone(), id: id.to_owned(), due, published });
            observed.reminders.extend(twice);
        },
        "different ids",
    );
    one(&|_, observed| observed.unpublished = 1, "were not published");
    one(
        &|_, observed| {
            let alert = observed.alerts.values_mut().flatten().find(|alert| alert.resolved);
            alert.expect("some are resolved").resolved = false;
        },
        "alerts of missed windows, and not",
    );
    one(
        &|_, observed| {
            let (other, alerts) = observed.alerts.first_key_value().expect("some are raised");
            let other = ((format!("{}-other", other.0), other.1.clone()), alerts[..1].to_vec());
            observed.alerts.extend([other]);
        },
        "are listed, and not",
    );
    one(&|seen, _| seen.differences.push("a phone".to_owned()), "a phone");
}
