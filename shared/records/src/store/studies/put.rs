//! Putting a study, or an instrument of its own, in force.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use clinical::ids::StudyVersion;
use clinical::instruments::Instrument;
use clinical::studies::Study;
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits};

use crate::items::audit::Audit;
use crate::items::document::{self, StudyItem};
use crate::items::rollout::Rollout;
use crate::store::Store;
use crate::table::attributes::{Reader, text};
use crate::table::calls::{IF_ABSENT, is_condition_failed, put_if_absent, send};

const OF_STUDY: &str = "TransactWriteItems of a study";
const OF_INSTRUMENT: &str = "TransactWriteItems of an instrument";
const PUT: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };
/// The condition that no later version is in force.
const NOT_EARLIER: &str = "attribute_not_exists(pk) OR #rank <= :rank";

/// The outcome of putting a study.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StudyPut {
    /// It is in force; in all environments within a minute.
    InForce(Since),
    /// This version is stored with another content, which stays.
    OtherContent,
    /// This later version is in force, and stays.
    LaterInForce(StudyVersion),
}

/// The outcome of putting an instrument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstrumentPut {
    /// It is stored.
    Stored(Since),
    /// This version is stored with another content, which stays.
    OtherContent,
}

/// Since when a version is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// Since this write, with its audit entry.
    Now,
    /// Since an earlier one. This one wrote nothing.
    Before,
}

impl Store {
    /// Puts `study` in force and stores the audit entry `audit`, in one transaction, with the rollout to the plans of its
    /// patients. A version that is stored already
    /// stays unchanged, so this may be repeated. The study's own instruments must be stored before.
    ///
    /// # Errors
    /// If the store did not confirm it; a repeat settles the outcome.
    pub async fn put_study(&self, study: &Study, audit: &Audit, deadline: Deadline) -> Result<StudyPut, Failure> {
        let table = &self.tables.records;
        let by = audit.actor.principal.sub();
        let put = |of| Put::builder().table_name(table).set_item(Some(document::study_item(study, of, audit.at, by)));
        // Written once, with the first `put_by`: a repeat is recognised by the stored item.
        let version = put(StudyItem::Version)
            .condition_expression(IF_ABSENT)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let current = put(StudyItem::InForce)
            .condition_expression(NOT_EARLIER)
            .expression_attribute_names("#rank", "rank")
            .expression_attribute_values(":rank", text(study.version().sortable()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let rollout = Rollout::new(study.id().clone(), study.version().clone(), audit.at);
        let rollout = Put::builder().table_name(table).set_item(Some(rollout.to_item()));
        let complete = "table and item are set";
        let writes = [
            TransactWriteItem::builder().put(version.build().expect(complete)).build(),
            TransactWriteItem::builder().put(current.build().expect(complete)).build(),
            TransactWriteItem::builder().put(put_if_absent(&self.tables.records, audit.to_item())).build(),
            // In place of one that is not finished: its patients are marked for this version.
            TransactWriteItem::builder().put(rollout.build().expect(complete)).build(),
        ];
        let request = self.dynamodb.transact_write_items().set_transact_items(Some(writes.into()));
        match send(request, deadline, PUT).await {
            Ok(_) => Ok(StudyPut::InForce(Since::Now)),
            Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                stored_before(&cancelled.cancellation_reasons.unwrap_or_default(), study.hash())
                    .ok_or_else(|| Failure::transient(OF_STUDY, "another transaction conflicted with it"))
            }
            Err(error) => Err(error.into_failure(OF_STUDY)),
        }
    }

    /// Stores `instrument`, which does not ship with the library, and the audit entry `audit`, in one transaction. A
    /// version that is stored already stays unchanged, so this may be repeated.
    ///
    /// # Errors
    /// If the store did not confirm it; a repeat settles the outcome.
    pub async fn put_instrument(
        &self,
        instrument: &Instrument,
        audit: &Audit,
        deadline: Deadline,
    ) -> Result<InstrumentPut, Failure> {
        let item = document::instrument_item(instrument, audit.at, audit.actor.principal.sub());
        let mut put = put_if_absent(&self.tables.records, item);
        put.return_values_on_condition_check_failure = Some(ReturnValuesOnConditionCheckFailure::AllOld);
        let writes = [
            TransactWriteItem::builder().put(put).build(),
            TransactWriteItem::builder().put(put_if_absent(&self.tables.records, audit.to_item())).build(),
        ];
        let request = self.dynamodb.transact_write_items().set_transact_items(Some(writes.into()));
        match send(request, deadline, PUT).await {
            Ok(_) => Ok(InstrumentPut::Stored(Since::Now)),
            Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                match cancelled.cancellation_reasons.unwrap_or_default().first() {
                    Some(reason) if is_condition_failed(reason) && is_same(reason, instrument.hash()) => {
                        Ok(InstrumentPut::Stored(Since::Before))
                    }
                    Some(reason) if is_condition_failed(reason) => Ok(InstrumentPut::OtherContent),
                    _ => Err(Failure::transient(OF_INSTRUMENT, "another transaction conflicted with it")),
                }
            }
            Err(error) => Err(error.into_failure(OF_INSTRUMENT)),
        }
    }
}

/// The outcome for a study with this `hash` whose conditions failed for `reasons`; `None` if no condition failed. A
/// version is stored in the transaction that puts it in force, so a stored one is in force unless a later one is.
fn stored_before(reasons: &[CancellationReason], hash: &str) -> Option<StudyPut> {
    let version = reasons.first().filter(|reason| is_condition_failed(reason));
    if version.is_some_and(|version| !is_same(version, hash)) {
        return Some(StudyPut::OtherContent);
    }
    match reasons.get(1).filter(|reason| is_condition_failed(reason)) {
        Some(current) => Some(StudyPut::LaterInForce(Reader(current.item()?).parsed("version").ok()?)),
        None => version.map(|_| StudyPut::InForce(Since::Before)),
    }
}

/// Whether the stored document has this `hash`.
fn is_same(reason: &CancellationReason, hash: &str) -> bool {
    reason.item().is_some_and(|item| document::hash(item) == Ok(hash))
}
