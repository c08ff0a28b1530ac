//! The registry: who takes part, at which site, and who has left.

use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{CancellationReason, Put, TransactWriteItem};
use clinical::ids::{PatientId, SiteId, StudyId};
use invocation::Deadline;
use invocation::aws::{Failure, Limits};
use time::OffsetDateTime;

use super::Store;
use crate::items::audit::Audit;
use crate::items::registration::{ADMITTING, Admission, Registration};
use crate::items::{site_entry, submission};
use crate::table::attributes::{Item, Reader, Unreadable, text};
use crate::table::calls::{
    ConditionalPut, Contended, batch_get, is_condition_failed, put_if_absent, put_revision, send,
};
use crate::table::keys::{self, REGISTRATION, SK};

const OPERATION: &str = "TransactWriteItems of a registration";
const PUT: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };
/// A submission is refused without it, so that it may take more than other reads.
const ADMIT: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(30) };

/// How a patient came to take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Participation {
    /// Nothing is known of the patient.
    None,
    /// The patient has a scored submission and was not registered; the last one was of this site.
    BySubmission(SiteId),
    /// Staff have registered the patient.
    Registered(Box<Registration>),
}

impl Participation {
    /// The site that is responsible for the patient.
    pub fn site(&self) -> Option<&SiteId> {
        match self {
            Self::None => None,
            Self::BySubmission(site) => Some(site),
            Self::Registered(registration) => Some(&registration.site),
        }
    }
}

impl Store {
    /// What the registry says of `patient`, whose submission is to be stored; `None` if it has no registration. Read
    /// consistently, so that nothing is accepted after an answered withdrawal.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn admission(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<Option<Admission>, Failure> {
        const OPERATION: &str = "GetItem of an admission";
        let [withdrawn, group] = ADMITTING;
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::registration(study, patient)))
            .projection_expression("#w, #g")
            .expression_attribute_names("#w", withdrawn)
            .expression_attribute_names("#g", group)
            .consistent_read(true);
        let item = send(request, deadline, ADMIT).await.map_err(|error| error.into_failure(OPERATION))?.item;
        let admission = item.map(|item| Admission::from_item(&item)).transpose();
        admission.map_err(|_| Failure::unreadable(OPERATION, "the patient's registration cannot be read"))
    }

    /// How `patient` came to take part, read consistently.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn participation(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<Participation, Failure> {
        const OPERATION: &str = "BatchGetItem of a registration";
        let keys = vec![keys::registration(study, patient), keys::profile(study, patient)];
        let items = batch_get(&self.dynamodb, &self.tables.records, keys, OPERATION, deadline).await?;
        let is_registration = |item: &&Item| Reader(item).text(SK) == Ok(REGISTRATION);
        let participation =
            participation(items.iter().find(is_registration), items.iter().find(|item| !is_registration(item)));
        participation.map_err(|_| Failure::unreadable(OPERATION, "the patient's registration cannot be read"))
    }

    /// When the first submission of `patient` was received; `None` if there is none.
    ///
    /// # Errors
    /// If the store did not return all submissions in time, or one cannot be read.
    pub async fn first_received_at(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<Option<OffsetDateTime>, Failure> {
        let narrow = |query: QueryFluentBuilder| {
            query
                .filter_expression("#kind = :submission")
                .projection_expression("received_at")
                .expression_attribute_names("#kind", "kind")
                .expression_attribute_values(":submission", text(submission::KIND))
        };
        let items = self.data_of_patient(study, patient, narrow, deadline).await?;
        let received: Result<Vec<OffsetDateTime>, Unreadable> =
            items.iter().map(|item| Reader(item).instant("received_at")).collect();
        let received = received
            .map_err(|_| Failure::unreadable("Query of a patient's submissions", "a submission cannot be read"))?;
        Ok(received.into_iter().min())
    }

    /// Stores `registration`, if the stored one has the revision that it was made from, with the entry that keeps the
    /// patient in the list of its site, the mark that the patient's occurrences are to be planned again, and the `audit`
    /// entries of the change, in one transaction.
    ///
    /// # Errors
    /// If the store did not confirm it; a repeat of the request settles the outcome.
    pub async fn put_registration(
        &self,
        registration: &Registration,
        audit: &[Audit],
        deadline: Deadline,
    ) -> Result<ConditionalPut, Failure> {
        let table = &self.tables.records;
        let Registration { study, patient, site, .. } = registration;
        let at = audit.first().map(|entry| entry.at);
        let audit =
            audit.iter().map(|entry| TransactWriteItem::builder().put(put_if_absent(table, entry.to_item())).build());
        // The audit entries come directly after the registration, where `settled` looks for them.
        let registration = put_revision(table, registration.to_item(), registration.revision);
        let entry = self.put_site_entry(study, patient, site);
        let plan = at.map(|at| self.mark_plan(study, patient, at, None));
        let writes: Vec<_> = [registration].into_iter().chain(audit).chain([entry]).chain(plan).collect();
        let jitter = patient.as_str().to_owned();
        let transaction = Contended { operation: OPERATION, limits: PUT, writes, jitter };
        transaction.send(&self.dynamodb, deadline, ConditionalPut::Stored, |reasons| Ok(settled(reasons))).await
    }

    /// The write that keeps `patient` in the list of `site`. It always writes the same.
    pub(super) fn put_site_entry(&self, study: &StudyId, patient: &PatientId, site: &SiteId) -> TransactWriteItem {
        let put =
            Put::builder().table_name(&self.tables.records).set_item(Some(site_entry::to_item(study, patient, site)));
        TransactWriteItem::builder().put(put.build().expect("table and item are set")).build()
    }
}

/// How a patient with these items takes part.
pub(super) fn participation(registration: Option<&Item>, profile: Option<&Item>) -> Result<Participation, Unreadable> {
    if let Some(registration) = registration {
        return Ok(Participation::Registered(Box::new(Registration::from_item(registration)?)));
    }
    profile.map_or(Ok(Participation::None), |profile| {
        Ok(Participation::BySubmission(crate::items::profile::site_of(profile)?))
    })
}

/// The outcome of a registration whose transaction was cancelled for `reasons`; `None` if another attempt may succeed.
fn settled(reasons: &[CancellationReason]) -> Option<ConditionalPut> {
    let failed = |index: usize| reasons.get(index).is_some_and(is_condition_failed);
    // The id of an audit entry is new in each request, so that an earlier attempt of this one, whose answer was lost,
    // has stored it.
    if failed(1) {
        return Some(ConditionalPut::Stored);
    }
    failed(0).then_some(ConditionalPut::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::calls::CONDITION_FAILED;

    #[test]
    fn what_an_earlier_attempt_stored_is_stored_and_what_another_request_changed_is_not() {
        let reasons = |codes: [&str; 3]| codes.map(|code| CancellationReason::builder().code(code).build());
        for (codes, expected) in [
            ([CONDITION_FAILED, CONDITION_FAILED, "None"], Some(ConditionalPut::Stored)),
            // DynamoDB need not report every reason.
            (["None", CONDITION_FAILED, "None"], Some(ConditionalPut::Stored)),
            ([CONDITION_FAILED, "None", "None"], Some(ConditionalPut::Changed)),
            (["TransactionConflict", "None", "None"], None),
        ] {
            assert_eq!(settled(&reasons(codes)), expected, "{codes:?}");
        }
    }
}
