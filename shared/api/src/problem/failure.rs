//! Failed calls of the store, as problems. The reason of a failure is logged and never answered.

use invocation::aws::{Failure, FailureKind};
use lambda_http::Request;

use super::Problem;
use super::kind::ProblemKind;
use crate::language;

/// The answers to a write that failed, by what is known of its outcome.
#[derive(Clone, Copy, Debug)]
pub struct WriteFailure {
    /// The log event.
    pub event: &'static str,
    /// The detail where it had no effect (503).
    pub not_done: &'static str,
    /// The kind and the detail where it may have had its effect (503).
    pub unknown: (ProblemKind, &'static str),
    /// The detail where what was asked for can never be written (422); `None` where that would be a fault of this
    /// service.
    pub invalid: Option<&'static str>,
    /// The detail where the store refused it (500).
    pub refused: &'static str,
}

impl Problem {
    /// The answer to a read of `what` that failed: 503 where a repeat may succeed, else 500.
    pub fn not_read(what: &'static str, failure: &Failure) -> Self {
        tracing::error!(event = "read_failed", what, %failure);
        match failure.kind {
            FailureKind::Refused => Self::new(ProblemKind::Internal, format!("{what} could not be read")),
            _ => Self::new(ProblemKind::NotDone, "the store did not answer in time, and nothing was done; ask again"),
        }
    }

    /// As [`not_read`](Self::not_read) for a list that a person waits for: 504 where time ran out, with the detail of
    /// `timed_out` that suits the caller's language. There is a `Content-Language` where there are several languages.
    pub fn list_not_read(
        what: &'static str,
        failure: &Failure,
        timed_out: &[(&'static str, &'static str)],
        request: &Request,
    ) -> Self {
        if !failure.is_out_of_time() {
            return Self::not_read(what, failure);
        }
        tracing::error!(event = "read_timed_out", what, %failure);
        let tags: Vec<&'static str> = timed_out.iter().map(|(tag, _)| *tag).collect();
        let chosen = language::choose(request, &tags);
        let in_language = timed_out.iter().find(|(tag, _)| Some(*tag) == chosen).or(timed_out.first());
        let (tag, detail) = in_language.copied().unwrap_or_default();
        let problem = Self::new(ProblemKind::TimedOut, detail);
        if tags.len() > 1 { problem.in_language(tag) } else { problem }
    }

    /// As [`not_written`](Self::not_written) for a write of which several attempts were made: an earlier one may have been
    /// applied, whatever the answer to the last one was.
    pub fn not_confirmed(mut failure: Failure, answers: &WriteFailure) -> Self {
        if failure.kind == FailureKind::Transient {
            failure.kind = FailureKind::Unknown;
        }
        Self::not_written(&failure, answers)
    }

    /// The answer to a write that failed.
    pub fn not_written(failure: &Failure, answers: &WriteFailure) -> Self {
        tracing::error!(event = answers.event, %failure);
        match (failure.kind, answers.invalid) {
            (FailureKind::NotStarted | FailureKind::Transient, _) => Self::new(ProblemKind::NotDone, answers.not_done),
            (FailureKind::Unknown, _) => Self::new(answers.unknown.0, answers.unknown.1),
            (FailureKind::Refused, Some(detail)) if failure.is_invalid() => Self::new(ProblemKind::Invalid, detail),
            (FailureKind::Refused, _) => Self::new(ProblemKind::Internal, answers.refused),
        }
    }
}
