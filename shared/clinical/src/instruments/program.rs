//! A definition with its names resolved, so that scoring has nothing left to look up or to doubt.

use rust_decimal::Decimal;

use super::definition::{Against, Direction};
use super::exact::Exact;
use super::outcome::{MissingRule, Severity};
use super::score::Node;
use crate::ids::{ItemId, RuleId, ScoreId};

/// A definition with its names resolved.
#[derive(Debug)]
pub(crate) struct ScoringProgram {
    /// In the order in which they are asked.
    pub(crate) items: Vec<LoadedItem>,
    /// The items' places, ordered by id.
    pub(crate) by_id: Vec<usize>,
    /// In the order in which they are reported.
    pub(crate) scores: Vec<LoadedScore>,
    /// The scores' places in an order in which each comes after those that it uses.
    pub(crate) order: Vec<usize>,
    pub(crate) rules: Vec<AlertRule>,
}

#[derive(Debug)]
pub(crate) struct LoadedItem {
    pub(crate) id: ItemId,
    pub(crate) kind: LoadedKind,
    pub(crate) enable_when: Option<Node>,
    pub(crate) needed_when: Option<Node>,
    /// Whether the patients whom the program is for may leave the item out.
    pub(crate) not_needed: bool,
}

/// What a choice is in scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CountsAs {
    Number,
    Missing,
    NotAsked,
}

#[derive(Debug)]
pub(crate) enum LoadedKind {
    /// The codes, and what each is in scores.
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

/// A range of which one end may be open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Within<T> {
    pub(crate) from: Option<T>,
    pub(crate) to: Option<T>,
}

/// By how much a score must change.
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
