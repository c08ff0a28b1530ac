//! The outcome of assessing a set of answers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::document::{decimal, from_number, is_zero, number};
use crate::ids::{IdError, RuleId, ScoreId};

/// The result for one submission. Serialises as `{"scores":[…],"notScored":[…],"alerts":[…],"notEvaluated":[…]}`,
/// the last two only where there are any.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The scores that could be computed, in the definition's order.
    pub scores: Vec<Score>,
    /// The scores that could not, in the definition's order.
    pub not_scored: Vec<NotScored>,
    /// The alert rules that fired, in the definition's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<FiredRule>,
    /// The alert rules that could not be evaluated, because earlier submissions are not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_evaluated: Vec<NotEvaluated>,
}

impl Outcome {
    /// The scores by id, for the histories of later submissions.
    pub fn scores_by_id(&self) -> BTreeMap<ScoreId, Decimal> {
        self.scores.iter().map(|score| (score.id.clone(), score.value)).collect()
    }
}

/// A computed score. Its `Debug` shows only the id.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The id of the score within its instrument.
    pub id: ScoreId,
    /// Its value, rounded to the definition's number of decimals.
    #[serde(serialize_with = "number", deserialize_with = "from_number")]
    pub value: Decimal,
    /// The least and the greatest possible value.
    #[serde(serialize_with = "numbers", deserialize_with = "from_numbers")]
    pub range: (Decimal, Decimal),
    /// The band that contains the value, if the score has bands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<String>,
    /// The missing-data rule that was applied; `None` if no part was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<MissingApplied>,
}

impl fmt::Debug for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Score({} redacted)", self.id)
    }
}

/// Scores computed by the sender of answers. They are compared with ours and never stored as scores. Its `Debug` shows
/// only their number.
#[derive(Clone, PartialEq, Default)]
pub struct Claims(BTreeMap<ScoreId, Decimal>);

impl Claims {
    /// Adds the claim that `score` is `value` and returns the previous claim for it.
    pub fn insert(&mut self, score: ScoreId, value: Decimal) -> Option<Decimal> {
        self.0.insert(score, value)
    }

    /// The claimed values, by score.
    pub fn iter(&self) -> impl Iterator<Item = (&ScoreId, Decimal)> {
        self.0.iter().map(|(score, value)| (score, *value))
    }

    /// Whether there are no claims.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<(ScoreId, Decimal)> for Claims {
    fn from_iter<I: IntoIterator<Item = (ScoreId, Decimal)>>(claims: I) -> Self {
        Self(claims.into_iter().collect())
    }
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({} redacted)", self.0.len())
    }
}

/// How a score with missing parts was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingApplied {
    /// The missing-data rule.
    pub rule: MissingRule,
    /// The number of parts that had a value.
    pub answered: usize,
    /// The number of parts of the score that were asked.
    pub of: usize,
}

/// The missing-data rule of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingRule {
    /// The mean is taken over the parts that have a value.
    MeanOfAnswered,
    /// Missing parts of the sum are imputed with the mean of the others.
    Prorated,
}

/// A score that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotScored {
    /// The id of the score within its instrument.
    pub id: ScoreId,
    /// The reason, with item ids. It contains no answers.
    pub reason: String,
}

/// An alert rule that fired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FiredRule {
    /// The id of the rule.
    pub rule: RuleId,
    /// The severity of the alert.
    pub severity: Severity,
    /// The number of hours after an alert of this rule during which further ones of the same patient are stored but not
    /// published.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quiet_hours: u32,
}

/// An alert rule that could not be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotEvaluated {
    /// The id of the rule.
    pub rule: RuleId,
    /// The reason. It contains no answers.
    pub reason: String,
}

/// The severity of an alert, ordered from `Info` to `Critical`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information.
    Info,
    /// To be reviewed soon.
    Warning,
    /// To be reviewed immediately.
    Critical,
}

impl Severity {
    /// The severity as text: `info`, `warning` or `critical`.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Severity {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        [Severity::Info, Severity::Warning, Severity::Critical]
            .into_iter()
            .find(|severity| severity.as_str() == text)
            .ok_or(IdError { what: "severity", rule: "one of info, warning, critical" })
    }
}

fn numbers<S: Serializer>((from, to): &(Decimal, Decimal), serializer: S) -> Result<S::Ok, S::Error> {
    struct Number<'a>(&'a Decimal);

    impl Serialize for Number<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            number(self.0, serializer)
        }
    }

    let mut pair = serializer.serialize_seq(Some(2))?;
    pair.serialize_element(&Number(from))?;
    pair.serialize_element(&Number(to))?;
    pair.end()
}

fn from_numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(Decimal, Decimal), D::Error> {
    let (from, to) = <(serde_json::Number, serde_json::Number)>::deserialize(deserializer)?;
    decimal(&from).zip(decimal(&to)).ok_or_else(|| de::Error::custom("the number has too many digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_has_the_documented_json() {
        let score = |value, band: Option<&str>| Score {
            id: "total".parse().unwrap(),
            value,
            range: (Decimal::ZERO, Decimal::from(27)),
            band: band.map(str::to_owned),
            missing: None,
        };
        assert_eq!(
            serde_json::to_string(&score(Decimal::from(5), Some("mild"))).unwrap(),
            r#"{"id":"total","value":5,"range":[0,27],"band":"mild"}"#
        );
        assert_eq!(
            serde_json::to_string(&score(Decimal::new(386, 1), None)).unwrap(),
            r#"{"id":"total","value":38.6,"range":[0,27]}"#
        );
        let stored = score(Decimal::new(386, 1), Some("mild"));
        assert_eq!(serde_json::from_str::<Score>(&serde_json::to_string(&stored).unwrap()).unwrap(), stored);
    }

    #[test]
    fn severities_are_ordered_and_parse_from_their_text() {
        assert!(Severity::Critical > Severity::Warning && Severity::Warning > Severity::Info);
        assert_eq!("warning".parse(), Ok(Severity::Warning));
        assert!("Warning".parse::<Severity>().is_err());
        assert_eq!(format!("{:>8}|", Severity::Info), "    info|");
    }

    #[test]
    fn a_score_is_not_in_debug_output() {
        let score = Score {
            id: "total".parse().unwrap(),
            value: Decimal::from(23),
            range: (Decimal::ZERO, Decimal::from(27)),
            band: Some("severe".into()),
            missing: None,
        };
        let claims = Claims::from_iter([(score.id.clone(), score.value)]);
        assert_eq!(format!("{score:?} {claims:?}"), "Score(total redacted) Claims(1 redacted)");
        assert!(!claims.is_empty() && Claims::default().is_empty());
    }
}
