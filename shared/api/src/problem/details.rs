//! The JSON of a problem.

use clinical::document::Finding;
use serde::Serialize;

/// A problem details object of RFC 9457, with the members `errors` and `correlationId`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProblemDetails<'a> {
    #[serde(rename = "type")]
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) status: u16,
    pub(super) detail: String,
    #[serde(skip_serializing_if = "<[Finding]>::is_empty")]
    pub(super) errors: &'a [Finding],
    pub(super) correlation_id: &'a str,
}
