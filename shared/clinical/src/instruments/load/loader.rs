//! The state of loading a definition.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::range::ValueRange;
use crate::document::{Faults, Number};
use crate::ids::{ItemId, ScoreId};
use crate::instruments::definition::{Definition, Missing};
use crate::instruments::exact::{self, Exact};
use crate::instruments::program::LoadedScore;

/// The greatest magnitude of numbers in a definition and of answers to numeric items, so that exact arithmetic cannot
/// overflow.
pub(super) const GREATEST_NUMBER: i64 = 1_000_000;
/// The maximum number of decimals of numbers in a definition, for the same reason.
pub(super) const MOST_DECIMALS: u32 = 4;
pub(super) struct Loader<'a> {
    pub(super) definition: &'a Definition,
    pub(super) faults: Faults,
    /// The items loaded so far, with their index and range.
    pub(super) items: BTreeMap<&'a ItemId, (usize, Option<ValueRange>)>,
    pub(super) items_done: bool,
    pub(super) scores: Vec<ScoreState>,
    pub(super) order: Vec<usize>,
    pub(super) tables_used: BTreeSet<&'a str>,
}

/// The state of loading a score. Scores are loaded when they are first used, so that cycles are detected.
pub(super) enum ScoreState {
    ToDo,
    Doing,
    Failed,
    Done { score: LoadedScore, part: ValueRange },
}

/// The missing-data rule of the score that is being loaded, and the number of lists that it applied to.
pub(super) struct Lists<'a> {
    pub(super) rule: Option<&'a Missing>,
    pub(super) applied: usize,
}

impl<'a> Loader<'a> {
    pub(super) fn new(definition: &'a Definition) -> Self {
        Self {
            definition,
            faults: Faults::default(),
            items: BTreeMap::new(),
            items_done: false,
            scores: Vec::new(),
            order: Vec::new(),
            tables_used: BTreeSet::new(),
        }
    }

    pub(super) fn number(&mut self, number: Number, at: &str) -> Option<Exact> {
        let fits = number.0.abs() <= Decimal::from(GREATEST_NUMBER) && number.0.normalize().scale() <= MOST_DECIMALS;
        let exact = fits.then(|| exact::from_decimal(number.0)).flatten();
        if exact.is_none() {
            self.faults.add(
                at,
                "number.limits",
                "the number is too large or has too many decimals",
                format!("keep within ±{GREATEST_NUMBER} and {MOST_DECIMALS} decimals"),
            );
        }
        exact
    }

    pub(super) fn pair(&mut self, pair: (Number, Number), at: &str) -> Option<(Exact, Exact)> {
        let first = self.number(pair.0, &format!("{at}/0"));
        let second = self.number(pair.1, &format!("{at}/1"));
        first.zip(second)
    }

    pub(super) fn too_large(&mut self, at: &str) {
        self.faults.add(
            at,
            "number.limits",
            "the computation can give numbers that are too large",
            "compute with smaller numbers or fewer decimals",
        );
    }

    pub(super) fn score_index(&mut self, id: &ScoreId, at: &str, code: &'static str) -> Option<usize> {
        let index = self.definition.scores.iter().position(|score| score.id == *id);
        if index.is_none() {
            self.faults.add(at, code, format!("there is no score {id}"), "use the id of a score in `scores`");
        }
        index
    }
}
