//! Problems as FHIR R4.

use serde_json::{Value, json};

use super::details::ProblemDetails;
use super::kind::ProblemKind;

/// `body` as an OperationOutcome: an issue for the problem itself, with the correlation id, then one for each finding.
pub(super) fn operation_outcome(kind: ProblemKind, body: &ProblemDetails<'_>) -> Value {
    let mut issues = vec![json!({
        "severity": "error",
        "code": issue_type(kind),
        "details": coded("urn:epro:problem", kind.name(), &body.detail),
        "diagnostics": format!("correlation id {}", body.correlation_id),
    })];
    issues.extend(body.errors.iter().map(|finding| {
        let mut issue = json!({
            "severity": "error",
            "code": finding_type(finding.code),
            "details": coded("urn:epro:finding", finding.code, &finding.detail),
        });
        if !finding.pointer.is_empty() {
            issue["expression"] = json!([finding.pointer]);
        }
        issue
    }));
    json!({"resourceType": "OperationOutcome", "issue": issues})
}

fn coded(system: &str, code: &str, text: &str) -> Value {
    json!({"coding": [{"system": system, "code": code}], "text": text})
}

/// The code of `kind` in HL7's code system `issue-type`.
fn issue_type(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::Unauthenticated => "login",
        ProblemKind::Forbidden | ProblemKind::PatientNotEnrolled | ProblemKind::PatientWithdrawn => "forbidden",
        ProblemKind::NotFound => "not-found",
        ProblemKind::SubmissionConflict
        | ProblemKind::OriginalMissing
        | ProblemKind::AlreadyAmended
        | ProblemKind::VersionConflict
        | ProblemKind::LaterVersion
        | ProblemKind::AlertConflict
        | ProblemKind::RegistrationConflict
        | ProblemKind::DraftSubmitted
        | ProblemKind::DraftChanged
        | ProblemKind::IfMatchRequired => "conflict",
        ProblemKind::DraftGone => "deleted",
        ProblemKind::TooLarge => "too-long",
        ProblemKind::UnsupportedMediaType => "not-supported",
        ProblemKind::Invalid => "invalid",
        ProblemKind::Internal => "exception",
        ProblemKind::NotDone => "transient",
        ProblemKind::OutcomeUnknown | ProblemKind::MayRepeat | ProblemKind::TimedOut => "timeout",
    }
}

fn finding_type(code: &str) -> &'static str {
    match code {
        "field.required" => "required",
        "item.code" | "item.weight" => "code-invalid",
        "instrument.unknown" | "instrument.version-unknown" => "not-found",
        "fhir.status" => "business-rule",
        "fhir.modifier" => "not-supported",
        code if code.starts_with("json.") || code.starts_with("field.") => "structure",
        code if code.ends_with(".too-large") => "too-long",
        _ => "value",
    }
}

#[cfg(test)]
mod tests {
    use clinical::document::Finding;
    use lambda_http::Body;

    use super::*;
    use crate::{CorrelationId, Problem, ProblemFormat};

    #[test]
    fn an_operation_outcome_has_an_issue_for_each_finding_with_its_expression() {
        let finding = Finding {
            pointer: "QuestionnaireResponse.item[3].answer[1]".into(),
            code: "item.code",
            detail: "must be one of 0, 1".into(),
        };
        let problem = Problem::new(ProblemKind::Invalid, "nothing was stored").with_errors(finding);
        let correlation_id = CorrelationId::given_or_new(Some("c-1"));
        let response = problem.into_response_in(ProblemFormat::OperationOutcome, &correlation_id);
        assert_eq!(
            (response.status().as_u16(), &response.headers()["content-type"]),
            (422, &"application/fhir+json".parse().unwrap())
        );
        let Body::Text(text) = response.body() else { panic!("an outcome is text") };
        assert_eq!(
            serde_json::from_str::<Value>(text).unwrap(),
            json!({"resourceType": "OperationOutcome", "issue": [
                {"severity": "error", "code": "invalid", "diagnostics": "correlation id c-1",
                 "details": {"coding": [{"system": "urn:epro:problem", "code": "invalid"}], "text": "nothing was stored"}},
                {"severity": "error", "code": "code-invalid", "expression": ["QuestionnaireResponse.item[3].answer[1]"],
                 "details": {"coding": [{"system": "urn:epro:finding", "code": "item.code"}], "text": "must be one of 0, 1"}},
            ]})
        );
    }
}
