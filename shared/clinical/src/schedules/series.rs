//! The occurrences of one schedule for one patient, as time passes and facts become known.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

use super::definition::Schedule;
use super::misses::{alert_of, resolves};
use super::occurrence::{Occurrence, Resolved, State};
use super::plan::Plan;
use crate::ids::SubmissionId;

/// How far the occurrences of a schedule are made. It is stored beside them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The number up to which each occurrence is made, or never will be.
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
/// A caller may load a part of them: those that wait, the one to be answered, the last one that was answered or missed,
/// and before a closing as many earlier ones as an alert counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// How far they are made.
    pub position: Position,
    /// The occurrences by number.
    pub occurrences: BTreeMap<u32, Occurrence>,
    /// The time up to which closings were worked off.
    worked_off: Timestamp,
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
        let occurrences = occurrences.into_iter().map(|occurrence| (occurrence.number, occurrence)).collect();
        Self { position, occurrences, worked_off: Timestamp::MIN }
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
        for number in self.awake(now) {
            self.work_off(number, schedule, now, &mut events);
        }
        self.worked_off = self.worked_off.max(now);
        events
    }

    /// Puts the plan `to` into force at `at`, in place of the plan `from`, up to which it advances first.
    ///
    /// If the day of the first window changed, all that was neither answered nor missed moves; otherwise only what has
    /// not opened yet. Without a plan, what has not opened yet ends.
    pub fn change(
        &mut self,
        schedule: &Schedule,
        from: Option<&Plan<'_>>,
        to: Option<&Plan<'_>>,
        at: Timestamp,
    ) -> Vec<Event> {
        let events = self.advance(schedule, from, at, at);
        let Some(plan) = to else {
            let waiting = self.occurrences.values_mut().filter(|occurrence| occurrence.window.opens > at);
            waiting.for_each(|occurrence| occurrence.end(at));
            return events;
        };
        let is_moved = self.position.first_day.is_some_and(|day| day != plan.first_day());
        let stays = |occurrence: &Occurrence| match occurrence.state {
            State::Waiting => !is_moved && occurrence.window.opens <= at,
            State::Done { .. } | State::Missed => true,
            State::NotAsked | State::Ended { .. } => false,
        };
        let last = self.occurrences.values().rev().find(|occurrence| stays(occurrence));
        let not_before = last.map_or(Timestamp::MIN, |occurrence| occurrence.window.closes);
        for (number, occurrence) in &mut self.occurrences {
            if occurrence.state == State::Waiting && !stays(occurrence) {
                let window = plan.window(*number).map(|window| window.not_before(not_before));
                occurrence.move_to(window, schedule, at);
            }
        }
        self.position = Position {
            made: self.position.made.max(plan.first_closing_after(at.max(not_before)) - 1),
            first_day: Some(plan.first_day()),
            not_before,
            since: at,
        };
        events
    }

    /// Ends all that waits when the patient withdraws at `at`, after advancing by `plan` up to then.
    pub fn withdraw(&mut self, schedule: &Schedule, plan: Option<&Plan<'_>>, at: Timestamp) -> Vec<Event> {
        let events = self.advance(schedule, plan, at, at);
        self.occurrences.values_mut().for_each(|occurrence| occurrence.end(at));
        events
    }

    /// Marks the occurrence `number` as answered by `submission`, received at `received`, and resolves the alert that
    /// counts it as missed.
    pub fn answer(&mut self, number: u32, submission: SubmissionId, received: Timestamp) -> Vec<Event> {
        let Some(occurrence) = self.occurrences.get_mut(&number) else { return Vec::new() };
        let was_missed = occurrence.state == State::Missed;
        occurrence.answer(submission, received);
        let mut later = self.occurrences.range_mut(number..).map(|(_, occurrence)| occurrence);
        let Some(alerted) = later.find(|occurrence| was_missed && resolves(number, occurrence)) else {
            return Vec::new();
        };
        if let Some(alert) = &mut alerted.alert {
            alert.resolved = Some(Resolved { number, at: received });
        }
        vec![Event::Resolved { number: alerted.number }]
    }

    /// Makes the occurrences that open by `until`.
    fn make(&mut self, plan: &Plan<'_>, until: Timestamp, events: &mut Vec<Event>) {
        let Position { not_before, since, .. } = self.position;
        while let Some(window) = plan.window(self.position.made + 1).map(|window| window.not_before(not_before)) {
            if window.opens > until {
                break;
            }
            self.position.made += 1;
            let number = self.position.made;
            // The patient's clock skips the whole window.
            if !window.is_empty() {
                self.occurrences.insert(number, Occurrence::new(plan.schedule(), number, window, since));
                events.push(Event::Made { number });
            }
        }
    }

    /// The numbers of the occurrences about which something is to be done at `now`, in ascending order.
    fn awake(&self, now: Timestamp) -> Vec<u32> {
        // Windows are in the order of their numbers, except those that were not asked.
        let is_recent = |occurrence: &&Occurrence| {
            occurrence.state == State::NotAsked || occurrence.window.closes > self.worked_off
        };
        let recent = self.occurrences.values().rev().take_while(is_recent);
        let awake = recent.filter(|occurrence| occurrence.wakes_at().is_some_and(|at| at <= now));
        let mut numbers: Vec<u32> = awake.map(|occurrence| occurrence.number).collect();
        numbers.reverse();
        numbers
    }

    fn work_off(&mut self, number: u32, schedule: &Schedule, now: Timestamp, events: &mut Vec<Event>) {
        let Some(occurrence) = self.occurrences.get_mut(&number) else { return };
        events.extend(occurrence.take_reminders(now).into_iter().map(|at| Event::Reminded { number, at }));
        if !occurrence.close(now) {
            return;
        }
        events.push(Event::Missed { number });
        let before = self.occurrences.range(..number).rev().map(|(_, earlier)| earlier);
        let alert = schedule.missed.and_then(|missed| alert_of(&self.occurrences[&number], before, missed.after));
        if let Some(occurrence) = self.occurrences.get_mut(&number).filter(|_| alert.is_some()) {
            occurrence.alert = alert;
            events.push(Event::Alerted { number });
        }
    }
}
