//! The JSON format of an instrument, which a clinician reads and signs off.
//!
//! These types are plain data; `Instrument::parse` validates them. Numbers are decimal and exact. Texts are by language
//! tag (BCP 47).

use std::collections::BTreeMap;
use std::fmt;

use rust_decimal::Decimal;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::outcome::Severity;
use crate::document::{Number, Texts, decimal, is_false, is_zero};
use crate::ids::{GroupId, InstrumentId, InstrumentVersion, ItemId, RuleId, ScoreId};

/// The definition of an instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Definition {
    /// The location of the JSON Schema of this format, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The instrument's id.
    pub id: InstrumentId,
    /// The version of this definition. A version that was used never changes.
    pub version: InstrumentVersion,
    /// The version that started the course that this version's scores continue, because they are comparable: baselines
    /// and earlier scores of that course count. If absent, this version starts a course of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparable_to: Option<InstrumentVersion>,
    /// The instrument's name.
    pub title: Texts,
    /// The terms of use.
    pub licence: Licence,
    /// The publications that the scoring follows.
    pub sources: Vec<String>,
    /// Notes for reviewers: the choices made where publications differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The instruction that precedes the items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruction: Option<Texts>,
    /// The sets of choices that items use, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub code_lists: BTreeMap<String, Vec<Code>>,
    /// Tables from combinations of values to one value, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tables: BTreeMap<String, Vec<TableRow>>,
    /// The items, in the order of presentation.
    pub items: Vec<Item>,
    /// The scores, in the order in which results list them.
    pub scores: Vec<ScoreDefinition>,
    /// The alert rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDefinition>,
}

impl Definition {
    /// The definition with the texts in one language only; `None` if it has no texts in that language.
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

/// The terms of use of an instrument.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Licence {
    /// The terms in a sentence, for example `Public domain`.
    pub terms: String,
    /// Whether the definition includes the items' texts.
    pub texts: TextLicence,
    /// A notice that must be shown with the instrument.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

/// Whether a definition includes texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextLicence {
    /// The texts are included.
    Included,
    /// The owner licenses the texts: the definition has item numbers and codes only.
    NotIncluded,
}

/// A choice of a code list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Code {
    /// The code that answers carry and that is stored.
    pub code: i64,
    /// The text shown to the patient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Texts>,
    /// Whether scores treat the choice as missing, for example "prefer not to answer". The answer is stored all the
    /// same.
    #[serde(default, skip_serializing_if = "is_false")]
    pub counts_as_missing: bool,
    /// Whether the choice means that the question does not apply to the patient: scores treat it as an item that is not
    /// asked, which is not missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub counts_as_not_asked: bool,
}

/// A row of a table. It applies if every value is within its cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TableRow {
    /// One cell per part. `None` matches any value and a missing part.
    pub when: Vec<Option<TableCell>>,
    /// The value of the table if the row applies.
    pub value: Number,
}

/// A range of values, in JSON a number or a pair of the least and the greatest value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TableCell {
    /// The least value.
    pub from: Number,
    /// The greatest value.
    pub to: Number,
}

/// A question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Item {
    /// The item's id; `1` to `n` in the shipped instruments.
    pub id: ItemId,
    /// The name of the item in the owner's data sets, used as `linkId` in FHIR. Defaults to the id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ItemId>,
    /// The type of the answer.
    #[serde(rename = "type")]
    pub kind: ItemKind,
    /// The text that precedes the item's own, where several items share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preface: Option<Texts>,
    /// The text shown to the patient.
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
    /// For `decimal`: the maximum number of decimals of an answer, 1 to 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u32>,
    /// For `text`: the maximum number of characters of an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// The item is asked only if this is not zero. An item that is not asked must have no answer and is not missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_when: Option<Operation>,
    /// If this is zero, the item is optional: not missing without an answer, and scored with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed_when: Option<Operation>,
    /// The groups of patients (claim in their tokens) for whom the item is optional: not missing without an answer, and
    /// scored with one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_needed_for: Vec<GroupId>,
}

impl Item {
    /// The name of the item outside this system: its name, or its id.
    pub fn published_name(&self) -> &ItemId {
        self.name.as_ref().unwrap_or(&self.id)
    }
}

/// The type of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ItemKind {
    /// A choice of a code list.
    Code,
    /// Any number of choices.
    Codes,
    /// A whole number.
    Integer,
    /// A number with decimals.
    Decimal,
    /// Yes or no, 1 or 0 in scores.
    Boolean,
    /// Free text, which no score uses.
    Text,
}

/// The definition of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScoreDefinition {
    /// The score's id.
    pub id: ScoreId,
    /// The score's display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Texts>,
    /// The computation.
    pub value: Operation,
    /// The missing-data rule. Without one, every part is required.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<Missing>,
    /// Whether results omit the score, instead of listing it as not scored, if none of its items is answered. For item
    /// libraries, of which a study asks a part.
    #[serde(default, skip_serializing_if = "is_false")]
    pub optional: bool,
    /// The number of decimals, 0 to 4, to which the final value is rounded, half up.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decimals: u32,
    /// The least and the greatest possible value.
    pub range: (Number, Number),
    /// The bands of the range, ascending, without overlaps or gaps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bands: Vec<Band>,
}

impl ScoreDefinition {
    /// The band that contains `value`, if the score has bands.
    pub fn band(&self, value: Decimal) -> Option<&Band> {
        self.bands.iter().find(|band| band.from.0 <= value && value <= band.to.0)
    }
}

/// The missing-data rule of a score, which applies to its only `sum` or `mean`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Missing {
    /// The minimum number of parts that must have a value.
    pub min_answered: usize,
    /// For a `sum`: how missing parts are imputed. A `mean` is taken over the parts that have a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prorate: Option<Prorate>,
}

/// How missing parts of a sum are imputed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prorate {
    /// With the mean of the parts that have a value.
    Mean,
}

/// A named range of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Band {
    /// The band's id, as it appears in results.
    pub id: String,
    /// The least value in it.
    pub from: Number,
    /// The greatest value in it.
    pub to: Number,
    /// The band's display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<Texts>,
}

/// A step of a computation, in JSON an item id (`"3"`), a number, or an object with one operation.
///
/// The result is missing if a part is, except for `sum` and `mean` under a missing-data rule. Lists ignore a part that
/// is not asked (`enableWhen`); comparisons and logic treat it as false.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// The answer to an item.
    Item(ItemId),
    /// A constant.
    Constant(Number),
    /// An operation on other operations.
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
    /// The linear function that maps the ends of `from` to those of `to`.
    Linear(Linear),
    /// The value reversed within its range.
    Reverse(Operation),
    /// A mapping from single values.
    Recode(Recode),
    /// A mapping from ranges of values.
    Lookup(Lookup),
    /// A mapping from combinations of the parts' values.
    Combination(Combination),
    /// The number of parts that are at least `least`.
    CountAtLeast(CountAtLeast),
    /// The least of the parts.
    Min(Vec<Operation>),
    /// The greatest of the parts.
    Max(Vec<Operation>),
    /// The first minus the second.
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

/// The linear function that maps the ends of `from` to those of `to`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Linear {
    /// The operand.
    pub of: Operation,
    /// Two different values of the operand.
    pub from: (Number, Number),
    /// The values that they map to.
    pub to: (Number, Number),
}

/// A mapping from single values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recode {
    /// The operand.
    pub of: Operation,
    /// Pairs of value and new value.
    pub to: Vec<(Number, Number)>,
}

/// A mapping from ranges of values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lookup {
    /// The operand.
    pub of: Operation,
    /// Rows of least value, greatest value and new value, ascending.
    pub table: Vec<(Number, Number, Number)>,
}

/// A mapping from combinations of the parts' values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Combination {
    /// The parts, in the order of the table's cells.
    pub of: Vec<Operation>,
    /// The name of the table.
    pub table: String,
}

/// The number of parts that are at least `least`.
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
    /// The operand.
    pub of: Operation,
    /// The number of decimals, 0 to 4.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub decimals: u32,
}

/// An alert rule: the condition under which clinicians are alerted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleDefinition {
    /// The rule's id. It is published, so it must not name the instrument, an item or a band.
    pub id: RuleId,
    /// The severity of its alerts.
    pub severity: Severity,
    /// The number of hours after an alert of this rule during which further ones of the same patient are stored but not
    /// published.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quiet_hours: u32,
    /// The condition under which it fires.
    pub when: RuleCondition,
}

/// The condition of an alert rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RuleCondition {
    /// An answer is in a range, whether or not a score can be computed.
    Item(Threshold<ItemId>),
    /// A score is in a range.
    Score(Threshold<ScoreId>),
    /// A score is in one of some bands.
    Band(InBands),
    /// A score got worse.
    Change(ScoreChange),
    /// A score was in a range several times among the last submissions.
    Consecutive(Consecutive),
    /// A score could not be computed.
    Incomplete(Incomplete),
}

/// An inclusive range of an answer or a score, with at least one end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Threshold<Of> {
    /// The item or score.
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
    /// The score.
    pub of: ScoreId,
    /// The ids of the bands.
    #[serde(rename = "in")]
    pub bands: Vec<String>,
}

/// A score got worse by a number of points or by a percentage of the earlier value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScoreChange {
    /// The score.
    pub of: ScoreId,
    /// The earlier score to compare with.
    pub against: Against,
    /// The direction that is worse. A change in the other one never fires.
    pub worse: Direction,
    /// The minimum change, in points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Number>,
    /// The minimum change, in percent of the earlier value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_percent: Option<Number>,
}

/// The earlier score that a change is measured from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Against {
    /// The first score of the patient's course.
    Baseline,
    /// The score of the previous submission.
    Previous,
}

/// The direction of a score that is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// A higher score is worse.
    Higher,
    /// A lower score is worse.
    Lower,
}

/// A score is in a range, and was so at least `times` times among the last `last` submissions, including this one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Consecutive {
    /// The score.
    pub of: ScoreId,
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Number>,
    /// The greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Number>,
    /// The minimum number of times.
    pub times: usize,
    /// The number of submissions to look at.
    pub last: usize,
}

/// A score could not be computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Incomplete {
    /// The score.
    pub of: ScoreId,
}

impl Serialize for TableCell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.from == self.to { self.from.serialize(serializer) } else { (self.from, self.to).serialize(serializer) }
    }
}

/// Implemented by hand, because an untagged enum would lose the location and the cause of an error inside it.
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

/// Implemented by hand, because an untagged enum would lose the location and the cause of an error inside it.
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
                    .ok_or_else(|| E::custom("the number has too many digits"))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Operation, A::Error> {
                Apply::deserialize(MapAccessDeserializer::new(map)).map(|apply| Operation::Apply(Box::new(apply)))
            }
        }

        deserializer.deserialize_any(AnyOperation)
    }
}
