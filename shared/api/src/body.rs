//! JSON bodies, checked before they are used: media type, size, syntax, depth, repeated keys.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use clinical::document::{Finding, pointer};
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Body, Request};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{Findings, Problem, ProblemKind};

/// The deepest nesting of objects and lists. A submission needs three levels.
const DEEPEST: usize = 16;
/// Bytes of a key in a pointer.
const LONGEST_KEY: usize = 100;

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
    parse(bytes).map_err(not_json)
}

/// The entries of the JSON list in the body of `request`: the body itself, or its only member `name`. Each entry is as
/// it was sent, so that the findings of one do not affect the others.
///
/// # Errors
/// 415 if its media type is not JSON, 413 if it is too large, 422 if it is not well-formed JSON, or no such list.
pub fn entries<'a>(request: &'a Request, name: &str, largest: usize) -> Result<Vec<&'a [u8]>, Problem> {
    let bytes = bytes_of(request, &["application/json"], largest)?;
    // For the same finding as any other body that is not JSON.
    parse(bytes).map_err(not_json)?;
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

/// As [`json`], for `bytes` that are not the body of a request.
///
/// # Errors
/// The finding, if they are not well-formed JSON.
pub fn parse(bytes: &[u8]) -> Result<(Value, Findings), Finding> {
    let state = RefCell::new(State { path: Vec::new(), findings: Findings::default() });
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = Node { state: &state, depth: 0 }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match parsed {
        Ok(value) => Ok((value, state.into_inner().findings)),
        Err(error) => Err(syntax_finding(bytes, &error)),
    }
}

/// The message of serde_json may quote the body, so only the kind and the place of the error are reported.
fn syntax_finding(bytes: &[u8], error: &serde_json::Error) -> Finding {
    let what = match error.classify() {
        _ if bytes.iter().all(u8::is_ascii_whitespace) => "the body is empty".to_owned(),
        _ if std::str::from_utf8(bytes).is_err() => "the body is not UTF-8".to_owned(),
        Category::Eof => "the JSON ends too early".to_owned(),
        _ if bytes.trim_ascii().contains(&b'\n') => {
            format!("not JSON at line {}, column {}", error.line(), error.column())
        }
        _ => format!("not JSON at column {}", error.column()),
    };
    Finding { pointer: String::new(), code: "json.syntax", detail: what }
}

/// The state of the parser.
struct State {
    /// The keys from the root to the current value, long ones truncated.
    path: Vec<String>,
    findings: Findings,
}

impl State {
    fn report(&mut self, code: &'static str, detail: String) {
        let Self { path, findings } = self;
        findings.push_with(|| {
            let pointer = path.iter().fold(String::new(), |parent, key| pointer(&parent, key));
            Finding { pointer, code, detail }
        });
    }
}

/// A value of the body, by its depth.
#[derive(Clone, Copy)]
struct Node<'a> {
    state: &'a RefCell<State>,
    depth: usize,
}

impl Node<'_> {
    /// Runs `step` for the member `key`, one level deeper.
    fn descend<T>(self, key: &str, step: impl FnOnce(Self) -> T) -> T {
        let shown = &key[..key.floor_char_boundary(LONGEST_KEY)];
        self.state.borrow_mut().path.push(shown.to_owned());
        let result = step(Self { depth: self.depth + 1, ..self });
        self.state.borrow_mut().path.pop();
        result
    }

    fn too_deep(self) -> bool {
        let too_deep = self.depth >= DEEPEST;
        if too_deep {
            let detail = format!("objects and lists may be nested at most {DEEPEST} deep");
            self.state.borrow_mut().report("json.too-deep", detail);
        }
        too_deep
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        if self.too_deep() {
            while sequence.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut list = Vec::new();
        loop {
            let index = list.len().to_string();
            match self.descend(&index, |node| sequence.next_element_seed(node))? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        if self.too_deep() {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(Value::Null);
        }
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            let value = self.descend(&key, |node| {
                if object.contains_key(&key) {
                    let detail = "this key occurs more than once in its object".to_owned();
                    node.state.borrow_mut().report("json.duplicate-key", detail);
                }
                members.next_value_seed(node)
            })?;
            object.insert(key, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(media_type: &str, body: impl Into<Body>) -> Request {
        lambda_http::http::Request::builder().header(CONTENT_TYPE, media_type).body(body.into()).unwrap()
    }

    fn findings(body: &str) -> Vec<(String, &'static str)> {
        let (_, findings) = parse(body.as_bytes()).unwrap();
        findings.listed().iter().map(|finding| (finding.pointer.clone(), finding.code)).collect()
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
    fn well_formed_json_is_returned_unchanged() {
        let body = r#" {"a": [1, -2, 0.5, "é\n", true, null], "b": {"c": {}}} "#;
        let (value, findings) = parse(body.as_bytes()).unwrap();
        assert_eq!(value, json!({"a": [1, -2, 0.5, "é\n", true, null], "b": {"c": {}}}));
        assert!(findings.is_empty());
    }

    #[test]
    fn every_repeated_key_is_reported_with_its_pointer() {
        let body = r#"{"a": {"x~/y": 1, "x~/y": 2}, "b": [{"c": 1, "c": 1}], "a": 3}"#;
        let expected = ["/a/x~0~1y", "/b/0/c", "/a"].map(|pointer| (pointer.to_owned(), "json.duplicate-key"));
        assert_eq!(findings(body), expected);
    }

    #[test]
    fn values_nested_too_deep_are_reported_and_dropped() {
        let deep = format!("{{\"a\": {}1{}, \"b\": 1, \"b\": 2}}", "[".repeat(100), "]".repeat(100));
        let expected = [(format!("/a{}", "/0".repeat(15)), "json.too-deep"), ("/b".to_owned(), "json.duplicate-key")];
        assert_eq!(findings(&deep), expected);
    }

    #[test]
    fn many_findings_under_a_long_key_take_little_memory() {
        let key = "é".repeat(60_000);
        let body = format!("{{\"{key}\": {{{}}}}}", vec!["\"a\": 1"; 10_000].join(","));
        let found = findings(&body);
        assert_eq!(found.len(), 200);
        assert!(found.iter().all(|(pointer, _)| pointer.len() < 110));
    }

    #[test]
    fn depth_never_exhausts_the_stack() {
        let bomb = "[".repeat(200_000);
        assert_eq!(parse(bomb.as_bytes()).unwrap_err().code, "json.syntax");
    }

    #[test]
    fn syntax_errors_are_reported_by_place_and_never_quoted() {
        let cases: [(&[u8], &str); 6] = [
            (b"", "the body is empty"),
            (b"  \n", "the body is empty"),
            (b"{\"a\": ", "the JSON ends too early"),
            (b"{\n\"a\": secret}", "not JSON at line 2, column 6"),
            (b"{} {}\n", "not JSON at column 4"),
            (b"\"\xff\"", "the body is not UTF-8"),
        ];
        for (body, detail) in cases {
            assert_eq!(parse(body).unwrap_err().detail, detail);
        }
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
