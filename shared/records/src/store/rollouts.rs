//! Rollouts of studies to their patients' plans.

use std::time::Duration;

use aws_sdk_dynamodb::types::CancellationReason;
use clinical::ids::{PatientId, SiteId, StudyId};
use invocation::Deadline;
use invocation::aws::{Failure, Limits};
use time::OffsetDateTime;

use super::Store;
use super::patients::{ENTRIES, patient_of_entry};
use crate::Unreadable;
use crate::items::rollout::Rollout;
use crate::table::calls::{self, ConditionalPut, Contended, is_condition_failed, put_revision};
use crate::table::keys::PATIENT;

const TRANSACTION: Limits = Limits { most: Duration::from_secs(4), least: Duration::from_millis(50) };
const OPERATION: &str = "TransactWriteItems of a rollout";
const QUERY: &str = "Query of a site's patients";

impl Store {
    /// The next `most` patients who are, or were, of `site`, by id, after `after`; fewer where there are no more.
    ///
    /// # Errors
    /// If the store did not return them in time, or an entry names no patient.
    pub async fn site_patients_after(
        &self,
        study: &StudyId,
        site: &SiteId,
        after: Option<&PatientId>,
        most: usize,
        deadline: Deadline,
    ) -> Result<Vec<PatientId>, Failure> {
        // An id holds only characters above the space.
        let from = after.map_or_else(|| PATIENT.to_owned(), |after| format!("{PATIENT}{} ", after.as_str()));
        let items = calls::query(self.patients_from(study, site, from), most * ENTRIES, QUERY, deadline).await?;
        let patients: Result<Vec<PatientId>, Unreadable> = items.iter().map(patient_of_entry).collect();
        let mut patients = patients.map_err(|_| Failure::unreadable(QUERY, "an entry names no patient"))?;
        patients.dedup();
        patients.truncate(most);
        Ok(patients)
    }

    /// Stores `rollout`, if the stored one is the one that was read, and marks the plans of `patients` at `at` to be made for
    /// its version, in one transaction. Returns it as it is stored; `None` if another run, or another version, was first.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn advance_rollout(
        &self,
        rollout: &Rollout,
        patients: &[PatientId],
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<Rollout>, Failure> {
        let mut writes = vec![put_revision(&self.tables.records, rollout.to_item(), rollout.revision)];
        let marks = patients.iter().map(|patient| self.mark_plan(&rollout.study, patient, at, Some(&rollout.version)));
        writes.extend(marks);
        let jitter = rollout.study.as_str().to_owned();
        let transaction = Contended { operation: OPERATION, limits: TRANSACTION, writes, jitter };
        let settled = |reasons: &[CancellationReason]| {
            // An earlier attempt whose answer was lost looks the same: the next run goes on from where it stands.
            Ok(reasons.first().filter(|reason| is_condition_failed(reason)).map(|_| ConditionalPut::Changed))
        };
        match transaction.send(&self.dynamodb, deadline, ConditionalPut::Stored, settled).await? {
            ConditionalPut::Stored => Ok(Some(Rollout { revision: rollout.revision + 1, ..rollout.clone() })),
            ConditionalPut::Changed => Ok(None),
        }
    }
}
