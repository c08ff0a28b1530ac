//! The function that accepts submissions.
//!
//! | route | |
//! |---|---|
//! | `POST /v1/submissions` | validates one submission, stores it by one conditional put, answers with its receipt |
//! | `POST /v1/submissions/batch` | the same for several that a phone kept while it was offline |
//! | `GET /v1/submissions/{id}` | the state of one submission |
//! | `POST /v1/fhir/QuestionnaireResponse` | one submission, as FHIR R4 |
//! | `GET /v1/fhir/Questionnaire/{id}` | an instrument of the study, as FHIR R4 |
//!
//! The study is kept in memory for a minute, so that a submission needs no call of the store but a read of the patient's
//! registration, which says whether the patient has withdrawn, and its put. Scoring starts from the table's stream, so
//! nothing that happens after the put can lose a submission. A correction needs a read of its original, and a submission
//! that the study would refuse needs a read of its id, because it may be stored already.

mod batch;
mod body;
mod clock;
mod correction;
mod fhir;
pub mod reading;
mod receipt;
mod repeat;

use std::sync::Arc;

use api::{
    AcceptedInstruments, Caller, Handler, Invocation, Problem, ProblemFormat, ProblemKind, Role, WriteFailure, audit,
    counted, http, not_admitted, protocol_at, protocol_for,
};
use clinical::document::Findings;
use clinical::ids::{PatientId, SiteId, SubmissionId};
use clinical::instruments::Catalog;
use clinical::studies::Protocol;
use invocation::aws::{Failure, FailureKind};
use invocation::metrics;
use lambda_http::http::HeaderValue;
use lambda_http::http::StatusCode;
use lambda_http::http::header::LOCATION;
use lambda_http::{Body, Request, RequestExt, Response};
use records::{Admission, AuditAction, PutOutcome, Store, Submission};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::body::{ParsedSubmission, Rejection, SubmissionContext};
use crate::receipt::{Receipt, State, Viewer};

/// The most bytes of a body.
const LARGEST_BODY: usize = 256 * 1024;

/// The sender of submissions, and the request that carries them.
#[derive(Clone, Copy)]
struct Sender<'a> {
    invocation: &'a Invocation,
    caller: &'a Caller,
    site: &'a SiteId,
    patient: &'a PatientId,
    received_at: OffsetDateTime,
    /// Whether the request may carry several submissions.
    in_batch: bool,
}

impl<'a> Sender<'a> {
    /// The sender of a request that carries one submission.
    fn alone(invocation: &'a Invocation, caller: &'a Caller, site: &'a SiteId, patient: &'a PatientId) -> Self {
        Self { invocation, caller, site, patient, received_at: invocation.clock.now(), in_batch: false }
    }
}

/// A format of submissions.
#[derive(Clone, Copy)]
struct Format {
    /// Parses the JSON of a request, which does not need the study. The findings are those of the parser.
    parse: fn(&Request) -> Result<(Value, Findings), Problem>,
    /// Reads that JSON as a submission.
    read: fn(&Value, Findings, SubmissionContext<'_>) -> Result<ParsedSubmission, Rejection>,
}

const NATIVE: Format = Format { parse: body::parse, read: body::read };
const FHIR: Format = Format { parse: fhir::parse, read: fhir::read };

/// Whether a study accepts submissions of a site.
enum StudyStatus {
    /// The study accepts them, by its protocol and the registration of the patient.
    Open(Arc<Protocol>, Option<Admission>),
    /// The study accepts none: every submission gets this answer, and the catalog is empty.
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
            "POST /v1/submissions" => Self::reported(self.post(invocation, request, NATIVE)).await,
            "POST /v1/submissions/batch" => Self::reported(self.post_batch(invocation, request)).await,
            "GET /v1/submissions/{id}" => self.get(invocation, request).await,
            "POST /v1/fhir/QuestionnaireResponse" => Self::reported(self.post(invocation, request, FHIR)).await,
            "GET /v1/fhir/Questionnaire/{id}" => self.questionnaire(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }

    fn problem_format(&self, route: &str) -> ProblemFormat {
        if route.contains(" /v1/fhir/") { ProblemFormat::OperationOutcome } else { ProblemFormat::Problem }
    }
}

impl Submit {
    /// Accepts the submission in the body, which has this `format`.
    async fn post(&self, invocation: Invocation, request: Request, format: Format) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let (patient, site) = (caller.patient()?, caller.only_site()?);
        let sender = Sender::alone(&invocation, &caller, site, patient);
        let work = async {
            let (json, findings) = (format.parse)(&request)?;
            let study = self.study_status(sender).await?;
            let read = (format.read)(&json, findings, study.context(sender));
            let (status, submission) = self.accept(read, json, format, &study, sender).await?;
            Ok(receipt_answer(status, &submission))
        };
        let answer = work.await;
        if !is_counted_with_score(&answer) {
            counted(&self.store, &invocation, caller.study(), [site], async {}).await;
        }
        answer
    }

    /// As `answer`, which answers a request with submissions, with a metric where it is refused as a whole.
    async fn reported(
        answer: impl Future<Output = Result<Response<Body>, Problem>>,
    ) -> Result<Response<Body>, Problem> {
        // On the heap: the future of the request is large, and would be here twice.
        Box::pin(answer).await.inspect_err(|problem| {
            metrics::report_of(metrics::SUBMISSIONS_REFUSED, problem.kind().name(), 1);
        })
    }

    /// Accepts several submissions, one after the other.
    async fn post_batch(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let (patient, site) = (caller.patient()?, caller.only_site()?);
        // One `received_at` for all entries, so that correcting the device's clock keeps their order.
        let sender = Sender { in_batch: true, ..Sender::alone(&invocation, &caller, site, patient) };
        let work = async {
            let entries = batch::entries(&request)?;
            tracing::info!(event = "batch_received", site = site.as_str(), batch_size = entries.len());
            let study = self.study_status(sender).await?;
            let context = study.context(sender);
            let results =
                batch::accept_all(&entries, context, |read, json| self.accept(read, json, NATIVE, &study, sender))
                    .await;
            results.problems().for_each(|problem| {
                metrics::report_of(metrics::SUBMISSIONS_REFUSED, problem.kind().name(), 1);
            });
            Ok(http::json(StatusCode::MULTI_STATUS, &results.body(&invocation.correlation_id)))
        };
        counted(&self.store, &invocation, caller.study(), [site], work).await
    }

    /// Accepts the submission `json`, which was read as `read`: stores it, unless it is stored already. Logs the outcome.
    async fn accept(
        &self,
        read: Result<ParsedSubmission, Rejection>,
        json: Value,
        format: Format,
        study: &StudyStatus,
        sender: Sender<'_>,
    ) -> Result<(StatusCode, Submission), Problem> {
        let id = read.as_ref().map_or_else(|rejection| rejection.not_asked, |parsed| Some(parsed.id));
        let accepted = self.accept_unlogged(read, json, format, study, sender).await;
        let outcome = match &accepted {
            Ok((StatusCode::ACCEPTED, _)) => {
                metrics::report(metrics::SUBMISSIONS_ACCEPTED, 1);
                "accepted"
            }
            Ok(_) => {
                metrics::report(metrics::SUBMISSIONS_REPEATED, 1);
                "repeated"
            }
            Err(problem) => problem.kind().name(),
        };
        let submission_id = id.map(|id| id.to_string());
        tracing::info!(event = "submission_received", submission_id, site = sender.site.as_str(), outcome);
        accepted
    }

    async fn accept_unlogged(
        &self,
        read: Result<ParsedSubmission, Rejection>,
        json: Value,
        format: Format,
        study: &StudyStatus,
        sender: Sender<'_>,
    ) -> Result<(StatusCode, Submission), Problem> {
        let rejection = match (read, study) {
            (Ok(parsed), StudyStatus::Open(protocol, admission)) => {
                return match not_admitted(protocol, admission.as_ref(), parsed.effective.0) {
                    None => self.store(parsed, protocol, admission.as_ref(), sender).await,
                    Some(refusal) => {
                        Box::pin(repeat::answer(&self.store, parsed.id, &json, format, refusal, sender)).await
                    }
                };
            }
            (Ok(_), StudyStatus::Closed(problem, _)) => return Err(problem.clone()),
            (Err(rejection), _) => rejection,
        };
        let not_asked = rejection.not_asked;
        let refusal = match study {
            StudyStatus::Open(..) => rejection.problem(),
            StudyStatus::Closed(problem, _) => problem.clone(),
        };
        match not_asked {
            // Rarely needed, and a large future.
            Some(id) => Box::pin(repeat::answer(&self.store, id, &json, format, refusal, sender)).await,
            None => Err(refusal),
        }
    }

    /// Stores a submission, and returns it as it is stored: with 202 if this request stored it, with 200 if it was
    /// stored before.
    async fn store(
        &self,
        parsed: ParsedSubmission,
        protocol: &Protocol,
        admission: Option<&Admission>,
        sender: Sender<'_>,
    ) -> Result<(StatusCode, Submission), Problem> {
        let Sender { invocation, caller, site, patient, received_at, in_batch } = sender;
        let digest = parsed.digest();
        let (effective_at, clock) = parsed.effective;
        let submission = Submission {
            study: caller.study().clone(),
            site: site.clone(),
            patient: patient.clone(),
            group: caller.group().or(admission.and_then(|admission| admission.group.as_ref())).cloned(),
            principal: caller.principal().clone(),
            digest,
            id: parsed.id,
            instrument: parsed.instrument,
            answers: parsed.answers,
            authored_at: parsed.authored_at,
            effective_at,
            clock,
            received_at,
            correlation_id: invocation.correlation_id.to_string(),
            counts_call: !in_batch,
            nonce: Uuid::new_v4(),
            study_version: protocol.study().map(|study| (study.version().clone(), study.hash().to_owned())),
            amends: None,
            amended_by: None,
            device: parsed.device,
            claimed: parsed.claimed,
        };
        let (outcome, submission) = match parsed.amends {
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
        let look_up = self.look_up(&invocation, &request, &caller);
        if let Ok(site) = caller.only_site() {
            return counted(&self.store, &invocation, caller.study(), [site], look_up)
                .await
                .map(|(_, response)| response);
        }
        // The site that the call counts for is known only with the submission.
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
        let not_found = || Problem::new(ProblemKind::NotFound, "there is no such submission for this token");
        let patient = requested_patient(request, caller)?.ok_or_else(not_found)?;
        let id: SubmissionId = http::path_parameter(request, "id").parse().map_err(|_| not_found())?;
        let found = self.store.submission(caller.study(), &patient, &id, invocation.deadline);
        let (found, protocol) = futures::join!(found, protocol_for(&self.store, caller, invocation.deadline));
        let protocol = protocol?;
        let not_read = |failure: Failure| Problem::not_read("the submission", &failure);
        let (submission, score) = found.map_err(not_read)?.ok_or_else(not_found)?;
        if caller.role() != Role::Patient && !caller.sites().contains(&submission.site) {
            return Err(not_found());
        }
        // No submission is answered before its audit entry is stored.
        let entry = audit::entry(AuditAction::SubmissionRead, caller, invocation).at_site(&submission.site);
        let entry = entry.of_patient(&patient).about(id);
        self.store.audit(&entry, invocation.deadline).await.map_err(not_read)?;
        let is_staff = caller.role() != Role::Patient;
        let viewer = Viewer { is_staff, sees_score: is_staff || protocol.patients_see_scores() };
        let state = State::new(&submission, score.as_ref(), viewer);
        Ok((submission.site.clone(), http::json(StatusCode::OK, &state)))
    }

    async fn questionnaire(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let work = async {
            let protocol = protocol_for(&self.store, &caller, invocation.deadline).await?;
            fhir::questionnaire(&request, protocol.catalog())
        };
        counted(&self.store, &invocation, caller.study(), caller.sites(), work).await
    }

    /// Whether the caller's study accepts submissions of its site.
    async fn study_status(&self, sender: Sender<'_>) -> Result<StudyStatus, Problem> {
        let Sender { invocation, caller, site, patient, .. } = sender;
        let protocol = protocol_at(&self.store, caller, site, invocation.deadline);
        let admission = self.store.admission(caller.study(), patient, invocation.deadline);
        let (protocol, admission) = futures::join!(protocol, admission);
        match protocol {
            Ok(protocol) => {
                let admission = admission.map_err(|failure| registration_not_read(&failure))?;
                Ok(StudyStatus::Open(protocol, admission))
            }
            Err(problem) if problem.kind() == ProblemKind::Forbidden => {
                Ok(StudyStatus::Closed(problem, Catalog::of(Vec::new())))
            }
            Err(problem) => Err(problem),
        }
    }
}

impl StudyStatus {
    /// The context that submissions of `sender` are read in.
    fn context<'a>(&'a self, sender: Sender<'a>) -> SubmissionContext<'a> {
        let accepted = match self {
            Self::Open(protocol, _) => AcceptedInstruments::Study(protocol, sender.site),
            Self::Closed(_, empty) => AcceptedInstruments::Catalog(empty),
        };
        SubmissionContext { accepted, received_at: sender.received_at }
    }
}

/// The patient whose submission is requested: the caller, or the patient that site staff name by `?patient=`. `None` if
/// the caller may not see that patient.
fn requested_patient(request: &Request, caller: &Caller) -> Result<Option<PatientId>, Problem> {
    let query = request.query_string_parameters_ref();
    let named = query.and_then(|query| query.first("patient")).filter(|named| !named.is_empty());
    if caller.role() == Role::Patient {
        let own = caller.patient()?;
        return Ok(Some(own.clone()).filter(|own| named.is_none_or(|named| named == own.as_str())));
    }
    match named {
        Some(named) => Ok(named.parse().ok()),
        None => {
            let detail = "the query must name the patient: `?patient=`";
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

/// Whether the call that is answered with `answer` is counted in the transaction that scores its submission, which takes
/// no write of its own. Where the outcome is unknown it is counted so if the submission was stored; the repeat is a call
/// of its own.
fn is_counted_with_score(answer: &Result<Response<Body>, Problem>) -> bool {
    match answer {
        Ok(response) => response.status() == StatusCode::ACCEPTED,
        Err(problem) => problem.kind() == ProblemKind::OutcomeUnknown,
    }
}

/// The answer where it is not known whether the patient has withdrawn.
fn registration_not_read(failure: &Failure) -> Problem {
    let problem = Problem::not_read("the patient's registration", failure);
    if problem.kind() != ProblemKind::NotDone {
        return problem;
    }
    let detail = "the store did not answer in time, and nothing was stored; send it again under the same id";
    Problem::new(ProblemKind::NotDone, detail)
}

/// The answer where another body is stored under the submission's id.
fn conflict() -> Problem {
    Problem::new(
        ProblemKind::SubmissionConflict,
        "another body is stored under this id and is kept; to correct it, send a submission with an id of its own, \
         `amends` and `reason`",
    )
}

/// The answers to a submission that is not known to be stored.
const NOT_STORED: WriteFailure = WriteFailure {
    event: "submission_not_confirmed",
    not_done: "too little time remained, and nothing was stored; send it again under the same id",
    unknown: (
        ProblemKind::OutcomeUnknown,
        "whether it was stored is not known; send it again, unchanged and under the same id, to find out",
    ),
    invalid: None,
    refused: "the store refused it; keep it, and send it again later under the same id",
};

/// The answer to a put that failed.
fn not_stored(mut failure: Failure) -> Problem {
    // An earlier attempt of the SDK's may have been applied, whatever the answer to the last one was.
    if failure.kind == FailureKind::Transient {
        failure.kind = FailureKind::Unknown;
    }
    Problem::not_written(&failure, &NOT_STORED)
}
