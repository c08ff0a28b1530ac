//! What a patient's earlier results were, for alert rules about change.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::ids::ScoreId;

/// The scores of one earlier submission; those that could not be computed are not there.
pub type EarlierScores = BTreeMap<ScoreId, Decimal>;

/// What is known of the submissions of one patient and instrument that were authored before the one to be assessed.
///
/// Order is by the time of authoring, not of arrival: whoever builds a history leaves out what was authored later.
#[derive(Clone, PartialEq)]
pub enum History {
    /// Nothing is known: rules about the past are not evaluated, for this reason.
    Unknown {
        /// Why, for people; no answers or scores.
        reason: String,
    },
    /// What is known.
    Known {
        /// The scores of the patient's first submission; `None` if this is the first.
        baseline: Option<EarlierScores>,
        /// The scores of the submissions just before this one, newest first.
        latest: Vec<EarlierScores>,
        /// Whether there may be others between `baseline` and `latest`.
        more: bool,
    },
}

impl History {
    /// The history of a first submission.
    pub fn first() -> Self {
        History::Known { baseline: None, latest: Vec::new(), more: false }
    }

    /// No history, for this reason.
    pub fn unknown(reason: impl Into<String>) -> Self {
        History::Unknown { reason: reason.into() }
    }
}

/// Tells how much is known and no scores.
impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            History::Unknown { reason } => write!(f, "Unknown({reason})"),
            History::Known { latest, .. } => write!(f, "Known({} redacted)", latest.len()),
        }
    }
}
