//! `POST /v1/submissions` takes one submission: checks it, stores it by one conditional put, and answers with its receipt.
//! `POST /v1/submissions/batch` takes several that a phone kept while it was offline. `GET /v1/submissions/{id}` tells what
//! became of one. `POST /v1/fhir/QuestionnaireResponse` takes the same in the words of
//! FHIR, and `GET /v1/fhir/Questionnaire/{id}` tells there what may be answered.
//!
//! What the study asks, and at which sites, is kept in memory for a minute. The put is all that a submission needs beside:
//! scoring starts from the table's stream, so nothing that comes after the put can lose it. A correction needs a read of
//! what it corrects, and so does what would be refused because of the study, since it may be stored already.

mod batch;
mod body;
mod clock;
mod correction;
mod fhir;
mod receipt;
mod repeat;

use std::sync::Arc;

use api::{
    Caller, Findings, Handler, Invocation, Problem, ProblemFormat, ProblemKind, Role, Scope, WriteFailure, audit,
    counted, http, protocol_for,
};
use clinical::ids::{PatientId, SiteId, SubmissionId};
use clinical::instruments::Catalog;
use clinical::studies::Protocol;
use invocation::aws::{Failure, FailureKind};
use lambda_http::http::HeaderValue;
use lambda_http::http::StatusCode;
use lambda_http::http::header::LOCATION;
use lambda_http::{Body, Request, RequestExt, Response};
use records::{AuditAction, PutOutcome, Store, Submission};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::body::{Asked, Refused, Sending, Sent};
use crate::receipt::{Receipt, State, Viewer};

/// As large as a submission may be.
const LARGEST_BODY: usize = 256 * 1024;

/// Who sends, where and in which request.
#[derive(Clone, Copy)]
struct Sender<'a> {
    invocation: &'a Invocation,
    caller: &'a Caller,
    site: &'a SiteId,
    patient: &'a PatientId,
    received_at: OffsetDateTime,
}

/// How a submission is written.
#[derive(Clone, Copy)]
struct Form {
    /// The JSON of a request, and what is wrong with it as JSON: what can be found without a look at the study.
    parsed: fn(&Request) -> Result<(Value, Findings), Problem>,
    /// The submission that it is.
    read: fn(&Value, Findings, Sending<'_>) -> Result<Sent, Refused>,
}

const OWN: Form = Form { parsed: body::parsed, read: body::read };
const FHIR: Form = Form { parsed: fhir::parsed, read: fhir::read };

/// Whether a study accepts what its site sends.
enum Standing {
    /// It does, as this says.
    Open(Arc<Protocol>),
    /// It does not, and asks nothing: what is answered then.
    Closed(Problem, Catalog),
}

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Submit {
    store: Store,
}

impl Submit {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Submit {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            "POST /v1/submissions" => self.post(invocation, request, OWN).await,
            "POST /v1/submissions/batch" => self.post_batch(invocation, request).await,
            "GET /v1/submissions/{id}" => self.get(invocation, request).await,
            "POST /v1/fhir/QuestionnaireResponse" => self.post(invocation, request, FHIR).await,
            "GET /v1/fhir/Questionnaire/{id}" => self.questionnaire(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }

    fn problem_format(&self, route: &str) -> ProblemFormat {
        if route.contains(" /v1/fhir/") { ProblemFormat::OperationOutcome } else { ProblemFormat::Problem }
    }
}

impl Submit {
    /// Takes the submission that the body is in this `form`.
    async fn post(&self, invocation: Invocation, request: Request, form: Form) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::SUBMISSIONS_WRITE, &[Role::Patient])?;
        let (patient, site) = (caller.patient()?, caller.only_site()?);
        let sender =
            Sender { invocation: &invocation, caller: &caller, site, patient, received_at: invocation.clock.now() };
        let work = async {
            let (json, findings) = (form.parsed)(&request)?;
            let standing = self.standing(sender).await?;
            let read = (form.read)(&json, findings, standing.sending(sender));
            let (status, submission) = self.accept(read, json, form, &standing, sender).await?;
            Ok(receipt_answer(status, &submission))
        };
        counted(&self.store, &invocation, caller.study(), [site], work).await
    }

    /// Takes the submissions that a phone kept while it was offline.
    async fn post_batch(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::SUBMISSIONS_WRITE, &[Role::Patient])?;
        let (patient, site) = (caller.patient()?, caller.only_site()?);
        // One for all entries, so that they keep their order whatever is known of the device's clock.
        let sender =
            Sender { invocation: &invocation, caller: &caller, site, patient, received_at: invocation.clock.now() };
        let work = async {
            let entries = batch::entries(&request)?;
            let standing = self.standing(sender).await?;
            let sending = standing.sending(sender);
            let results =
                batch::take(&entries, sending, |read, json| self.accept(read, json, OWN, &standing, sender)).await;
            Ok(http::json(StatusCode::MULTI_STATUS, &results.body(&invocation.correlation_id)))
        };
        counted(&self.store, &invocation, caller.study(), [site], work).await
    }

    /// Accepts `json`, which was read in its `form` as `read`: stores it, or finds that it is stored.
    async fn accept(
        &self,
        read: Result<Sent, Refused>,
        json: Value,
        form: Form,
        standing: &Standing,
        sender: Sender<'_>,
    ) -> Result<(StatusCode, Submission), Problem> {
        let refused = match (read, standing) {
            (Ok(sent), Standing::Open(protocol)) => return self.store(sent, protocol, sender).await,
            (Ok(_), Standing::Closed(problem, _)) => return Err(problem.clone()),
            (Err(refused), _) => refused,
        };
        let unasked = refused.unasked;
        let refusal = match standing {
            Standing::Open(_) => refused.problem(),
            Standing::Closed(problem, _) => problem.clone(),
        };
        match unasked {
            // Seldom needed, and large.
            Some(id) => Box::pin(repeat::answer(&self.store, id, &json, form, refusal, sender)).await,
            None => Err(refusal),
        }
    }

    /// Stores what was sent, and returns it as it is stored, with the status that says whether it was there before.
    async fn store(
        &self,
        sent: Sent,
        protocol: &Protocol,
        sender: Sender<'_>,
    ) -> Result<(StatusCode, Submission), Problem> {
        let Sender { invocation, caller, site, patient, received_at } = sender;
        let digest = sent.digest();
        let (effective_at, clock) = sent.effective;
        let submission = Submission {
            study: caller.study().clone(),
            site: site.clone(),
            patient: patient.clone(),
            group: caller.group().cloned(),
            principal: caller.principal().clone(),
            digest,
            id: sent.id,
            instrument: sent.instrument,
            answers: sent.answers,
            authored_at: sent.authored_at,
            effective_at,
            clock,
            received_at,
            correlation_id: invocation.correlation_id.to_string(),
            request_id: invocation.request_id.clone(),
            nonce: Uuid::new_v4(),
            study_version: protocol.study().map(|study| (study.version().clone(), study.hash().to_owned())),
            amends: None,
            amended_by: None,
            device: sent.device,
            claimed: sent.claimed,
        };
        let (outcome, submission) = match sent.amends {
            None => match self.store.put_submission(&submission, invocation.deadline).await {
                Ok(outcome) => (outcome, submission),
                Err(failure) => return Err(not_stored(failure)),
            },
            Some(correction) => Box::pin(correction::put(&self.store, submission, correction, sender)).await?,
        };
        match outcome {
            PutOutcome::Stored => Ok((StatusCode::ACCEPTED, submission)),
            PutOutcome::Repeated(stored) => Ok((StatusCode::OK, *stored)),
            PutOutcome::Conflict => Err(conflict()),
        }
    }

    async fn get(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::SUBMISSIONS_READ, &[Role::Patient, Role::Staff])?;
        let look_up = self.look_up(&invocation, &request, &caller);
        if let Ok(site) = caller.only_site() {
            return counted(&self.store, &invocation, caller.study(), [site], look_up)
                .await
                .map(|(_, response)| response);
        }
        // The site that the call counts for is known once the submission is.
        let (site, response) = look_up.await?;
        counted(&self.store, &invocation, caller.study(), [&site], async {}).await;
        Ok(response)
    }

    async fn look_up(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
    ) -> Result<(SiteId, Response<Body>), Problem> {
        let not_found = || Problem::new(ProblemKind::NotFound, "no such submission is open to this token");
        let patient = whose(request, caller)?.ok_or_else(not_found)?;
        let id: SubmissionId = http::path_parameter(request, "id").parse().map_err(|_| not_found())?;
        let found = self.store.submission(caller.study(), &patient, &id, invocation.deadline);
        let (found, protocol) = futures::join!(found, protocol_for(&self.store, caller, invocation.deadline));
        let protocol = protocol?;
        let not_read = |failure: Failure| Problem::not_read("the submission", &failure);
        let (submission, score) = found.map_err(not_read)?.ok_or_else(not_found)?;
        if caller.role() == Role::Staff && !caller.sites().contains(&submission.site) {
            return Err(not_found());
        }
        // Nobody sees a submission whose reading is not on record, whoever reads it.
        let entry = audit::entry(AuditAction::SubmissionRead, caller, invocation).at_site(&submission.site);
        let entry = entry.of_patient(&patient).about(id);
        self.store.audit(&entry, invocation.deadline).await.map_err(not_read)?;
        let is_staff = caller.role() == Role::Staff;
        let viewer = Viewer { is_staff, sees_score: is_staff || protocol.patients_see_scores() };
        let state = State::new(&submission, score.as_ref(), viewer);
        Ok((submission.site.clone(), http::json(StatusCode::OK, &state)))
    }

    async fn questionnaire(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::INSTRUMENTS_READ, &Role::ALL)?;
        let work = async {
            let protocol = protocol_for(&self.store, &caller, invocation.deadline).await?;
            fhir::questionnaire(&request, protocol.catalog())
        };
        counted(&self.store, &invocation, caller.study(), caller.sites(), work).await
    }

    /// Whether the caller's study accepts what its site sends.
    async fn standing(&self, sender: Sender<'_>) -> Result<Standing, Problem> {
        match self.protocol_at(sender.site, sender.invocation, sender.caller).await {
            Ok(protocol) => Ok(Standing::Open(protocol)),
            Err(problem) if problem.kind() == ProblemKind::Forbidden => {
                Ok(Standing::Closed(problem, Catalog::of(Vec::new())))
            }
            Err(problem) => Err(problem),
        }
    }

    /// What is in force in the caller's study, for what is sent from `site`.
    async fn protocol_at(
        &self,
        site: &SiteId,
        invocation: &Invocation,
        caller: &Caller,
    ) -> Result<Arc<Protocol>, Problem> {
        let protocol = protocol_for(&self.store, caller, invocation.deadline).await?;
        if !protocol.has_site(site) {
            // Nobody watches such a site: its alerts would reach no clinician.
            let detail = "the token's site is none of its study's; keep the submission, and tell the study team";
            return Err(Problem::new(ProblemKind::Forbidden, detail));
        }
        Ok(protocol)
    }
}

impl Standing {
    /// What is read against.
    fn sending<'a>(&'a self, sender: Sender<'a>) -> Sending<'a> {
        let asked = match self {
            Self::Open(protocol) => Asked::Study(protocol, sender.site),
            Self::Closed(_, nothing) => Asked::These(nothing),
        };
        Sending { asked, received_at: sender.received_at }
    }
}

/// The patient whose submission is asked for: the caller itself, or whom site staff name by `?patient=`. `None` if that
/// is nobody whom the caller may see.
fn whose(request: &Request, caller: &Caller) -> Result<Option<PatientId>, Problem> {
    let query = request.query_string_parameters_ref();
    let named = query.and_then(|query| query.first("patient")).filter(|named| !named.is_empty());
    if caller.role() == Role::Patient {
        let own = caller.patient()?;
        return Ok(Some(own.clone()).filter(|own| named.is_none_or(|named| named == own.as_str())));
    }
    match named {
        Some(named) => Ok(named.parse().ok()),
        None => {
            let detail = "name the patient: `?patient=`";
            Err(Problem::of_finding(ProblemKind::Invalid, "", "query.required", detail))
        }
    }
}

fn receipt_answer(status: StatusCode, submission: &Submission) -> Response<Body> {
    let mut response = http::json(status, &Receipt::of(submission));
    let location = HeaderValue::try_from(format!("/v1/submissions/{}", submission.id));
    response.headers_mut().insert(LOCATION, location.expect("a UUID is plain ASCII"));
    response
}

/// What is answered where another body is stored under a submission's id.
fn conflict() -> Problem {
    Problem::new(
        ProblemKind::SubmissionConflict,
        "another body is stored under this id, and stays; send a correction under an id of its own, with `amends` and \
         `reason`",
    )
}

/// The answers to a submission that was not stored, as far as that is known.
const NOT_STORED: WriteFailure = WriteFailure {
    event: "submission_not_confirmed",
    not_done: "too little time was left to store it; nothing was stored; send it again, under the same id",
    unknown: (
        ProblemKind::OutcomeUnknown,
        "whether it was stored is not known; send it again, under the same id and unchanged, and the answer tells",
    ),
    invalid: None,
    refused: "the store refused it; keep it, and send it again later, under the same id",
};

/// The answer to a put that failed.
fn not_stored(mut failure: Failure) -> Problem {
    // An earlier attempt of the SDK's may have been applied, whatever the answer to the last one was.
    if failure.kind == FailureKind::Transient {
        failure.kind = FailureKind::Unknown;
    }
    Problem::not_written(&failure, &NOT_STORED)
}
