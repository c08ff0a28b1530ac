//! Days of a study's named events, which schedules hang on.

use api::{Problem, ProblemKind, http};
use clinical::ids::EventId;
use clinical::studies::Protocol;
use lambda_http::Request;
use records::{AuditAction, Registration};
use time::Date;

use crate::body::{invalid_field, members};
use crate::change::{Change, Decided};
use crate::{Asked, conflict, not_found};

/// The most events of a patient.
const MOST_EVENTS: usize = 50;

pub(crate) struct DateEvent {
    event: EventId,
    /// The day; `None` if the entered one is to be removed.
    date: Option<Date>,
    reason: Option<String>,
}

impl DateEvent {
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        let event = http::path_parameter(request, "event").parse().map_err(|_| not_found())?;
        let mut members = members(request)?;
        if !members.has("date") {
            members.wrong("date", "field.required", "give the day of the event, or null to remove it");
        }
        let dated = Self { event, date: members.date("date"), reason: members.reason() };
        members.end(Some(dated))
    }
}

impl Change for DateEvent {
    fn decide(
        &self,
        asked: &Asked<'_>,
        protocol: &Protocol,
        before: Option<&Registration>,
    ) -> Result<Option<Decided>, Problem> {
        let before = before.filter(|before| asked.covers(&before.site)).ok_or_else(not_found)?;
        if !protocol.has_event(&self.event) {
            return Err(Problem::new(ProblemKind::NotFound, "the study has no such event"));
        }
        let known = before.events.get(&self.event).copied();
        if known == self.date {
            return Ok(None);
        }
        if before.withdrawal.is_some() {
            return Err(conflict("the patient has withdrawn from the study"));
        }
        if known.is_some() && self.reason.is_none() {
            return Err(invalid_field("reason", "field.required", "a change of the day of an event needs a reason"));
        }
        let mut registration = before.clone();
        match self.date {
            Some(date) => registration.events.insert(self.event.clone(), date),
            None => registration.events.remove(&self.event),
        };
        if registration.events.len() > MOST_EVENTS {
            return Err(conflict("the patient has as many events as can be recorded"));
        }
        let entry = asked.entry(AuditAction::EventDated, &before.site).about(&self.event);
        Ok(Some(Decided::of(registration, entry.because(self.reason.as_deref()))))
    }
}
