//! What is in force for the patients of a study.

use std::collections::HashMap;
use std::sync::Arc;

use time::OffsetDateTime;

use super::definition::{Escalation, StartDate, StudyInstrument};
use super::study::Study;
use crate::document::NotFound;
use crate::ids::{GroupId, InstrumentId, InstrumentVersion, SiteId};
use crate::instruments::{Catalog, Instrument};

/// What is in force for the patients of a study: which sites, which instruments under which rules.
///
/// A study of which no data is stored is run all the same: with every shipped instrument under its own rules, at
/// whatever sites the tokens name.
#[derive(Debug)]
pub struct Protocol {
    pub(super) study: Option<Study>,
    pub(super) catalog: Chosen,
}

#[derive(Debug)]
pub(super) enum Chosen {
    Shipped,
    Study {
        for_all: Catalog,
        /// Those that have rules of their own for a group.
        of_groups: HashMap<(InstrumentId, InstrumentVersion, GroupId), Arc<Instrument>>,
    },
}

impl Protocol {
    /// What is in force for a study of which no data is stored.
    pub fn of_no_study() -> Self {
        Self { study: None, catalog: Chosen::Shipped }
    }

    /// The study's data; `None` if none is stored.
    pub fn study(&self) -> Option<&Study> {
        self.study.as_ref()
    }

    /// Its instruments, with the alert rules that are in force.
    pub fn catalog(&self) -> &Catalog {
        match &self.catalog {
            Chosen::Shipped => Catalog::shipped(),
            Chosen::Study { for_all, .. } => for_all,
        }
    }

    /// The instrument `id` in `version` as it is scored for the patients of `group`, under the rules that are in force for
    /// them; for those of none, and of one that neither the study nor the instrument tells apart, as for all.
    ///
    /// # Errors
    ///
    /// There is no such instrument in the study, or not in this version.
    pub fn instrument_for(
        &self,
        id: &InstrumentId,
        version: &InstrumentVersion,
        group: Option<&GroupId>,
    ) -> Result<&Arc<Instrument>, NotFound> {
        let of_group = match (&self.catalog, group) {
            (Chosen::Study { of_groups, .. }, Some(group)) => {
                of_groups.get(&(id.clone(), version.clone(), group.clone()))
            }
            _ => None,
        };
        of_group.map_or_else(|| self.catalog().find(id, version), Ok).map(|instrument| instrument.for_group(group))
    }

    /// Whether `site` is one of its sites.
    pub fn has_site(&self, site: &SiteId) -> bool {
        self.study.as_ref().is_none_or(|study| study.site(site).is_some())
    }

    /// Whether `site` asks the instrument `id` in `version`, which is one of the catalog.
    pub fn asks(&self, site: &SiteId, id: &InstrumentId, version: &InstrumentVersion) -> bool {
        self.instrument(id, version).is_none_or(|asked| asked.sites.is_empty() || asked.sites.contains(site))
    }

    /// What the study says of the instrument `id` in `version`.
    pub fn instrument(&self, id: &InstrumentId, version: &InstrumentVersion) -> Option<&StudyInstrument> {
        let mut asked = self.study()?.definition().instruments.iter();
        asked.find(|asked| asked.id == *id && asked.version == *version)
    }

    /// Every how many days a patient is to answer the instrument `id`, in whichever version; `None` if that is not said.
    pub fn every_days(&self, id: &InstrumentId) -> Option<u32> {
        let asked = self.study()?.definition().instruments.iter().filter(|asked| asked.id == *id);
        asked.max_by_key(|asked| &asked.version)?.every_days
    }

    /// Whether what was `completed` at a time, with the patient's offset, belongs to the study's data: a baseline is looked
    /// for only there.
    pub fn has_begun(&self, completed: OffsetDateTime) -> bool {
        let starts_on = self.study.as_ref().and_then(|study| study.definition().starts_on);
        starts_on.is_none_or(|StartDate(first_day)| completed.date() >= first_day)
    }

    /// Whether patients see their own scores.
    pub fn patients_see_scores(&self) -> bool {
        self.study.as_ref().is_some_and(|study| study.definition().patients_see_scores)
    }

    /// Whether a subject who has sent nothing is not known.
    pub fn subjects_enrol_first(&self) -> bool {
        self.study.as_ref().is_some_and(|study| study.definition().subjects_enrol_first)
    }

    /// Where a clinician opens an alert, where the study says that.
    pub fn alert_link(&self) -> Option<&str> {
        self.study()?.definition().alerts.link.as_deref()
    }

    /// When a critical alert that nobody acknowledges is published again, where the study says that.
    pub fn escalation(&self) -> Option<Escalation> {
        self.study()?.definition().alerts.escalation
    }
}
