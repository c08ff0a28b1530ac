//! From local times to instants, where daylight saving skips or repeats a time.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

/// The instant at which something that opens at the local time `at` opens: the earlier one of a time that occurs twice,
/// the first instant after the gap for one that does not occur. `None` beyond the calendar.
pub(super) fn opening(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Unambiguous { offset } => instant(at, offset),
        AmbiguousOffset::Fold { before, .. } => instant(at, before),
        AmbiguousOffset::Gap { after, .. } => end_of_gap(at, after, zone),
    }
}

/// The instant at which something that closes at the local time `at` closes: the later one of a time that occurs twice,
/// the first instant after the gap for one that does not occur. `None` beyond the calendar.
pub(super) fn closing(at: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Unambiguous { offset } => instant(at, offset),
        AmbiguousOffset::Fold { after, .. } => instant(at, after),
        AmbiguousOffset::Gap { after, .. } => end_of_gap(at, after, zone),
    }
}

/// The first instant after the gap that holds the local time `at`, from which the offset is `after`. A database may
/// have transitions that change no offset, which are not the end of a gap.
fn end_of_gap(at: DateTime, after: Offset, zone: &TimeZone) -> Option<Timestamp> {
    // By the offset after the gap, a time within the gap is before its start.
    let before = instant(at, after)?;
    zone.following(before).find(|transition| transition.offset() == after).map(|transition| transition.timestamp())
}

fn instant(at: DateTime, offset: Offset) -> Option<Timestamp> {
    offset.to_timestamp(at).ok()
}
