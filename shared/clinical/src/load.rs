//! Checking a definition and resolving its names, so that scoring has nothing left to look up or to doubt.

use std::collections::BTreeMap;
use std::fmt;

use num_traits::{CheckedAdd, CheckedDiv, CheckedMul, CheckedSub, Zero};
use rust_decimal::Decimal;
use serde::Serialize;

use crate::definition::{
    Apply, Condition, Definition, Item, ItemKind, Number, Operation, RuleDefinition, ScoreDefinition, Threshold,
};
use crate::exact::{self, Exact};
use crate::finding::pointer;
use crate::ids::{ItemId, ScoreId};
use crate::outcome::MissingRule;
use crate::score::{Needed, Node};

/// Numbers in a definition, and answers to numeric items, stay below this, so that exact arithmetic cannot overflow.
const GREATEST_NUMBER: i64 = 1_000_000;
/// Numbers in a definition have at most so many decimals, for the same reason.
const MOST_DECIMALS: u32 = 4;

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
    pub(crate) decimals: u32,
    pub(crate) range: (Decimal, Decimal),
    /// From, to, name.
    pub(crate) bands: Vec<(Decimal, Decimal, String)>,
}

#[derive(Debug)]
pub(crate) struct LoadedRule {
    pub(crate) definition: RuleDefinition,
    pub(crate) when: LoadedCondition,
}

#[derive(Debug)]
pub(crate) enum LoadedCondition {
    Item { item: usize, from: Option<Exact>, to: Option<Exact> },
    Score { score: usize, from: Option<Decimal>, to: Option<Decimal> },
    Band { score: usize, bands: Vec<String> },
    Incomplete { score: usize },
    Past,
}

/// Reads and checks a definition.
///
/// # Errors
///
/// Everything that is wrong with it; of faults in its form the first only.
pub(crate) fn load(json: &str) -> Result<(Definition, Program), Vec<DefinitionFault>> {
    let definition = read(json).map_err(|fault| vec![fault])?;
    let mut loader = Loader {
        definition: &definition,
        faults: Vec::new(),
        items: BTreeMap::new(),
        scores: Vec::new(),
        order: Vec::new(),
    };
    let program = loader.program();
    let faults = loader.faults;
    match program {
        Some(program) if faults.is_empty() => Ok((definition, program)),
        _ => Err(faults),
    }
}

fn read(json: &str) -> Result<Definition, DefinitionFault> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let definition = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| DefinitionFault {
        file: None,
        pointer: error.path().iter().fold(String::new(), |parent, segment| match segment {
            serde_path_to_error::Segment::Unknown => parent,
            other => pointer(&parent, other),
        }),
        code: "form",
        problem: error.inner().to_string(),
        advice: "write it as the JSON Schema instrument.schema.json says".into(),
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

type Pair<T> = Box<(T, T)>;

struct Loader<'a> {
    definition: &'a Definition,
    faults: Vec<DefinitionFault>,
    /// Items that are known so far: place and range of values.
    items: BTreeMap<&'a ItemId, (usize, Option<Part>)>,
    scores: Vec<Progress>,
    order: Vec<usize>,
}

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
    /// Whether it may be nothing because it is not asked.
    hideable: bool,
}

impl<'a> Loader<'a> {
    fn program(&mut self) -> Option<Program> {
        let items = self.load_items();
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

    fn load_items(&mut self) -> Vec<LoadedItem> {
        let definition = self.definition;
        let mut loaded = Vec::new();
        if definition.items.is_empty() {
            self.fault("/items", "item.none", "there are no items", "add at least one");
        }
        for (index, item) in definition.items.iter().enumerate() {
            let at = format!("/items/{index}");
            let enable_when = item
                .enable_when
                .as_ref()
                .and_then(|operation| self.operation(operation, &pointer(&at, "enableWhen"), &mut Lists::default()));
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
        match item.kind {
            ItemKind::Code | ItemKind::Codes => {
                let Some(name) = &item.codes else {
                    self.fault(at, "item.codes", "the choices are not named", "set `codes` to the name of a code list");
                    return None;
                };
                let Some(codes) = self.definition.code_lists.get(name) else {
                    self.fault(
                        pointer(at, "codes"),
                        "item.codes",
                        format!("there is no code list {name}"),
                        "add it to `codeLists` or name another",
                    );
                    return None;
                };
                Some(match item.kind {
                    ItemKind::Code => {
                        LoadedKind::Code(codes.iter().map(|code| (code.code, code.counts_as_missing)).collect())
                    }
                    _ => LoadedKind::Codes(codes.iter().map(|code| code.code).collect()),
                })
            }
            ItemKind::Integer | ItemKind::Decimal => {
                let (Some(min), Some(max)) = (item.min, item.max) else {
                    self.fault(at, "item.range", "the range of a number is not given", "set `min` and `max`");
                    return None;
                };
                Some(match item.kind {
                    ItemKind::Integer => LoadedKind::Integer { min: min.0, max: max.0 },
                    _ => LoadedKind::Decimal { min: min.0, max: max.0, decimals: item.decimals.unwrap_or(1) },
                })
            }
            ItemKind::Boolean => Some(LoadedKind::Boolean),
            ItemKind::Text => Some(LoadedKind::Text { max_length: item.max_length.unwrap_or(1000) }),
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
        let loaded = self.score(&self.definition.scores[index], &format!("/scores/{index}"));
        self.scores[index] = match loaded {
            Some((score, part)) => {
                self.order.push(index);
                Progress::Done { score, part }
            }
            None => Progress::Failed,
        };
        loaded_part(&self.scores[index])
    }

    fn score(&mut self, definition: &'a ScoreDefinition, at: &str) -> Option<(LoadedScore, Part)> {
        let mut lists = Lists { rule: definition.missing.as_ref().map(|missing| missing.min_answered) };
        let (value, part) = self.operation(&definition.value, &pointer(at, "value"), &mut lists)?;
        let missing = definition.missing.as_ref().map(|missing| match missing.prorate {
            Some(_) => MissingRule::Prorated,
            None => MissingRule::MeanOfAnswered,
        });
        let bands = definition.bands.iter().map(|band| (band.from.0, band.to.0, band.id.clone())).collect();
        let score = LoadedScore {
            id: definition.id.clone(),
            value,
            missing,
            decimals: definition.decimals,
            range: (definition.range.0.0, definition.range.1.0),
            bands,
        };
        Some((score, part))
    }

    fn operation(&mut self, operation: &'a Operation, at: &str, lists: &mut Lists) -> Option<(Node, Part)> {
        match operation {
            Operation::Item(id) => match self.items.get(id) {
                Some((index, Some(part))) => Some((Node::Item(*index), *part)),
                Some((_, None)) => {
                    self.fault(
                        at,
                        "operation.item",
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
                Some((Node::Constant(number), Part { low: number, high: number, hideable: false }))
            }
            Operation::Apply(apply) => self.apply(apply, at, lists),
        }
    }

    fn apply(&mut self, apply: &'a Apply, at: &str, lists: &mut Lists) -> Option<(Node, Part)> {
        let (node, part) = match apply {
            Apply::Score(id) => {
                let Some(index) = self.definition.scores.iter().position(|score| score.id == *id) else {
                    self.fault(
                        pointer(at, "score"),
                        "operation.score",
                        format!("there is no score {id}"),
                        "name a score of `scores`",
                    );
                    return None;
                };
                (Node::Score(index), self.load_score(index))
            }
            Apply::Sum(parts) => {
                let (nodes, parts) = self.list(parts, &pointer(at, "sum"), lists)?;
                let needed = lists.needed();
                (Node::Sum(nodes, needed), sum_of(&parts))
            }
            Apply::Mean(parts) => {
                let (nodes, parts) = self.list(parts, &pointer(at, "mean"), lists)?;
                let needed = lists.needed();
                (Node::Mean(nodes, needed), mean_of(&parts, needed))
            }
            Apply::Linear(linear) => {
                let at = pointer(at, "linear");
                let of = self.operation(&linear.of, &pointer(&at, "of"), lists);
                let from = self.pair(linear.from, &pointer(&at, "from"));
                let to = self.pair(linear.to, &pointer(&at, "to"));
                let ((of, part), from, to) = (of?, from?, to?);
                if from.0 == from.1 {
                    self.fault(
                        pointer(&at, "from"),
                        "operation.linear",
                        "a line needs two different values",
                        "give the least and the greatest value",
                    );
                    return None;
                }
                let line = slope_and_intercept(from, to);
                let ends = line.and_then(|line| Some((on_line(part.low, line)?, on_line(part.high, line)?)));
                let part = ends.map(|(a, b)| Part { low: a.min(b), high: a.max(b), ..part });
                let (slope, intercept) = line.unwrap_or_default();
                (Node::Linear(Box::new(of), slope, intercept), part)
            }
            Apply::Reverse(of) => {
                let (of, part) = self.operation(of, &pointer(at, "reverse"), lists)?;
                let ends = part.low.checked_add(&part.high);
                (Node::Linear(Box::new(of), Exact::from_integer(-1), ends.unwrap_or_default()), ends.map(|_| part))
            }
            Apply::Recode(recode) => {
                let at = pointer(at, "recode");
                let of = self.operation(&recode.of, &pointer(&at, "of"), lists);
                let table = recode
                    .to
                    .iter()
                    .enumerate()
                    .map(|(row, pair)| self.pair(*pair, &format!("{at}/to/{row}")))
                    .collect::<Vec<_>>();
                let (of, part) = of?;
                let table = table.into_iter().collect::<Option<Vec<_>>>()?;
                let part = range_of(table.iter().map(|(_, to)| *to), part.hideable);
                (Node::Recode(Box::new(of), table), part)
            }
            Apply::Lookup(lookup) => {
                let at = pointer(at, "lookup");
                let of = self.operation(&lookup.of, &pointer(&at, "of"), lists);
                let mut table = Vec::new();
                for (row, (from, to, value)) in lookup.table.iter().enumerate() {
                    let at = format!("{at}/table/{row}");
                    table.push((self.pair((*from, *to), &at), self.number(*value, &at)));
                }
                let (of, part) = of?;
                let table = table
                    .into_iter()
                    .map(|(pair, value)| pair.zip(value).map(|((from, to), value)| (from, to, value)))
                    .collect::<Option<Vec<_>>>()?;
                let part = range_of(table.iter().map(|(_, _, value)| *value), part.hideable);
                (Node::Lookup(Box::new(of), table), part)
            }
            Apply::CountAtLeast(count) => {
                let at = pointer(at, "countAtLeast");
                let least = self.number(count.least, &pointer(&at, "least"));
                let (nodes, parts) = self.list(&count.of, &pointer(&at, "of"), lists)?;
                let most = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
                let part = Part {
                    low: Exact::zero(),
                    high: Exact::from_integer(most),
                    hideable: parts.iter().all(|part| part.hideable),
                };
                (Node::CountAtLeast(nodes, least?), Some(part))
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
                let hideable = a.hideable || b.hideable;
                (Node::Difference(nodes), ends.map(|(low, high)| Part { low, high, hideable }))
            }
            Apply::Round(round) => {
                let at = pointer(at, "round");
                let (of, part) = self.operation(&round.of, &pointer(&at, "of"), lists)?;
                let rounded = |number| exact::round_half_up(number, round.decimals).and_then(exact::from_decimal);
                let ends = rounded(part.low).zip(rounded(part.high));
                (Node::Round(Box::new(of), round.decimals), ends.map(|(low, high)| Part { low, high, ..part }))
            }
            Apply::AtLeast(pair) => {
                (Node::AtLeast(self.two(pair, &pointer(at, "atLeast"), lists)?.0), Some(Part::truth()))
            }
            Apply::AtMost(pair) => {
                (Node::AtMost(self.two(pair, &pointer(at, "atMost"), lists)?.0), Some(Part::truth()))
            }
            Apply::Equals(pair) => {
                (Node::Equals(self.two(pair, &pointer(at, "equals"), lists)?.0), Some(Part::truth()))
            }
            Apply::All(parts) => (Node::All(self.list(parts, &pointer(at, "all"), lists)?.0), Some(Part::truth())),
            Apply::Any(parts) => (Node::Any(self.list(parts, &pointer(at, "any"), lists)?.0), Some(Part::truth())),
        };
        Some((node, part?))
    }

    fn list(&mut self, parts: &'a [Operation], at: &str, lists: &mut Lists) -> Option<(Vec<Node>, Vec<Part>)> {
        if parts.is_empty() {
            self.fault(at, "operation.empty", "there is nothing to compute with", "list at least one part");
            return None;
        }
        let loaded: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(index, part)| self.operation(part, &format!("{at}/{index}"), lists))
            .collect();
        Some(loaded.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip())
    }

    fn two(
        &mut self,
        pair: &'a (Operation, Operation),
        at: &str,
        lists: &mut Lists,
    ) -> Option<(Pair<Node>, (Part, Part))> {
        let first = self.operation(&pair.0, &format!("{at}/0"), lists);
        let second = self.operation(&pair.1, &format!("{at}/1"), lists);
        let ((first, a), (second, b)) = (first?, second?);
        Some((Box::new((first, second)), (a, b)))
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

    fn load_rules(&mut self) -> Vec<LoadedRule> {
        let definition = self.definition;
        let mut loaded = Vec::new();
        for (index, rule) in definition.rules.iter().enumerate() {
            let at = format!("/rules/{index}");
            if rule.id.as_str().to_lowercase().contains(&definition.id.as_str().to_lowercase()) {
                self.fault(
                    pointer(&at, "id"),
                    "rule.telling",
                    "the rule's id names the instrument, and rule ids are published",
                    "choose a neutral id such as threshold",
                );
            }
            if let Some(when) = self.condition(&rule.when, &pointer(&at, "when")) {
                loaded.push(LoadedRule { definition: rule.clone(), when });
            }
        }
        loaded
    }

    fn condition(&mut self, condition: &'a Condition, at: &str) -> Option<LoadedCondition> {
        Some(match condition {
            Condition::Item(threshold) => {
                let at = pointer(at, "item");
                let Some((item, _)) = self.items.get(&threshold.of).copied() else {
                    self.fault(
                        pointer(&at, "of"),
                        "rule.item",
                        format!("there is no item {}", threshold.of),
                        "name an item of `items`",
                    );
                    return None;
                };
                let from = threshold.at_least.and_then(|number| self.number(number, &pointer(&at, "atLeast")));
                let to = threshold.at_most.and_then(|number| self.number(number, &pointer(&at, "atMost")));
                LoadedCondition::Item { item, from, to }
            }
            Condition::Score(Threshold { of, at_least, at_most }) => LoadedCondition::Score {
                score: self.score_of_rule(of, &pointer(at, "score"))?,
                from: at_least.map(|number| number.0),
                to: at_most.map(|number| number.0),
            },
            Condition::Band(in_bands) => LoadedCondition::Band {
                score: self.score_of_rule(&in_bands.of, &pointer(at, "band"))?,
                bands: in_bands.bands.clone(),
            },
            Condition::Incomplete(incomplete) => {
                LoadedCondition::Incomplete { score: self.score_of_rule(&incomplete.of, &pointer(at, "incomplete"))? }
            }
            Condition::Change(_) | Condition::Consecutive(_) => LoadedCondition::Past,
        })
    }

    fn score_of_rule(&mut self, id: &ScoreId, at: &str) -> Option<usize> {
        let index = self.definition.scores.iter().position(|score| score.id == *id);
        if index.is_none() {
            self.fault(pointer(at, "of"), "rule.score", format!("there is no score {id}"), "name a score of `scores`");
        }
        index
    }
}

/// The lists of the score that is being loaded, of which its missing-data rule applies to one.
#[derive(Default)]
struct Lists {
    rule: Option<usize>,
}

impl Lists {
    fn needed(&mut self) -> Needed {
        self.rule.map_or(Needed::All, Needed::AtLeast)
    }
}

impl Part {
    fn truth() -> Part {
        Part { low: Exact::zero(), high: Exact::from_integer(1), hideable: false }
    }

    fn mirrored(self) -> Part {
        Part { low: -self.high, high: -self.low, ..self }
    }
}

fn loaded_part(progress: &Progress) -> Option<Part> {
    match progress {
        Progress::Done { part, .. } => Some(*part),
        _ => None,
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
            Some(Part { low, high, hideable })
        }
        LoadedKind::Boolean => Some(Part { hideable, ..Part::truth() }),
        LoadedKind::Codes(_) | LoadedKind::Text { .. } => None,
    }
}

fn range_of(values: impl Iterator<Item = Exact>, hideable: bool) -> Option<Part> {
    values.fold(None, |range: Option<Part>, value| {
        Some(range.map_or(Part { low: value, high: value, hideable }, |range| Part {
            low: range.low.min(value),
            high: range.high.max(value),
            hideable,
        }))
    })
}

fn sum_of(parts: &[Part]) -> Option<Part> {
    let mut sum = Part { low: Exact::zero(), high: Exact::zero(), hideable: true };
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
        return Some(Part { low: sum.low.checked_div(&count)?, high: sum.high.checked_div(&count)?, hideable });
    }
    range_of(parts.iter().flat_map(|part| [part.low, part.high]), hideable)
}

/// The values of the least of the parts.
fn least_of(parts: &[Part]) -> Part {
    let hideable = parts.iter().all(|part| part.hideable);
    let low = parts.iter().map(|part| part.low).min().unwrap_or_default();
    let always = parts.iter().filter(|part| !part.hideable).map(|part| part.high).min();
    let high = always.or_else(|| parts.iter().map(|part| part.high).max()).unwrap_or_default();
    Part { low, high, hideable }
}

fn slope_and_intercept(from: (Exact, Exact), to: (Exact, Exact)) -> Option<(Exact, Exact)> {
    let slope = to.1.checked_sub(&to.0)?.checked_div(&from.1.checked_sub(&from.0)?)?;
    Some((slope, to.0.checked_sub(&slope.checked_mul(&from.0)?)?))
}

fn on_line(number: Exact, (slope, intercept): (Exact, Exact)) -> Option<Exact> {
    number.checked_mul(&slope)?.checked_add(&intercept)
}
