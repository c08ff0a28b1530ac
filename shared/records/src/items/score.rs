//! Scores: the result of scoring a submission, as an attribute of the submission's item.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::document::Number;
use clinical::ids::{RuleId, ScoreId, StudyVersion};
use clinical::instruments::{Claims, Outcome};
use clinical::studies::Study;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::alert::AlertId;
use super::submission::{Submission, study_from_reader, study_to_attribute};
use crate::table::attributes::{Item, Reader, Unreadable, from_json, map, text, to_json, unreadable};

/// The stored result of scoring a submission.
#[derive(Clone, PartialEq)]
pub struct Score {
    /// When it was scored.
    pub scored_at: OffsetDateTime,
    /// The content hash of the definition that it was scored by.
    pub instrument_hash: String,
    /// The version and content hash of the study whose alert rules applied; `None` if the study was not stored.
    pub study: Option<(StudyVersion, String)>,
    /// The scores, in the shape of the API.
    pub scores: Value,
    /// The scores that could not be computed and why, in the shape of the API.
    pub not_scored: Value,
    /// The rules that could not be evaluated and why, in the shape of the API.
    pub not_evaluated: Value,
    /// The scores that the sender computed with another result, `[{"id", "claimed"}]`.
    pub claimed_differs: Value,
    /// The alerts that were raised on it, with their rules.
    pub alerts: Vec<(AlertId, RuleId)>,
}

impl fmt::Debug for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Score").field("scored_at", &self.scored_at).finish_non_exhaustive()
    }
}

impl Score {
    /// The result of scoring `submission` at `scored_at`.
    pub(crate) fn of(
        outcome: &Outcome,
        submission: &Submission,
        study: Option<&Study>,
        scored_at: OffsetDateTime,
        alerts: Vec<(AlertId, RuleId)>,
    ) -> Self {
        let json = |value: Result<Value, serde_json::Error>| value.expect("scores are names and numbers");
        Self {
            scored_at,
            instrument_hash: submission.instrument.hash.clone(),
            study: study.map(|study| (study.version().clone(), study.hash().to_owned())),
            claimed_differs: claimed_differs(&submission.claimed, outcome),
            scores: json(serde_json::to_value(&outcome.scores)),
            not_scored: json(serde_json::to_value(&outcome.not_scored)),
            not_evaluated: json(serde_json::to_value(&outcome.not_evaluated)),
            alerts,
        }
    }

    pub(crate) fn to_attribute(&self) -> AttributeValue {
        let study = self.study.as_ref();
        let study = study.map(|(version, hash)| study_to_attribute(version, hash));
        let score = [
            ("instrument_hash", text(&self.instrument_hash)),
            ("scores", from_json(&self.scores)),
            ("not_scored", from_json(&self.not_scored)),
            ("not_evaluated", from_json(&self.not_evaluated)),
            ("claimed_differs", from_json(&self.claimed_differs)),
            ("alerts", Self::alerts_to_attribute(&self.alerts)),
        ];
        map(score.into_iter().chain(study.map(|study| ("study", study))))
    }

    pub(crate) fn alerts_to_attribute(alerts: &[(AlertId, RuleId)]) -> AttributeValue {
        let alerts = alerts.iter().map(|(id, rule)| map([("id", text(id.to_string())), ("rule", text(rule.as_str()))]));
        AttributeValue::L(alerts.collect())
    }

    /// The score in a submission's item, if it has one.
    pub(crate) fn from_item(item: &Item) -> Result<Option<Self>, Unreadable> {
        let reader = Reader(item);
        let Some(score) = reader.optional_map("score")? else { return Ok(None) };
        let json = |name: &str| {
            let value = score.0.get(name).and_then(to_json);
            value.ok_or_else(|| unreadable(name, "cannot be parsed"))
        };
        let alerts = score.list("alerts")?.iter().map(|alert| {
            let alert = alert.as_m().map_err(|_| unreadable("alerts", "holds a value that is not an alert"))?;
            Ok((Reader(alert).parsed("id")?, Reader(alert).parsed("rule")?))
        });
        Ok(Some(Self {
            scored_at: reader.instant("scored_at")?,
            instrument_hash: score.text("instrument_hash")?.to_owned(),
            study: score.optional_map("study")?.map(study_from_reader).transpose()?,
            scores: json("scores")?,
            not_scored: json("not_scored")?,
            not_evaluated: json("not_evaluated")?,
            // Older scores do not have it.
            claimed_differs: json("claimed_differs").unwrap_or_else(|_| Value::Array(Vec::new())),
            alerts: alerts.collect::<Result<_, _>>()?,
        }))
    }
}

/// The claims that differ from the computed scores; all of them where nothing could be computed.
fn claimed_differs(claimed: &Claims, outcome: &Outcome) -> Value {
    let computed = |id: &ScoreId| outcome.scores.iter().find(|score| score.id == *id).map(|score| score.value);
    let differ = claimed.iter().filter(|(id, value)| computed(id) != Some(*value));
    differ.map(|(id, value)| json!({"id": id, "claimed": Number(value)})).collect()
}
