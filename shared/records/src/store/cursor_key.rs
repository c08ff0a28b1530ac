//! The key that cursors are signed with: random, made once for the table, and never returned or logged. So no secret is
//! in the template, and every environment of every function accepts the cursors of the others.

use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits};

use super::Store;
use crate::items::cursor_key::CursorKey;
use crate::table::calls::{IF_ABSENT, send};

const OPERATION: &str = "PutItem of the cursors' key";
const PUT: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };

impl Store {
    /// The key of the table's cursors. The first call for a table makes it; an environment reads it once.
    ///
    /// # Errors
    /// If the store did not return it in time, or it is damaged.
    pub async fn cursor_key(&self, deadline: Deadline) -> Result<&CursorKey, Failure> {
        self.cursor_key.get_or_try_init(|| self.stored_cursor_key(deadline)).await
    }

    /// One conditional put that stores a new key, or returns the stored one: two first calls at the same time, and two
    /// attempts of one call, get the same key.
    async fn stored_cursor_key(&self, deadline: Deadline) -> Result<CursorKey, Failure> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|_| Failure::transient(OPERATION, "the system returned no random bytes"))?;
        let new = CursorKey::from(bytes);
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(new.to_item()))
            .condition_expression(IF_ABSENT)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match send(request, deadline, PUT).await {
            Ok(_) => Ok(new),
            Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(failed))) => {
                let stored = failed.item.as_ref().and_then(CursorKey::from_item);
                stored.ok_or_else(|| Failure::unreadable(OPERATION, "the stored key cannot be read"))
            }
            Err(error) => Err(error.into_failure(OPERATION)),
        }
    }
}
