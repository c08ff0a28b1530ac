//! The canonical form of JSON and its hash.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A document in canonical form, and the hash that identifies its content.
#[derive(Debug, Clone)]
pub(crate) struct Canonical {
    /// The JSON with keys sorted and no white space.
    pub(crate) json: Cow<'static, str>,
    /// The SHA-256 of `json`, in hexadecimal.
    pub(crate) hash: Cow<'static, str>,
}

impl Canonical {
    /// The document whose canonical form and hash were computed when the library was built.
    pub(crate) const fn of_shipped(json: &'static str, hash: &'static str) -> Self {
        Self { json: Cow::Borrowed(json), hash: Cow::Borrowed(hash) }
    }

    pub(crate) fn of(document: &Value) -> Self {
        let json = canonical(document);
        let hash = sha256(&json);
        Self { json: json.into(), hash: hash.into() }
    }
}

/// JSON with sorted keys and no white space, independent of the order of the input.
fn canonical(json: &Value) -> String {
    let mut out = String::new();
    write_canonical(json, &mut out);
    out
}

/// The SHA-256 of `text`, in hexadecimal.
fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().fold(String::with_capacity(64), |mut hash, byte| {
        // Writing to a string cannot fail.
        _ = write!(hash, "{byte:02x}");
        hash
    })
}

fn write_canonical(json: &Value, out: &mut String) {
    match json {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (place, (key, value)) in fields.into_iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                _ = write!(out, "{}:", Value::from(key.as_str()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for (place, value) in values.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                write_canonical(value, out);
            }
            out.push(']');
        }
        scalar => _ = write!(out, "{scalar}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(json: &str) -> String {
        Canonical::of(&serde_json::from_str(json).unwrap()).hash.into_owned()
    }

    #[test]
    fn the_hash_depends_on_the_content_and_not_on_its_layout() {
        let one = hash(r#"{"a": [1, 2.5], "b": {"c": "ä", "d": null}}"#);
        assert_eq!(one, hash("{\"b\":{\"d\":null,\"c\":\"\\u00e4\"},\n\"a\":[1,2.5]}"));
        assert_ne!(one, hash(r#"{"a": [2.5, 1], "b": {"c": "ä", "d": null}}"#));
    }

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(hash("{}"), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }
}
