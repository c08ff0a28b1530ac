//! What is wrong with a document that someone sent.

use std::fmt;

use serde::Serialize;

/// One fault, in a form that can be shown to who sent the document: it tells where and what is allowed, never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where: a JSON pointer (RFC 6901).
    pub pointer: String,
    /// What, for programs; for example `item.unknown`.
    pub code: &'static str,
    /// What is allowed, for people.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}
