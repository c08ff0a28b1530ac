//! Schedules: when a patient is asked, is reminded, and has missed a window.
//!
//! TODO
pub mod definition;

mod clock;
mod misses;
mod occurrence;
mod plan;
mod replay;
mod series;
mod subject;
mod window;

pub use definition::Schedule;
pub use misses::{alert_of, resolves};
pub use occurrence::{MissedAlert, Occurrence, Resolved, State, Status, answered_by};
pub use plan::Plan;
pub use replay::{DueReminder, Fact, Known, Replay, replay};
pub use series::{Event, Position, Series};
pub use subject::Subject;
pub use window::Window;

pub(crate) use plan::{MOST_WINDOWS, last_window};
