//! The written form of a study.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use time::Date;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::document::{Texts, is_false};
use crate::ids::{GroupId, InstrumentId, InstrumentVersion, RuleId, SiteId, StudyId, StudyVersion};
use crate::instruments::definition::RuleDefinition;

/// A study as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyDefinition {
    /// Where the JSON Schema of this format lies; for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The study's id, as tokens name it.
    pub id: StudyId,
    /// The version of this data. A version once put in force never changes.
    pub version: StudyVersion,
    /// The study's name.
    pub title: Texts,
    /// The languages that it is run in, as BCP 47 tags.
    pub languages: Vec<String>,
    /// The day on which its data begin, in the patient's local time: what was completed before is kept, scored and
    /// evaluated, and is nobody's baseline. Without it every submission may be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_on: Option<StartDate>,
    /// Whether patients see their own scores.
    #[serde(default, skip_serializing_if = "is_false")]
    pub patients_see_scores: bool,
    /// Whether every subject enrols through the app before any case-report row of theirs is entered, so that a subject
    /// who has sent nothing is not known.
    #[serde(default, skip_serializing_if = "is_false")]
    pub subjects_enrol_first: bool,
    /// The sites.
    pub sites: Vec<Site>,
    /// The instruments that it asks, each in the versions that it takes.
    pub instruments: Vec<StudyInstrument>,
    /// What it says of alerts.
    #[serde(default, skip_serializing_if = "AlertSettings::is_default")]
    pub alerts: AlertSettings,
}

/// The day on which a study's data begin, written `2026-11-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StartDate(pub(super) Date);

const START_DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

impl<'de> Deserialize<'de> for StartDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Date::parse(&text, START_DATE)
            .map(Self)
            .map_err(|_| de::Error::custom("a day is written as year, month and day, for example 2026-11-01"))
    }
}

impl Serialize for StartDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Site {
    /// The site's id, as tokens name it.
    pub id: SiteId,
    /// What people call it.
    pub name: String,
    /// Its time zone, by its IANA name; days of reports are days there.
    pub time_zone: String,
}

/// An instrument that a study asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyInstrument {
    /// The instrument.
    pub id: InstrumentId,
    /// The version. An earlier one stays in the list for as long as phones may still hold answers to it.
    pub version: InstrumentVersion,
    /// The sites that ask it; all, where it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteId>,
    /// The languages that it is asked in; those of the study, where it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Every how many days a patient is to answer it; whenever there is occasion, where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_days: Option<u32>,
    /// Alert rules of the study's own: in the place of the instrument's of the same id, or added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleDefinition>,
    /// Alert rules for the patients of a group, as their tokens name it: in the place of those above of the same id, or
    /// added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_group: BTreeMap<GroupId, Vec<RuleDefinition>>,
    /// The instrument's alert rules that the study does without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<RuleId>,
}

/// What a study says of alerts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertSettings {
    /// Where a clinician opens an alert: an address with `{alertId}` in it; that of the installation, where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// When a critical alert that nobody acknowledges is published again; as the installation does, where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escalation: Option<Escalation>,
}

/// When a critical alert that nobody acknowledges is published again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Escalation {
    /// After how many minutes, and again after as many: 1 to 10,080, a week.
    pub after_minutes: u32,
    /// How many times: 0 (never) to 10.
    pub limit: u32,
}

impl AlertSettings {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
