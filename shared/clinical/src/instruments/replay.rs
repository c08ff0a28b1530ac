//! The reference result for all submissions of a patient, independent of their order of arrival.
//!
//! The submissions, without those that were corrected, are ordered by their [`Place`] and evaluated one after the
//! other, each under the definition and the rules that its score names. Once all have arrived and were scored, the
//! stored scores, alerts and courses must equal the result. Scoring re-evaluates with it when a submission arrives
//! below the newest, and tests compare every outcome with it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::answers::Answers;
use super::course::{Course, CourseId, Place, Point};
use super::history::{EarlierScores, History};
use super::instrument::Instrument;
use super::outcome::Outcome;
use crate::ids::{InstrumentVersion, SubmissionId};

/// A submission to replay.
#[derive(Clone, Debug)]
pub struct ReplayEntry<'a> {
    /// The submission's id.
    pub id: SubmissionId,
    /// Its position in its course.
    pub place: Place,
    /// The submission that it corrects.
    pub amends: Option<SubmissionId>,
    /// Whether it was completed on or after the study's start date.
    pub in_study: bool,
    /// The data that it is replayed from.
    pub basis: Basis<'a>,
}

/// The data that a submission is replayed from.
#[derive(Clone, Debug)]
pub enum Basis<'a> {
    /// The answers, with the definition and the rules that the score names.
    Answers {
        /// The definition, under the rules of the study version.
        instrument: &'a Instrument,
        /// The submission's answers.
        answers: &'a Answers,
    },
    /// The stored scores, if the definition can no longer be read: they are a point of the course, but the rules cannot
    /// be evaluated.
    Recorded {
        /// The course that the scores belong to.
        course: CourseId,
        /// The version that scored the submission.
        version: InstrumentVersion,
        /// The stored scores.
        scores: EarlierScores,
    },
}

/// The result of a replay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    /// The outcome of each submission that was not corrected and whose rules could be evaluated.
    pub outcomes: BTreeMap<SubmissionId, Outcome>,
    /// Each course, with all of its points.
    pub courses: BTreeMap<CourseId, Course>,
    /// The submissions that were corrected, and so do not count.
    pub corrected: BTreeSet<SubmissionId>,
    /// The submissions whose rules can no longer be evaluated, or whose answers do not fit their definition.
    pub not_evaluated: BTreeSet<SubmissionId>,
    /// The last submission by position, of those that were not corrected.
    pub last: Option<(Place, SubmissionId)>,
}

/// Replays `entries`, all submissions of one patient in any order.
pub fn replay(entries: &[ReplayEntry<'_>]) -> Replay {
    let mut replay =
        Replay { corrected: entries.iter().filter_map(|entry| entry.amends).collect(), ..Replay::default() };
    let mut counted: Vec<&ReplayEntry<'_>> =
        entries.iter().filter(|entry| !replay.corrected.contains(&entry.id)).collect();
    counted.sort_by_key(|entry| (entry.place, entry.id));
    replay.last = counted.last().map(|entry| (entry.place, entry.id));
    // Unlike stored courses, these keep every point.
    let mut points: BTreeMap<CourseId, Vec<Point>> = BTreeMap::new();
    for entry in counted {
        let (course, version, scores) = match &entry.basis {
            Basis::Recorded { course, version, scores } => {
                replay.not_evaluated.insert(entry.id);
                (course.clone(), version.clone(), scores.clone())
            }
            Basis::Answers { instrument, answers } => {
                let course = instrument.course();
                let before = points.get(&course).map_or([].as_slice(), Vec::as_slice);
                let history = History::Known {
                    baseline: before.iter().find(|point| point.in_study).map(|baseline| baseline.scores.clone()),
                    latest: before.iter().rev().map(|point| point.scores.clone()).collect(),
                    more: false,
                };
                // A panic in the evaluation of one submission must not affect the others.
                match catch_unwind(AssertUnwindSafe(|| instrument.assess_with(answers, &history))) {
                    Ok(Ok(outcome)) => {
                        let scores = outcome.scores_by_id();
                        replay.outcomes.insert(entry.id, outcome);
                        (course, instrument.version().clone(), scores)
                    }
                    Ok(Err(_)) | Err(_) => {
                        replay.not_evaluated.insert(entry.id);
                        continue;
                    }
                }
            }
        };
        if !scores.is_empty() {
            let ReplayEntry { id, place, in_study, .. } = *entry;
            points.entry(course).or_default().push(Point { submission: id, place, version, in_study, scores });
        }
    }
    replay.courses = points.into_iter().map(|(id, points)| (id, course(points))).collect();
    replay
}

/// The course with all of `points`, which must be in order.
fn course(points: Vec<Point>) -> Course {
    Course {
        baseline: points.iter().find(|point| point.in_study).cloned(),
        count: points.len() as u64,
        last: points.into_iter().rev().collect(),
    }
}
