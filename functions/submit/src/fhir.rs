//! The same in the words of FHIR R4: a QuestionnaireResponse is read as the submission that it is and then goes the way of
//! all submissions; a definition is told as a Questionnaire.

use std::collections::BTreeSet;
use std::sync::Arc;

use api::{Findings, Problem, ProblemKind, http, language};
use clinical::document::Finding;
use clinical::fhir::{self, Response as QuestionnaireResponse};
use clinical::ids::InstrumentId;
use clinical::instruments::Catalog;
use clinical::instruments::Instrument;
use lambda_http::http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, VARY};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use serde_json::Value;

use crate::LARGEST_BODY;
use crate::body::{self, Refused, Sending, Sent};

const MEDIA_TYPES: [&str; 2] = ["application/fhir+json", "application/json"];

/// The JSON that `request` carries, with what is wrong with it as JSON.
///
/// # Errors
/// 413, 415, or 422.
pub(crate) fn parsed(request: &Request) -> Result<(Value, Findings), Problem> {
    api::body::json_of(request, &MEDIA_TYPES, LARGEST_BODY)
}

/// Reads `json`, a QuestionnaireResponse, against the instrument that it names. `parsed` are the findings of the parser.
///
/// # Errors
/// All findings, by FHIRPath expressions.
pub(crate) fn read(json: &Value, parsed: Findings, sending: Sending<'_>) -> Result<Sent, Refused> {
    let response = QuestionnaireResponse::read(json, sending.asked.catalog());
    let is_json = parsed.is_empty();
    let mut findings = Findings::default();
    findings.append_with(parsed, |finding| Some(Finding { pointer: expression(&finding.pointer), ..finding }));
    let mut told = BTreeSet::new();
    for finding in &response.findings {
        told.insert((finding.pointer.clone(), finding.code));
        findings.push_with(|| finding.clone());
    }
    if json["resourceType"] != "QuestionnaireResponse" {
        return Err(Refused { findings, unasked: None });
    }
    match body::read(&response.submission, Findings::default(), sending) {
        Ok(sent) if findings.is_empty() => Ok(Sent { claimed: response.claimed, ..sent }),
        Ok(_) => Err(Refused { findings, unasked: None }),
        Err(Refused { findings: more, unasked }) => {
            let faulty = !told.is_empty();
            findings.append_with(more, |finding| {
                let pointer = response.expression(&finding.pointer);
                // Whether an item is asked cannot be told where the answers to others could not be read.
                let unsure = faulty && finding.code == "item.hidden";
                (!unsure && !told.contains(&(pointer.clone(), finding.code))).then_some(Finding { pointer, ..finding })
            });
            Err(Refused { findings, unasked: unasked.filter(|_| is_json) })
        }
    }
}

/// The Questionnaire that `request` asks for: of the instrument of `catalog` in its path, in the version that `?version=` names or the
/// latest, with the texts in the caller's language where they are there in it.
///
/// # Errors
/// 404 if there is no such instrument or version.
pub(crate) fn questionnaire(request: &Request, catalog: &Catalog) -> Result<Response<Body>, Problem> {
    let query = request.query_string_parameters_ref();
    let asked = |name| query.and_then(|query| query.first(name)).filter(|value| !value.is_empty());
    let not_found = || Problem::new(ProblemKind::NotFound, "there is no such questionnaire, or not in this version");
    let id = http::path_parameter(request, "id");
    let instrument = instrument(catalog, &id, asked("version")).ok_or_else(not_found)?;
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

/// The FHIRPath expression of the place at `pointer` in the body.
fn expression(pointer: &str) -> String {
    pointer.split('/').skip(1).fold("QuestionnaireResponse".to_owned(), |parent, token| {
        if token.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("{parent}[{token}]")
        } else {
            format!("{parent}.{token}")
        }
    })
}
