//! What the windows of a patient must be: computed from what was known of the patient, by the definitions alone.

use std::collections::BTreeMap;

use clinical::schedules::{Plan, Schedule, Window};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::facts::{Facts, Submitted};

/// How far ahead windows are certainly made: more are made a day before the next one opens, and `sweep` needs some time.
const AHEAD: SignedDuration = SignedDuration::from_hours(22);
/// Windows that are compared to see whether a change has moved them.
const COMPARED: usize = 20;

/// The name of a window: its schedule and its number.
pub(crate) type Name = (String, u32);

/// A window of a patient.
pub(crate) struct Expected {
    pub(crate) window: Window,
    /// The times of its reminders.
    pub(crate) reminders: Vec<Timestamp>,
    /// When it may be known first.
    pub(crate) known: Timestamp,
    /// Whether it may have been over when it became known, so that it need not exist.
    pub(crate) is_optional: bool,
    pub(crate) outcome: Outcome,
    /// The submissions that may answer it.
    pub(crate) candidates: Vec<Submitted>,
}

/// What became of a window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Waiting,
    Missed,
    Done {
        id: String,
        late: bool,
    },
    Ended,
    /// A change and an answer, or a change and the closing, have crossed: what was worked off first is not promised.
    Open,
}

/// The windows of the patient of `facts` under `schedules` at `now`. `None` if a change has moved windows: what was worked
/// off before it then decides.
pub(crate) fn expected(facts: &Facts, schedules: &[Schedule], now: Timestamp) -> Option<BTreeMap<Name, Expected>> {
    let mut windows = BTreeMap::new();
    let withdrawn_at = facts.states.iter().find_map(|state| state.withdrawn_at);
    for schedule in schedules {
        let plans = facts.states.iter().filter(|state| state.withdrawn_at.is_none());
        let plans: Vec<_> = plans
            .map(|state| (state.earliest, Plan::of(schedule, &state.subject)))
            .skip_while(|(_, plan)| plan.is_none())
            .collect();
        let Some((known, Some(plan))) = plans.first() else { continue };
        if !plans.iter().all(|(_, other)| is_same(plan, other.as_ref())) {
            return None;
        }
        let latest = facts.planned_as_of(*known);
        for (number, window) in plan.closing_after(*known).take_while(|(_, window)| window.opens <= now + AHEAD) {
            if window.is_empty() {
                continue;
            }
            // Not made before the withdrawal, and so never.
            let is_late = withdrawn_at.is_some_and(|at| at <= latest || at + AHEAD < window.opens);
            let expected = Expected {
                window,
                reminders: reminders(schedule, &window, *known),
                known: *known,
                is_optional: window.closes <= latest || is_late,
                outcome: outcome(facts, &window, withdrawn_at, now),
                candidates: facts.submissions.iter().filter(|one| window.holds(one.effective)).cloned().collect(),
            };
            windows.insert((schedule.id.as_str().to_owned(), number), expected);
        }
    }
    answer(facts, &mut windows, withdrawn_at);
    Some(windows)
}

fn is_same(plan: &Plan<'_>, other: Option<&Plan<'_>>) -> bool {
    let first = |plan: &Plan<'_>| plan.closing_after(Timestamp::MIN).take(COMPARED).collect::<Vec<_>>();
    other.is_some_and(|other| first(plan) == first(other))
}

/// What becomes of `window` without an answer.
fn outcome(facts: &Facts, window: &Window, withdrawn_at: Option<Timestamp>, now: Timestamp) -> Outcome {
    match withdrawn_at {
        Some(at) if window.closes <= at => Outcome::Missed,
        // A run of `sweep` works off what is closed before what has changed.
        Some(at) if window.closes <= facts.planned_after(at) => Outcome::Open,
        Some(_) => Outcome::Ended,
        None if window.closes <= now => Outcome::Missed,
        None => Outcome::Waiting,
    }
}

/// Each submission answers one window that holds it, of several the one that closes first, and of several submissions the
/// one that was received first.
fn answer(facts: &Facts, windows: &mut BTreeMap<Name, Expected>, withdrawn_at: Option<Timestamp>) {
    for submitted in &facts.submissions {
        let holds = |one: &Expected| one.window.holds(submitted.effective);
        let is_free = |one: &Expected| !matches!(one.outcome, Outcome::Done { .. });
        // Accepted while the withdrawal was entered.
        let is_after_withdrawal = withdrawn_at.is_some_and(|at| submitted.effective >= at);
        let is_open = |one: &Expected| one.is_optional || one.outcome == Outcome::Open || is_after_withdrawal;
        if windows.values().any(|one| holds(one) && is_open(one)) {
            windows.values_mut().filter(|one| holds(one)).for_each(|one| one.outcome = Outcome::Open);
            continue;
        }
        let free = windows.iter_mut().filter(|(_, one)| holds(one) && is_free(one));
        if let Some((_, one)) = free.min_by_key(|(name, one)| (one.window.closes, (*name).clone())) {
            let late = submitted.received >= one.window.closes;
            one.outcome = Outcome::Done { id: submitted.id.clone(), late };
        }
    }
}

/// The times of the reminders of `window`, which became known at `known`.
fn reminders(schedule: &Schedule, window: &Window, known: Timestamp) -> Vec<Timestamp> {
    let schedule = json!(schedule);
    let minutes = |value: &Value| value.as_i64().map(|minutes| SignedDuration::from_secs(60 * minutes));
    let time = |reminder: &Value| {
        let after = minutes(&reminder["minutesAfterOpening"]).map(|minutes| window.opens + minutes);
        after.or_else(|| minutes(&reminder["minutesBeforeClosing"]).map(|minutes| window.closes - minutes))
    };
    let times = schedule["reminders"].as_array().into_iter().flatten().filter_map(time);
    let mut times: Vec<Timestamp> = times.filter(|at| window.holds(*at) && *at > known).collect();
    times.sort_unstable();
    times.dedup();
    times
}
