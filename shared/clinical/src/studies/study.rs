//! A parsed study.

use super::definition::{Site, StudyDefinition};
use crate::document::{self, Canonical, DefinitionFault, Schema};
use crate::ids::{InstrumentId, InstrumentVersion, SiteId, StudyId, StudyVersion};
use crate::instruments::{self, Catalog};

/// Its rules refer to the schema of instruments.
pub(super) static SCHEMA: Schema = Schema::new(
    "study.schema.json",
    include_str!(concat!(env!("OUT_DIR"), "/studies/study.schema.json")),
    &[&instruments::SCHEMA],
);

/// A parsed study. Immutable; identified by its content hash. Validation needs the study's instruments and gives a
/// [`Protocol`](super::Protocol).
#[derive(Debug)]
pub struct Study {
    definition: StudyDefinition,
    content: Canonical,
}

impl Study {
    /// Parses a study.
    ///
    /// # Errors
    ///
    /// The first syntax error, with its JSON pointer and a correction.
    pub fn parse(json: &str) -> Result<Self, Vec<DefinitionFault>> {
        let (definition, document) = document::parse(json, &SCHEMA)?;
        Ok(Self { definition, content: Canonical::of(&document) })
    }

    /// The study's id.
    pub fn id(&self) -> &StudyId {
        &self.definition.id
    }

    /// The version of the definition.
    pub fn version(&self) -> &StudyVersion {
        &self.definition.version
    }

    /// The SHA-256, in hexadecimal, of the canonical form.
    pub fn hash(&self) -> &str {
        &self.content.hash
    }

    /// The canonical form: the parsed JSON with sorted keys and no white space.
    pub fn json(&self) -> &str {
        &self.content.json
    }

    /// The definition of the study.
    pub fn definition(&self) -> &StudyDefinition {
        &self.definition
    }

    /// The site with this `id`.
    pub fn site(&self, id: &SiteId) -> Option<&Site> {
        self.definition.sites.iter().find(|site| site.id == *id)
    }

    /// The instruments of the study that do not ship with the library.
    pub fn own_instruments(&self) -> impl Iterator<Item = (&InstrumentId, &InstrumentVersion)> {
        let named = self.definition.instruments.iter().map(|asked| (&asked.id, &asked.version));
        named.filter(|(id, version)| Catalog::shipped().find(id, version).is_err())
    }
}
