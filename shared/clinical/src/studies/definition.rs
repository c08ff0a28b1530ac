//! The JSON format of a study.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::Date;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::rota::Shift;
use crate::document::{Texts, is_false};
use crate::ids::{EventId, GroupId, InstrumentId, InstrumentVersion, RuleId, SiteId, StudyId, StudyVersion};
use crate::instruments::definition::RuleDefinition;
use crate::schedules::Schedule;

/// The definition of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyDefinition {
    /// The location of the JSON Schema of this format, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The study's id, as in the claims of tokens.
    pub id: StudyId,
    /// The version of this definition. A version that is in force never changes.
    pub version: StudyVersion,
    /// The study's name.
    pub title: Texts,
    /// The languages of the study, as BCP 47 tags.
    pub languages: Vec<String>,
    /// The first day of the study's data, in the patient's local time. Earlier submissions are stored, scored and
    /// evaluated, but are not a baseline. If absent, any submission can be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_on: Option<StartDate>,
    /// Whether patients see their own scores.
    #[serde(default, skip_serializing_if = "is_false")]
    pub patients_see_scores: bool,
    /// Whether every subject enrols through the app before any case-report row of theirs is entered, so that a subject
    /// without submissions is unknown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub subjects_enrol_first: bool,
    /// The sites of the study.
    pub sites: Vec<Site>,
    /// The instruments of the study, with an entry for each accepted version.
    pub instruments: Vec<StudyInstrument>,
    /// Whether a patient must be enrolled before the first submission.
    #[serde(default, skip_serializing_if = "Enrolment::is_default")]
    pub enrolment: Enrolment,
    /// The named events of a patient, on whose days schedules can depend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventId>,
    /// When patients are asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<Schedule>,
    /// The settings of alerts.
    #[serde(default, skip_serializing_if = "AlertSettings::is_default")]
    pub alerts: AlertSettings,
}

/// The first day of a study's data, in JSON `2026-11-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartDate(pub(super) Date);

const START_DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

impl<'de> Deserialize<'de> for StartDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Date::parse(&text, START_DATE)
            .map(Self)
            .map_err(|_| de::Error::custom("a date must be year, month and day, for example 2026-11-01"))
    }
}

impl Serialize for StartDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A site of a study.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Site {
    /// The site's id, as in the claims of tokens.
    pub id: SiteId,
    /// The display name.
    pub name: String,
    /// The IANA name of its time zone, which determines the days of reports.
    pub time_zone: String,
}

/// An instrument of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyInstrument {
    /// The id of the instrument.
    pub id: InstrumentId,
    /// The version. An earlier version stays listed for as long as phones may still hold answers to it.
    pub version: InstrumentVersion,
    /// The sites that use the instrument; all sites if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteId>,
    /// The languages in which it is used; those of the study if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// The interval in days at which a patient is due to answer it; no schedule if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_days: Option<u32>,
    /// The study's alert rules: each replaces the instrument's rule of the same id, or is added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDefinition>,
    /// The alert rules for the patients of a group (claim in their tokens): each replaces the rule of the same id, or
    /// is added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_group: BTreeMap<GroupId, Vec<RuleDefinition>>,
    /// The instrument's alert rules that are not in force in the study.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<RuleId>,
}

/// How a patient is enrolled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Enrolment {
    /// Staff enrol the patient. A submission of another patient is refused.
    Required,
    /// The first submission enrols the patient, unless staff did.
    #[default]
    ByFirstSubmission,
}

/// The settings of a study's alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertSettings {
    /// The URL under which a clinician opens an alert, with `{alertId}` in it; the deployment's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// When an unacknowledged critical alert is published again; the deployment's default if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
    /// How long a clinician may snooze an alert; not at all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snooze: Option<SnoozeLimit>,
    /// Who is on call, by site, severity and time. The first entry that covers an alert counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rota: Vec<Shift>,
}

/// How long a clinician may snooze an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SnoozeLimit {
    /// The maximum in minutes, 1 to 10,080 (a week).
    pub most_minutes: u32,
}

/// When an unacknowledged critical alert is published again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Escalation {
    /// The interval in minutes, 1 to 10,080 (a week).
    pub after_minutes: u32,
    /// The maximum number of times, 0 (never) to 10.
    pub limit: u32,
}

impl StudyInstrument {
    /// Whether `site` uses it.
    pub fn is_at(&self, site: &SiteId) -> bool {
        self.sites.is_empty() || self.sites.contains(site)
    }

    /// Whether `schedule` asks it.
    pub fn is_of(&self, schedule: &Schedule) -> bool {
        self.id == schedule.instrument && schedule.version.as_ref().is_none_or(|version| *version == self.version)
    }
}

impl Enrolment {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl AlertSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
