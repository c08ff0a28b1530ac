//! Checking a definition and resolving its names, so that scoring has nothing left to look up or to doubt.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use num_traits::{CheckedAdd, CheckedDiv, CheckedMul, CheckedSub, Zero};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_path_to_error::Segment;

use crate::definition::{
    Against, Apply, Condition, Consecutive, Definition, Direction, Item, ItemKind, Linear, Lookup, Missing, Number,
    Operation, Prorate, Recode, RuleDefinition, ScoreDefinition, TextLicence, Texts, Threshold,
};
use crate::exact::{self, Exact};
use crate::finding::pointer;
use crate::ids::{ItemId, RuleId, ScoreId};
use crate::outcome::{MissingRule, Severity};
use crate::score::{Needed, Node};

/// Numbers in a definition, and answers to numeric items, stay below this, so that exact arithmetic cannot overflow.
const GREATEST_NUMBER: i64 = 1_000_000;
/// Numbers in a definition have at most so many decimals, for the same reason.
const MOST_DECIMALS: u32 = 4;
/// How many values a recode or a lookup may be checked for.
const LONGEST_TABLE: i64 = 1_000;
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
}

#[derive(Debug)]
pub(crate) enum LoadedKind {
    /// The codes, and whether each counts as missing.
    Code(Vec<(i64, bool)>),
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
pub(crate) fn load(json: &str) -> Result<(Definition, Program), Vec<DefinitionFault>> {
    let definition = read(json).map_err(|fault| vec![fault])?;
    let program = check(&definition)?;
    Ok((definition, program))
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
    };
    let program = loader.program();
    match program {
        Some(program) if loader.faults.is_empty() => Ok(program),
        _ => Err(loader.faults),
    }
}

fn read(json: &str) -> Result<Definition, DefinitionFault> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let definition = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| DefinitionFault {
        file: None,
        pointer: error.path().iter().fold(String::new(), |parent, segment| match segment {
            Segment::Seq { index } => pointer(&parent, index),
            Segment::Map { key } => pointer(&parent, key),
            // An operation is an enum by its key, which the path has already as that.
            Segment::Enum { .. } | Segment::Unknown => parent,
        }),
        code: "form",
        problem: error.inner().to_string(),
        advice: "write it as instrument.schema.json says".into(),
    })?;
    deserializer.end().map_err(|error| DefinitionFault {
        file: None,
        pointer: String::new(),
        code: "form",
        problem: error.to_string(),
        advice: "keep one JSON object in the file".into(),
    })?;
    Ok(definition)
}

struct Loader<'a> {
    definition: &'a Definition,
    faults: Vec<DefinitionFault>,
    /// The items that are known so far: place and values.
    items: BTreeMap<&'a ItemId, (usize, Option<Part>)>,
    items_done: bool,
    scores: Vec<Progress>,
    order: Vec<usize>,
}

type Pair<T> = Box<(T, T)>;

enum Progress {
    ToDo,
    Doing,
    Failed,
    Done { score: LoadedScore, part: Part },
}

/// What values an operation can have.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    low: Exact,
    high: Exact,
    /// Whether all of them are whole numbers.
    whole: bool,
    /// Whether it may be nothing because it is not asked.
    hideable: bool,
}

/// The missing-data rule of the score that is being loaded, and the lists that it applied to.
struct Lists<'a> {
    rule: Option<&'a Missing>,
    applied: usize,
}

impl<'a> Loader<'a> {
    fn program(&mut self) -> Option<Program> {
        self.check_texts();
        self.check_code_lists();
        let items = self.load_items();
        self.items_done = true;
        self.scores = self.definition.scores.iter().map(|_| Progress::ToDo).collect();
        for index in 0..self.definition.scores.len() {
            self.load_score(index);
        }
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

    /// Every text is there in the same languages, and there are texts only where the licence has them.
    fn check_texts(&mut self) {
        let definition = self.definition;
        let included = definition.licence.texts == TextLicence::Included;
        if definition.sources.is_empty() {
            self.fault("/sources", "source.none", "the scoring has no source", "name the publication that it follows");
        }
        self.check_languages(&definition.title, "/title");
        let mut texts = vec![("/instruction".to_owned(), definition.instruction.as_ref(), false)];
        for (index, item) in definition.items.iter().enumerate() {
            texts.push((format!("/items/{index}/preface"), item.preface.as_ref(), false));
            texts.push((format!("/items/{index}/text"), item.text.as_ref(), included));
        }
        for (name, codes) in &definition.code_lists {
            for (index, code) in codes.iter().enumerate() {
                let at = format!("{}/{index}/text", pointer("/codeLists", name));
                texts.push((at, code.text.as_ref(), included));
            }
        }
        for (at, text, needed) in texts {
            match text {
                Some(_) if !included => self.fault(
                    at,
                    "text.licence",
                    "the licence says that texts are not included, and this is one",
                    "remove the text, or set `licence.texts` to `included` if its owner permits",
                ),
                Some(text) => self.check_languages(text, &at),
                None if needed => {
                    self.fault(at, "text.none", "the text is not there", "write what the patient reads");
                }
                None => {}
            }
        }
        let titles = definition.scores.iter().enumerate().flat_map(|(index, score)| {
            let bands = score.bands.iter().enumerate();
            let bands = bands.map(move |(band, b)| (format!("/scores/{index}/bands/{band}/title"), b.title.as_ref()));
            std::iter::once((format!("/scores/{index}/title"), score.title.as_ref())).chain(bands)
        });
        for (at, title) in titles {
            if let Some(title) = title {
                self.check_languages(title, &at);
            }
        }
    }

    fn check_languages(&mut self, texts: &Texts, at: &str) {
        let expected: Vec<_> = self.definition.title.keys().map(String::as_str).collect();
        if texts.keys().ne(expected.iter().copied()) {
            let found = texts.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            self.fault(
                at,
                "text.language",
                format!("the text is there in [{found}] and the title in [{}]", expected.join(", ")),
                "give every text in the same languages",
            );
        }
        for (language, text) in texts {
            if text.trim().is_empty() {
                self.fault(pointer(at, language), "text.none", "the text is empty", "write what the patient reads");
            }
        }
        if texts.is_empty() || !texts.keys().all(|tag| is_language_tag(tag)) {
            self.fault(
                at,
                "text.language",
                "a text needs languages by BCP 47 tag",
                "write for example {\"en\": \"…\", \"zh-Hans\": \"…\"}",
            );
        }
    }

    fn check_code_lists(&mut self) {
        let definition = self.definition;
        for (name, codes) in &definition.code_lists {
            let at = pointer("/codeLists", name);
            if codes.is_empty() {
                self.fault(&at, "codes.none", "the list has no codes", "list the choices");
            }
            if !definition.items.iter().any(|item| item.codes.as_ref() == Some(name)) {
                self.fault(&at, "codes.unused", "no item uses the list", "remove it, or name it in an item");
            }
            for (index, code) in codes.iter().enumerate() {
                let at = format!("{at}/{index}/code");
                if codes[..index].iter().any(|before| before.code == code.code) {
                    self.fault(
                        &at,
                        "codes.duplicate",
                        format!("the code {} is in the list before", code.code),
                        "give each choice a code of its own",
                    );
                }
                self.number(Number(code.code.into()), &at);
            }
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
            let enable_when = item.enable_when.as_ref().and_then(|operation| {
                self.operation(operation, &pointer(&at, "enableWhen"), &mut Lists { rule: None, applied: 0 })
            });
            let kind = self.item_kind(item, &at);
            let part = kind.as_ref().and_then(|kind| values_of(kind, item.enable_when.is_some()));
            if self.items.insert(&item.id, (index, part)).is_some() {
                self.fault(
                    pointer(&at, "id"),
                    "item.duplicate",
                    format!("item {} is defined before", item.id),
                    "give each item an id of its own",
                );
            }
            if let Some(kind) = kind {
                loaded.push(LoadedItem { id: item.id.clone(), kind, enable_when: enable_when.map(|(node, _)| node) });
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
                    ItemKind::Code => {
                        LoadedKind::Code(list.iter().map(|code| (code.code, code.counts_as_missing)).collect())
                    }
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

    fn operation(&mut self, operation: &'a Operation, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Part)> {
        match operation {
            Operation::Item(id) => match self.items.get(id) {
                Some((index, Some(part))) => Some((Node::Item(*index), *part)),
                Some((_, None)) => {
                    self.fault(
                        at,
                        "operation.type",
                        format!("item {id} is not a number"),
                        "compute with items of type code, integer, decimal or boolean",
                    );
                    None
                }
                None => {
                    self.fault(
                        at,
                        "operation.item",
                        format!("there is no item {id} here"),
                        "name an item of `items`; `enableWhen` may only name items that are asked before",
                    );
                    None
                }
            },
            Operation::Constant(number) => {
                let number = self.number(*number, at)?;
                Some((Node::Constant(number), Part::of(number, number)))
            }
            Operation::Apply(apply) => self.apply(apply, at, lists),
        }
    }

    fn apply(&mut self, apply: &'a Apply, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Part)> {
        let (node, part) = match apply {
            Apply::Score(id) => {
                let at = pointer(at, "score");
                if !self.items_done {
                    self.fault(
                        at,
                        "operation.score",
                        "a score is not known while items are asked",
                        "compute `enableWhen` from items",
                    );
                    return None;
                }
                let index = self.score_index(id, &at, "operation.score")?;
                (Node::Score(index), Some(self.load_score(index)?))
            }
            Apply::Sum(parts) => {
                let at = pointer(at, "sum");
                let (nodes, parts) = self.list(parts, &at, lists)?;
                let needed = self.needed(lists, &parts, true, &at);
                let sum = sum_of(&parts);
                (Node::Sum(nodes, needed), sum.map(|sum| Part { whole: sum.whole && needed == Needed::All, ..sum }))
            }
            Apply::Mean(parts) => {
                let at = pointer(at, "mean");
                let (nodes, parts) = self.list(parts, &at, lists)?;
                let needed = self.needed(lists, &parts, false, &at);
                (Node::Mean(nodes, needed), mean_of(&parts, needed))
            }
            Apply::Linear(linear) => self.linear(linear, &pointer(at, "linear"), lists)?,
            Apply::Reverse(of) => {
                let (of, part) = self.operation(of, &pointer(at, "reverse"), lists)?;
                let ends = part.low.checked_add(&part.high);
                (Node::Linear(Box::new(of), Exact::from_integer(-1), ends.unwrap_or_default()), ends.map(|_| part))
            }
            Apply::Recode(recode) => self.recode(recode, &pointer(at, "recode"), lists)?,
            Apply::Lookup(lookup) => self.lookup(lookup, &pointer(at, "lookup"), lists)?,
            Apply::CountAtLeast(count) => {
                let at = pointer(at, "countAtLeast");
                let least = self.number(count.least, &pointer(&at, "least"));
                let (nodes, parts) = self.list(&count.of, &pointer(&at, "of"), lists)?;
                let least = least?;
                let reachable = i64::try_from(parts.iter().filter(|part| part.high >= least).count());
                let certain = i64::try_from(parts.iter().filter(|part| part.low >= least && !part.hideable).count());
                let ends = certain.ok().zip(reachable.ok());
                let part = ends.map(|(low, high)| Part {
                    hideable: parts.iter().all(|part| part.hideable),
                    ..Part::of(Exact::from_integer(low), Exact::from_integer(high))
                });
                (Node::CountAtLeast(nodes, least), part)
            }
            Apply::Min(parts) => {
                let (nodes, parts) = self.list(parts, &pointer(at, "min"), lists)?;
                (Node::Min(nodes), Some(least_of(&parts)))
            }
            Apply::Max(parts) => {
                let (nodes, parts) = self.list(parts, &pointer(at, "max"), lists)?;
                let mirrored = parts.iter().map(|part| part.mirrored()).collect::<Vec<_>>();
                (Node::Max(nodes), Some(least_of(&mirrored).mirrored()))
            }
            Apply::Difference(pair) => {
                let (nodes, (a, b)) = self.two(pair, &pointer(at, "difference"), lists)?;
                let ends = a.low.checked_sub(&b.high).zip(a.high.checked_sub(&b.low));
                let part = ends.map(|(low, high)| Part {
                    low,
                    high,
                    whole: a.whole && b.whole,
                    hideable: a.hideable || b.hideable,
                });
                (Node::Difference(nodes), part)
            }
            Apply::Round(round) => {
                let at = pointer(at, "round");
                let (of, part) = self.operation(&round.of, &pointer(&at, "of"), lists)?;
                if round.decimals > MOST_DECIMALS {
                    self.fault(
                        pointer(&at, "decimals"),
                        "number.decimals",
                        "the number of decimals is out of range",
                        format!("set it from 0 to {MOST_DECIMALS}"),
                    );
                    return None;
                }
                let rounded = |number| exact::round_half_up(number, round.decimals).and_then(exact::from_decimal);
                let ends = rounded(part.low).zip(rounded(part.high));
                let whole = part.whole || round.decimals == 0;
                (Node::Round(Box::new(of), round.decimals), ends.map(|(low, high)| Part { low, high, whole, ..part }))
            }
            Apply::AtLeast(pair) => {
                (Node::AtLeast(self.compared(pair, &pointer(at, "atLeast"), lists, Exact::ge)?), Some(Part::truth()))
            }
            Apply::AtMost(pair) => {
                (Node::AtMost(self.compared(pair, &pointer(at, "atMost"), lists, Exact::le)?), Some(Part::truth()))
            }
            Apply::Equals(pair) => {
                (Node::Equals(self.compared(pair, &pointer(at, "equals"), lists, Exact::eq)?), Some(Part::truth()))
            }
            Apply::All(parts) => (Node::All(self.list(parts, &pointer(at, "all"), lists)?.0), Some(Part::truth())),
            Apply::Any(parts) => (Node::Any(self.list(parts, &pointer(at, "any"), lists)?.0), Some(Part::truth())),
        };
        if part.is_none() {
            self.too_large(at);
        }
        Some((node, part?))
    }

    fn linear(&mut self, linear: &'a Linear, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<Part>)> {
        let of = self.operation(&linear.of, &pointer(at, "of"), lists);
        let from = self.pair(linear.from, &pointer(at, "from"));
        let to = self.pair(linear.to, &pointer(at, "to"));
        let ((of, part), from, to) = (of?, from?, to?);
        if from.0 == from.1 {
            self.fault(
                pointer(at, "from"),
                "operation.linear",
                "a line needs two different values",
                "give the least and the greatest value",
            );
            return None;
        }
        let line = slope_and_intercept(from, to);
        let (slope, intercept) = line.unwrap_or_default();
        let ends = line.and_then(|line| Some((on_line(part.low, line)?, on_line(part.high, line)?)));
        let part = ends.map(|(a, b)| Part {
            low: a.min(b),
            high: a.max(b),
            whole: part.whole && slope.is_integer() && intercept.is_integer(),
            ..part
        });
        Some((Node::Linear(Box::new(of), slope, intercept), part))
    }

    fn recode(&mut self, recode: &'a Recode, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<Part>)> {
        let of = self.operation(&recode.of, &pointer(at, "of"), lists);
        let table: Vec<_> =
            recode.to.iter().enumerate().map(|(row, pair)| self.pair(*pair, &format!("{at}/to/{row}"))).collect();
        let (of, part) = of?;
        let table = table.into_iter().collect::<Option<Vec<_>>>()?;
        let values = self.whole_values(&recode.of, part, at)?;
        for (row, (from, _)) in table.iter().enumerate() {
            if table[..row].iter().any(|(before, _)| before == from) || !values.contains(from) {
                self.fault(
                    format!("{at}/to/{row}/0"),
                    "operation.recode",
                    format!("the value {from} is recoded before or cannot occur"),
                    "keep one row for each value that can occur",
                );
            }
        }
        if let Some(value) = values.iter().find(|value| !table.iter().any(|(from, _)| from == *value)) {
            self.fault(
                pointer(at, "to"),
                "operation.recode",
                format!("the value {value} is not recoded"),
                "add a row for each value that can occur",
            );
        }
        let part = range_of(table.iter().map(|(_, to)| *to), part.hideable);
        Some((Node::Recode(Box::new(of), table), part))
    }

    fn lookup(&mut self, lookup: &'a Lookup, at: &str, lists: &mut Lists<'a>) -> Option<(Node, Option<Part>)> {
        let of = self.operation(&lookup.of, &pointer(at, "of"), lists);
        let mut table = Vec::new();
        for (row, (from, to, value)) in lookup.table.iter().enumerate() {
            let at = format!("{at}/table/{row}");
            table.push((self.pair((*from, *to), &at), self.number(*value, &pointer(&at, 2))));
        }
        let (of, part) = of?;
        let table = table
            .into_iter()
            .map(|(pair, value)| pair.zip(value).map(|((from, to), value)| (from, to, value)))
            .collect::<Option<Vec<_>>>()?;
        let values = self.whole_values(&lookup.of, part, at)?;
        for (row, (from, to, _)) in table.iter().enumerate() {
            let before = row.checked_sub(1).and_then(|before| table.get(before));
            if from > to || before.is_some_and(|(_, before, _)| from <= before) {
                self.fault(
                    format!("{at}/table/{row}"),
                    "operation.lookup",
                    "the row is empty or begins before the one above ends",
                    "keep the rows ascending, each from its least to its greatest value",
                );
            }
        }
        if let Some(value) =
            values.iter().find(|value| !table.iter().any(|(from, to, _)| from <= *value && *value <= to))
        {
            self.fault(
                pointer(at, "table"),
                "operation.lookup",
                format!("the value {value} is in no row"),
                "cover every value that can occur",
            );
        }
        let part = range_of(table.iter().map(|(_, _, value)| *value), part.hideable);
        Some((Node::Lookup(Box::new(of), table), part))
    }

    /// The values that the operand of a table can have; a fault if they are not whole numbers or too many to list.
    fn whole_values(&mut self, of: &Operation, part: Part, at: &str) -> Option<Vec<Exact>> {
        if let Operation::Item(id) = of
            && let Some(item) = self.definition.items.iter().find(|item| item.id == *id)
            && let Some(codes) = item.codes.as_ref().and_then(|name| self.definition.code_lists.get(name))
        {
            let codes = codes.iter().filter(|code| !code.counts_as_missing);
            return Some(codes.map(|code| Exact::from_integer(code.code)).collect());
        }
        let (low, high) = (part.low.to_integer(), part.high.to_integer());
        if !part.whole || high.saturating_sub(low) > LONGEST_TABLE {
            self.fault(
                pointer(at, "of"),
                "operation.table",
                "a table is for whole numbers, and not too many",
                format!("round first; keep the values within a span of {LONGEST_TABLE}"),
            );
            return None;
        }
        Some((low..=high).map(Exact::from_integer).collect())
    }

    /// How many parts of a sum or mean are needed under the score's rule.
    fn needed(&mut self, lists: &mut Lists<'a>, parts: &[Part], sum: bool, at: &str) -> Needed {
        let Some(rule) = lists.rule else { return Needed::All };
        lists.applied += 1;
        if rule.min_answered == 0 || rule.min_answered >= parts.len() {
            self.fault(
                at,
                "missing.count",
                format!("at least {} of {} parts can be no rule", rule.min_answered, parts.len()),
                format!("set `minAnswered` from 1 to {}, or leave `missing` out", parts.len().saturating_sub(1)),
            );
        }
        match (sum, rule.prorate) {
            (true, None) => self.fault(
                at,
                "missing.prorate",
                "the sum of a part of the items would be too low",
                "set `prorate` to `mean`, or use a mean",
            ),
            (false, Some(_)) => self.fault(
                at,
                "missing.prorate",
                "a mean is not prorated: it is taken over what is there",
                "leave `prorate` out",
            ),
            (true, Some(Prorate::Mean))
                if parts.iter().any(|part| (part.low, part.high) != (parts[0].low, parts[0].high)) =>
            {
                self.fault(
                    at,
                    "missing.prorate",
                    "the parts have different ranges, so that the mean of some says nothing of others",
                    "bring the parts to one range first",
                );
            }
            _ => {}
        }
        Needed::AtLeast(rule.min_answered)
    }

    fn list(&mut self, parts: &'a [Operation], at: &str, lists: &mut Lists<'a>) -> Option<(Vec<Node>, Vec<Part>)> {
        if parts.is_empty() {
            self.fault(at, "operation.empty", "there is nothing to compute with", "list at least one part");
            return None;
        }
        let mut loaded = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let at = format!("{at}/{index}");
            if !matches!(part, Operation::Constant(_)) && parts[..index].contains(part) {
                self.fault(&at, "operation.repeated", "the part is in the list before", "list each part once");
            }
            loaded.push(self.operation(part, &at, lists));
        }
        Some(loaded.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip())
    }

    fn two(
        &mut self,
        pair: &'a (Operation, Operation),
        at: &str,
        lists: &mut Lists<'a>,
    ) -> Option<(Pair<Node>, (Part, Part))> {
        let first = self.operation(&pair.0, &format!("{at}/0"), lists);
        let second = self.operation(&pair.1, &format!("{at}/1"), lists);
        let ((first, a), (second, b)) = (first?, second?);
        Some((Box::new((first, second)), (a, b)))
    }

    /// A comparison that can come out both ways.
    fn compared(
        &mut self,
        pair: &'a (Operation, Operation),
        at: &str,
        lists: &mut Lists<'a>,
        holds: impl Fn(&Exact, &Exact) -> bool,
    ) -> Option<Pair<Node>> {
        let (nodes, (a, b)) = self.two(pair, at, lists)?;
        let fixed = b.low == b.high;
        let reaches = [a.low, a.high, b.low.clamp(a.low, a.high)];
        if fixed && !reaches.iter().any(|value| holds(value, &b.low)) {
            self.fault(
                at,
                "operation.never",
                format!("the comparison never holds: the values are from {} to {}", a.low, a.high),
                "compare with a value that can occur",
            );
        }
        Some(nodes)
    }

    fn pair(&mut self, pair: (Number, Number), at: &str) -> Option<(Exact, Exact)> {
        let first = self.number(pair.0, &format!("{at}/0"));
        let second = self.number(pair.1, &format!("{at}/1"));
        first.zip(second)
    }

    fn number(&mut self, number: Number, at: &str) -> Option<Exact> {
        let fits = number.0.abs() <= Decimal::from(GREATEST_NUMBER) && number.0.normalize().scale() <= MOST_DECIMALS;
        let exact = fits.then(|| exact::from_decimal(number.0)).flatten();
        if exact.is_none() {
            self.fault(
                at,
                "number.limits",
                "the number is too large or has too many decimals",
                format!("keep within {GREATEST_NUMBER} and {MOST_DECIMALS} decimals"),
            );
        }
        exact
    }

    fn too_large(&mut self, at: &str) {
        self.fault(
            at,
            "number.limits",
            "the computation can give numbers that are too large",
            "compute with smaller numbers or fewer decimals",
        );
    }

    fn load_rules(&mut self) -> Vec<LoadedRule> {
        let definition = self.definition;
        let mut loaded = Vec::new();
        for (index, rule) in definition.rules.iter().enumerate() {
            let at = format!("/rules/{index}");
            if definition.rules[..index].iter().any(|before| before.id == rule.id) {
                self.fault(
                    pointer(&at, "id"),
                    "rule.duplicate",
                    format!("rule {} is defined before", rule.id),
                    "give each rule an id of its own",
                );
            }
            if self.is_telling(rule.id.as_str()) {
                self.fault(
                    pointer(&at, "id"),
                    "rule.telling",
                    "rule ids are published, and this one names the instrument, an item or a band",
                    "choose a neutral id, for example `threshold`",
                );
            }
            if let Some(when) = self.condition(&rule.when, &pointer(&at, "when")) {
                let RuleDefinition { id, severity, quiet_hours, .. } = rule;
                loaded.push(LoadedRule { id: id.clone(), severity: *severity, quiet_hours: *quiet_hours, when });
            }
        }
        loaded
    }

    fn is_telling(&self, rule: &str) -> bool {
        let definition = self.definition;
        let rule = rule.to_lowercase();
        let words: Vec<_> = rule.split(['.', '_', '-']).collect();
        let bands = definition.scores.iter().flat_map(|score| &score.bands).map(|band| &band.id);
        rule.contains(&definition.id.as_str().to_lowercase())
            || definition.items.iter().any(|item| words.contains(&item.id.as_str().to_lowercase().as_str()))
            || bands.into_iter().any(|band| words.contains(&band.to_lowercase().as_str()))
    }

    fn condition(&mut self, condition: &'a Condition, at: &str) -> Option<LoadedCondition> {
        Some(match condition {
            Condition::Item(Threshold { of, at_least, at_most }) => {
                let at = pointer(at, "item");
                let Some((item, part)) = self.items.get(of).copied() else {
                    self.fault(
                        pointer(&at, "of"),
                        "rule.item",
                        format!("there is no item {of}"),
                        "name an item of `items`",
                    );
                    return None;
                };
                let Some(part) = part else {
                    self.fault(
                        pointer(&at, "of"),
                        "rule.item",
                        format!("item {of} is not a number"),
                        "name an item of type code, integer, decimal or boolean",
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
                LoadedCondition::Item { item, within }
            }
            Condition::Score(Threshold { of, at_least, at_most }) => {
                let (score, within) = self.score_within(of, (*at_least, *at_most), &pointer(at, "score"))?;
                LoadedCondition::Score { score, within }
            }
            Condition::Band(in_bands) => {
                let at = pointer(at, "band");
                let score = self.score_index(&in_bands.of, &pointer(&at, "of"), "rule.score")?;
                let bands = &self.definition.scores[score].bands;
                let known = in_bands.bands.iter().filter(|name| bands.iter().any(|band| band.id == **name)).count();
                if known != in_bands.bands.len() || known == 0 || known >= bands.len() {
                    self.fault(
                        pointer(&at, "in"),
                        "rule.band",
                        format!("the rule names no band, all bands, or one that {} does not have", in_bands.of),
                        "name some of the score's bands",
                    );
                }
                LoadedCondition::Band { score, bands: in_bands.bands.clone() }
            }
            Condition::Change(change) => {
                let at = pointer(at, "change");
                let score = self.score_index(&change.of, &pointer(&at, "of"), "rule.score")?;
                let range = self.definition.scores[score].range;
                let by = match (change.by, change.by_percent) {
                    (Some(by), None) if by.0 > Decimal::ZERO && by.0 <= range.1.0.saturating_sub(range.0.0) => {
                        By::Points(by.0)
                    }
                    (None, Some(percent)) if percent.0 > Decimal::ZERO => By::Percent(percent.0),
                    _ => {
                        self.fault(
                            &at,
                            "rule.never",
                            "the change is not given, given twice, or cannot occur",
                            "set `by` within the score's range or `byPercent`, above 0",
                        );
                        return None;
                    }
                };
                LoadedCondition::Change { score, against: change.against, worse: change.worse, by }
            }
            Condition::Consecutive(consecutive) => {
                let at = pointer(at, "consecutive");
                let bounds = (consecutive.at_least, consecutive.at_most);
                let (score, within) = self.score_within(&consecutive.of, bounds, &at)?;
                let Consecutive { times, last, .. } = *consecutive;
                if times < 2 || times > last {
                    self.fault(
                        &at,
                        "rule.never",
                        format!("{times} times among {last} is not possible, or not more than once"),
                        "set `times` from 2 and `last` at least as much",
                    );
                }
                LoadedCondition::Consecutive { score, within, times, last }
            }
            Condition::Incomplete(incomplete) => LoadedCondition::Incomplete {
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
            self.fault(
                at,
                "rule.never",
                format!("the rule never fires: the values are from {low} to {high}"),
                "set the threshold within the values",
            );
        } else if from <= low && to >= high {
            self.fault(
                at,
                "rule.always",
                "the rule always fires",
                "set `atLeast` above the least value or `atMost` below the greatest",
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

impl Part {
    fn of(low: Exact, high: Exact) -> Part {
        Part { low, high, whole: low.is_integer() && high.is_integer(), hideable: false }
    }

    fn truth() -> Part {
        Part::of(Exact::zero(), Exact::from_integer(1))
    }

    fn mirrored(self) -> Part {
        Part { low: -self.high, high: -self.low, ..self }
    }
}

/// What values an item can have in scores; `None` if it is not a number.
fn values_of(kind: &LoadedKind, hideable: bool) -> Option<Part> {
    match kind {
        LoadedKind::Code(codes) => {
            range_of(codes.iter().filter(|(_, missing)| !missing).map(|(code, _)| Exact::from_integer(*code)), hideable)
        }
        LoadedKind::Integer { min, max } | LoadedKind::Decimal { min, max, .. } => {
            let (low, high) = exact::from_decimal(*min).zip(exact::from_decimal(*max))?;
            Some(Part { low, high, whole: matches!(kind, LoadedKind::Integer { .. }), hideable })
        }
        LoadedKind::Boolean => Some(Part { hideable, ..Part::truth() }),
        LoadedKind::Codes(_) | LoadedKind::Text { .. } => None,
    }
}

fn range_of(values: impl Iterator<Item = Exact>, hideable: bool) -> Option<Part> {
    values.fold(None, |range: Option<Part>, value| {
        let before = range.unwrap_or(Part { hideable, ..Part::of(value, value) });
        Some(Part {
            low: before.low.min(value),
            high: before.high.max(value),
            whole: before.whole && value.is_integer(),
            hideable,
        })
    })
}

fn sum_of(parts: &[Part]) -> Option<Part> {
    let mut sum = Part { hideable: true, ..Part::of(Exact::zero(), Exact::zero()) };
    for part in parts {
        // A part that is not asked adds nothing.
        let (low, high) = if part.hideable {
            (part.low.min(Exact::zero()), part.high.max(Exact::zero()))
        } else {
            (part.low, part.high)
        };
        sum = Part {
            low: sum.low.checked_add(&low)?,
            high: sum.high.checked_add(&high)?,
            whole: sum.whole && part.whole,
            hideable: sum.hideable && part.hideable,
        };
    }
    Some(sum)
}

fn mean_of(parts: &[Part], needed: Needed) -> Option<Part> {
    let hideable = parts.iter().all(|part| part.hideable);
    if needed == Needed::All && !parts.iter().any(|part| part.hideable) {
        let sum = sum_of(parts)?;
        let count = Exact::from_integer(i64::try_from(parts.len()).ok()?);
        let (low, high) = (sum.low.checked_div(&count)?, sum.high.checked_div(&count)?);
        return Some(Part { low, high, whole: false, hideable });
    }
    let part = range_of(parts.iter().flat_map(|part| [part.low, part.high]), hideable)?;
    Some(Part { whole: false, ..part })
}

/// The values of the least of the parts.
fn least_of(parts: &[Part]) -> Part {
    let low = parts.iter().map(|part| part.low).min().unwrap_or_default();
    let always = parts.iter().filter(|part| !part.hideable).map(|part| part.high).min();
    let high = always.or_else(|| parts.iter().map(|part| part.high).max()).unwrap_or_default();
    Part { low, high, whole: parts.iter().all(|part| part.whole), hideable: parts.iter().all(|part| part.hideable) }
}

fn slope_and_intercept(from: (Exact, Exact), to: (Exact, Exact)) -> Option<(Exact, Exact)> {
    let slope = to.1.checked_sub(&to.0)?.checked_div(&from.1.checked_sub(&from.0)?)?;
    Some((slope, to.0.checked_sub(&slope.checked_mul(&from.0)?)?))
}

fn on_line(number: Exact, (slope, intercept): (Exact, Exact)) -> Option<Exact> {
    number.checked_mul(&slope)?.checked_add(&intercept)
}

/// Whether the tag has the form of BCP 47: a language of two or three letters, then subtags.
fn is_language_tag(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let language = subtags.next().unwrap_or_default();
    (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_lowercase())
        && subtags.all(|subtag| (2..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric()))
}
