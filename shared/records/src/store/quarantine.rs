//! Stores records that can never be scored with their payload, and moves their submissions from the pending list to the
//! quarantine list.

use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits};
use time::OffsetDateTime;

use super::Store;
use crate::items::quarantine::Quarantined;
use crate::items::submission;
use crate::table::attributes::text;
use crate::table::calls::{IF_ABSENT, send};
use crate::table::lists::List;

const PUT: Limits = Limits { most: Duration::from_secs(4), least: Duration::from_millis(50) };
const MOVE: Limits = Limits { most: Duration::from_secs(1), least: Duration::from_millis(50) };

impl Store {
    /// Stores `record` with its payload, and moves its submission to the quarantine list. A record that is stored
    /// already stays unchanged, so this may run twice.
    ///
    /// # Errors
    /// If the store did not confirm it, or the payload is larger than an item may be.
    pub async fn quarantine(
        &self,
        record: &Quarantined<'_>,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        const OPERATION: &str = "PutItem of a quarantined record";
        let item = record.to_item(at);
        let item = item.ok_or_else(|| Failure::unreadable(OPERATION, "the record is larger than an item may be"))?;
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(item))
            .condition_expression(IF_ABSENT);
        match send(request, deadline, PUT).await {
            Ok(_) | Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(_))) => {}
            Err(error) => return Err(error.into_failure(OPERATION)),
        }
        self.move_to_quarantine(record, deadline).await;
        Ok(())
    }

    /// Moves the submission of `record` from the list of pending ones to the quarantine list: otherwise each sweep
    /// would try to score it and raise the alarm again. If this fails, the next sweep does so once more.
    async fn move_to_quarantine(&self, record: &Quarantined<'_>, deadline: Deadline) {
        let Some(key) = record.record.key() else { return };
        let request = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(key))
            .update_expression("SET pending = :quarantine")
            .condition_expression("kind = :submission AND attribute_exists(pending)")
            .expression_attribute_values(":quarantine", text(List::Quarantine.key_of(&record.id())))
            .expression_attribute_values(":submission", text(submission::KIND));
        match send(request, deadline, MOVE).await {
            Ok(_) | Err(CallError::Refused(UpdateItemError::ConditionalCheckFailedException(_))) => {}
            Err(error) => {
                let failure = error.into_failure("UpdateItem of a quarantined submission");
                tracing::warn!(event = "submission_not_moved_to_quarantine", %failure);
            }
        }
    }
}
