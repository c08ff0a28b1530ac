//! The steps of the chain, with the least time that each of them needs.

use std::fmt;
use std::time::Duration;

use api::{Problem, ProblemKind};
use invocation::Deadline;
use invocation::aws::Failure;

use crate::render::Language;

/// A step that takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Reading the rules of the study, once the token is verified.
    Authorise,
    /// Reading the data of the period.
    Data,
    /// Storing the audit entry, at the same time as the data are read.
    Audit,
    /// Computing the figures.
    Statistics,
    /// Rendering the PDF.
    Render,
}

/// The reason why the chain stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The remaining time did not suffice for this step.
    OutOfTime(Step),
    /// Any other reason, as the problem that is returned.
    Problem(Problem),
}

impl Step {
    /// The least time that the step takes.
    pub(crate) const fn least(self) -> Duration {
        match self {
            Self::Authorise | Self::Audit => Duration::from_millis(30),
            Self::Data => Duration::from_millis(40),
            Self::Statistics => Duration::from_millis(10),
            // For a site without data; `render::expected_duration` is closer once the data are read.
            Self::Render => Duration::from_millis(40),
        }
    }

    /// Returns an error unless at least `least` remains for the step.
    pub(crate) fn starts(self, deadline: Deadline, least: Duration) -> Result<(), Stop> {
        deadline.clamp(least, least).map(|_| ()).ok_or(Stop::OutOfTime(self))
    }

    /// The result of `call`, if the store returns one by `deadline`. Failures other than a lack of time become problems
    /// by `problem`.
    pub(crate) async fn bound<T>(
        self,
        deadline: Deadline,
        call: impl Future<Output = Result<T, Failure>>,
        problem: impl FnOnce(&Failure) -> Problem,
    ) -> Result<T, Stop> {
        let ended = deadline.bound(call).await.ok_or(Stop::OutOfTime(self))?;
        ended.map_err(|failure| {
            if failure.is_out_of_time() {
                tracing::error!(event = "report_step_timed_out", step = %self, %failure);
                return Stop::OutOfTime(self);
            }
            Stop::Problem(problem(&failure))
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authorise => "authorise",
            Self::Data => "data",
            Self::Audit => "audit",
            Self::Statistics => "statistics",
            Self::Render => "render",
        })
    }
}

impl Stop {
    /// The problem to return. A timeout, which a retry can solve, is explained in the caller's language.
    pub(crate) fn into_problem(self, language: Language) -> Problem {
        let step = match self {
            Self::OutOfTime(step) => step,
            Self::Problem(problem) => return problem,
        };
        tracing::warn!(event = "report_out_of_time", %step);
        let detail = match language {
            Language::English => format!("time ran out at the step {step}; retry, or request a shorter period"),
            Language::Chinese => format!("步骤 {step} 超时，请稍后重试，或缩短报告期间"),
        };
        Problem::new(ProblemKind::TimedOut, detail).in_language(language.tag())
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}
