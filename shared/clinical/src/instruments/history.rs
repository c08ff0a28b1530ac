//! A patient's earlier scores, for alert rules about change.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::ids::ScoreId;

/// The scores of one earlier submission; scores that could not be computed are absent.
pub type EarlierScores = BTreeMap<ScoreId, Decimal>;

/// What is known about the submissions that precede the one being assessed in its course. Its `Debug` shows no scores.
///
/// The order is by effective time, not by arrival: a history must not contain submissions that were completed later.
#[derive(Clone, PartialEq)]
pub enum History {
    /// Nothing is known: rules that depend on earlier submissions are not evaluated.
    Unknown {
        /// The reason, for people. It contains no answers or scores.
        reason: String,
    },
    /// The preceding submissions, or the latest of them.
    Known {
        /// The scores of the first submission of the course; `None` if this is the first.
        baseline: Option<EarlierScores>,
        /// The scores of the submissions just before this one, newest first.
        latest: Vec<EarlierScores>,
        /// Whether there may be further submissions between `baseline` and `latest`.
        more: bool,
    },
}

impl History {
    /// The history of a first submission.
    pub fn first() -> Self {
        History::Known { baseline: None, latest: Vec::new(), more: false }
    }

    /// An unknown history, with the reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        History::Unknown { reason: reason.into() }
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            History::Unknown { reason } => write!(f, "Unknown({reason})"),
            History::Known { latest, .. } => write!(f, "Known({} redacted)", latest.len()),
        }
    }
}
