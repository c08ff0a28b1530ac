//! What is stored of a patient's occurrences is what the reference makes of the facts, in whatever order and however often
//! the answers are processed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

mod engine;
mod generate;

use std::cell::RefCell;
use std::collections::BTreeMap;

use clinical::schedules::{Occurrence, State, replay};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::engine::Engine;
use crate::generate::{Course, course, definition};

/// The number of patients, unless `PROPTEST_CASES` gives another.
const PATIENTS: u32 = 48;
const SEED: u64 = 20_261_127;
/// How far ahead occurrences are made at least.
const AHEAD: SignedDuration = SignedDuration::from_hours(23);

/// What the window and the state of an occurrence are, and the first window that its alert counts, whether it is quiet, and
/// whether a late answer has resolved it: of several late answers, whichever was processed first.
type Outcome = (Timestamp, Timestamp, State, Option<(Timestamp, bool, bool)>);

/// What became of `occurrences`. Those that are not asked, and those that ended before they opened, are as if they did not
/// exist: whether they are stored depends on how far ahead occurrences are made.
fn outcomes<'a>(
    occurrences: impl IntoIterator<Item = &'a Occurrence>,
    ahead: Timestamp,
) -> BTreeMap<(String, u32), Outcome> {
    let asked = occurrences.into_iter().filter(|one| match one.state {
        State::NotAsked => false,
        State::Ended { at } => one.window.opens <= at,
        State::Waiting => one.window.opens <= ahead,
        State::Done { .. } | State::Missed => true,
    });
    let outcome = |one: &Occurrence| {
        let alert = one.alert.map(|alert| (alert.since, alert.quiet, alert.resolved.is_some()));
        (one.window.opens, one.window.closes, one.state, alert)
    };
    asked.map(|one| ((one.schedule.to_string(), one.number), outcome(one))).collect()
}

/// What all courses must have seen, so that the comparison is not one of empty sets.
#[derive(Debug, Default)]
struct Seen {
    done: usize,
    late: usize,
    missed: usize,
    ended: usize,
    reminders: usize,
    alerts: usize,
    quiet: usize,
    resolved: usize,
}

impl Seen {
    fn count(&mut self, outcomes: &BTreeMap<(String, u32), Outcome>, reminders: usize) {
        for (_, _, state, alert) in outcomes.values() {
            match state {
                State::Done { late, .. } => {
                    self.done += 1;
                    self.late += usize::from(*late);
                }
                State::Missed => self.missed += 1,
                State::Ended { .. } => self.ended += 1,
                State::Waiting | State::NotAsked => {}
            }
            self.alerts += usize::from(alert.is_some());
            self.quiet += usize::from(alert.is_some_and(|(_, quiet, _)| quiet));
            self.resolved += usize::from(alert.is_some_and(|(_, _, resolved)| resolved));
        }
        self.reminders += reminders;
    }
}

#[test]
fn what_is_stored_is_what_the_reference_makes_of_the_facts_in_any_order_of_processing() {
    let seen = RefCell::new(Seen::default());
    let mut config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = PATIENTS;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    proptest!(config, |(course in course())| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(compare(&course, &seen))?;
    });
    let seen = seen.into_inner();
    assert!(seen.done >= 120 && seen.late >= 30 && seen.missed >= 700 && seen.ended >= 2, "{seen:?}");
    assert!(seen.reminders >= 800 && seen.alerts >= 300 && seen.quiet >= 50 && seen.resolved >= 15, "{seen:?}");
}

async fn compare(course: &Course, seen: &RefCell<Seen>) -> Result<(), TestCaseError> {
    let engine = Engine::of(course).await;
    let study = definition(&course.study).unwrap();
    let ahead = engine.now() + AHEAD;
    let expected = replay(&study.definition().schedules, &engine.known, engine.now(), ahead);
    let occurrences = engine.occurrences().await;
    let stored = outcomes(occurrences.iter().map(|one| &one.occurrence), ahead);
    let of_reference = outcomes(expected.occurrences.values(), ahead);
    prop_assert_eq!(&stored, &of_reference);

    let mut reminders = BTreeMap::new();
    for due in &expected.reminders {
        *reminders.entry((due.schedule.to_string(), due.number)).or_default() += 1;
    }
    prop_assert_eq!(engine.reminders(), reminders);

    let alerts = of_reference.values().filter_map(|(_, _, _, alert)| alert.as_ref());
    let resolved = alerts.clone().filter(|(_, _, resolved)| *resolved).count();
    prop_assert_eq!(engine.alerts(), (alerts.clone().count(), resolved));
    prop_assert_eq!(engine.quiet(), alerts.filter(|(_, quiet, resolved)| *quiet && !resolved).count());
    seen.borrow_mut().count(&of_reference, expected.reminders.len());
    Ok(())
}
