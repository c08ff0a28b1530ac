//! Windows that were missed in a row.

use jiff::SignedDuration;

use super::definition::Missed;
use super::occurrence::{MissedAlert, Occurrence, State};

/// The alert that `missed` raises if it is the last of so many windows missed in a row as `rule` says. `before` are the
/// answered and the missed ones that opened before it, the latest first: as many as may be counted, and all whose closing
/// may have begun a quiet period.
///
/// A miss counts for one alert as long as that alert stands, so that a patient who stays silent raises one after each
/// `after` windows.
pub fn alert_of<'a, I>(missed: &'a Occurrence, before: I, rule: &Missed) -> Option<MissedAlert>
where
    I: IntoIterator<Item = &'a Occurrence, IntoIter: Clone>,
{
    let before = before.into_iter();
    let counts = |earlier: &&Occurrence| earlier.state == State::Missed && !earlier.has_standing_alert();
    let mut row = std::iter::once(missed).chain(before.clone().take_while(counts));
    let first = row.nth(usize::try_from(rule.after.max(1) - 1).ok()?)?;
    Some(MissedAlert { since: first.window.opens, quiet: is_quiet(missed, before, rule), resolved: None })
}

/// Whether a published alert of one of `before`, resolved or not, began a quiet period that lasts.
fn is_quiet<'a>(missed: &Occurrence, mut before: impl Iterator<Item = &'a Occurrence>, rule: &Missed) -> bool {
    let period = SignedDuration::from_hours(rule.quiet_hours.into());
    let is_within = |earlier: &Occurrence| missed.window.closes.duration_since(earlier.window.closes) < period;
    let is_published = |earlier: &Occurrence| earlier.alert.is_some_and(|alert| !alert.quiet);
    period.is_positive() && before.any(|earlier| is_published(earlier) && is_within(earlier))
}

/// Whether a late answer to `late` resolves the alert of `alerted`.
pub fn resolves(late: &Occurrence, alerted: &Occurrence) -> bool {
    let row = alerted.alert.filter(|alert| alert.resolved.is_none());
    row.is_some_and(|row| (row.since..=alerted.window.opens).contains(&late.window.opens))
}
