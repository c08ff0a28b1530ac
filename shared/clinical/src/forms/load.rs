//! Checking a form's definition and resolving its names, so that checking rows has nothing left to look up or to doubt.

mod checks;
mod fields;
mod loader;

use serde_json::Value;

use self::loader::Loader;
use super::definition::FormDefinition;
use super::program::CheckProgram;
use crate::document::{self, DefinitionFault, Schema, texts};

static SCHEMA: Schema =
    Schema::new("form.schema.json", include_str!(concat!(env!("OUT_DIR"), "/forms/form.schema.json")), &[]);

/// Reads and checks a definition.
///
/// # Errors
///
/// Everything that is wrong with it; of faults in its form the first only.
pub(super) fn load(json: &str) -> Result<(FormDefinition, CheckProgram, Value), Vec<DefinitionFault>> {
    let (definition, document): (FormDefinition, Value) = document::parse(json, &SCHEMA)?;
    let mut loader = Loader::new(&definition);
    let program = loader.program();
    let mut faults = loader.faults;
    let beyond = SCHEMA.beyond_bounds(&document, faults.as_ref());
    faults.extend(beyond);
    faults.or((definition, program, document))
}

impl Loader<'_> {
    /// What can be resolved; worth something only if no fault was found.
    fn program(&mut self) -> CheckProgram {
        let definition = self.definition;
        if definition.sources.is_empty() {
            self.faults.add("/sources", "source.none", "the form has no source", "name the standard that it follows");
        }
        self.check_languages(&definition.title, "/title");
        // Other texts have the title's languages, so that theirs are checked with it.
        texts::check_tags(&definition.title, "/title", &mut self.faults);
        self.check_code_lists();
        let units = self.load_units();
        let names = self.load_names();
        let fields = self.load_fields();
        let key = self.load_key();
        let checks = self.load_checks();
        CheckProgram { fields, names, key, units, checks }
    }
}
