//! The function for the registry of patients: who takes part, at which site, since when, and who has left.
//!
//! | route | |
//! |---|---|
//! | `GET /v1/patients/{patient}` | what is registered of a patient |
//! | `PUT /v1/patients/{patient}` | enrols a patient, or changes what is registered |
//! | `POST /v1/patients/{patient}/transfer` | makes another site responsible |
//! | `POST /v1/patients/{patient}/withdrawal` | ends the patient's part in the study |
//! | `PUT /v1/patients/{patient}/events/{event}` | enters the day of an event, such as surgery |
//!
//! Each change is one transaction with its audit entries, on the revision that it was decided on. A request that asks for
//! what is stored already changes nothing and is answered 200, so each may be repeated.

mod body;
mod change;
mod enrol;
mod event;
mod transfer;
mod withdraw;

use std::sync::Arc;

use api::{Caller, Handler, Invocation, Problem, ProblemKind, Role, WriteFailure, audit, counted, http, protocol_for};
use clinical::ids::{PatientId, SiteId};
use clinical::studies::Protocol;
use invocation::aws::Failure;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use records::{Audit, AuditAction, ConditionalPut, Participation, Registration, Store};

use crate::body::RegistrationBody;
use crate::change::Change;
use crate::enrol::day_in;

/// How often a change is decided again because another one was stored in the meantime.
const DECISIONS: usize = 4;

/// The answers to a change that was not stored.
const NOT_STORED: WriteFailure = WriteFailure {
    event: "registration_not_stored",
    not_done: "nothing was changed; send the same request again",
    unknown: (
        ProblemKind::OutcomeUnknown,
        "whether it was changed is not known; send the same request again, which settles it",
    ),
    invalid: None,
    refused: "the store refused the change",
};

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Registry {
    store: Store,
}

impl Registry {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Registry {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let asked = Asked::of(&request, &caller, &invocation)?;
        match route {
            "GET /v1/patients/{patient}" => self.read(asked).await,
            "PUT /v1/patients/{patient}" => self.change(asked, enrol::Enrol::of(&request)?).await,
            "POST /v1/patients/{patient}/transfer" => self.change(asked, transfer::TransferTo::of(&request)?).await,
            "POST /v1/patients/{patient}/withdrawal" => self.change(asked, withdraw::Withdraw::of(&request)?).await,
            "PUT /v1/patients/{patient}/events/{event}" => self.change(asked, event::DateEvent::of(&request)?).await,
            _ => Err(http::no_such_route()),
        }
    }
}

/// Who asks about which patient.
#[derive(Clone)]
pub(crate) struct Asked<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) invocation: &'a Invocation,
    pub(crate) patient: PatientId,
}

impl<'a> Asked<'a> {
    fn of(request: &Request, caller: &'a Caller, invocation: &'a Invocation) -> Result<Self, Problem> {
        let patient = http::path_parameter(request, "patient").parse().map_err(|_| not_found())?;
        Ok(Self { caller, invocation, patient })
    }

    /// Whether the caller's role and token cover `site`.
    pub(crate) fn covers(&self, site: &SiteId) -> bool {
        self.caller.role() == Role::DataManager || self.caller.sites().contains(site)
    }

    /// The audit entry that the caller did `action` to this patient at `site`.
    pub(crate) fn entry(&self, action: AuditAction, site: &SiteId) -> Audit {
        audit::entry(action, self.caller, self.invocation).at_site(site).of_patient(&self.patient)
    }
}

impl Registry {
    async fn read(&self, asked: Asked<'_>) -> Result<Response<Body>, Problem> {
        let deadline = asked.invocation.deadline;
        let protocol = protocol_for(&self.store, asked.caller, deadline).await?;
        let participation = self.participation(&asked).await?;
        let site = participation.site().ok_or_else(not_found)?;
        let work = async {
            // Nothing is answered before its audit entry is stored.
            let entry = asked.entry(AuditAction::RegistrationRead, site);
            self.store.audit(&entry, deadline).await.map_err(|failure| not_read(&failure))?;
            match &participation {
                Participation::Registered(registration) => Ok(answer(StatusCode::OK, registration, true)),
                _ => Ok(answer(StatusCode::OK, &self.by_submission(&asked, &protocol, site).await?, false)),
            }
        };
        counted(&self.store, asked.invocation, asked.caller.study(), [site], work).await
    }

    /// Makes `change`, once it is decided on what is stored.
    async fn change(&self, asked: Asked<'_>, change: impl Change) -> Result<Response<Body>, Problem> {
        let Asked { caller, invocation, .. } = &asked;
        let protocol: Arc<Protocol> = protocol_for(&self.store, caller, invocation.deadline).await?;
        let mut counts_for = None;
        let answered = self.decide(&asked, &protocol, &change, &mut counts_for).await;
        if let Some(site) = &counts_for {
            counted(&self.store, invocation, caller.study(), [site], async {}).await;
        }
        answered
    }

    async fn decide(
        &self,
        asked: &Asked<'_>,
        protocol: &Protocol,
        change: &impl Change,
        counts_for: &mut Option<SiteId>,
    ) -> Result<Response<Body>, Problem> {
        let deadline = asked.invocation.deadline;
        for _ in 0..DECISIONS {
            let participation = self.stored(asked).await?;
            let before = match &participation {
                Participation::None => None,
                Participation::Registered(registration) => Some(Registration::clone(registration)),
                Participation::BySubmission(site) => Some(self.by_submission(asked, protocol, site).await?),
            };
            // A call about a patient of another site is none of that site's.
            *counts_for = participation.site().filter(|site| asked.covers(site)).cloned();
            let Some(decided) = change.decide(asked, protocol, before.as_ref())? else {
                // What is asked for is stored already.
                let before = before.ok_or_else(not_found)?;
                return Ok(answer(StatusCode::OK, &before, before.is_stored()));
            };
            *counts_for = Some(decided.registration.site.clone());
            let put = self.store.put_registration(&decided.registration, &decided.audit, deadline).await;
            match put.map_err(|failure| Problem::not_confirmed(failure, &NOT_STORED))? {
                ConditionalPut::Stored => return Ok(answer(decided.status, &decided.registration, true)),
                ConditionalPut::Changed => {}
            }
        }
        Err(Problem::new(ProblemKind::NotDone, "the patient's registration is being changed by others; send it again"))
    }

    /// How the patient takes part, as far as the caller may know.
    async fn participation(&self, asked: &Asked<'_>) -> Result<Participation, Problem> {
        let participation = self.stored(asked).await?;
        let is_covered = participation.site().is_some_and(|site| asked.covers(site));
        is_covered.then_some(participation).ok_or_else(not_found)
    }

    async fn stored(&self, asked: &Asked<'_>) -> Result<Participation, Problem> {
        let participation =
            self.store.participation(asked.caller.study(), &asked.patient, asked.invocation.deadline).await;
        participation.map_err(|failure| not_read(&failure))
    }

    /// What a registration would say of a patient whom the first submission has enrolled at `site`: the day is that of the
    /// site's time zone, in which the patient's windows are.
    async fn by_submission(
        &self,
        asked: &Asked<'_>,
        protocol: &Protocol,
        site: &SiteId,
    ) -> Result<Registration, Problem> {
        let study = asked.caller.study();
        let first = self.store.first_received_at(study, &asked.patient, asked.invocation.deadline).await;
        let first = first.map_err(|failure| not_read(&failure))?.ok_or_else(not_found)?;
        let zone = protocol.study().and_then(|study| study.site(site)).map(|site| site.time_zone.as_str());
        Ok(Registration::new(study.clone(), asked.patient.clone(), site.clone(), day_in(zone, first)))
    }
}

fn answer(status: StatusCode, registration: &Registration, registered: bool) -> Response<Body> {
    http::json(status, &RegistrationBody::of(registration, registered))
}

fn not_read(failure: &Failure) -> Problem {
    Problem::not_read("the patient's registration", failure)
}

/// The same answer for a patient who is not known and for one of another site.
fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such patient for this token")
}

/// The answer to a change that what is stored does not allow.
fn conflict(detail: &str) -> Problem {
    Problem::new(ProblemKind::RegistrationConflict, format!("{detail}; nothing was changed"))
}
