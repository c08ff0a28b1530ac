//! Putting a study, or an instrument of its own, in force.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use clinical::ids::StudyVersion;
use clinical::instruments::Instrument;
use clinical::studies::Study;
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits, call};

use super::instrument_key;
use crate::table::attributes::{Item, Reader, instant, text};
use crate::audit::Audit;
use crate::table::keys::{self, PK, SK};
use crate::store::{NOT_THERE, Store};

const OF_STUDY: &str = "TransactWriteItems of a study";
const OF_INSTRUMENT: &str = "TransactWriteItems of an instrument";
const PUT: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };
/// No later version is in force.
const NOT_EARLIER: &str = "attribute_not_exists(pk) OR #rank <= :rank";

/// What became of a study that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StudyPut {
    /// It is in force, in all environments within a minute; also where it was before.
    InForce,
    /// This version is there with another content, and stays as it is.
    OtherContent,
    /// A later version is in force, and stays so.
    LaterInForce(StudyVersion),
}

/// What became of an instrument that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstrumentPut {
    /// It is there; also where it was before.
    Stored,
    /// This version is there with another content, and stays as it is.
    OtherContent,
}

impl Store {
    /// Puts `study` in force, with `audit` as the entry that says who did: one transaction. A version that is there stays
    /// as it is, so this may be repeated. Its own instruments are there already.
    ///
    /// # Errors
    /// If the store did not confirm it; a repeat settles what became of it.
    pub async fn put_study(&self, study: &Study, audit: &Audit, deadline: Deadline) -> Result<StudyPut, Failure> {
        let table = &self.tables.records;
        let item = |sk: String| {
            let mut item = written(study.json(), study.hash(), audit);
            item.insert(PK.to_owned(), text(keys::study(study.id())));
            item.insert(SK.to_owned(), text(sk));
            item.insert("kind".to_owned(), text("study"));
            item.insert("version".to_owned(), text(study.version().as_str()));
            item.insert("rank".to_owned(), text(study.version().sortable()));
            item
        };
        let put = |sk: String| Put::builder().table_name(table).set_item(Some(item(sk)));
        // Written once, and who put it first stays with it: a repeat is known by what is there.
        let version = put(keys::version(study.version()))
            .condition_expression(NOT_THERE)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let current = put(keys::CURRENT.to_owned())
            .condition_expression(NOT_EARLIER)
            .expression_attribute_names("#rank", "rank")
            .expression_attribute_values(":rank", text(study.version().sortable()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let complete = "table and item are set";
        let writes = [
            TransactWriteItem::builder().put(version.build().expect(complete)).build(),
            TransactWriteItem::builder().put(current.build().expect(complete)).build(),
            TransactWriteItem::builder().put(self.put_new(audit.to_item())).build(),
        ];
        let request = self.dynamodb.transact_write_items().set_transact_items(Some(writes.into()));
        let sent =
            call(deadline, PUT, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        match sent.await {
            Ok(_) => Ok(StudyPut::InForce),
            Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                before(&cancelled.cancellation_reasons.unwrap_or_default(), study.hash())
                    .ok_or_else(|| Failure::passing(OF_STUDY, "another transaction was in its way"))
            }
            Err(error) => Err(error.of(OF_STUDY)),
        }
    }

    /// Stores `instrument`, which does not ship with the library, with `audit` as the entry that says who did. A version that is there stays as it
    /// is, so this may be repeated.
    ///
    /// # Errors
    /// If the store did not confirm it; a repeat settles what became of it.
    pub async fn put_instrument(
        &self,
        instrument: &Instrument,
        audit: &Audit,
        deadline: Deadline,
    ) -> Result<InstrumentPut, Failure> {
        let mut item = instrument_key(instrument.id(), instrument.version());
        item.extend(written(instrument.json(), instrument.hash(), audit));
        item.insert("kind".to_owned(), text("instrument"));
        let put = Put::builder()
            .table_name(&self.tables.records)
            .set_item(Some(item))
            .condition_expression(NOT_THERE)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let writes = [
            TransactWriteItem::builder().put(put.build().expect("table and item are set")).build(),
            TransactWriteItem::builder().put(self.put_new(audit.to_item())).build(),
        ];
        let request = self.dynamodb.transact_write_items().set_transact_items(Some(writes.into()));
        let sent =
            call(deadline, PUT, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        match sent.await {
            Ok(_) => Ok(InstrumentPut::Stored),
            Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                match cancelled.cancellation_reasons.unwrap_or_default().first() {
                    Some(reason) if failed(reason) && is_same(reason, instrument.hash()) => Ok(InstrumentPut::Stored),
                    Some(reason) if failed(reason) => Ok(InstrumentPut::OtherContent),
                    _ => Err(Failure::passing(OF_INSTRUMENT, "another transaction was in its way")),
                }
            }
            Err(error) => Err(error.of(OF_INSTRUMENT)),
        }
    }
}

/// What is stored of a document, beside its key: the document itself, and who put it when.
fn written(json: &str, hash: &str, audit: &Audit) -> Item {
    Item::from([
        ("json".to_owned(), text(json)),
        ("hash".to_owned(), text(hash)),
        ("put_at".to_owned(), instant(audit.at)),
        ("put_by".to_owned(), text(audit.actor.principal.sub())),
    ])
}

/// What the conditions that failed say of a study of this `hash`, if one did. A version is stored in the transaction that
/// puts it in force, so one that is there was in force, and is unless a later one is.
fn before(reasons: &[CancellationReason], hash: &str) -> Option<StudyPut> {
    let version = reasons.first().filter(|reason| failed(reason));
    if version.is_some_and(|version| !is_same(version, hash)) {
        return Some(StudyPut::OtherContent);
    }
    match reasons.get(1).filter(|reason| failed(reason)) {
        Some(current) => Some(StudyPut::LaterInForce(Reader(current.item()?).parsed("version").ok()?)),
        None => version.map(|_| StudyPut::InForce),
    }
}

/// Whether what is there has this `hash`.
fn is_same(reason: &CancellationReason, hash: &str) -> bool {
    reason.item().is_some_and(|item| Reader(item).text("hash") == Ok(hash))
}

fn failed(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}
