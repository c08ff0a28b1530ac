//! Checking a definition and resolving its names, so that scoring has nothing left to look up or to doubt.

mod operations;
mod rules;
pub(crate) mod texts;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use rust_decimal::Decimal;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use self::operations::{Lists, MOST_DECIMALS, Part, values_of};
use crate::bounds::{self, Schema};
use crate::definition::{Against, Code, Definition, Direction, Item, ItemKind, Operation, Prorate, ScoreDefinition};
use crate::exact::{self, Exact};
use crate::finding::pointer;
use crate::ids::{ItemId, RuleId, ScoreId};
use crate::outcome::{MissingRule, Severity};
use crate::score::Node;

/// How many characters a text may have if its item does not say.
const TEXT_LENGTH: u32 = 1_000;

/// What is wrong with a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DefinitionFault {
    /// The file, where the definition came from one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in the definition: a JSON pointer.
    pub pointer: String,
    /// What, for programs; for example `score.range`.
    pub code: &'static str,
    /// What, for people.
    pub problem: String,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for DefinitionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        write!(f, "{}: {}; {}", if self.pointer.is_empty() { "/" } else { &self.pointer }, self.problem, self.advice)
    }
}

/// A definition with its names resolved.
#[derive(Debug)]
pub(crate) struct Program {
    /// In the order in which they are asked.
    pub(crate) items: Vec<LoadedItem>,
    /// The items' places, ordered by id.
    pub(crate) by_id: Vec<usize>,
    /// In the order in which they are reported.
    pub(crate) scores: Vec<LoadedScore>,
    /// The scores' places in an order in which each comes after those that it uses.
    pub(crate) order: Vec<usize>,
    pub(crate) rules: Vec<LoadedRule>,
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
pub(crate) struct LoadedRule {
    pub(crate) id: RuleId,
    pub(crate) severity: Severity,
    pub(crate) quiet_hours: u32,
    pub(crate) when: LoadedCondition,
}

#[derive(Debug)]
pub(crate) enum LoadedCondition {
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
    from: Option<T>,
    to: Option<T>,
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

/// Reads and checks a definition.
///
/// # Errors
///
/// Everything that is wrong with it; of faults in its form the first only.
pub(crate) fn load(json: &str) -> Result<(Definition, Program, Value), Vec<DefinitionFault>> {
    let (definition, document) = read(json, &bounds::INSTRUMENT)?;
    let checked = check(&definition);
    let beyond = bounds::INSTRUMENT.beyond_bounds(&document, checked.as_ref().err().map_or(&[], Vec::as_slice));
    match checked {
        Ok(program) if beyond.is_empty() => Ok((definition, program, document)),
        Ok(_) => Err(beyond),
        Err(faults) => Err(faults.into_iter().chain(beyond).collect()),
    }
}

/// Checks a definition and resolves its names.
///
/// # Errors
///
/// Everything that is wrong with it.
pub(crate) fn check(definition: &Definition) -> Result<Program, Vec<DefinitionFault>> {
    let mut loader = Loader {
        definition,
        faults: Vec::new(),
        items: BTreeMap::new(),
        items_done: false,
        scores: Vec::new(),
        order: Vec::new(),
        tables_used: BTreeSet::new(),
    };
    let program = loader.program();
    match program {
        Some(program) if loader.faults.is_empty() => Ok(program),
        _ => Err(loader.faults),
    }
}

/// Reads a document in the form that `schema` describes: what it defines, and the document itself.
///
/// # Errors
///
/// The first fault of its form.
pub(crate) fn read<T: DeserializeOwned>(json: &str, schema: &Schema) -> Result<(T, Value), Vec<DefinitionFault>> {
    let fault = |pointer: String, error: &serde_json::Error, advice: String| {
        vec![DefinitionFault { file: None, pointer, code: "form", problem: error.to_string(), advice }]
    };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let definition = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = error.path().iter().fold(String::new(), |parent, segment| match segment {
            Segment::Seq { index } => pointer(&parent, index),
            Segment::Map { key } => pointer(&parent, key),
            // An operation is an enum by its key, which the path has already as that.
            Segment::Enum { .. } | Segment::Unknown => parent,
        });
        fault(place, error.inner(), format!("write it as {} says", schema.name))
    })?;
    let document = serde_json::from_str(json)
        .map_err(|error| fault(String::new(), &error, "keep one JSON object in the file".into()))?;
    Ok((definition, document))
}

struct Loader<'a> {
    definition: &'a Definition,
    faults: Vec<DefinitionFault>,
    /// The items that are known so far: place and values.
    items: BTreeMap<&'a ItemId, (usize, Option<Part>)>,
    items_done: bool,
    scores: Vec<Progress>,
    order: Vec<usize>,
    tables_used: BTreeSet<&'a str>,
}

enum Progress {
    ToDo,
    Doing,
    Failed,
    Done { score: LoadedScore, part: Part },
}

impl<'a> Loader<'a> {
    fn program(&mut self) -> Option<Program> {
        self.check_texts();
        self.check_comparable_to();
        self.check_code_lists();
        self.check_names();
        let items = self.load_items();
        self.items_done = true;
        self.scores = self.definition.scores.iter().map(|_| Progress::ToDo).collect();
        for index in 0..self.definition.scores.len() {
            self.load_score(index);
        }
        self.check_tables();
        let rules = self.load_rules();
        let scores = std::mem::take(&mut self.scores)
            .into_iter()
            .map(|progress| match progress {
                Progress::Done { score, .. } => Some(score),
                _ => None,
            })
            .collect::<Option<Vec<_>>>()?;
        let mut by_id: Vec<usize> = (0..items.len()).collect();
        by_id.sort_by(|a, b| items[*a].id.cmp(&items[*b].id));
        Some(Program { items, by_id, scores, order: std::mem::take(&mut self.order), rules })
    }

    fn fault(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        problem: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.faults.push(DefinitionFault {
            file: None,
            pointer: pointer.into(),
            code,
            problem: problem.into(),
            advice: advice.into(),
        });
    }

    fn check_comparable_to(&mut self) {
        let Definition { version, comparable_to, .. } = self.definition;
        if comparable_to.as_ref().is_some_and(|earlier| earlier >= version) {
            self.fault(
                "/comparableTo",
                "version.comparable",
                "a version's scores can only continue the course of an earlier version",
                "name the earlier version that began the course, or leave it out",
            );
        }
    }

    fn load_items(&mut self) -> Vec<LoadedItem> {
        let definition = self.definition;
        let mut loaded = Vec::new();
        if definition.items.is_empty() {
            self.fault("/items", "item.none", "there are no items", "add at least one");
        }
        for (index, item) in definition.items.iter().enumerate() {
            let at = format!("/items/{index}");
            let mut condition = |condition: &'a Option<Operation>, name| {
                let lists = &mut Lists { rule: None, applied: 0 };
                let (node, _) = self.operation(condition.as_ref()?, &pointer(&at, name), lists)?;
                Some(node)
            };
            let enable_when = condition(&item.enable_when, "enableWhen");
            let needed_when = condition(&item.needed_when, "neededWhen");
            let kind = self.item_kind(item, &at);
            let hideable = item.enable_when.is_some() || item.needed_when.is_some() || !item.not_needed_for.is_empty();
            let part = kind.as_ref().and_then(|kind| values_of(kind, hideable));
            if self.items.insert(&item.id, (index, part)).is_some() {
                self.fault(
                    pointer(&at, "id"),
                    "item.duplicate",
                    format!("item {} is defined before", item.id),
                    "give each item an id of its own",
                );
            }
            if let Some(kind) = kind {
                loaded.push(LoadedItem { id: item.id.clone(), kind, enable_when, needed_when, not_needed: false });
            }
        }
        loaded
    }

    fn item_kind(&mut self, item: &Item, at: &str) -> Option<LoadedKind> {
        let (codes, numbers) = match item.kind {
            ItemKind::Code | ItemKind::Codes => (true, false),
            ItemKind::Integer | ItemKind::Decimal => (false, true),
            ItemKind::Boolean | ItemKind::Text => (false, false),
        };
        for (name, given, allowed) in [
            ("codes", item.codes.is_some(), codes),
            ("min", item.min.is_some(), numbers),
            ("max", item.max.is_some(), numbers),
            ("decimals", item.decimals.is_some(), item.kind == ItemKind::Decimal),
            ("maxLength", item.max_length.is_some(), item.kind == ItemKind::Text),
        ] {
            if given && !allowed {
                self.fault(
                    pointer(at, name),
                    "item.attribute",
                    format!("`{name}` says nothing for an item of this type"),
                    "remove it, or change the type",
                );
            }
        }
        match item.kind {
            ItemKind::Code | ItemKind::Codes => {
                let list = item.codes.as_ref().and_then(|name| self.definition.code_lists.get(name));
                let Some(list) = list else {
                    self.fault(
                        pointer(at, "codes"),
                        "item.codes",
                        "the item's choices are not there",
                        "set `codes` to the name of a list in `codeLists`",
                    );
                    return None;
                };
                Some(match item.kind {
                    ItemKind::Code => LoadedKind::Code(list.iter().map(|code| (code.code, counts_as(code))).collect()),
                    _ => LoadedKind::Codes(list.iter().map(|code| code.code).collect()),
                })
            }
            ItemKind::Integer | ItemKind::Decimal => {
                let decimals = item.decimals.unwrap_or(1);
                let ends = item.min.zip(item.max).filter(|(min, max)| min < max);
                let Some((min, max)) = ends else {
                    self.fault(
                        at,
                        "item.range",
                        "the range of the number is not there or is empty",
                        "set `min` and a greater `max`",
                    );
                    return None;
                };
                self.number(min, &pointer(at, "min"));
                self.number(max, &pointer(at, "max"));
                if !(1..=MOST_DECIMALS).contains(&decimals) {
                    self.fault(
                        pointer(at, "decimals"),
                        "number.decimals",
                        "the number of decimals is out of range",
                        format!("set it from 1 to {MOST_DECIMALS}, or use the type integer"),
                    );
                }
                Some(match item.kind {
                    ItemKind::Integer => LoadedKind::Integer { min: min.0, max: max.0 },
                    _ => LoadedKind::Decimal { min: min.0, max: max.0, decimals },
                })
            }
            ItemKind::Boolean => Some(LoadedKind::Boolean),
            ItemKind::Text => Some(LoadedKind::Text { max_length: item.max_length.unwrap_or(TEXT_LENGTH) }),
        }
    }

    fn load_score(&mut self, index: usize) -> Option<Part> {
        match self.scores.get(index)? {
            Progress::Done { part, .. } => return Some(*part),
            Progress::Failed => return None,
            Progress::Doing => {
                self.scores[index] = Progress::Failed;
                self.fault(
                    format!("/scores/{index}/value"),
                    "score.cycle",
                    "the score is computed from itself",
                    "break the circle of scores",
                );
                return None;
            }
            Progress::ToDo => self.scores[index] = Progress::Doing,
        }
        let at = format!("/scores/{index}");
        let definition = &self.definition.scores[index];
        if self.definition.scores[..index].iter().any(|before| before.id == definition.id) {
            self.fault(
                pointer(&at, "id"),
                "score.duplicate",
                format!("score {} is defined before", definition.id),
                "give each score an id of its own",
            );
        }
        let loaded = self.score(definition, &at);
        let part = loaded.as_ref().map(|(_, part)| *part);
        self.scores[index] = match loaded {
            Some((score, part)) => {
                self.order.push(index);
                Progress::Done { score, part }
            }
            None => Progress::Failed,
        };
        part
    }

    fn score(&mut self, definition: &'a ScoreDefinition, at: &str) -> Option<(LoadedScore, Part)> {
        let mut lists = Lists { rule: definition.missing.as_ref(), applied: 0 };
        let value = self.operation(&definition.value, &pointer(at, "value"), &mut lists);
        if definition.missing.is_some() && value.is_some() && lists.applied != 1 {
            self.fault(
                pointer(at, "missing"),
                "missing.list",
                format!("the rule is for one sum or mean, and the score has {}", lists.applied),
                "compute the lists in scores of their own",
            );
        }
        if definition.decimals > MOST_DECIMALS {
            self.fault(
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

    fn check_range(&mut self, definition: &ScoreDefinition, part: Part, at: &str) {
        let rounded = |number| exact::round_half_up(number, definition.decimals);
        let Some((low, high)) = rounded(part.low).zip(rounded(part.high)) else {
            return self.too_large(&pointer(at, "value"));
        };
        if (definition.range.0.0, definition.range.1.0) != (low, high) {
            self.fault(
                pointer(at, "range"),
                "score.range",
                format!("the score's values are from {low} to {high}"),
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
                self.fault(
                    pointer(&at, "id"),
                    "band.name",
                    "the band's name is empty or was used before",
                    "give each band a name of its own",
                );
            }
            if band.from > band.to || band.to.0 > high || band.from.0 < low {
                self.fault(
                    &at,
                    "band.range",
                    format!("the band is empty or not within {low} to {high}"),
                    "set `from` and `to` within the score's range, the smaller first",
                );
            }
            match band.from.0.cmp(&next) {
                Ordering::Less => self.fault(
                    pointer(&at, "from"),
                    "band.overlap",
                    format!("the band begins at {}, before {next}", band.from),
                    "let each band begin after the one before",
                ),
                Ordering::Greater => self.fault(
                    pointer(&at, "from"),
                    "band.hole",
                    format!("the band begins at {}, and {next} is in no band", band.from),
                    "let each band begin where the one before ends",
                ),
                Ordering::Equal => {}
            }
            next = band.to.0.saturating_add(step);
        }
        if !definition.bands.is_empty() && next <= high {
            self.fault(
                pointer(at, "bands"),
                "band.hole",
                format!("{next} and above is in no band"),
                "let the last band end where the score's range does",
            );
        }
    }

    fn score_index(&mut self, id: &ScoreId, at: &str, code: &'static str) -> Option<usize> {
        let index = self.definition.scores.iter().position(|score| score.id == *id);
        if index.is_none() {
            self.fault(at, code, format!("there is no score {id}"), "name a score of `scores`");
        }
        index
    }
}

fn counts_as(code: &Code) -> CountsAs {
    match code {
        Code { counts_as_not_asked: true, .. } => CountsAs::NotAsked,
        Code { counts_as_missing: true, .. } => CountsAs::Missing,
        _ => CountsAs::Number,
    }
}
