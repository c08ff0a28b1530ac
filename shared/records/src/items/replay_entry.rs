//! A scored submission as an entry of the replay.

use std::collections::BTreeMap;

use clinical::ids::ScoreId;
use clinical::instruments::{Basis, CourseId, Instrument, ReplayEntry, Score as ScoreOf};
use clinical::studies::Protocol;
use rust_decimal::Decimal;
use serde_json::Value;

use super::score::Score;
use super::submission::Submission;

impl Submission {
    /// The entry of this submission, which has `score`, in the replay of its patient's course. Without the definition
    /// that it was scored by its stored scores count; `None` if those cannot be read either.
    pub fn replay_entry<'a>(
        &'a self,
        score: &Score,
        scored_by: Option<(&'a Instrument, &Protocol)>,
    ) -> Option<ReplayEntry<'a>> {
        let (basis, in_study) = match scored_by {
            Some((instrument, protocol)) => {
                (Basis::Answers { instrument, answers: &self.answers }, self.is_in_study(protocol))
            }
            None => {
                let of = &self.instrument;
                let course = CourseId { instrument: of.id.clone(), version: of.version.clone() };
                (Basis::Recorded { course, version: of.version.clone(), scores: stored_scores(&score.scores)? }, true)
            }
        };
        let amends = self.amends.as_ref().map(|amendment| amendment.of);
        Some(ReplayEntry { id: self.id, place: self.place(), amends, in_study, basis })
    }
}

fn stored_scores(scores: &Value) -> Option<BTreeMap<ScoreId, Decimal>> {
    let scores: Vec<ScoreOf> = serde_json::from_value(scores.clone()).ok()?;
    Some(scores.into_iter().map(|score| (score.id, score.value)).collect())
}
