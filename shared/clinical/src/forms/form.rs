//! A validated form.

use std::borrow::Cow;

use super::definition::FormDefinition;
use super::load;
use super::program::CheckProgram;
use crate::document::{self, Canonical, DefinitionFault};
use crate::ids::{FormId, FormVersion};

/// A validated definition. Immutable; identified by the content hash of the definition.
#[derive(Debug)]
pub struct Form {
    pub(super) definition: FormDefinition,
    pub(super) program: CheckProgram,
    hash: Cow<'static, str>,
}

impl Form {
    /// Parses and validates a definition.
    ///
    /// # Errors
    ///
    /// All validation errors, each with its JSON pointer and a correction; of syntax errors only the first.
    pub fn parse(json: &str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, program, document) = load::load(json)?;
        let Canonical { hash, .. } = Canonical::of(&document);
        Ok(Self { definition, program, hash })
    }

    /// As [`Versioned::of_shipped`](crate::document::Versioned::of_shipped).
    pub(super) fn of_shipped(json: &str, hash: &'static str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, program) = load::load_shipped(json)?;
        Ok(Self { definition, program, hash: hash.into() })
    }

    /// Like `parse`, for a definition from a file, whose name the faults carry.
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

    /// The languages of the messages, as BCP 47 tags.
    pub fn languages(&self) -> impl Iterator<Item = &str> {
        self.definition.title.keys().map(String::as_str)
    }
}
