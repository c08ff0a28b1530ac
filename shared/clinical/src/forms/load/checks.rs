//! Edit checks: their fields exist and have suitable types, and each check can fail.

use rust_decimal::Decimal;

use super::loader::Loader;
use crate::document::{Number, pointer};
use crate::forms::definition::{
    ChangeLimit, Check, CheckCondition, CheckRule, CheckSeverity, Computed, Equals, FieldKind, Range,
};
use crate::forms::program::{Limit, LoadedCheck, LoadedComputed, LoadedCondition, LoadedRule};
use crate::ids::FieldId;

const NUMBERS: [FieldKind; 2] = [FieldKind::Integer, FieldKind::Decimal];
const DATES: [FieldKind; 2] = [FieldKind::Date, FieldKind::Datetime];
const CODED: [FieldKind; 3] = [FieldKind::Text, FieldKind::Codelist, FieldKind::Unit];
const NAMES: [FieldKind; 2] = [FieldKind::Text, FieldKind::Codelist];

/// The maximum number of decimals of a rounded result.
const MOST_DECIMALS: u32 = 10;

impl<'a> Loader<'a> {
    pub(super) fn load_checks(&mut self) -> Vec<LoadedCheck> {
        let definition = self.definition;
        let mut checks = Vec::new();
        for (index, check) in definition.checks.iter().enumerate() {
            let at = pointer("/checks", index);
            if definition.checks[..index].iter().any(|before| before.id == check.id) {
                self.faults.add(
                    pointer(&at, "id"),
                    "check.duplicate",
                    format!("the check id {} is used twice", check.id),
                    "give each check a unique id",
                );
            }
            self.check_languages(&check.message, &pointer(&at, "message"));
            let when = check.when.as_ref().map(|when| self.condition(when, &pointer(&at, "when")));
            let rule = self.rule(check, &pointer(&at, "rule"));
            if let (Some(rule), Some(when)) = (rule, when.map_or(Some(None), |when| when.map(Some))) {
                let over_groups = matches!(rule, LoadedRule::Unique(_) | LoadedRule::Repeats { .. });
                if check.once_per_group && (!over_groups || check.severity == CheckSeverity::Hard) {
                    self.faults.add(
                        pointer(&at, "oncePerGroup"),
                        "check.once",
                        "only a soft `unique` or `repeats` check can be reported once per group",
                        "remove it: a hard check rejects each of the rows, and other checks concern single rows",
                    );
                }
                checks.push(LoadedCheck { severity: check.severity, when, once_per_group: check.once_per_group, rule });
            }
        }
        checks
    }

    fn condition(&mut self, condition: &'a CheckCondition, at: &str) -> Option<LoadedCondition> {
        Some(match condition {
            CheckCondition::In(one) => {
                let at = pointer(at, "in");
                LoadedCondition::In(self.coded(&one.field, &one.codes, &at)?, one.codes.clone())
            }
            CheckCondition::Present(field) => {
                LoadedCondition::Present(self.field(field, &pointer(at, "present"), &[])?)
            }
            CheckCondition::Absent(field) => LoadedCondition::Not(Box::new(LoadedCondition::Present(self.field(
                field,
                &pointer(at, "absent"),
                &[],
            )?))),
            CheckCondition::All(parts) => LoadedCondition::All(self.conditions(parts, &pointer(at, "all"))?),
            CheckCondition::Any(parts) => LoadedCondition::Any(self.conditions(parts, &pointer(at, "any"))?),
            CheckCondition::Not(part) => LoadedCondition::Not(Box::new(self.condition(part, &pointer(at, "not"))?)),
        })
    }

    fn conditions(&mut self, parts: &'a [CheckCondition], at: &str) -> Option<Vec<LoadedCondition>> {
        self.not_empty(parts.len(), at);
        let parts: Vec<_> =
            parts.iter().enumerate().map(|(index, part)| self.condition(part, &pointer(at, index))).collect();
        parts.into_iter().collect()
    }

    fn rule(&mut self, check: &'a Check, at: &str) -> Option<LoadedRule> {
        Some(match &check.rule {
            CheckRule::Required(fields) => {
                let at = pointer(at, "required");
                let places = self.some(fields, &at);
                for (index, place) in places.iter().enumerate() {
                    if self.definition.fields[*place].required {
                        self.faults.add(
                            pointer(&at, index),
                            "check.redundant",
                            "the field is already required in each row",
                            "remove it here, or remove the field's `required`",
                        );
                    }
                }
                LoadedRule::Required(places)
            }
            CheckRule::RequiredAny(fields) => LoadedRule::RequiredAny(self.some(fields, &pointer(at, "requiredAny"))),
            CheckRule::Forbidden(fields) => LoadedRule::Forbidden(self.some(fields, &pointer(at, "forbidden"))),
            CheckRule::OneOf(one) => {
                LoadedRule::OneOf(self.coded(&one.field, &one.codes, &pointer(at, "oneOf"))?, one.codes.clone())
            }
            CheckRule::AnyOf(any) => {
                let at = pointer(at, "anyOf");
                let places = self.some(&any.fields, &pointer(&at, "fields"));
                for (index, field) in any.fields.iter().enumerate() {
                    self.codes_of(field, &any.codes, &pointer(&pointer(&at, "fields"), index), &at);
                }
                LoadedRule::AnyOf(places, any.codes.clone())
            }
            CheckRule::Range(range) => self.range(range, &pointer(at, "range"))?,
            CheckRule::Order(order) => {
                let at = pointer(at, "order");
                let first = self.field(&order.first, &pointer(&at, "first"), &DATES);
                let then = self.field(&order.then, &pointer(&at, "then"), &DATES);
                self.different(first, then, &pointer(&at, "then"));
                LoadedRule::Order { first: first?, then: then? }
            }
            CheckRule::NotFuture(field) => {
                LoadedRule::NotFuture(self.field(field, &pointer(at, "notFuture"), &DATES)?)
            }
            CheckRule::Compare(compare) => {
                let at = pointer(at, "compare");
                let field = self.field(&compare.field, &pointer(&at, "field"), &NUMBERS);
                let than = self.field(&compare.than, &pointer(&at, "than"), &NUMBERS);
                self.different(field, than, &pointer(&at, "than"));
                LoadedRule::Compare { field: field?, is: compare.is, than: than? }
            }
            CheckRule::Equals(equals) => self.equals(equals, &pointer(at, "equals"))?,
            CheckRule::Unique(fields) => LoadedRule::Unique(self.some(fields, &pointer(at, "unique"))),
            CheckRule::Repeats(repeats) => {
                let at = pointer(at, "repeats");
                if repeats.most == 0 {
                    let at = pointer(&at, "most");
                    self.faults.add(at, "check.limit", "no row would be allowed", "set the number of allowed rows");
                }
                LoadedRule::Repeats { of: self.some(&repeats.of, &pointer(&at, "of")), most: repeats.most }
            }
            CheckRule::Change(change) => self.change(change, &pointer(at, "change"))?,
            CheckRule::KnownSite(field) => {
                LoadedRule::KnownSite(self.field(field, &pointer(at, "knownSite"), &NAMES)?)
            }
            CheckRule::KnownSubject(field) => {
                LoadedRule::KnownSubject(self.field(field, &pointer(at, "knownSubject"), &NAMES)?)
            }
        })
    }

    fn range(&mut self, range: &'a Range, at: &str) -> Option<LoadedRule> {
        let field = self.field(&range.field, &pointer(at, "field"), &NUMBERS);
        let unit = field.and_then(|field| self.unit(field, range.unit.as_deref(), at));
        let (min, max) = (range.min.map(|min| min.0), range.max.map(|max| max.0));
        match (min, max) {
            (None, None) => {
                self.faults.add(at, "check.range", "the range has no end", "give `min`, `max` or both");
            }
            (Some(min), Some(max)) if min > max => self.faults.add(
                pointer(at, "max"),
                "check.range",
                format!("the range is empty: from {min} to {max}"),
                "give the least value as `min` and the greatest as `max`",
            ),
            _ => {}
        }
        Some(LoadedRule::Range { field: field?, unit: unit?, min, max })
    }

    fn equals(&mut self, equals: &'a Equals, at: &str) -> Option<LoadedRule> {
        let field = self.field(&equals.field, &pointer(at, "field"), &NUMBERS);
        let unit = match (field, equals.unit.as_deref()) {
            (Some(field), Some(unit)) => self.unit(field, Some(unit), at),
            _ => Some(None),
        };
        let to = self.computed(&equals.to, &pointer(at, "to"));
        if equals.decimals.is_some_and(|decimals| decimals > MOST_DECIMALS) {
            self.faults.add(
                pointer(at, "decimals"),
                "check.decimals",
                "the number of decimals is out of range",
                format!("set it from 0 to {MOST_DECIMALS}"),
            );
        }
        let tolerance = equals.tolerance.map_or(Decimal::ZERO, |tolerance| tolerance.0);
        if tolerance < Decimal::ZERO {
            self.faults.add(
                pointer(at, "tolerance"),
                "check.limit",
                "the tolerance is negative",
                "set the allowed difference, or remove it",
            );
        }
        Some(LoadedRule::Equals { field: field?, unit: unit?, to: to?, decimals: equals.decimals, tolerance })
    }

    fn computed(&mut self, computed: &'a Computed, at: &str) -> Option<LoadedComputed> {
        Some(match computed {
            Computed::Converted(pair) => {
                let at = pointer(at, "converted");
                let number = self.field(&pair.0, &pointer(&at, 0), &NUMBERS);
                let unit = self.field(&pair.1, &pointer(&at, 1), &[FieldKind::Unit]);
                if let Some(number) = number
                    && self.definition.fields[number].unit.is_none()
                {
                    self.faults.add(
                        pointer(&at, 0),
                        "check.unit",
                        format!("{} has no unit to convert from", pair.0),
                        "set the field's `unit` to the field with its unit",
                    );
                }
                LoadedComputed::Converted(number?, unit?)
            }
            Computed::Sum(parts) => LoadedComputed::Sum(self.numbers(parts, &pointer(at, "sum"))?),
            Computed::Product(parts) => LoadedComputed::Product(self.numbers(parts, &pointer(at, "product"))?),
            Computed::Difference(pair) => {
                let (one, other) = self.pair(pair, &pointer(at, "difference"), &NUMBERS)?;
                LoadedComputed::Difference(one, other)
            }
            Computed::Quotient(pair) => {
                let (one, other) = self.pair(pair, &pointer(at, "quotient"), &NUMBERS)?;
                LoadedComputed::Quotient(one, other)
            }
            Computed::Years(pair) => {
                let (from, to) = self.pair(pair, &pointer(at, "years"), &DATES)?;
                LoadedComputed::Years(from, to)
            }
        })
    }

    fn change(&mut self, change: &'a ChangeLimit, at: &str) -> Option<LoadedRule> {
        let field = self.field(&change.field, &pointer(at, "field"), &NUMBERS);
        let unit = field.and_then(|field| self.unit(field, change.unit.as_deref(), at));
        let same = self.some(&change.same, &pointer(at, "same"));
        let by = self.field(&change.by, &pointer(at, "by"), &DATES);
        let positive = |number: Option<Number>| number.map(|number| number.0).filter(|number| *number > Decimal::ZERO);
        let most = match (change.most, change.most_percent) {
            (Some(_), None) => positive(change.most).map(Limit::Points),
            (None, Some(_)) => positive(change.most_percent).map(Limit::Percent),
            _ => None,
        };
        if most.is_none() {
            self.faults.add(
                at,
                "check.limit",
                "the change has no limit, two limits, or one that is not above zero",
                "set either `most` or `mostPercent`, above zero",
            );
        }
        Some(LoadedRule::Change { field: field?, unit: unit?, same, by: by?, most: most? })
    }

    /// The unit of a limit on `field`; `None` if the field does not have units, or not this one.
    fn unit(&mut self, field: usize, unit: Option<&str>, at: &str) -> Option<Option<usize>> {
        let has_unit = self.definition.fields[field].unit.is_some();
        match unit {
            None if has_unit => {
                self.faults.add(
                    at,
                    "check.unit",
                    "the field's value has a unit, and the limits have none",
                    "set the `unit` of the limits",
                );
                None
            }
            None => Some(None),
            Some(_) if !has_unit => {
                self.faults.add(
                    pointer(at, "unit"),
                    "check.unit",
                    "the field's value has no unit to convert from",
                    "remove `unit`, or set the field's `unit` to the field with its unit",
                );
                None
            }
            Some(unit) => match self.units.get(unit) {
                Some(unit) => Some(Some(*unit)),
                None => {
                    self.faults.add(
                        pointer(at, "unit"),
                        "check.unit",
                        format!("there is no conversion to {unit}"),
                        "use a unit of `units`",
                    );
                    None
                }
            },
        }
    }

    /// The index of a field that can have each of the codes.
    fn coded(&mut self, field: &'a FieldId, codes: &'a [String], at: &str) -> Option<usize> {
        self.codes_of(field, codes, &pointer(at, "field"), at)
    }

    fn codes_of(&mut self, id: &'a FieldId, codes: &'a [String], at: &str, parent: &str) -> Option<usize> {
        let place = self.field(id, at, &CODED)?;
        let at = pointer(parent, "in");
        self.not_empty(codes.len(), &at);
        let definition = self.definition;
        let field = &definition.fields[place];
        let list = field.codes.as_ref().and_then(|name| definition.code_lists.get(name));
        for (index, code) in codes.iter().enumerate() {
            let can_be = match (field.kind, list) {
                (FieldKind::Unit, _) => definition.units.contains_key(code),
                (_, Some(list)) => list.extensible || list.codes.contains(code),
                _ => true,
            };
            if !can_be {
                self.faults.add(
                    pointer(&at, index),
                    "check.code",
                    format!("{id} cannot have the value {code}"),
                    "use a code of the field's list",
                );
            }
        }
        Some(place)
    }

    fn numbers(&mut self, ids: &'a [FieldId], at: &str) -> Option<Vec<usize>> {
        self.not_empty(ids.len(), at);
        let places: Vec<_> =
            ids.iter().enumerate().map(|(index, id)| self.field(id, &pointer(at, index), &NUMBERS)).collect();
        places.into_iter().collect()
    }

    fn pair(&mut self, pair: &'a (FieldId, FieldId), at: &str, kinds: &[FieldKind]) -> Option<(usize, usize)> {
        let one = self.field(&pair.0, &pointer(at, 0), kinds);
        let other = self.field(&pair.1, &pointer(at, 1), kinds);
        one.zip(other)
    }

    /// The indices of a non-empty list of fields.
    fn some(&mut self, ids: &'a [FieldId], at: &str) -> Vec<usize> {
        self.not_empty(ids.len(), at);
        self.fields(ids, at)
    }

    fn not_empty(&mut self, length: usize, at: &str) {
        if length == 0 {
            self.faults.add(at, "check.empty", "the list is empty", "list at least one entry");
        }
    }

    fn different(&mut self, one: Option<usize>, other: Option<usize>, at: &str) {
        if one.is_some() && one == other {
            self.faults.add(at, "check.same", "a field is compared with itself", "use two different fields");
        }
    }
}
