//! Snoozing an alert, in one transaction with the audit entry. All snoozes are kept, and the last one counts.

use std::time::Duration;

use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use invocation::Deadline;
use invocation::aws::{Failure, Limits};

use super::Store;
use crate::items::alert::Alert;
use crate::items::audit::Audit;
use crate::items::snooze::{SNOOZES, Snooze};
use crate::table::attributes::{number, sortable, text};
use crate::table::calls::{Contended, is_condition_failed, put_if_absent};
use crate::table::lists::{List, PENDING, PENDING_SINCE};

const OPERATION: &str = "TransactWriteItems of a snooze";
const TRANSACTION: Limits = Limits { most: Duration::from_secs(4), least: Duration::from_millis(50) };
/// The largest number of snoozes of an alert: with the longest reasons they are 160 KB, of the 400 KB of an item, as
/// many as later acknowledgements may have.
const MOST: usize = 20;
/// How often the alert may be found changed. It changes at each step of its escalation, which are minutes apart.
const CHANGES: usize = 5;

/// The outcome of snoozing an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnoozeOutcome {
    /// This snooze counts: the one that was asked for, or the same one, stored before.
    Snoozed(Snooze),
    /// Not stored: the alert is acknowledged.
    Acknowledged,
}

enum Attempt {
    Stored,
    /// The alert is another one than was read.
    Changed(Box<Alert>),
}

impl Store {
    /// Stores `snooze` of `alert`, whose escalation is then due at its end at the earliest, with `entry`. A snooze that
    /// repeats the last one is not stored again.
    ///
    /// # Errors
    /// If it is not confirmed: invalid if the alert has the maximum of snoozes. Where the outcome is unknown, a repeat
    /// settles it.
    pub async fn snooze(
        &self,
        alert: &Alert,
        snooze: &Snooze,
        entry: &Audit,
        deadline: Deadline,
    ) -> Result<SnoozeOutcome, Failure> {
        let mut alert = alert.clone();
        for _ in 0..CHANGES {
            if let Some(known) = alert.snoozes.last().filter(|known| known.is_repeated_by(snooze)) {
                return Ok(SnoozeOutcome::Snoozed(known.clone()));
            }
            if alert.acknowledged.is_some() {
                return Ok(SnoozeOutcome::Acknowledged);
            }
            if alert.snoozes.len() >= MOST {
                return Err(Failure::invalid(OPERATION, "the alert takes no more snoozes"));
            }
            match self.send_snooze(&alert, snooze, entry, deadline).await? {
                Attempt::Stored => return Ok(SnoozeOutcome::Snoozed(snooze.clone())),
                Attempt::Changed(changed) => alert = *changed,
            }
        }
        Err(Failure::transient(OPERATION, "the alert changed again and again"))
    }

    async fn send_snooze(
        &self,
        alert: &Alert,
        snooze: &Snooze,
        entry: &Audit,
        deadline: Deadline,
    ) -> Result<Attempt, Failure> {
        let writes = vec![
            TransactWriteItem::builder().update(self.add_snooze(alert, snooze)).build(),
            TransactWriteItem::builder().put(put_if_absent(&self.tables.records, entry.to_item())).build(),
        ];
        let jitter = entry.correlation_id.clone();
        let transaction = Contended { operation: OPERATION, limits: TRANSACTION, writes, jitter };
        transaction.send(&self.dynamodb, deadline, Attempt::Stored, changed).await
    }

    /// On condition that the alert is as it was read: not acknowledged, on the same list, with the same snoozes.
    fn add_snooze(&self, alert: &Alert, snooze: &Snooze) -> Update {
        // Not later than the escalation is due: the sweep finds the alert then, and computes that again.
        let due = if alert.list == Some(List::Open) { format!(", {PENDING_SINCE} = :until") } else { String::new() };
        let (mut conditions, mut update) =
            ("attribute_exists(pk) AND attribute_not_exists(acknowledged_at)".to_owned(), Update::builder());
        match alert.list {
            None => conditions += &format!(" AND attribute_not_exists({PENDING})"),
            Some(list) => {
                conditions += &format!(" AND {PENDING} = :list");
                update = update.expression_attribute_values(":list", text(alert.list_key(list)));
            }
        }
        match alert.snoozes.len() {
            0 => conditions += &format!(" AND attribute_not_exists({SNOOZES})"),
            known => {
                conditions += &format!(" AND size({SNOOZES}) = :known");
                update = update.expression_attribute_values(":known", number(known));
            }
        }
        if !due.is_empty() {
            update = update.expression_attribute_values(":until", text(sortable(snooze.until)));
        }
        update
            .table_name(&self.tables.records)
            .set_key(Some(alert.key()))
            .update_expression(format!("SET {SNOOZES} = list_append(if_not_exists({SNOOZES}, :none), :one){due}"))
            .condition_expression(conditions)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":one", AttributeValue::L(vec![snooze.to_attribute()]))
            .build()
            .expect("table, key and expression are set")
    }
}

/// The alert as it is, where that is why the transaction was cancelled.
fn changed(reasons: &[CancellationReason]) -> Result<Option<Attempt>, Failure> {
    let of_alert = reasons.first().filter(|reason| is_condition_failed(reason));
    let Some(item) = of_alert.and_then(CancellationReason::item) else { return Ok(None) };
    let alert = Alert::from_item(item);
    let alert = alert.map_err(|_| Failure::unreadable(OPERATION, "the stored alert cannot be read"))?;
    Ok(Some(Attempt::Changed(Box::new(alert))))
}
