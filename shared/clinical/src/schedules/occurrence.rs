//! One window of one patient, as it is stored.

use jiff::Timestamp;

use super::definition::Schedule;
use super::window::Window;
use crate::ids::{InstrumentId, ScheduleId, SubmissionId};

/// One window in which a patient is asked. Its schedule and its number identify it, wherever the window moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The instrument that is asked.
    pub instrument: InstrumentId,
    /// The number within the schedule, from 1.
    pub number: u32,
    /// The window.
    pub window: Window,
    /// The times of the reminders that are still to come, in ascending order.
    pub reminders: Vec<Timestamp>,
    /// The state.
    pub state: State,
    /// The alert that was raised when this window was missed. A late answer resolves it and never removes it.
    pub alert: Option<MissedAlert>,
}

/// The stored state of an occurrence. Whether a waiting one is open depends on the time: [`Occurrence::status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has no answer, and its window was not found closed.
    Waiting,
    /// It is answered.
    Done {
        /// The submission that answers it.
        submission: SubmissionId,
        /// Whether the submission was received after the window had closed.
        late: bool,
    },
    /// The window closed without an answer.
    Missed,
    /// A change left no window for it: the window would have closed before the change, or the patient's schedule no
    /// longer has it. A later change may give it a window again.
    NotAsked,
    /// The patient withdrew before it was answered or missed.
    Ended {
        /// The time of the withdrawal.
        at: Timestamp,
    },
}

/// What an occurrence is at a given time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// The window opens later.
    NotYetOpen,
    /// It may be answered now.
    Open,
    /// It was answered, and the answer received, in the window.
    Done,
    /// It was answered in the window, and the answer received after the window had closed.
    DoneLate,
    /// The window closed without an answer.
    Missed,
    /// A change left no window for it.
    NotAsked,
    /// The patient withdrew.
    Ended,
}

/// An alert of windows missed in a row, of which the one that raised it is the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissedAlert {
    /// When the first of these windows opened.
    pub since: Timestamp,
    /// Whether it was raised within the quiet period of an earlier one: stored, and not published.
    pub quiet: bool,
    /// The late answer that resolved it, if any.
    pub resolved: Option<Resolved>,
}

/// A late answer that resolved an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resolved {
    /// The number of the window that it answers.
    pub number: u32,
    /// When it was received.
    pub at: Timestamp,
}

impl Occurrence {
    /// The occurrence `number` of `schedule`, which becomes known at `since`: earlier reminders are left out.
    pub(super) fn new(schedule: &Schedule, number: u32, window: Window, since: Timestamp) -> Self {
        Self {
            schedule: schedule.id.clone(),
            instrument: schedule.instrument.clone(),
            number,
            window,
            reminders: window.reminders(&schedule.reminders, since),
            state: State::Waiting,
            alert: None,
        }
    }

    /// What it is at `now`, also where its closing was not yet worked off.
    pub fn status(&self, now: Timestamp) -> Status {
        match self.state {
            State::Waiting if now < self.window.opens => Status::NotYetOpen,
            State::Waiting if now < self.window.closes => Status::Open,
            State::Waiting | State::Missed => Status::Missed,
            State::Done { late: false, .. } => Status::Done,
            State::Done { late: true, .. } => Status::DoneLate,
            State::NotAsked => Status::NotAsked,
            State::Ended { .. } => Status::Ended,
        }
    }

    /// When something is to be done about it: at its next reminder, or at its closing. `None` if never.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        (self.state == State::Waiting).then(|| self.reminders.first().copied().unwrap_or(self.window.closes))
    }

    /// Removes the reminders that are due at `now` and returns their times.
    pub fn take_reminders(&mut self, now: Timestamp) -> Vec<Timestamp> {
        if self.state != State::Waiting {
            return Vec::new();
        }
        let due = self.reminders.partition_point(|time| *time <= now);
        self.reminders.drain(..due).collect()
    }

    /// Marks it as missed if it is waiting and its window has closed at `now`. Returns whether it did.
    pub fn close(&mut self, now: Timestamp) -> bool {
        let closes = self.state == State::Waiting && self.window.closes <= now;
        if closes {
            self.state = State::Missed;
        }
        closes
    }

    /// Whether a submission of `instrument` with this effective time can answer it. What a phone kept from before a
    /// withdrawal still counts.
    pub fn takes(&self, instrument: &InstrumentId, effective: Timestamp) -> bool {
        let is_unanswered = match self.state {
            State::Waiting | State::Missed => true,
            State::Ended { at } => effective < at,
            State::Done { .. } | State::NotAsked => false,
        };
        is_unanswered && self.instrument == *instrument && self.window.holds(effective)
    }

    /// Marks it as answered by `submission`, which was received at `received`. Its reminders end.
    pub fn answer(&mut self, submission: SubmissionId, received: Timestamp) {
        self.state = State::Done { submission, late: self.window.closes <= received };
        self.reminders.clear();
    }

    /// Ends it at `at` if it is waiting.
    pub(super) fn end(&mut self, at: Timestamp) {
        if self.state == State::Waiting {
            self.state = State::Ended { at };
            self.reminders.clear();
        }
    }

    /// Moves it to `window` at `at`. Without a window that is still to close, it is not asked.
    pub(super) fn move_to(&mut self, window: Option<Window>, schedule: &Schedule, at: Timestamp) {
        if let Some(window) = window.filter(|window| !window.is_empty() && window.closes > at) {
            if self.state != State::Waiting || self.window != window {
                *self = Self::new(schedule, self.number, window, at);
            }
        } else {
            self.state = State::NotAsked;
            self.reminders.clear();
        }
    }

    /// Whether it has an alert that no late answer has resolved.
    pub fn has_standing_alert(&self) -> bool {
        self.alert.is_some_and(|alert| alert.resolved.is_none())
    }
}

/// The occurrence that a submission of `instrument` with this effective time answers: the one whose window holds it. Of
/// several schedules the one that closes first.
pub fn answered_by<'a>(
    occurrences: impl IntoIterator<Item = &'a Occurrence>,
    instrument: &InstrumentId,
    effective: Timestamp,
) -> Option<&'a Occurrence> {
    let fitting = occurrences.into_iter().filter(|occurrence| occurrence.takes(instrument, effective));
    fitting.min_by_key(|occurrence| (occurrence.window.closes, &occurrence.schedule, occurrence.number))
}
