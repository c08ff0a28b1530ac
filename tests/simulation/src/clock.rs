//! The time of day in a simulation: it starts with the simulation, advances with Tokio's paused clock, and is off in
//! environments whose clock was set.

use std::cell::Cell;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

/// When each simulation starts, since the Unix epoch: 2026-03-02 07:00 UTC.
const START: Duration = Duration::from_secs(1_772_434_800);

thread_local! {
    static ORIGIN: Cell<Option<Instant>> = const { Cell::new(None) };
    static OFFSET: Cell<i64> = const { Cell::new(0) };
}

/// Starts the time of a simulation on this thread.
pub fn start() {
    ORIGIN.set(Some(Instant::now()));
    OFFSET.set(0);
}

/// The time of day at which every simulation starts.
pub fn start_of_day() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + START
}

/// The time since the simulation started.
pub fn elapsed() -> Duration {
    ORIGIN.get().map_or(Duration::ZERO, |origin| Instant::now().duration_since(origin))
}

/// The time since the Unix epoch, as whoever asks sees it: the only source of the time of day on a simulated thread.
pub fn time_of_day() -> Duration {
    let now = START + elapsed();
    let offset = Duration::from_millis(OFFSET.get().unsigned_abs());
    if OFFSET.get() < 0 { now.saturating_sub(offset) } else { now + offset }
}

/// As [`time_of_day`], with the date.
pub fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + time_of_day()
}

/// Runs `work` with a clock that is `offset` milliseconds fast.
pub fn with_offset<T>(offset: i64, work: impl FnOnce() -> T) -> T {
    let before = OFFSET.replace(offset);
    let result = work();
    OFFSET.set(before);
    result
}
