//! Why a function or an invocation ends with an error, in words: the error with all its causes. The runtime shows an
//! error by its `Debug`, which names types and leaves causes to the reader.

use std::any::type_name;
use std::error::Error;
use std::fmt;

use lambda_http::lambda_runtime::Diagnostic;

use crate::EnvironmentError;

/// Why a function or an invocation ended.
#[derive(Clone, PartialEq, Eq)]
pub struct Ended {
    kind: &'static str,
    reason: String,
}

impl Ended {
    /// Ended by `error`, which is named by its type in what Lambda reports, and told with all its causes.
    pub fn by<E: Error + 'static>(error: E) -> Self {
        let name = type_name::<E>();
        Self { kind: name.rsplit("::").next().unwrap_or(name), reason: with_causes(&error) }
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason = format!("{reason}: {error}");
        cause = error.source();
    }
    reason
}

/// A setting is missing: the function cannot start.
impl From<EnvironmentError> for Ended {
    fn from(error: EnvironmentError) -> Self {
        let ended = Self::by(error);
        tracing::error!(event = "not_started", reason = ended.reason);
        ended
    }
}

/// The runtime cannot go on.
impl From<lambda_http::Error> for Ended {
    fn from(error: lambda_http::Error) -> Self {
        let ended = Self { kind: "RuntimeError", reason: with_causes(error.as_ref()) };
        tracing::error!(event = "ended", reason = ended.reason);
        ended
    }
}

impl From<Ended> for Diagnostic {
    fn from(Ended { kind, reason }: Ended) -> Self {
        Self { error_type: kind.to_owned(), error_message: reason }
    }
}

/// As [`Display`](fmt::Display): this is what the standard library and the runtime print.
impl fmt::Debug for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    #[derive(Debug, thiserror::Error)]
    #[error("the batch was not read")]
    struct NotRead(#[source] std::num::ParseIntError);

    #[test]
    fn an_error_is_shown_in_words_with_its_causes() {
        let ended = Ended::by(NotRead("x".parse::<u8>().unwrap_err()));
        let words = "the batch was not read: invalid digit found in string";
        assert_eq!(format!("{ended:?}"), format!("NotRead: {words}"));
        let diagnostic = Diagnostic::from(ended);
        assert_eq!((diagnostic.error_type.as_str(), diagnostic.error_message.as_str()), ("NotRead", words));
    }

    #[test]
    fn a_function_without_a_setting_says_which_and_where_to_set_it() {
        let ended = Ended::from(Environment::default().required("RECORDS_TABLE").unwrap_err());
        let expected = "EnvironmentError: environment variable RECORDS_TABLE is not set: set it in template.yaml";
        assert_eq!(format!("{ended:?}"), expected);
    }
}
