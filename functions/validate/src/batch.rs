//! Batches of rows, in the body of a request.

use api::{Problem, ProblemKind, body};
use clinical::document::Finding;
use clinical::forms::{Batch, BatchError, Notation};
use lambda_http::{Body, Request};

/// The most bytes of a batch. Lambda takes an event of 6 MB, in which a body is a JSON string: of a batch of many
/// quotation marks less gets here, and the gateway answers 413 for it by itself.
pub(crate) const LARGEST_BATCH: usize = 6 * 1024 * 1024;

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";
const MEDIA_TYPES: [&str; 5] = [JSON, LINES, "application/ndjson", "application/jsonl", "application/x-jsonlines"];

/// The notation of the batch, by the media type of `request`.
///
/// # Errors
/// 415 if it is none of the types that are accepted.
pub(crate) fn notation(request: &Request) -> Result<Notation, Problem> {
    match body::media_type(request, &MEDIA_TYPES) {
        Some(JSON) => Ok(Notation::Json),
        Some(_) => Ok(Notation::Lines),
        None => {
            let detail = format!(
                "send a JSON array of rows or CDISC Dataset-JSON with `Content-Type: {JSON}`, rows by line with `{LINES}`"
            );
            Err(Problem::new(ProblemKind::UnsupportedMediaType, detail))
        }
    }
}

/// Reads the batch in a body.
///
/// # Errors
/// 413 if it is too large, 422 if it is no batch.
pub(crate) fn read(body: &Body, notation: Notation) -> Result<Batch, Problem> {
    let bytes = body::bytes(body, LARGEST_BATCH)?;
    Batch::read(bytes, notation).map_err(|error| match error {
        BatchError::TooManyRows => Problem::of_finding(ProblemKind::TooLarge, "", "body.too-large", error.to_string()),
        error => {
            let finding = Finding { pointer: String::new(), code: "batch", detail: error.to_string() };
            Problem::new(ProblemKind::Invalid, "the body is not a batch of rows; nothing was checked")
                .with_errors(finding)
        }
    })
}
