//! The API calls whose count is not confirmed yet, in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use clinical::ids::{SiteId, StudyId};
use invocation::metrics;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::table::calls::TRANSACTION_WRITES;
use crate::table::digest::token;

/// The largest number of sites with unconfirmed calls; one environment serves the sites of a few studies.
const MOST_SITES: usize = 2_000;
/// How long after its first attempt a transaction may be sent again. DynamoDB knows its token for ten minutes.
const TOKEN_LIFETIME: Duration = Duration::from_secs(9 * 60);

/// The API calls of an environment whose count is not confirmed yet.
#[derive(Debug, Default)]
pub(crate) struct CallCounter {
    state: Mutex<State>,
    /// Notified of each addition.
    pub(super) added: Notify,
    /// Notified when all calls are confirmed or given up.
    settled: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The calls that are in no transaction yet.
    unsent: BTreeMap<(StudyId, SiteId), u64>,
    /// Lambda's id of the last request that added calls, and the number of transactions made: together they give a
    /// token that no other transaction has.
    request: String,
    transactions: u64,
    /// The transaction that is not confirmed.
    sent: Option<Batch>,
    /// Whether the writing task runs.
    writing: bool,
}

/// The content of one transaction, which never changes.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) token: String,
    pub(super) calls: BTreeMap<(StudyId, SiteId), u64>,
    /// When it was first sent, if that may have applied it. The monotonic clock stops while an environment is frozen,
    /// and the wall clock may be set: the longer of the two times counts.
    sent: Option<(Instant, SystemTime)>,
}

impl Batch {
    pub(super) fn new(token: String, calls: BTreeMap<(StudyId, SiteId), u64>) -> Self {
        Self { token, calls, sent: None }
    }

    /// Whether DynamoDB may have forgotten its token, so that another attempt might count it twice.
    pub(super) fn is_expired(&self) -> bool {
        self.sent
            .is_some_and(|(instant, time)| instant.elapsed().max(time.elapsed().unwrap_or_default()) > TOKEN_LIFETIME)
    }

    /// The number of calls in it.
    pub(super) fn sum(&self) -> u64 {
        self.calls.values().sum()
    }
}

impl CallCounter {
    /// Adds one call of each of `sites`. Returns whether all calls before are confirmed, and whether the writing task
    /// must be started.
    pub(super) fn add<'a>(
        &self,
        study: &StudyId,
        sites: impl IntoIterator<Item = &'a SiteId>,
        request: &str,
    ) -> (bool, bool) {
        let mut state = self.lock();
        let up_to_date = !state.writing;
        request.clone_into(&mut state.request);
        for site in sites {
            let key = (study.clone(), site.clone());
            if state.unsent.len() >= MOST_SITES && !state.unsent.contains_key(&key) {
                report_lost(1, "calls of too many sites are unconfirmed");
                continue;
            }
            *state.unsent.entry(key).or_default() += 1;
        }
        let start = !state.writing && !state.unsent.is_empty();
        state.writing |= start;
        (up_to_date, start)
    }

    /// The transaction to send next: the unconfirmed one, or a new one of the calls that are in none. `None` ends the
    /// writing task.
    pub(super) fn next(&self) -> Option<Batch> {
        let mut state = self.lock();
        if state.sent.is_none() && !state.unsent.is_empty() {
            let mut calls = std::mem::take(&mut state.unsent);
            if let Some((first_left, _)) = calls.iter().nth(TRANSACTION_WRITES) {
                let first_left = first_left.clone();
                state.unsent = calls.split_off(&first_left);
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

    /// Records that `batch` is about to be sent.
    pub(super) fn sending(&self, batch: &Batch) {
        let mut state = self.lock();
        if let Some(sent) = state.sent.as_mut().filter(|_| batch.sent.is_none()) {
            sent.sent = Some((Instant::now(), SystemTime::now()));
        }
    }

    /// Removes the transaction, which is confirmed or given up.
    pub(super) fn done(&self) {
        self.lock().sent = None;
    }

    /// Records that the last attempt at `batch` was not applied. If no earlier attempt may have been, its calls may go
    /// into another transaction.
    pub(super) fn not_applied(&self, batch: &Batch) {
        if batch.sent.is_some() {
            return;
        }
        let mut state = self.lock();
        let Some(batch) = state.sent.take() else { return };
        for (site, calls) in batch.calls {
            *state.unsent.entry(site).or_default() += calls;
        }
    }

    /// Waits until all calls are confirmed or given up.
    pub(super) async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            if !self.lock().writing {
                return;
            }
            settled.await;
        }
    }

    /// The state is consistent between two statements, so that it may be used after a panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports calls that are given up, so that the counts lack them.
pub(super) fn report_lost(calls: u64, reason: &'static str) {
    tracing::error!(event = "api_calls_not_counted", calls, reason);
    metrics::report(metrics::API_CALLS_NOT_COUNTED, calls);
}

#[cfg(test)]
mod tests {
    use invocation::metrics::{API_CALLS_NOT_COUNTED, Captured};

    use super::*;

    #[test]
    fn where_too_many_sites_are_unconfirmed_only_calls_of_further_sites_are_lost_and_reported() {
        let (counter, metrics) = (CallCounter::default(), Captured::begin());
        let study: StudyId = "DEMO".parse().expect("it is an id");
        let sites: Vec<SiteId> = (0..=MOST_SITES).map(|n| format!("S{n:04}").parse().expect("it is an id")).collect();
        counter.add(&study, &sites, "r-0");
        counter.add(&study, [&sites[0], &sites[MOST_SITES]], "r-1");
        let mut calls = BTreeMap::new();
        while let Some(batch) = counter.next() {
            calls.extend(batch.calls);
            counter.done();
        }
        assert_eq!((calls.len(), calls[&(study, sites[0].clone())]), (MOST_SITES, 2));
        assert_eq!(metrics.sum(API_CALLS_NOT_COUNTED), Some(2));
    }
}
