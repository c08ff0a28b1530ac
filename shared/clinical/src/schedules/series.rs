//! The occurrences of one schedule for one patient, as time passes and facts become known.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use jiff::civil::Date;

use super::definition::Schedule;
use super::misses::{alert_of, resolves};
use super::occurrence::{MissedAlert, Occurrence, Resolved, State};
use super::plan::Plan;
use crate::ids::SubmissionId;

/// How far the occurrences of a schedule are made. It is stored beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The number up to which the plan in force was worked off: each occurrence up to it exists, or has no window.
    pub made: u32,
    /// The day of the number 1 by the plan in force; `None` before there is a plan.
    pub first_day: Option<Date>,
    /// The time from which windows of this plan may open: the closing of the last one that did not move.
    pub not_before: Timestamp,
    /// When this plan came into force. Reminders of earlier times are left out.
    pub since: Timestamp,
}

/// The occurrences of one schedule for one patient.
///
/// A caller may load a part of them: those that wait; before a closing as many answered or missed ones as an alert
/// counts, and those of the quiet period; for a late answer those up to the alert; for a change all that may move, and
/// the last one that may not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    position: Position,
    occurrences: BTreeMap<u32, Occurrence>,
    /// The numbers of those that wait.
    waiting: BTreeSet<u32>,
    /// The numbers of those that are answered or missed, by their opening: after a change they may be in another order.
    settled: BTreeMap<Timestamp, u32>,
}

/// What happened to an occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The occurrence was made.
    Made {
        /// Its number.
        number: u32,
    },
    /// A reminder became due.
    Reminded {
        /// The number of the occurrence.
        number: u32,
        /// The time of the reminder.
        at: Timestamp,
    },
    /// The window closed without an answer.
    Missed {
        /// The number of the occurrence.
        number: u32,
    },
    /// A missed window raised an alert.
    Alerted {
        /// The number of the occurrence.
        number: u32,
    },
    /// A late answer resolved an alert.
    Resolved {
        /// The number of the occurrence with the alert.
        number: u32,
    },
}

impl Default for Position {
    fn default() -> Self {
        Self { made: 0, first_day: None, not_before: Timestamp::MIN, since: Timestamp::MIN }
    }
}

impl Series {
    /// The series of stored `occurrences`.
    pub fn of(position: Position, occurrences: impl IntoIterator<Item = Occurrence>) -> Self {
        let mut series = Self { position, ..Self::default() };
        for occurrence in occurrences {
            series.put(occurrence);
        }
        series
    }

    /// How far they are made.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The occurrences by number.
    pub fn occurrences(&self) -> &BTreeMap<u32, Occurrence> {
        &self.occurrences
    }

    /// Makes the occurrences that open by `ahead` or by `now`, and works off the reminders and closings up to `now`.
    /// Repeating it changes nothing.
    pub fn advance(
        &mut self,
        schedule: &Schedule,
        plan: Option<&Plan<'_>>,
        now: Timestamp,
        ahead: Timestamp,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        if let Some(plan) = plan {
            self.make(plan, now.max(ahead), &mut events);
        }
        let waiting = self.waiting.iter().filter_map(|number| self.occurrences.get(number));
        let awake = waiting.filter(|occurrence| occurrence.wakes_at().is_some_and(|at| at <= now));
        let mut awake: Vec<Occurrence> = awake.cloned().collect();
        awake.sort_by_key(|occurrence| occurrence.window);
        for occurrence in awake {
            self.work_off(occurrence, schedule, now, &mut events);
        }
        events
    }

    /// Puts the plan `to` into force at `at`, in place of the plan `from`, by which it advances first.
    ///
    /// If the day of the first window changed, all that is neither answered nor missed moves; otherwise only what has
    /// not opened yet. Without a plan, what has not opened yet is not asked.
    pub fn change(
        &mut self,
        schedule: &Schedule,
        from: Option<&Plan<'_>>,
        to: Option<&Plan<'_>>,
        at: Timestamp,
    ) -> Vec<Event> {
        let events = self.advance(schedule, from, at, at);
        let first_day = to.map(Plan::first_day);
        let is_moved = first_day.is_some() && self.position.first_day.is_some_and(|day| Some(day) != first_day);
        let moves = |occurrence: &&Occurrence| match occurrence.state {
            State::Waiting => is_moved || occurrence.window.opens > at,
            State::NotAsked => true,
            State::Done { .. } | State::Missed | State::Ended { .. } => false,
        };
        let (moving, staying): (Vec<&Occurrence>, Vec<&Occurrence>) = self.occurrences.values().partition(moves);
        let not_before = staying.iter().map(|occurrence| occurrence.window.closes).max().unwrap_or(Timestamp::MIN);
        for mut occurrence in moving.into_iter().cloned().collect::<Vec<_>>() {
            let window = to.and_then(|plan| plan.window(occurrence.number));
            occurrence.move_to(window.map(|window| window.not_before(not_before)), schedule, at);
            self.put(occurrence);
        }
        self.position.not_before = not_before;
        self.position.since = at;
        if let Some(plan) = to {
            self.position.made = plan.first_closing_after(at) - 1;
            self.position.first_day = first_day;
        }
        events
    }

    /// Ends all that waits when the patient withdraws at `at`, after advancing by `plan` up to then.
    pub fn withdraw(&mut self, schedule: &Schedule, plan: Option<&Plan<'_>>, at: Timestamp) -> Vec<Event> {
        let events = self.advance(schedule, plan, at, at);
        for number in std::mem::take(&mut self.waiting) {
            self.occurrences.entry(number).and_modify(|occurrence| occurrence.end(at));
        }
        events
    }

    /// Marks the occurrence `number` as answered by `submission`, received at `received`, and resolves the alert that
    /// counts it as missed.
    pub fn answer(&mut self, number: u32, submission: SubmissionId, received: Timestamp) -> Vec<Event> {
        let Some(mut occurrence) = self.occurrences.get(&number).cloned() else { return Vec::new() };
        occurrence.answer(submission, received);
        let opens = occurrence.window.opens;
        self.put(occurrence.clone());
        let mut later = self.settled.range(opens..).map(|(_, number)| *number);
        let Some(alerted) = later.find(|later| resolves(&occurrence, &self.occurrences[later])) else {
            return Vec::new();
        };
        self.occurrences.entry(alerted).and_modify(|alerted| {
            let resolved = Some(Resolved { number, at: received });
            alerted.alert = alerted.alert.map(|alert| MissedAlert { resolved, ..alert });
        });
        vec![Event::Resolved { number: alerted }]
    }

    /// Makes the occurrences that open by `until`, except those that exist.
    fn make(&mut self, plan: &Plan<'_>, until: Timestamp, events: &mut Vec<Event>) {
        let Position { not_before, since, .. } = self.position;
        while plan.opening(self.position.made + 1).is_some_and(|opens| opens.max(not_before) <= until) {
            let Some(window) = plan.window(self.position.made + 1) else { break };
            let window = window.not_before(not_before);
            self.position.made += 1;
            let number = self.position.made;
            // An empty window is one that the patient's clock skips.
            if !window.is_empty() && !self.occurrences.contains_key(&number) {
                self.put(Occurrence::new(plan.schedule(), number, window, since));
                events.push(Event::Made { number });
            }
        }
    }

    fn work_off(&mut self, mut occurrence: Occurrence, schedule: &Schedule, now: Timestamp, events: &mut Vec<Event>) {
        let number = occurrence.number;
        events.extend(occurrence.take_reminders(now).into_iter().map(|at| Event::Reminded { number, at }));
        if occurrence.close(now) {
            events.push(Event::Missed { number });
            let earlier = self.settled.range(..occurrence.window.opens).rev();
            let before = earlier.filter_map(|(_, number)| self.occurrences.get(number));
            occurrence.alert = schedule.missed.and_then(|missed| alert_of(&occurrence, before, &missed));
            events.extend(occurrence.alert.map(|_| Event::Alerted { number }));
        }
        self.put(occurrence);
    }

    fn put(&mut self, occurrence: Occurrence) {
        let number = occurrence.number;
        self.waiting.remove(&number);
        match occurrence.state {
            State::Waiting => {
                self.waiting.insert(number);
            }
            State::Done { .. } | State::Missed => {
                self.settled.insert(occurrence.window.opens, number);
            }
            State::NotAsked | State::Ended { .. } => {}
        }
        self.occurrences.insert(number, occurrence);
    }
}
