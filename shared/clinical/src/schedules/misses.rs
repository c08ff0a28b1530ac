//! Windows that were missed in a row.

use super::occurrence::{MissedAlert, Occurrence, State};

/// The alert that `missed` raises if it is the last of `after` windows missed in a row. `before` are the answered and
/// the missed ones that opened before it, the latest first; as many as `after` are enough.
///
/// A miss counts for one alert as long as that alert stands, so that a patient who stays silent raises one after each
/// `after` windows.
pub fn alert_of<'a>(
    missed: &'a Occurrence,
    before: impl IntoIterator<Item = &'a Occurrence>,
    after: u32,
) -> Option<MissedAlert> {
    let counts = |earlier: &&Occurrence| earlier.state == State::Missed && !earlier.has_standing_alert();
    let mut row = std::iter::once(missed).chain(before.into_iter().take_while(counts));
    let first = row.nth(usize::try_from(after.max(1) - 1).ok()?)?;
    Some(MissedAlert { since: first.window.opens, resolved: None })
}

/// Whether a late answer to `late` resolves the alert of `alerted`.
pub fn resolves(late: &Occurrence, alerted: &Occurrence) -> bool {
    let row = alerted.alert.filter(|alert| alert.resolved.is_none());
    row.is_some_and(|row| (row.since..=alerted.window.opens).contains(&late.window.opens))
}
