//! Submissions: stored once, read by key.

use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use clinical::ids::{PatientId, StudyId, SubmissionId};
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits};

use super::Store;
use crate::items::score::Score;
use crate::items::submission::Submission;
use crate::table::attributes::Item;
use crate::table::calls::{GET, IF_ABSENT, send};
use crate::table::keys;

/// The last call of a request: it may take all the time that the deadline leaves.
pub(crate) const PUT: Limits = Limits { most: Duration::from_secs(10), least: Duration::from_millis(50) };

/// The outcome of putting a submission.
#[derive(Debug)]
pub enum PutOutcome {
    /// This call stored it.
    Stored,
    /// The same body was stored before: the submission as it was stored then.
    Repeated(Box<Submission>),
    /// Another body was stored under the same id before.
    Conflict,
}

impl Store {
    /// Stores `submission` once, with one conditional put and without a read before it.
    ///
    /// # Errors
    /// If it was not sent to the store, if its outcome is unknown, or if the store refused it.
    pub async fn put_submission(&self, submission: &Submission, deadline: Deadline) -> Result<PutOutcome, Failure> {
        const OPERATION: &str = "PutItem of a submission";
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(submission.to_item()))
            .condition_expression(IF_ABSENT)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match send(request, deadline, PUT).await {
            Ok(_) => Ok(PutOutcome::Stored),
            Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(failed))) => {
                stored_before(submission, failed.item.as_ref(), OPERATION)
            }
            Err(error) => Err(error.into_failure(OPERATION)),
        }
    }

    /// The submission `id` of `patient`, with its score if it is scored; `None` if it is not stored.
    ///
    /// # Errors
    /// If the store did not return it in time, or the item cannot be read.
    pub async fn submission(
        &self,
        study: &StudyId,
        patient: &PatientId,
        id: &SubmissionId,
        deadline: Deadline,
    ) -> Result<Option<(Submission, Option<Score>)>, Failure> {
        const OPERATION: &str = "GetItem of a submission";
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::submission(study, patient, id)))
            .consistent_read(true);
        let Some(item) = send(request, deadline, GET).await.map_err(|error| error.into_failure(OPERATION))?.item else {
            return Ok(None);
        };
        let read = Submission::from_item(&item).and_then(|submission| Ok((submission, Score::from_item(&item)?)));
        read.map(Some).map_err(|_| Failure::unreadable(OPERATION, "the stored item cannot be read"))
    }
}

/// The outcome of putting `submission` where `item` was stored under its id before.
pub(crate) fn stored_before(
    submission: &Submission,
    item: Option<&Item>,
    operation: &'static str,
) -> Result<PutOutcome, Failure> {
    let item = item.ok_or_else(|| Failure::unreadable(operation, "the stored item was not returned"))?;
    let stored =
        Submission::from_item(item).map_err(|_| Failure::unreadable(operation, "the stored item cannot be read"))?;
    Ok(outcome_of(submission, stored))
}

/// The outcome of putting `submission` where `stored` is stored under its id.
pub(crate) fn outcome_of(submission: &Submission, stored: Submission) -> PutOutcome {
    if stored.nonce == submission.nonce {
        // The SDK sent it again because the first answer was lost, and the condition met its own write.
        PutOutcome::Stored
    } else if stored.digest == submission.digest {
        PutOutcome::Repeated(Box::new(stored))
    } else {
        PutOutcome::Conflict
    }
}
