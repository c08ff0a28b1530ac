//! The years of 1,000 random schedules, walked through as an engine would, and compared with the replay and with a
//! plain reference.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use clinical::ids::EventId;
use clinical::schedules::{
    Event, Fact, Known, Occurrence, Plan, Replay, Schedule, Series, State, Status, Subject, answered_by, replay,
};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::generate::{Year, rank, year};
use crate::oracle::{Clock, Fate, Outcome, Slot, outcome};

/// The number of patients, each with one to three schedules.
const PATIENTS: u32 = 520;
const SEED: u64 = 20_261_127;

/// What an engine stores of a patient, and does at its sweeps.
struct Engine<'a> {
    subject: Option<Subject>,
    events: BTreeMap<EventId, Date>,
    series: Vec<(&'a Schedule, Series)>,
    /// What answers nothing yet.
    unrelated: Vec<&'a Known>,
    made: BTreeMap<(String, u32), usize>,
    reminders: Vec<(String, u32, Timestamp)>,
}

impl<'a> Engine<'a> {
    fn new(schedules: &'a [Schedule]) -> Self {
        let series = schedules.iter().map(|schedule| (schedule, Series::default())).collect();
        Self {
            subject: None,
            events: BTreeMap::new(),
            series,
            unrelated: Vec::new(),
            made: BTreeMap::new(),
            reminders: Vec::new(),
        }
    }

    /// Stores the series and reads it again, as from one sweep to the next.
    fn store(&mut self) {
        for (_, series) in &mut self.series {
            *series = Series::of(series.position(), series.occurrences().values().cloned());
        }
    }

    fn stored(&self) -> impl Iterator<Item = &Occurrence> {
        self.series.iter().flat_map(|(_, series)| series.occurrences().values())
    }

    fn sweep(&mut self, now: Timestamp, ahead: Timestamp) {
        let subject = self.subject.clone();
        self.each(|schedule, series| {
            let plan = subject.as_ref().and_then(|subject| Plan::of(schedule, subject));
            series.advance(schedule, plan.as_ref(), now, ahead)
        });
    }

    /// Returns whether the submission `known` answers an occurrence.
    fn answers(&mut self, known: &Known) -> bool {
        let Fact::Submitted { submission, instrument, effective } = &known.fact else { unreachable!() };
        let found = answered_by(self.stored(), instrument, *effective).cloned();
        self.each(|schedule, series| match &found {
            Some(found) if found.schedule == schedule.id => series.answer(found.number, *submission, known.at),
            _ => Vec::new(),
        });
        found.is_some()
    }

    fn learn(&mut self, known: &'a Known) {
        let Known { at, fact } = known;
        let before = self.subject.clone();
        match fact {
            Fact::Submitted { .. } => {
                self.sweep(*at, *at);
                if !self.answers(known) {
                    self.unrelated.push(known);
                }
                return;
            }
            Fact::Withdrawn => {
                if let Some(subject) = &mut self.subject {
                    subject.withdrawn_at = subject.withdrawn_at.or(Some(*at));
                }
                self.each(|schedule, series| {
                    let plan = before.as_ref().and_then(|subject| Plan::of(schedule, subject));
                    series.withdraw(schedule, plan.as_ref(), *at)
                });
                return;
            }
            Fact::Enrolled { site, on, zone, group } => {
                self.subject = Some(Subject {
                    site: site.clone(),
                    enrolled_on: *on,
                    zone: zone.clone(),
                    group: group.clone(),
                    events: self.events.clone(),
                    withdrawn_at: before.as_ref().and_then(|subject| subject.withdrawn_at),
                });
            }
            Fact::ZoneChanged(zone) => self.subject.as_mut().unwrap().zone = zone.clone(),
            Fact::EventDated { event, on } => {
                self.events.insert(event.clone(), *on);
                self.subject.as_mut().unwrap().events.insert(event.clone(), *on);
            }
        }
        let after = self.subject.clone().unwrap();
        self.each(|schedule, series| {
            let from = before.as_ref().and_then(|subject| Plan::of(schedule, subject));
            series.change(schedule, from.as_ref(), Plan::of(schedule, &after).as_ref(), *at)
        });
        self.sweep(*at, *at);
        let unrelated = std::mem::take(&mut self.unrelated);
        self.unrelated = unrelated.into_iter().filter(|known| !self.answers(known)).collect();
    }

    fn each(&mut self, mut act: impl FnMut(&Schedule, &mut Series) -> Vec<Event>) {
        for (schedule, series) in &mut self.series {
            for event in act(schedule, series) {
                match event {
                    Event::Made { number } => *self.made.entry((schedule.id.to_string(), number)).or_default() += 1,
                    Event::Reminded { number, at } => self.reminders.push((schedule.id.to_string(), number, at)),
                    Event::Missed { .. } | Event::Alerted { .. } | Event::Resolved { .. } => {}
                }
            }
        }
    }
}

/// Walks through a year: facts at their times, and sweeps as often and as far ahead as the year says.
fn walk(year: &Year) -> Engine<'_> {
    let mut engine = Engine::new(&year.schedules);
    let mut facts = year.facts.iter().filter(|known| known.at <= year.now).peekable();
    let mut sweeps = year.sweeps.iter().cycle();
    let mut now = year.start;
    while now < year.now {
        let (hours, ahead) = *sweeps.next().unwrap();
        now = year.now.min(now + SignedDuration::from_hours(hours.into()));
        while let Some(known) = facts.next_if(|known| known.at < now) {
            engine.learn(known);
        }
        engine.sweep(now, now + SignedDuration::from_hours(ahead.into()));
        if hours % 16 == 0 {
            engine.store();
        }
    }
    facts.for_each(|known| engine.learn(known));
    engine.sweep(year.now, year.now + AHEAD);
    engine
}

const AHEAD: SignedDuration = SignedDuration::from_hours(9 * 24);

/// The occurrences in the form of the plain reference. Those that were not asked, and those that ended before they
/// opened, are as if they did not exist: whether they are stored depends on how far ahead an engine makes them.
fn slots<'a>(occurrences: impl Iterator<Item = &'a Occurrence>, ahead: Timestamp) -> BTreeMap<(String, u32), Slot> {
    let asked = occurrences.filter(|one| match one.state {
        State::NotAsked => false,
        State::Ended { at } => one.window.opens <= at,
        State::Waiting => one.window.opens <= ahead,
        State::Done { .. } | State::Missed => true,
    });
    let slot = |one: &Occurrence| Slot {
        opens: one.window.opens,
        closes: one.window.closes,
        fate: match one.state {
            State::Done { submission, late } => Fate::Answered { by: submission, late },
            State::Missed => Fate::Missed,
            State::Ended { .. } => Fate::Ended,
            State::Waiting | State::NotAsked => Fate::Waiting,
        },
        alert: one.alert.map(|alert| (alert.since, alert.quiet, alert.resolved.map(|resolved| resolved.number))),
    };
    asked.map(|one| ((one.schedule.to_string(), one.number), slot(one))).collect()
}

fn of_replay(replay: &Replay, ahead: Timestamp) -> Outcome {
    let reminders = replay.reminders.iter().map(|due| (due.schedule.to_string(), due.number, due.at));
    let all: Vec<_> = reminders.collect();
    let reminders: BTreeSet<_> = all.iter().cloned().collect();
    assert_eq!(all.len(), reminders.len(), "a reminder became due twice");
    (slots(replay.occurrences.values(), ahead), reminders)
}

/// What a run of all years must have seen, so that the comparison is not one of empty sets.
#[derive(Default, Debug)]
struct Seen {
    schedules: usize,
    occurrences: usize,
    answered: usize,
    late: usize,
    missed: usize,
    ended: usize,
    reminders: usize,
    alerts: usize,
    quiet: usize,
    resolved: usize,
    not_asked: usize,
}

impl Seen {
    fn count(&mut self, year: &Year, (slots, reminders): &Outcome, engine: &Engine<'_>) {
        self.schedules += year.schedules.len();
        self.occurrences += slots.len();
        self.reminders += reminders.len();
        self.not_asked += engine.stored().filter(|one| one.status(year.now) == Status::NotAsked).count();
        for slot in slots.values() {
            match slot.fate {
                Fate::Answered { late: false, .. } => self.answered += 1,
                Fate::Answered { late: true, .. } => self.late += 1,
                Fate::Missed => self.missed += 1,
                Fate::Ended => self.ended += 1,
                Fate::Waiting => {}
            }
            self.alerts += usize::from(slot.alert.is_some());
            self.quiet += usize::from(slot.alert.is_some_and(|(_, quiet, _)| quiet));
            self.resolved += usize::from(slot.alert.is_some_and(|(_, _, resolved)| resolved.is_some()));
        }
    }
}

#[test]
fn a_year_gives_what_the_plain_reference_gives_however_it_is_worked_off() {
    let (clock, seen) = (RefCell::new(Clock::default()), RefCell::new(Seen::default()));
    let mut config = ProptestConfig { cases: PATIENTS, failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(SEED);
    }
    proptest!(config, |(year in year())| {
        let ahead = year.now + AHEAD;
        let expected = outcome(&year, ahead, &mut clock.borrow_mut());
        let engine = walk(&year);
        let stored = slots(engine.stored(), ahead);
        prop_assert_eq!(&stored, &expected.0);
        let reminders: BTreeSet<_> = engine.reminders.iter().cloned().collect();
        prop_assert_eq!(&reminders, &expected.1);
        prop_assert_eq!(reminders.len(), engine.reminders.len(), "a reminder became due twice");
        prop_assert!(engine.made.values().all(|times| *times == 1), "an occurrence was made twice");

        let mut facts = year.facts.clone();
        facts.reverse();
        let replay = replay(&year.schedules, &facts, year.now, ahead);
        prop_assert_eq!(&of_replay(&replay, ahead), &expected);
        prop_assert!(year.facts.is_sorted_by_key(|known| (known.at, rank(&known.fact))));
        seen.borrow_mut().count(&year, &expected, &engine);
    });
    let seen = seen.into_inner();
    assert!(seen.schedules >= 1_000 && seen.occurrences >= 20_000, "{seen:?}");
    assert!(seen.answered >= 400 && seen.late >= 200 && seen.missed >= 10_000, "{seen:?}");
    assert!(seen.reminders >= 10_000 && seen.alerts >= 2_000 && seen.resolved >= 100, "{seen:?}");
    assert!(seen.quiet >= 500 && seen.alerts - seen.quiet >= 1_000, "{seen:?}");
    assert!(seen.ended >= 30 && seen.not_asked >= 100, "{seen:?}");
}
