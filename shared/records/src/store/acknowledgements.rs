//! Acknowledging an alert: once, in one transaction with the patient's count of open alerts and the audit entry. Later
//! acknowledgements, of the same or another clinician, are kept after the first.

use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use invocation::aws::{CallError, Failure, FailureKind, Limits, is_transient};
use invocation::{Backoff, Deadline};

use super::Store;
use crate::items::acknowledgement::{Acknowledgement, Acknowledgements, LATER};
use crate::items::alert::{Alert, AlertStatus};
use crate::items::audit::Audit;
use crate::items::open_alerts::{MARKS, OpenAlerts};
use crate::table::attributes::{Reader, instant, number, text};
use crate::table::calls::{CONDITION_FAILED, code, is_condition_failed, put_if_absent, send};
use crate::table::digest::token;
use crate::table::keys::{self, SITE_KEY, SITE_SORT, SK};

const TRANSACTION: Limits = Limits { most: Duration::from_secs(4), least: Duration::from_millis(50) };
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(300);
const OPERATION: &str = "TransactWriteItems of an acknowledgement";
/// The largest number of later acknowledgements in a row: with the longest notes they are 160 KB, of the 400 KB of an
/// item.
const MOST_LATER: usize = 20;

impl Store {
    /// Acknowledges `alert`, counts one open alert less for its patient, and stores `entry`: all in one
    /// transaction, and once. If the alert is acknowledged already, the first acknowledgement counts, and this one is
    /// added after it, with `entry`, unless it adds nothing. Returns all acknowledgements.
    ///
    /// The update raises the revision of the patient's profile, so that a transaction of `score` that has read it
    /// before fails and reads the new count.
    ///
    /// # Errors
    /// If the acknowledgement is not confirmed. Where its outcome is unknown, a repeat settles it.
    pub async fn acknowledge(
        &self,
        alert: &Alert,
        acknowledgement: Acknowledgement,
        entry: &Audit,
        deadline: Deadline,
    ) -> Result<Acknowledgements, Failure> {
        let mut parts = Parts::All;
        let mut before: Option<Acknowledgements> = None;
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT).jittered_by(&entry.correlation_id);
        let mut unknown: Option<Failure> = None;
        loop {
            let failure = match self.send_acknowledgement(alert, &acknowledgement, entry, parts, deadline).await {
                Ok(()) => {
                    return Ok(match before {
                        None => Acknowledgements { first: acknowledgement, later: Vec::new() },
                        Some(mut known) => {
                            known.later.push(acknowledgement);
                            known
                        }
                    });
                }
                Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                    match Cancelled::read(&cancelled.cancellation_reasons.unwrap_or_default()) {
                        Cancelled::Before(known) if known.cover(&acknowledgement) => return Ok(known),
                        Cancelled::Before(known) if known.later.len() >= MOST_LATER => {
                            return Err(Failure::invalid(OPERATION, "the alert takes no more acknowledgements"));
                        }
                        Cancelled::Before(known) => {
                            parts = Parts::Later(known.later.len());
                            before = Some(known);
                            continue;
                        }
                        Cancelled::NoneOpen if parts == Parts::All => {
                            // This must not happen. The acknowledgement matters more than a count that is wrong
                            // already.
                            tracing::error!(
                                event = "open_alerts_wrong",
                                "a profile counts fewer open alerts than it has"
                            );
                            parts = Parts::WithoutProfile;
                            continue;
                        }
                        Cancelled::Contended => Failure::transient(OPERATION, "other writes conflicted with it"),
                        Cancelled::NoneOpen | Cancelled::Refused => {
                            Failure::unreadable(OPERATION, "it was cancelled for a permanent reason")
                        }
                    }
                }
                Err(error) => error.into_failure(OPERATION),
            };
            match failure.kind {
                FailureKind::Unknown => unknown = Some(failure.clone()),
                FailureKind::Transient => {}
                // The outcome of an earlier attempt stays unknown.
                FailureKind::NotStarted | FailureKind::Refused => return Err(unknown.unwrap_or(failure)),
            }
            if !backoff.wait(deadline, TRANSACTION.least).await {
                return Err(unknown.unwrap_or(failure));
            }
        }
    }

    async fn send_acknowledgement(
        &self,
        alert: &Alert,
        acknowledgement: &Acknowledgement,
        entry: &Audit,
        parts: Parts,
        deadline: Deadline,
    ) -> Result<(), CallError<TransactWriteItemsError>> {
        let audit = entry.to_item();
        // The entry's key is random: attempts at the same transaction have the same token, and no other transaction has
        // it.
        let entry_key = audit.get(SK).and_then(|sk| sk.as_s().ok()).map_or("", String::as_str);
        let token = token([entry_key.as_bytes(), parts.name().as_bytes()]);
        let row = match parts {
            Parts::Later(known) => self.add_acknowledgement(alert, acknowledgement, known),
            Parts::All | Parts::WithoutProfile => self.set_acknowledged(alert, acknowledgement),
        };
        let mut writes = vec![TransactWriteItem::builder().update(row).build()];
        if parts == Parts::All {
            writes.push(TransactWriteItem::builder().update(self.decrement_open_alerts(alert)).build());
        }
        writes.push(TransactWriteItem::builder().put(put_if_absent(&self.tables.records, audit)).build());
        let request = self.dynamodb.transact_write_items().client_request_token(token).set_transact_items(Some(writes));
        send(request, deadline, TRANSACTION).await.map(drop)
    }

    /// An acknowledgement takes the alert off the worklist of its site, and not off its list of `pending`. It is removed after SNS confirms its publication or,
    /// on the list of open alerts, when its escalation is due.
    fn set_acknowledged(&self, alert: &Alert, acknowledgement: &Acknowledgement) -> Update {
        let note = acknowledgement.note.as_ref();
        let mut update = Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(alert.key()))
            .update_expression(format!(
                "SET #status = :acknowledged, acknowledged_by = :by, acknowledged_at = :at{} \
                 REMOVE {SITE_KEY}, {SITE_SORT}",
                if note.is_some() { ", note = :note" } else { "" }
            ))
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(acknowledged_at)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":acknowledged", text(AlertStatus::Acknowledged.as_str()))
            .expression_attribute_values(":by", text(&acknowledgement.by))
            .expression_attribute_values(":at", instant(acknowledgement.at));
        if let Some(note) = note {
            update = update.expression_attribute_values(":note", text(note));
        }
        update.build().expect("table, key and expression are set")
    }

    /// Adds `acknowledgement` to the `known` ones that came after the first.
    fn add_acknowledgement(&self, alert: &Alert, acknowledgement: &Acknowledgement, known: usize) -> Update {
        let update = Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(alert.key()))
            .update_expression("SET #later = list_append(if_not_exists(#later, :none), :one)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .expression_attribute_names("#later", LATER)
            .expression_attribute_values(":none", AttributeValue::L(Vec::new()))
            .expression_attribute_values(":one", AttributeValue::L(vec![acknowledgement.to_attribute()]));
        let update = match known {
            0 => update.condition_expression("attribute_exists(acknowledged_at) AND attribute_not_exists(#later)"),
            known => update
                .condition_expression("size(#later) = :known")
                .expression_attribute_values(":known", number(known)),
        };
        update.build().expect("table, key and expression are set")
    }

    fn decrement_open_alerts(&self, alert: &Alert) -> Update {
        Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(keys::profile(&alert.study, &alert.patient)))
            .update_expression(format!(
                "SET open_alerts = open_alerts - :one, #revision = #revision + :one DELETE {MARKS} :mark"
            ))
            .condition_expression("open_alerts >= :one")
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":mark", OpenAlerts::attribute_of(alert))
            .build()
            .expect("table, key and expression are set")
    }
}

/// The writes of an acknowledgement's transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    All,
    /// Without the count of open alerts, which is wrong already.
    WithoutProfile,
    /// The addition to an acknowledged alert, which has this many acknowledgements after the first.
    Later(usize),
}

impl Parts {
    fn name(self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::WithoutProfile => "without profile".to_owned(),
            Self::Later(known) => format!("later {known}"),
        }
    }
}

/// Why a transaction was cancelled.
enum Cancelled {
    /// The alert is acknowledged already, or has other later acknowledgements than known.
    Before(Acknowledgements),
    /// The profile counts no open alert.
    NoneOpen,
    /// Other writes conflict with it.
    Contended,
    /// A reason that is permanent.
    Refused,
}

impl Cancelled {
    fn read(reasons: &[CancellationReason]) -> Self {
        let of_alert = reasons.first().filter(|reason| is_condition_failed(reason));
        if let Some(item) = of_alert.and_then(CancellationReason::item) {
            return match Acknowledgements::from_reader(Reader(item)) {
                Ok(Some(known)) => Self::Before(known),
                Ok(None) | Err(_) => Self::Refused,
            };
        }
        let failed: Vec<&str> = reasons.iter().filter_map(code).collect();
        if failed.iter().any(|code| *code != CONDITION_FAILED && !is_transient(code)) || of_alert.is_some() {
            Self::Refused
        } else if failed == [CONDITION_FAILED] {
            // Besides the alert's condition only the profile's can fail: the audit entry's key is new.
            Self::NoneOpen
        } else {
            Self::Contended
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_of_other_parts_have_other_names_for_their_tokens() {
        let parts = [Parts::All, Parts::WithoutProfile, Parts::Later(0), Parts::Later(1)];
        let names: std::collections::BTreeSet<String> = parts.map(Parts::name).into();
        assert_eq!(names.len(), parts.len(), "DynamoDB refuses another transaction under a token that it knows");
    }

    #[test]
    fn an_alert_that_is_not_there_is_not_a_wrong_count_of_open_alerts() {
        let reason = |code: &str| CancellationReason::builder().code(code).build();
        let refused = |reasons: &[CancellationReason]| matches!(Cancelled::read(reasons), Cancelled::Refused);
        let none_open = |reasons: &[CancellationReason]| matches!(Cancelled::read(reasons), Cancelled::NoneOpen);
        // The condition of the alert failed, and DynamoDB returned no item.
        assert!(refused(&[reason(CONDITION_FAILED), reason("None"), reason("None")]));
        assert!(none_open(&[reason("None"), reason(CONDITION_FAILED), reason("None")]));
    }
}
