//! Keys. No id can hold a `#` (see `clinical::ids`), so no two different things have the same key.

use clinical::ids::{InstrumentId, InstrumentVersion, PatientId, RuleId, SiteId, StudyId, SubmissionId};
use time::OffsetDateTime;

use crate::table::attributes::{Item, sortable, text};
use crate::table::digest::shard;
use crate::store::lists::List;

/// Over how many values of `pending` each list of the sparse index is spread: one value would be one hot partition at
/// eight o'clock.
pub(crate) const WAITING_SHARDS: u32 = 8;
/// What the sort keys of alerts begin with.
pub(crate) const ALERT: &str = "ALERT#";
/// What sorts after all of them.
pub(crate) const AFTER_ALERTS: &str = "ALERT$";

pub(crate) const PK: &str = "pk";
pub(crate) const SK: &str = "sk";
pub(crate) const PROFILE: &str = "PROFILE";
/// The version of a study that is in force.
pub(crate) const CURRENT: &str = "CURRENT";
pub(crate) const SET_ASIDE: &str = "SET-ASIDE";
/// Both parts of the key of the item that holds what cursors are signed with.
pub(crate) const CURSOR_KEY: &str = "KEY#CURSOR";
/// Sort key of what tells where an alert lies.
pub(crate) const POINTER: &str = "ALERT";

pub(crate) fn patient(study: &StudyId, patient: &PatientId) -> String {
    format!("PATIENT#{}#{}", study.as_str(), patient.as_str())
}

pub(crate) fn submission(id: &SubmissionId) -> String {
    format!("SUBMISSION#{id}")
}

/// The key of the submission `id` of `of_patient` in the Records table.
pub(crate) fn submission_key(study: &StudyId, of_patient: &PatientId, id: &SubmissionId) -> Item {
    let key = [(PK, patient(study, of_patient)), (SK, submission(id))];
    key.map(|(name, value)| (name.to_owned(), text(value))).into()
}

pub(crate) fn alert(submission: &SubmissionId, rule: &RuleId) -> String {
    format!("{ALERT}{submission}#{}", rule.as_str())
}

/// Hash key of the index `site`.
pub(crate) fn site(study: &StudyId, site: &SiteId) -> String {
    format!("SITE#{}#{}", study.as_str(), site.as_str())
}

/// Hash key of the audit entries of `site`, of those of its study as a whole, or of those of no single study.
pub(crate) fn audit(study: Option<&StudyId>, site: Option<&SiteId>) -> String {
    match (study, site) {
        (Some(study), Some(site)) => format!("AUDIT#{}#{}", study.as_str(), site.as_str()),
        (Some(study), None) => format!("AUDIT#{}", study.as_str()),
        (None, _) => "AUDIT#".to_owned(),
    }
}

pub(crate) fn study(study: &StudyId) -> String {
    format!("STUDY#{}", study.as_str())
}

pub(crate) fn instrument(instrument: &InstrumentId) -> String {
    format!("INSTRUMENT#{}", instrument.as_str())
}

/// One version of a study or of an instrument.
pub(crate) fn version(version: &InstrumentVersion) -> String {
    format!("VERSION#{}", version.as_str())
}

/// Sort key, in the index `site`, of the alert `id` that was raised at `raised_at`.
pub(crate) fn alert_of_site(raised_at: OffsetDateTime, id: &str) -> String {
    format!("{ALERT}{}#{id}", sortable(raised_at))
}

/// Key of what tells where the alert `id` lies.
pub(crate) fn alert_id(id: &str) -> String {
    format!("{ALERT}{id}")
}

/// Hash key of `list` in the sparse index `pending`, for the item that `id` identifies.
pub(crate) fn waiting(list: List, id: &str) -> String {
    waiting_shard(list, shard(id, WAITING_SHARDS))
}

/// Hash key of one shard of `list`.
pub(crate) fn waiting_shard(list: List, shard: u32) -> String {
    format!("{}#{shard}", list.as_str())
}

/// Key of one counter in the SiteCounts table.
pub(crate) fn counter(study: &StudyId, site: &SiteId, metric: &str, shard: u32) -> String {
    format!("COUNT#{}#{}#{metric}#{shard}", study.as_str(), site.as_str())
}
