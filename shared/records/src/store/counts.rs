//! Counts of what each site sends: atomic counters, spread over shards.
//!
//! Key: study, site, metric, shard. There are two metrics, kept apart so that requests and scoring do not conflict:
//! `api_calls`, to which every request adds ([`api_calls`](crate::store::api_calls)), and `scored`, to which only the
//! transactions that score add: submissions, alerts, and submissions by instrument, all in one item.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Update};
use clinical::ids::{InstrumentId, SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::{Failure, Limits, call};

use crate::table::attributes::{Item, Reader, Unreadable, number, text};
use crate::table::digest::shard;
use crate::table::keys::{self, PK};
use crate::store::{MOST_KEYS, Store};

/// Over how many items one site's counter is spread. One item takes a transaction at a time: at 100 a second ten of them
/// meet a conflict at 11 % of first attempts, one at most of them. More may be added at any time, never fewer: the
/// counts in the shards left out would be lost.
pub(crate) const SHARDS: u32 = 10;
pub(crate) const API_CALLS: &str = "api_calls";
const SCORED: &str = "scored";
const SUBMISSIONS: &str = "submissions";
const ALERTS: &str = "alerts";
/// Before an instrument's id, the attribute of its submissions.
const INSTRUMENT: &str = "instrument#";

const READ: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(30) };
const READS_AT_ONCE: usize = 4;

/// What one site sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteCounts {
    /// Requests to the API.
    pub api_calls: u64,
    /// Submissions scored.
    pub submissions: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Submissions scored, by instrument.
    pub by_instrument: BTreeMap<InstrumentId, u64>,
}

/// What one transaction adds to a site's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addition {
    submissions: u64,
    alerts: u64,
    by_instrument: BTreeMap<InstrumentId, u64>,
}

impl Addition {
    /// Alerts that are raised on submissions counted before.
    pub(crate) fn of_alerts(alerts: u64) -> Self {
        Self { alerts, ..Self::default() }
    }

    pub(crate) fn take_in(&mut self, instrument: &InstrumentId, alerts: u64) {
        self.submissions += 1;
        self.alerts += alerts;
        *self.by_instrument.entry(instrument.clone()).or_default() += 1;
    }

    /// One update that adds all of it to the shard that `id` falls in.
    pub(crate) fn update(&self, table: &str, study: &StudyId, site: &SiteId, id: &str) -> Update {
        let mut added = vec![(SUBMISSIONS.to_owned(), self.submissions), (ALERTS.to_owned(), self.alerts)];
        added.extend(self.by_instrument.iter().map(|(id, n)| (format!("{INSTRUMENT}{}", id.as_str()), *n)));
        let clauses: Vec<String> = (0..added.len()).map(|i| format!("#{i} :{i}")).collect();
        let mut update = Update::builder()
            .table_name(table)
            .key(PK, text(keys::counter(study, site, SCORED, shard(id, SHARDS))))
            .update_expression(format!("ADD {}", clauses.join(", ")));
        for (i, (name, n)) in added.into_iter().enumerate() {
            update = update
                .expression_attribute_names(format!("#{i}"), name)
                .expression_attribute_values(format!(":{i}"), number(n));
        }
        update.build().expect("table, key and expression are set")
    }
}

impl Store {
    /// The counts of each of `sites`, in their order. All of them, or none: a count without one of its shards is wrong.
    ///
    /// # Errors
    /// If the store did not answer for all in time.
    pub async fn site_counts(
        &self,
        study: &StudyId,
        sites: &[SiteId],
        deadline: Deadline,
    ) -> Result<Vec<SiteCounts>, Failure> {
        const OPERATION: &str = "BatchGetItem of counts";
        let keys: Vec<(usize, String)> = sites
            .iter()
            .enumerate()
            .flat_map(|(index, site)| {
                [API_CALLS, SCORED].into_iter().flat_map(move |metric| {
                    (0..SHARDS).map(move |shard| (index, keys::counter(study, site, metric, shard)))
                })
            })
            .collect();
        let batches: Vec<Vec<Item>> = keys
            .chunks(MOST_KEYS)
            .map(|batch| batch.iter().map(|(_, key)| Item::from([(PK.to_owned(), text(key))])).collect())
            .collect();
        let items: Vec<Vec<Item>> = stream::iter(batches)
            .map(|batch| self.get_all(&self.tables.counts, batch, OPERATION, deadline))
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;

        let index_of: std::collections::HashMap<&str, usize> =
            keys.iter().map(|(index, key)| (key.as_str(), *index)).collect();
        let mut counts = vec![SiteCounts::default(); sites.len()];
        for item in items.iter().flatten() {
            let unreadable = || Failure::unreadable(OPERATION, "a counter cannot be read");
            let index = Reader(item).text(PK).ok().and_then(|key| index_of.get(key)).ok_or_else(unreadable)?;
            counts[*index].add(item).map_err(|_| unreadable())?;
        }
        Ok(counts)
    }

    /// All items of `table` that `keys` name and that are there, read consistently; `keys` are at most 100 and differ.
    pub(crate) async fn get_all(
        &self,
        table: &str,
        keys: Vec<Item>,
        operation: &'static str,
        deadline: Deadline,
    ) -> Result<Vec<Item>, Failure> {
        let mut items = Vec::with_capacity(keys.len());
        let mut wanted = keys;
        let mut wait = Duration::from_millis(15);
        while !wanted.is_empty() {
            let asked = KeysAndAttributes::builder().set_keys(Some(wanted)).consistent_read(true).build();
            let asked = asked.expect("keys are set");
            let request = self.dynamodb.batch_get_item().request_items(table, asked);
            let sent =
                call(deadline, READ, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
            let mut answer = sent.await.map_err(|error| error.of(operation))?;
            items.extend(answer.responses.as_mut().and_then(|tables| tables.remove(table)).unwrap_or_default());
            let left = answer.unprocessed_keys.as_mut().and_then(|tables| tables.remove(table));
            wanted = left.map(|left| left.keys).unwrap_or_default();
            if !wanted.is_empty() {
                // DynamoDB answers with what it can when it is short of capacity.
                if deadline.clamp(wait, wait).is_none() {
                    return Err(Failure::passing(operation, "not all items were read in time"));
                }
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
        }
        Ok(items)
    }
}

impl SiteCounts {
    fn add(&mut self, item: &Item) -> Result<(), Unreadable> {
        let reader = Reader(item);
        let count = |name: &str| Ok(reader.optional_count(name)?.unwrap_or_default());
        self.api_calls += count(API_CALLS)?;
        self.submissions += count(SUBMISSIONS)?;
        self.alerts += count(ALERTS)?;
        for (name, value) in item {
            if let (Some(instrument), AttributeValue::N(_)) = (name.strip_prefix(INSTRUMENT), value) {
                let instrument =
                    instrument.parse().map_err(|_| crate::table::attributes::unreadable(name, "names no instrument"))?;
                *self.by_instrument.entry(instrument).or_default() += count(name)?;
            }
        }
        Ok(())
    }
}
