//! Validation of form definitions and resolution of their names.

mod checks;
mod fields;
mod loader;

use serde_json::Value;

use self::loader::Loader;
use super::definition::FormDefinition;
use super::program::CheckProgram;
use crate::document::{self, DefinitionFault, Faults, Schema, texts};

static SCHEMA: Schema =
    Schema::new("form.schema.json", include_str!(concat!(env!("OUT_DIR"), "/forms/form.schema.json")), &[]);

/// Parses and validates a definition.
///
/// # Errors
///
/// All validation errors; of syntax errors only the first.
pub(super) fn load(json: &str) -> Result<(FormDefinition, CheckProgram, Value), Vec<DefinitionFault>> {
    let (definition, document): (FormDefinition, Value) = document::parse(json, &SCHEMA)?;
    let (program, mut faults) = check(&definition);
    let beyond = SCHEMA.beyond_bounds(&document, faults.as_ref());
    faults.extend(beyond);
    faults.or((definition, program, document))
}

/// Parses a definition that ships with the library, and resolves its names.
///
/// # Errors
///
/// All validation errors but those of the schema's bounds.
pub(super) fn load_shipped(json: &str) -> Result<(FormDefinition, CheckProgram), Vec<DefinitionFault>> {
    let definition = document::definition(json, &SCHEMA)?;
    let (program, faults) = check(&definition);
    faults.or((definition, program))
}

/// Validates a definition and resolves its names. The program is valid only if there are no faults.
fn check(definition: &FormDefinition) -> (CheckProgram, Faults) {
    let mut loader = Loader::new(definition);
    let program = loader.program();
    (program, loader.faults)
}

impl Loader<'_> {
    /// Resolves the definition. The result is valid only if there are no faults.
    fn program(&mut self) -> CheckProgram {
        let definition = self.definition;
        if definition.sources.is_empty() {
            self.faults.add("/sources", "source.none", "the form has no source", "cite the standard that it follows");
        }
        self.check_languages(&definition.title, "/title");
        // Other texts must have the title's languages, so that only its tags need validation.
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
