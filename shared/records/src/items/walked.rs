//! What a walk over the Records table finds.

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::{InstrumentId, InstrumentVersion, StudyId, StudyVersion};
use time::OffsetDateTime;

use super::audit::Audit;
use super::document;
use super::draft::{self, Draft};
use super::patient_records::{PatientRecords, StoredAlert, UnreadableItem};
use super::rollout::{self, Rollout};
use crate::table::attributes::{Item, Reader, Unreadable, text, unreadable};
use crate::table::keys::{self, PK, SK};

/// A part of the Records table that is compared on its own.
#[derive(Debug)]
pub enum Walked {
    /// All items of a patient.
    Patient(Box<PatientRecords>),
    /// An alert, which is of the patient that it names.
    Alert(Box<StoredAlert>),
    /// An audit entry.
    Audit(Box<Audit>),
    /// A version of a study, or of an instrument that does not ship.
    Document(StoredDocument),
    /// An item that cannot be read.
    Unreadable(UnreadableItem),
}

/// A stored version of a study or an instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDocument {
    /// Its name.
    pub name: DocumentName,
    /// The content hash that is stored beside it.
    pub hash: String,
    /// When it was put.
    pub put_at: OffsetDateTime,
    /// Whose token or AWS identity put it.
    pub put_by: String,
}

/// The name of a stored document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentName {
    /// A version of a study.
    Study(StudyId, StudyVersion),
    /// The copy of the version of a study that is in force.
    InForce(StudyId, StudyVersion),
    /// An instrument that does not ship.
    Instrument(InstrumentId, InstrumentVersion),
}

impl DocumentName {
    /// The key of its item.
    pub(crate) fn key(&self) -> Item {
        match self {
            Self::Study(id, version) => keys::study_version(id, version),
            Self::InForce(id, _) => keys::study_in_force(id),
            Self::Instrument(id, version) => keys::instrument(id, version),
        }
    }
}

impl Walked {
    /// The content of `item`, which is not a patient's; `None` if it is of a kind that has nothing to compare with.
    pub(crate) fn of(item: &Item) -> Option<Self> {
        let reader = Reader(item);
        let (kind, read): (&'static str, Result<Self, Unreadable>) = match reader.text("kind") {
            Ok(super::alert::KIND) => {
                return Some(StoredAlert::of(item).map_or_else(Self::Unreadable, |alert| Self::Alert(Box::new(alert))));
            }
            Ok("audit") => ("audit entry", audit(item)),
            Ok("study") => ("study", study(item)),
            Ok("instrument") => ("instrument", instrument(item)),
            // A draft is its patient's alone: it must be readable, and nothing follows from it.
            Ok(draft::KIND) => match Draft::from_item(item) {
                Ok(_) => return None,
                Err(reason) => (draft::KIND, Err(reason)),
            },
            Ok(rollout::KIND) => match Rollout::from_item(item) {
                Ok(_) => return None,
                Err(reason) => (rollout::KIND, Err(reason)),
            },
            Ok("quarantined" | "key" | super::verification_state::KIND) => return None,
            Ok(_) => ("item", Err(unreadable("kind", "is unknown"))),
            Err(reason) => ("item", Err(reason)),
        };
        Some(read.unwrap_or_else(|reason| Self::Unreadable(UnreadableItem { kind, submission: None, reason })))
    }
}

fn audit(item: &Item) -> Result<Walked, Unreadable> {
    let entry = Audit::from_item(item)?;
    agrees(item, &entry.to_item())?;
    Ok(Walked::Audit(Box::new(entry)))
}

fn study(item: &Item) -> Result<Walked, Unreadable> {
    let study = document::study(item)?;
    let (id, version) = (study.id().clone(), study.version().clone());
    let in_force = keys::study_in_force(&id);
    let is_in_force = item.get(SK) == in_force.get(SK);
    agrees(item, &if is_in_force { in_force } else { keys::study_version(&id, &version) })?;
    for (name, value) in [("version", version.as_str().to_owned()), ("rank", version.sortable())] {
        agrees(item, &Item::from([(name.to_owned(), text(value))]))?;
    }
    let name = if is_in_force { DocumentName::InForce(id, version) } else { DocumentName::Study(id, version) };
    stored(item, name, study.hash())
}

fn instrument(item: &Item) -> Result<Walked, Unreadable> {
    let instrument = document::instrument(item)?;
    let (id, version) = (instrument.id().clone(), instrument.version().clone());
    agrees(item, &keys::instrument(&id, &version))?;
    stored(item, DocumentName::Instrument(id, version), instrument.hash())
}

fn stored(item: &Item, name: DocumentName, hash: &str) -> Result<Walked, Unreadable> {
    let reader = Reader(item);
    if document::hash(item)? != hash {
        return Err(unreadable("hash", "is not that of the content"));
    }
    let (put_at, put_by) = (reader.instant("put_at")?, reader.owned_text("put_by")?);
    Ok(Walked::Document(StoredDocument { name, hash: hash.to_owned(), put_at, put_by }))
}

/// Whether `item` has the values of `expected` under its keys.
pub(super) fn agrees(item: &Item, expected: &Item) -> Result<(), Unreadable> {
    let differs = |(name, value): &(&String, &AttributeValue)| item.get(*name) != Some(*value);
    match expected.iter().find(|pair| [PK, SK, "version", "rank"].contains(&pair.0.as_str()) && differs(pair)) {
        Some((name, _)) => Err(unreadable(name, "does not agree with the other attributes")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use invocation::Principal;
    use time::macros::datetime;

    use super::*;
    use crate::items::audit::{Actor, AuditAction};

    #[test]
    fn an_item_under_the_key_of_another_one_is_unreadable() {
        let principal = Principal::new("staff-1", "https://issuer.example").unwrap();
        let actor = Actor { principal, role: "staff".to_owned() };
        let at = datetime!(2026-11-01 08:00 UTC);
        let entry = Audit::in_request(actor, AuditAction::AuditRead, &"DEMO".parse().unwrap(), at, "r-1", "c-1");
        let mut item = entry.to_item();
        assert!(matches!(Walked::of(&item), Some(Walked::Audit(_))));
        item.insert(PK.to_owned(), text("AUDIT#OTHER"));
        let Some(Walked::Unreadable(unreadable)) = Walked::of(&item) else { panic!("its key is of another study") };
        assert!(unreadable.to_string().contains("does not agree with the other attributes"), "{unreadable}");
    }

    #[test]
    fn a_draft_has_nothing_to_compare_with_and_one_that_cannot_be_read_is_reported() {
        let (study, patient) = ("DEMO".parse().unwrap(), "P-1".parse().unwrap());
        let (id, at) = (uuid::Uuid::from_u128(7).into(), datetime!(2026-11-01 08:00 UTC));
        let mut item = Draft::new(study, patient, id, "{}".to_owned(), at).to_item();
        assert!(Walked::of(&item).is_none());
        item.remove(draft::EXPIRES_AT);
        let Some(Walked::Unreadable(unreadable)) = Walked::of(&item) else { panic!("it never ends") };
        assert_eq!(unreadable.to_string(), "draft: attribute expires_at is missing");
    }
}
