//! A validated definition with its names resolved, so that scoring needs no lookups and cannot fail.

use rust_decimal::Decimal;

use super::definition::{Against, Direction};
use super::exact::Exact;
use super::outcome::{MissingRule, Severity};
use super::score::Node;
use crate::ids::{ItemId, RuleId, ScoreId};

/// A definition with its names resolved.
#[derive(Debug)]
pub(crate) struct ScoringProgram {
    /// The items, in the order of presentation.
    pub(crate) items: Vec<LoadedItem>,
    /// The indices of the items, ordered by id.
    pub(crate) by_id: Vec<usize>,
    /// The scores, in the order in which results list them.
    pub(crate) scores: Vec<LoadedScore>,
    /// The indices of the scores, in an order in which each follows those that it uses.
    pub(crate) order: Vec<usize>,
    pub(crate) rules: Vec<AlertRule>,
}

#[derive(Debug)]
pub(crate) struct LoadedItem {
    pub(crate) id: ItemId,
    pub(crate) kind: LoadedKind,
    pub(crate) enable_when: Option<Node>,
    pub(crate) needed_when: Option<Node>,
    /// Whether the item is optional for the group of patients that the program is for.
    pub(crate) not_needed: bool,
}

/// How scores treat a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountsAs {
    Number,
    Missing,
    NotAsked,
}

#[derive(Debug)]
pub(crate) enum LoadedKind {
    /// The codes, and how scores treat each.
    Code(Vec<(i64, CountsAs)>),
    Codes(Vec<i64>),
    Integer {
        min: Decimal,
        max: Decimal,
    },
    Decimal {
        min: Decimal,
        max: Decimal,
        decimals: u32,
    },
    Boolean,
    Text {
        max_length: u32,
    },
}

#[derive(Debug)]
pub(crate) struct LoadedScore {
    pub(crate) id: ScoreId,
    pub(crate) value: Node,
    pub(crate) missing: Option<MissingRule>,
    pub(crate) optional: bool,
    pub(crate) decimals: u32,
    pub(crate) range: (Decimal, Decimal),
    pub(crate) bands: Vec<LoadedBand>,
}

#[derive(Debug)]
pub(crate) struct LoadedBand {
    pub(crate) from: Decimal,
    pub(crate) to: Decimal,
    pub(crate) id: String,
}

#[derive(Debug)]
pub(crate) struct AlertRule {
    pub(crate) id: RuleId,
    pub(crate) severity: Severity,
    pub(crate) quiet_hours: u32,
    pub(crate) when: AlertCondition,
}

#[derive(Debug)]
pub(crate) enum AlertCondition {
    Item { item: usize, within: Within<Exact> },
    Score { score: usize, within: Within<Decimal> },
    Band { score: usize, bands: Vec<String> },
    Change { score: usize, against: Against, worse: Direction, by: By },
    Consecutive { score: usize, within: Within<Decimal>, times: usize, last: usize },
    Incomplete { score: usize },
}

/// An inclusive range of which one end may be open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within<T> {
    pub(crate) from: Option<T>,
    pub(crate) to: Option<T>,
}

/// The minimum change of a score.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    Points(Decimal),
    Percent(Decimal),
}

impl<T: PartialOrd> Within<T> {
    pub(crate) fn holds(&self, value: &T) -> bool {
        self.from.as_ref().is_none_or(|from| value >= from) && self.to.as_ref().is_none_or(|to| value <= to)
    }
}
