//! The function for drafts: questionnaires that a patient has begun, so that another device, or the same one after a
//! restart, goes on where the patient stopped.
//!
//! | route | |
//! |---|---|
//! | `PUT /v1/drafts/{id}` | stores a draft under the id of the future submission, or changes it (`If-Match`) |
//! | `GET /v1/drafts/{id}` | returns it |
//!
//! A draft is no data of the study: it is never scored, in no list and in no report, and no one but its patient reads
//! it. It is gone 30 days after its last change, and as soon as the submission of its id is stored: each request reads
//! the submission's key too, so that submissions need not know of drafts (`records::StoredDraft`).

mod body;
mod condition;

use api::{Caller, Handler, Invocation, Problem, ProblemKind, WriteFailure, counted, http, not_admitted, protocol_at};
use clinical::ids::SubmissionId;
use invocation::aws::Failure;
use lambda_http::http::header::{ETAG, LOCATION};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use records::{Draft, DraftPut, Store, StoredDraft};

use crate::body::{Content, DraftBody, Receipt};
use crate::condition::{Condition, etag};

/// The most bytes of a body, as of a submission.
const LARGEST_BODY: usize = 256 * 1024;

/// The answers to a draft that was not stored.
const NOT_STORED: WriteFailure = WriteFailure {
    event: "draft_not_stored",
    not_done: "the draft was not stored; send the same request again",
    unknown: (
        ProblemKind::OutcomeUnknown,
        "whether the draft was stored is not known; send the same request again, with the same body and headers, which \
         settles it",
    ),
    invalid: None,
    refused: "the store refused the draft",
};

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Drafts {
    store: Store,
}

impl Drafts {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Drafts {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let site = caller.only_site()?;
        counted(&self.store, &invocation, caller.study(), [site], async {
            match route {
                "PUT /v1/drafts/{id}" => self.put(&caller, &invocation, &request).await,
                "GET /v1/drafts/{id}" => self.get(&caller, &invocation, &request).await,
                _ => Err(http::no_such_route()),
            }
        })
        .await
    }
}

impl Drafts {
    async fn put(
        &self,
        caller: &Caller,
        invocation: &Invocation,
        request: &Request,
    ) -> Result<Response<Body>, Problem> {
        let (patient, site) = (caller.patient()?, caller.only_site()?);
        let id = id_in_path(request)?;
        let (json, findings) = api::body::json(request, LARGEST_BODY)?;
        let protocol = protocol_at(&self.store, caller, site, invocation.deadline);
        let admission = self.store.draft_admission(caller.study(), patient, &id, invocation.deadline);
        let (protocol, admission) = futures::join!(protocol, admission);
        let (protocol, admission) = (protocol?, admission.map_err(|failure| not_read(&failure))?);
        if admission.is_submitted {
            let detail = "the questionnaire of this id is submitted, so that it has no draft; nothing was stored";
            return Err(Problem::new(ProblemKind::DraftSubmitted, detail));
        }
        let now = invocation.clock.now();
        if let Some(refusal) = not_admitted(&protocol, admission.admission.as_ref(), now) {
            return Err(refusal);
        }
        let content = Content::read(&json, findings, id, (&protocol, site))?.text();
        let draft = Draft::new(caller.study().clone(), patient.clone(), id, content, now);
        let condition = Condition::of(request);
        match self
            .store
            .put_draft(&draft, condition.of_store(), invocation.deadline)
            .await
            .map_err(|failure| Problem::not_confirmed(failure, &NOT_STORED))?
        {
            DraftPut::Stored if condition.creates() => {
                let mut response = answer(StatusCode::CREATED, &draft, &Receipt::of(&draft));
                let location = HeaderValue::try_from(format!("/v1/drafts/{id}"));
                response.headers_mut().insert(LOCATION, location.expect("a UUID is plain ASCII"));
                Ok(response)
            }
            DraftPut::Stored => Ok(answer(StatusCode::OK, &draft, &Receipt::of(&draft))),
            DraftPut::Same(stored) => Ok(answer(StatusCode::OK, &stored, &Receipt::of(&stored))),
            DraftPut::Other(stored) => Err(condition.not_met(stored.as_deref())),
        }
    }

    async fn get(
        &self,
        caller: &Caller,
        invocation: &Invocation,
        request: &Request,
    ) -> Result<Response<Body>, Problem> {
        let (patient, site) = (caller.patient()?, caller.only_site()?);
        let id = id_in_path(request)?;
        let stored = self.store.draft(caller.study(), patient, &id, invocation.clock.now(), invocation.deadline);
        let protocol = protocol_at(&self.store, caller, site, invocation.deadline);
        let (protocol, stored) = futures::join!(protocol, stored);
        protocol?;
        match stored.map_err(|failure| not_read(&failure))? {
            StoredDraft::None => Err(not_found()),
            StoredDraft::Submitted => {
                let detail = "the questionnaire of this id was submitted, and its draft is gone; the submission is \
                              under the same id in `/v1/submissions`";
                Err(Problem::new(ProblemKind::DraftGone, detail))
            }
            StoredDraft::Draft(draft) => {
                let unreadable = || Problem::new(ProblemKind::Internal, "the stored draft cannot be read");
                Ok(answer(StatusCode::OK, &draft, &DraftBody::of(&draft).ok_or_else(unreadable)?))
            }
        }
    }
}

fn answer(status: StatusCode, draft: &Draft, body: &impl serde::Serialize) -> Response<Body> {
    let mut response = http::json(status, body);
    response.headers_mut().insert(ETAG, etag(draft));
    response
}

fn id_in_path(request: &Request) -> Result<SubmissionId, Problem> {
    http::path_parameter(request, "id").parse().map_err(|_| not_found())
}

/// The same answer for a draft that never was, one that has expired, and one of another patient.
fn not_found() -> Problem {
    let detail =
        "there is no such draft for this token; a draft is kept for 30 days after its last change, under a UUID";
    Problem::new(ProblemKind::NotFound, detail)
}

fn not_read(failure: &Failure) -> Problem {
    Problem::not_read("the draft", failure)
}
