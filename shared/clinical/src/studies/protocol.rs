//! The validated study that is in force.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use time::OffsetDateTime;

use super::definition::{Enrolment, Escalation, StartDate, StudyInstrument};
use super::study::Study;
use crate::document::NotFound;
use crate::ids::{EventId, GroupId, InstrumentId, InstrumentVersion, OnCallId, SiteId};
use crate::instruments::{Catalog, Instrument, Severity};
use crate::schedules::Schedule;

/// The sites, instruments and alert rules in force for the patients of a study.
///
/// A study without a stored definition has every shipped instrument under its own rules, and any site that a token
/// names.
#[derive(Debug)]
pub struct Protocol {
    pub(super) study: Option<Study>,
    pub(super) catalog: InForce,
}

#[derive(Debug)]
pub(super) enum InForce {
    Shipped,
    Study {
        for_all: Catalog,
        /// The instruments with rules for a group.
        of_groups: HashMap<(InstrumentId, InstrumentVersion, GroupId), Arc<Instrument>>,
    },
}

impl Protocol {
    /// The protocol of a study without a stored definition.
    pub fn of_no_study() -> Self {
        Self { study: None, catalog: InForce::Shipped }
    }

    /// The study; `None` if no definition is stored.
    pub fn study(&self) -> Option<&Study> {
        self.study.as_ref()
    }

    /// The instruments, with the alert rules that are in force.
    pub fn catalog(&self) -> &Catalog {
        match &self.catalog {
            InForce::Shipped => Catalog::shipped(),
            InForce::Study { for_all, .. } => for_all,
        }
    }

    /// The instrument `id` in `version`, with the optional items and the alert rules of `group`. Patients without a
    /// group, or of a group that neither study nor instrument mentions, have those of all patients.
    ///
    /// # Errors
    ///
    /// The study does not have the instrument, or not in this version.
    pub fn instrument_for(
        &self,
        id: &InstrumentId,
        version: &InstrumentVersion,
        group: Option<&GroupId>,
    ) -> Result<&Arc<Instrument>, NotFound> {
        let of_group = match (&self.catalog, group) {
            (InForce::Study { of_groups, .. }, Some(group)) => {
                of_groups.get(&(id.clone(), version.clone(), group.clone()))
            }
            _ => None,
        };
        of_group.map_or_else(|| self.catalog().find(id, version), Ok).map(|instrument| instrument.for_group(group))
    }

    /// Whether `site` is a site of the study.
    pub fn has_site(&self, site: &SiteId) -> bool {
        self.study.as_ref().is_none_or(|study| study.site(site).is_some())
    }

    /// Whether `site` uses the instrument `id` in `version`, which must be in the catalog.
    pub fn asks(&self, site: &SiteId, id: &InstrumentId, version: &InstrumentVersion) -> bool {
        self.instrument(id, version).is_none_or(|asked| asked.is_at(site))
    }

    /// The study's entry for the instrument `id` in `version`.
    pub fn instrument(&self, id: &InstrumentId, version: &InstrumentVersion) -> Option<&StudyInstrument> {
        let mut asked = self.study()?.definition().instruments.iter();
        asked.find(|asked| asked.id == *id && asked.version == *version)
    }

    /// The interval in days at which a patient is due to answer the instrument `id`, by its latest version; `None`
    /// without a schedule.
    pub fn every_days(&self, id: &InstrumentId) -> Option<u32> {
        let asked = self.study()?.definition().instruments.iter().filter(|asked| asked.id == *id);
        asked.max_by_key(|asked| &asked.version)?.every_days
    }

    /// The schedules of the study.
    pub fn schedules(&self) -> &[Schedule] {
        self.study().map_or(&[], |study| &study.definition().schedules)
    }

    /// The schedules of the patients of `site` and `group`: those for both, of instruments that the site uses.
    pub fn schedules_for(&self, site: &SiteId, group: Option<&GroupId>) -> impl Iterator<Item = &Schedule> {
        self.schedules()
            .iter()
            .filter(move |schedule| schedule.is_for(site, group) && self.asks_in_any_version(site, schedule))
    }

    /// How a patient is enrolled.
    pub fn enrolment(&self) -> Enrolment {
        self.study().map(|study| study.definition().enrolment).unwrap_or_default()
    }

    /// Whether the study names this event of a patient, as it does of any if no definition is stored.
    pub fn has_event(&self, event: &EventId) -> bool {
        self.study().is_none_or(|study| study.definition().events.contains(event))
    }

    fn asks_in_any_version(&self, site: &SiteId, schedule: &Schedule) -> bool {
        let mut asked = self.study().into_iter().flat_map(|study| &study.definition().instruments);
        asked.any(|asked| asked.is_of(schedule) && asked.is_at(site))
    }

    /// Whether a submission `completed` at this time, with the patient's offset, is not before the study's start date
    /// and so can be a baseline.
    pub fn has_begun(&self, completed: OffsetDateTime) -> bool {
        let starts_on = self.study.as_ref().and_then(|study| study.definition().starts_on);
        starts_on.is_none_or(|StartDate(first_day)| completed.date() >= first_day)
    }

    /// Whether patients see their own scores.
    pub fn patients_see_scores(&self) -> bool {
        self.study.as_ref().is_some_and(|study| study.definition().patients_see_scores)
    }

    /// Whether a subject without submissions is unknown.
    pub fn subjects_enrol_first(&self) -> bool {
        self.study.as_ref().is_some_and(|study| study.definition().subjects_enrol_first)
    }

    /// The URL under which a clinician opens an alert, if the study sets one.
    pub fn alert_link(&self) -> Option<&str> {
        self.study()?.definition().alerts.link.as_deref()
    }

    /// The longest time that an alert may be snoozed, in minutes; `None` if it may not be.
    pub fn most_snooze_minutes(&self) -> Option<u32> {
        Some(self.study()?.definition().alerts.snooze?.most_minutes)
    }

    /// Who is on call for an alert of `severity` that is published at `site` at `at`: as the first entry of the rota says
    /// that covers it, if any does. `zone` returns the time zone of a name. It is a parameter because the database is
    /// large, and most readers do not need it.
    pub fn on_call(
        &self,
        site: &SiteId,
        severity: Severity,
        at: OffsetDateTime,
        zone: impl FnOnce(&str) -> Option<TimeZone>,
    ) -> Option<&OnCallId> {
        let study = self.study()?;
        let rota = &study.definition().alerts.rota;
        if rota.is_empty() {
            return None;
        }
        let zone = zone(&study.site(site)?.time_zone)?;
        let at = zone.to_datetime(Timestamp::from_second(at.unix_timestamp()).ok()?);
        rota.iter().find(|shift| shift.covers(site, severity, at)).map(|shift| &shift.on_call)
    }

    /// When an unacknowledged critical alert is published again, if the study sets that.
    pub fn escalation(&self) -> Option<Escalation> {
        self.study()?.definition().alerts.escalation
    }
}
