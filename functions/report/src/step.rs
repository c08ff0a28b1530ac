//! The steps of the chain, each with the least time that it is started with.

use std::fmt;
use std::time::Duration;

use api::{Problem, ProblemKind};
use invocation::Deadline;
use invocation::aws::{Failure, FailureKind};

use crate::render::Language;

/// What takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// What the study asks, after the token was looked at.
    Authorise,
    /// What patients sent.
    Data,
    /// Beside the data: that they were read.
    Audit,
    /// What the data say.
    Statistics,
    /// The PDF.
    Render,
}

/// Why the chain stopped.
#[derive(Debug)]
pub(crate) enum Stop {
    /// This step did not fit in the time that there was.
    OutOfTime(Step),
    /// Anything else.
    Problem(Problem),
}

impl Step {
    /// The least time that it takes.
    pub(crate) const fn least(self) -> Duration {
        match self {
            Self::Authorise | Self::Audit => Duration::from_millis(30),
            Self::Data => Duration::from_millis(40),
            Self::Statistics => Duration::from_millis(10),
            // Of a site without data; `render::expected` knows better once there are.
            Self::Render => Duration::from_millis(40),
        }
    }

    /// That there is `least` left for it.
    pub(crate) fn starts(self, deadline: Deadline, least: Duration) -> Result<(), Stop> {
        deadline.clamp(least, least).map(|_| ()).ok_or(Stop::OutOfTime(self))
    }

    /// What `call` of the store gives, if it ends by `deadline`.
    pub(crate) async fn bound<T>(
        self,
        deadline: Deadline,
        call: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Stop> {
        let ended = deadline.bound(call).await.ok_or(Stop::OutOfTime(self))?;
        ended.map_err(|failure| {
            tracing::error!(event = "report_step_failed", step = %self, %failure);
            match failure.kind {
                _ if failure.is_out_of_time() => Stop::OutOfTime(self),
                FailureKind::Refused => Problem::new(ProblemKind::Internal, format!("the step {self} failed")).into(),
                _ => {
                    let detail = format!("the store did not do its part of the step {self}; ask again");
                    Problem::new(ProblemKind::NotDone, detail).into()
                }
            }
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
    /// This as an answer, in the caller's language where all that it takes is to ask again.
    pub(crate) fn into_problem(self, language: Language) -> Problem {
        let step = match self {
            Self::OutOfTime(step) => step,
            Self::Problem(problem) => return problem,
        };
        tracing::warn!(event = "report_out_of_time", %step);
        let detail = match language {
            Language::English => format!("time ran out at the step {step}; ask again, or for a shorter period"),
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
