//! Alerts: read by their ids or their site, and marked once they are published.

use std::time::Duration;

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use clinical::ids::{SiteId, StudyId};
use invocation::Deadline;
use invocation::aws::{Failure, Limits};
use time::OffsetDateTime;

use super::Store;
use crate::items::alert::{Alert, AlertId, AlertStatus};
use crate::items::alert_filter::AlertFilter;
use crate::items::submission::Submission;
use crate::table::attributes::{Item, Reader, Unreadable, instant, number, sortable, text};
use crate::table::calls::{BATCH_KEYS, batch_get, send, update_once};
use crate::table::cursor::Page;
use crate::table::keys::{self, AFTER_ALERTS, SK};
use crate::table::lists::List;

/// The name of every update of an alert in a failure.
pub(crate) const UPDATE: &str = "UpdateItem of an alert";
const READ: &str = "BatchGetItem of alerts";
const SITE_ALERTS: &str = "Query of a site's alerts";
const QUERY: Limits = Limits { most: Duration::from_secs(2), least: Duration::from_millis(30) };
/// The number of alerts in one query, also where fewer are asked for: a filter may match only some of them.
const QUERY_LIMIT: i32 = 100;
/// The largest number that is read for one page: a filter that matches nothing must not read a whole study.
const MOST_READ: usize = 1_000;

impl Store {
    /// The alerts with these ids that were raised on these submissions, which were scored before, and the number of
    /// those that are missing or cannot be read.
    ///
    /// # Errors
    /// If the store did not return all of them in time.
    pub async fn alerts(
        &self,
        raised: &[(&Submission, &[AlertId])],
        deadline: Deadline,
    ) -> Result<(Vec<Alert>, usize), Failure> {
        let keys: Vec<Item> = raised
            .iter()
            .flat_map(|(submission, ids)| ids.iter().map(|id| id.key(&submission.study, &submission.site)))
            .collect();
        let expected = keys.len();
        let rows = self.alert_rows(keys, deadline).await?;
        let alerts: Vec<Alert> = rows.iter().filter_map(|row| Alert::from_item(row).ok()).collect();
        let unreadable = expected.saturating_sub(alerts.len());
        Ok((alerts, unreadable))
    }

    /// The alert `id`, if it is of one of `sites`; `None` if there is no such alert. Read consistently: an alert that was
    /// published is found.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn alert(
        &self,
        study: &StudyId,
        sites: impl IntoIterator<Item = &SiteId>,
        id: AlertId,
        deadline: Deadline,
    ) -> Result<Option<Alert>, Failure> {
        let keys = sites.into_iter().map(|site| id.key(study, site)).collect();
        let rows = self.alert_rows(keys, deadline).await?;
        let alert = rows.first().map(Alert::from_item).transpose();
        alert.map_err(|_| Failure::unreadable(READ, "the stored alert cannot be read"))
    }

    /// Those of the alerts under `keys` that are stored, in no particular order.
    pub(super) async fn alert_rows(&self, keys: Vec<Item>, deadline: Deadline) -> Result<Vec<Item>, Failure> {
        let mut rows = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH_KEYS) {
            rows.extend(batch_get(&self.dynamodb, &self.tables.records, batch.to_vec(), READ, deadline).await?);
        }
        Ok(rows)
    }

    /// Marks the outstanding publication of `alert` as confirmed by SNS at `at`, with the message id `message_id`. A
    /// mark that is stored already stays unchanged, and so does an acknowledgement. An alert that may escalate moves to
    /// the list of open alerts.
    ///
    /// # Errors
    /// If the store did not confirm it: the alert may then be published once more.
    pub async fn mark_published(
        &self,
        alert: &Alert,
        message_id: &str,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let published = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(alert.key()))
            .expression_attribute_values(":at", instant(at))
            .expression_attribute_values(":message", text(message_id));
        let (list, leave) = ("pending = :open, pending_since = :now", " REMOVE pending, pending_since");
        let open = |update: UpdateItemFluentBuilder| {
            update
                .expression_attribute_values(":open", text(alert.list_key(List::Open)))
                .expression_attribute_values(":now", text(sortable(at)))
        };
        if let Some(step @ 1..) = alert.unpublished() {
            let set = format!("SET escalated_at = :at, escalation_message_id = :message, {list}");
            let update = open(published)
                .update_expression(set)
                .condition_expression("escalation = :step AND pending = :listed")
                .expression_attribute_values(":step", number(step))
                .expression_attribute_values(":listed", text(alert.list_key(alert.list.unwrap_or(List::Pending))));
            return update_once(update, UPDATE, deadline).await.map(drop);
        }
        let first = published.expression_attribute_names("#status", "status");
        let sent = "SET #status = :sent, sent_at = :at, message_id = :message";
        let update = if alert.may_escalate() {
            open(first.clone()).update_expression(format!("{sent}, {list}"))
        } else {
            first.clone().update_expression(format!("{sent}{leave}"))
        };
        let update = update
            .condition_expression("attribute_exists(pk) AND #status = :pending")
            .expression_attribute_values(":sent", text(AlertStatus::Sent.as_str()))
            .expression_attribute_values(":pending", text(AlertStatus::Pending.as_str()));
        if update_once(update, UPDATE, deadline).await? {
            return Ok(());
        }
        // It was marked before, or acknowledged before SNS confirmed it: then it stays acknowledged.
        let update = first
            .update_expression(format!("SET sent_at = :at, message_id = :message{leave}"))
            .condition_expression("#status = :acknowledged AND attribute_not_exists(sent_at)")
            .expression_attribute_values(":acknowledged", text(AlertStatus::Acknowledged.as_str()));
        update_once(update, UPDATE, deadline).await.map(drop)
    }

    /// At most `most` of the alerts of `site` that `filter` matches, newest first, after the position `below`, which is
    /// the `next` of an earlier page: in the order in which the submissions that raised them were received. A page may have
    /// fewer, or none, and still be followed by another. An alert that cannot be read is listed whatever the filter.
    ///
    /// # Errors
    /// If the store did not return them in time.
    pub async fn site_alerts(
        &self,
        study: &StudyId,
        site: &SiteId,
        filter: AlertFilter,
        below: Option<&str>,
        most: usize,
        deadline: Deadline,
    ) -> Result<Page<Result<Alert, Unreadable>>, Failure> {
        let mut below = below.unwrap_or(AFTER_ALERTS).to_owned();
        let mut entries = Vec::new();
        let mut read = 0;
        loop {
            let request = self
                .dynamodb
                .query()
                .table_name(&self.tables.records)
                .consistent_read(true)
                .key_condition_expression("pk = :alerts AND sk < :below")
                .expression_attribute_values(":alerts", text(keys::alerts(study, site)))
                .expression_attribute_values(":below", text(&below))
                .scan_index_forward(false)
                .limit(QUERY_LIMIT);
            let answer = send(request, deadline, QUERY).await.map_err(|error| error.into_failure(SITE_ALERTS))?;
            let more = answer.last_evaluated_key.is_some();
            let items = answer.items.unwrap_or_default();
            let of_page = items.len();
            for (index, item) in items.into_iter().enumerate() {
                let place = Reader(&item).text(SK);
                below = place.map_err(|_| Failure::unreadable(SITE_ALERTS, "an item has no key"))?.to_owned();
                let alert = Alert::from_item(&item);
                if alert.as_ref().map_or(true, |alert| filter.matches(alert)) {
                    entries.push(alert);
                }
                if entries.len() == most {
                    let next = Some(below).filter(|_| more || index + 1 < of_page);
                    return Ok(Page { entries, next });
                }
            }
            read += of_page;
            if !more || read >= MOST_READ {
                return Ok(Page { entries, next: Some(below).filter(|_| more) });
            }
        }
    }
}
