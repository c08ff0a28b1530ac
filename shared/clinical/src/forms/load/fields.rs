//! Fields, and the code lists and units that they use.

use std::collections::{BTreeSet, HashMap};

use regex_lite::Regex;
use rust_decimal::Decimal;

use super::loader::Loader;
use crate::document::{Number, pointer};
use crate::forms::definition::{Field, FieldKind};
use crate::forms::program::{LoadedField, LoadedUnit};

/// The default maximum number of characters of a text, which is the limit of SAS transport files.
const TEXT_LENGTH: usize = 200;

impl<'a> Loader<'a> {
    pub(super) fn check_code_lists(&mut self) {
        let definition = self.definition;
        for (name, list) in &definition.code_lists {
            let at = pointer("/codeLists", name);
            if list.codes.is_empty() {
                self.faults.add(pointer(&at, "codes"), "codes.none", "the list has no codes", "list the codes");
            }
            if !definition.fields.iter().any(|field| field.codes.as_ref() == Some(name)) {
                self.faults.add(&at, "codes.unused", "no field uses the list", "remove it, or use it in a field");
            }
            let mut seen = BTreeSet::new();
            for (index, code) in list.codes.iter().enumerate() {
                let at = format!("{at}/codes/{index}");
                if code.trim() != code || code.is_empty() {
                    self.faults.add(
                        &at,
                        "codes.blank",
                        "the code is empty or has surrounding white space, which is trimmed from values",
                        "write the code without white space",
                    );
                }
                if !seen.insert(code) {
                    self.faults.add(at, "codes.duplicate", "the list has the code twice", "list each code once");
                }
            }
        }
    }

    pub(super) fn load_units(&mut self) -> Vec<LoadedUnit> {
        let definition = self.definition;
        self.units = definition.units.keys().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let mut units = Vec::new();
        for (place, (name, unit)) in definition.units.iter().enumerate() {
            let at = pointer("/units", name);
            let factors = [unit.subtract, unit.multiply, unit.divide];
            let base = match &unit.to {
                None if factors.iter().any(Option::is_some) => {
                    self.faults.add(
                        &at,
                        "unit.base",
                        "the unit has conversion factors, but no unit to convert to",
                        "set `to` to a unit, or remove the factors",
                    );
                    place
                }
                None => place,
                Some(to) => match self.units.get(to.as_str()) {
                    Some(base) if definition.units[to].to.is_none() => *base,
                    _ => {
                        self.faults.add(
                            pointer(&at, "to"),
                            "unit.base",
                            format!("{to} is not a base unit of the form"),
                            "convert to a unit of `units` without `to`",
                        );
                        place
                    }
                },
            };
            let or = |number: Option<Number>, default: Decimal| number.map_or(default, |number| number.0);
            let loaded = LoadedUnit {
                name: name.clone(),
                base,
                subtract: or(unit.subtract, Decimal::ZERO),
                multiply: or(unit.multiply, Decimal::ONE),
                divide: or(unit.divide, Decimal::ONE),
            };
            for (name, factor) in [("multiply", loaded.multiply), ("divide", loaded.divide)] {
                if factor <= Decimal::ZERO {
                    self.faults.add(
                        pointer(&at, name),
                        "unit.factor",
                        "the factor is not above zero",
                        "set the factor that converts the unit to its base unit",
                    );
                }
            }
            units.push(loaded);
        }
        units
    }

    /// The fields by each of their names.
    pub(super) fn load_names(&mut self) -> HashMap<String, (usize, usize)> {
        let definition = self.definition;
        let mut names = HashMap::new();
        for (place, field) in definition.fields.iter().enumerate() {
            self.places.entry(&field.id).or_insert(place);
            for (rank, name) in std::iter::once(&field.id).chain(&field.also).enumerate() {
                if names.insert(name.as_str().to_owned(), (place, rank)).is_some() {
                    let at = match rank {
                        0 => format!("/fields/{place}/id"),
                        _ => format!("/fields/{place}/also/{}", rank - 1),
                    };
                    self.faults.add(
                        at,
                        "field.duplicate",
                        format!("the field name {name} is used twice"),
                        "give each field unique names",
                    );
                }
            }
        }
        if definition.fields.is_empty() {
            self.faults.add("/fields", "field.none", "the form has no fields", "list the fields that are checked");
        }
        names
    }

    pub(super) fn load_fields(&mut self) -> Vec<LoadedField> {
        let definition = self.definition;
        definition
            .fields
            .iter()
            .enumerate()
            .map(|(place, field)| self.load_field(field, &format!("/fields/{place}")))
            .collect()
    }

    fn load_field(&mut self, field: &'a Field, at: &str) -> LoadedField {
        let is_number = matches!(field.kind, FieldKind::Integer | FieldKind::Decimal);
        for (name, there, allowed, kind) in [
            ("codes", field.codes.is_some(), field.kind == FieldKind::Codelist, "codelist"),
            ("maxLength", field.max_length.is_some(), field.kind == FieldKind::Text, "text"),
            ("pattern", field.pattern.is_some(), field.kind == FieldKind::Text, "text"),
            ("unit", field.unit.is_some(), is_number, "integer or decimal"),
        ] {
            if there && !allowed {
                self.faults.add(
                    pointer(at, name),
                    "field.attribute",
                    format!("`{name}` is only for fields of type {kind}"),
                    "remove it, or change the type",
                );
            }
        }
        self.check_languages(&field.title, &pointer(at, "title"));
        let list = field.codes.as_ref().and_then(|name| self.definition.code_lists.get(name));
        if field.kind == FieldKind::Codelist && list.is_none() {
            self.faults.add(
                pointer(at, "codes"),
                "field.codes",
                "the field has no code list, or an unknown one",
                "set `codes` to the name of a list in `codeLists`",
            );
        }
        if field.kind == FieldKind::Unit && self.units.is_empty() {
            self.faults.add(pointer(at, "type"), "field.units", "the form has no units", "list them in `units`");
        }
        if field.max_length == Some(0) {
            self.faults.add(
                pointer(at, "maxLength"),
                "field.length",
                "no value can be that short",
                "set the maximum number of characters",
            );
        }
        let pattern = field.pattern.as_ref().and_then(|pattern| match Regex::new(&format!("^(?:{pattern})$")) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.faults.add(
                    pointer(at, "pattern"),
                    "field.pattern",
                    format!("the pattern is not a valid regular expression: {error}"),
                    "write a regular expression without look-around and back-references",
                );
                None
            }
        });
        let unit = field.unit.as_ref().and_then(|unit| self.field(unit, &pointer(at, "unit"), &[FieldKind::Unit]));
        LoadedField {
            kind: field.kind,
            required: field.required,
            max_length: field.max_length.unwrap_or(TEXT_LENGTH),
            pattern,
            codes: list.map(|list| list.codes.iter().cloned().collect()).unwrap_or_default(),
            extensible: list.is_some_and(|list| list.extensible),
            unit,
        }
    }

    pub(super) fn load_key(&mut self) -> Vec<usize> {
        let definition = self.definition;
        if definition.key.is_empty() && !definition.fields.is_empty() {
            self.faults.add("/key", "key.none", "no field identifies a row", "list the fields that do");
        }
        self.fields(&definition.key, "/key")
    }
}
