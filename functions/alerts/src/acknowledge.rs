//! Acknowledgements of alerts. The first one is never replaced; later ones are stored with it.

use api::{Caller, Invocation, Problem, ProblemKind, WriteFailure, audit, body, counted, http, protocol_for};
use clinical::document::{Finding, Findings, pointer};
use invocation::rfc3339;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use records::{Acknowledgement, AuditAction};
use serde::Serialize;
use serde_json::Value;

use crate::{Alerts, alert_id};

pub(crate) const ROUTE: &str = "POST /v1/alerts/{alertId}/acknowledge";
/// The most characters of a note.
const LONGEST_NOTE: usize = 2_000;
/// The most bytes of a body: in JSON, a character of a note may take twelve.
const LARGEST_BODY: usize = 32 * 1024;

/// The answers to an acknowledgement that was not stored.
const NOT_ACKNOWLEDGED: WriteFailure = WriteFailure {
    event: "not_acknowledged",
    not_done: "the alert was not acknowledged; send the same request again",
    unknown: (
        ProblemKind::OutcomeUnknown,
        "whether the alert was acknowledged is not known; send the same request again to find out",
    ),
    invalid: Some("the alert already has the maximum of 20 later acknowledgements; this one was not stored"),
    refused: "the store refused the acknowledgement",
};

impl Alerts {
    pub(crate) async fn acknowledge(
        &self,
        invocation: Invocation,
        request: Request,
    ) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let note = note(&request)?;
        let id = alert_id(&request)?;
        protocol_for(&self.store, &caller, invocation.deadline).await?;
        let alert = self.named(&request, &caller, &invocation).await?;

        let record = |action| {
            audit::entry(action, &caller, &invocation).at_site(&alert.site).of_patient(&alert.patient).about(id)
        };
        let entry = record(AuditAction::AlertAcknowledged);
        let acknowledgement = Acknowledgement { by: caller.sub().to_owned(), at: entry.at, note };
        let deadline = invocation.deadline;
        let acknowledge = self.store.acknowledge(&alert, acknowledgement, &entry, deadline);
        let stored = counted(&self.store, &invocation, &alert.study, [&alert.site], acknowledge).await;
        let stored = stored.map_err(|failure| Problem::not_written(&failure, &NOT_ACKNOWLEDGED))?;
        let is_own = |one: &Acknowledgement| (one.at, one.by.as_str()) == (entry.at, caller.sub());
        if !is_own(&stored.first) && !stored.later.iter().any(is_own) {
            // This request changed nothing, and returns earlier acknowledgements.
            let read = self.store.audit(&record(AuditAction::AcknowledgementRead), deadline).await;
            read.map_err(|failure| Problem::not_read("the acknowledgement", &failure))?;
        }
        let alert_id = id.to_string();
        let body = AcknowledgedBody {
            alert_id,
            status: "acknowledged",
            acknowledged: AcknowledgementBody::of(&stored.first),
            later_acknowledgements: stored.later.iter().map(AcknowledgementBody::of).collect(),
        };
        Ok(http::json(StatusCode::OK, &body))
    }
}

/// An acknowledgement of an alert.
#[derive(Serialize)]
pub(crate) struct AcknowledgementBody<'a> {
    by: &'a str,
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'a str>,
}

impl<'a> AcknowledgementBody<'a> {
    pub(crate) fn of(acknowledgement: &'a Acknowledgement) -> Self {
        let Acknowledgement { by, at, note } = acknowledgement;
        Self { by, at: rfc3339(*at), note: note.as_deref() }
    }
}

/// The first acknowledgement never changes; later ones may be added.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AcknowledgedBody<'a> {
    alert_id: String,
    status: &'static str,
    acknowledged: AcknowledgementBody<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    later_acknowledgements: Vec<AcknowledgementBody<'a>>,
}

/// The note in the body, `{"note": "…"}`. The body is optional.
fn note(request: &Request) -> Result<Option<String>, Problem> {
    if matches!(request.body(), Body::Empty) || request.body().is_empty() {
        return Ok(None);
    }
    let (value, mut findings) = body::json(request, LARGEST_BODY)?;
    let mut wrong = |at: &str, code, detail: &str| {
        findings.push_with(|| Finding { pointer: at.to_owned(), code, detail: detail.to_owned() });
    };
    let mut note = None;
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value) {
                    ("note", Value::Null) => {}
                    ("note", Value::String(text)) if text.chars().count() > LONGEST_NOTE => {
                        wrong("/note", "note.too-long", &format!("at most {LONGEST_NOTE} characters"));
                    }
                    ("note", Value::String(text)) => note = Some(text).filter(|text| !text.trim().is_empty()),
                    ("note", _) => wrong("/note", "note.type", "a note must be a string"),
                    (name, _) => {
                        wrong(&pointer("", name), "field.unknown", "an acknowledgement has no such field; remove it");
                    }
                }
            }
        }
        _ => wrong("", "body.type", "the body must be an object, {\"note\": \"…\"}, or empty"),
    }
    if findings.is_empty() { Ok(note) } else { Err(invalid(findings)) }
}

fn invalid(findings: Findings) -> Problem {
    Problem::new(ProblemKind::Invalid, "the alert was not acknowledged").with_errors(findings)
}
