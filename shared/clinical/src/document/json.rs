//! JSON that a caller sent, parsed with what a plain parser passes over: repeated keys, and nesting without end.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

use super::{Finding, Findings, pointer};

/// The deepest nesting of objects and lists. A submission needs three levels.
const DEEPEST: usize = 16;
/// Bytes of a key in a pointer.
const LONGEST_KEY: usize = 100;

/// The JSON of `bytes`, with the findings of the parser: repeated keys of an object, whose last value is kept, and values
/// nested too deep, which are null.
///
/// # Errors
/// The finding, if they are not well-formed JSON.
pub fn parse_json(bytes: &[u8]) -> Result<(Value, Findings), Finding> {
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

    fn findings(body: &str) -> Vec<(String, &'static str)> {
        let (_, findings) = parse_json(body.as_bytes()).unwrap();
        findings.listed().iter().map(|finding| (finding.pointer.clone(), finding.code)).collect()
    }

    #[test]
    fn well_formed_json_is_returned_unchanged() {
        let body = r#" {"a": [1, -2, 0.5, "é\n", true, null], "b": {"c": {}}} "#;
        let (value, findings) = parse_json(body.as_bytes()).unwrap();
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
        assert_eq!(parse_json(bomb.as_bytes()).unwrap_err().code, "json.syntax");
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
            assert_eq!(parse_json(body).unwrap_err().detail, detail);
        }
    }
}
