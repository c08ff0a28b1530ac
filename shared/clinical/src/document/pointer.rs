//! JSON pointers (RFC 6901).

use std::fmt;

/// Appends a reference token to `parent`, escaped as RFC 6901 requires.
///
/// ```
/// assert_eq!(clinical::document::pointer("/answers", "a/b~c"), "/answers/a~1b~0c");
/// ```
pub fn pointer(parent: &str, token: impl fmt::Display) -> String {
    format!("{parent}/{}", token.to_string().replace('~', "~0").replace('/', "~1"))
}
