//! Plans of patients' occurrences.

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use clinical::ids::{PatientId, StudyId};
use invocation::Deadline;
use invocation::aws::Failure;
use time::OffsetDateTime;

use super::Store;
use super::occurrences::Conditional;
use super::registry::{Participation, participation};
use crate::items::plan::{self, CHANGED_AT, StoredPlan};
use crate::table::attributes::{Item, Reader, number, sortable, text};
use crate::table::calls::{GET, batch_get, send, update_once};
use crate::table::keys::{self, PLAN, REGISTRATION, SK};
use crate::table::lists::{PENDING, PENDING_SINCE};

const OF_PLAN: &str = "BatchGetItem of a plan";
/// A plan that is to be made again.
const MARK: &str = "SET #kind = :plan, #changed = :at, #pending = :list, #since = :at ADD #revision :one";

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
    pub async fn put_plan(&self, plan: &StoredPlan, deadline: Deadline) -> Result<Conditional, Failure> {
        self.put_if_as_read(plan.to_item(), plan.revision, "PutItem of a plan", deadline).await
    }

    /// Puts the plan of `patient` on the list of what is due, since something changed at `at`; with `only_new`, only if
    /// the patient has none.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn mark_plan(
        &self,
        study: &StudyId,
        patient: &PatientId,
        at: OffsetDateTime,
        only_new: bool,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::plan(study, patient)))
            .update_expression(MARK)
            .set_condition_expression(only_new.then(|| "attribute_not_exists(pk)".to_owned()));
        let update = names().into_iter().fold(update, |update, (name, of)| update.expression_attribute_names(name, of));
        let values = values(study, patient, at);
        let update = values.into_iter().fold(update, |update, (name, of)| update.expression_attribute_values(name, of));
        update_once(update, "UpdateItem of a plan", deadline).await.map(drop)
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

    /// The write of [`mark_plan`](Self::mark_plan), as a part of a transaction.
    pub(super) fn mark_plan_write(
        &self,
        study: &StudyId,
        patient: &PatientId,
        at: OffsetDateTime,
    ) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(keys::plan(study, patient)))
            .update_expression(MARK);
        let update = names().into_iter().fold(update, |update, (name, of)| update.expression_attribute_names(name, of));
        let values = values(study, patient, at);
        let update = values.into_iter().fold(update, |update, (name, of)| update.expression_attribute_values(name, of));
        TransactWriteItem::builder().update(update.build().expect("table, key and expression are set")).build()
    }
}

fn names() -> [(&'static str, &'static str); 5] {
    [
        ("#kind", "kind"),
        ("#changed", CHANGED_AT),
        ("#pending", PENDING),
        ("#since", PENDING_SINCE),
        ("#revision", "revision"),
    ]
}

fn values(study: &StudyId, patient: &PatientId, at: OffsetDateTime) -> Item {
    let list = StoredPlan::list_key(study, patient);
    let values = [(":plan", text(plan::KIND)), (":at", text(sortable(at))), (":list", text(list)), (":one", number(1))];
    values.map(|(name, value)| (name.to_owned(), value)).into()
}
