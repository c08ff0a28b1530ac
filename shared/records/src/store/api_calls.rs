//! API calls, counted exactly: each once, whatever is lost, repeated or late.
//!
//! A request adds its calls in memory first. One task of the environment writes them, in transactions with a client
//! token each, which DynamoDB applies once within ten minutes however often they are sent. A transaction without an
//! answer is sent again unchanged until it is confirmed; calls that are added in the meantime are summed by site and go
//! into the next one. So no call is lost with the request that added it: the environment's next invocation continues
//! where this one was frozen.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use clinical::ids::{SiteId, StudyId};
use invocation::aws::{CallError, Failure, FailureKind, Limits, is_transient};
use invocation::{Backoff, Deadline};

use super::Store;
use super::call_counter::{Batch, report_lost};
use crate::items::counts::{API_CALLS, SHARDS};
use crate::table::attributes::{number, text};
use crate::table::calls::{code, send_once};
use crate::table::digest::{shard, token};
use crate::table::keys::{self, PK};

const OPERATION: &str = "TransactWriteItems of API calls";
const LEAST: Duration = Duration::from_millis(30);
/// The longest time of a first attempt. After an attempt without an answer the next may take four times as long.
const FIRST_ATTEMPT: Duration = Duration::from_secs(1);
const LONGEST_ATTEMPT: Duration = Duration::from_secs(8);
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(15), Duration::from_secs(5));

/// The outcome of one attempt.
enum Attempt {
    Counted,
    /// Not applied; another attempt may be.
    NotApplied(Failure),
    Unknown(Failure),
    /// Not applied, for a permanent reason.
    Refused(Failure),
}

impl Store {
    /// Counts one API call of each of `sites`, alongside the work of the request with Lambda's id `request`. Returns
    /// when they are confirmed; if it is dropped before, they are counted all the same. While earlier calls are
    /// unconfirmed it does not wait: the store is slow, and these are written with them.
    pub async fn count_calls<'a>(
        &self,
        study: &StudyId,
        sites: impl IntoIterator<Item = &'a SiteId>,
        request: &str,
        deadline: Deadline,
    ) {
        let (up_to_date, start) = self.calls.add(study, sites, request);
        if start {
            let store = self.clone();
            tokio::spawn(async move { store.write_calls().await });
        } else {
            self.calls.added.notify_one();
        }
        if up_to_date {
            deadline.bound(self.calls.settled()).await;
        }
    }

    /// Counts one API call of `site` and waits for the confirmation. It is counted once for each `id`, however often
    /// this is repeated within ten minutes.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn count_call(
        &self,
        study: &StudyId,
        site: &SiteId,
        id: &str,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let token = token([study.as_str(), site.as_str(), id].map(str::as_bytes));
        let batch = Batch::new(token, BTreeMap::from([((study.clone(), site.clone()), 1)]));
        let (mut backoff, mut attempt) = (BACKOFF, FIRST_ATTEMPT);
        let mut unknown = None;
        loop {
            let failure = match self.send_calls(&batch, attempt, deadline).await {
                Attempt::Counted => return Ok(()),
                Attempt::Refused(failure) => return Err(unknown.unwrap_or(failure)),
                Attempt::NotApplied(failure) => failure,
                Attempt::Unknown(failure) => {
                    attempt = (attempt * 4).min(LONGEST_ATTEMPT);
                    unknown = Some(failure.clone());
                    failure
                }
            };
            if !backoff.wait(deadline, LEAST).await {
                return Err(unknown.unwrap_or(failure));
            }
        }
    }

    /// Writes the calls that were added until all are confirmed or given up.
    async fn write_calls(&self) {
        let calls = &self.calls;
        let (mut backoff, mut attempt) = (BACKOFF, FIRST_ATTEMPT);
        while let Some(batch) = calls.next() {
            if batch.is_expired() {
                report_lost(batch.sum(), "no answer confirmed them while a repeat was safe");
                calls.done();
                continue;
            }
            calls.sending(&batch);
            let failure = match self.send_calls(&batch, attempt, Deadline::after(LONGEST_ATTEMPT)).await {
                Attempt::Counted => {
                    calls.done();
                    (backoff, attempt) = (BACKOFF, FIRST_ATTEMPT);
                    continue;
                }
                Attempt::Refused(failure) => {
                    tracing::error!(event = "api_calls_refused", %failure);
                    report_lost(batch.sum(), "the store refused them");
                    calls.done();
                    continue;
                }
                Attempt::NotApplied(failure) => {
                    calls.not_applied(&batch);
                    failure
                }
                Attempt::Unknown(failure) => {
                    attempt = (attempt * 4).min(LONGEST_ATTEMPT);
                    failure
                }
            };
            tracing::warn!(event = "api_calls_not_confirmed", %failure);
            // An environment may be frozen for long between two short invocations: each invocation makes another
            // attempt.
            let added = tokio::time::timeout(backoff.pause(), calls.added.notified()).await.is_ok();
            if !added {
                backoff.lengthen();
            }
        }
    }

    /// Sends one transaction once: the SDK's own repeats do not check the age of its token.
    async fn send_calls(&self, batch: &Batch, attempt: Duration, deadline: Deadline) -> Attempt {
        let shard = shard(&batch.token, SHARDS);
        let writes = batch.calls.iter().map(|((study, site), calls)| {
            let update = Update::builder()
                .table_name(&self.tables.counts)
                .key(PK, text(keys::counter(study, site, API_CALLS, shard)))
                .update_expression("ADD #n :calls")
                .expression_attribute_names("#n", API_CALLS)
                .expression_attribute_values(":calls", number(calls))
                .build()
                .expect("table, key and expression are set");
            TransactWriteItem::builder().update(update).build()
        });
        let request = self
            .dynamodb
            .transact_write_items()
            .client_request_token(&batch.token)
            .set_transact_items(Some(writes.collect()));
        match send_once(request, deadline, Limits { most: attempt, least: LEAST }).await {
            Ok(_) => Attempt::Counted,
            Err(error) => {
                let conflict = matches!(&error, CallError::Refused(error) if is_conflict(error));
                let failure = error.into_failure(OPERATION);
                match failure.kind {
                    FailureKind::Unknown => Attempt::Unknown(failure),
                    FailureKind::NotStarted | FailureKind::Transient => Attempt::NotApplied(failure),
                    FailureKind::Refused if conflict => {
                        Attempt::NotApplied(Failure::transient(OPERATION, "other transactions conflicted with it"))
                    }
                    FailureKind::Refused => Attempt::Refused(failure),
                }
            }
        }
    }
}

/// Whether a transaction was cancelled for transient reasons only.
fn is_conflict(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return false };
    cancelled.cancellation_reasons().iter().filter_map(code).all(is_transient)
}
