//! What is read from a request before anything is stored. The fuzz targets in `tests/fuzz` start here.

use std::cell::RefCell;

use api::{AcceptedInstruments, CorrelationId, Problem, ProblemKind};
use clinical::ids::SiteId;
use clinical::instruments::Answers;
use clinical::studies::Protocol;
use futures::FutureExt;
use lambda_http::Request;
use records::InstrumentRef;
use serde_json::Value;
use time::OffsetDateTime;

use crate::body::{ParsedSubmission, SubmissionContext};
use crate::{FHIR, Format, NATIVE, batch};

/// A valid submission, as far as its own text determines it.
#[derive(Clone, Debug)]
pub struct ReadSubmission {
    /// The instrument that it answers.
    pub instrument: InstrumentRef,
    /// The answers, which the instrument accepts.
    pub answers: Answers,
    /// The digest that repeats are recognised by.
    pub digest: String,
}

/// The study and the site that a request is read for, and its time.
#[derive(Clone, Copy, Debug)]
pub struct ReadingContext<'a> {
    /// The protocol in force.
    pub protocol: &'a Protocol,
    /// The patient's site.
    pub site: &'a SiteId,
    /// When the request was received.
    pub received_at: OffsetDateTime,
}

/// Reads the body of `POST /v1/submissions`.
///
/// # Errors
/// The answer to an invalid body.
pub fn submission(request: &Request, context: ReadingContext<'_>) -> Result<ReadSubmission, Problem> {
    read(request, NATIVE, context)
}

/// Reads the body of `POST /v1/fhir/QuestionnaireResponse`.
///
/// # Errors
/// The answer to an invalid body.
pub fn response(request: &Request, context: ReadingContext<'_>) -> Result<ReadSubmission, Problem> {
    read(request, FHIR, context)
}

/// Reads the body of `POST /v1/submissions/batch`: the valid submissions in the order in which they are accepted, and
/// the answer's body as it is where the store refuses each of them.
///
/// # Errors
/// The answer to a body that is no batch.
pub fn batch(request: &Request, context: ReadingContext<'_>) -> Result<(Vec<ReadSubmission>, Value), Problem> {
    let entries = batch::entries(request)?;
    let valid = RefCell::new(Vec::new());
    let results = batch::accept_all(&entries, context.into(), |read, _| {
        let problem = match read {
            Ok(parsed) => {
                valid.borrow_mut().push(parsed.into());
                Problem::new(ProblemKind::NotDone, "nothing is stored here")
            }
            Err(rejection) => rejection.problem(),
        };
        async { Err(problem) }
    });
    let results = results.now_or_never().expect("nothing is awaited that is not ready");
    Ok((valid.into_inner(), results.body(&CorrelationId::given_or_new(Some("reading")))))
}

fn read(request: &Request, format: Format, context: ReadingContext<'_>) -> Result<ReadSubmission, Problem> {
    let (json, findings) = (format.parse)(request)?;
    (format.read)(&json, findings, context.into()).map(Into::into).map_err(|rejection| rejection.problem())
}

impl<'a> From<ReadingContext<'a>> for SubmissionContext<'a> {
    fn from(ReadingContext { protocol, site, received_at }: ReadingContext<'a>) -> Self {
        Self { accepted: AcceptedInstruments::Study(protocol, site), received_at }
    }
}

impl From<ParsedSubmission> for ReadSubmission {
    fn from(parsed: ParsedSubmission) -> Self {
        let digest = parsed.digest();
        Self { instrument: parsed.instrument, answers: parsed.answers, digest }
    }
}
