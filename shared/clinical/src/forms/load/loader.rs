//! The state of loading a form definition.

use std::collections::HashMap;

use crate::document::{Faults, Texts, pointer, texts};
use crate::forms::definition::{FieldKind, FormDefinition};
use crate::ids::FieldId;

pub(super) struct Loader<'a> {
    pub(super) definition: &'a FormDefinition,
    pub(super) faults: Faults,
    /// The indices of the fields.
    pub(super) places: HashMap<&'a FieldId, usize>,
    /// The indices of the units.
    pub(super) units: HashMap<&'a str, usize>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(definition: &'a FormDefinition) -> Self {
        Self { definition, faults: Faults::default(), places: HashMap::new(), units: HashMap::new() }
    }

    pub(super) fn check_languages(&mut self, texts: &Texts, at: &str) {
        texts::check(texts, &self.definition.title, at, "write the text that people read", &mut self.faults);
    }

    /// The indices of several different fields.
    pub(super) fn fields(&mut self, ids: &'a [FieldId], at: &str) -> Vec<usize> {
        let mut places = Vec::new();
        for (index, id) in ids.iter().enumerate() {
            let at = pointer(at, index);
            let Some(place) = self.field(id, &at, &[]) else { continue };
            if places.contains(&place) {
                self.faults.add(at, "field.repeated", format!("{id} is listed twice"), "list each field once");
            }
            places.push(place);
        }
        places
    }

    /// The index of a field, which must be of one of `kinds` if there are any.
    pub(super) fn field(&mut self, id: &FieldId, at: &str, kinds: &[FieldKind]) -> Option<usize> {
        let Some(place) = self.places.get(id).copied() else {
            self.faults.add(
                at,
                "field.unknown",
                format!("there is no field {id}"),
                "use the id of a field in `fields`",
            );
            return None;
        };
        let kind = self.definition.fields[place].kind;
        if !kinds.is_empty() && !kinds.contains(&kind) {
            let allowed: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}").to_lowercase()).collect();
            self.faults.add(
                at,
                "field.type",
                format!("{id} is of type {}", format!("{kind:?}").to_lowercase()),
                format!("use a field of type {}", allowed.join(" or ")),
            );
            return None;
        }
        Some(place)
    }
}
