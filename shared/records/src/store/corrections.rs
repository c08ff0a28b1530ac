//! Corrections: a submission that takes the place of an earlier one of the same patient and instrument.
//!
//! What is corrected is checked in the transaction that stores the correction, so that of two corrections of one
//! submission one is stored, whatever their senders read before.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use clinical::ids::{InstrumentId, PatientId, SiteId, StudyId, SubmissionId};
use clinical::instruments::Place;
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::{CallError, Failure, call, is_passing};

use crate::table::attributes::{Item, Reader, Unreadable, text};
use crate::audit::Audit;
use crate::table::digest::sha256;
use crate::table::keys::submission_key;
use crate::store::{MOST_KEYS, Store};
use crate::items::submission::{Amendment, GET, PUT, PutOutcome, Submission, place, stored_before, what_is_stored};

const OPERATION: &str = "TransactWriteItems of a correction";
/// The target is often being scored when its correction arrives, and DynamoDB then cancels one of the two.
const ATTEMPTS: u32 = 6;
/// As many patients of a site as are searched for a submission.
const MOST_PATIENTS: usize = 1_000;
const BATCHES_AT_ONCE: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// What is known of a submission that is to be corrected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The instrument that it answers.
    pub instrument: InstrumentId,
    /// Where it stands in the course.
    pub place: Place,
    /// The submission that corrects it already.
    pub amended_by: Option<SubmissionId>,
}

/// What became of a correction.
#[derive(Debug)]
pub enum CorrectionOutcome {
    /// As of any submission.
    Put(PutOutcome),
    /// Not stored: the target was corrected by this submission meanwhile.
    AmendedBy(SubmissionId),
}

impl Store {
    /// What is known of the submission `id` of `patient` as the target of a correction.
    ///
    /// # Errors
    /// If the store did not answer in time, or with something that cannot be read.
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
            .set_key(Some(submission_key(study, patient, id)))
            .projection_expression("id, instrument, effective_at, #place, amended_by")
            .expression_attribute_names("#place", "place")
            .consistent_read(true);
        let sent =
            call(deadline, GET, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        let Some(item) = sent.await.map_err(|error| error.of(OPERATION))?.item else { return Ok(None) };
        let target = Target::from_item(&item);
        target.map(Some).map_err(|_| Failure::unreadable(OPERATION, "the stored item cannot be read"))
    }

    /// As [`put_submission`](Self::put_submission), for a `submission` that corrects another one: in one transaction with
    /// the mark on the corrected one, which must be there, answer the same instrument and not be corrected yet, and with
    /// `audit`, which names both.
    ///
    /// # Errors
    /// As there.
    pub async fn put_correction(
        &self,
        submission: &Submission,
        amendment: &Amendment,
        audit: &Audit,
        deadline: Deadline,
    ) -> Result<CorrectionOutcome, Failure> {
        let mut put = self.put_new(submission.to_item());
        put.return_values_on_condition_check_failure = Some(ReturnValuesOnConditionCheckFailure::AllOld);
        let writes = vec![
            TransactWriteItem::builder().put(put).build(),
            TransactWriteItem::builder().update(self.mark_amended(submission, amendment)).build(),
            TransactWriteItem::builder().put(self.put_new(audit.to_item())).build(),
        ];
        let mut tried = 0;
        loop {
            let request = self.dynamodb.transact_write_items().set_transact_items(Some(writes.clone()));
            let sent =
                call(deadline, PUT, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
            match sent.await {
                Ok(_) => return Ok(CorrectionOutcome::Put(PutOutcome::Stored)),
                Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                    if let Some(outcome) = settled(submission, cancelled.cancellation_reasons())? {
                        return Ok(outcome);
                    }
                }
                // An attempt of the SDK's whose answer was lost is still under way: the next one meets what it did.
                Err(CallError::Refused(TransactWriteItemsError::TransactionInProgressException(_))) => {}
                Err(error) => return Err(error.of(OPERATION)),
            }
            tried += 1;
            let pause = pause(submission, tried);
            if tried == ATTEMPTS || deadline.clamp(pause, pause + PUT.least).is_none() {
                return Err(Failure::passing(OPERATION, "other transactions were in its way"));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// What it means for `submission`, which was not put, that something is stored under its id; `None` if nothing is.
    ///
    /// # Errors
    /// If the store did not answer in time, or with something that cannot be read.
    pub async fn stored_under_id_of(
        &self,
        submission: &Submission,
        deadline: Deadline,
    ) -> Result<Option<PutOutcome>, Failure> {
        let found = self.submission(&submission.study, &submission.patient, &submission.id, deadline).await?;
        Ok(found.map(|(stored, _)| what_is_stored(submission, stored)))
    }

    /// Whether the submission `id` is one of another patient of `site` than `patient`: of those whom the site's index knows,
    /// which are the patients of whom something was scored, and of the first thousand of them.
    ///
    /// Submissions have no index of their own, which would cost a write for each of them; this is asked seldom.
    ///
    /// # Errors
    /// If the store did not answer in time.
    pub async fn is_of_another_patient(
        &self,
        study: &StudyId,
        site: &SiteId,
        patient: &PatientId,
        id: &SubmissionId,
        deadline: Deadline,
    ) -> Result<bool, Failure> {
        let (patients, _) = self.patients_of(study, site, MOST_PATIENTS, deadline).await?;
        let others = patients.iter().filter(|other| *other != patient);
        let keys: Vec<Item> = others.map(|other| submission_key(study, other, id)).collect();
        let reads = keys
            .chunks(MOST_KEYS)
            .map(|keys| self.get_all(&self.tables.records, keys.to_vec(), "BatchGetItem of a submission", deadline));
        let found: Vec<Vec<Item>> =
            stream::iter(reads.collect::<Vec<_>>()).buffer_unordered(BATCHES_AT_ONCE).try_collect().await?;
        Ok(found.iter().any(|items| !items.is_empty()))
    }

    /// The mark on what `amendment` corrects.
    fn mark_amended(&self, submission: &Submission, amendment: &Amendment) -> Update {
        Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(submission_key(&submission.study, &submission.patient, &amendment.of)))
            .update_expression("SET amended_by = :correction")
            .condition_expression("instrument.id = :instrument AND attribute_not_exists(amended_by)")
            .expression_attribute_values(":correction", text(submission.id.to_string()))
            .expression_attribute_values(":instrument", text(submission.instrument.id.as_str()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table, key and expression are set")
    }
}

impl Target {
    fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        Ok(Self {
            instrument: reader.map("instrument")?.parsed("id")?,
            place: place(reader)?,
            amended_by: reader.optional_parsed("amended_by")?,
        })
    }
}

/// What the `reasons` for which the transaction of `submission` was cancelled settle; `None` if another attempt may succeed.
fn settled(submission: &Submission, reasons: &[CancellationReason]) -> Result<Option<CorrectionOutcome>, Failure> {
    const FAILED: &str = "ConditionalCheckFailed";
    let code = |index: usize| reasons.get(index).and_then(CancellationReason::code).unwrap_or("None");
    // A repeat fails both conditions, and what is stored under its own id decides.
    if code(0) == FAILED {
        return stored_before(submission, reasons[0].item(), OPERATION).map(CorrectionOutcome::Put).map(Some);
    }
    if code(1) == FAILED {
        let by = reasons[1].item().and_then(|item| Reader(item).parsed("amended_by").ok());
        let by = by.ok_or_else(|| Failure::unreadable(OPERATION, "what is corrected is not what was read"))?;
        return Ok(Some(CorrectionOutcome::AmendedBy(by)));
    }
    match reasons.iter().filter_map(CancellationReason::code).find(|code| *code != "None" && !is_passing(code)) {
        Some(_) => Err(Failure::unreadable(OPERATION, "it was cancelled for a reason that will stay")),
        None => Ok(None),
    }
}

/// How long to wait before the next try: longer each time, and differently for each submission, so that two that met do
/// not meet again.
fn pause(submission: &Submission, tried: u32) -> Duration {
    let wait = FIRST_WAIT * 2_u32.pow(tried);
    let [byte, ..] = sha256([submission.id.to_string().as_bytes(), tried.to_be_bytes().as_slice()]);
    wait / 2 + wait * u32::from(byte) / 512
}
