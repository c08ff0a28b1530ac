//! Checking a form's definition and resolving its names, so that checking rows has nothing left to look up or to doubt.

mod rules;

use std::collections::{BTreeSet, HashMap, HashSet};

use regex_lite::Regex;
use rust_decimal::Decimal;
use serde_json::Value;

use super::definition::{CheckSeverity, Comparison, Field, FieldKind, FormDefinition};
use crate::bounds;
use crate::definition::Texts;
use crate::finding::pointer;
use crate::ids::FieldId;
use crate::load::texts::is_language_tag;
use crate::load::{DefinitionFault, read};

/// How many characters a text may have if its field does not say: what SAS keeps of one.
const TEXT_LENGTH: usize = 200;

/// A definition with its names resolved: fields, units and checks by their place.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) fields: Vec<LoadedField>,
    /// By a column's name: the field, and which of the field's names it is.
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

/// By how much a number may change.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    Points(Decimal),
    Percent(Decimal),
}

/// Reads and checks a definition.
///
/// # Errors
///
/// Everything that is wrong with it; of faults in its form the first only.
pub(super) fn load(json: &str) -> Result<(FormDefinition, Program, Value), Vec<DefinitionFault>> {
    let (definition, document): (FormDefinition, Value) = read(json, &bounds::FORM)?;
    let mut loader =
        Loader { definition: &definition, faults: Vec::new(), places: HashMap::new(), units: HashMap::new() };
    let program = loader.program();
    let mut faults = loader.faults;
    faults.extend(bounds::FORM.beyond_bounds(&document, &faults));
    if faults.is_empty() { Ok((definition, program, document)) } else { Err(faults) }
}

struct Loader<'a> {
    definition: &'a FormDefinition,
    faults: Vec<DefinitionFault>,
    places: HashMap<&'a FieldId, usize>,
    units: HashMap<&'a str, usize>,
}

impl<'a> Loader<'a> {
    /// What can be resolved; worth something only if no fault was found.
    fn program(&mut self) -> Program {
        let definition = self.definition;
        if definition.sources.is_empty() {
            self.fault("/sources", "source.none", "the form has no source", "name the standard that it follows");
        }
        self.check_languages(&definition.title, "/title");
        self.check_code_lists();
        let units = self.load_units();
        let names = self.load_names();
        let fields = self.load_fields();
        let key = self.load_key();
        let checks = self.load_checks();
        Program { fields, names, key, units, checks }
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
                self.fault(pointer(at, language), "text.none", "the text is empty", "write what people read");
            }
        }
        // Other texts are held to the title's languages.
        if at == "/title" && (texts.is_empty() || !texts.keys().all(|tag| is_language_tag(tag))) {
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
        for (name, list) in &definition.code_lists {
            let at = pointer("/codeLists", name);
            if list.codes.is_empty() {
                self.fault(pointer(&at, "codes"), "codes.none", "the list has no codes", "list the codes");
            }
            if !definition.fields.iter().any(|field| field.codes.as_ref() == Some(name)) {
                self.fault(&at, "codes.unused", "no field uses the list", "remove it, or name it in a field");
            }
            let mut seen = BTreeSet::new();
            for (index, code) in list.codes.iter().enumerate() {
                let at = format!("{at}/codes/{index}");
                if code.trim() != code || code.is_empty() {
                    self.fault(
                        &at,
                        "codes.blank",
                        "the code is empty or has white space around it, which values are read without",
                        "write the code alone",
                    );
                }
                if !seen.insert(code) {
                    self.fault(at, "codes.duplicate", "the code is in the list before", "list each code once");
                }
            }
        }
    }

    fn load_units(&mut self) -> Vec<LoadedUnit> {
        let definition = self.definition;
        self.units = definition.units.keys().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let mut units = Vec::new();
        for (place, (name, unit)) in definition.units.iter().enumerate() {
            let at = pointer("/units", name);
            let factors = [unit.subtract, unit.multiply, unit.divide];
            let base = match &unit.to {
                None if factors.iter().any(Option::is_some) => {
                    self.fault(
                        &at,
                        "unit.base",
                        "the unit says how it is converted and not to what",
                        "name a unit in `to`, or leave the factors out",
                    );
                    place
                }
                None => place,
                Some(to) => match self.units.get(to.as_str()) {
                    Some(base) if definition.units[to].to.is_none() => *base,
                    _ => {
                        self.fault(
                            pointer(&at, "to"),
                            "unit.base",
                            format!("{to} is no unit here, or itself one that is converted"),
                            "convert to a unit of `units` that has no `to`",
                        );
                        place
                    }
                },
            };
            let or =
                |number: Option<crate::definition::Number>, default: Decimal| number.map_or(default, |number| number.0);
            let loaded = LoadedUnit {
                name: name.clone(),
                base,
                subtract: or(unit.subtract, Decimal::ZERO),
                multiply: or(unit.multiply, Decimal::ONE),
                divide: or(unit.divide, Decimal::ONE),
            };
            for (name, factor) in [("multiply", loaded.multiply), ("divide", loaded.divide)] {
                if factor <= Decimal::ZERO {
                    self.fault(
                        pointer(&at, name),
                        "unit.factor",
                        "a factor is more than zero",
                        "give the factor that converts the unit to its base",
                    );
                }
            }
            units.push(loaded);
        }
        units
    }

    /// The fields by all their names.
    fn load_names(&mut self) -> HashMap<String, (usize, usize)> {
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
                    self.fault(
                        at,
                        "field.duplicate",
                        format!("{name} is the name of a field before"),
                        "give each field names of its own",
                    );
                }
            }
        }
        if definition.fields.is_empty() {
            self.fault("/fields", "field.none", "the form has no fields", "list the fields that are checked");
        }
        names
    }

    fn load_fields(&mut self) -> Vec<LoadedField> {
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
                self.fault(
                    pointer(at, name),
                    "field.attribute",
                    format!("`{name}` is for fields of type {kind}"),
                    "remove it, or change the type",
                );
            }
        }
        self.check_languages(&field.title, &pointer(at, "title"));
        let list = field.codes.as_ref().and_then(|name| self.definition.code_lists.get(name));
        if field.kind == FieldKind::Codelist && list.is_none() {
            self.fault(
                pointer(at, "codes"),
                "field.codes",
                "the field has no list of codes, or one that is not there",
                "name a list of `codeLists`",
            );
        }
        if field.kind == FieldKind::Unit && self.units.is_empty() {
            self.fault(pointer(at, "type"), "field.units", "the form has no units", "list them in `units`");
        }
        if field.max_length == Some(0) {
            self.fault(
                pointer(at, "maxLength"),
                "field.length",
                "no value is that short",
                "set how many characters a value may have",
            );
        }
        let pattern = field.pattern.as_ref().and_then(|pattern| match Regex::new(&format!("^(?:{pattern})$")) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                self.fault(
                    pointer(at, "pattern"),
                    "field.pattern",
                    format!("the pattern is no regular expression: {error}"),
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

    fn load_key(&mut self) -> Vec<usize> {
        let definition = self.definition;
        if definition.key.is_empty() && !definition.fields.is_empty() {
            self.fault("/key", "key.none", "no field tells one row from another", "name the fields that do");
        }
        self.fields(&definition.key, "/key")
    }

    /// The places of several different fields.
    fn fields(&mut self, ids: &'a [FieldId], at: &str) -> Vec<usize> {
        let mut places = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let at = pointer(at, index);
            let Some(place) = self.field(id, &at, &[]) else { continue };
            if places.contains(&place) {
                self.fault(at, "field.repeated", format!("{id} is named before"), "name each field once");
            }
            places.push(place);
        }
        places
    }

    /// The place of a field, of one of `kinds` if there are any.
    fn field(&mut self, id: &FieldId, at: &str, kinds: &[FieldKind]) -> Option<usize> {
        let Some(place) = self.places.get(id).copied() else {
            self.fault(at, "field.unknown", format!("there is no field {id}"), "name a field of `fields` by its id");
            return None;
        };
        let kind = self.definition.fields[place].kind;
        if !kinds.is_empty() && !kinds.contains(&kind) {
            let wanted: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
            self.fault(
                at,
                "field.type",
                format!("{id} is of type {}", format!("{kind:?}").to_lowercase()),
                format!("name a field of type {}", wanted.join(" or ")),
            );
            return None;
        }
        Some(place)
    }
}
