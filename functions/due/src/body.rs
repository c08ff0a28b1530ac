//! Windows, as they are shown.

use clinical::ids::{InstrumentId, InstrumentVersion, ScheduleId, SubmissionId};
use clinical::schedules::{State, Status};
use clinical::studies::Protocol;
use jiff::Timestamp;
use records::StoredOccurrence;
use serde::Serialize;

/// A window in which a patient is asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WindowBody<'a> {
    schedule: &'a ScheduleId,
    /// The number within the schedule, from 1.
    occurrence: u32,
    instrument: &'a InstrumentId,
    /// The version that is asked; omitted where the study does not ask the instrument any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a InstrumentVersion>,
    opens: String,
    closes: String,
    /// The reminders that are still to come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reminders: Vec<String>,
    /// The submission that answers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    submission: Option<SubmissionId>,
    /// Whether the answer was received after the window had closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    late: Option<bool>,
}

impl<'a> WindowBody<'a> {
    pub(crate) fn of(one: &'a StoredOccurrence, protocol: &'a Protocol) -> Self {
        let occurrence = &one.occurrence;
        let (submission, late) = match occurrence.state {
            State::Done { submission, late } => (Some(submission), Some(late)),
            _ => (None, None),
        };
        Self {
            schedule: &occurrence.schedule,
            occurrence: occurrence.number,
            instrument: &occurrence.instrument,
            version: version(one, protocol),
            opens: occurrence.window.opens.to_string(),
            closes: occurrence.window.closes.to_string(),
            reminders: occurrence.reminders.iter().map(Timestamp::to_string).collect(),
            submission,
            late,
        }
    }
}

/// The version of the instrument that the schedule asks: its own, or the latest that the site uses.
fn version<'a>(one: &StoredOccurrence, protocol: &'a Protocol) -> Option<&'a InstrumentVersion> {
    let asked = protocol.study()?.definition();
    let schedule = asked.schedules.iter().find(|schedule| schedule.id == one.occurrence.schedule);
    let asks = |instrument: &&clinical::studies::StudyInstrument| {
        let of_schedule =
            schedule.map_or(instrument.id == one.occurrence.instrument, |schedule| instrument.is_of(schedule));
        of_schedule && instrument.is_at(&one.site)
    };
    asked.instruments.iter().filter(asks).map(|instrument| &instrument.version).max()
}

/// What a patient is shown of a window.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    Next,
    Open,
    Done,
    Missed,
}

impl Shown {
    /// What `one` is at `now`; `None` if it is not asked.
    pub(crate) fn of(one: &StoredOccurrence, now: Timestamp) -> Option<Self> {
        match one.occurrence.status(now) {
            Status::NotYetOpen => Some(Self::Next),
            Status::Open => Some(Self::Open),
            Status::Done | Status::DoneLate => Some(Self::Done),
            Status::Missed => Some(Self::Missed),
            Status::NotAsked | Status::Ended => None,
        }
    }
}
