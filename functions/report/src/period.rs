//! The days that a report is about.

use api::{Findings, Problem, ProblemKind};
use clinical::document::Finding;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use time::macros::{date, format_description};
use time::{Date, Duration, OffsetDateTime, UtcOffset};

/// How many days a report may be about: a year, whichever.
const LONGEST: i64 = 366;
/// How many days of patients a report may be about: of 3,000 patients a year. More does not fit in the function's time, nor
/// in what Lambda can answer.
const MOST_PATIENT_DAYS: i64 = 3_000 * LONGEST;
/// How many it is about where the request does not say.
const USUAL: i64 = 30;
/// Outside of these no patient's clock can have been, and arithmetic on dates could overflow.
const FIRST: Date = date!(1970 - 01 - 01);
const LAST: Date = date!(2999 - 12 - 31);

/// Whole days in a site's time zone, the first and the last included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
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

impl Period {
    /// The days from `from` to `to` (`2026-11-23`): to today where the request does not say, and the 30 up to then.
    ///
    /// # Errors
    /// 422 if one of them is no date, or they are in the wrong order, or too far apart.
    pub fn read(from: Option<&str>, to: Option<&str>, now: OffsetDateTime, zone: Zone) -> Result<Self, Problem> {
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
        let from = from.unwrap_or_else(|| to - Duration::days(USUAL - 1));
        let period = Self { from, to, zone };
        let wrong = |code, detail: &str| {
            Err(refused(Finding { pointer: "/from".to_owned(), code, detail: detail.to_owned() }.into()))
        };
        match period.days() {
            ..1 => wrong("query.order", "a day that is not after `to`"),
            days if days > LONGEST => wrong("query.length", "at most 366 days up to and including `to`"),
            _ => Ok(period),
        }
    }

    /// That a report of so many `patients` can be made.
    ///
    /// # Errors
    /// 422 if it cannot, with the number of days that can.
    pub fn fits(&self, patients: usize) -> Result<(), Problem> {
        // One day always fits as far as can be told before it is read.
        let days = (MOST_PATIENT_DAYS / i64::try_from(patients).unwrap_or(i64::MAX).max(1)).max(1);
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

    /// The zone that its days are of.
    pub fn zone(&self) -> &Zone {
        &self.zone
    }

    /// How many days it has.
    pub fn days(&self) -> i64 {
        (self.to - self.from).whole_days() + 1
    }

    /// Its first instant.
    pub fn start(&self) -> OffsetDateTime {
        self.zone.start_of(self.from)
    }

    /// The first instant after it.
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

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `instant` as clocks there show it.
    pub fn local(&self, instant: OffsetDateTime) -> OffsetDateTime {
        let offset = Timestamp::from_second(instant.unix_timestamp()).ok().map(|instant| self.zone.to_offset(instant));
        let offset = offset.and_then(|offset| UtcOffset::from_whole_seconds(offset.seconds()).ok());
        instant.to_offset(offset.unwrap_or(UtcOffset::UTC))
    }

    /// When `date` begins there: at midnight, or later where the clocks were put forward over it.
    fn start_of(&self, date: Date) -> OffsetDateTime {
        let (year, month, day) = (date.year() as i16, u8::from(date.month()) as i8, date.day() as i8);
        let start = jiff::civil::Date::new(year, month, day).and_then(|date| date.to_zoned(self.zone.clone()));
        let start =
            start.ok().and_then(|start| OffsetDateTime::from_unix_timestamp(start.timestamp().as_second()).ok());
        start.unwrap_or_else(|| date.midnight().assume_utc())
    }
}

fn refused(findings: Findings) -> Problem {
    Problem::new(ProblemKind::Invalid, "the days that are asked for cannot be reported on").with_errors(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-23 16:00 UTC);

    fn read(from: Option<&str>, to: Option<&str>) -> Result<(Date, Date), ProblemKind> {
        let period = Period::read(from, to, NOW, Zone::utc());
        period.map(|period| (period.from(), period.to())).map_err(|problem| problem.kind())
    }

    #[test]
    fn what_is_not_said_is_the_thirty_days_up_to_today() {
        assert_eq!(read(None, None), Ok((date!(2026 - 10 - 25), date!(2026 - 11 - 23))));
        assert_eq!(read(None, Some("2026-03-30")), Ok((date!(2026 - 03 - 01), date!(2026 - 03 - 30))));
        assert_eq!(read(Some("2026-11-01"), None), Ok((date!(2026 - 11 - 01), date!(2026 - 11 - 23))));
    }

    #[test]
    fn both_days_are_in_the_period() {
        let period = Period::read(Some("2026-11-23"), Some("2026-11-23"), NOW, Zone::utc()).unwrap();
        assert_eq!((period.start(), period.end()), (datetime!(2026-11-23 0:00 UTC), datetime!(2026-11-24 0:00 UTC)));
        assert_eq!(period.days(), 1);
    }

    #[test]
    fn days_are_those_of_the_sites_clocks() {
        let period = |from, to, zone| Period::read(Some(from), Some(to), NOW, Zone::named(zone).unwrap()).unwrap();
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
            Period::read(None, None, NOW, Zone::named("Asia/Shanghai").unwrap()).unwrap().to(),
            date!(2026 - 11 - 24)
        );
        assert_eq!(Zone::named("Europe/Atlantis"), None);
    }

    #[test]
    fn a_report_that_cannot_be_made_in_time_is_refused_with_the_days_that_can() {
        let year = Period::read(Some("2025-11-23"), Some("2026-11-23"), NOW, Zone::utc()).unwrap();
        assert_eq!(year.days(), 366);
        assert!([0, 1, 2_000, 3_000].iter().all(|patients| year.fits(*patients).is_ok()));
        let problem = year.fits(6_000).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::Invalid);
        let problem = problem.to_json(&api::CorrelationId::given_or_new(None));
        let detail = "at most 183 days up to and including `to`, for a site of 6000 patients";
        assert_eq!(problem["errors"][0]["detail"], detail);
        let day = Period::read(Some("2026-11-23"), Some("2026-11-23"), NOW, Zone::utc()).unwrap();
        assert!(day.fits(usize::MAX).is_ok());
    }

    #[test]
    fn days_that_cannot_be_reported_on_are_refused() {
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
