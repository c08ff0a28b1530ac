//! What went wrong, as an answer (RFC 9457).

use clinical::document::Finding;
use lambda_http::http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, RETRY_AFTER};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Response};
use serde::Serialize;
use serde_json::Value;

use crate::aws::{Failure, FailureKind};
use crate::{CorrelationId, fhir};

/// An answer that says what went wrong. It never repeats an answer or a score: details speak of rules, not of values.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Findings,
    language: Option<&'static str>,
}

/// What is wrong with a body, as far as one answer can list it: a hostile body could hold a hundred thousand faults, each
/// in a place with a name as long as the body.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    listed: Vec<Finding>,
    more: usize,
}

impl Findings {
    /// As many as are listed; the others are counted.
    const MOST: usize = 200;
    /// As many bytes of a pointer as are kept.
    const LONGEST_POINTER: usize = 1_000;

    /// Takes in `finding`, whose place is only made if it is going to be listed.
    pub fn push_with(&mut self, finding: impl FnOnce() -> Finding) {
        if self.listed.len() == Self::MOST {
            self.more += 1;
            return;
        }
        let mut finding = finding();
        if finding.pointer.len() > Self::LONGEST_POINTER {
            finding.pointer.truncate(finding.pointer.floor_char_boundary(Self::LONGEST_POINTER));
            finding.pointer.push('…');
        }
        self.listed.push(finding);
    }

    /// Takes in all of `others`, each changed by `change`, those left out where it says so.
    pub fn append_with(&mut self, others: Findings, change: impl Fn(Finding) -> Option<Finding>) {
        for finding in others.listed.into_iter().filter_map(change) {
            self.push_with(|| finding);
        }
        self.more += others.more;
    }

    /// Those that are listed.
    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl From<Finding> for Findings {
    fn from(finding: Finding) -> Self {
        let mut findings = Self::default();
        findings.push_with(|| finding);
        findings
    }
}

/// How a problem is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemForm {
    /// As RFC 9457 says.
    Problem,
    /// As a FHIR R4 OperationOutcome. The pointers of findings are FHIRPath expressions then.
    OperationOutcome,
}

/// The kinds of problem, each with its stable `type` and its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemKind {
    /// 401: no access token, or one that cannot be read.
    Unauthenticated,
    /// 403: known, and not allowed.
    Forbidden,
    /// 404: not there, or not the caller's to know of.
    NotFound,
    /// 409: another body was stored under this id.
    SubmissionConflict,
    /// 409: the submission that this one corrects is not stored; it may be on its way.
    OriginalMissing,
    /// 409: the submission that this one corrects was corrected by another one.
    AlreadyAmended,
    /// 413: the body is too large.
    TooLarge,
    /// 415: the body is not of the type that is taken.
    UnsupportedMediaType,
    /// 422: the content is wrong; `errors` says where.
    Invalid,
    /// 500: a fault of this service.
    Internal,
    /// 503: not done, for sure; may be sent again.
    NotDone,
    /// 503: sent to the store, and nothing says what became of it; the same id settles it.
    OutcomeUnknown,
    /// 503: sent to the store, nothing says what became of it, and a repeat may do it twice.
    MayRepeat,
    /// 504: what was asked for could not be read and worked out in time; nothing was changed.
    TimedOut,
}

impl ProblemKind {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::SubmissionConflict | Self::OriginalMissing | Self::AlreadyAmended => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotDone | Self::OutcomeUnknown | Self::MayRepeat => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn name_and_title(self) -> (&'static str, &'static str) {
        match self {
            Self::Unauthenticated => ("urn:epro:problem:unauthenticated", "Access token missing or malformed"),
            Self::Forbidden => ("urn:epro:problem:forbidden", "Not allowed"),
            Self::NotFound => ("urn:epro:problem:not-found", "Not found"),
            Self::SubmissionConflict => {
                ("urn:epro:problem:submission-conflict", "Another body is stored under this id")
            }
            Self::OriginalMissing => ("urn:epro:problem:original-missing", "What is corrected is not stored yet"),
            Self::AlreadyAmended => ("urn:epro:problem:already-amended", "What is corrected is corrected already"),
            Self::TooLarge => ("urn:epro:problem:too-large", "Body too large"),
            Self::UnsupportedMediaType => ("urn:epro:problem:unsupported-media-type", "Unsupported media type"),
            Self::Invalid => ("urn:epro:problem:invalid", "Content does not fit"),
            Self::Internal => ("urn:epro:problem:internal", "Fault of the service"),
            Self::NotDone => ("urn:epro:problem:not-done", "Not done in time"),
            Self::OutcomeUnknown => ("urn:epro:problem:outcome-unknown", "Outcome unknown"),
            Self::MayRepeat => ("urn:epro:problem:may-repeat", "Outcome unknown, and a repeat may do it twice"),
            Self::TimedOut => ("urn:epro:problem:timed-out", "Not finished in time"),
        }
    }

    /// In how many seconds to try again, where that may help and cannot harm.
    fn retry_after(self) -> Option<HeaderValue> {
        match self {
            Self::NotDone | Self::OutcomeUnknown | Self::TimedOut => Some(HeaderValue::from_static("1")),
            // The app has to send the original before.
            Self::OriginalMissing => Some(HeaderValue::from_static("5")),
            _ => None,
        }
    }
}

impl Problem {
    /// A problem of `kind`; `detail` says what, where and what to do.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Findings::default(), language: None }
    }

    /// What it means to the caller that `what` could not be read. Why goes to the log, and nowhere else.
    pub fn not_read(what: &'static str, failure: &Failure) -> Self {
        tracing::error!(event = "not_read", what, %failure);
        match failure.kind {
            FailureKind::Refused => Self::new(ProblemKind::Internal, format!("{what} could not be read")),
            _ => Self::new(ProblemKind::NotDone, "the store did not answer in time, and nothing was done; ask again"),
        }
    }

    /// This problem with the fields at fault.
    #[must_use]
    pub fn with_errors(self, errors: impl Into<Findings>) -> Self {
        Self { errors: errors.into(), ..self }
    }

    /// This problem, whose detail is written in `language` (a BCP 47 tag) for whoever called.
    #[must_use]
    pub fn in_language(self, language: &'static str) -> Self {
        Self { language: Some(language), ..self }
    }

    /// What kind it is.
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// This problem as an answer.
    pub fn into_response(self, correlation_id: &CorrelationId) -> Response<Body> {
        self.into_response_in(ProblemForm::Problem, correlation_id)
    }

    /// This problem as JSON, for an answer about several things.
    pub fn to_json(&self, correlation_id: &CorrelationId) -> Value {
        serde_json::to_value(self.body(correlation_id)).expect("strings and numbers always serialise")
    }

    fn body<'a>(&'a self, correlation_id: &'a CorrelationId) -> ProblemBody<'a> {
        let (name, title) = self.kind.name_and_title();
        let detail = match self.errors.more {
            0 => self.detail.clone(),
            more => format!("{} (and {more} more findings)", self.detail),
        };
        ProblemBody {
            name,
            title,
            status: self.kind.status().as_u16(),
            detail,
            errors: &self.errors.listed,
            correlation_id: correlation_id.as_str(),
        }
    }

    /// This problem as an answer in `form`.
    pub fn into_response_in(self, form: ProblemForm, correlation_id: &CorrelationId) -> Response<Body> {
        let body = self.body(correlation_id);
        let (text, media_type) = match form {
            ProblemForm::Problem => (serde_json::to_string(&body), "application/problem+json"),
            ProblemForm::OperationOutcome => {
                (serde_json::to_string(&fhir::outcome(self.kind, &body)), "application/fhir+json")
            }
        };
        let mut response = Response::new(Body::Text(text.expect("strings and numbers always serialise")));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some(language) = self.language {
            headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language));
        }
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        response
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProblemBody<'a> {
    #[serde(rename = "type")]
    pub(crate) name: &'static str,
    title: &'static str,
    status: u16,
    pub(crate) detail: String,
    #[serde(skip_serializing_if = "<[Finding]>::is_empty")]
    pub(crate) errors: &'a [Finding],
    pub(crate) correlation_id: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn body(response: &Response<Body>) -> Value {
        let Body::Text(text) = response.body() else { panic!("a problem is text") };
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_problem_says_what_and_where_in_the_form_of_rfc_9457() {
        let error = Finding { pointer: "/answers/9".into(), code: "item.code", detail: "0, 1, 2 or 3".into() };
        let problem = Problem::new(ProblemKind::Invalid, "nothing was stored").with_errors(error);
        let response = problem.into_response(&CorrelationId::given_or_new(Some("c-1")));
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body(&response),
            json!({
                "type": "urn:epro:problem:invalid", "title": "Content does not fit", "status": 422,
                "detail": "nothing was stored", "correlationId": "c-1",
                "errors": [{"pointer": "/answers/9", "code": "item.code", "detail": "0, 1, 2 or 3"}],
            })
        );
    }

    #[test]
    fn what_may_be_tried_again_says_when() {
        for (kind, status) in
            [(ProblemKind::NotDone, 503), (ProblemKind::OutcomeUnknown, 503), (ProblemKind::TimedOut, 504)]
        {
            let response = Problem::new(kind, "").into_response(&CorrelationId::given_or_new(None));
            assert_eq!((response.status().as_u16(), response.headers()[RETRY_AFTER].to_str().unwrap()), (status, "1"));
        }
    }

    #[test]
    fn a_detail_for_people_says_which_language_it_is_in() {
        let problem = Problem::new(ProblemKind::TimedOut, "请稍后重试").in_language("zh-Hans");
        let response = problem.into_response(&CorrelationId::given_or_new(None));
        assert_eq!(response.headers()[CONTENT_LANGUAGE], "zh-Hans");
        assert_eq!(body(&response)["detail"], "请稍后重试");
        let plain = Problem::new(ProblemKind::TimedOut, "").into_response(&CorrelationId::given_or_new(None));
        assert!(!plain.headers().contains_key(CONTENT_LANGUAGE));
    }

    #[test]
    fn a_hostile_body_does_not_make_a_huge_answer() {
        let mut errors = Findings::default();
        for i in 0..5_000 {
            let pointer = format!("/{i}/{}", "é".repeat(100_000));
            errors.push_with(|| Finding { pointer, code: "x", detail: String::new() });
        }
        let problem = Problem::new(ProblemKind::Invalid, "wrong").with_errors(errors);
        let response = problem.into_response(&CorrelationId::given_or_new(None));
        let body = body(&response);
        assert_eq!(body["errors"].as_array().unwrap().len(), 200);
        assert_eq!(body["detail"], "wrong (and 4800 more findings)");
        assert!(body.to_string().len() < 300_000);
    }
}
