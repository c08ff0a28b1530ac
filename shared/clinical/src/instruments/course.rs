//! The course of a patient's submissions: what alert rules that look back compare with.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::history::{EarlierScores, History};
use crate::ids::{IdError, InstrumentId, InstrumentVersion, SubmissionId};

/// Where a submission stands in its course: by effective time, and by id among those of the same time, so that the order
/// of arrival makes no difference. A correction has the place of the submission at the root of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// When the patient completed it, as far as the clocks can be trusted.
    pub at: OffsetDateTime,
    /// The submission's id; of a correction, the id of the first submission of its chain.
    pub id: SubmissionId,
}

/// Which course: an instrument, and the version that began it. Versions whose scores are not comparable have courses of
/// their own. Written `phq-9#1.0.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CourseId {
    /// The instrument.
    pub instrument: InstrumentId,
    /// The version that began the course.
    pub version: InstrumentVersion,
}

impl fmt::Display for CourseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.instrument, self.version)
    }
}

impl FromStr for CourseId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error =
            IdError { what: "course id", rule: "an instrument's id, `#` and a version, for example phq-9#1.0.0" };
        let (instrument, version) = text.split_once('#').ok_or(error)?;
        Ok(Self { instrument: instrument.parse()?, version: version.parse()? })
    }
}

/// The scores of one submission. Their values are not in its `Debug`.
#[derive(Clone, PartialEq)]
pub struct Point {
    /// The submission.
    pub submission: SubmissionId,
    /// Where it stands.
    pub place: Place,
    /// The version that it was scored by.
    pub version: InstrumentVersion,
    /// Whether it may be the baseline: false for what was completed before the study's data begin.
    pub in_study: bool,
    /// Its scores.
    pub scores: EarlierScores,
}

impl fmt::Debug for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Point")
            .field("submission", &self.submission)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What is kept of the course of one instrument's scores: the baseline, and the last points without a gap between them.
/// A submission of which nothing could be scored is no point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// The first point of the study.
    pub baseline: Option<Point>,
    /// The last points, newest first.
    pub last: Vec<Point>,
    /// How many points the course has.
    pub count: u64,
}

impl Course {
    /// The newest point.
    pub fn latest(&self) -> Option<&Point> {
        self.last.first()
    }

    /// The point before the newest.
    pub fn previous(&self) -> Option<&Point> {
        self.last.get(1)
    }

    /// Whether something at `place` comes after all that is there.
    pub fn is_newest(&self, place: Place) -> bool {
        self.latest().is_none_or(|latest| latest.place < place)
    }

    /// Whether the `back` points before the next one are all known, or all that there are.
    pub fn reaches_back(&self, back: usize) -> bool {
        self.last.len() >= back || self.count <= self.last.len() as u64
    }

    /// Adds `point`, which is the newest, and keeps at least as many points as `back`, the two newest, and as many as
    /// were kept before: a rule that looks further back than others is not the only one that adds points.
    pub fn push(&mut self, point: Point, back: usize) {
        let keep = self.last.len().max(back).max(2);
        if self.baseline.is_none() && point.in_study {
            self.baseline = Some(point.clone());
        }
        self.last.insert(0, point);
        self.last.truncate(keep);
        self.count += 1;
    }

    /// What came before a submission that is the newest.
    pub fn history(&self) -> History {
        History::Known {
            baseline: self.baseline.as_ref().map(|baseline| baseline.scores.clone()),
            latest: self.last.iter().map(|point| point.scores.clone()).collect(),
            more: self.count > self.last.len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use rust_decimal::Decimal;
    use time::Duration;
    use time::macros::datetime;

    use super::*;

    fn point(day: i64) -> Point {
        let submission = uuid::Uuid::from_u128(day as u128).into();
        Point {
            submission,
            place: Place { at: datetime!(2026-11-01 08:00 UTC) + Duration::days(day), id: submission },
            version: "1.0.0".parse().unwrap(),
            in_study: day > 0,
            scores: EarlierScores::from([("total".parse().unwrap(), Decimal::from(day))]),
        }
    }

    fn course(days: impl IntoIterator<Item = i64>, back: usize) -> Course {
        let mut course = Course::default();
        for day in days {
            course.push(point(day), back);
        }
        course
    }

    #[test]
    fn a_course_keeps_its_baseline_and_as_many_points_as_rules_look_back() {
        let course = course(1..=6, 4);
        assert_eq!(course.baseline, Some(point(1)));
        assert_eq!(course.last, [6, 5, 4, 3].map(point));
        assert_eq!(course.count, 6);
        assert!(course.reaches_back(4) && !course.reaches_back(5));
        assert!(course.is_newest(point(7).place) && !course.is_newest(point(6).place));
    }

    #[test]
    fn what_lies_before_the_study_begins_is_kept_and_is_no_baseline() {
        let course = course([-2, -1, 3], 2);
        assert_eq!(course.baseline, Some(point(3)));
        assert_eq!(course.previous(), Some(&point(-1)));
    }

    #[test]
    fn a_rule_that_looks_less_far_back_takes_nothing_from_one_that_looks_further() {
        let mut course = course(1..=5, 4);
        course.push(point(6), 1);
        assert_eq!(course.last.len(), 4);
    }

    #[test]
    fn a_course_id_is_read_as_it_is_written() {
        let id: CourseId = "phq-9#1.0.0".parse().unwrap();
        assert_eq!(id.to_string(), "phq-9#1.0.0");
        assert!("phq-9".parse::<CourseId>().is_err() && "phq-9#1".parse::<CourseId>().is_err());
    }
}
