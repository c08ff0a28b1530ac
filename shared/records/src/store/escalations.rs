//! Escalation: an alert that no clinician acknowledges moves between the lists until it is acknowledged or exhausted.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use invocation::Deadline;
use invocation::aws::Failure;
use time::OffsetDateTime;

use super::Store;
use super::alerts::UPDATE;
use crate::items::alert::Alert;
use crate::items::snooze::SNOOZES;
use crate::table::attributes::{instant, number, sortable, text};
use crate::table::calls::update_once;
use crate::table::lists::List;

impl Store {
    /// Moves an open `alert` to the next step of its escalation, unpublished, and returns it so; `None` if it is no
    /// longer open or at another step in the meantime.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn escalate(
        &self,
        mut alert: Alert,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<Alert>, Failure> {
        let update = self
            .open_alert(&alert)
            .update_expression("SET escalation = :next, pending = :pending, pending_since = :at")
            .expression_attribute_values(":next", number(alert.escalation + 1))
            .expression_attribute_values(":pending", text(alert.list_key(List::Pending)))
            .expression_attribute_values(":at", text(sortable(at)));
        let escalated = update_once(update, UPDATE, deadline).await?;
        alert.escalation += 1;
        alert.list = Some(List::Pending);
        Ok(escalated.then_some(alert))
    }

    /// Makes the next escalation of an open `alert` due at `due`.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn postpone(&self, alert: &Alert, due: OffsetDateTime, deadline: Deadline) -> Result<(), Failure> {
        let update = self
            .open_alert(alert)
            .update_expression("SET pending_since = :due")
            .expression_attribute_values(":due", text(sortable(due)));
        update_once(update, UPDATE, deadline).await.map(drop)
    }

    /// Records that an open `alert` was escalated as often as its study allows and was not acknowledged, and removes it
    /// from its list. Returns whether it was recorded: not if it was acknowledged in the meantime.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn exhaust(&self, alert: &Alert, at: OffsetDateTime, deadline: Deadline) -> Result<bool, Failure> {
        let update = self
            .open_alert(alert)
            .update_expression("SET exhausted_at = :at REMOVE pending, pending_since")
            .expression_attribute_values(":at", instant(at));
        update_once(update, UPDATE, deadline).await
    }

    /// Moves `alert` to the quarantine list: processing it panicked, and would panic again.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn quarantine_alert(&self, alert: &Alert, deadline: Deadline) -> Result<(), Failure> {
        let Some(list) = alert.list else { return Ok(()) };
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(alert.key()))
            .update_expression("SET pending = :quarantine")
            .condition_expression("pending = :list")
            .expression_attribute_values(":quarantine", text(alert.list_key(List::Quarantine)))
            .expression_attribute_values(":list", text(alert.list_key(list)));
        update_once(update, UPDATE, deadline).await.map(drop)
    }

    /// Removes `alert` from its list: nothing is to be done with it any more.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn leave_list(&self, alert: &Alert, deadline: Deadline) -> Result<(), Failure> {
        let Some(list) = alert.list else { return Ok(()) };
        // An unpublished alert leaves only once it is acknowledged, and never before its first publication.
        let over = match list {
            List::Pending => " AND attribute_exists(acknowledged_at) AND attribute_exists(sent_at)",
            List::Open | List::Quarantine | List::Due => "",
        };
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(alert.key()))
            .update_expression("REMOVE pending, pending_since")
            .condition_expression(format!("pending = :list{over}"))
            .expression_attribute_values(":list", text(alert.list_key(list)));
        update_once(update, UPDATE, deadline).await.map(drop)
    }

    /// An update of `alert` on condition that it is on the list of open alerts, at the same step of its escalation, and
    /// neither acknowledged nor snoozed in the meantime.
    fn open_alert(&self, alert: &Alert) -> UpdateItemFluentBuilder {
        let update = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(alert.key()))
            .expression_attribute_values(":open", text(alert.list_key(List::Open)));
        let (update, snoozes) = match alert.snoozes.len() {
            0 => (update, format!("attribute_not_exists({SNOOZES})")),
            known => {
                (update.expression_attribute_values(":snoozes", number(known)), format!("size({SNOOZES}) = :snoozes"))
            }
        };
        let open = format!("pending = :open AND attribute_not_exists(acknowledged_at) AND {snoozes}");
        match alert.escalation {
            0 => update.condition_expression(format!("{open} AND attribute_not_exists(escalation)")),
            step => update
                .condition_expression(format!("{open} AND escalation = :step"))
                .expression_attribute_values(":step", number(step)),
        }
    }
}
