//! Submissions and instruments as FHIR R4: a QuestionnaireResponse is converted to a submission, which is accepted as
//! any other, and a definition to a Questionnaire.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{Problem, ProblemKind, http, language};
use clinical::document::{Finding, Findings};
use clinical::fhir::{self, Response as QuestionnaireResponse};
use clinical::ids::InstrumentId;
use clinical::instruments::Catalog;
use clinical::instruments::Instrument;
use lambda_http::http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, VARY};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use serde_json::Value;

use crate::LARGEST_BODY;
use crate::body::{self, ParsedSubmission, Rejection, SubmissionContext};

const MEDIA_TYPES: [&str; 2] = ["application/fhir+json", "application/json"];

/// The JSON in the body of `request`, with the findings of the parser.
///
/// # Errors
/// 413, 415, or 422.
pub(crate) fn parse(request: &Request) -> Result<(Value, Findings), Problem> {
    api::body::json_of(request, &MEDIA_TYPES, LARGEST_BODY)
}

/// Reads `json`, a QuestionnaireResponse, and validates it against its instrument. `parser` has the findings of the
/// parser.
///
/// # Errors
/// All findings, with FHIRPath expressions.
pub(crate) fn read(
    json: &Value,
    parser: Findings,
    context: SubmissionContext<'_>,
) -> Result<ParsedSubmission, Rejection> {
    let response = QuestionnaireResponse::read(json, context.accepted.catalog());
    let is_json = parser.is_empty();
    let mut findings = Findings::default();
    findings.append_with(parser, |finding| Some(Finding { pointer: expression(&finding.pointer), ..finding }));
    let mut reported = BTreeSet::new();
    for finding in &response.findings {
        reported.insert((finding.pointer.clone(), finding.code));
        findings.push_with(|| finding.clone());
    }
    if json["resourceType"] != "QuestionnaireResponse" {
        return Err(Rejection { findings, not_asked: None });
    }
    match body::read(&response.submission, Findings::default(), context) {
        Ok(parsed) if findings.is_empty() => Ok(ParsedSubmission { claimed: response.claimed, ..parsed }),
        Ok(_) => Err(Rejection { findings, not_asked: None }),
        Err(Rejection { findings: more, not_asked }) => {
            let faulty = !reported.is_empty();
            findings.append_with(more, |finding| {
                let pointer = response.expression(&finding.pointer);
                // Whether an item is hidden is not known where the answers to others could not be read.
                let unsure = faulty && finding.code == "item.hidden";
                (!unsure && !reported.contains(&(pointer.clone(), finding.code)))
                    .then_some(Finding { pointer, ..finding })
            });
            Err(Rejection { findings, not_asked: not_asked.filter(|_| is_json) })
        }
    }
}

/// The Questionnaire that `request` names: of the instrument of `catalog` in its path, in the version of `?version=` or
/// the latest, with texts in the caller's language where the instrument has them.
///
/// # Errors
/// 404 if there is no such instrument or version.
pub(crate) fn questionnaire(request: &Request, catalog: &Catalog) -> Result<Response<Body>, Problem> {
    let query = request.query_string_parameters_ref();
    let given = |name| query.and_then(|query| query.first(name)).filter(|value| !value.is_empty());
    let not_found = || Problem::new(ProblemKind::NotFound, "there is no such questionnaire in this version");
    let id = http::path_parameter(request, "id");
    let instrument = instrument(catalog, &id, given("version")).ok_or_else(not_found)?;
    let languages: Vec<&str> = instrument.languages().collect();
    let language = language::choose(request, &languages).unwrap_or_default();
    let mut response = http::json(StatusCode::OK, &fhir::questionnaire(instrument, language));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPES[0]));
    headers.insert(CONTENT_LANGUAGE, HeaderValue::try_from(language).expect("a language tag is plain ASCII"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
    Ok(response)
}

fn instrument<'a>(catalog: &'a Catalog, id: &str, version: Option<&str>) -> Option<&'a Instrument> {
    let id: InstrumentId = id.parse().ok()?;
    let found = match version {
        Some(version) => catalog.find(&id, &version.parse().ok()?).ok(),
        None => catalog.latest(&id),
    };
    found.map(Arc::as_ref)
}

/// The FHIRPath expression of `pointer` in the body.
fn expression(pointer: &str) -> String {
    pointer.split('/').skip(1).fold("QuestionnaireResponse".to_owned(), |parent, token| {
        if token.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("{parent}[{token}]")
        } else {
            format!("{parent}.{token}")
        }
    })
}
