//! The function for data managers. `PUT /v1/studies/{study}` puts a version of the caller's study in force;
//! `PUT /v1/instruments/{id}/{version}` stores an instrument that does not ship, so that studies may name it.
//!
//! The body is the definition. It is checked and stored by the code of the command line (`releases`). A version never
//! changes, so a request may be repeated: the first is answered 201, a repeat 200.

use api::{Caller, Handler, Invocation, Problem, ProblemKind, WriteFailure, audit, body, counted, http};
use clinical::document::{DefinitionFault, Finding, Findings};
use clinical::instruments::Instrument;
use clinical::studies::Study;
use invocation::aws::Failure;
use lambda_http::http::header::LOCATION;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use records::{AuditAction, Since, Store};
use releases::{Refused, Release};
use serde::Serialize;

/// The most bytes of a definition, as of other bodies. Larger studies are put by the command line.
const LARGEST_BODY: usize = 256 * 1024;

/// The answers to a definition that was not stored.
const NOT_STORED: WriteFailure = WriteFailure {
    event: "definition_not_stored",
    not_done: "the definition was not stored; send the same request again",
    unknown: (
        ProblemKind::OutcomeUnknown,
        "whether the definition was stored is not known; send the same request again, which settles it",
    ),
    invalid: None,
    refused: "the store refused the definition",
};

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Definitions {
    store: Store,
}

impl Definitions {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Definitions {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            "PUT /v1/studies/{study}" => self.study(invocation, request).await,
            "PUT /v1/instruments/{id}/{version}" => self.instrument(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}

impl Definitions {
    /// The study need not be stored: this is how it comes to be.
    async fn study(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        if http::path_parameter(&request, "study") != caller.study().as_str() {
            return Err(Problem::new(ProblemKind::NotFound, "there is no such study for this token"));
        }
        counted(&self.store, &invocation, caller.study(), caller.sites(), async {
            let study = Study::parse(body::text(&request, LARGEST_BODY)?).map_err(faulty)?;
            in_path("/id", study.id().as_str(), caller.study().as_str())?;
            let (id, version, hash) = (study.id().clone(), study.version().clone(), study.hash().to_owned());
            let entry = audit::entry(AuditAction::StudyPut, &caller, &invocation);
            let release = releases::put_study(&self.store, study, entry, invocation.deadline).await;
            let body = StudyBody { study: id.as_str(), version: version.as_str(), hash: &hash };
            answer(release, &format!("/v1/studies/{id}"), &body)
        })
        .await
    }

    async fn instrument(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        counted(&self.store, &invocation, caller.study(), caller.sites(), async {
            let instrument = Instrument::parse(body::text(&request, LARGEST_BODY)?).map_err(faulty)?;
            let (id, version) = (instrument.id().as_str(), instrument.version().as_str());
            in_path("/id", id, &http::path_parameter(&request, "id"))?;
            in_path("/version", version, &http::path_parameter(&request, "version"))?;
            // Every study of the deployment may name it.
            let entry = audit::entry(AuditAction::InstrumentPut, &caller, &invocation).of_all_studies();
            let release = releases::put_instrument(&self.store, &instrument, entry, invocation.deadline).await;
            let body = InstrumentBody { instrument: id, version, hash: instrument.hash() };
            answer(release, &format!("/v1/instruments/{id}/{version}"), &body)
        })
        .await
    }
}

/// Requires that the definition and the path of the request name the same.
fn in_path(pointer: &str, defined: &str, named: &str) -> Result<(), Problem> {
    if defined == named {
        return Ok(());
    }
    let detail = "it must be the one that the path of the request names";
    let finding = Finding { pointer: pointer.to_owned(), code: "definition.other", detail: detail.to_owned() };
    Err(Problem::new(ProblemKind::Invalid, "nothing was stored").with_errors(finding))
}

fn answer(release: Result<Release, Failure>, location: &str, body: &impl Serialize) -> Result<Response<Body>, Problem> {
    match release.map_err(|failure| Problem::not_written(&failure, &NOT_STORED))? {
        Release::InForce(Since::Before) => Ok(http::json(StatusCode::OK, body)),
        Release::InForce(Since::Now) => {
            let mut response = http::json(StatusCode::CREATED, body);
            let location = HeaderValue::try_from(location).expect("ids and versions are plain ASCII");
            response.headers_mut().insert(LOCATION, location);
            Ok(response)
        }
        Release::Faulty(faults) => Err(faulty(faults)),
        Release::Refused(refused) => Err(conflict(&refused)),
    }
}

/// The answer to a definition with `faults`.
fn faulty(faults: Vec<DefinitionFault>) -> Problem {
    let mut findings = Findings::default();
    for DefinitionFault { pointer, code, problem, advice, .. } in faults {
        findings.push_with(|| Finding { pointer, code, detail: format!("{problem}; {advice}") });
    }
    Problem::new(ProblemKind::Invalid, "the definition has faults; nothing was stored").with_errors(findings)
}

fn conflict(refused: &Refused) -> Problem {
    let kind = match refused {
        Refused::Shipped { .. } | Refused::OtherContent { .. } => ProblemKind::VersionConflict,
        Refused::LaterInForce { .. } => ProblemKind::LaterVersion,
        Refused::NoStudy => ProblemKind::Internal,
    };
    Problem::new(kind, refused.to_string())
}

#[derive(Serialize)]
struct StudyBody<'a> {
    study: &'a str,
    version: &'a str,
    /// Of the canonical content.
    hash: &'a str,
}

#[derive(Serialize)]
struct InstrumentBody<'a> {
    instrument: &'a str,
    version: &'a str,
    /// Of the canonical content, which scores carry.
    hash: &'a str,
}
