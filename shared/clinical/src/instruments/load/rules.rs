//! Alert rules: each can fire, none always fires, and no id reveals clinical content.

use std::fmt;

use rust_decimal::Decimal;

use super::loader::Loader;
use crate::document::{Number, pointer};
use crate::ids::ScoreId;
use crate::instruments::definition::{Consecutive, RuleCondition, RuleDefinition, Threshold};
use crate::instruments::program::{AlertCondition, AlertRule, By, Within};

/// The maximum number of submissions that a rule may depend on: a month of a daily diary. They are stored with the
/// patient.
const MOST_CONSECUTIVE: usize = 31;

/// The maximum number of rules in force: all may fire on one submission, and their alerts are stored in one
/// transaction.
const MOST_RULES: usize = 40;

impl<'a> Loader<'a> {
    pub(super) fn load_rules(&mut self) -> Vec<AlertRule> {
        let definition = self.definition;
        if definition.rules.len() > MOST_RULES {
            self.faults.add(
                "/rules",
                "rule.many",
                format!("there are {} rules, and at most {MOST_RULES} may be in force", definition.rules.len()),
                "keep the rules that lead to an action",
            );
        }
        let mut loaded = Vec::new();
        for (index, rule) in definition.rules.iter().enumerate() {
            let at = format!("/rules/{index}");
            if definition.rules[..index].iter().any(|before| before.id == rule.id) {
                self.faults.add(
                    pointer(&at, "id"),
                    "rule.duplicate",
                    format!("the rule id {} is used twice", rule.id),
                    "give each rule a unique id",
                );
            }
            if self.reveals_content(rule.id.as_str()) {
                self.faults.add(
                    pointer(&at, "id"),
                    "rule.telling",
                    "rule ids are published, and this one names the instrument, an item or a band",
                    "choose a neutral id, for example `threshold`",
                );
            }
            if let Some(when) = self.condition(&rule.when, &pointer(&at, "when")) {
                let RuleDefinition { id, severity, quiet_hours, .. } = rule;
                loaded.push(AlertRule { id: id.clone(), severity: *severity, quiet_hours: *quiet_hours, when });
            }
        }
        loaded
    }

    fn reveals_content(&self, rule: &str) -> bool {
        let definition = self.definition;
        let rule = rule.to_lowercase();
        let words: Vec<_> = rule.split(['.', '_', '-']).collect();
        let bands = definition.scores.iter().flat_map(|score| &score.bands).map(|band| &band.id);
        rule.contains(&definition.id.as_str().to_lowercase())
            || definition.items.iter().any(|item| words.contains(&item.id.as_str().to_lowercase().as_str()))
            || bands.into_iter().any(|band| words.contains(&band.to_lowercase().as_str()))
    }

    fn condition(&mut self, condition: &'a RuleCondition, at: &str) -> Option<AlertCondition> {
        Some(match condition {
            RuleCondition::Item(Threshold { of, at_least, at_most }) => {
                let at = pointer(at, "item");
                let Some((item, part)) = self.items.get(of).copied() else {
                    self.faults.add(
                        pointer(&at, "of"),
                        "rule.item",
                        format!("there is no item {of}"),
                        "use the id of an item in `items`",
                    );
                    return None;
                };
                let Some(part) = part else {
                    self.faults.add(
                        pointer(&at, "of"),
                        "rule.item",
                        format!("item {of} is not a number"),
                        "use an item of type code, integer, decimal or boolean",
                    );
                    return None;
                };
                let exact = |loader: &mut Self, number: Option<Number>, name: &str| match number {
                    Some(number) => loader.number(number, &pointer(&at, name)).map(Some),
                    None => Some(None),
                };
                let from = exact(self, *at_least, "atLeast")?;
                let to = exact(self, *at_most, "atMost")?;
                let within = Within { from, to };
                self.check_fires(&within, (part.low, part.high), &at);
                AlertCondition::Item { item, within }
            }
            RuleCondition::Score(Threshold { of, at_least, at_most }) => {
                let (score, within) = self.score_within(of, (*at_least, *at_most), &pointer(at, "score"))?;
                AlertCondition::Score { score, within }
            }
            RuleCondition::Band(in_bands) => {
                let at = pointer(at, "band");
                let score = self.score_index(&in_bands.of, &pointer(&at, "of"), "rule.score")?;
                let bands = &self.definition.scores[score].bands;
                let known = in_bands.bands.iter().filter(|name| bands.iter().any(|band| band.id == **name)).count();
                if known != in_bands.bands.len() || known == 0 || known >= bands.len() {
                    self.faults.add(
                        pointer(&at, "in"),
                        "rule.band",
                        format!("the rule names no band, all bands, or a band that {} does not have", in_bands.of),
                        "name some of the score's bands",
                    );
                }
                AlertCondition::Band { score, bands: in_bands.bands.clone() }
            }
            RuleCondition::Change(change) => {
                let at = pointer(at, "change");
                let score = self.score_index(&change.of, &pointer(&at, "of"), "rule.score")?;
                let range = self.definition.scores[score].range;
                for (name, number) in [("by", change.by), ("byPercent", change.by_percent)] {
                    if let Some(number) = number {
                        self.number(number, &pointer(&at, name));
                    }
                }
                let by = match (change.by, change.by_percent) {
                    (Some(by), None) if by.0 > Decimal::ZERO && by.0 <= range.1.0.saturating_sub(range.0.0) => {
                        By::Points(by.0)
                    }
                    (None, Some(percent)) if percent.0 > Decimal::ZERO => By::Percent(percent.0),
                    _ => {
                        self.faults.add(
                            &at,
                            "rule.never",
                            "the change is missing, given twice, or cannot occur",
                            "set either `by`, above 0 and within the score's range, or `byPercent`, above 0",
                        );
                        return None;
                    }
                };
                AlertCondition::Change { score, against: change.against, worse: change.worse, by }
            }
            RuleCondition::Consecutive(consecutive) => {
                let at = pointer(at, "consecutive");
                let bounds = (consecutive.at_least, consecutive.at_most);
                let (score, within) = self.score_within(&consecutive.of, bounds, &at)?;
                let Consecutive { times, last, .. } = *consecutive;
                if times < 2 || times > last || last > MOST_CONSECUTIVE {
                    self.faults.add(
                        &at,
                        "rule.never",
                        format!(
                            "{times} times among {last} is impossible, not repeated, or beyond the stored submissions"
                        ),
                        format!("set `times` to at least 2, and `last` from `times` to {MOST_CONSECUTIVE}"),
                    );
                }
                AlertCondition::Consecutive { score, within, times, last }
            }
            RuleCondition::Incomplete(incomplete) => AlertCondition::Incomplete {
                score: self.score_index(&incomplete.of, &pointer(&pointer(at, "incomplete"), "of"), "rule.score")?,
            },
        })
    }

    fn score_within(
        &mut self,
        of: &ScoreId,
        (from, to): (Option<Number>, Option<Number>),
        at: &str,
    ) -> Option<(usize, Within<Decimal>)> {
        let score = self.score_index(of, &pointer(at, "of"), "rule.score")?;
        let range = self.definition.scores[score].range;
        let within = Within { from: from.map(|from| from.0), to: to.map(|to| to.0) };
        self.check_fires(&within, (range.0.0, range.1.0), at);
        Some((score, within))
    }

    fn check_fires<T: PartialOrd + fmt::Display + Copy>(&mut self, within: &Within<T>, (low, high): (T, T), at: &str) {
        let from = within.from.unwrap_or(low);
        let to = within.to.unwrap_or(high);
        if from > to || from > high || to < low {
            self.faults.add(
                at,
                "rule.never",
                format!("the rule never fires: the values range from {low} to {high}"),
                "set the threshold within the values",
            );
        } else if from <= low && to >= high {
            self.faults.add(
                at,
                "rule.always",
                "the rule always fires",
                "set `atLeast` above the least value or `atMost` below the greatest",
            );
        }
    }
}
