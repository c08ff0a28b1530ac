//! Questionnaires as data: their definitions, scoring, alert rules, and the course of a patient's scores.
//!
//! [`Instrument::parse`] validates a definition and resolves its names. [`Instrument::check`] validates the answers of
//! a submission, and [`Instrument::assess_with`] scores them and evaluates the alert rules. [`replay()`] evaluates all
//! submissions of a patient in order; stored data must equal its result.

mod alert_rules;
mod answers;
mod course;
pub mod definition;
mod exact;
mod fit;
mod history;
mod instrument;
mod load;
mod outcome;
mod program;
mod replay;
mod score;
mod shipped;
mod weight;

pub use answers::{Answer, Answers};
pub use course::{Course, CourseId, Place, Point};
pub use history::{EarlierScores, History};
pub use instrument::{Instrument, MisfitAnswers};
pub use outcome::{Claims, FiredRule, MissingApplied, MissingRule, NotEvaluated, NotScored, Outcome, Score, Severity};
pub use replay::{Basis, Replay, ReplayEntry, replay};
pub use shipped::Catalog;

pub(crate) use load::SCHEMA;
