//! The days that a report covers.

use api::{Problem, ProblemKind};
use clinical::document::Finding;
use clinical::document::Findings;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use time::macros::{date, format_description};
use time::{Date, Duration, OffsetDateTime, UtcOffset};

/// The greatest number of days of a report: a year, leap years included.
const MAX_DAYS: i64 = 366;
/// The greatest product of patients and days: a year of 3,000 patients. More does not fit in the function's time, nor
/// in a response of Lambda.
const MAX_PATIENT_DAYS: i64 = 3_000 * MAX_DAYS;
/// The number of days if the request has no `from`.
const DEFAULT_DAYS: i64 = 30;
/// No submission is dated outside of these days, and arithmetic on dates could overflow there.
const FIRST: Date = date!(1970 - 01 - 01);
const LAST: Date = date!(2999 - 12 - 31);

/// The days of a report in its site's time zone, the first and the last included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportPeriod {
    from: Date,
    to: Date,
    zone: Zone,
}

/// The time zone of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl ReportPeriod {
    /// Parses the days from `from` to `to` (`2026-11-23`). Without `to` the period ends today; without `from` it has 30
    /// days.
    ///
    /// # Errors
    /// 422 if one of them is not a date, or they are in the wrong order, or more than 366 days apart.
    pub fn parse(from: Option<&str>, to: Option<&str>, now: OffsetDateTime, zone: Zone) -> Result<Self, Problem> {
        let mut findings = Findings::default();
        let mut day = |name: &str, value: Option<&str>| {
            let read = value.map(|value| Date::parse(value, format_description!("[year]-[month]-[day]")).ok());
            let read = read.map(|date| date.filter(|date| (FIRST..=LAST).contains(date)));
            if read == Some(None) {
                let detail = "a day as YYYY-MM-DD, from 1970 to 2999".to_owned();
                findings.push_with(|| Finding { pointer: format!("/{name}"), code: "query.date", detail });
            }
            read.flatten()
        };
        let (from, to) = (day("from", from), day("to", to));
        if !findings.is_empty() {
            return Err(refused(findings));
        }
        let to = to.unwrap_or_else(|| zone.local(now).date());
        let from = from.unwrap_or_else(|| to - Duration::days(DEFAULT_DAYS - 1));
        let period = Self { from, to, zone };
        let wrong = |code, detail: &str| {
            Err(refused(Finding { pointer: "/from".to_owned(), code, detail: detail.to_owned() }.into()))
        };
        match period.days() {
            ..1 => wrong("query.order", "a day that is not after `to`"),
            days if days > MAX_DAYS => wrong("query.length", "at most 366 days up to and including `to`"),
            _ => Ok(period),
        }
    }

    /// Checks that a report of this period on so many `patients` is not too large.
    ///
    /// # Errors
    /// 422 if it is, with the number of days that is possible.
    pub fn check_size(&self, patients: usize) -> Result<(), Problem> {
        // One day is always accepted: its data are not known before they are read.
        let days = (MAX_PATIENT_DAYS / i64::try_from(patients).unwrap_or(i64::MAX).max(1)).max(1);
        if self.days() <= days {
            return Ok(());
        }
        let detail = format!("at most {days} days up to and including `to`, for a site of {patients} patients");
        Err(refused(Finding { pointer: "/from".to_owned(), code: "query.length", detail }.into()))
    }

    /// The first day.
    pub fn from(&self) -> Date {
        self.from
    }

    /// The last day.
    pub fn to(&self) -> Date {
        self.to
    }

    /// The time zone of the days.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// The number of days.
    pub fn days(&self) -> i64 {
        (self.to - self.from).whole_days() + 1
    }

    /// The first instant of the period.
    pub fn start(&self) -> OffsetDateTime {
        self.zone.start_of(self.from)
    }

    /// The first instant after the period.
    pub fn end(&self) -> OffsetDateTime {
        self.zone.start_of(self.to + Duration::DAY)
    }
}

impl Zone {
    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }

    /// The zone with the IANA name `name`; `None` if there is none.
    pub fn named(name: &str) -> Option<Self> {
        let zone = jiff::tz::db().get(name).ok()?;
        Some(Self { name: name.to_owned(), zone })
    }

    /// The IANA name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `instant` with the zone's offset at that time.
    pub fn local(&self, instant: OffsetDateTime) -> OffsetDateTime {
        let offset = Timestamp::from_second(instant.unix_timestamp()).ok().map(|instant| self.zone.to_offset(instant));
        let offset = offset.and_then(|offset| UtcOffset::from_whole_seconds(offset.seconds()).ok());
        instant.to_offset(offset.unwrap_or(UtcOffset::UTC))
    }

    /// The first instant of `date`: midnight, or later if the clocks skipped midnight.
    fn start_of(&self, date: Date) -> OffsetDateTime {
        let (year, month, day) = (date.year() as i16, u8::from(date.month()) as i8, date.day() as i8);
        let start = jiff::civil::Date::new(year, month, day).and_then(|date| date.to_zoned(self.zone.clone()));
        let start =
            start.ok().and_then(|start| OffsetDateTime::from_unix_timestamp(start.timestamp().as_second()).ok());
        start.unwrap_or_else(|| date.midnight().assume_utc())
    }
}

fn refused(findings: Findings) -> Problem {
    Problem::new(ProblemKind::Invalid, "no report can be made for these days").with_errors(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-23 16:00 UTC);

    fn read(from: Option<&str>, to: Option<&str>) -> Result<(Date, Date), ProblemKind> {
        let period = ReportPeriod::parse(from, to, NOW, Zone::utc());
        period.map(|period| (period.from(), period.to())).map_err(|problem| problem.kind())
    }

    #[test]
    fn the_default_period_is_the_thirty_days_up_to_today() {
        assert_eq!(read(None, None), Ok((date!(2026 - 10 - 25), date!(2026 - 11 - 23))));
        assert_eq!(read(None, Some("2026-03-30")), Ok((date!(2026 - 03 - 01), date!(2026 - 03 - 30))));
        assert_eq!(read(Some("2026-11-01"), None), Ok((date!(2026 - 11 - 01), date!(2026 - 11 - 23))));
    }

    #[test]
    fn both_days_are_in_the_period() {
        let period = ReportPeriod::parse(Some("2026-11-23"), Some("2026-11-23"), NOW, Zone::utc()).unwrap();
        assert_eq!((period.start(), period.end()), (datetime!(2026-11-23 0:00 UTC), datetime!(2026-11-24 0:00 UTC)));
        assert_eq!(period.days(), 1);
    }

    #[test]
    fn days_begin_and_end_in_the_sites_time_zone() {
        let period =
            |from, to, zone| ReportPeriod::parse(Some(from), Some(to), NOW, Zone::named(zone).unwrap()).unwrap();
        let shanghai = period("2026-11-23", "2026-11-23", "Asia/Shanghai");
        assert_eq!(
            (shanghai.start(), shanghai.end()),
            (datetime!(2026-11-22 16:00 UTC), datetime!(2026-11-23 16:00 UTC))
        );
        // The day on which Berlin puts its clocks back has 25 hours.
        let berlin = period("2026-10-25", "2026-10-25", "Europe/Berlin");
        assert_eq!((berlin.start(), berlin.end()), (datetime!(2026-10-24 22:00 UTC), datetime!(2026-10-25 23:00 UTC)));
        // There was no midnight in Beirut on this day.
        let beirut = period("2026-03-29", "2026-03-29", "Asia/Beirut");
        assert_eq!(beirut.zone().local(beirut.start()), datetime!(2026-03-29 01:00 +3));
        assert_eq!(
            ReportPeriod::parse(None, None, NOW, Zone::named("Asia/Shanghai").unwrap()).unwrap().to(),
            date!(2026 - 11 - 24)
        );
        assert_eq!(Zone::named("Europe/Atlantis"), None);
    }

    #[test]
    fn a_report_on_too_many_patient_days_is_refused_with_the_days_that_are_possible() {
        let year = ReportPeriod::parse(Some("2025-11-23"), Some("2026-11-23"), NOW, Zone::utc()).unwrap();
        assert_eq!(year.days(), 366);
        assert!([0, 1, 2_000, 3_000].iter().all(|patients| year.check_size(*patients).is_ok()));
        let problem = year.check_size(6_000).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::Invalid);
        let problem = problem.to_json(&api::CorrelationId::given_or_new(None));
        let detail = "at most 183 days up to and including `to`, for a site of 6000 patients";
        assert_eq!(problem["errors"][0]["detail"], detail);
        let day = ReportPeriod::parse(Some("2026-11-23"), Some("2026-11-23"), NOW, Zone::utc()).unwrap();
        assert!(day.check_size(usize::MAX).is_ok());
    }

    #[test]
    fn invalid_days_are_refused() {
        for (from, to) in [
            (Some("2026-11-24"), Some("2026-11-23")),
            (Some("2026-11-24"), None),
            (Some("2025-11-22"), Some("2026-11-23")),
            (Some("2026-02-29"), None),
            (Some("yesterday"), None),
            (None, Some("")),
            (None, Some("23.11.2026")),
            (Some("2026-11-01T00:00:00Z"), None),
            (None, Some("3000-01-01")),
            (Some("1969-12-31"), Some("1970-01-01")),
        ] {
            assert_eq!(read(from, to), Err(ProblemKind::Invalid), "{from:?} {to:?}");
        }
        assert!(read(Some("2025-11-23"), Some("2026-11-23")).is_ok(), "366 days");
    }
}
