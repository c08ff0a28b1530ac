//! What every invocation of every function has, whatever calls it: a [`Deadline`], a [`Clock`], settings from the
//! [`Environment`], SDK clients that obey the deadline ([`aws`]), logs without patient data ([`telemetry`]), and
//! [`metrics`] for alarms. What only HTTP functions have is in `api`; [`event_function`] has what the others have.

pub mod aws;
mod backoff;
mod clock;
mod deadline;
mod environment;
pub mod event_function;
mod function_error;
pub mod metrics;
mod principal;
pub mod telemetry;

pub use backoff::Backoff;
pub use clock::{Clock, rfc3339};
pub use deadline::{Deadline, run_alongside};
pub use environment::{Environment, EnvironmentError};
pub use function_error::FunctionError;
pub use principal::Principal;
