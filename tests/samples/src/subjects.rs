//! The subjects and their time in the study.

use time::{Date, Duration, Month};

use crate::random::Random;

pub(crate) struct Subject {
    pub(crate) number: u64,
    pub(crate) id: String,
    pub(crate) site: &'static str,
    pub(crate) born: Date,
    pub(crate) female: bool,
    pub(crate) consent: Date,
    /// The date of the first dose.
    pub(crate) start: Date,
    /// The severity of the subject's symptoms, 0 to 3, which answers and diaries follow.
    pub(crate) burden: i64,
}

impl Subject {
    /// The date this many days after the first dose.
    pub(crate) fn day(&self, days: i64) -> Date {
        self.start + Duration::days(days)
    }
}

/// The 200 subjects at four sites.
pub(crate) fn all() -> Vec<Subject> {
    (1..=200)
        .map(|number| {
            let mut random = Random::new(number);
            let born = date(1945, Month::January, 1) + Duration::days(random.within(0, 20_000));
            let consent = date(2025, Month::January, 6) + Duration::days(random.within(0, 150));
            Subject {
                number,
                id: format!("SAMPLE-{number:03}"),
                site: random.one_of(&["S01", "S02", "S03", "S04"]),
                born,
                female: random.percent(50),
                consent,
                start: consent + Duration::days(random.within(1, 10)),
                burden: random.within(0, 3),
            }
        })
        .collect()
}

fn date(year: i32, month: Month, day: u8) -> Date {
    Date::from_calendar_date(year, month, day).unwrap_or(Date::MIN)
}
