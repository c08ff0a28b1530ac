//! When a submission counts as completed, whatever the device's clock shows.

use records::ClockNote;
use time::{Duration, OffsetDateTime, UtcOffset};

/// A skew up to this is left alone: clocks of healthy devices differ by as much, and so do slow networks.
const SMALL_SKEW: Duration = Duration::minutes(5);

/// When a submission counts as completed that the device says was completed at `authored_at` and sent at `sent_at`, and
/// that was received at `received_at`; with a note where that is another instant than `authored_at`.
///
/// `sent_at` less `received_at` is by how much the device's clock is ahead. Beyond five minutes the submission counts as
/// completed that much earlier than the device says. Nothing counts as completed after it was received.
pub(crate) fn effective(
    authored_at: OffsetDateTime,
    sent_at: Option<OffsetDateTime>,
    received_at: OffsetDateTime,
) -> (OffsetDateTime, Option<ClockNote>) {
    let skew = sent_at.map(|sent_at| sent_at - received_at);
    // In whole seconds, so that the note says exactly by how much the time was corrected.
    let correction = skew.filter(|skew| skew.abs() > SMALL_SKEW).map_or(0, Duration::whole_seconds);
    // What the device's two times make impossible is not guessed at: the server's own clock is left.
    let corrected = authored_at.checked_sub(Duration::seconds(correction)).and_then(utc);
    let completed = corrected.filter(|at| *at <= received_at);
    let effective_at = completed.unwrap_or(received_at);
    let note = (effective_at != authored_at)
        .then(|| ClockNote { skew_seconds: skew.map(Duration::whole_seconds), used_received_at: completed.is_none() });
    (effective_at, note)
}

/// `at` in UTC; `None` if RFC 3339 cannot write it there, as 0000-01-01T00:00:00+23:59.
pub(crate) fn utc(at: OffsetDateTime) -> Option<OffsetDateTime> {
    at.checked_to_offset(UtcOffset::UTC).filter(|at| (0..=9999).contains(&at.year()))
}
