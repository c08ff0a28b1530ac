//! All that is stored of a patient, as it is stored: for a comparison with what must be stored.

use std::collections::BTreeSet;
use std::fmt;

use clinical::ids::{PatientId, SiteId, StudyId, SubmissionId};
use time::OffsetDateTime;

use super::alert::{self, Alert, AlertId};
use super::occurrence::{self, StoredOccurrence};
use super::plan::{self, StoredPlan};
use super::profile::{self, Profile};
use super::registration::{self, Registration};
use super::score::Score;
use super::site_entry;
use super::submission::{self, Submission};
use super::walked::agrees;
use crate::table::attributes::{Item, Reader, Unreadable, text, unreadable};
use crate::table::keys::{
    self, OCCURRENCE, PK, PLAN, PROFILE, REGISTRATION, SITE, SITE_KEY, SITE_SORT, SK, SUBMISSION,
};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

/// The items of one patient's partition, and the alerts that were raised on the submissions among them.
#[derive(Debug)]
pub struct PatientRecords {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The submissions, by id.
    pub submissions: Vec<StoredSubmission>,
    /// The alerts that the scores and the occurrences name, as far as they are stored, in the order of their ids.
    pub alerts: Vec<StoredAlert>,
    /// The profile, if there is one that can be read.
    pub profile: Option<StoredProfile>,
    /// The registration, if there is one that can be read.
    pub registration: Option<Registration>,
    /// The sites under which an entry beside the profile's keeps the patient in the index `site`.
    pub site_entries: BTreeSet<SiteId>,
    /// The occurrences, by schedule and number.
    pub occurrences: Vec<StoredOccurrence>,
    /// The plan of the occurrences, if there is one that can be read.
    pub plan: Option<StoredPlan>,
    /// The items that cannot be read.
    pub unreadable: Vec<UnreadableItem>,
}

/// A submission with what was added to its item.
#[derive(Debug)]
pub struct StoredSubmission {
    /// The submission.
    pub submission: Submission,
    /// Its score, once it is scored.
    pub score: Option<Score>,
    /// The list that it is on.
    pub on: OnList,
}

/// The row of an alert with what its [`Alert`] leaves out.
#[derive(Debug)]
pub struct StoredAlert {
    /// The alert.
    pub alert: Alert,
    /// The list that it is on.
    pub on: OnList,
    /// Whether it has the message id of its first publication.
    pub has_message_id: bool,
    /// Whether it has the message id of an escalation.
    pub has_escalation_message_id: bool,
    /// Its place on the worklist of its site.
    pub worklist: WorklistPlace,
}

/// The place of an alert in the index `site`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorklistPlace {
    /// It is not in it.
    None,
    /// It is in its place.
    Right,
    /// It is in the place of another one, or in none although it has one of the attributes.
    Wrong,
}

/// A patient's profile with what its [`Profile`] leaves out.
#[derive(Debug)]
pub struct StoredProfile {
    /// The profile.
    pub profile: Profile,
    /// The list that it is on, while its courses are due for a replay.
    pub on: OnList,
    /// Whether the index `site` has it in its place.
    pub is_in_site_index: bool,
}

/// The list of the index `pending` that an item is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnList {
    /// On none.
    None,
    /// On this list.
    On {
        /// The list.
        list: List,
        /// Since when it is on it or, on the list of open alerts, from when it is due.
        since: OffsetDateTime,
    },
    /// Its attributes name a list or a shard that nothing reads, so that it is never processed.
    Unreachable,
}

/// An item that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadableItem {
    /// The kind of the item, by its key: `submission`, `alert`, `profile`, `registration`, `site-entry`, `plan`,
    /// `occurrence`, or `item` for any other.
    pub kind: &'static str,
    /// The submission that its key names.
    pub submission: Option<SubmissionId>,
    /// The attribute that cannot be read.
    pub reason: Unreadable,
}

impl OnList {
    fn of(reader: Reader<'_>) -> Self {
        match (reader.optional_text(PENDING), reader.optional_instant(PENDING_SINCE)) {
            (Ok(None), Ok(None)) => Self::None,
            (Ok(Some(pending)), Ok(Some(since))) => {
                List::entry(pending).map_or(Self::Unreachable, |(list, _)| Self::On { list, since })
            }
            _ => Self::Unreachable,
        }
    }

    /// The list, if it is on one.
    pub fn list(self) -> Option<List> {
        match self {
            Self::On { list, .. } => Some(list),
            Self::None | Self::Unreachable => None,
        }
    }
}

impl WorklistPlace {
    fn of(item: &Item, alert: &Alert) -> Self {
        let entry = alert.worklist_entry();
        if entry.iter().all(|(name, _)| !item.contains_key(*name)) {
            Self::None
        } else if entry.iter().all(|(name, value)| item.get(*name) == Some(&text(value))) {
            Self::Right
        } else {
            Self::Wrong
        }
    }
}

impl fmt::Display for UnreadableItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

impl PatientRecords {
    /// The records in `items`, which are all of the patient whose partition is `pk`.
    pub(crate) fn of(pk: &str, items: &[Item]) -> Result<Self, Unreadable> {
        let (study, patient) = keys::patient_of(pk).ok_or_else(|| unreadable(PK, "names no patient"))?;
        let mut records = Self {
            study,
            patient,
            submissions: Vec::new(),
            alerts: Vec::new(),
            profile: None,
            registration: None,
            site_entries: BTreeSet::new(),
            occurrences: Vec::new(),
            plan: None,
            unreadable: Vec::new(),
        };
        for item in items {
            if let Err(unreadable) = records.add(item) {
                records.unreadable.push(unreadable);
            }
        }
        Ok(records)
    }

    /// The keys of the alerts that the scores and the occurrences name.
    pub(crate) fn alert_keys(&self) -> Vec<Item> {
        let of = |stored: &'_ StoredSubmission| {
            let ids = stored.score.iter().flat_map(|score| score.alerts.iter().map(|(id, _)| *id));
            ids.map(|id| (id, stored.submission.site.clone())).collect::<Vec<_>>()
        };
        // DynamoDB refuses a batch that has a key twice.
        let of_missed = self.occurrences.iter().filter_map(|missed| Some((missed.alert?, missed.site.clone())));
        let named: BTreeSet<(AlertId, SiteId)> = self.submissions.iter().flat_map(of).chain(of_missed).collect();
        named.into_iter().map(|(id, site)| id.key(&self.study, &site)).collect()
    }

    /// Adds the alerts in `rows`.
    pub(crate) fn add_alerts(&mut self, rows: &[Item]) {
        for row in rows {
            match StoredAlert::of(row) {
                Ok(stored) => self.alerts.push(stored),
                Err(unreadable) => self.unreadable.push(unreadable),
            }
        }
        self.alerts.sort_by_key(|stored| stored.alert.id);
    }

    fn add(&mut self, item: &Item) -> Result<(), UnreadableItem> {
        let sk = Reader(item).text(SK).unwrap_or_default();
        if let Some(id) = sk.strip_prefix(SUBMISSION) {
            let stored = StoredSubmission::of(item);
            self.submissions.push(stored.map_err(|reason| in_item(submission::KIND, id.parse().ok(), reason))?);
        } else if sk == PROFILE {
            self.profile = Some(StoredProfile::of(item).map_err(|reason| in_item(profile::KIND, None, reason))?);
        } else if sk == REGISTRATION {
            let read = kind_is(item, registration::KIND).and_then(|()| Registration::from_item(item));
            self.registration = Some(read.map_err(|reason| in_item(registration::KIND, None, reason))?);
        } else if sk == PLAN {
            let read = kind_is(item, plan::KIND).and_then(|()| StoredPlan::from_item(item));
            self.plan = Some(read.map_err(|reason| in_item(plan::KIND, None, reason))?);
        } else if sk.starts_with(OCCURRENCE) {
            let read = kind_is(item, occurrence::KIND).and_then(|()| StoredOccurrence::from_item(item));
            self.occurrences.push(read.map_err(|reason| in_item(occurrence::KIND, None, reason))?);
        } else if let Some(site) = sk.strip_prefix(SITE) {
            let site = site.parse().map_err(|_| in_item(site_entry::KIND, None, unreadable(SK, "names no site")))?;
            if *item != site_entry::to_item(&self.study, &self.patient, &site) {
                let reason = unreadable(SITE_KEY, "does not agree with the key");
                return Err(in_item(site_entry::KIND, None, reason));
            }
            self.site_entries.insert(site);
        } else {
            return Err(in_item("item", None, unreadable(SK, "names nothing that is stored of a patient")));
        }
        Ok(())
    }
}

impl StoredSubmission {
    fn of(item: &Item) -> Result<Self, Unreadable> {
        kind_is(item, submission::KIND)?;
        let score = Score::from_item(item)?;
        if score.is_none() && item.contains_key("scored_at") {
            return Err(unreadable("score", "is missing where scored_at is present"));
        }
        Ok(Self { submission: Submission::from_item(item)?, score, on: OnList::of(Reader(item)) })
    }
}

impl StoredAlert {
    /// The alert in the row `item`.
    pub(crate) fn of(item: &Item) -> Result<Self, UnreadableItem> {
        let read = || {
            kind_is(item, alert::KIND)?;
            let alert = Alert::from_item(item)?;
            agrees(item, &alert.key())?;
            Ok(alert)
        };
        let submission = || Reader(item).parsed("submission").ok();
        let alert = read().map_err(|reason| in_item(alert::KIND, submission(), reason))?;
        Ok(Self {
            has_message_id: item.contains_key("message_id"),
            has_escalation_message_id: item.contains_key("escalation_message_id"),
            on: OnList::of(Reader(item)),
            worklist: WorklistPlace::of(item, &alert),
            alert,
        })
    }
}

impl StoredProfile {
    fn of(item: &Item) -> Result<Self, Unreadable> {
        kind_is(item, profile::KIND)?;
        let profile = Profile::from_item(item)?;
        agrees(item, &profile.key())?;
        Ok(Self {
            is_in_site_index: item.get(SITE_SORT) == Some(&text(keys::patient_of_site(&profile.patient))),
            on: OnList::of(Reader(item)),
            profile,
        })
    }
}

fn kind_is(item: &Item, kind: &str) -> Result<(), Unreadable> {
    if Reader(item).text("kind")? == kind { Ok(()) } else { Err(unreadable("kind", "does not agree with the key")) }
}

fn in_item(kind: &'static str, submission: Option<SubmissionId>, reason: Unreadable) -> UnreadableItem {
    UnreadableItem { kind, submission, reason }
}

#[cfg(test)]
mod tests {
    use clinical::instruments::{FiredRule, Severity};
    use time::macros::datetime;

    use super::*;
    use crate::items::submission::tests::submission;

    fn alert() -> Item {
        let fired = FiredRule { rule: "safety".parse().unwrap(), severity: Severity::Critical, quiet_hours: 0 };
        Alert::raise(&submission(1), &fired, datetime!(2026-11-01 08:00:02 UTC), false).to_item()
    }

    #[test]
    fn an_alert_whose_attributes_name_something_else_than_its_key_is_unreadable() {
        assert!(StoredAlert::of(&alert()).is_ok());
        for (name, value, why) in [
            ("study", "OTHER", "does not agree with the other attributes"),
            ("site", "S02", "does not agree with the other attributes"),
            ("alert_id", "00000000-0000-8000-8000-000000000009", "does not agree with the other attributes"),
            ("kind", "profile", "does not agree with the key"),
        ] {
            let mut item = alert();
            item.insert(name.to_owned(), text(value));
            let unreadable = StoredAlert::of(&item).map(drop).unwrap_err().to_string();
            assert!(unreadable.starts_with("alert: ") && unreadable.ends_with(why), "{name}: {unreadable}");
        }
    }
}
