//! Validation errors of request bodies.

use std::fmt;

use serde::Serialize;

/// A validation error that is returned to the sender: it states where it is and what is allowed, never the value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The JSON pointer (RFC 6901) of the rejected value.
    pub pointer: String,
    /// A stable code for programs, for example `item.unknown`.
    pub code: &'static str,
    /// What is allowed at this place, for people.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}
