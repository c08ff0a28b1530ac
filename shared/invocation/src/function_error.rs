//! The error that a function or an invocation ends with.

use std::any::type_name;
use std::error::Error;
use std::fmt;

use lambda_runtime::Diagnostic;

use crate::EnvironmentError;

/// An error that ends a function or an invocation, as Lambda reports it: its type, and its message with those of all
/// its sources. The runtime and the standard library print errors by `Debug`, which would name types and leave out
/// sources, so `Debug` is the same text as `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct FunctionError {
    kind: &'static str,
    reason: String,
}

impl FunctionError {
    /// The report of `error`: its type is Lambda's `errorType`, the messages of its sources are appended to its own.
    pub fn new<E: Error + 'static>(error: E) -> Self {
        let name = type_name::<E>();
        Self { kind: name.rsplit("::").next().unwrap_or(name), reason: with_sources(&error) }
    }
}

fn with_sources(error: &dyn Error) -> String {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        reason = format!("{reason}: {error}");
        source = error.source();
    }
    reason
}

/// A setting is missing or invalid: the function cannot start.
impl From<EnvironmentError> for FunctionError {
    fn from(error: EnvironmentError) -> Self {
        let error = Self::new(error);
        tracing::error!(event = "start_failed", reason = error.reason);
        error
    }
}

/// The Lambda runtime failed, so that the process must end.
impl From<lambda_runtime::Error> for FunctionError {
    fn from(error: lambda_runtime::Error) -> Self {
        let error = Self { kind: "RuntimeError", reason: with_sources(error.as_ref()) };
        tracing::error!(event = "runtime_failed", reason = error.reason);
        error
    }
}

impl From<FunctionError> for Diagnostic {
    fn from(FunctionError { kind, reason }: FunctionError) -> Self {
        Self { error_type: kind.to_owned(), error_message: reason }
    }
}

impl fmt::Debug for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for FunctionError {
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
    fn an_error_is_reported_with_its_type_and_its_sources() {
        let error = FunctionError::new(NotRead("x".parse::<u8>().unwrap_err()));
        let reason = "the batch was not read: invalid digit found in string";
        assert_eq!(format!("{error:?}"), format!("NotRead: {reason}"));
        let diagnostic = Diagnostic::from(error);
        assert_eq!((diagnostic.error_type.as_str(), diagnostic.error_message.as_str()), ("NotRead", reason));
    }

    #[test]
    fn a_function_without_a_setting_says_which_and_where_to_set_it() {
        let error = FunctionError::from(Environment::default().required("RECORDS_TABLE").unwrap_err());
        let expected = "EnvironmentError: environment variable RECORDS_TABLE is not set: set it in template.yaml";
        assert_eq!(format!("{error:?}"), expected);
    }
}
