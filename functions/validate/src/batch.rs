//! The batch that a request carries.

use clinical::document::Finding;
use clinical::forms::{Batch, BatchError, Notation};
use invocation::{Problem, ProblemKind};
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Body, Request};

/// As large as a batch may be. Lambda takes an event of 6 MB, in which a body is a JSON string: of a batch of many quotation
/// marks less gets here, and the gateway answers 413 for it by itself.
pub(crate) const LARGEST_BATCH: usize = 6 * 1024 * 1024;

const JSON: &str = "application/json";
const LINES: [&str; 4] = ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"];

/// How the request says that its batch is written.
///
/// # Errors
/// 415 if it is none of the types that are taken.
pub(crate) fn notation(request: &Request) -> Result<Notation, Problem> {
    let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = media_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let notation = if JSON.eq_ignore_ascii_case(essence) {
        Some(Notation::Json)
    } else {
        LINES.iter().any(|lines| lines.eq_ignore_ascii_case(essence)).then_some(Notation::Lines)
    };
    let is_utf_8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    notation.filter(|_| is_utf_8).ok_or_else(|| {
        let detail = format!(
            "send a JSON array of rows or CDISC Dataset-JSON with `Content-Type: {JSON}`, rows by line with `{}`",
            LINES[0]
        );
        Problem::new(ProblemKind::UnsupportedMediaType, detail)
    })
}

/// The batch in a body.
///
/// # Errors
/// 413 if it is too large, 422 if it is no batch.
pub(crate) fn read(body: &Body, notation: Notation) -> Result<Batch, Problem> {
    let bytes = match body {
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes.as_slice(),
        _ => &[],
    };
    let too_large = |detail: String| {
        let finding = Finding { pointer: String::new(), code: "body.too-large", detail: detail.clone() };
        Problem::new(ProblemKind::TooLarge, detail).with_errors(finding)
    };
    if bytes.len() > LARGEST_BATCH {
        let size = bytes.len();
        return Err(too_large(format!(
            "the batch has {size} bytes; at most {LARGEST_BATCH} are taken: send smaller batches"
        )));
    }
    Batch::read(bytes, notation).map_err(|error| match error {
        BatchError::TooManyRows => too_large(error.to_string()),
        error => {
            let finding = Finding { pointer: String::new(), code: "batch", detail: error.to_string() };
            Problem::new(ProblemKind::Invalid, "the body is no batch of rows; nothing was checked").with_errors(finding)
        }
    })
}
