//! Scores: computed from items and other scores, with a range and with bands that cover it.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use super::loader::{Lists, Loader, MOST_DECIMALS, ScoreState};
use super::range::ValueRange;
use crate::document::pointer;
use crate::instruments::definition::{Prorate, ScoreDefinition};
use crate::instruments::exact;
use crate::instruments::outcome::MissingRule;
use crate::instruments::program::{LoadedBand, LoadedScore};

impl<'a> Loader<'a> {
    pub(super) fn load_score(&mut self, index: usize) -> Option<ValueRange> {
        match self.scores.get(index)? {
            ScoreState::Done { part, .. } => return Some(*part),
            ScoreState::Failed => return None,
            ScoreState::Doing => {
                self.scores[index] = ScoreState::Failed;
                self.faults.add(
                    format!("/scores/{index}/value"),
                    "score.cycle",
                    "the score depends on itself",
                    "remove the cycle of scores",
                );
                return None;
            }
            ScoreState::ToDo => self.scores[index] = ScoreState::Doing,
        }
        let at = format!("/scores/{index}");
        let definition = &self.definition.scores[index];
        if self.definition.scores[..index].iter().any(|before| before.id == definition.id) {
            self.faults.add(
                pointer(&at, "id"),
                "score.duplicate",
                format!("the score id {} is used twice", definition.id),
                "give each score a unique id",
            );
        }
        let loaded = self.score(definition, &at);
        let part = loaded.as_ref().map(|(_, part)| *part);
        self.scores[index] = match loaded {
            Some((score, part)) => {
                self.order.push(index);
                ScoreState::Done { score, part }
            }
            None => ScoreState::Failed,
        };
        part
    }

    fn score(&mut self, definition: &'a ScoreDefinition, at: &str) -> Option<(LoadedScore, ValueRange)> {
        let mut lists = Lists { rule: definition.missing.as_ref(), applied: 0 };
        let value = self.operation(&definition.value, &pointer(at, "value"), &mut lists);
        if definition.missing.is_some() && value.is_some() && lists.applied != 1 {
            self.faults.add(
                pointer(at, "missing"),
                "missing.list",
                format!("a missing-data rule needs exactly one sum or mean, and the score has {}", lists.applied),
                "move each list to a score of its own",
            );
        }
        if definition.decimals > MOST_DECIMALS {
            self.faults.add(
                pointer(at, "decimals"),
                "number.decimals",
                "the number of decimals is out of range",
                format!("set it from 0 to {MOST_DECIMALS}"),
            );
            return None;
        }
        let (value, part) = value?;
        self.check_range(definition, part, at);
        self.check_bands(definition, at);
        let missing = definition.missing.as_ref().map(|missing| match missing.prorate {
            Some(Prorate::Mean) => MissingRule::Prorated,
            None => MissingRule::MeanOfAnswered,
        });
        let bands = definition.bands.iter();
        let bands = bands.map(|band| LoadedBand { from: band.from.0, to: band.to.0, id: band.id.clone() }).collect();
        let score = LoadedScore {
            id: definition.id.clone(),
            value,
            missing,
            optional: definition.optional,
            decimals: definition.decimals,
            range: (definition.range.0.0, definition.range.1.0),
            bands,
        };
        Some((score, part))
    }

    fn check_range(&mut self, definition: &ScoreDefinition, part: ValueRange, at: &str) {
        let rounded = |number| exact::round_half_up(number, definition.decimals);
        let Some((low, high)) = rounded(part.low).zip(rounded(part.high)) else {
            return self.too_large(&pointer(at, "value"));
        };
        if (definition.range.0.0, definition.range.1.0) != (low, high) {
            self.faults.add(
                pointer(at, "range"),
                "score.range",
                format!("the score's values range from {low} to {high}"),
                format!("write [{low}, {high}], or correct the value"),
            );
        }
    }

    fn check_bands(&mut self, definition: &ScoreDefinition, at: &str) {
        let step = Decimal::new(1, definition.decimals);
        let (low, high) = (definition.range.0.0, definition.range.1.0);
        let mut next = low;
        for (index, band) in definition.bands.iter().enumerate() {
            let at = format!("{at}/bands/{index}");
            if definition.bands[..index].iter().any(|before| before.id == band.id) || band.id.trim().is_empty() {
                self.faults.add(
                    pointer(&at, "id"),
                    "band.name",
                    "the band's id is empty or used twice",
                    "give each band a unique id",
                );
            }
            if band.from > band.to || band.to.0 > high || band.from.0 < low {
                self.faults.add(
                    &at,
                    "band.range",
                    format!("the band is empty or not within {low} to {high}"),
                    "set `from` and `to` within the score's range, the smaller first",
                );
            }
            match band.from.0.cmp(&next) {
                Ordering::Less => self.faults.add(
                    pointer(&at, "from"),
                    "band.overlap",
                    format!("the band begins at {}, before {next}", band.from),
                    "start each band after the end of the previous one",
                ),
                Ordering::Greater => self.faults.add(
                    pointer(&at, "from"),
                    "band.hole",
                    format!("the band begins at {}, and {next} is in no band", band.from),
                    "start each band where the previous one ends",
                ),
                Ordering::Equal => {}
            }
            next = band.to.0.saturating_add(step);
        }
        if !definition.bands.is_empty() && next <= high {
            self.faults.add(
                pointer(at, "bands"),
                "band.hole",
                format!("values from {next} are in no band"),
                "end the last band at the end of the score's range",
            );
        }
    }
}
