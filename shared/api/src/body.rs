//! JSON bodies, checked before they are used: media type, size, syntax, depth, repeated keys.

use std::collections::BTreeMap;

use clinical::document::{Finding, Findings, parse_json};
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Body, Request};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::{Problem, ProblemKind};

/// The JSON body of `request`, of at most `largest` bytes, with the findings of the parser: repeated keys of an object,
/// whose last value is kept, and values nested too deep, which are null.
///
/// # Errors
/// 415 if its media type is not JSON, 413 if it is too large, 422 if it is not well-formed JSON.
pub fn json(request: &Request, largest: usize) -> Result<(Value, Findings), Problem> {
    json_of(request, &["application/json"], largest)
}

/// As [`json`], for a body of one of `media_types`, all of which are JSON.
///
/// # Errors
/// As [`json`].
pub fn json_of(request: &Request, media_types: &[&str], largest: usize) -> Result<(Value, Findings), Problem> {
    let bytes = bytes_of(request, media_types, largest)?;
    parse_json(bytes).map_err(not_json)
}

/// The JSON body of `request`, of at most `largest` bytes, as text, for a parser of its own.
///
/// # Errors
/// 415 if its media type is not JSON, 413 if it is too large, 422 if it is not UTF-8.
pub fn text(request: &Request, largest: usize) -> Result<&str, Problem> {
    let bytes = bytes_of(request, &["application/json"], largest)?;
    std::str::from_utf8(bytes).map_err(|_| {
        let detail = "the body is not UTF-8, as JSON is; nothing was stored";
        Problem::of_finding(ProblemKind::Invalid, "", "json.syntax", detail)
    })
}

/// The entries of the JSON list in the body of `request`: the body itself, or its only member `name`. Each entry is as
/// it was sent, so that the findings of one do not affect the others.
///
/// # Errors
/// 415 if its media type is not JSON, 413 if it is too large, 422 if it is not well-formed JSON, or no such list.
pub fn entries<'a>(request: &'a Request, name: &str, largest: usize) -> Result<Vec<&'a [u8]>, Problem> {
    let bytes = bytes_of(request, &["application/json"], largest)?;
    // For the same finding as any other body that is not JSON.
    parse_json(bytes).map_err(not_json)?;
    let list = serde_json::from_slice::<Vec<&RawValue>>(bytes).or_else(|not_a_list| {
        let mut members = serde_json::from_slice::<BTreeMap<String, Vec<&RawValue>>>(bytes)?;
        members.remove(name).filter(|_| members.is_empty()).ok_or(not_a_list)
    });
    let list = list.map_err(|_| {
        let detail = format!("the body must be a list, or an object whose only member is the list `{name}`");
        Problem::of_finding(ProblemKind::Invalid, "", "field.type", detail)
    })?;
    Ok(list.into_iter().map(|entry| entry.get().as_bytes()).collect())
}

fn not_json(finding: Finding) -> Problem {
    Problem::new(ProblemKind::Invalid, "the body is not JSON; nothing was stored").with_errors(finding)
}

fn bytes_of<'a>(request: &'a Request, media_types: &[&str], largest: usize) -> Result<&'a [u8], Problem> {
    if media_type(request, media_types).is_none() {
        let detail = format!("the body must be JSON: send it with `Content-Type: {}`", media_types[0]);
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    bytes(request.body(), largest)
}

/// The one of `accepted` that the `Content-Type` of `request` names, if the body is in UTF-8: JSON always is (RFC
/// 8259), and another charset is a mistake that would garble a text answer.
pub fn media_type<'a>(request: &Request, accepted: &[&'a str]) -> Option<&'a str> {
    let named = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut parts = named.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let media_type = accepted.iter().find(|accepted| accepted.eq_ignore_ascii_case(essence))?;
    let is_utf_8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    is_utf_8.then_some(media_type)
}

/// The bytes of `body`.
///
/// # Errors
/// 413 if there are more than `largest`.
pub fn bytes(body: &Body, largest: usize) -> Result<&[u8], Problem> {
    let bytes = match body {
        Body::Text(text) => text.as_bytes(),
        Body::Binary(bytes) => bytes.as_slice(),
        _ => &[],
    };
    if bytes.len() > largest {
        let detail = format!("the body has {} bytes; at most {largest} are accepted: send less at once", bytes.len());
        return Err(Problem::of_finding(ProblemKind::TooLarge, "", "body.too-large", detail));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(media_type: &str, body: impl Into<Body>) -> Request {
        lambda_http::http::Request::builder().header(CONTENT_TYPE, media_type).body(body.into()).unwrap()
    }

    #[test]
    fn the_entries_of_a_list_are_returned_as_they_were_sent() {
        let of = |body: &str| {
            let request = request("application/json", body);
            let entries = entries(&request, "submissions", 100);
            entries.map(|entries| entries.into_iter().map(|entry| String::from_utf8(entry.to_vec()).unwrap()).collect())
        };
        for body in [r#"[{"a": 1, "a": 2}, 7 , null]"#, r#"{"submissions": [{"a": 1, "a": 2}, 7, null]}"#] {
            let entries: Vec<String> = of(body).unwrap();
            assert_eq!(entries, [r#"{"a": 1, "a": 2}"#, "7", "null"]);
        }
        for body in
            ["", "[1", "7", "{}", r#"{"submissions": []  , "more": []}"#, r#"{"submissions": 1}"#, r#"{"other": []}"#]
        {
            assert_eq!(of(body).unwrap_err().kind(), ProblemKind::Invalid, "{body}");
        }
        assert_eq!(of(&format!("[{}]", " ".repeat(100))).unwrap_err().kind(), ProblemKind::TooLarge);
    }

    #[test]
    fn only_json_in_utf_8_is_accepted() {
        for good in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
            assert!(json(&request(good, "{}"), 10).is_ok(), "{good}");
        }
        for bad in ["", "text/plain", "application/jsonx", "application/json; charset=latin1"] {
            let problem = json(&request(bad, "{}"), 10).unwrap_err();
            assert_eq!(problem.kind(), ProblemKind::UnsupportedMediaType, "{bad}");
        }
    }

    #[test]
    fn a_body_may_be_as_large_as_the_limit() {
        assert!(json(&request("application/json", "[1,2]"), 5).is_ok());
        let problem = json(&request("application/json", "[1,2] "), 5).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::TooLarge);
    }

    #[test]
    fn a_body_decoded_from_base64_is_read_as_text_is() {
        assert_eq!(json(&request("application/json", b"[7]".to_vec()), 5).unwrap().0, json!([7]));
    }
}
