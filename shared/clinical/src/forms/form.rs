//! A form: its definition, checked and resolved.

use super::definition::FormDefinition;
use super::load;
use super::program::CheckProgram;
use crate::document::{self, Canonical, DefinitionFault};
use crate::ids::{FormId, FormVersion};

/// A definition that was checked. Immutable; the definition's content hash identifies it.
#[derive(Debug)]
pub struct Form {
    pub(super) definition: FormDefinition,
    pub(super) program: CheckProgram,
    hash: String,
}

impl Form {
    /// Reads and checks a definition.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it, each fault with its place and what to do; of faults in its form the first only.
    pub fn parse(json: &str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, program, document) = load::load(json)?;
        let Canonical { hash, .. } = Canonical::of(&document);
        Ok(Self { definition, program, hash })
    }

    /// Like `parse`, for a definition from a file: its faults tell the file's name.
    ///
    /// # Errors
    ///
    /// As `parse`.
    pub fn parse_file(name: &str, json: &str) -> Result<Self, Vec<DefinitionFault>> {
        document::in_file(name, Self::parse(json))
    }

    /// The form's id, for example `vs`.
    pub fn id(&self) -> &FormId {
        &self.definition.id
    }

    /// The version of the definition.
    pub fn version(&self) -> &FormVersion {
        &self.definition.version
    }

    /// The SHA-256, in hexadecimal, of the definition's canonical form.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The definition.
    pub fn definition(&self) -> &FormDefinition {
        &self.definition
    }

    /// The languages that messages are there in.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.definition.title.keys().map(String::as_str)
    }
}
