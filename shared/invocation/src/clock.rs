//! The time of day, read once an invocation.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

/// The time of day inside one invocation: the wall clock as read at entry, advanced by the monotonic clock. Times
/// inside an invocation never run backwards, and a test that pauses Tokio's clock pauses this one.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: OffsetDateTime,
    since: Instant,
}

impl Clock {
    /// A clock that shows the system's time.
    pub fn system() -> Self {
        Self::starting_at(OffsetDateTime::now_utc())
    }

    /// A clock that shows `started` now.
    pub fn starting_at(started: OffsetDateTime) -> Self {
        Self { started, since: Instant::now() }
    }

    /// The current time in UTC, truncated to the millisecond, as it is stored and answered.
    pub fn now(&self) -> OffsetDateTime {
        let now = self.started + self.since.elapsed();
        now.replace_millisecond(now.millisecond()).unwrap_or(now)
    }

    /// How long the invocation has been running.
    pub fn elapsed(&self) -> std::time::Duration {
        self.since.elapsed()
    }
}

/// `time` in RFC 3339, as it is stored, published and answered.
///
/// # Panics
/// If the year is not within 0 to 9999 or the offset has seconds, which no time has that was parsed from RFC 3339 or
/// read from a clock.
pub fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).expect("a time that was parsed from RFC 3339, or read from a clock, can be written in it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[tokio::test(start_paused = true)]
    async fn time_advances_from_the_reading_at_entry_and_pauses_with_the_runtime() {
        let clock = Clock::starting_at(datetime!(2026-11-23 08:00:00.123_456_789 UTC));
        assert_eq!(clock.now(), datetime!(2026-11-23 08:00:00.123 UTC));
        tokio::time::advance(std::time::Duration::from_millis(1_500)).await;
        assert_eq!(clock.now(), datetime!(2026-11-23 08:00:01.623 UTC));
        assert_eq!(clock.elapsed(), std::time::Duration::from_millis(1_500));
    }
}
