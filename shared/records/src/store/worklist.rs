//! The worklist of clinicians: the alerts of several sites that wait, from the index `site`.

use std::collections::HashMap;

use clinical::ids::{SiteId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;

use super::Store;
use crate::items::alert::Alert;
use crate::items::alert_filter::AlertFilter;
use crate::table::attributes::{Item, Reader, Unreadable, text};
use crate::table::calls;
use crate::table::cursor::Page;
use crate::table::keys::{self, AFTER_ALERTS, PK, SITE_INDEX, SITE_SORT, SK};

const OPERATION: &str = "Query of alerts that wait";
const SITES_AT_ONCE: usize = 8;

impl Store {
    /// At most `most` of the alerts of `sites` that wait for a clinician and that `filter` matches, after the position
    /// `below`, which is the `next` of an earlier page: the most severe first, and of these the newest. A page may have
    /// fewer, or none, and still be followed by another. An alert that cannot be read is listed whatever the filter.
    ///
    /// One query for each site reads no more than a page of keys. The index is eventually consistent, and the alerts are
    /// read consistently: one that was acknowledged a moment ago is left out.
    ///
    /// # Errors
    /// If the store did not return them in time.
    pub async fn worklist<'a>(
        &self,
        study: &StudyId,
        sites: impl IntoIterator<Item = &'a SiteId>,
        filter: AlertFilter,
        below: Option<&str>,
        most: usize,
        deadline: Deadline,
    ) -> Result<Page<Result<Alert, Unreadable>>, Failure> {
        let of_severity = filter.severity.map(keys::waiting_alerts);
        let highest = format!("{}{AFTER_ALERTS}", of_severity.unwrap_or_default());
        let below = below.filter(|below| *below < highest.as_str()).unwrap_or(&highest);
        // One more than requested shows whether another page follows.
        let queries = sites.into_iter().map(|site| self.waiting_below(study, site, below, most + 1, deadline));
        let queries: Vec<_> = queries.collect();
        let found: Vec<Vec<Item>> = stream::iter(queries).buffer_unordered(SITES_AT_ONCE).try_collect().await?;
        let mut found: Vec<(String, Item)> = found.into_iter().flatten().map(entry).collect::<Result<_, _>>()?;
        found.retain(|(sort, _)| sort.starts_with(of_severity.unwrap_or_default()));
        found.sort_by(|(a, _), (b, _)| b.cmp(a));
        let more = found.len() > most;
        found.truncate(most);
        let next = found.last().filter(|_| more).map(|(sort, _)| sort.clone());
        let places: HashMap<String, usize> =
            found.iter().enumerate().filter_map(|(place, (_, key))| Some((id_of(key)?, place))).collect();
        let mut rows = self.alert_rows(found.into_iter().map(|(_, key)| key).collect(), deadline).await?;
        rows.sort_by_key(|row| id_of(row).and_then(|id| places.get(&id).copied()));
        let entries = rows.iter().map(Alert::from_item);
        let matching = |alert: &Result<Alert, Unreadable>| {
            alert.as_ref().map_or(true, |alert| alert.waits() && filter.matches(alert))
        };
        Ok(Page { entries: entries.filter(matching).collect(), next })
    }

    async fn waiting_below(
        &self,
        study: &StudyId,
        site: &SiteId,
        below: &str,
        most: usize,
        deadline: Deadline,
    ) -> Result<Vec<Item>, Failure> {
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .index_name(SITE_INDEX)
            .key_condition_expression("site_key = :alerts AND site_sort < :below")
            .expression_attribute_values(":alerts", text(keys::alerts(study, site)))
            .expression_attribute_values(":below", text(below))
            .scan_index_forward(false);
        calls::query(query, most, OPERATION, deadline).await
    }
}

/// The place of an item of the index on the worklist, and its key in the table.
fn entry(mut item: Item) -> Result<(String, Item), Failure> {
    let sort = Reader(&item).owned_text(SITE_SORT);
    let sort = sort.map_err(|_| Failure::unreadable(OPERATION, "an item has no key"))?;
    item.retain(|name, _| name == PK || name == SK);
    Ok((sort, item))
}

/// The id of the alert under `key`.
fn id_of(key: &Item) -> Option<String> {
    Reader(key).owned_text(SK).ok()
}
