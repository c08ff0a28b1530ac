//! A validated instrument: it validates answers, scores them and evaluates alert rules.

use std::fmt::Write as _;
use std::sync::Arc;

use num_traits::Zero;
use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};

use super::alert_rules::{self, Assessed};
use super::answers::Answers;
use super::course::CourseId;
use super::definition::{Against, Definition, RuleDefinition};
use super::exact;
use super::fit::{Misfit, answer, fit};
use super::history::History;
use super::load;
use super::outcome::{FiredRule, MissingApplied, NotEvaluated, NotScored, Outcome, Score};
use super::program::{AlertCondition, LoadedItem, LoadedScore, ScoringProgram};
use super::score::{Needed, Node, PartialAnswers, Value, Values};
use super::weight;
use crate::document::{self, Canonical, DefinitionFault, Finding, Texts, pointer};
use crate::ids::{GroupId, InstrumentId, InstrumentVersion, ItemId, RuleId};

/// A validated definition. Immutable; identified by the content hash of the definition.
#[derive(Debug)]
pub struct Instrument {
    definition: Definition,
    program: ScoringProgram,
    content: Canonical,
    /// The variant for each group of patients for whom items are optional.
    of_groups: Vec<(GroupId, Arc<Instrument>)>,
}

/// Stored answers do not fit the definition that should score them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of the answers do not fit {instrument} {version}, first {}", findings.len(), first(findings))]
pub struct MisfitAnswers {
    /// The id of the instrument.
    pub instrument: InstrumentId,
    /// The version of the instrument.
    pub version: InstrumentVersion,
    /// The validation errors, with pointers relative to the answers.
    pub findings: Vec<Finding>,
}

impl Instrument {
    /// Parses and validates a definition.
    ///
    /// # Errors
    ///
    /// All validation errors, each with its JSON pointer and a correction; of syntax errors only the first.
    pub fn parse(json: &str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, program, document) = load::load(json)?;
        let content = Canonical::of(&document);
        Self { definition, program, content, of_groups: Vec::new() }.with_groups(None)
    }

    /// As [`Versioned::of_shipped`](crate::document::Versioned::of_shipped).
    pub(super) fn of_shipped(json: &'static str, hash: &'static str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, program) = load::load_shipped(json)?;
        let content = Canonical::of_shipped(json, hash);
        Self { definition, program, content, of_groups: Vec::new() }.with_groups(None)
    }

    /// Adds the variant for each group of patients for whom items are optional, all under the rules of `in_force`.
    fn with_groups(mut self, in_force: Option<&Definition>) -> Result<Self, Vec<DefinitionFault>> {
        let mut groups: Vec<_> = self.definition.items.iter().flat_map(|item| &item.not_needed_for).cloned().collect();
        groups.sort();
        groups.dedup();
        for group in groups {
            let mut program = load::check(in_force.unwrap_or(&self.definition))?;
            for (loaded, item) in program.items.iter_mut().zip(&self.definition.items) {
                loaded.not_needed = item.not_needed_for.contains(&group);
            }
            let (definition, content) = (self.definition.clone(), self.content.clone());
            self.of_groups.push((group, Arc::new(Self { definition, program, content, of_groups: Vec::new() })));
        }
        Ok(self)
    }

    /// The variant that scores the patients of `group`: the instrument itself, if it does not mention the group.
    pub fn for_group(self: &Arc<Self>, group: Option<&GroupId>) -> &Arc<Self> {
        self.of_groups.iter().find(|(own, _)| Some(own) == group).map_or(self, |(_, instrument)| instrument)
    }

    /// Like `parse`, for a definition from a file, whose name the faults carry.
    ///
    /// # Errors
    ///
    /// As `parse`.
    pub fn parse_file(name: &str, json: &str) -> Result<Self, Vec<DefinitionFault>> {
        document::in_file(name, Self::parse(json))
    }

    /// The instrument with a study's alert rules: the definition's rules that `without` names are removed, and each of
    /// `rules` replaces the definition's rule of the same id, or is added. Definition and hash stay the same, since
    /// items and scoring do.
    ///
    /// # Errors
    ///
    /// All validation errors of the rules, with pointers into the resulting list: the definition's remaining rules,
    /// then the added ones.
    pub fn with_rules(&self, rules: &[RuleDefinition], without: &[RuleId]) -> Result<Self, Vec<DefinitionFault>> {
        let mut in_force = self.definition.clone();
        in_force.rules.retain(|own| !without.contains(&own.id));
        for rule in rules {
            match in_force.rules.iter_mut().find(|own| own.id == rule.id) {
                Some(own) => *own = rule.clone(),
                None => in_force.rules.push(rule.clone()),
            }
        }
        let program = load::check(&in_force)?;
        let (definition, content) = (self.definition.clone(), self.content.clone());
        Self { definition, program, content, of_groups: Vec::new() }.with_groups(Some(&in_force))
    }

    /// The instrument's id, for example `phq-9`.
    pub fn id(&self) -> &InstrumentId {
        &self.definition.id
    }

    /// The version of the definition.
    pub fn version(&self) -> &InstrumentVersion {
        &self.definition.version
    }

    /// The course that its scores belong to: its own, or that of the earlier version with whose scores they are
    /// comparable.
    pub fn course(&self) -> CourseId {
        let version = self.definition.comparable_to.as_ref().unwrap_or(&self.definition.version);
        CourseId { instrument: self.definition.id.clone(), version: version.clone() }
    }

    /// The SHA-256, in hexadecimal, of the definition's canonical form.
    pub fn hash(&self) -> &str {
        &self.content.hash
    }

    /// The definition's canonical form: the parsed JSON with sorted keys and no white space.
    pub fn json(&self) -> &str {
        &self.content.json
    }

    /// The instrument's name, by language.
    pub fn title(&self) -> &Texts {
        &self.definition.title
    }

    /// The languages of its texts, as BCP 47 tags. Every text has each of them.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.definition.title.keys().map(String::as_str)
    }

    /// The definition. A study may have other alert rules in force.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The contribution of each choice of the item `id` to the score that it is part of, for items of type `code` and
    /// `boolean`: its value inside the sum or mean. `None` if it is part of no score, or contributes differently to
    /// several. Choices that count as missing or as not asked are omitted.
    pub fn weights(&self, id: &ItemId) -> Option<Vec<(i64, Decimal)>> {
        let place = self.program.items.iter().position(|item| item.id == *id)?;
        weight::weights(&self.program, place)
    }

    /// The alert rules that are in force.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &RuleId> {
        self.program.rules.iter().map(|rule| &rule.id)
    }

    /// The rule `id` as it is when it fires; `None` if it is not in force.
    pub fn rule(&self, id: &RuleId) -> Option<FiredRule> {
        let rule = self.program.rules.iter().find(|rule| rule.id == *id)?;
        Some(FiredRule { rule: rule.id.clone(), severity: rule.severity, quiet_hours: rule.quiet_hours })
    }

    /// The number of preceding submissions that the rules in force depend on.
    pub fn looks_back(&self) -> usize {
        let back = self.program.rules.iter().map(|rule| match rule.when {
            AlertCondition::Consecutive { last, .. } => last - 1,
            AlertCondition::Change { against: Against::Previous, .. } => 1,
            _ => 0,
        });
        back.max().unwrap_or_default()
    }

    /// Parses and validates the answers of a submission: item id to code, number, boolean, string, or list of codes.
    /// `null` stands for no answer.
    ///
    /// # Errors
    ///
    /// All validation errors, with pointers relative to the answers (`/9`).
    pub fn check(&self, answers: &Map<String, Json>) -> Result<Answers, Vec<Finding>> {
        let mut read = Answers::new();
        let mut findings = Vec::new();
        for (id, json) in answers {
            let result = match self.item(id) {
                None => Err(Misfit::Unknown),
                Some(_) if json.is_null() => continue,
                Some(item) => {
                    answer(item, json).and_then(|answer| fit(item, &answer).map(|_| (item.id.clone(), answer)))
                }
            };
            match result {
                Ok((item, answer)) => {
                    read.insert(item, answer);
                }
                Err(misfit) => findings.push(finding(id, &misfit)),
            }
        }
        // Which items are asked can be evaluated only from valid answers.
        if findings.is_empty() {
            findings = self.place(&read).err().unwrap_or_default();
        }
        if findings.is_empty() { Ok(read) } else { Err(findings) }
    }

    /// Validates the answers of a questionnaire that is not finished: each is to an item of the instrument and has the
    /// type of that item, but may be out of range, as a number is of which only the first digit is entered.
    ///
    /// # Errors
    ///
    /// All validation errors, with pointers relative to the answers.
    pub fn check_types(&self, answers: &Map<String, Json>) -> Result<(), Vec<Finding>> {
        let misfit = |(id, json): (&String, &Json)| match self.item(id) {
            None => Some(finding(id, &Misfit::Unknown)),
            Some(_) if json.is_null() => None,
            Some(item) => answer(item, json).err().map(|misfit| finding(id, &misfit)),
        };
        let findings: Vec<Finding> = answers.iter().filter_map(misfit).collect();
        if findings.is_empty() { Ok(()) } else { Err(findings) }
    }

    /// Scores answers and evaluates the alert rules that do not depend on earlier submissions.
    ///
    /// # Errors
    ///
    /// The answers do not fit the definition: an unknown item, a wrong type, a value out of range, or an answer to an
    /// item that is not asked.
    pub fn assess(&self, answers: &Answers) -> Result<Outcome, MisfitAnswers> {
        self.assess_with(answers, &History::unknown("earlier submissions are not known"))
    }

    /// Scores answers and evaluates the alert rules against `history`.
    ///
    /// # Errors
    ///
    /// As `assess`.
    pub fn assess_with(&self, answers: &Answers, history: &History) -> Result<Outcome, MisfitAnswers> {
        let items = self.place(answers).map_err(|findings| MisfitAnswers {
            instrument: self.id().clone(),
            version: self.version().clone(),
            findings,
        })?;
        Ok(self.outcome(&items, history))
    }

    /// The values of all items, by index.
    fn place(&self, answers: &Answers) -> Result<Vec<Value>, Vec<Finding>> {
        let program = &self.program;
        let mut items = vec![Value::Missing; program.items.len()];
        let mut findings = Vec::new();
        // Both are ordered by id, so that one pass matches them.
        let mut places = program.by_id.iter().copied().peekable();
        for (id, answer) in answers.iter() {
            while places.next_if(|place| program.items[*place].id < *id).is_some() {}
            let fits = match places.next_if(|place| program.items[*place].id == *id) {
                None => Err(Misfit::Unknown),
                Some(place) => fit(&program.items[place], answer).map(|value| items[place] = value),
            };
            if let Err(misfit) = fits {
                findings.push(finding(id.as_str(), &misfit));
            }
        }
        for (place, item) in program.items.iter().enumerate() {
            let answered = answers.get(&item.id).is_some();
            let value = |condition: &Node| condition.value(&Values { items: &items, scores: &[] }, &mut None);
            if item.enable_when.as_ref().is_some_and(|condition| !value(condition).is_true()) {
                items[place] = Value::Hidden;
                if answered {
                    findings.push(finding(item.id.as_str(), &Misfit::Hidden));
                }
            } else if !answered {
                // If the condition itself cannot be evaluated because answers are missing, the item is required.
                let is_zero = |condition: &Node| matches!(value(condition), Value::Known(number) if number.is_zero());
                if item.not_needed || item.needed_when.as_ref().is_some_and(is_zero) {
                    items[place] = Value::Hidden;
                }
            }
        }
        if findings.is_empty() { Ok(items) } else { Err(findings) }
    }

    fn outcome(&self, items: &[Value], history: &History) -> Outcome {
        let program = &self.program;
        let mut values = vec![Value::Missing; program.scores.len()];
        let mut partly = vec![None; program.scores.len()];
        for place in &program.order {
            values[*place] =
                program.scores[*place].value.value(&Values { items, scores: &values }, &mut partly[*place]);
        }
        let mut outcome = Outcome::default();
        let mut reported = Vec::with_capacity(program.scores.len());
        for (place, score) in program.scores.iter().enumerate() {
            let before = outcome.scores.len();
            match self.report(score, values[place], partly[place], items, &values) {
                Reported::Score(score) => outcome.scores.push(score),
                Reported::Not(not_scored) => outcome.not_scored.push(not_scored),
                Reported::LeftOut => {}
            }
            reported.push((outcome.scores.len() > before).then_some(before));
        }
        let scores: Vec<_> = reported.iter().map(|place| place.map(|place| &outcome.scores[place])).collect();
        let assessed = Assessed { items, definitions: &program.scores, scores: &scores, history };
        for rule in &program.rules {
            match alert_rules::fires(rule, &assessed) {
                Ok(true) => outcome.alerts.push(FiredRule {
                    rule: rule.id.clone(),
                    severity: rule.severity,
                    quiet_hours: rule.quiet_hours,
                }),
                Ok(false) => {}
                Err(reason) => outcome.not_evaluated.push(NotEvaluated { rule: rule.id.clone(), reason }),
            }
        }
        outcome
    }

    fn report(
        &self,
        score: &LoadedScore,
        value: Value,
        partly: Option<PartialAnswers>,
        items: &[Value],
        scores: &[Value],
    ) -> Reported {
        let reason = match value {
            Value::Known(value) => match exact::round_half_up(value, score.decimals) {
                Some(value) => {
                    let band = score.bands.iter().find(|band| band.from <= value && value <= band.to);
                    let missing = score.missing.zip(partly);
                    return Reported::Score(Score {
                        id: score.id.clone(),
                        value,
                        range: score.range,
                        band: band.map(|band| band.id.clone()),
                        missing: missing.map(|(rule, PartialAnswers { answered, of })| MissingApplied {
                            rule,
                            answered,
                            of,
                        }),
                    });
                }
                None => "the number is too large".to_owned(),
            },
            Value::Overflow => "the number is too large".to_owned(),
            Value::Hidden => "its items are not asked".to_owned(),
            Value::Missing => {
                let parts = Parts::of(&score.value);
                if score.optional && parts.items.iter().all(|place| items[*place] == Value::Missing) {
                    return Reported::LeftOut;
                }
                self.reason(&parts, items, scores)
            }
        };
        Reported::Not(NotScored { id: score.id.clone(), reason })
    }

    /// Why a score is missing, with item and score ids.
    fn reason(&self, parts: &Parts, items: &[Value], scores: &[Value]) -> String {
        let unanswered: Vec<&str> = parts
            .items
            .iter()
            .filter(|place| items[**place] == Value::Missing)
            .map(|place| self.program.items[*place].id.as_str())
            .collect();
        let without: Vec<&str> = parts
            .scores
            .iter()
            .filter(|place| !matches!(scores[**place], Value::Known(_)))
            .map(|place| self.program.scores[*place].id.as_str())
            .collect();
        let mut reasons = Vec::new();
        match unanswered.as_slice() {
            [] => {}
            [one] => reasons.push(format!("item {one} is not answered")),
            several => reasons.push(format!("items {} are not answered", several.join(", "))),
        }
        match without.as_slice() {
            [] => {}
            [one] => reasons.push(format!("score {one} could not be computed")),
            several => reasons.push(format!("scores {} could not be computed", several.join(", "))),
        }
        let mut reason = reasons.join(", ");
        let of = parts.items.len() + parts.scores.len();
        // Writing to a string cannot fail.
        match parts.needed {
            Some(needed) => _ = write!(reason, "; at least {needed} of {of} are needed"),
            None if of > 1 => _ = write!(reason, "; all {of} are needed"),
            None => {}
        }
        reason
    }

    fn item(&self, id: &str) -> Option<&LoadedItem> {
        let items = &self.program.items;
        let place = self.program.by_id.binary_search_by(|place| items[*place].id.as_str().cmp(id)).ok()?;
        Some(&items[self.program.by_id[place]])
    }
}

enum Reported {
    Score(Score),
    Not(NotScored),
    LeftOut,
}

/// The items and scores that a computation uses, and how many of them it requires if not all.
#[derive(Default)]
struct Parts {
    items: Vec<usize>,
    scores: Vec<usize>,
    needed: Option<usize>,
}

impl Parts {
    fn of(node: &Node) -> Self {
        let mut parts = Parts::default();
        parts.collect(node);
        parts
    }

    fn collect(&mut self, node: &Node) {
        match node {
            Node::Item(place) if !self.items.contains(place) => self.items.push(*place),
            Node::Score(place) if !self.scores.contains(place) => self.scores.push(*place),
            Node::Item(_) | Node::Score(_) | Node::Constant(_) => {}
            Node::Sum(parts, needed) | Node::Mean(parts, needed) => {
                if let Needed::AtLeast(least) = needed {
                    self.needed = Some(*least);
                }
                parts.iter().for_each(|part| self.collect(part));
            }
            Node::Combination(parts, _)
            | Node::CountAtLeast(parts, _)
            | Node::Min(parts)
            | Node::Max(parts)
            | Node::All(parts)
            | Node::Any(parts) => {
                parts.iter().for_each(|part| self.collect(part));
            }
            Node::Linear(of, _, _) | Node::Recode(of, _) | Node::Lookup(of, _) | Node::Round(of, _) => self.collect(of),
            Node::Difference(pair) | Node::AtLeast(pair) | Node::AtMost(pair) | Node::Equals(pair) => {
                self.collect(&pair.0);
                self.collect(&pair.1);
            }
        }
    }
}

fn finding(id: &str, misfit: &Misfit) -> Finding {
    Finding { pointer: pointer("", id), code: misfit.code(), detail: misfit.detail() }
}

fn first(findings: &[Finding]) -> String {
    findings.first().map(Finding::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::instruments::{Answer, Catalog};

    fn shipped(id: &str) -> &'static Instrument {
        Catalog::shipped().find(&id.parse().unwrap(), &"1.0.0".parse().unwrap()).unwrap()
    }

    fn read(instrument: &Instrument, answers: Json) -> Result<Answers, Vec<Finding>> {
        instrument.check(answers.as_object().unwrap())
    }

    fn outcome(id: &str, answers: Json) -> Outcome {
        let instrument = shipped(id);
        instrument.assess(&read(instrument, answers).unwrap()).unwrap()
    }

    fn fired(outcome: &Outcome) -> Vec<&str> {
        outcome.alerts.iter().map(|alert| alert.rule.as_str()).collect()
    }

    #[test]
    fn complete_answers_give_the_score_with_its_range_and_band() {
        let outcome =
            outcome("phq-9", json!({"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 0, "10": 0}));
        assert_eq!(
            serde_json::to_value(&outcome).unwrap(),
            json!({"scores": [{"id": "total", "value": 5, "range": [0, 27], "band": "mild"}], "notScored": []})
        );
    }

    #[test]
    fn incomplete_answers_give_a_reason_and_the_safety_rule_still_fires() {
        let outcome = outcome("phq-9", json!({"1": 3, "2": null, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 1}));
        assert!(outcome.scores.is_empty());
        assert_eq!(outcome.not_scored[0].reason, "items 2, 3 are not answered; all 9 are needed");
        assert_eq!(fired(&outcome), ["safety"]);
    }

    #[test]
    fn every_finding_has_a_pointer_and_no_value() {
        let findings =
            read(shipped("phq-9"), json!({"1": 77, "2": "secret", "3": 1.5, "x/y": 1, "4": [1], "5": 1e300, "6": 2}))
                .unwrap_err();
        let found: Vec<_> = findings.iter().map(|finding| (finding.pointer.as_str(), finding.code)).collect();
        assert_eq!(
            found,
            [
                ("/1", "item.code"),
                ("/2", "item.type"),
                ("/3", "item.code"),
                ("/4", "item.type"),
                ("/5", "item.code"),
                ("/x~1y", "item.unknown")
            ]
        );
        assert_eq!(findings[0].detail, "must be one of 0, 1, 2, 3");
        assert!(findings.iter().all(|finding| !finding.detail.contains("77") && !finding.detail.contains("secret")));
    }

    #[test]
    fn stored_answers_that_do_not_fit_are_reported_and_not_scored() {
        let answers = [("1", Answer::Number(7.into())), ("x", Answer::Boolean(true)), ("2", Answer::Text("a".into()))];
        let answers = answers.into_iter().map(|(id, answer)| (id.parse().unwrap(), answer)).collect();
        let misfit = shipped("phq-2").assess(&answers).unwrap_err();
        assert_eq!(
            misfit.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
            ["item.code", "item.type", "item.unknown"]
        );
    }

    #[test]
    fn thresholds_are_inclusive() {
        let phq_9 = |code: i64| {
            let answers: Map<_, _> = (1..=9).map(|id| (id.to_string(), json!(if id < 8 { code } else { 0 }))).collect();
            fired(&outcome("phq-9", Json::Object(answers))).join(",")
        };
        assert_eq!(phq_9(3), "threshold");
        assert_eq!(phq_9(2), "");
        assert_eq!(fired(&outcome("phq-2", json!({"1": 2, "2": 1}))), ["threshold"]);
        assert!(fired(&outcome("phq-2", json!({"1": 1, "2": 1}))).is_empty());
    }
}
