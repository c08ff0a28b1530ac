//! Drafts: put under a condition, read by key, and gone once the submission of the same id is stored.
//!
//! `submit` knows nothing of drafts and stays one put. What makes a draft gone is that each request for it also reads the
//! key of the submission, consistently and in the same call, so that no function needs the permission to delete. A put
//! that has read before the submission is stored, and writes after, counts as one that came before it: no read returns
//! what it wrote, and time to live removes it. A condition on the submission in the put would take a transaction, which
//! costs twice as much.

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use clinical::ids::{PatientId, StudyId, SubmissionId};
use invocation::Deadline;
use invocation::aws::{CallError, Failure};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Store;
use super::submissions::PUT;
use crate::items::draft::{DIGEST, Draft, ETAG, EXPIRES_AT};
use crate::items::registration::Admission;
use crate::table::attributes::{Item, Reader, bytes, digest, number};
use crate::table::calls::{batch_get, send};
use crate::table::keys::{self, REGISTRATION, SK};

/// What is stored under the id of a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredDraft {
    /// Nothing, or a draft that has expired.
    None,
    /// The draft.
    Draft(Box<Draft>),
    /// The submission, whose draft is gone.
    Submitted,
}

/// What decides whether a patient may put a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DraftAdmission {
    /// What the registry says of the patient; `None` if it has no registration.
    pub admission: Option<Admission>,
    /// Whether the submission of the draft's id is stored.
    pub is_submitted: bool,
}

/// What a put requires of the stored draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftCondition {
    /// There is none.
    Absent,
    /// It has this tag.
    Unchanged(Uuid),
}

/// The outcome of putting a draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DraftPut {
    /// This call stored it.
    Stored,
    /// The same content is stored already, in this draft.
    Same(Box<Draft>),
    /// The stored draft is another than the condition requires: this one, or none.
    Other(Option<Box<Draft>>),
}

impl Store {
    /// What is stored under the id of a draft at `now`, read consistently.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn draft(
        &self,
        study: &StudyId,
        patient: &PatientId,
        id: &SubmissionId,
        now: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<StoredDraft, Failure> {
        const OPERATION: &str = "BatchGetItem of a draft";
        let submission = keys::submission(study, patient, id);
        let keys = vec![keys::draft(study, patient, id), submission.clone()];
        let items = batch_get(&self.dynamodb, &self.tables.records, keys, OPERATION, deadline).await?;
        if items.iter().any(|item| is_at(item, &submission)) {
            return Ok(StoredDraft::Submitted);
        }
        let Some(item) = items.first() else { return Ok(StoredDraft::None) };
        let draft = read(item, OPERATION)?;
        Ok(if draft.is_expired(now) { StoredDraft::None } else { StoredDraft::Draft(Box::new(draft)) })
    }

    /// What decides whether `patient` may put the draft `id`, read consistently.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn draft_admission(
        &self,
        study: &StudyId,
        patient: &PatientId,
        id: &SubmissionId,
        deadline: Deadline,
    ) -> Result<DraftAdmission, Failure> {
        const OPERATION: &str = "BatchGetItem of a draft's admission";
        let submission = keys::submission(study, patient, id);
        let keys = vec![keys::registration(study, patient), submission.clone()];
        let items = batch_get(&self.dynamodb, &self.tables.records, keys, OPERATION, deadline).await?;
        let registration = items.iter().find(|item| Reader(item).text(SK) == Ok(REGISTRATION));
        let admission = registration.map(Admission::from_item).transpose();
        Ok(DraftAdmission {
            admission: admission
                .map_err(|_| Failure::unreadable(OPERATION, "the patient's registration cannot be read"))?,
            is_submitted: items.iter().any(|item| is_at(item, &submission)),
        })
    }

    /// Stores `draft` in one put, if the stored one is as `condition` requires and has another content. One that has
    /// expired counts as absent.
    ///
    /// # Errors
    /// If the store did not confirm it; a repeat of the request settles the outcome.
    pub async fn put_draft(
        &self,
        draft: &Draft,
        condition: DraftCondition,
        deadline: Deadline,
    ) -> Result<DraftPut, Failure> {
        const OPERATION: &str = "PutItem of a draft";
        let now = draft.changed_at;
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(draft.to_item()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match send(conditional(request, draft, condition), deadline, PUT).await {
            Ok(_) => Ok(DraftPut::Stored),
            Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(failed))) => {
                let Some(item) = failed.item else { return Ok(DraftPut::Other(None)) };
                let stored = read(&item, OPERATION)?;
                Ok(if stored.etag == draft.etag {
                    // The SDK sent it again because the first answer was lost, and the condition met its own write.
                    DraftPut::Stored
                } else if stored.is_expired(now) {
                    DraftPut::Other(None)
                } else if stored.content == draft.content {
                    DraftPut::Same(Box::new(stored))
                } else {
                    DraftPut::Other(Some(Box::new(stored)))
                })
            }
            Err(error) => Err(error.into_failure(OPERATION)),
        }
    }
}

fn conditional(request: PutItemFluentBuilder, draft: &Draft, condition: DraftCondition) -> PutItemFluentBuilder {
    let request = request
        .expression_attribute_names("#expires_at", EXPIRES_AT)
        .expression_attribute_values(":now", number(draft.changed_at.unix_timestamp()));
    match condition {
        DraftCondition::Absent => request.condition_expression("attribute_not_exists(pk) OR #expires_at <= :now"),
        DraftCondition::Unchanged(etag) => request
            .condition_expression("#etag = :etag AND #digest <> :digest AND #expires_at > :now")
            .expression_attribute_names("#etag", ETAG)
            .expression_attribute_names("#digest", DIGEST)
            .expression_attribute_values(":etag", bytes(etag.as_bytes()))
            .expression_attribute_values(":digest", digest(&draft.digest())),
    }
}

fn is_at(item: &Item, key: &Item) -> bool {
    key.iter().all(|(name, value)| item.get(name) == Some(value))
}

fn read(item: &Item, operation: &'static str) -> Result<Draft, Failure> {
    Draft::from_item(item).map_err(|_| Failure::unreadable(operation, "the stored draft cannot be read"))
}
