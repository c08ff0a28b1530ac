//! When a submission counts as completed, if the device's clock is wrong.

use records::ClockNote;
use time::{Duration, OffsetDateTime, UtcOffset};

/// A skew up to this is ignored: the clocks of healthy devices and the delays of slow networks differ by as much.
const SMALL_SKEW: Duration = Duration::minutes(5);

/// When a submission counts as completed that was received at `received_at`, and by the device's clock was completed at
/// `authored_at` and sent at `sent_at`; with a note where the result is not `authored_at`.
///
/// The skew is `sent_at` less `received_at`. Where it exceeds five minutes, `authored_at` is corrected by it. Where the
/// result would be after `received_at`, the submission counts as completed when it was received.
pub(crate) fn effective(
    authored_at: OffsetDateTime,
    sent_at: Option<OffsetDateTime>,
    received_at: OffsetDateTime,
) -> (OffsetDateTime, Option<ClockNote>) {
    let skew = sent_at.map(|sent_at| sent_at - received_at);
    // In whole seconds, so that the note has exactly the correction.
    let correction = skew.filter(|skew| skew.abs() > SMALL_SKEW).map_or(0, Duration::whole_seconds);
    // A completion in the future is not guessed at: `received_at` by the server's clock is used.
    let corrected = authored_at.checked_sub(Duration::seconds(correction)).and_then(utc);
    let completed = corrected.filter(|at| *at <= received_at);
    let effective_at = completed.unwrap_or(received_at);
    let note = (effective_at != authored_at)
        .then(|| ClockNote { skew_seconds: skew.map(Duration::whole_seconds), used_received_at: completed.is_none() });
    (effective_at, note)
}

/// `at` in UTC; `None` if RFC 3339 cannot represent it there, such as 0000-01-01T00:00:00+23:59.
pub(crate) fn utc(at: OffsetDateTime) -> Option<OffsetDateTime> {
    at.checked_to_offset(UtcOffset::UTC).filter(|at| (0..=9999).contains(&at.year()))
}
