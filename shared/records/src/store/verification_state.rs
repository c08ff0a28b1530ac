//! The state of a verification that goes on in slices: read, and written on condition that no other run wrote it since.

use std::time::Duration;

use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use invocation::Deadline;
use invocation::aws::{CallError, Failure, Limits};

use super::Store;
use crate::items::verification_state::VerificationState;
use crate::table::attributes::number;
use crate::table::calls::{GET, IF_ABSENT, send};
use crate::table::keys;

const PUT: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };
const OPERATION: &str = "PutItem of a verification's state";

impl Store {
    /// The state of the verification of this table; revision 0 before the first.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn verification_state(&self, deadline: Deadline) -> Result<VerificationState, Failure> {
        const OPERATION: &str = "GetItem of a verification's state";
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::verification()))
            .consistent_read(true);
        let Some(item) = send(request, deadline, GET).await.map_err(|error| error.into_failure(OPERATION))?.item else {
            return Ok(VerificationState::default());
        };
        VerificationState::from_item(&item).map_err(|_| Failure::unreadable(OPERATION, "the state cannot be read"))
    }

    /// Stores `content`, with the number of known `differences`, as the state that follows the one of revision `after`,
    /// and returns whether it is stored: not if another run stored one since.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn put_verification_state(
        &self,
        after: u64,
        content: String,
        differences: u64,
        deadline: Deadline,
    ) -> Result<bool, Failure> {
        let state = VerificationState { revision: after + 1, content, differences };
        let item = state.to_item();
        let request = self
            .dynamodb
            .put_item()
            .table_name(&self.tables.records)
            .set_item(Some(item.clone()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match after {
            0 => request.condition_expression(IF_ABSENT),
            after => {
                request.condition_expression("revision = :after").expression_attribute_values(":after", number(after))
            }
        };
        match send(request, deadline, PUT).await {
            Ok(_) => Ok(true),
            // An attempt whose answer was lost may have stored it.
            Err(CallError::Refused(PutItemError::ConditionalCheckFailedException(failed))) => {
                Ok(failed.item.is_some_and(|stored| VerificationState::from_item(&stored) == Ok(state)))
            }
            Err(error) => Err(error.into_failure(OPERATION)),
        }
    }
}
