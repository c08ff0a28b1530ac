//! The written form of a form: the JSON that a data manager reads and signs off, field by field.
//!
//! A definition is only data; `Form::parse` checks it. Numbers are decimal and exact. Texts are by language tag (BCP 47).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{Number, Texts, is_false};
use crate::ids::{CheckId, FieldId, FormId, FormVersion};

/// A form as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FormDefinition {
    /// Where the JSON Schema of this format lies; for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The form's id.
    pub id: FormId,
    /// The version of this definition. A version once used never changes.
    pub version: FormVersion,
    /// The form's name.
    pub title: Texts,
    /// The standards and publications that fields and limits follow.
    pub sources: Vec<String>,
    /// What a reviewer should know: choices made where sources differ or say nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The fields that tell one row from another. Answers repeat their values, so that a row can be found.
    pub key: Vec<FieldId>,
    /// The sets of codes that fields use, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub code_lists: BTreeMap<String, CodeList>,
    /// The units that results may have, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, Unit>,
    /// The fields that are checked. What else a row has is left alone.
    pub fields: Vec<Field>,
    /// The edit checks, in the order in which they are reported.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// A set of codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CodeList {
    /// The codes, as they are written in a row.
    pub codes: Vec<String>,
    /// Whether others may occur: they are a soft finding then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub extensible: bool,
}

/// A unit: a base, or how to come from it to one: `(value - subtract) * multiply / divide`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unit {
    /// The base that it is converted to; without it the unit is a base.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// What is subtracted first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtract: Option<Number>,
    /// The factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply: Option<Number>,
    /// The divisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divide: Option<Number>,
}

/// One field of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// The field's id, which is its name in a row.
    pub id: FieldId,
    /// Other names that it has in rows, tried in turn where the first has no value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<FieldId>,
    /// What a value is.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// What people call it.
    pub title: Texts,
    /// Whether each row needs a value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// For `codelist`: the name of the list of codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<String>,
    /// For `text`: how many characters a value may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// For `text`: the regular expression that a whole value matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// For `integer` and `decimal`: the field that holds the value's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<FieldId>,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// Any text.
    Text,
    /// A whole number, as a number or as text.
    Integer,
    /// A number, as a number or as text.
    Decimal,
    /// A date of ISO 8601, whole or partial: `2012`, `2012-11`, `2012-11-23`, `2012---23` where the month is not known.
    Date,
    /// A date, or one with a time: `2012-11-23T08:15`, with or without seconds and offset.
    Datetime,
    /// One of the codes of a list.
    Codelist,
    /// `true` or `false`; as text `Y`, `N`, `true` or `false`.
    Boolean,
    /// One of the form's units.
    Unit,
}

/// One edit check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// The check's id.
    pub id: CheckId,
    /// The version of the check.
    pub version: FormVersion,
    /// What a finding means for the row.
    pub severity: CheckSeverity,
    /// The rows that it is for; without it all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<CheckCondition>,
    /// Whether a finding over rows with the same values is reported once, at the first of them, and names the others; for
    /// `unique` and `repeats` of soft checks. Otherwise it is reported at each.
    #[serde(default, skip_serializing_if = "is_false")]
    pub once_per_group: bool,
    /// What must hold.
    pub rule: CheckRule,
    /// What a finding says. It names no value.
    pub message: Texts,
}

/// What a finding means for its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckSeverity {
    /// It may be right, and somebody has to say so.
    Soft,
    /// It cannot be right: the row is rejected.
    Hard,
}

/// What holds of a row. A condition over a field that cannot be read is neither true nor false: the check is not evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckCondition {
    /// The field's text is one of these.
    In(OneOf),
    /// The field has a value.
    Present(FieldId),
    /// The field has no value.
    Absent(FieldId),
    /// All of these hold.
    All(Vec<CheckCondition>),
    /// Any of these holds.
    Any(Vec<CheckCondition>),
    /// This does not hold.
    Not(Box<CheckCondition>),
}

/// What must hold of the rows that a check is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckRule {
    /// Each of these fields has a value.
    Required(Vec<FieldId>),
    /// At least one of these fields has a value.
    RequiredAny(Vec<FieldId>),
    /// None of these fields has a value.
    Forbidden(Vec<FieldId>),
    /// The field, where it has a value, has one of these.
    OneOf(OneOf),
    /// At least one of these fields, where any has a value, has one of these values.
    AnyOf(AnyOf),
    /// The number lies in a range, both ends in it.
    Range(Range),
    /// A date is not after another. Of partial dates only what no completion of them can mend is a finding.
    Order(Order),
    /// The date is not after today.
    NotFuture(FieldId),
    /// Two numbers of the row compare so.
    Compare(Compare),
    /// A number is what is computed from others.
    Equals(Equals),
    /// No other row of the batch has the same values in these fields.
    Unique(Vec<FieldId>),
    /// At most so many rows of the batch have the same values in these fields.
    Repeats(Repeats),
    /// The number differs from that of the row before it in time by no more than this.
    Change(ChangeLimit),
    /// The field, where it has a value, names one of the caller's sites.
    KnownSite(FieldId),
    /// The field, where it has a value, names an enrolled subject.
    KnownSubject(FieldId),
}

/// The field's text is one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneOf {
    /// Which field.
    pub field: FieldId,
    /// The texts.
    #[serde(rename = "in")]
    pub codes: Vec<String>,
}

/// One of the fields' texts is one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnyOf {
    /// Which fields.
    pub fields: Vec<FieldId>,
    /// The texts.
    #[serde(rename = "in")]
    pub codes: Vec<String>,
}

/// A range of a number; at least one end is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// Which field.
    pub field: FieldId,
    /// The unit of the ends: the value is converted to it from the unit that its row names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The least value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Number>,
    /// The greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Number>,
}

/// A date is not after another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// The earlier one.
    pub first: FieldId,
    /// The later one, at which a finding is told.
    pub then: FieldId,
}

/// Two numbers compare so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compare {
    /// The first, at which a finding is told.
    pub field: FieldId,
    /// How.
    pub is: Comparison,
    /// The second.
    pub than: FieldId,
}

/// How two numbers compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Less than.
    Below,
    /// Not more than.
    AtMost,
    /// Equal to.
    Equal,
    /// Other than.
    NotEqual,
    /// Not less than.
    AtLeast,
    /// More than.
    Above,
}

/// A number is what is computed from others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Equals {
    /// Which field.
    pub field: FieldId,
    /// The unit that the entered number is converted to, where it has one; without it the number is taken as entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What is computed.
    pub to: Computed,
    /// To how many decimals the result is rounded, half up; without it not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u32>,
    /// By how much the two may differ; without it not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Number>,
}

/// What is computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Computed {
    /// The first field's number in the unit that the second field names.
    Converted(Box<(FieldId, FieldId)>),
    /// The sum of the fields.
    Sum(Vec<FieldId>),
    /// The first less the second.
    Difference(Box<(FieldId, FieldId)>),
    /// The product of the fields.
    Product(Vec<FieldId>),
    /// The first by the second.
    Quotient(Box<(FieldId, FieldId)>),
    /// Whole years from the first date to the second, as an age is counted. Of partial dates any number that fits is right.
    Years(Box<(FieldId, FieldId)>),
}

/// At most so many rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repeats {
    /// The same values in these fields.
    pub of: Vec<FieldId>,
    /// How many.
    pub most: usize,
}

/// By how much a number may differ from that of the row before it in time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeLimit {
    /// Which field.
    pub field: FieldId,
    /// The unit that both are converted to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Rows with the same values in these fields are compared: the subject, the test.
    pub same: Vec<FieldId>,
    /// The date that orders them.
    pub by: FieldId,
    /// At most by this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Number>,
    /// At most by this percentage of the earlier value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_percent: Option<Number>,
}
