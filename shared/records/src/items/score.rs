//! Scores: the result of scoring a submission, as an attribute of the submission's item.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::document::Number;
use clinical::ids::{RuleId, ScoreId};
use clinical::instruments::{Claims, Outcome};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::alert::AlertId;
use super::submission::Submission;
use crate::table::attributes::{Item, Reader, Unreadable, from_json, map, text, to_json, unreadable};

/// The stored result of scoring a submission.
#[derive(Clone, PartialEq)]
pub struct Score {
    /// When it was scored.
    pub scored_at: OffsetDateTime,
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
    /// The result of scoring `submission` at `scored_at`, by the instrument and under the study that it names.
    pub(crate) fn of(
        outcome: &Outcome,
        submission: &Submission,
        scored_at: OffsetDateTime,
        alerts: Vec<(AlertId, RuleId)>,
    ) -> Self {
        let json = |value: Result<Value, serde_json::Error>| value.expect("scores are names and numbers");
        Self {
            scored_at,
            claimed_differs: claimed_differs(&submission.claimed, outcome),
            scores: json(serde_json::to_value(&outcome.scores)),
            not_scored: json(serde_json::to_value(&outcome.not_scored)),
            not_evaluated: json(serde_json::to_value(&outcome.not_evaluated)),
            alerts,
        }
    }

    pub(crate) fn to_attribute(&self) -> AttributeValue {
        let scores = ("scores", from_json(&self.scores));
        let lists = [
            ("not_scored", from_json(&self.not_scored)),
            ("not_evaluated", from_json(&self.not_evaluated)),
            ("claimed_differs", from_json(&self.claimed_differs)),
            ("alerts", Self::alerts_to_attribute(&self.alerts)),
        ];
        // Most are empty, and a submission that takes more than a kilobyte with its score costs twice as much.
        let lists = lists.into_iter().filter(|(_, list)| list.as_l().is_ok_and(|list| !list.is_empty()));
        map(std::iter::once(scores).chain(lists))
    }

    pub(crate) fn alerts_to_attribute(alerts: &[(AlertId, RuleId)]) -> AttributeValue {
        let alerts = alerts.iter().map(|(id, rule)| map([("id", text(id.to_string())), ("rule", text(rule.as_str()))]));
        AttributeValue::L(alerts.collect())
    }

    /// The score in a submission's item, if it has one.
    pub(crate) fn from_item(item: &Item) -> Result<Option<Self>, Unreadable> {
        let reader = Reader(item);
        let Some(score) = reader.optional_map("score")? else { return Ok(None) };
        let json = |name: &str| match score.0.get(name) {
            None => Ok(Value::Array(Vec::new())),
            Some(list) => to_json(list).ok_or_else(|| unreadable(name, "cannot be parsed")),
        };
        let alerts = score.maps("alerts")?.into_iter().map(|alert| Ok((alert.parsed("id")?, alert.parsed("rule")?)));
        Ok(Some(Self {
            scored_at: reader.instant("scored_at")?,
            scores: json("scores")?,
            not_scored: json("not_scored")?,
            not_evaluated: json("not_evaluated")?,
            claimed_differs: json("claimed_differs")?,
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
