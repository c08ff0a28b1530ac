//! A study as it was read.

use super::definition::{Site, StudyDefinition};
use crate::document::{self, Canonical, DefinitionFault, Schema};
use crate::ids::{InstrumentId, InstrumentVersion, SiteId, StudyId, StudyVersion};
use crate::instruments::{self, Catalog};

/// It refers to the schema of instruments, whose rules a study may change.
pub(super) static SCHEMA: Schema = Schema::new(
    "study.schema.json",
    include_str!(concat!(env!("OUT_DIR"), "/studies/study.schema.json")),
    &[&instruments::SCHEMA],
);

/// A study as it was read. Immutable; the content hash identifies it. With its instruments it is a [`Protocol`], and
/// checked.
#[derive(Debug)]
pub struct Study {
    definition: StudyDefinition,
    content: Canonical,
}

impl Study {
    /// Reads a study.
    ///
    /// # Errors
    ///
    /// The first fault of its form, with its place and what to do.
    pub fn parse(json: &str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, document) = document::parse(json, &SCHEMA)?;
        Ok(Self { definition, content: Canonical::of(&document) })
    }

    /// The study's id.
    pub fn id(&self) -> &StudyId {
        &self.definition.id
    }

    /// The version of its data.
    pub fn version(&self) -> &StudyVersion {
        &self.definition.version
    }

    /// The SHA-256, in hexadecimal, of its canonical form.
    pub fn hash(&self) -> &str {
        &self.content.hash
    }

    /// Its canonical form: its JSON as it was read, with keys sorted and no white space.
    pub fn json(&self) -> &str {
        &self.content.json
    }

    /// The study as it is written.
    pub fn definition(&self) -> &StudyDefinition {
        &self.definition
    }

    /// The site `id`.
    pub fn site(&self, id: &SiteId) -> Option<&Site> {
        self.definition.sites.iter().find(|site| site.id == *id)
    }

    /// Its instruments that do not ship with the library.
    pub fn own_instruments(&self) -> impl Iterator<Item = (&InstrumentId, &InstrumentVersion)> {
        let named = self.definition.instruments.iter().map(|asked| (&asked.id, &asked.version));
        named.filter(|(id, version)| Catalog::shipped().find(id, version).is_err())
    }
}
