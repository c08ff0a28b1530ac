//! Drafts: questionnaires that a patient has begun and not submitted. They are no data of the study: nothing reads them
//! but the patient's own app, and DynamoDB removes them by its time to live.

use std::fmt;

use clinical::ids::{PatientId, StudyId, SubmissionId};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::table::attributes::{Item, Reader, Unreadable, bytes, digest, instant, number, text, unreadable};
use crate::table::digest::sha256_hex;
use crate::table::keys::{self, PK, SK};

pub(crate) const KIND: &str = "draft";
/// The attribute that the table's time to live goes by.
pub(crate) const EXPIRES_AT: &str = "expires_at";
/// The attribute by which a put recognises what it replaces.
pub(crate) const ETAG: &str = "etag";
/// The attribute by which a put recognises its own content.
pub(crate) const DIGEST: &str = "digest";

/// A questionnaire that is not submitted yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Draft {
    /// The study.
    pub study: StudyId,
    /// The patient.
    pub patient: PatientId,
    /// The id that the submission will have.
    pub id: SubmissionId,
    /// The JSON of the questionnaire as far as it is known, in one form: the same content is the same text.
    pub content: String,
    /// Random for each change, so that a draft that was changed back is not taken for the one before.
    pub etag: Uuid,
    /// When it was changed last.
    pub changed_at: OffsetDateTime,
    /// From when on it is gone, whether DynamoDB has removed it or not. In whole seconds.
    pub expires_at: OffsetDateTime,
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Draft").field("id", &self.id).field("changed_at", &self.changed_at).finish_non_exhaustive()
    }
}

impl Draft {
    /// How long a draft is kept after its last change.
    pub const KEPT: Duration = Duration::days(30);

    /// The draft `id` of `patient` with this `content`, as it is changed at `now`.
    pub fn new(study: StudyId, patient: PatientId, id: SubmissionId, content: String, now: OffsetDateTime) -> Self {
        let expires_at = now.saturating_add(Self::KEPT).replace_nanosecond(0).expect("zero is in every second");
        Self { study, patient, id, content, etag: Uuid::new_v4(), changed_at: now, expires_at }
    }

    /// Whether it is gone at `now`.
    pub(crate) fn is_expired(&self, now: OffsetDateTime) -> bool {
        self.expires_at <= now
    }

    /// The SHA-256 of its content, in hexadecimal.
    pub(crate) fn digest(&self) -> String {
        sha256_hex(self.content.as_bytes())
    }

    pub(crate) fn to_item(&self) -> Item {
        let mut item = keys::draft(&self.study, &self.patient, &self.id);
        item.extend(
            [
                ("kind", text(KIND)),
                ("content", text(&self.content)),
                (DIGEST, digest(&self.digest())),
                (ETAG, bytes(self.etag.as_bytes())),
                ("changed_at", instant(self.changed_at)),
                (EXPIRES_AT, number(self.expires_at.unix_timestamp())),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let of = keys::drafts_of(reader.text(PK)?);
        let (study, patient) = of.ok_or_else(|| unreadable(PK, "names no patient"))?;
        let expires_at = reader.optional_integer(EXPIRES_AT)?.ok_or_else(|| unreadable(EXPIRES_AT, "is missing"))?;
        let draft = Self {
            study,
            patient,
            id: reader.parsed(SK)?,
            content: reader.owned_text("content")?,
            etag: reader.uuid(ETAG)?,
            changed_at: reader.instant("changed_at")?,
            expires_at: OffsetDateTime::from_unix_timestamp(expires_at)
                .map_err(|_| unreadable(EXPIRES_AT, "is not a time"))?,
        };
        if reader.digest(DIGEST)? == draft.digest() {
            Ok(draft)
        } else {
            Err(unreadable(DIGEST, "is not that of the content"))
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn draft() -> Draft {
        let (study, patient) = ("DEMO".parse().unwrap(), "P-1".parse().unwrap());
        let now = datetime!(2026-11-01 08:00:00.5 UTC);
        Draft::new(study, patient, Uuid::from_u128(7).into(), "{\"answers\":{}}".to_owned(), now)
    }

    #[test]
    fn a_draft_survives_being_stored_and_is_kept_for_thirty_days() {
        let draft = draft();
        assert_eq!(Draft::from_item(&draft.to_item()), Ok(draft.clone()));
        assert_eq!(draft.expires_at, datetime!(2026-12-01 08:00 UTC));
        assert!(draft.is_expired(draft.expires_at) && !draft.is_expired(draft.expires_at - Duration::SECOND));
    }

    #[test]
    fn a_draft_whose_content_is_not_that_of_its_digest_is_unreadable() {
        let mut item = draft().to_item();
        item.insert("content".to_owned(), text("{}"));
        assert_eq!(Draft::from_item(&item).unwrap_err().to_string(), "attribute digest is not that of the content");
    }

    #[test]
    fn promise_10_the_content_of_a_draft_is_not_in_debug_output() {
        let debug = format!("{:?}", draft());
        assert!(debug.starts_with("Draft { id: ") && !debug.contains("answers") && !debug.contains("P-1"), "{debug}");
    }
}
