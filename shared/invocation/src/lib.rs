//! What every invocation of every function has, whatever it is for: a [`Deadline`], a [`Caller`], a [`CorrelationId`],
//! a body that is checked before it is believed ([`body`]), lists in pages ([`cursor`]), an answer in one shape ([`Problem`]) and in the caller's [`language`], SDK settings that obey the
//! deadline ([`aws`]), logs that say nothing of a patient ([`telemetry`]) and [`metrics`] for alarms.

pub mod aws;
mod backoff;
pub mod body;
mod caller;
mod clock;
mod correlation;
pub mod cursor;
mod deadline;
mod ended;
mod environment;
mod fhir;
pub mod http;
pub mod language;
pub mod metrics;
mod problem;
pub mod telemetry;

pub use backoff::Backoff;
pub use caller::{Caller, Principal, Role, Scope};
pub use clock::Clock;
pub use correlation::CorrelationId;
pub use deadline::{Deadline, beside};
pub use ended::Ended;
pub use environment::{Environment, EnvironmentError};
pub use problem::{Findings, Problem, ProblemForm, ProblemKind};
