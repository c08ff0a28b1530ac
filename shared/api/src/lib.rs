//! What the functions behind the HTTP API share, above storage and below the functions: [`run`] and [`Handler`], the
//! [`Caller`] of a request and its [`access`], its JSON [`body`] and the
//! [`Fields`] of questionnaires in it, lists in pages ([`SiteList`]), [`audit`] entries of callers, answers
//! ([`http`]) in the caller's [`language`], and [`Problem`]s.

pub mod access;
mod admission;
pub mod audit;
pub mod body;
mod caller;
mod correlation;
mod counted;
pub mod cursor;
mod fields;
mod handler;
pub mod http;
pub mod language;
mod members;
mod page;
mod problem;
mod study;

pub use admission::not_admitted;
pub use caller::{Caller, Role, Scope};
pub use correlation::CorrelationId;
pub use counted::counted;
pub use fields::{AcceptedInstruments, Fields};
pub use handler::{Handler, run, start};
pub use http::Invocation;
pub use members::Members;
pub use page::{Listing, PageRequest, SiteList};
pub use problem::{Problem, ProblemFormat, ProblemKind, WriteFailure};
pub use study::{admit, protocol_at, protocol_for};
