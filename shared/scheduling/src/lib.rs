//! When patients are asked, worked off on what is stored. Three functions use it: `score` records which occurrence a
//! submission answers, `sweep` makes occurrences and works off what is due, `due` shows them.
//!
//! What an occurrence is follows from the patient's stored submissions, whichever of them is processed first, or twice:
//!
//! - A submission answers the occurrence whose window holds its effective time. `score` records that once the submission
//!   is scored, and a record of the stream is done only then. `sweep` records it before it scores what the stream lost.
//! - Of several submissions in a window the one that was received first answers it: whichever is processed looks for those
//!   before it.
//! - Before a reminder is published or a window is marked as missed, the stored submissions are searched for an answer, so
//!   that a score that is late, or an outage of scoring, neither reminds a patient who has answered nor raises an alert.
//! - An occurrence whose window is open when it is made is searched for at once.
//!
//! Each write is on condition that the occurrence is as it was read. Of an answer and a miss that cross, one fails, and is
//! decided again on what the other has stored.
//!
//! A patient's plan says how far occurrences are made, and for what. It is on the list of what is due when more are to be
//! made, or when the registry or the study has changed: a new version of a study is rolled out to the plans of its
//! patients, a few at a time. Time zones are those of the database that the function brings.

mod answers;
mod due;
mod plans;
mod reminders;
mod rollouts;

pub use answers::answer;
pub use due::{DueRun, WorkedOff};
pub use plans::{Seen, plan, seen};
pub use rollouts::roll_out;
