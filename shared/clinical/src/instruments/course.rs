//! The course of a patient's scores, with which alert rules about change compare.

use std::fmt;
use std::str::FromStr;

use time::OffsetDateTime;

use super::history::{EarlierScores, History};
use crate::ids::{IdError, InstrumentId, InstrumentVersion, SubmissionId};

/// The position of a submission in its course, ordered by effective time, then id, so that the order of arrival does
/// not matter. A correction has the position of the submission at the root of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The effective time: when the patient completed it, limited by what the server's clock allows.
    pub at: OffsetDateTime,
    /// The submission's id; for a correction, the id of the first submission of its chain.
    pub id: SubmissionId,
}

/// The id of a course: an instrument, and the version that started the course. Versions whose scores are not comparable
/// have separate courses. Displayed as `phq-9#1.0.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CourseId {
    /// The instrument.
    pub instrument: InstrumentId,
    /// The version that started the course.
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

/// The scores of one submission in a course. Its `Debug` does not show their values.
#[derive(Clone, PartialEq)]
pub struct Point {
    /// The submission.
    pub submission: SubmissionId,
    /// Its position in the course.
    pub place: Place,
    /// The version that scored it.
    pub version: InstrumentVersion,
    /// Whether it can be the baseline: false if it was completed before the study's start date.
    pub in_study: bool,
    /// Its computed scores.
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

/// The stored part of a course: the baseline, and the last points without gaps. A submission without any computed score
/// is not a point.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Course {
    /// The first point of the study.
    pub baseline: Option<Point>,
    /// The last points, newest first.
    pub last: Vec<Point>,
    /// The number of points of the entire course.
    pub count: u64,
}

impl Course {
    /// The newest point.
    pub fn latest(&self) -> Option<&Point> {
        self.last.first()
    }

    /// Whether `place` is after all points.
    pub fn is_newest(&self, place: Place) -> bool {
        self.latest().is_none_or(|latest| latest.place < place)
    }

    /// Whether the last `back` points are stored, or all points if the course has fewer.
    pub fn reaches_back(&self, back: usize) -> bool {
        self.last.len() >= back || self.count <= self.last.len() as u64
    }

    /// Adds `point`, which must be the newest. Keeps at least `back` points, at least one, and as many as before, since
    /// rules of other versions may look further back.
    pub fn push(&mut self, point: Point, back: usize) {
        let keep = self.last.len().max(back).max(1);
        if self.baseline.is_none() && point.in_study {
            self.baseline = Some(point.clone());
        }
        self.last.insert(0, point);
        self.last.truncate(keep);
        self.count += 1;
    }

    /// The history of a submission that is newer than all points.
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
    fn a_history_states_whether_points_between_baseline_and_latest_are_unknown() {
        for (days, more_expected) in [(1..=4, false), (1..=5, true), (1..=6, true)] {
            let History::Known { baseline, latest, more } = course(days, 4).history() else { panic!("it is known") };
            assert_eq!((baseline, latest.len(), more), (Some(point(1).scores), 4, more_expected));
        }
    }

    #[test]
    fn no_score_of_a_course_is_in_debug_output() {
        let course = course(1..=2, 2);
        assert_eq!(format!("{:?}", course.history()), "Known(2 redacted)");
        let debug = format!("{:?}", course.last[0]);
        assert!(debug.starts_with("Point { submission: ") && !debug.contains("total"), "{debug}");
    }

    #[test]
    fn points_before_the_study_starts_are_kept_and_are_no_baseline() {
        let course = course([-2, -1, 3], 2);
        assert_eq!(course.baseline, Some(point(3)));
        assert_eq!(course.last, [3, -1].map(point));
    }

    #[test]
    fn a_rule_with_a_shorter_look_back_removes_no_points() {
        let mut course = course(1..=5, 4);
        course.push(point(6), 1);
        assert_eq!(course.last.len(), 4);
    }

    #[test]
    fn a_course_id_parses_from_its_display_form() {
        let id: CourseId = "phq-9#1.0.0".parse().unwrap();
        assert_eq!(id.to_string(), "phq-9#1.0.0");
        assert!("phq-9".parse::<CourseId>().is_err() && "phq-9#1".parse::<CourseId>().is_err());
    }
}
