//! Corrections: a submission that takes the place of an earlier one of the same patient and instrument.
//!
//! The transaction that stores a correction checks its target, so that of two corrections of one submission only one is
//! stored, whatever their senders read before.

use aws_sdk_dynamodb::types::{CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use clinical::ids::{PatientId, SiteId, StudyId, SubmissionId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;

use super::Store;
use super::submissions::{PUT, PutOutcome, outcome_of, stored_before};
use crate::items::audit::Audit;
use crate::items::submission::{Amendment, Submission};
use crate::items::target::Target;
use crate::table::attributes::{Item, Reader, text};
use crate::table::calls::{BATCH_KEYS, Contended, GET, batch_get, is_condition_failed, put_if_absent, send};
use crate::table::keys;

const OPERATION: &str = "TransactWriteItems of a correction";
/// The largest number of a site's patients that are searched for a submission.
const MOST_PATIENTS: usize = 1_000;
const BATCHES_AT_ONCE: usize = 4;

/// The outcome of putting a correction.
#[derive(Debug)]
pub enum CorrectionOutcome {
    /// The outcome of putting any submission.
    Put(PutOutcome),
    /// Not stored: this submission corrected the target in the meantime.
    AmendedBy(SubmissionId),
}

impl Store {
    /// The submission `id` of `patient` as the target of a correction; `None` if it is not stored.
    ///
    /// # Errors
    /// If the store did not return it in time, or the item cannot be read.
    pub async fn correction_target(
        &self,
        study: &StudyId,
        patient: &PatientId,
        id: &SubmissionId,
        deadline: Deadline,
    ) -> Result<Option<Target>, Failure> {
        const OPERATION: &str = "GetItem of a submission that is corrected";
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::submission(study, patient, id)))
            .projection_expression("id, instrument, effective_at, #place, amended_by")
            .expression_attribute_names("#place", "place")
            .consistent_read(true);
        let Some(item) = send(request, deadline, GET).await.map_err(|error| error.into_failure(OPERATION))?.item else {
            return Ok(None);
        };
        let target = Target::from_item(&item);
        target.map(Some).map_err(|_| Failure::unreadable(OPERATION, "the stored item cannot be read"))
    }

    /// As [`put_submission`](Self::put_submission), for a `submission` that corrects another one: in one transaction
    /// with the mark on the corrected one, which must be stored, answer the same instrument and not be corrected yet,
    /// and with `audit`, which names both.
    ///
    /// # Errors
    /// As [`put_submission`](Self::put_submission).
    pub async fn put_correction(
        &self,
        submission: &Submission,
        amendment: &Amendment,
        audit: &Audit,
        deadline: Deadline,
    ) -> Result<CorrectionOutcome, Failure> {
        let table = &self.tables.records;
        let mut put = put_if_absent(table, submission.to_item());
        put.return_values_on_condition_check_failure = Some(ReturnValuesOnConditionCheckFailure::AllOld);
        let writes = vec![
            TransactWriteItem::builder().put(put).build(),
            TransactWriteItem::builder().update(self.mark_amended(submission, amendment)).build(),
            TransactWriteItem::builder().put(put_if_absent(table, audit.to_item())).build(),
        ];
        // The target is often being scored when its correction arrives, and DynamoDB then cancels one of the two.
        let jitter = submission.id.to_string();
        let transaction = Contended { operation: OPERATION, limits: PUT, writes, jitter };
        let stored = CorrectionOutcome::Put(PutOutcome::Stored);
        transaction.send(&self.dynamodb, deadline, stored, |reasons| settled(submission, reasons)).await
    }

    /// The outcome that putting `submission` would have; `None` if nothing is stored under its id.
    ///
    /// # Errors
    /// If the store did not return it in time, or the item cannot be read.
    pub async fn stored_under_id_of(
        &self,
        submission: &Submission,
        deadline: Deadline,
    ) -> Result<Option<PutOutcome>, Failure> {
        let found = self.submission(&submission.study, &submission.patient, &submission.id, deadline).await?;
        Ok(found.map(|(stored, _)| outcome_of(submission, stored)))
    }

    /// Whether the submission `id` is of another patient of `site` than `patient`, as far as the first thousand
    /// patients in the site's index show, which holds those with a scored submission.
    ///
    /// Submissions have no index of their own, which would cost a write for each of them; this call is rare.
    ///
    /// # Errors
    /// If the store did not return all that is searched in time.
    pub async fn is_of_another_patient(
        &self,
        study: &StudyId,
        site: &SiteId,
        patient: &PatientId,
        id: &SubmissionId,
        deadline: Deadline,
    ) -> Result<bool, Failure> {
        let table = &self.tables.records;
        let (patients, _) = self.patients_of(study, site, MOST_PATIENTS, deadline).await?;
        let others = patients.iter().filter(|other| *other != patient);
        let keys: Vec<Item> = others.map(|other| keys::submission(study, other, id)).collect();
        let reads = keys
            .chunks(BATCH_KEYS)
            .map(|keys| batch_get(&self.dynamodb, table, keys.to_vec(), "BatchGetItem of a submission", deadline));
        let found: Vec<Vec<Item>> =
            stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(BATCHES_AT_ONCE).try_collect().await?;
        Ok(found.iter().any(|items| !items.is_empty()))
    }

    /// The mark on the submission that `amendment` corrects.
    fn mark_amended(&self, submission: &Submission, amendment: &Amendment) -> Update {
        Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(keys::submission(&submission.study, &submission.patient, &amendment.of)))
            .update_expression("SET amended_by = :correction")
            .condition_expression("instrument.id = :instrument AND attribute_not_exists(amended_by)")
            .expression_attribute_values(":correction", text(submission.id.to_string()))
            .expression_attribute_values(":instrument", text(submission.instrument.id.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table, key and expression are set")
    }
}

/// The outcome of `submission` according to the `reasons` for which its transaction was cancelled; `None` if another
/// attempt may succeed.
fn settled(submission: &Submission, reasons: &[CancellationReason]) -> Result<Option<CorrectionOutcome>, Failure> {
    let failed = |index: usize| reasons.get(index).is_some_and(is_condition_failed);
    // A repeat fails both conditions, and the item under its own id decides.
    if failed(0) {
        return stored_before(submission, reasons[0].item(), OPERATION).map(CorrectionOutcome::Put).map(Some);
    }
    // The id of the entry is new in each request, so that an earlier attempt of this one, whose answer was lost, has
    // stored it: DynamoDB need not report every reason.
    if failed(2) {
        return Ok(Some(CorrectionOutcome::Put(PutOutcome::Stored)));
    }
    if failed(1) {
        let by = reasons[1].item().and_then(|item| Reader(item).parsed("amended_by").ok());
        let by = by.ok_or_else(|| Failure::unreadable(OPERATION, "the corrected submission is not as it was read"))?;
        return Ok(Some(CorrectionOutcome::AmendedBy(by)));
    }
    Ok(None)
}
