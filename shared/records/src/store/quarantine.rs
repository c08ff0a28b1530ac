//! Records that can never be scored: kept with all they held, out of the way of the others.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits, call};
use serde_json::Value;
use time::OffsetDateTime;

use crate::table::attributes::{instant, text};
use crate::table::keys::{self, PK, SK};
use crate::store::{NOT_THERE, Store};
use crate::store::lists::List;
use crate::items::{stream, submission};

const PUT: Limits = Limits { most: Duration::from_secs(4), least: Duration::from_millis(50) };
const MOVE: Limits = Limits { most: Duration::from_secs(1), least: Duration::from_millis(50) };
/// An item takes 400 KB, its other attributes and their names included.
const LARGEST_PAYLOAD: usize = 390 * 1024;

/// A record from the stream that can never be scored.
pub struct SetAside<'a> {
    /// All of it.
    pub record: &'a Value,
    /// Why it cannot be scored, without anything of what it holds.
    pub reason: &'a str,
}

impl SetAside<'_> {
    /// What identifies it: its sequence number, or a digest of it where it has none.
    pub fn id(&self) -> String {
        stream::identity(self.record)
    }
}

impl fmt::Debug for SetAside<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetAside").field("id", &self.id()).field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl Store {
    /// Keeps `record` with its payload. One that is kept already stays as it is, so this may run twice.
    ///
    /// # Errors
    /// If the store did not confirm it, or the payload is larger than an item may be.
    pub async fn set_aside(
        &self,
        record: &SetAside<'_>,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        const OPERATION: &str = "PutItem of a record set aside";
        let payload = record.record.to_string();
        if payload.len() > LARGEST_PAYLOAD {
            return Err(Failure::unreadable(OPERATION, "the record is larger than an item may be"));
        }
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .item(PK, text(keys::SET_ASIDE))
            .item(SK, text(record.id()))
            .item("kind", text("set-aside"))
            .item("reason", text(record.reason))
            .item("set_aside_at", instant(at))
            .item("payload", text(payload))
            .condition_expression(NOT_THERE);
        let sent =
            call(deadline, PUT, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        match sent.await {
            Ok(_) | Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(_))) => {}
            Err(error) => return Err(error.of(OPERATION)),
        }
        self.move_aside(record, deadline).await;
        Ok(())
    }

    /// Takes the submission of `record` off the list of those that wait for their score: it would be tried, and alarm
    /// somebody, again and again. If that fails, it is tried once more.
    async fn move_aside(&self, record: &SetAside<'_>, deadline: Deadline) {
        let Some(key) = stream::key(record.record) else { return };
        let request = self
            .dynamodb
            .update_item()
            .table_name(&self.tables.records)
            .set_key(Some(key))
            .update_expression("SET pending = :aside")
            .condition_expression("kind = :submission AND attribute_exists(pending)")
            .expression_attribute_values(":aside", text(keys::waiting(List::SetAside, &record.id())))
            .expression_attribute_values(":submission", text(submission::KIND));
        let sent =
            call(deadline, MOVE, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        match sent.await {
            Ok(_) | Err(CallError::Refused(UpdateItemError::ConditionalCheckFailedException(_))) => {}
            Err(error) => {
                let failure = error.of("UpdateItem of a submission set aside");
                tracing::warn!(event = "not_moved_aside", %failure);
            }
        }
    }
}
