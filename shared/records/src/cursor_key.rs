//! What cursors are signed with: random, made once for the table, and told to nobody. So no secret lies in the template,
//! and every environment of every function takes the cursors of every other.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits, call};

use crate::table::attributes::{Item, text};
use crate::table::keys::{CURSOR_KEY, PK, SK};
use crate::store::{NOT_THERE, Store};

const OPERATION: &str = "PutItem of the cursors' key";
const PUT: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };
const VALUE: &str = "value";

/// The key that signs cursors, the same in every environment of every function. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    /// The key itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for CursorKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(redacted)")
    }
}

impl Store {
    /// The key of the table's cursors. Whoever needs it first makes it; this environment asks for it once.
    ///
    /// # Errors
    /// If the store did not give it in time.
    pub async fn cursor_key(&self, deadline: Deadline) -> Result<&CursorKey, Failure> {
        self.cursor_key.get_or_try_init(|| self.stored_cursor_key(deadline)).await
    }

    /// One conditional put that makes it, or gives the one that is there: of two that come first at the same time, and of
    /// two attempts of one, both get the same.
    async fn stored_cursor_key(&self, deadline: Deadline) -> Result<CursorKey, Failure> {
        let mut made = [0; 32];
        getrandom::fill(&mut made).map_err(|_| Failure::passing(OPERATION, "the system gave no random bytes"))?;
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .item(PK, text(CURSOR_KEY))
            .item(SK, text(CURSOR_KEY))
            .item("kind", text("key"))
            .item(VALUE, AttributeValue::B(Blob::new(made)))
            .condition_expression(NOT_THERE)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let sent =
            call(deadline, PUT, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        match sent.await {
            Ok(_) => Ok(made.into()),
            Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(failed))) => {
                let stored = failed.item.as_ref().and_then(stored);
                stored.ok_or_else(|| Failure::unreadable(OPERATION, "the stored key cannot be read"))
            }
            Err(error) => Err(error.of(OPERATION)),
        }
    }
}

fn stored(item: &Item) -> Option<CursorKey> {
    let bytes: [u8; 32] = item.get(VALUE)?.as_b().ok()?.as_ref().try_into().ok()?;
    Some(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", CursorKey::from([7; 32])), "CursorKey(redacted)");
    }
}
