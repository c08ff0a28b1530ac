//! An instrument: checks answers, scores them, and tells which alert rules fire.

use std::fmt::Write as _;

use rust_decimal::Decimal;
use serde_json::{Map, Value as Json};
use sha2::{Digest, Sha256};

use crate::answers::{Answer, Answers};
use crate::definition::{Definition, Texts};
use crate::exact::{self, Exact};
use crate::finding::{Finding, pointer};
use crate::ids::{InstrumentId, InstrumentVersion};
pub use crate::load::DefinitionFault;
use crate::load::{self, LoadedCondition, LoadedItem, LoadedKind, LoadedRule, LoadedScore, Program};
use crate::outcome;
pub use crate::outcome::{FiredRule, MissingApplied, MissingRule, NotEvaluated, NotScored, Outcome, Score, Severity};
use crate::score::{Needed, Node, Partly, Value, Values};

/// A definition that was checked. Immutable; the definition's content hash identifies it.
#[derive(Debug)]
pub struct Instrument {
    definition: Definition,
    program: Program,
    hash: String,
}

/// Stored answers that do not fit the definition that is to score them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of the answers do not fit {instrument} {version}, first {}", findings.len(), first(findings))]
pub struct MisfitAnswers {
    /// The instrument.
    pub instrument: InstrumentId,
    /// Its version.
    pub version: InstrumentVersion,
    /// What does not fit, with pointers relative to the answers.
    pub findings: Vec<Finding>,
}

impl Instrument {
    /// Reads and checks a definition.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each fault with its place and what to do.
    pub fn parse(json: &str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, program) = load::load(json)?;
        Ok(Self { definition, program, hash: content_hash(json) })
    }

    /// The instrument's id, for example `phq-9`.
    pub fn id(&self) -> &InstrumentId {
        &self.definition.id
    }

    /// The version of the definition.
    pub fn version(&self) -> &InstrumentVersion {
        &self.definition.version
    }

    /// The SHA-256, in hexadecimal, of the definition's canonical form: its JSON with keys sorted and no white space.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The instrument's name, by language.
    pub fn title(&self) -> &Texts {
        &self.definition.title
    }

    /// The definition as it is written.
    pub fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Reads the answers of a submission: item id to code, number, boolean, string, or list of codes. `null` is no answer.
    ///
    /// # Errors
    ///
    /// Everything that does not fit, with pointers relative to the answers (`/9`).
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
                Err(misfit) => findings.push(self.finding(id, &misfit)),
            }
        }
        if findings.is_empty() {
            findings = self.place(&read).map(|_| ()).err().unwrap_or_default();
        }
        if findings.is_empty() { Ok(read) } else { Err(findings) }
    }

    /// Scores answers and decides the alert rules.
    ///
    /// # Errors
    ///
    /// The answers do not fit the definition: an item that it does not have, a wrong type, a value out of range, an item
    /// that is not asked.
    pub fn assess(&self, answers: &Answers) -> Result<Outcome, MisfitAnswers> {
        let items = self.place(answers).map_err(|findings| MisfitAnswers {
            instrument: self.id().clone(),
            version: self.version().clone(),
            findings,
        })?;
        Ok(self.outcome(&items))
    }

    /// The values of all items by place.
    fn place(&self, answers: &Answers) -> Result<Vec<Value>, Vec<Finding>> {
        let program = &self.program;
        let mut items = vec![Value::Missing; program.items.len()];
        let mut present = vec![false; program.items.len()];
        let mut findings = Vec::new();
        // Both are ordered by id, so one walk finds all.
        let mut places = program.by_id.iter().copied().peekable();
        for (id, answer) in answers.iter() {
            while places.next_if(|place| program.items[*place].id < *id).is_some() {}
            let fits = match places.next_if(|place| program.items[*place].id == *id) {
                None => Err(Misfit::Unknown),
                Some(place) => {
                    present[place] = true;
                    fit(&program.items[place], answer).map(|value| items[place] = value)
                }
            };
            if let Err(misfit) = fits {
                findings.push(self.finding(id.as_str(), &misfit));
            }
        }
        for (place, item) in program.items.iter().enumerate() {
            let Some(enable_when) = &item.enable_when else { continue };
            if !enable_when.value(&Values { items: &items, scores: &[] }, &mut None).is_true() {
                items[place] = Value::Hidden;
                if present[place] {
                    findings.push(self.finding(item.id.as_str(), &Misfit::Hidden));
                }
            }
        }
        if findings.is_empty() { Ok(items) } else { Err(findings) }
    }

    fn outcome(&self, items: &[Value]) -> Outcome {
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
            match values[place] {
                Value::Known(value) => match exact::round_half_up(value, score.decimals) {
                    Some(value) => {
                        reported.push(Some(outcome.scores.len()));
                        outcome.scores.push(score.report(value, partly[place]));
                        continue;
                    }
                    None => outcome.not_scored.push(score.without("the number is too large".into())),
                },
                Value::Missing => {
                    let reason = self.reason(score, items, &values);
                    outcome.not_scored.push(score.without(reason));
                }
                Value::Hidden => outcome.not_scored.push(score.without("none of its items is asked".into())),
                Value::Overflow => outcome.not_scored.push(score.without("the number is too large".into())),
            }
            reported.push(None);
        }
        for rule in &program.rules {
            let score = |place: usize| reported[place].map(|place| &outcome.scores[place]);
            match decide(rule, items, score) {
                Some(true) => outcome.alerts.push(FiredRule {
                    rule: rule.definition.id.clone(),
                    severity: rule.definition.severity,
                    quiet_hours: rule.definition.quiet_hours,
                }),
                Some(false) => {}
                None => outcome.not_evaluated.push(NotEvaluated {
                    rule: rule.definition.id.clone(),
                    reason: "what came before is not known".into(),
                }),
            }
        }
        outcome
    }

    /// Why a score is missing, by item and score ids.
    fn reason(&self, score: &LoadedScore, items: &[Value], scores: &[Value]) -> String {
        let mut parts = Parts::default();
        parts.collect(&score.value);
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
        let mut reason = String::new();
        match unanswered.as_slice() {
            [] => {}
            [one] => _ = write!(reason, "item {one} is not answered"),
            several => _ = write!(reason, "items {} are not answered", several.join(", ")),
        }
        if !without.is_empty() {
            let separator = if reason.is_empty() { "" } else { ", " };
            let (noun, verb) = if without.len() == 1 { ("score", "is") } else { ("scores", "are") };
            _ = write!(reason, "{separator}{noun} {} {verb} not there", without.join(", "));
        }
        let of = parts.items.len() + parts.scores.len();
        match parts.needed {
            Some(needed) => _ = write!(reason, "; at least {needed} of {of} are needed"),
            None if of == 1 => {}
            None => _ = write!(reason, "; all {of} are needed"),
        }
        reason
    }

    fn item(&self, id: &str) -> Option<&LoadedItem> {
        let items = &self.program.items;
        let place = self.program.by_id.binary_search_by(|place| items[*place].id.as_str().cmp(id)).ok()?;
        Some(&items[self.program.by_id[place]])
    }

    fn finding(&self, id: &str, misfit: &Misfit) -> Finding {
        let (code, detail) = match misfit {
            Misfit::Unknown => ("item.unknown", format!("{} {} has no such item", self.id(), self.version())),
            Misfit::Type(expected) => ("item.type", format!("must be {expected}")),
            Misfit::Code(allowed) => ("item.code", format!("must be one of {allowed}")),
            Misfit::Repeated => ("item.repeated", "each code may be given once".to_owned()),
            Misfit::Range(min, max) => ("item.range", format!("must be from {min} to {max}")),
            Misfit::Decimals(decimals) => ("item.decimals", format!("must have at most {decimals} decimals")),
            Misfit::Length(most) => ("item.length", format!("must have at most {most} characters")),
            Misfit::Hidden => ("item.hidden", "must not be answered: the other answers leave it out".to_owned()),
        };
        Finding { pointer: pointer("", id), code, detail }
    }
}

/// Why an answer does not fit; what is allowed, not what was sent.
enum Misfit {
    Unknown,
    Type(&'static str),
    Code(String),
    Repeated,
    Range(Decimal, Decimal),
    Decimals(u32),
    Length(u32),
    Hidden,
}

/// Reads an answer from JSON as its item's type says.
fn answer(item: &LoadedItem, json: &Json) -> Result<Answer, Misfit> {
    let misfit = || Misfit::Type(item.kind.expected());
    match (&item.kind, json) {
        (LoadedKind::Code(_) | LoadedKind::Integer { .. } | LoadedKind::Decimal { .. }, Json::Number(number)) => {
            // A number of more digits than a decimal holds is in no range.
            Ok(Answer::Number(outcome::decimal(number).unwrap_or(Decimal::MAX)))
        }
        (LoadedKind::Boolean, Json::Bool(yes)) => Ok(Answer::Boolean(*yes)),
        // Yes and no are as often coded 1 and 0.
        (LoadedKind::Boolean, Json::Number(number)) => match number.as_u64() {
            Some(code @ (0 | 1)) => Ok(Answer::Boolean(code == 1)),
            _ => Err(misfit()),
        },
        (LoadedKind::Text { .. }, Json::String(text)) => Ok(Answer::Text(text.clone())),
        (LoadedKind::Codes(_), Json::Array(codes)) => {
            codes.iter().map(Json::as_i64).collect::<Option<Vec<_>>>().map(Answer::Codes).ok_or_else(misfit)
        }
        _ => Err(misfit()),
    }
}

/// Whether an answer is one that its item allows, and its value in scores.
fn fit(item: &LoadedItem, answer: &Answer) -> Result<Value, Misfit> {
    let number = |number: Decimal, (min, max): (Decimal, Decimal), decimals: u32| {
        if number < min || number > max {
            return Err(Misfit::Range(min, max));
        }
        if number.normalize().scale() > decimals {
            return Err(if decimals == 0 { Misfit::Type(item.kind.expected()) } else { Misfit::Decimals(decimals) });
        }
        Ok(exact::from_decimal(number).map_or(Value::Overflow, Value::Known))
    };
    match (&item.kind, answer) {
        (LoadedKind::Code(codes), Answer::Number(number)) => {
            let code = exact::from_decimal(*number).filter(Exact::is_integer).map(|code| *code.numer());
            match codes.iter().find(|(allowed, _)| Some(*allowed) == code) {
                Some((_, true)) => Ok(Value::Missing),
                Some((code, false)) => Ok(Value::Known(Exact::from_integer(*code))),
                None => Err(Misfit::Code(listed(codes.iter().map(|(code, _)| code)))),
            }
        }
        (LoadedKind::Codes(allowed), Answer::Codes(codes)) => {
            if !codes.iter().all(|code| allowed.contains(code)) {
                return Err(Misfit::Code(listed(allowed.iter())));
            }
            if codes.iter().enumerate().any(|(place, code)| codes[..place].contains(code)) {
                return Err(Misfit::Repeated);
            }
            Ok(Value::Missing)
        }
        (LoadedKind::Integer { min, max }, Answer::Number(value)) => number(*value, (*min, *max), 0),
        (LoadedKind::Decimal { min, max, decimals }, Answer::Number(value)) => number(*value, (*min, *max), *decimals),
        (LoadedKind::Boolean, Answer::Boolean(yes)) => Ok(Value::Known(Exact::from_integer(i64::from(*yes)))),
        (LoadedKind::Text { max_length }, Answer::Text(text)) => {
            let fits = text.chars().count() <= usize::try_from(*max_length).unwrap_or(usize::MAX);
            if fits { Ok(Value::Missing) } else { Err(Misfit::Length(*max_length)) }
        }
        (kind, _) => Err(Misfit::Type(kind.expected())),
    }
}

impl LoadedKind {
    fn expected(&self) -> &'static str {
        match self {
            LoadedKind::Code(_) => "a code (a whole number)",
            LoadedKind::Codes(_) => "a list of codes (whole numbers)",
            LoadedKind::Integer { .. } => "a whole number",
            LoadedKind::Decimal { .. } => "a number",
            LoadedKind::Boolean => "true or false",
            LoadedKind::Text { .. } => "a string",
        }
    }
}

impl LoadedScore {
    fn report(&self, value: Decimal, partly: Option<Partly>) -> Score {
        let band = self.bands.iter().find(|(from, to, _)| *from <= value && value <= *to);
        Score {
            id: self.id.clone(),
            value,
            range: self.range,
            band: band.map(|(_, _, band)| band.clone()),
            missing: self.missing.zip(partly).map(|(rule, Partly { answered, of })| MissingApplied {
                rule,
                answered,
                of,
            }),
        }
    }

    fn without(&self, reason: String) -> NotScored {
        NotScored { id: self.id.clone(), reason }
    }
}

/// Whether a rule fires; `None` where that depends on what is not known.
fn decide<'a>(rule: &LoadedRule, items: &[Value], score: impl Fn(usize) -> Option<&'a Score>) -> Option<bool> {
    Some(match &rule.when {
        LoadedCondition::Item { item, from, to } => {
            matches!(items[*item], Value::Known(value) if is_within(value, *from, *to))
        }
        LoadedCondition::Score { score: place, from, to } => {
            score(*place).is_some_and(|score| is_within(score.value, *from, *to))
        }
        LoadedCondition::Band { score: place, bands } => {
            score(*place).and_then(|score| score.band.as_ref()).is_some_and(|band| bands.contains(band))
        }
        LoadedCondition::Incomplete { score: place } => score(*place).is_none(),
        LoadedCondition::Past => return None,
    })
}

fn is_within<T: PartialOrd>(value: T, from: Option<T>, to: Option<T>) -> bool {
    from.is_none_or(|from| value >= from) && to.is_none_or(|to| value <= to)
}

/// The items and scores that a computation uses, and how many of them it needs if not all.
#[derive(Default)]
struct Parts {
    items: Vec<usize>,
    scores: Vec<usize>,
    needed: Option<usize>,
}

impl Parts {
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
            Node::CountAtLeast(parts, _)
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

fn listed<'a>(codes: impl Iterator<Item = &'a i64>) -> String {
    codes.map(i64::to_string).collect::<Vec<_>>().join(", ")
}

fn first(findings: &[Finding]) -> String {
    findings.first().map(Finding::to_string).unwrap_or_default()
}

/// The SHA-256 of the canonical form. `json` was parsed before, so that reading it again cannot fail.
fn content_hash(json: &str) -> String {
    let document: Json = serde_json::from_str(json).unwrap_or_default();
    let mut canonical = String::new();
    write_canonical(&document, &mut canonical);
    let mut hash = String::with_capacity(64);
    for byte in Sha256::digest(canonical) {
        _ = write!(hash, "{byte:02x}");
    }
    hash
}

/// Writes JSON with keys sorted and no white space, whatever order the parser kept.
fn write_canonical(json: &Json, out: &mut String) {
    match json {
        Json::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (place, (key, value)) in fields.into_iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                _ = write!(out, "{}:", Json::from(key.as_str()));
                write_canonical(value, out);
            }
            out.push('}');
        }
        Json::Array(values) => {
            out.push('[');
            for (place, value) in values.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                write_canonical(value, out);
            }
            out.push(']');
        }
        scalar => _ = write!(out, "{scalar}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::catalog::Catalog;

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
    fn complete_answers_give_the_score_its_range_and_its_band() {
        let outcome =
            outcome("phq-9", json!({"1": 1, "2": 0, "3": 1, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 0, "10": 0}));
        assert_eq!(
            serde_json::to_value(&outcome).unwrap(),
            json!({"scores": [{"id": "total", "value": 5, "range": [0, 27], "band": "mild"}], "notScored": []})
        );
    }

    #[test]
    fn incomplete_answers_give_a_reason_and_the_safety_rule_fires_all_the_same() {
        let outcome = outcome("phq-9", json!({"1": 3, "2": null, "4": 0, "5": 0, "6": 1, "7": 2, "8": 0, "9": 1}));
        assert!(outcome.scores.is_empty());
        assert_eq!(outcome.not_scored[0].reason, "items 2, 3 are not answered; all 9 are needed");
        assert_eq!(fired(&outcome), ["safety"]);
    }

    #[test]
    fn every_finding_is_told_with_its_place_and_without_the_value() {
        let findings =
            read(shipped("phq-9"), json!({"1": 77, "2": "secret", "3": 1.5, "x/y": 1, "4": [1], "5": 1e300, "6": 2}))
                .unwrap_err();
        let told: Vec<_> = findings.iter().map(|finding| (finding.pointer.as_str(), finding.code)).collect();
        assert_eq!(
            told,
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
    fn stored_answers_that_do_not_fit_are_told_and_not_scored() {
        let answers = [("1", Answer::Number(7.into())), ("x", Answer::Boolean(true)), ("2", Answer::Text("a".into()))];
        let answers = answers.into_iter().map(|(id, answer)| (id.parse().unwrap(), answer)).collect();
        let misfit = shipped("phq-2").assess(&answers).unwrap_err();
        assert_eq!(
            misfit.findings.iter().map(|finding| finding.code).collect::<Vec<_>>(),
            ["item.code", "item.type", "item.unknown"]
        );
    }

    #[test]
    fn thresholds_alert_from_their_first_value_on() {
        let phq_9 = |sevens: i64| {
            let answers: Map<_, _> =
                (1..=9).map(|id| (id.to_string(), json!(if id < 8 { sevens } else { 0 }))).collect();
            fired(&outcome("phq-9", Json::Object(answers))).join(",")
        };
        assert_eq!(phq_9(3), "threshold");
        assert_eq!(phq_9(2), "");
        assert_eq!(fired(&outcome("phq-2", json!({"1": 2, "2": 1}))), ["threshold"]);
        assert!(fired(&outcome("phq-2", json!({"1": 1, "2": 1}))).is_empty());
    }

    #[test]
    fn the_hash_is_of_the_content_and_not_of_its_layout() {
        let hash = content_hash(r#"{"a": [1, 2.5], "b": {"c": "ä", "d": null}}"#);
        assert_eq!(hash, content_hash("{\"b\":{\"d\":null,\"c\":\"\\u00e4\"},\n\"a\":[1,2.5]}"));
        assert_ne!(hash, content_hash(r#"{"a": [2.5, 1], "b": {"c": "ä", "d": null}}"#));
        assert_eq!(hash.len(), 64);
    }
}
