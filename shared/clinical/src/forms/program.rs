//! A validated form definition with its names resolved, so that checking needs no lookups.

use std::collections::{HashMap, HashSet};

use regex_lite::Regex;
use rust_decimal::Decimal;

use super::definition::{CheckSeverity, Comparison, FieldKind};

/// A definition with its names resolved: fields, units and checks by their index.
#[derive(Debug)]
pub(super) struct CheckProgram {
    pub(super) fields: Vec<LoadedField>,
    /// By column name: the index of the field, and the rank of the name among the field's names.
    pub(super) names: HashMap<String, (usize, usize)>,
    pub(super) key: Vec<usize>,
    pub(super) units: Vec<LoadedUnit>,
    pub(super) checks: Vec<LoadedCheck>,
}

#[derive(Debug)]
pub(super) struct LoadedField {
    pub(super) kind: FieldKind,
    pub(super) required: bool,
    pub(super) max_length: usize,
    pub(super) pattern: Option<Regex>,
    pub(super) codes: HashSet<String>,
    pub(super) extensible: bool,
    pub(super) unit: Option<usize>,
}

/// `(value - subtract) * multiply / divide` is the value in the unit `base`.
#[derive(Debug)]
pub(super) struct LoadedUnit {
    pub(super) name: String,
    pub(super) base: usize,
    pub(super) subtract: Decimal,
    pub(super) multiply: Decimal,
    pub(super) divide: Decimal,
}

#[derive(Debug)]
pub(super) struct LoadedCheck {
    pub(super) severity: CheckSeverity,
    pub(super) when: Option<LoadedCondition>,
    pub(super) once_per_group: bool,
    pub(super) rule: LoadedRule,
}

#[derive(Debug)]
pub(super) enum LoadedCondition {
    In(usize, Vec<String>),
    Present(usize),
    All(Vec<LoadedCondition>),
    Any(Vec<LoadedCondition>),
    Not(Box<LoadedCondition>),
}

#[derive(Debug)]
pub(super) enum LoadedRule {
    Required(Vec<usize>),
    RequiredAny(Vec<usize>),
    Forbidden(Vec<usize>),
    OneOf(usize, Vec<String>),
    AnyOf(Vec<usize>, Vec<String>),
    Range { field: usize, unit: Option<usize>, min: Option<Decimal>, max: Option<Decimal> },
    Order { first: usize, then: usize },
    NotFuture(usize),
    Compare { field: usize, is: Comparison, than: usize },
    Equals { field: usize, unit: Option<usize>, to: LoadedComputed, decimals: Option<u32>, tolerance: Decimal },
    Unique(Vec<usize>),
    Repeats { of: Vec<usize>, most: usize },
    Change { field: usize, unit: Option<usize>, same: Vec<usize>, by: usize, most: Limit },
    KnownSite(usize),
    KnownSubject(usize),
}

#[derive(Debug)]
pub(super) enum LoadedComputed {
    Converted(usize, usize),
    Sum(Vec<usize>),
    Difference(usize, usize),
    Product(Vec<usize>),
    Quotient(usize, usize),
    Years(usize, usize),
}

/// The limit of a change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    Points(Decimal),
    Percent(Decimal),
}
