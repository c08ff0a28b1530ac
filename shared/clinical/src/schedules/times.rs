//! Between the types of time of schedules, which need the rules of time zones, and of records.

use jiff::Timestamp;
use jiff::civil::Date;
use time::OffsetDateTime;

/// `at` as a timestamp; `None` beyond the calendar of schedules.
pub fn timestamp(at: OffsetDateTime) -> Option<Timestamp> {
    Timestamp::from_nanosecond(at.unix_timestamp_nanos()).ok()
}

/// `at` in UTC; the last day of the calendar of records for what is beyond it.
pub fn offset_date_time(at: Timestamp) -> OffsetDateTime {
    let beyond = OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT);
    OffsetDateTime::from_unix_timestamp_nanos(at.as_nanosecond()).unwrap_or(beyond)
}

/// `date` as a day of the calendar of schedules; `None` beyond it.
pub fn civil_date(date: time::Date) -> Option<Date> {
    let year = date.year().try_into().ok()?;
    Date::new(year, u8::from(date.month()).cast_signed(), date.day().cast_signed()).ok()
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn a_time_survives_in_either_type() {
        let at = datetime!(2026-11-27 08:00:00.123 +8);
        assert_eq!(timestamp(at).map(offset_date_time), Some(at));
        assert_eq!(civil_date(date!(2026 - 02 - 28)).map(|date| date.to_string()).as_deref(), Some("2026-02-28"));
    }

    #[test]
    fn what_one_calendar_lacks_does_not_panic() {
        assert_eq!(offset_date_time(Timestamp::MAX).year(), 9999);
        assert_eq!(timestamp(OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT)), None);
    }
}
