//! Windows that were missed in a row.

use super::occurrence::{MissedAlert, Occurrence, State};

/// The alert that `missed` raises if it is the last of `after` windows missed in a row. `before` are the earlier ones of
/// the schedule, the latest first; as many as `after` are enough unless some of them were not asked.
///
/// A miss counts for one alert as long as that alert stands, so that a patient who stays silent raises one after each
/// `after` windows. Windows that were not asked, or ended, neither count nor interrupt.
pub fn alert_of<'a>(
    missed: &Occurrence,
    before: impl IntoIterator<Item = &'a Occurrence>,
    after: u32,
) -> Option<MissedAlert> {
    let mut first = missed.number;
    let mut count = 1;
    for earlier in before {
        if count >= after {
            break;
        }
        match earlier.state {
            State::NotAsked | State::Ended { .. } => {}
            State::Missed if !earlier.has_standing_alert() => {
                first = earlier.number;
                count += 1;
            }
            State::Missed | State::Done { .. } | State::Waiting => break,
        }
    }
    (count >= after).then_some(MissedAlert { first, resolved: None })
}

/// Whether a late answer to `number` resolves the alert of `occurrence`.
pub fn resolves(number: u32, occurrence: &Occurrence) -> bool {
    let counts = |alert: MissedAlert| alert.resolved.is_none() && (alert.first..=occurrence.number).contains(&number);
    occurrence.alert.is_some_and(counts)
}
