//! Rollouts: how far the patients of a study are marked to be planned for a version of it. One a study.

use clinical::ids::{PatientId, SiteId, StudyId, StudyVersion};
use time::{Duration, OffsetDateTime};

use crate::table::attributes::{Item, Reader, Unreadable, number, sortable, text, unreadable};
use crate::table::keys::{self, PK};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

pub(crate) const KIND: &str = "rollout";
/// How long after a version was put the rollout begins: by then it is in force in all environments.
const IN_FORCE: Duration = Duration::minutes(2);

/// The rollout of a version of a study to its patients' plans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// The study.
    pub study: StudyId,
    /// The version.
    pub version: StudyVersion,
    /// When it was put.
    pub at: OffsetDateTime,
    /// The site whose patients are being marked, and the last one who is; `None` before the first.
    pub after: Option<(SiteId, Option<PatientId>)>,
    /// Whether all patients are marked.
    pub is_done: bool,
    /// The revision, for optimistic locking.
    pub(crate) revision: u64,
}

impl Rollout {
    /// The rollout of `version`, which is put at `at`. Its revision is one that no earlier rollout of the study has had.
    pub(crate) fn new(study: StudyId, version: StudyVersion, at: OffsetDateTime) -> Self {
        let milliseconds = at.unix_timestamp_nanos() / 1_000_000;
        let revision = u64::try_from(milliseconds).unwrap_or_default();
        Self { study, version, at, after: None, is_done: false, revision }
    }

    /// Its item, with the next revision.
    pub(crate) fn to_item(&self) -> Item {
        let mut item = keys::rollout(&self.study);
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        set("kind", text(KIND));
        set("version", text(self.version.as_str()));
        set("put_at", text(sortable(self.at)));
        if let Some((site, patient)) = &self.after {
            set("site", text(site.as_str()));
            if let Some(patient) = patient {
                set("patient", text(patient.as_str()));
            }
        }
        set("revision", number(self.revision + 1));
        if !self.is_done {
            set(PENDING, text(List::Due.key_of(self.study.as_str())));
            set(PENDING_SINCE, text(sortable(self.at.checked_add(IN_FORCE).unwrap_or(self.at))));
        }
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let study = keys::rolled_out(reader.text(PK)?).ok_or_else(|| unreadable(PK, "names no study"))?;
        let patient = reader.optional_parsed("patient")?;
        Ok(Self {
            study,
            version: reader.parsed("version")?,
            at: reader.instant("put_at")?,
            after: reader.optional_parsed("site")?.map(|site| (site, patient)),
            is_done: !item.contains_key(PENDING),
            revision: reader.optional_count("revision")?.ok_or_else(|| unreadable("revision", "is missing"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_rollout_survives_being_stored_and_is_on_the_list_until_it_is_done() {
        let put_at = datetime!(2026-11-20 08:00:00.123 UTC);
        let new = Rollout::new("DEMO".parse().unwrap(), "1.2.0".parse().unwrap(), put_at);
        let half = Rollout { after: Some(("S01".parse().unwrap(), Some("P-1".parse().unwrap()))), ..new.clone() };
        let next_site = Rollout { after: Some(("S02".parse().unwrap(), None)), ..new.clone() };
        let done = Rollout { is_done: true, ..half.clone() };
        for (one, since) in [
            (new, Some("2026-11-20T08:02:00.123000000Z")),
            (half, Some("2026-11-20T08:02:00.123000000Z")),
            (next_site, Some("2026-11-20T08:02:00.123000000Z")),
            (done, None),
        ] {
            let item = one.to_item();
            assert_eq!(Reader(&item).optional_text(PENDING_SINCE).unwrap(), since);
            assert_eq!(Rollout::from_item(&item), Ok(Rollout { revision: one.revision + 1, ..one }));
        }
    }
}
