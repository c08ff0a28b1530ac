//! All that is stored of a patient, as it is stored: for a comparison with what must be stored.

use std::fmt;

use clinical::ids::{PatientId, StudyId, SubmissionId};
use time::OffsetDateTime;

use super::alert::{self, Alert};
use super::profile::{self, Profile};
use super::score::Score;
use super::submission::{self, Submission};
use super::walked::agrees;
use crate::table::attributes::{Item, Reader, Unreadable, text, unreadable};
use crate::table::keys::{self, ALERT, PATIENT, PK, PROFILE, SITE_KEY, SITE_SORT, SK, SUBMISSION};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

/// All items of one patient.
#[derive(Debug)]
pub struct PatientRecords {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The submissions, by id.
    pub submissions: Vec<StoredSubmission>,
    /// The alerts, by submission and rule.
    pub alerts: Vec<StoredAlert>,
    /// The profile, if there is one that can be read.
    pub profile: Option<StoredProfile>,
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
    /// Whether the index `site` has it in its place.
    pub is_in_site_index: bool,
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
    /// The kind of the item, by its key: `submission`, `alert`, `profile`, or `item` for any other.
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

impl fmt::Display for UnreadableItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)
    }
}

impl PatientRecords {
    /// The records in `items`, which are all of the patient whose partition is `pk`.
    pub(crate) fn of(pk: &str, items: &[Item]) -> Result<Self, Unreadable> {
        let (study, patient) = patient_of(pk).ok_or_else(|| unreadable(PK, "names no patient"))?;
        let mut records =
            Self { study, patient, submissions: Vec::new(), alerts: Vec::new(), profile: None, unreadable: Vec::new() };
        for item in items {
            if let Err(unreadable) = records.add(item) {
                records.unreadable.push(unreadable);
            }
        }
        Ok(records)
    }

    fn add(&mut self, item: &Item) -> Result<(), UnreadableItem> {
        let reader = Reader(item);
        let sk = reader.text(SK).unwrap_or_default();
        if let Some(rest) = sk.strip_prefix(ALERT) {
            let submission = rest.split_once('#').and_then(|(id, _)| id.parse().ok());
            let stored = StoredAlert::of(item);
            self.alerts.push(stored.map_err(|reason| in_item(alert::KIND, submission, reason))?);
        } else if let Some(id) = sk.strip_prefix(SUBMISSION) {
            let stored = StoredSubmission::of(item);
            self.submissions.push(stored.map_err(|reason| in_item(submission::KIND, id.parse().ok(), reason))?);
        } else if sk == PROFILE {
            self.profile = Some(StoredProfile::of(item).map_err(|reason| in_item(profile::KIND, None, reason))?);
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
    fn of(item: &Item) -> Result<Self, Unreadable> {
        kind_is(item, alert::KIND)?;
        let alert = Alert::from_item(item)?;
        agrees(item, &alert.key())?;
        let index = keys::alert_of_site(alert.raised_at, &alert.id.to_string());
        Ok(Self {
            is_in_site_index: item.get(SITE_KEY) == Some(&text(keys::site(&alert.study, &alert.site)))
                && item.get(SITE_SORT) == Some(&text(index)),
            has_message_id: item.contains_key("message_id"),
            has_escalation_message_id: item.contains_key("escalation_message_id"),
            on: OnList::of(Reader(item)),
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
            is_in_site_index: item.get(SITE_KEY) == Some(&text(keys::site(&profile.study, &profile.site)))
                && item.get(SITE_SORT) == Some(&text(keys::patient_of_site(&profile.patient))),
            on: OnList::of(Reader(item)),
            profile,
        })
    }
}

/// The study and the patient of the partition `pk`; `None` if it is not a patient's.
pub(crate) fn patient_of(pk: &str) -> Option<(StudyId, PatientId)> {
    let (study, patient) = pk.strip_prefix(PATIENT)?.split_once('#')?;
    Some((study.parse().ok()?, patient.parse().ok()?))
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

    fn records_of(item: &Item) -> PatientRecords {
        PatientRecords::of(&text_of(item, PK), std::slice::from_ref(item)).unwrap()
    }

    fn text_of(item: &Item, name: &str) -> String {
        item[name].as_s().unwrap().clone()
    }

    #[test]
    fn an_item_whose_attributes_name_something_else_than_its_key_is_unreadable() {
        assert_eq!(records_of(&alert()).alerts.len(), 1);
        for (name, value, why) in [
            ("patient", "P-2", "does not agree with the other attributes"),
            ("rule", "severe", "does not agree with the other attributes"),
            ("submission", "00000000-0000-0000-0000-000000000009", "does not agree with the other attributes"),
            ("kind", "profile", "does not agree with the key"),
        ] {
            let mut item = alert();
            item.insert(name.to_owned(), text(value));
            let records = records_of(&item);
            let unreadable: Vec<String> = records.unreadable.iter().map(ToString::to_string).collect();
            assert!(unreadable[0].starts_with("alert: ") && unreadable[0].ends_with(why), "{name}: {unreadable:?}");
            assert_eq!((records.alerts.len(), unreadable.len()), (0, 1), "{name}");
        }
    }
}
