//! Scores, and the alerts that they name.

use std::collections::BTreeMap;

use clinical::ids::ScoreId;
use clinical::instruments::{Claims, NotEvaluated, NotScored, Outcome, Score};
use records::{NOT_YET, StoredSubmission};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

use super::Patient;
use crate::difference::Kind;

/// A claim that differs, as it is stored.
#[derive(Deserialize)]
struct StoredClaim {
    id: ScoreId,
    claimed: Number,
}

impl Patient<'_> {
    /// Compares the `score` of a submission.
    pub(super) fn score(&mut self, stored: &StoredSubmission, score: &records::Score) {
        let submission = &stored.submission;
        match self.defined.get(&submission.id) {
            Some(Ok(_)) => {}
            Some(Err(reason)) => return self.of_submission(Kind::DefinitionMissing, stored, reason),
            None => return self.of_submission(Kind::DefinitionMissing, stored, "it was not read"),
        }
        let Some(alone) = self.alone(stored) else {
            return self.of_submission(Kind::AnswersDoNotFit, stored, &submission.instrument.id);
        };
        let scores: Option<Vec<Score>> = parsed(&score.scores);
        if let Some(detail) = scores_differ(scores.as_deref(), &alone.scores) {
            self.of_submission(Kind::ScoresDiffer, stored, detail);
        }
        if parsed::<Vec<NotScored>>(&score.not_scored).as_ref() != Some(&alone.not_scored) {
            self.of_submission(Kind::NotScoredDiffers, stored, "");
        }
        if claims(&score.claimed_differs) != Some(differing(&submission.claimed, &alone)) {
            self.of_submission(Kind::ClaimsDiffer, stored, "");
        }
        self.not_evaluated(stored, score);
        self.alerts_of(stored, score, &alone);
    }

    fn not_evaluated(&mut self, stored: &StoredSubmission, score: &records::Score) {
        if self.is_marked {
            return;
        }
        let id = stored.submission.id;
        let list: Option<Vec<NotEvaluated>> = parsed(&score.not_evaluated);
        let differs = match (&list, self.replayed.outcomes.get(&id)) {
            (None, _) => true,
            (Some(list), Some(outcome)) => *list != outcome.not_evaluated,
            // What was not evaluated before the correction stays, but nothing waits any more.
            (Some(list), None) => list.iter().any(|one| one.reason == NOT_YET),
        };
        if differs {
            self.of_submission(Kind::NotEvaluatedDiffers, stored, "");
        }
    }

    /// Compares the alerts that the score names with the rules that fire and with the rows.
    fn alerts_of(&mut self, stored: &StoredSubmission, score: &records::Score, alone: &Outcome) {
        let id = stored.submission.id;
        let rows = self.rows.get(&id).cloned().unwrap_or_default();
        let fired: Vec<_> = match self.replayed.outcomes.get(&id) {
            Some(outcome) if !self.is_marked => outcome.alerts.clone(),
            // A correction that was stored before the score leaves every rule to the evaluation of the course.
            _ if self.is_marked && stored.submission.amended_by.is_none() => alone.alerts.clone(),
            _ => Vec::new(),
        };
        for fired in fired.iter().filter(|fired| !rows.contains_key(&fired.rule)) {
            self.of_submission(Kind::AlertMissing, stored, &fired.rule);
        }
        for (named, rule) in &score.alerts {
            if rows.get(rule).is_none_or(|row| row.alert.id != *named) {
                self.of_submission(Kind::AlertNotStored, stored, rule);
            }
        }
    }
}

/// Which of the scores differs; `None` if none does.
fn scores_differ(stored: Option<&[Score]>, expected: &[Score]) -> Option<String> {
    let Some(stored) = stored else { return Some("they cannot be parsed".to_owned()) };
    if stored == expected {
        return None;
    }
    let differs = |score: &&Score| !stored.contains(score);
    let first = expected.iter().find(differs).or_else(|| stored.iter().find(|score| !expected.contains(score)));
    Some(first.map_or_else(|| "their order".to_owned(), |score| score.id.to_string()))
}

/// The claims that differ from the computed scores.
fn differing(claimed: &Claims, computed: &Outcome) -> BTreeMap<ScoreId, Decimal> {
    let computed = computed.scores_by_id();
    let differ = claimed.iter().filter(|(id, value)| computed.get(*id) != Some(value));
    differ.map(|(id, value)| (id.clone(), value)).collect()
}

fn claims(stored: &Value) -> Option<BTreeMap<ScoreId, Decimal>> {
    let claims: Vec<StoredClaim> = parsed(stored)?;
    let number = |number: &str| number.parse().or_else(|_| Decimal::from_scientific(number)).ok();
    claims.into_iter().map(|claim| Some((claim.id, number(&claim.claimed.to_string())?))).collect()
}

fn parsed<T: DeserializeOwned>(value: &Value) -> Option<T> {
    serde_json::from_value(value.clone()).ok()
}
