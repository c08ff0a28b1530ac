//! The written form of an instrument: the JSON that a clinician reads and signs off, field by field.
//!
//! A definition is only data; `Instrument::parse` checks it. Numbers are decimal and exact. Texts are by language tag (BCP 47).

use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::outcome::Severity;
use crate::document::{Number, Texts, decimal, is_false, is_zero};
use crate::ids::{GroupId, InstrumentId, InstrumentVersion, ItemId, RuleId, ScoreId};

/// An instrument as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Definition {
    /// Where the JSON Schema of this format lies; for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The instrument's id.
    pub id: InstrumentId,
    /// The version of this definition. A version once used never changes.
    pub version: InstrumentVersion,
    /// The version that began the course which this version's scores continue, where they are comparable with its scores:
    /// baselines and earlier scores of that course count. Without it this version begins a course of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparable_to: Option<InstrumentVersion>,
    /// The instrument's name.
    pub title: Texts,
    /// On what terms it may be used.
    pub licence: Licence,
    /// The publications that the scoring follows.
    pub sources: Vec<String>,
    /// What a reviewer should know: choices made where publications differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What the patient reads before the items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<Texts>,
    /// The sets of choices that items use, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub code_lists: BTreeMap<String, Vec<Code>>,
    /// Tables that give a value for a combination of values, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, Vec<TableRow>>,
    /// The items, in the order in which they are asked.
    pub items: Vec<Item>,
    /// The scores, in the order in which they are reported.
    pub scores: Vec<ScoreDefinition>,
    /// The alert rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDefinition>,
}

impl Definition {
    /// The definition with the texts of one language only; `None` if they are not there in it.
    pub fn in_language(&self, tag: &str) -> Option<Definition> {
        if !self.title.contains_key(tag) {
            return None;
        }
        let mut one = self.clone();
        let codes = one.code_lists.values_mut().flatten().filter_map(|code| code.text.as_mut());
        let items = one.items.iter_mut().flat_map(|item| [item.preface.as_mut(), item.text.as_mut()]).flatten();
        let scores = one.scores.iter_mut().flat_map(|score| {
            let bands = score.bands.iter_mut().filter_map(|band| band.title.as_mut());
            score.title.as_mut().into_iter().chain(bands)
        });
        for texts in codes.chain(items).chain(scores).chain(one.instruction.as_mut()).chain([&mut one.title]) {
            texts.retain(|language, _| language == tag);
        }
        Some(one)
    }
}

/// On what terms an instrument may be used.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Licence {
    /// The terms in a sentence, for example `Public domain`.
    pub terms: String,
    /// Whether the definition carries the items' texts.
    pub texts: TextLicence,
    /// A notice that must be shown with the instrument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// Whether a definition carries texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextLicence {
    /// The texts are there.
    Included,
    /// The texts are licensed by their owner: the definition has item numbers and codes only.
    NotIncluded,
}

/// One choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Code {
    /// The number that is sent and stored.
    pub code: i64,
    /// What the patient reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Texts>,
    /// Whether the choice is recorded but counts as no answer in scores, as "prefer not to answer" does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub counts_as_missing: bool,
    /// Whether the choice means that the question is not for this patient: it drops out of a list as an item that is
    /// not asked does, and is not missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub counts_as_not_asked: bool,
}

/// A row of a table: it applies where every value is in its cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableRow {
    /// A cell for each part; `None` takes any value, and a part that is missing.
    pub when: Vec<Option<TableCell>>,
    /// What the table gives then.
    pub value: Number,
}

/// The values that a part may have. Written as a number, or as its least and greatest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TableCell {
    /// The least value.
    pub from: Number,
    /// The greatest value.
    pub to: Number,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Item {
    /// The item's id: `1` to `n` in the shipped instruments.
    pub id: ItemId,
    /// What the instrument's owner calls the item in data sets; the `linkId` in FHIR. The id, where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ItemId>,
    /// What an answer is.
    #[serde(rename = "type")]
    pub kind: ItemKind,
    /// What the patient reads before the text, where several items share an opening.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preface: Option<Texts>,
    /// What the patient reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Texts>,
    /// For `code` and `codes`: the name of the list of choices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<String>,
    /// For `integer` and `decimal`: the least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// For `integer` and `decimal`: the greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
    /// For `decimal`: how many decimals an answer may have, 1 to 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u32>,
    /// For `text`: how many characters an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// The item is asked only if this is not zero. An item that is not asked must not be answered and is not missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_when: Option<Operation>,
    /// If this is zero, the item may be left out and is not missing then. An answer counts all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_when: Option<Operation>,
    /// Groups of patients, as their tokens name them, who may leave the item out; it is not missing then. An answer
    /// counts all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_needed_for: Vec<GroupId>,
}

impl Item {
    /// What others call the item: its name, or its id.
    pub fn published_name(&self) -> &ItemId {
        self.name.as_ref().unwrap_or(&self.id)
    }
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemKind {
    /// One choice.
    Code,
    /// Any number of choices.
    Codes,
    /// A whole number.
    Integer,
    /// A number with decimals.
    Decimal,
    /// Yes or no; 1 or 0 in scores.
    Boolean,
    /// Free text; in no score.
    Text,
}

/// One score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScoreDefinition {
    /// The score's id.
    pub id: ScoreId,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Texts>,
    /// How it is computed.
    pub value: Operation,
    /// How many parts may be missing. Without it every part is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// Whether the score is left out, not reported as not scored, where none of its items is answered; for item
    /// libraries, of which a study asks a part.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// To how many decimals it is rounded, half up, at the very end: 0 to 4.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decimals: u32,
    /// The least and the greatest value that can occur.
    pub range: (Number, Number),
    /// What ranges of the value mean, ascending, without overlap or hole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<Band>,
}

impl ScoreDefinition {
    /// The band that `value` lies in, where there are bands.
    pub fn band(&self, value: Decimal) -> Option<&Band> {
        self.bands.iter().find(|band| band.from.0 <= value && value <= band.to.0)
    }
}

/// What a score does about missing parts. It applies to the one `sum` or `mean` of the score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Missing {
    /// How many parts must be there at least.
    pub min_answered: usize,
    /// For a `sum`: what is put in place of the missing parts. A `mean` is taken over what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prorate: Option<Prorate>,
}

/// What is put in place of missing parts of a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prorate {
    /// The mean of the parts that are there.
    Mean,
}

/// What a range of a score means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Band {
    /// The band's name, as results carry it.
    pub id: String,
    /// The least value in it.
    pub from: Number,
    /// The greatest value in it.
    pub to: Number,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Texts>,
}

/// A step of a computation. Written as an item id (`"3"`), a number, or an object with one operation.
///
/// Where a part is missing the result is missing, except for `sum` and `mean` under a missing-data rule. A part that is
/// not asked (`enableWhen`) drops out of a list; comparisons and logic take it as not true.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// The answer to an item.
    Item(ItemId),
    /// A constant.
    Constant(Number),
    /// Any other.
    Apply(Box<Apply>),
}

/// An operation on other operations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Apply {
    /// The value of another score, before its rounding.
    Score(ScoreId),
    /// The sum of the parts.
    Sum(Vec<Operation>),
    /// The arithmetic mean of the parts.
    Mean(Vec<Operation>),
    /// The straight line that takes `from` to `to`, ends to ends.
    Linear(Linear),
    /// The value counted from the other end of its range.
    Reverse(Operation),
    /// Another value for each value.
    Recode(Recode),
    /// A value for each range of values.
    Lookup(Lookup),
    /// A value for each combination of the parts' values.
    Combination(Combination),
    /// How many of the parts are at least `least`.
    CountAtLeast(CountAtLeast),
    /// The least of the parts.
    Min(Vec<Operation>),
    /// The greatest of the parts.
    Max(Vec<Operation>),
    /// The first less the second.
    Difference(Box<(Operation, Operation)>),
    /// Rounded half up.
    Round(Round),
    /// 1 if the first is at least the second, otherwise 0.
    AtLeast(Box<(Operation, Operation)>),
    /// 1 if the first is at most the second, otherwise 0.
    AtMost(Box<(Operation, Operation)>),
    /// 1 if the two are equal, otherwise 0.
    Equals(Box<(Operation, Operation)>),
    /// 1 if no part is 0, otherwise 0.
    All(Vec<Operation>),
    /// 1 if any part is not 0, otherwise 0.
    Any(Vec<Operation>),
}

/// The straight line that takes `from` to `to`, ends to ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Linear {
    /// Of what.
    pub of: Operation,
    /// Two different values.
    pub from: (Number, Number),
    /// What they become.
    pub to: (Number, Number),
}

/// Another value for each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recode {
    /// Of what.
    pub of: Operation,
    /// Pairs of value and new value.
    pub to: Vec<(Number, Number)>,
}

/// A value for each range of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lookup {
    /// Of what.
    pub of: Operation,
    /// Rows of least value, greatest value and new value, ascending.
    pub table: Vec<(Number, Number, Number)>,
}

/// A value for each combination of the parts' values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Combination {
    /// The parts, in the order of the table's cells.
    pub of: Vec<Operation>,
    /// The name of the table.
    pub table: String,
}

/// How many of the parts are at least `least`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CountAtLeast {
    /// The parts.
    pub of: Vec<Operation>,
    /// The threshold.
    pub least: Number,
}

/// Rounded half up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Round {
    /// Of what.
    pub of: Operation,
    /// To how many decimals: 0 to 4.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decimals: u32,
}

/// When clinicians are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleDefinition {
    /// The rule's id. It is published, so it must not name the instrument, an item or a band.
    pub id: RuleId,
    /// How urgent it is.
    pub severity: Severity,
    /// For how many hours after an alert of this rule further ones of the same patient are recorded but not published.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quiet_hours: u32,
    /// When it fires.
    pub when: RuleCondition,
}

/// When an alert rule fires.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleCondition {
    /// An answer is in a range; also where no score can be computed.
    Item(Threshold<ItemId>),
    /// A score is in a range.
    Score(Threshold<ScoreId>),
    /// A score is in one of some bands.
    Band(InBands),
    /// A score got worse.
    Change(ScoreChange),
    /// A condition held several times among the last submissions.
    Consecutive(Consecutive),
    /// A score could not be computed.
    Incomplete(Incomplete),
}

/// A range of an answer or a score; at least one end is there, and both ends are in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Threshold<Of> {
    /// Of which item or score.
    pub of: Of,
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Number>,
    /// The greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Number>,
}

/// A score is in one of some bands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InBands {
    /// Of which score.
    pub of: ScoreId,
    /// The bands.
    #[serde(rename = "in")]
    pub bands: Vec<String>,
}

/// A score got worse, by a number or by percent of the earlier value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScoreChange {
    /// Of which score.
    pub of: ScoreId,
    /// Compared with what.
    pub against: Against,
    /// Which direction is worse; the other never fires.
    pub worse: Direction,
    /// By how much at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Number>,
    /// By how many percent of the earlier value at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_percent: Option<Number>,
}

/// Which earlier score a change is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// The patient's first.
    Baseline,
    /// The one before.
    Previous,
}

/// Which direction of a score is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// Higher is worse.
    Higher,
    /// Lower is worse.
    Lower,
}

/// A score is in a range, and was at least `times` times among the last `last` submissions, this one counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consecutive {
    /// Of which score.
    pub of: ScoreId,
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Number>,
    /// The greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Number>,
    /// How many times at least.
    pub times: usize,
    /// Among how many.
    pub last: usize,
}

/// A score could not be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Incomplete {
    /// Which score.
    pub of: ScoreId,
}

impl Serialize for TableCell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.from == self.to { self.from.serialize(serializer) } else { (self.from, self.to).serialize(serializer) }
    }
}

/// By hand, because an untagged enum would lose the place and the reason of a fault inside it.
impl<'de> Deserialize<'de> for TableCell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyTableCell;

        impl<'de> Visitor<'de> for AnyTableCell {
            type Value = TableCell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or the least and the greatest value")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<TableCell, E> {
                let number = Number(number.into());
                Ok(TableCell { from: number, to: number })
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<TableCell, E> {
                let number = Number(number.into());
                Ok(TableCell { from: number, to: number })
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<TableCell, E> {
                let number = Number::deserialize(number.into_deserializer())?;
                Ok(TableCell { from: number, to: number })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<TableCell, A::Error> {
                let (from, to) = Deserialize::deserialize(SeqAccessDeserializer::new(seq))?;
                Ok(TableCell { from, to })
            }
        }

        deserializer.deserialize_any(AnyTableCell)
    }
}

impl Serialize for Operation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Operation::Item(id) => id.serialize(serializer),
            Operation::Constant(number) => number.serialize(serializer),
            Operation::Apply(apply) => apply.serialize(serializer),
        }
    }
}

/// By hand, because an untagged enum would lose the place and the reason of a fault inside it.
impl<'de> Deserialize<'de> for Operation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyOperation;

        impl<'de> Visitor<'de> for AnyOperation {
            type Value = Operation;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an item id, a number, or an object with one operation")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<Operation, E> {
                id.parse().map(Operation::Item).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Operation, E> {
                Ok(Operation::Constant(Number(number.into())))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Operation, E> {
                Ok(Operation::Constant(Number(number.into())))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Operation, E> {
                serde_json::Number::from_f64(number)
                    .and_then(|number| decimal(&number))
                    .map(|number| Operation::Constant(Number(number)))
                    .ok_or_else(|| E::custom("number with too many digits"))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Operation, A::Error> {
                Apply::deserialize(MapAccessDeserializer::new(map)).map(|apply| Operation::Apply(Box::new(apply)))
            }
        }

        deserializer.deserialize_any(AnyOperation)
    }
}
