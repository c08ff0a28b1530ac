//! The instants between which an answer counts.

use jiff::{Timestamp, ToSpan};

use super::definition::Reminder;

/// The instants between which an answer counts: from `opens` on, before `closes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Window {
    /// The first instant.
    pub opens: Timestamp,
    /// The first instant at which an answer no longer counts.
    pub closes: Timestamp,
}

impl Window {
    /// Whether an answer given at `at` counts.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.opens <= at && at < self.closes
    }

    /// Whether no answer can count.
    pub fn is_empty(&self) -> bool {
        self.closes <= self.opens
    }

    /// The part of the window that is not before `floor`.
    pub(super) fn not_before(self, floor: Timestamp) -> Self {
        Self { opens: self.opens.max(floor), closes: self.closes }
    }

    /// The times of `reminders` that are in the window and after `since`, in ascending order. Where daylight saving
    /// shortens a window, a reminder may be outside of it.
    pub(super) fn reminders(&self, reminders: &[Reminder], since: Timestamp) -> Vec<Timestamp> {
        let time = |reminder: &Reminder| match *reminder {
            Reminder::MinutesAfterOpening(minutes) => self.opens.checked_add(i64::from(minutes).minutes()).ok(),
            Reminder::MinutesBeforeClosing(minutes) => self.closes.checked_sub(i64::from(minutes).minutes()).ok(),
        };
        let mut times: Vec<_> =
            reminders.iter().filter_map(time).filter(|time| self.holds(*time) && *time > since).collect();
        times.sort_unstable();
        times.dedup();
        times
    }
}
