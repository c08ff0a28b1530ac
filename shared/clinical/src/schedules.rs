//! Schedules: when a patient is asked, is reminded, and has missed a window.
//!
//! A [`Schedule`] is data of a study. With a [`Subject`] it gives a [`Plan`]: the windows by number. An engine stores
//! [`Occurrence`]s and a [`Position`] and changes them by the transitions of a [`Series`]; [`replay()`] gives the
//! result that must be stored. Nothing here reads a clock or a time zone database: callers pass instants and
//! [`jiff::tz::TimeZone`]s.
//!
//! # Windows
//!
//! - A schedule and a number from 1 identify an occurrence, wherever its window moves. The window is computed from the
//!   number alone, and the number from a time, so that any part of a plan costs the same.
//! - A window holds the instants from its opening on and before its closing. Days from 00:00 to 24:00 neither overlap
//!   nor leave a hole.
//! - A local time that daylight saving skips is the first instant after the gap. A time that occurs twice is the
//!   earlier one for opening and the later one for closing, but a window closes at the latest when the next one opens.
//! - A window all of whose local time is skipped is not asked.
//! - No window opens on a day before enrolment, and a schedule has at most 4,000.
//! - Windows that closed before the patient (or the day of the event) was known are not made.
//!
//! # Changes
//!
//! Everything up to the time of a change is worked off before it: a window that closes at this time is missed.
//!
//! | change | stays | moves |
//! |---|---|---|
//! | time zone; a new version of the study | what is answered, missed or open | what has not opened |
//! | the day of the first window (event, enrolment) | what is answered or missed | what is open or has not opened |
//! | the schedule is no longer for the patient | what is answered, missed or open | nothing: the rest is not asked |
//! | withdrawal | what is answered or missed | nothing: all else ends |
//!
//! - A moved window opens no earlier than the last one that stays closes, so that the windows of a schedule never
//!   overlap. If it would have opened in the past and closes later, it is open at once; reminders before the change are
//!   left out.
//! - A moved window that would close at or before the change, or whose time is covered by the one that stays, is not
//!   asked: it is not missed, no submission answers it, and no alert counts it. A later change that gives it a window
//!   still to close asks it after all, so that a mistyped date, once corrected, costs nothing.
//! - An occurrence that is not asked and one that does not exist mean the same; which of them it is depends on how far
//!   ahead an engine makes occurrences.
//!
//! # Answers
//!
//! A submission answers the unanswered occurrence of its instrument, in any version, whose window holds its effective
//! time. Windows of several schedules can overlap if they are counted from different days: then the one that closes
//! first, then the one with the lesser schedule id. It is late if it was received at the closing or after. The first
//! submission received counts. A correction answers nothing: the corrected submission does. What was completed before a
//! withdrawal and received after it counts; what was completed in a window that has moved since does not.
//!
//! # Reminders and alerts
//!
//! A reminder is due at its time unless the answer was received before. A miss is an alert if it is the last of as many
//! in a row as the schedule says; a miss counts for one standing alert only. Windows that were not asked, or ended,
//! neither count nor interrupt. A late answer to a window that an alert counts resolves it, and the other windows may
//! count again for a later miss.

pub mod definition;

mod clock;
mod misses;
mod occurrence;
mod plan;
mod replay;
mod series;
mod subject;
mod times;
mod window;

pub use definition::{Missed, Schedule};
pub use misses::{alert_of, resolves};
pub use occurrence::{MissedAlert, Occurrence, Resolved, State, Status, answered_by};
pub use plan::Plan;
pub use replay::{DueReminder, Fact, Known, Replay, replay};
pub use series::{Event, Position, Series};
pub use subject::Subject;
pub use times::{civil_date, offset_date_time, timestamp};
pub use window::Window;

pub(crate) use plan::{MOST_WINDOWS, last_window};
