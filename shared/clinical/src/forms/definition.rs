//! The JSON format of a form, which a data manager reads and signs off.
//!
//! These types are plain data; `Form::parse` validates them. Numbers are decimal and exact. Texts are by language tag
//! (BCP 47).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::document::{Number, Texts, is_false};
use crate::ids::{CheckId, FieldId, FormId, FormVersion};

/// The definition of a form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FormDefinition {
    /// The location of the JSON Schema of this format, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The form's id.
    pub id: FormId,
    /// The version of this definition. A version that was used never changes.
    pub version: FormVersion,
    /// The form's name.
    pub title: Texts,
    /// The standards and publications that fields and limits follow.
    pub sources: Vec<String>,
    /// Notes for reviewers: the choices made where sources differ or are silent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The fields that identify a row. Reports repeat their values, so that a row can be found.
    pub key: Vec<FieldId>,
    /// The sets of codes that fields use, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub code_lists: BTreeMap<String, CodeList>,
    /// The units of results, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, Unit>,
    /// The fields that are checked. Other columns of a row are ignored.
    pub fields: Vec<Field>,
    /// The edit checks, in the order in which reports list them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<Check>,
}

/// A set of codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CodeList {
    /// The codes, as they appear in rows.
    pub codes: Vec<String>,
    /// Whether other codes may occur, which are a soft finding then.
    #[serde(default, skip_serializing_if = "is_false")]
    pub extensible: bool,
}

/// A unit: a base unit, or one that is converted to a base unit by `(value - subtract) * multiply / divide`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unit {
    /// The base unit that it is converted to; if absent, the unit is a base unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The number that is subtracted first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtract: Option<Number>,
    /// The factor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply: Option<Number>,
    /// The divisor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divide: Option<Number>,
}

/// A field of a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Field {
    /// The field's id, which is its column name.
    pub id: FieldId,
    /// Alternative column names, tried in order if the first has no value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<FieldId>,
    /// The type of the value.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// The display name.
    pub title: Texts,
    /// Whether each row must have a value.
    #[serde(default, skip_serializing_if = "is_false")]
    pub required: bool,
    /// For `codelist`: the name of the list of codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub codes: Option<String>,
    /// For `text`: the maximum number of characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_length: Option<usize>,
    /// For `text`: the regular expression that the entire value must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// For `integer` and `decimal`: the field that holds the value's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<FieldId>,
}

/// The type of a field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    /// Any text.
    Text,
    /// An integer, as a JSON number or as text.
    Integer,
    /// A number, as a JSON number or as text.
    Decimal,
    /// An ISO 8601 date, complete or partial: `2012`, `2012-11`, `2012-11-23`, or `2012---23` with an unknown month.
    Date,
    /// A date, optionally with a time: `2012-11-23T08:15`, with or without seconds and offset.
    Datetime,
    /// A code of a code list.
    Codelist,
    /// `true` or `false`, or as text `Y`, `N`, `true` or `false`.
    Boolean,
    /// A unit of the form.
    Unit,
}

/// An edit check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Check {
    /// The check's id.
    pub id: CheckId,
    /// The version of the check.
    pub version: FormVersion,
    /// The severity of its findings.
    pub severity: CheckSeverity,
    /// The condition of the rows that it applies to; all rows if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<CheckCondition>,
    /// Whether a finding about rows with the same values is reported only for the first of them, with the indices of
    /// the others, instead of for each. For soft `unique` and `repeats` checks.
    #[serde(default, skip_serializing_if = "is_false")]
    pub once_per_group: bool,
    /// The rule that rows must satisfy.
    pub rule: CheckRule,
    /// The message of its findings, which must not contain a value.
    pub message: Texts,
}

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckSeverity {
    /// The value may be correct and must be confirmed by a person.
    Soft,
    /// The value cannot be correct: the row is rejected.
    Hard,
}

/// A condition of rows. It is neither true nor false if a field cannot be read; the check is then not evaluated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckCondition {
    /// The field's text is one of the listed codes.
    In(OneOf),
    /// The field has a value.
    Present(FieldId),
    /// The field has no value.
    Absent(FieldId),
    /// All conditions hold.
    All(Vec<CheckCondition>),
    /// At least one condition holds.
    Any(Vec<CheckCondition>),
    /// The condition does not hold.
    Not(Box<CheckCondition>),
}

/// The rule that the rows of a check must satisfy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CheckRule {
    /// Each of the fields has a value.
    Required(Vec<FieldId>),
    /// At least one of the fields has a value.
    RequiredAny(Vec<FieldId>),
    /// None of the fields has a value.
    Forbidden(Vec<FieldId>),
    /// The field has one of the listed codes, if it has a value.
    OneOf(OneOf),
    /// At least one of the fields has one of the listed codes, if any has a value.
    AnyOf(AnyOf),
    /// The number is in an inclusive range.
    Range(Range),
    /// A date is not after another. Partial dates are a finding only if every completion violates the order.
    Order(Order),
    /// The date is not after today.
    NotFuture(FieldId),
    /// Two numbers of the row have the given order.
    Compare(Compare),
    /// A number equals the result of a computation from other fields.
    Equals(Equals),
    /// No other row of the batch has the same values in the fields.
    Unique(Vec<FieldId>),
    /// At most a given number of rows of the batch have the same values in the fields.
    Repeats(Repeats),
    /// The number differs from that of the chronologically preceding row by at most a limit.
    Change(ChangeLimit),
    /// The field is the id of one of the caller's sites, if it has a value.
    KnownSite(FieldId),
    /// The field is the id of an enrolled subject, if it has a value.
    KnownSubject(FieldId),
}

/// The field's text is one of the listed codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OneOf {
    /// The field.
    pub field: FieldId,
    /// The codes.
    #[serde(rename = "in")]
    pub codes: Vec<String>,
}

/// One of the fields' texts is one of the listed codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AnyOf {
    /// The fields.
    pub fields: Vec<FieldId>,
    /// The codes.
    #[serde(rename = "in")]
    pub codes: Vec<String>,
}

/// A range of a number, with at least one end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Range {
    /// The field.
    pub field: FieldId,
    /// The unit of the ends, to which the value is converted from the unit in its row.
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
    /// The field that must not be later.
    pub first: FieldId,
    /// The field that must not be earlier, to which findings refer.
    pub then: FieldId,
}

/// Two numbers have the given order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Compare {
    /// The first field, to which findings refer.
    pub field: FieldId,
    /// The required comparison.
    pub is: Comparison,
    /// The second field.
    pub than: FieldId,
}

/// The comparison of two numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// Less than.
    Below,
    /// Less than or equal to.
    AtMost,
    /// Equal to.
    Equal,
    /// Not equal to.
    NotEqual,
    /// Greater than or equal to.
    AtLeast,
    /// Greater than.
    Above,
}

/// A number equals the result of a computation from other fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Equals {
    /// The field.
    pub field: FieldId,
    /// The unit to which the entered number is converted; if absent, it is compared as entered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The computation.
    pub to: Computed,
    /// The number of decimals to which the result is rounded, half up; not rounded if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decimals: Option<u32>,
    /// The allowed difference; zero if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<Number>,
}

/// A computation from fields of the row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Computed {
    /// The first field's number, converted to the unit in the second field.
    Converted(Box<(FieldId, FieldId)>),
    /// The sum of the fields.
    Sum(Vec<FieldId>),
    /// The first minus the second.
    Difference(Box<(FieldId, FieldId)>),
    /// The product of the fields.
    Product(Vec<FieldId>),
    /// The first divided by the second.
    Quotient(Box<(FieldId, FieldId)>),
    /// The completed years from the first date to the second, as in an age. With partial dates, any possible number is
    /// accepted.
    Years(Box<(FieldId, FieldId)>),
}

/// A maximum number of rows with the same values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Repeats {
    /// The fields whose values are compared.
    pub of: Vec<FieldId>,
    /// The maximum number of rows.
    pub most: usize,
}

/// The maximum change of a number from the chronologically preceding row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChangeLimit {
    /// The field.
    pub field: FieldId,
    /// The unit to which both numbers are converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The fields that identify rows to compare, for example the subject and the test.
    pub same: Vec<FieldId>,
    /// The date by which rows are ordered.
    pub by: FieldId,
    /// The maximum change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most: Option<Number>,
    /// The maximum change, in percent of the earlier value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_percent: Option<Number>,
}
