//! The counts of each site, read from and added to its shards.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{TransactWriteItem, Update};
use clinical::ids::{SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;

use super::Store;
use crate::items::counts::{API_CALLS, CountsAdded, SCORED, SHARDS, SiteCounts};
use crate::table::attributes::{Item, Reader, number, text};
use crate::table::calls::{BATCH_KEYS, batch_get};
use crate::table::digest::shard;
use crate::table::keys::{self, PK};

const READS_AT_ONCE: usize = 4;

impl Store {
    /// The counts of each of `sites`, in their order. All of them, or none: a count without one of its shards is wrong.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
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
            .chunks(BATCH_KEYS)
            .map(|batch| batch.iter().map(|(_, key)| Item::from([(PK.to_owned(), text(key))])).collect())
            .collect();
        let items: Vec<Vec<Item>> = stream::iter(batches)
            .map(|batch| batch_get(&self.dynamodb, &self.tables.counts, batch, OPERATION, deadline))
            .buffer_unordered(READS_AT_ONCE)
            .try_collect()
            .await?;

        let index_of: HashMap<&str, usize> = keys.iter().map(|(index, key)| (key.as_str(), *index)).collect();
        let mut counts = vec![SiteCounts::default(); sites.len()];
        for item in items.iter().flatten() {
            let unreadable = || Failure::unreadable(OPERATION, "a counter cannot be read");
            let index = Reader(item).text(PK).ok().and_then(|key| index_of.get(key)).ok_or_else(unreadable)?;
            counts[*index].add(item).map_err(|_| unreadable())?;
        }
        Ok(counts)
    }

    /// The write that adds `added` to the counts of `site`, in the shard that `id` falls in.
    pub(crate) fn add_counts(
        &self,
        added: &CountsAdded,
        study: &StudyId,
        site: &SiteId,
        id: &str,
    ) -> TransactWriteItem {
        let attributes = added.attributes();
        let clauses: Vec<String> = (0..attributes.len()).map(|i| format!("#{i} :{i}")).collect();
        let mut update = Update::builder()
            .table_name(&self.tables.counts)
            .key(PK, text(keys::counter(study, site, SCORED, shard(id, SHARDS))))
            .update_expression(format!("ADD {}", clauses.join(", ")));
        for (i, (name, n)) in attributes.into_iter().enumerate() {
            update = update
                .expression_attribute_names(format!("#{i}"), name)
                .expression_attribute_values(format!(":{i}"), number(n));
        }
        TransactWriteItem::builder().update(update.build().expect("table, key and expression are set")).build()
    }
}
