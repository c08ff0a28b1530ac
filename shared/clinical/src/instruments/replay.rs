//! The reference: what the submissions of a patient mean, whatever the order in which they arrived.
//!
//! All submissions of a patient, without those that were corrected, ordered by their [`Place`], replayed one after the
//! other, each under the definition and the rules that its score names. What is stored must equal it once everything has
//! arrived and was scored: scores, alerts, courses. `score` compares with it where something arrives below the newest, and
//! tests hold every outcome to it.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::answers::Answers;
use super::course::{Course, CourseId, Place, Point};
use super::history::{EarlierScores, History};
use super::instrument::Instrument;
use super::outcome::Outcome;
use crate::ids::{InstrumentVersion, SubmissionId};

/// A submission of the patient.
#[derive(Clone, Debug)]
pub struct ReplayEntry<'a> {
    /// Its id.
    pub id: SubmissionId,
    /// Where it stands in its course.
    pub place: Place,
    /// The submission that it corrects.
    pub amends: Option<SubmissionId>,
    /// Whether it was completed after the study's data began.
    pub in_study: bool,
    /// What it is replayed from.
    pub basis: Basis<'a>,
}

/// What a submission is replayed from.
#[derive(Clone, Debug)]
pub enum Basis<'a> {
    /// Its answers, with the definition and the rules that its score names.
    Answers {
        /// The definition, under the rules of the study's version.
        instrument: &'a Instrument,
        /// The answers.
        answers: &'a Answers,
    },
    /// The scores that were recorded, where the definition cannot be read any more: they are a point of the course, and
    /// its rules cannot be evaluated.
    Recorded {
        /// The course.
        course: CourseId,
        /// The version that it was scored by.
        version: InstrumentVersion,
        /// The scores.
        scores: EarlierScores,
    },
}

/// The outcome of a replay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replay {
    /// The outcome of each submission that counts and whose rules could be evaluated.
    pub outcomes: BTreeMap<SubmissionId, Outcome>,
    /// Each course, with all of its points.
    pub courses: BTreeMap<CourseId, Course>,
    /// The submissions that were corrected.
    pub corrected: BTreeSet<SubmissionId>,
    /// The submissions whose rules cannot be evaluated any more, or whose answers do not fit their definition.
    pub not_evaluated: BTreeSet<SubmissionId>,
    /// The submission that the patient completed last, of those that count.
    pub last: Option<(Place, SubmissionId)>,
}

/// Replays `entries`, which are all submissions of one patient, in any order.
pub fn replay(entries: &[ReplayEntry<'_>]) -> Replay {
    let mut replay =
        Replay { corrected: entries.iter().filter_map(|entry| entry.amends).collect(), ..Replay::default() };
    let mut counted: Vec<&ReplayEntry<'_>> =
        entries.iter().filter(|entry| !replay.corrected.contains(&entry.id)).collect();
    counted.sort_by_key(|entry| (entry.place, entry.id));
    replay.last = counted.last().map(|entry| (entry.place, entry.id));
    // Kept apart from the courses that are stored: here every point stays, and nothing is let go.
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
                // One submission whose evaluation panics spoils no other.
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

/// The course with all of `points`, which are in order.
fn course(points: Vec<Point>) -> Course {
    Course {
        baseline: points.iter().find(|point| point.in_study).cloned(),
        count: points.len() as u64,
        last: points.into_iter().rev().collect(),
    }
}
