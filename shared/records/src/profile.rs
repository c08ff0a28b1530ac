//! Profiles: where a patient stands, so that a list of patients or a rule on change need not read every submission.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::history::History;
use clinical::ids::{InstrumentId, InstrumentVersion, PatientId, ScoreId, SiteId, StudyId, SubmissionId};
use clinical::outcome::Outcome;
use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use crate::alert::Alert;
use crate::attributes::{Item, Reader, Unreadable, instant, number, text, unreadable};
use crate::keys::{self, PK, SK};
use crate::submission::{Submission, map};

/// Where a patient stands: by instrument the first, the last but one and the last scored submission, by the time that the
/// patient completed them. One that comes late, from a phone that was offline, takes the place that its time gives it.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The site of the last submission.
    pub site: SiteId,
    /// By instrument.
    pub instruments: BTreeMap<InstrumentId, Course>,
    /// The submission that the patient completed last, scored or not, and when.
    pub last_submission: (SubmissionId, OffsetDateTime),
    /// Alerts raised and not acknowledged.
    pub open_alerts: u64,
    /// When each rule of each instrument (`phq-9#safety`) last raised an alert that was to be published.
    pub last_alerts: BTreeMap<String, OffsetDateTime>,
    /// Counts the writes, so that no writer overwrites what it has not read; zero before the first.
    pub(crate) revision: u64,
}

/// The course of one instrument's scores.
#[derive(Clone, Debug, PartialEq)]
pub struct Course {
    /// The first.
    pub baseline: Point,
    /// The last but one, if there are two.
    pub previous: Option<Point>,
    /// The last.
    pub latest: Point,
    /// How many there were.
    pub count: u64,
}

/// The scores of one submission. Their values are not in its `Debug`.
#[derive(Clone, PartialEq)]
pub struct Point {
    /// The submission.
    pub submission: SubmissionId,
    /// When the patient completed it.
    pub authored_at: OffsetDateTime,
    /// The version that it was scored by.
    pub version: InstrumentVersion,
    /// Its scores.
    pub scores: BTreeMap<ScoreId, Decimal>,
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Point").field("submission", &self.submission).finish_non_exhaustive()
    }
}

impl Profile {
    /// The profile of `submission`'s patient before any submission.
    pub(crate) fn before(submission: &Submission) -> Self {
        Self {
            study: submission.study.clone(),
            patient: submission.patient.clone(),
            site: submission.site.clone(),
            instruments: BTreeMap::new(),
            last_submission: (submission.id, submission.authored_at),
            open_alerts: 0,
            last_alerts: BTreeMap::new(),
            revision: 0,
        }
    }

    /// What came before `submission` of its instrument.
    pub(crate) fn history(&self, submission: &Submission) -> History {
        let course = self.instruments.get(&submission.instrument.id);
        course.map_or_else(History::first, |course| course.history(submission))
    }

    /// Takes in `submission`, which was scored at `at`, and gives the alerts that it raises. Inside a rule's quiet period
    /// they are quiet. One that could not be scored moves no course.
    pub(crate) fn take_in(&mut self, submission: &Submission, outcome: &Outcome, at: OffsetDateTime) -> Vec<Alert> {
        let alerts: Vec<Alert> = outcome
            .alerts
            .iter()
            .map(|fired| {
                let rule = format!("{}#{}", submission.instrument.id, fired.rule);
                // Not by the sum alone: two that are scored at the same time may come in either order, and a rule without
                // a quiet period is never quiet.
                let period = Some(Duration::hours(fired.quiet_hours.into())).filter(|period| period.is_positive());
                let quiet = period.zip(self.last_alerts.get(&rule)).is_some_and(|(period, last)| at < *last + period);
                if !quiet {
                    let last = self.last_alerts.entry(rule).or_insert(at);
                    *last = at.max(*last);
                }
                Alert::raise(submission, fired, at, quiet)
            })
            .collect();
        self.open_alerts += alerts.len() as u64;
        let (last, last_authored_at) = self.last_submission;
        if (submission.authored_at, submission.id) >= (last_authored_at, last) {
            self.last_submission = (submission.id, submission.authored_at);
            self.site = submission.site.clone();
        }
        if outcome.scores.is_empty() {
            return alerts;
        }
        let point = Point {
            submission: submission.id,
            authored_at: submission.authored_at,
            version: submission.instrument.version.clone(),
            scores: outcome.scores.iter().map(|score| (score.id.clone(), score.value)).collect(),
        };
        match self.instruments.get_mut(&submission.instrument.id) {
            Some(course) => course.take_in(point),
            None => {
                let course = Course { baseline: point.clone(), previous: None, latest: point, count: 1 };
                self.instruments.insert(submission.instrument.id.clone(), course);
            }
        }
        alerts
    }

    pub(crate) fn key(study: &StudyId, patient: &PatientId) -> Item {
        Item::from([(PK.to_owned(), text(keys::patient(study, patient))), (SK.to_owned(), text(keys::PROFILE))])
    }

    /// Its attributes other than the key.
    pub(crate) fn to_attributes(&self) -> Vec<(&'static str, AttributeValue)> {
        let (submission, authored_at) = &self.last_submission;
        let courses = self.instruments.iter().map(|(instrument, course)| (instrument.as_str(), course.to_attribute()));
        vec![
            ("kind", text("profile")),
            ("study", text(self.study.as_str())),
            ("patient", text(self.patient.as_str())),
            ("site", text(self.site.as_str())),
            ("site_key", text(keys::site(&self.study, &self.site))),
            ("site_sort", text(format!("PATIENT#{}", self.patient.as_str()))),
            ("instruments", map(courses)),
            ("last_submission", text(submission.to_string())),
            ("last_submission_at", instant(*authored_at)),
            ("open_alerts", number(self.open_alerts)),
            ("last_alerts", map(self.last_alerts.iter().map(|(rule, at)| (rule.as_str(), instant(*at))))),
            ("revision", number(self.revision + 1)),
        ]
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let courses = reader.map("instruments")?;
        let instruments = courses.0.keys().map(|instrument| {
            let id = instrument.parse().map_err(|_| unreadable("instruments", "names no instrument"))?;
            Ok((id, Course::from_reader(courses.map(instrument)?)?))
        });
        let last_alerts = reader.map("last_alerts")?;
        let last_alerts = last_alerts.0.keys().map(|rule| Ok((rule.clone(), last_alerts.instant(rule)?)));
        Ok(Self {
            last_alerts: last_alerts.collect::<Result<_, _>>()?,
            study: reader.parsed("study")?,
            patient: reader.parsed("patient")?,
            site: reader.parsed("site")?,
            instruments: instruments.collect::<Result<_, _>>()?,
            last_submission: (reader.parsed("last_submission")?, reader.instant("last_submission_at")?),
            open_alerts: reader.optional_count("open_alerts")?.unwrap_or_default(),
            revision: reader.optional_count("revision")?.ok_or_else(|| unreadable("revision", "is missing"))?,
        })
    }
}

impl Course {
    fn take_in(&mut self, point: Point) {
        self.count += 1;
        if point.place() < self.baseline.place() {
            self.baseline = point.clone();
        }
        if point.place() > self.latest.place() {
            self.previous = Some(std::mem::replace(&mut self.latest, point));
        } else if self.previous.as_ref().is_none_or(|previous| point.place() > previous.place()) {
            self.previous = Some(point);
        }
    }

    /// What came before `submission`, by the time of completion, as far as it is known from here.
    fn history(&self, submission: &Submission) -> History {
        let before = |point: &&Point| point.place() < (submission.authored_at, submission.id);
        let Some(baseline) = Some(&self.baseline).filter(before) else { return History::first() };
        let mut known: Vec<&Point> = [Some(&self.latest), self.previous.as_ref()].into_iter().flatten().collect();
        if known.iter().all(|point| point.submission != baseline.submission) {
            known.push(baseline);
        }
        // Between the baseline and the last but one there may be others, which are not kept.
        let more = self.count > known.len() as u64;
        if more {
            known.retain(|point| point.submission != baseline.submission);
        }
        let latest = known.into_iter().filter(before).map(|point| point.scores.clone()).collect();
        History::Known { baseline: Some(baseline.scores.clone()), latest, more }
    }

    fn to_attribute(&self) -> AttributeValue {
        let points =
            [("baseline", Some(&self.baseline)), ("previous", self.previous.as_ref()), ("latest", Some(&self.latest))];
        let points = points.into_iter().filter_map(|(name, point)| Some((name, point?.to_attribute())));
        map(points.chain([("count", number(self.count))]))
    }

    fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        Ok(Self {
            baseline: Point::from_reader(reader.map("baseline")?)?,
            previous: reader.optional_map("previous")?.map(Point::from_reader).transpose()?,
            latest: Point::from_reader(reader.map("latest")?)?,
            count: reader.optional_count("count")?.ok_or_else(|| unreadable("count", "is missing"))?,
        })
    }
}

impl Point {
    /// Where it stands in the course: by when the patient completed it; by id where that is the same, so that the order of
    /// arrival makes no difference.
    fn place(&self) -> (OffsetDateTime, SubmissionId) {
        (self.authored_at, self.submission)
    }

    fn to_attribute(&self) -> AttributeValue {
        map([
            ("submission", text(self.submission.to_string())),
            ("authored_at", instant(self.authored_at)),
            ("version", text(self.version.as_str())),
            ("scores", map(self.scores.iter().map(|(score, value)| (score.as_str(), number(value))))),
        ])
    }

    fn from_reader(reader: Reader<'_>) -> Result<Self, Unreadable> {
        let wrong = || unreadable("scores", "holds something that is no score");
        let scores = reader.map("scores")?.0.iter().map(|(score, value)| {
            let value = value.as_n().map_err(|_| wrong())?;
            Ok((score.parse().map_err(|_| wrong())?, Decimal::from_str_exact(value).map_err(|_| wrong())?))
        });
        Ok(Self {
            submission: reader.parsed("submission")?,
            authored_at: reader.instant("authored_at")?,
            version: reader.parsed("version")?,
            scores: scores.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn point(day: i64) -> Point {
        Point {
            submission: uuid::Uuid::from_u128(day as u128).into(),
            authored_at: datetime!(2026-11-01 08:00 UTC) + Duration::days(day),
            version: "1.0.0".parse().unwrap(),
            scores: BTreeMap::from([("total".parse().unwrap(), Decimal::from(day))]),
        }
    }

    fn course(days: &[i64]) -> Course {
        let mut course = Course { baseline: point(days[0]), previous: None, latest: point(days[0]), count: 1 };
        for &day in &days[1..] {
            course.take_in(point(day));
        }
        course
    }

    #[test]
    fn whatever_order_submissions_come_in_the_course_follows_when_they_were_completed() {
        let expected = Course { baseline: point(1), previous: Some(point(3)), latest: point(4), count: 4 };
        for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3], [3, 1, 4, 2], [4, 1, 2, 3]] {
            assert_eq!(course(&order), expected, "{order:?}");
        }
    }

    #[test]
    fn of_two_completed_in_the_same_second_the_order_of_arrival_decides_nothing() {
        let twin = Point { submission: uuid::Uuid::from_u128(900).into(), ..point(1) };
        let (mut one, mut other) =
            (course(&[1]), Course { baseline: twin.clone(), latest: twin.clone(), ..course(&[1]) });
        one.take_in(twin);
        other.take_in(point(1));
        assert_eq!(one, other);
    }

    #[test]
    fn a_course_survives_being_stored() {
        let course = course(&[1, 2, 3]);
        let AttributeValue::M(stored) = course.to_attribute() else { panic!("a course is a map") };
        assert_eq!(Course::from_reader(Reader(&stored)), Ok(course));
    }
}
