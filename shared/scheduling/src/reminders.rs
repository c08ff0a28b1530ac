//! What a reminder says.

use jiff::Timestamp;
use notifications::Reminder;
use records::StoredOccurrence;

/// The reminder of `one` that was due at `at`.
pub(crate) fn reminder(one: &StoredOccurrence, at: Timestamp) -> Reminder {
    let occurrence = &one.occurrence;
    Reminder {
        id: one.reminder_id(at),
        study: one.study.clone(),
        site: one.site.clone(),
        patient: one.patient.clone(),
        schedule: occurrence.schedule.clone(),
        number: occurrence.number,
        opens: occurrence.window.opens.to_string(),
        closes: occurrence.window.closes.to_string(),
        due: at.to_string(),
    }
}
