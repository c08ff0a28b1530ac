//! Problems: error answers as RFC 9457 defines them, and as FHIR R4.

mod details;
mod failure;
mod kind;
mod outcome;

use clinical::document::{Finding, Findings};
use lambda_http::http::HeaderValue;
use lambda_http::http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, RETRY_AFTER};
use lambda_http::{Body, Response};
use serde_json::Value;

use self::details::ProblemDetails;
pub use self::failure::WriteFailure;
pub use self::kind::ProblemKind;
use crate::CorrelationId;

/// An error answer. Its details name rules, never the answers or scores of a patient.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: String,
    errors: Findings,
    language: Option<&'static str>,
    etag: Option<HeaderValue>,
}

/// The format of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProblemFormat {
    /// The `application/problem+json` of RFC 9457.
    Problem,
    /// A FHIR R4 OperationOutcome, in which the pointers of findings are FHIRPath expressions.
    OperationOutcome,
}

impl Problem {
    /// A problem of `kind`. `detail` says what is wrong, where, and what to do.
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), errors: Findings::default(), language: None, etag: None }
    }

    /// A problem of `kind` with one finding, which has the same detail.
    pub fn of_finding(kind: ProblemKind, pointer: &str, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::new(kind, detail.clone()).with_errors(Finding { pointer: pointer.to_owned(), code, detail })
    }

    /// This problem with the findings `errors`.
    #[must_use]
    pub fn with_errors(self, errors: impl Into<Findings>) -> Self {
        Self { errors: errors.into(), ..self }
    }

    /// This problem with the language of its detail (a BCP 47 tag), where that was negotiated with the caller.
    #[must_use]
    pub fn in_language(self, language: &'static str) -> Self {
        Self { language: Some(language), ..self }
    }

    /// This problem with the ETag of what is stored, which the next request may name.
    #[must_use]
    pub fn with_etag(self, etag: HeaderValue) -> Self {
        Self { etag: Some(etag), ..self }
    }

    /// The kind, which determines type, title and status.
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// This problem as an answer.
    pub fn into_response(self, correlation_id: &CorrelationId) -> Response<Body> {
        self.into_response_in(ProblemFormat::Problem, correlation_id)
    }

    /// This problem as JSON, for an answer with several results.
    pub fn to_json(&self, correlation_id: &CorrelationId) -> Value {
        serde_json::to_value(self.body(correlation_id)).expect("strings and numbers always serialise")
    }

    fn body<'a>(&'a self, correlation_id: &'a CorrelationId) -> ProblemDetails<'a> {
        let (name, title) = self.kind.name_and_title();
        let detail = match self.errors.more() {
            0 => self.detail.clone(),
            more => format!("{} (and {more} more findings)", self.detail),
        };
        ProblemDetails {
            name,
            title,
            status: self.kind.status().as_u16(),
            detail,
            errors: self.errors.listed(),
            correlation_id: correlation_id.as_str(),
        }
    }

    /// This problem as an answer in `format`.
    pub fn into_response_in(self, format: ProblemFormat, correlation_id: &CorrelationId) -> Response<Body> {
        let body = self.body(correlation_id);
        let (text, media_type) = match format {
            ProblemFormat::Problem => (serde_json::to_string(&body), "application/problem+json"),
            ProblemFormat::OperationOutcome => {
                (serde_json::to_string(&outcome::operation_outcome(self.kind, &body)), "application/fhir+json")
            }
        };
        let mut response = Response::new(Body::Text(text.expect("strings and numbers always serialise")));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        if let Some(language) = self.language {
            headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language));
        }
        if let Some(etag) = self.etag {
            headers.insert(ETAG, etag);
        }
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(RETRY_AFTER, seconds);
        }
        response
    }
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
    fn a_problem_is_written_as_rfc_9457_defines_it() {
        let error = Finding { pointer: "/answers/9".into(), code: "item.code", detail: "0, 1, 2 or 3".into() };
        let problem = Problem::new(ProblemKind::Invalid, "nothing was stored").with_errors(error);
        let response = problem.into_response(&CorrelationId::given_or_new(Some("c-1")));
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        assert_eq!(
            body(&response),
            json!({
                "type": "urn:epro:problem:invalid", "title": "Content is invalid", "status": 422,
                "detail": "nothing was stored", "correlationId": "c-1",
                "errors": [{"pointer": "/answers/9", "code": "item.code", "detail": "0, 1, 2 or 3"}],
            })
        );
    }

    #[test]
    fn a_problem_that_a_repeat_may_solve_has_a_retry_after() {
        for (kind, status) in
            [(ProblemKind::NotDone, 503), (ProblemKind::OutcomeUnknown, 503), (ProblemKind::TimedOut, 504)]
        {
            let response = Problem::new(kind, "").into_response(&CorrelationId::given_or_new(None));
            assert_eq!((response.status().as_u16(), response.headers()[RETRY_AFTER].to_str().unwrap()), (status, "1"));
        }
    }

    #[test]
    fn a_detail_in_a_negotiated_language_has_a_content_language() {
        let problem = Problem::new(ProblemKind::TimedOut, "请稍后重试").in_language("zh-Hans");
        let response = problem.into_response(&CorrelationId::given_or_new(None));
        assert_eq!(response.headers()[CONTENT_LANGUAGE], "zh-Hans");
        assert_eq!(body(&response)["detail"], "请稍后重试");
        let plain = Problem::new(ProblemKind::TimedOut, "").into_response(&CorrelationId::given_or_new(None));
        assert!(!plain.headers().contains_key(CONTENT_LANGUAGE));
    }

    #[test]
    fn a_hostile_body_does_not_cause_a_huge_answer() {
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
