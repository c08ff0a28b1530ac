//! Audit entries: written on their own where the action only reads, and listed by site.

use std::cmp::Reverse;
use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use clinical::ids::{SiteId, StudyId};
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits};

use super::Store;
use crate::items::audit::Audit;
use crate::table::attributes::{Unreadable, text};
use crate::table::calls::{self, IF_ABSENT, send};
use crate::table::cursor::Page;
use crate::table::keys;

const PUT: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };

impl Store {
    /// Stores `entry` once, however often this is called with it.
    ///
    /// # Errors
    /// If the store did not confirm it. Its action must then not be answered as done.
    pub async fn audit(&self, entry: &Audit, deadline: Deadline) -> Result<(), Failure> {
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(entry.to_item()))
            .condition_expression(IF_ABSENT);
        match send(request, deadline, PUT).await {
            // Its key is random: the stored item is this entry, from an attempt whose answer was lost.
            Ok(_) | Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(_))) => Ok(()),
            Err(error) => Err(error.into_failure("PutItem of an audit entry")),
        }
    }

    /// At most `most` entries of `site`, of its study as a whole and of what all studies may use, newest first, after
    /// the position `below`, which is the `next` of an earlier page.
    ///
    /// # Errors
    /// If the store did not return them in time, or an entry cannot be read.
    pub async fn audit_entries(
        &self,
        study: &StudyId,
        site: &SiteId,
        below: Option<&str>,
        most: usize,
        deadline: Deadline,
    ) -> Result<Page<Audit>, Failure> {
        const OPERATION: &str = "Query of audit entries";
        let read = async |study: Option<&StudyId>, site: Option<&SiteId>| {
            let query = self
                .dynamodb
                .query()
                .table_name(&self.tables.records)
                .expression_attribute_values(":pk", text(keys::audit(study, site)))
                .scan_index_forward(false)
                .consistent_read(true);
            let query = match below {
                None => query.key_condition_expression("pk = :pk"),
                Some(below) => query
                    .key_condition_expression("pk = :pk AND sk < :below")
                    .expression_attribute_values(":below", text(below)),
            };
            // One more than requested shows whether another page follows.
            Box::pin(calls::query(query, most + 1, OPERATION, deadline)).await
        };
        let (of_site, of_study, of_all) =
            tokio::try_join!(read(Some(study), Some(site)), read(Some(study), None), read(None, None))?;
        let entries: Result<Vec<Audit>, Unreadable> =
            of_site.iter().chain(&of_study).chain(&of_all).map(Audit::from_item).collect();
        let mut entries = entries.map_err(|_| Failure::unreadable(OPERATION, "an entry cannot be read"))?;
        entries.sort_by_cached_key(|entry| Reverse(entry.sort_key()));
        let more = entries.len() > most;
        entries.truncate(most);
        let next = entries.last().filter(|_| more).map(Audit::sort_key);
        Ok(Page { entries, next })
    }
}
