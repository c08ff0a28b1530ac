//! Keys. No id can hold a `#` (see `clinical::ids`), so no two different things have the same key.

use clinical::ids::{InstrumentId, InstrumentVersion, PatientId, ScheduleId, SiteId, StudyId, SubmissionId};
use clinical::instruments::Severity;

use super::attributes::{Item, text};

pub(crate) const PK: &str = "pk";
pub(crate) const SK: &str = "sk";
/// The index of a site's patients, and of its alerts that wait, by [`SITE_KEY`] and [`SITE_SORT`].
pub(crate) const SITE_INDEX: &str = "site";
pub(crate) const SITE_KEY: &str = "site_key";
pub(crate) const SITE_SORT: &str = "site_sort";
/// Sorts after the ids of all alerts, and after all that begins with a digit.
pub(crate) const AFTER_ALERTS: &str = "~";
/// The prefix of the keys of patients' partitions, and of a site's patients in the index `site`.
pub(crate) const PATIENT: &str = "PATIENT#";
/// The prefix of the hash keys of the index `site`, and of the sort keys of a patient's site entries.
pub(crate) const SITE: &str = "SITE#";
/// `pk` of quarantined records.
pub(crate) const QUARANTINE: &str = "QUARANTINE";
/// The key that start-up reads to open a connection. No item has it.
pub(crate) const WARM_UP: &str = "WARM-UP";
/// Both parts of the key of the item that cursors are signed with.
const CURSOR_KEY: &str = "KEY#CURSOR";
/// Sort key of a patient's profile.
pub(crate) const PROFILE: &str = "PROFILE";
/// Sort key of a patient's registration.
pub(crate) const REGISTRATION: &str = "REGISTRATION";
/// Sort key of the plan of a patient's occurrences.
pub(crate) const PLAN: &str = "PLAN";
/// Sorts after the plan and the occurrences of a patient, and before the other items.
pub(crate) const AFTER_PLAN: &str = "PLAN~";
/// The prefix of the partitions of rollouts, and the sort key of each.
const ROLLOUT: &str = "ROLLOUT";
/// The prefix of the sort keys of occurrences.
pub(crate) const OCCURRENCE: &str = "OCCURRENCE#";
/// The prefix of the sort keys of submissions.
pub(crate) const SUBMISSION: &str = "SUBMISSION#";
/// The prefix of the partitions of patients' drafts.
const DRAFT: &str = "DRAFT#";
/// Both parts of the key of the item that keeps the state of a verification.
const VERIFICATION: &str = "VERIFICATION";
/// Sort key of the version of a study that is in force.
const CURRENT: &str = "CURRENT";

/// The key of an item in the Records table.
pub(crate) fn key(pk: impl Into<String>, sk: impl Into<String>) -> Item {
    Item::from([(PK.to_owned(), text(pk)), (SK.to_owned(), text(sk))])
}

/// `pk` of a patient's profile and submissions.
pub(crate) fn patient(study: &StudyId, patient: &PatientId) -> String {
    format!("{PATIENT}{}#{}", study.as_str(), patient.as_str())
}

/// The study and the patient of the partition `pk`; `None` if it is not a patient's.
pub(crate) fn patient_of(pk: &str) -> Option<(StudyId, PatientId)> {
    let (study, patient) = pk.strip_prefix(PATIENT)?.split_once('#')?;
    Some((study.parse().ok()?, patient.parse().ok()?))
}

pub(crate) fn submission(study: &StudyId, of: &PatientId, id: &SubmissionId) -> Item {
    key(patient(study, of), format!("{SUBMISSION}{id}"))
}

pub(crate) fn profile(study: &StudyId, of: &PatientId) -> Item {
    key(patient(study, of), PROFILE)
}

pub(crate) fn registration(study: &StudyId, of: &PatientId) -> Item {
    key(patient(study, of), REGISTRATION)
}

pub(crate) fn plan(study: &StudyId, of: &PatientId) -> Item {
    key(patient(study, of), PLAN)
}

/// The key of the occurrence of `schedule` with this number. Those of a schedule are in order.
pub(crate) fn occurrence(study: &StudyId, of: &PatientId, schedule: &ScheduleId, number: u32) -> Item {
    key(patient(study, of), occurrence_sort(schedule, number))
}

pub(crate) fn occurrence_sort(schedule: &ScheduleId, number: u32) -> String {
    format!("{OCCURRENCE}{}#{number:04}", schedule.as_str())
}

/// The key of a draft. Drafts have a partition beside the patient's, so that no query of the course reads them, and the
/// function that writes them may write nothing else of the patient.
pub(crate) fn draft(study: &StudyId, of: &PatientId, id: &SubmissionId) -> Item {
    key(format!("{DRAFT}{}#{}", study.as_str(), of.as_str()), id.to_string())
}

/// The study and the patient of the drafts in the partition `pk`.
pub(crate) fn drafts_of(pk: &str) -> Option<(StudyId, PatientId)> {
    let (study, patient) = pk.strip_prefix(DRAFT)?.split_once('#')?;
    Some((study.parse().ok()?, patient.parse().ok()?))
}

/// The key of the entry that keeps the patient `of` in the index under `site`.
pub(crate) fn site_entry(study: &StudyId, of: &PatientId, site: &SiteId) -> Item {
    key(patient(study, of), format!("{SITE}{}", site.as_str()))
}

/// `pk` of the alerts of a site, by their ids, which are in order of time.
pub(crate) fn alerts(study: &StudyId, site: &SiteId) -> String {
    format!("ALERTS#{}#{}", study.as_str(), site.as_str())
}

pub(crate) fn alert(study: &StudyId, site: &SiteId, id: &str) -> Item {
    key(alerts(study, site), id)
}

/// Sort key, in the index `site`, of an alert that waits for a clinician. In descending order, the most severe ones come
/// first, and of these the newest.
pub(crate) fn waiting_alert(severity: Severity, id: &str) -> String {
    format!("{}{id}", waiting_alerts(severity))
}

/// The prefix of the sort keys of the alerts of `severity` that wait.
pub(crate) fn waiting_alerts(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "3#",
        Severity::Warning => "2#",
        Severity::Info => "1#",
    }
}

/// Hash key of the index `site` for a site's patients.
pub(crate) fn site(study: &StudyId, site: &SiteId) -> String {
    format!("{SITE}{}#{}", study.as_str(), site.as_str())
}

/// The study and the site that a hash key of the index `site` is of.
pub(crate) fn site_of(site_key: &str) -> Option<(StudyId, SiteId)> {
    let (study, site) = site_key.strip_prefix(SITE)?.split_once('#')?;
    Some((study.parse().ok()?, site.parse().ok()?))
}

/// Sort key of a patient in the index `site`.
pub(crate) fn patient_of_site(patient: &PatientId) -> String {
    format!("{PATIENT}{}", patient.as_str())
}

/// `pk` of the audit entries of `site`, of those of its study as a whole, or of those of no single study.
pub(crate) fn audit(study: Option<&StudyId>, site: Option<&SiteId>) -> String {
    match (study, site) {
        (Some(study), Some(site)) => format!("AUDIT#{}#{}", study.as_str(), site.as_str()),
        (Some(study), None) => format!("AUDIT#{}", study.as_str()),
        (None, _) => "AUDIT#".to_owned(),
    }
}

/// The key of the version of `study` that is in force.
pub(crate) fn study_in_force(study: &StudyId) -> Item {
    key(study_partition(study), CURRENT)
}

pub(crate) fn study_version(study: &StudyId, version: &InstrumentVersion) -> Item {
    key(study_partition(study), self::version(version))
}

/// The key of the rollout of `study`.
pub(crate) fn rollout(study: &StudyId) -> Item {
    key(format!("{ROLLOUT}#{}", study.as_str()), ROLLOUT)
}

/// The study whose rollout is in the partition `pk`.
pub(crate) fn rolled_out(pk: &str) -> Option<StudyId> {
    pk.strip_prefix(ROLLOUT)?.strip_prefix('#')?.parse().ok()
}

pub(crate) fn instrument(id: &InstrumentId, version: &InstrumentVersion) -> Item {
    key(format!("INSTRUMENT#{}", id.as_str()), self::version(version))
}

pub(crate) fn cursor_key() -> Item {
    key(CURSOR_KEY, CURSOR_KEY)
}

/// The key of the state of a verification.
pub(crate) fn verification() -> Item {
    key(VERIFICATION, VERIFICATION)
}

/// The key of one counter in the SiteCounts table.
pub(crate) fn counter(study: &StudyId, site: &SiteId, metric: &str, shard: u32) -> String {
    format!("COUNT#{}#{}#{metric}#{shard}", study.as_str(), site.as_str())
}

/// The study, the site and the metric of the counter under the key `pk`.
pub(crate) fn counted(pk: &str) -> Option<(StudyId, SiteId, &str)> {
    let mut parts = pk.strip_prefix("COUNT#")?.split('#');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?))
}

pub(crate) fn study_partition(study: &StudyId) -> String {
    format!("STUDY#{}", study.as_str())
}

fn version(version: &InstrumentVersion) -> String {
    format!("VERSION#{}", version.as_str())
}
