//! Plans of patients' occurrences.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use clinical::ids::{PatientId, ScheduleId, StudyId, StudyVersion};
use invocation::Deadline;
use invocation::aws::Failure;
use time::OffsetDateTime;

use super::Store;
use super::registry::{Participation, participation};
use crate::items::plan::{self, CHANGED_AT, FOR_VERSION, POSITIONS, StoredPlan};
use crate::table::attributes::{Reader, number, sortable, text};
use crate::table::calls::{ConditionalPut, GET, batch_get, put_once, send};
use crate::table::keys::{self, PLAN, REGISTRATION, SK};
use crate::table::lists::{PENDING, PENDING_SINCE};

const OF_PLAN: &str = "BatchGetItem of a plan";

/// The plan of a patient, with what decides it.
#[derive(Debug)]
pub struct Planning {
    /// The plan; `None` before the first.
    pub plan: Option<StoredPlan>,
    /// How the patient came to take part.
    pub participation: Participation,
}

impl Store {
    /// The plan of `patient` and what decides it, read consistently.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn planning(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<Planning, Failure> {
        let keys = vec![keys::plan(study, patient), keys::registration(study, patient), keys::profile(study, patient)];
        let items = batch_get(&self.dynamodb, &self.tables.records, keys, OF_PLAN, deadline).await?;
        let under = |sk: &str| items.iter().find(|item| Reader(item).text(SK) == Ok(sk));
        let profile = items.iter().find(|item| ![Ok(PLAN), Ok(REGISTRATION)].contains(&Reader(item).text(SK)));
        let read = || {
            Ok(Planning {
                plan: under(PLAN).map(StoredPlan::from_item).transpose()?,
                participation: participation(under(REGISTRATION), profile)?,
            })
        };
        read().map_err(|_: crate::Unreadable| Failure::unreadable(OF_PLAN, "the patient's plan cannot be read"))
    }

    /// Stores `plan`, if the stored one is the one that was read.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn put_plan(&self, plan: &StoredPlan, deadline: Deadline) -> Result<ConditionalPut, Failure> {
        const OPERATION: &str = "PutItem of a plan";
        put_once(&self.dynamodb, &self.tables.records, plan.to_item(), plan.revision, OPERATION, deadline).await
    }

    /// Makes a plan of `patient`, who has none, that is due since something became known at `at`.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn begin_plan(
        &self,
        study: &StudyId,
        patient: &PatientId,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let plan = StoredPlan { changed_at: Some(at), ..StoredPlan::new(study.clone(), patient.clone()) };
        self.put_plan(&plan, deadline).await.map(drop)
    }

    /// Whether `patient` has a plan.
    ///
    /// # Errors
    /// If the store did not return it in time.
    pub async fn has_plan(&self, study: &StudyId, patient: &PatientId, deadline: Deadline) -> Result<bool, Failure> {
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::plan(study, patient)))
            .projection_expression("pk");
        let item = send(request, deadline, GET).await.map_err(|error| error.into_failure("GetItem of a plan"))?.item;
        Ok(item.is_some())
    }

    /// The schedules that occurrences of `patient` were planned by, those that the study does not have any more too.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn planned_schedules(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<Vec<ScheduleId>, Failure> {
        const OPERATION: &str = "GetItem of a plan's schedules";
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::plan(study, patient)))
            .projection_expression(POSITIONS)
            .consistent_read(true);
        let item = send(request, deadline, GET).await.map_err(|error| error.into_failure(OPERATION))?.item;
        let schedules = item.map(|item| plan::schedules_of(&item)).transpose();
        schedules.map(Option::unwrap_or_default).map_err(|_| Failure::unreadable(OPERATION, "the plan cannot be read"))
    }

    /// The write that puts the plan of `patient`, whether there is one or not, on the list of what is due, since something
    /// has changed at `at`: the registry, or the study, which has another `version` now.
    pub(super) fn mark_plan(
        &self,
        study: &StudyId,
        patient: &PatientId,
        at: OffsetDateTime,
        version: Option<&StudyVersion>,
    ) -> TransactWriteItem {
        // A version is rolled out at any time: what has changed before and is not planned yet stays known since then.
        let (since, for_version) = match version {
            Some(_) => ("if_not_exists(#changed, :at)", ", #for = :version"),
            None => (":at", ""),
        };
        let mut update = Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(keys::plan(study, patient)))
            .update_expression(format!(
                "SET #kind = :plan, #changed = {since}, #pending = :list, #since = :at{for_version} ADD #revision :one"
            ))
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_names("#changed", CHANGED_AT)
            .expression_attribute_names("#pending", PENDING)
            .expression_attribute_names("#since", PENDING_SINCE)
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":plan", text(plan::KIND))
            .expression_attribute_values(":at", text(sortable(at)))
            .expression_attribute_values(":list", text(StoredPlan::list_key(study, patient)))
            .expression_attribute_values(":one", number(1));
        if let Some(version) = version {
            update = update
                .expression_attribute_names("#for", FOR_VERSION)
                .expression_attribute_values(":version", text(version.as_str()));
        }
        TransactWriteItem::builder().update(update.build().expect("table, key and expression are set")).build()
    }
}
