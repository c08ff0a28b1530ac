//! API calls, counted exactly: each once, whatever is lost, repeated or late.
//!
//! What a request adds is noted in memory first. One task of the environment's writes what is noted: a transaction under a
//! token of its own, which DynamoDB applies once however often it is sent, within ten minutes. A transaction without an
//! answer is sent again, the same under the same token, until it is confirmed. What is noted meanwhile waits, summed up by
//! site, and goes into the next one. So nothing is lost with the request that added it: the environment's next invocation
//! goes on where this one was frozen.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use aws_smithy_types::retry::RetryConfig;
use clinical::ids::{SiteId, StudyId};
use invocation::aws::{CallError, Failure, FailureKind, Limits, call, is_passing};
use invocation::{Deadline, metrics};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::table::attributes::{number, text};
use crate::store::counts::{API_CALLS, SHARDS};
use crate::table::digest::{hex, sha256, shard};
use crate::table::keys::{self, PK};
use crate::store::Store;

const OPERATION: &str = "TransactWriteItems of API calls";
const LEAST: Duration = Duration::from_millis(30);
/// How long a first attempt may take. One after an attempt that had no answer may take four times as long.
const FIRST_ATTEMPT: Duration = Duration::from_secs(1);
const LONGEST_ATTEMPT: Duration = Duration::from_secs(8);
const FIRST_WAIT: Duration = Duration::from_millis(15);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// As many counters as one transaction takes.
const MOST_WRITES: usize = 100;
/// Of so many sites calls may wait; one environment serves the sites of a few studies.
const MOST_SITES: usize = 2_000;
/// How long a transaction may be sent again after it was sent first. DynamoDB knows its token for ten minutes.
const TOKEN: Duration = Duration::from_secs(9 * 60);

/// The API calls that are not confirmed yet.
#[derive(Debug, Default)]
pub(crate) struct ApiCalls {
    state: Mutex<State>,
    /// Something was noted.
    noted: Notify,
    /// Nothing waits any more.
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// What no transaction holds yet.
    waiting: BTreeMap<(StudyId, SiteId), u64>,
    /// Lambda's id of the request that noted last, and how many transactions were made: together they make a token that
    /// no other transaction has.
    request: String,
    transactions: u64,
    /// What one holds that is not confirmed.
    sent: Option<Batch>,
    /// Whether the task that writes is there.
    writing: bool,
}

/// One transaction. It never changes.
#[derive(Clone, Debug)]
struct Batch {
    token: String,
    calls: BTreeMap<(StudyId, SiteId), u64>,
    /// When it was sent first, if that may have applied it. The monotonic clock stands still while an environment is
    /// frozen, and the wall clock may be set: the one that says more counts.
    sent: Option<(Instant, SystemTime)>,
}

impl Batch {
    fn new(token: String, calls: BTreeMap<(StudyId, SiteId), u64>) -> Self {
        Self { token, calls, sent: None }
    }

    fn is_too_old(&self) -> bool {
        self.sent.is_some_and(|(instant, time)| instant.elapsed().max(time.elapsed().unwrap_or_default()) > TOKEN)
    }

    fn sum(&self) -> u64 {
        self.calls.values().sum()
    }
}

/// As long as a token may be.
fn token<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    hex(&sha256(parts)[..18])
}

/// What became of one attempt.
enum Attempt {
    Counted,
    /// Not applied; another attempt may be.
    NotNow(Failure),
    Unknown(Failure),
    /// Not applied, and never will be.
    Refused(Failure),
}

impl ApiCalls {
    /// Notes one call of each of `sites`. Says whether all that was noted before is confirmed, and whether the task that
    /// writes has to be started.
    fn note<'a>(&self, study: &StudyId, sites: impl IntoIterator<Item = &'a SiteId>, request: &str) -> (bool, bool) {
        let mut state = self.lock();
        let up_to_date = !state.writing;
        request.clone_into(&mut state.request);
        for site in sites {
            let key = (study.clone(), site.clone());
            if state.waiting.len() >= MOST_SITES && !state.waiting.contains_key(&key) {
                give_up(1, "too many sites wait");
                continue;
            }
            *state.waiting.entry(key).or_default() += 1;
        }
        let start = !state.writing && !state.waiting.is_empty();
        state.writing |= start;
        (up_to_date, start)
    }

    /// The transaction to send next: the one that is not confirmed, or one of what waits. `None` ends the task.
    fn next(&self) -> Option<Batch> {
        let mut state = self.lock();
        if state.sent.is_none() && !state.waiting.is_empty() {
            let mut calls = std::mem::take(&mut state.waiting);
            if let Some((first_left, _)) = calls.iter().nth(MOST_WRITES) {
                let first_left = first_left.clone();
                state.waiting = calls.split_off(&first_left);
            }
            state.transactions += 1;
            let token = token([state.request.as_bytes(), &state.transactions.to_be_bytes()]);
            state.sent = Some(Batch::new(token, calls));
        }
        state.writing = state.sent.is_some();
        if !state.writing {
            self.settled.notify_waiters();
        }
        state.sent.clone()
    }

    /// Notes that the transaction is about to be sent.
    fn sending(&self, batch: &Batch) {
        let mut state = self.lock();
        if let Some(sent) = state.sent.as_mut().filter(|_| batch.sent.is_none()) {
            sent.sent = Some((Instant::now(), SystemTime::now()));
        }
    }

    /// The transaction is confirmed, or given up.
    fn done(&self) {
        self.lock().sent = None;
    }

    /// `batch` was not applied. If no earlier attempt may have been, what it holds may go into another one.
    fn not_applied(&self, batch: &Batch) {
        if batch.sent.is_some() {
            return;
        }
        let mut state = self.lock();
        let Some(batch) = state.sent.take() else { return };
        for (site, calls) in batch.calls {
            *state.waiting.entry(site).or_default() += calls;
        }
    }

    async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            if !self.lock().writing {
                return;
            }
            settled.await;
        }
    }

    /// What is kept here is whole between two statements, so that it may be used after a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Counts one API call of each of `sites`, for what runs beside the work of `request` (Lambda's id). Ends when they are
    /// confirmed; if it is dropped before, they are counted all the same. Where earlier calls are still unconfirmed it does
    /// not wait: the store is late, and these go with them.
    pub async fn count_calls<'a>(
        &self,
        study: &StudyId,
        sites: impl IntoIterator<Item = &'a SiteId>,
        request: &str,
        deadline: Deadline,
    ) {
        let (up_to_date, start) = self.api_calls.note(study, sites, request);
        if start {
            let store = self.clone();
            tokio::spawn(async move { store.write_calls().await });
        } else {
            self.api_calls.noted.notify_one();
        }
        if up_to_date {
            deadline.bound(self.api_calls.settled()).await;
        }
    }

    /// Counts one API call of `site`, and says so. It is counted once for each `id`, however often that is repeated within
    /// ten minutes.
    ///
    /// # Errors
    /// If nothing says that it was counted.
    pub async fn count_call(
        &self,
        study: &StudyId,
        site: &SiteId,
        id: &str,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let token = token([study.as_str(), site.as_str(), id].map(str::as_bytes));
        let batch = Batch::new(token, BTreeMap::from([((study.clone(), site.clone()), 1)]));
        let (mut wait, mut attempt) = (FIRST_WAIT, FIRST_ATTEMPT);
        let mut unknown = None;
        loop {
            let failure = match self.send_calls(&batch, attempt, deadline).await {
                Attempt::Counted => return Ok(()),
                Attempt::Refused(failure) => return Err(unknown.unwrap_or(failure)),
                Attempt::NotNow(failure) => failure,
                Attempt::Unknown(failure) => {
                    attempt = (attempt * 4).min(LONGEST_ATTEMPT);
                    unknown = Some(failure.clone());
                    failure
                }
            };
            if deadline.clamp(wait, wait + LEAST).is_none() {
                return Err(unknown.unwrap_or(failure));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Writes what is noted until nothing waits any more.
    async fn write_calls(&self) {
        let calls = &self.api_calls;
        let (mut wait, mut attempt) = (FIRST_WAIT, FIRST_ATTEMPT);
        while let Some(batch) = calls.next() {
            if batch.is_too_old() {
                give_up(batch.sum(), "no answer confirmed them for as long as a repeat is safe");
                calls.done();
                continue;
            }
            calls.sending(&batch);
            let failure = match self.send_calls(&batch, attempt, Deadline::after(LONGEST_ATTEMPT)).await {
                Attempt::Counted => {
                    calls.done();
                    (wait, attempt) = (FIRST_WAIT, FIRST_ATTEMPT);
                    continue;
                }
                Attempt::Refused(failure) => {
                    tracing::error!(event = "api_calls_refused", %failure);
                    give_up(batch.sum(), "the store refused them");
                    calls.done();
                    continue;
                }
                Attempt::NotNow(failure) => {
                    calls.not_applied(&batch);
                    failure
                }
                Attempt::Unknown(failure) => {
                    attempt = (attempt * 4).min(LONGEST_ATTEMPT);
                    failure
                }
            };
            tracing::warn!(event = "api_calls_not_confirmed", %failure);
            // An environment may be frozen for long between two short invocations: each of them is worth another attempt.
            let noted = tokio::time::timeout(wait, calls.noted.notified()).await.is_ok();
            if !noted {
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }

    /// Sends one transaction once: the SDK's own repeats do not look at how old its token is.
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
        let sent = call(deadline, Limits { most: attempt, least: LEAST }, |timeouts| {
            let whole = timeouts.operation_timeout().unwrap_or(attempt);
            let timeouts = timeouts.into_builder().operation_attempt_timeout(whole).build();
            let once = Store::timeouts(timeouts).retry_config(RetryConfig::disabled());
            request.customize().config_override(once).send()
        });
        match sent.await {
            Ok(_) => Attempt::Counted,
            Err(error) => {
                let conflict = matches!(&error, CallError::Refused(error) if is_conflict(error));
                let failure = error.of(OPERATION);
                match failure.kind {
                    FailureKind::Unknown => Attempt::Unknown(failure),
                    FailureKind::NotStarted | FailureKind::Passing => Attempt::NotNow(failure),
                    FailureKind::Refused if conflict => {
                        Attempt::NotNow(Failure::passing(OPERATION, "other transactions were in its way"))
                    }
                    FailureKind::Refused => Attempt::Refused(failure),
                }
            }
        }
    }
}

/// Whether it was cancelled for nothing but reasons that pass.
fn is_conflict(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return false };
    let codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
    codes.filter(|code| *code != "None").all(is_passing)
}

fn give_up(calls: u64, reason: &'static str) {
    tracing::error!(event = "api_calls_not_counted", calls, reason);
    metrics::count(metrics::API_CALLS_NOT_COUNTED, calls);
}
