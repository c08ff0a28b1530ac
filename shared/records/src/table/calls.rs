//! Calls of DynamoDB: one way to send a request within a deadline, and the repeats that DynamoDB leaves to its callers.

use std::future::Future;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{CancellationReason, ConditionCheck, KeysAndAttributes, Put, TransactWriteItem};
use aws_smithy_types::retry::RetryConfig;
use invocation::aws::{CallError, Failure, Limits, call, is_transient};
use invocation::{Backoff, Deadline};

use super::attributes::{Item, number};

/// The largest number of keys that one BatchGetItem takes.
pub(crate) const BATCH_KEYS: usize = 100;
/// The largest number of writes that one TransactWriteItems takes.
pub(crate) const TRANSACTION_WRITES: usize = 100;
/// The condition of an item that is written once.
pub(crate) const IF_ABSENT: &str = "attribute_not_exists(pk)";
/// The condition that the stored item has the revision that was read.
const AS_READ: &str = "#revision = :read";
/// The limits of a read of one item.
pub(crate) const GET: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };

const BATCH_GET: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(30) };
const QUERY: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };
const WRITE: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(50) };
const FIRST_WAIT: Duration = Duration::from_millis(15);
const LONGEST_WAIT: Duration = Duration::from_millis(250);
/// How often a transaction is sent with which others contend.
const CONTENDED_ATTEMPTS: u32 = 6;
const FIRST_CONTENDED_WAIT: Duration = Duration::from_millis(40);
const LONGEST_CONTENDED_WAIT: Duration = Duration::from_millis(640);

/// A request that can be sent. The SDK keeps its own trait of this kind private.
pub(crate) trait Request {
    type Output;
    type Error: ProvideErrorMetadata;

    /// Sends it with `config` in place of the client's settings.
    fn send_with(self, config: Builder) -> impl Future<Output = Result<Self::Output, SdkError<Self::Error>>> + Send;
}

macro_rules! requests {
    ($($operation:ident: $builder:ident, $output:ident, $error:ident;)*) => {$(
        impl Request for operation::$operation::builders::$builder {
            type Output = operation::$operation::$output;
            type Error = operation::$operation::$error;

            fn send_with(
                self,
                config: Builder,
            ) -> impl Future<Output = Result<Self::Output, SdkError<Self::Error>>> + Send {
                self.customize().config_override(config).send()
            }
        }
    )*};
}

requests! {
    batch_get_item: BatchGetItemFluentBuilder, BatchGetItemOutput, BatchGetItemError;
    get_item: GetItemFluentBuilder, GetItemOutput, GetItemError;
    put_item: PutItemFluentBuilder, PutItemOutput, PutItemError;
    query: QueryFluentBuilder, QueryOutput, QueryError;
    scan: ScanFluentBuilder, ScanOutput, ScanError;
    transact_write_items: TransactWriteItemsFluentBuilder, TransactWriteItemsOutput, TransactWriteItemsError;
    update_item: UpdateItemFluentBuilder, UpdateItemOutput, UpdateItemError;
}

/// Sends `request` within `deadline` and `limits`. The SDK repeats an attempt that failed, if time is left.
///
/// # Errors
/// If it was not sent, if its outcome is unknown, or if DynamoDB refused it.
pub(crate) fn send<R: Request>(
    request: R,
    deadline: Deadline,
    limits: Limits,
) -> impl Future<Output = Result<R::Output, CallError<R::Error>>> {
    call(deadline, limits, |timeouts| request.send_with(Builder::new().timeout_config(timeouts)))
}

/// As [`send`], in one attempt that may take all of the time.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_once<R: Request>(
    request: R,
    deadline: Deadline,
    limits: Limits,
) -> impl Future<Output = Result<R::Output, CallError<R::Error>>> {
    call(deadline, limits, move |timeouts| {
        let all = timeouts.operation_timeout().unwrap_or(limits.most);
        let timeouts = timeouts.into_builder().operation_attempt_timeout(all).build();
        request.send_with(Builder::new().timeout_config(timeouts).retry_config(RetryConfig::disabled()))
    })
}

/// The items of `table` under `keys`, read consistently. `keys` are at most [`BATCH_KEYS`] and differ; a key without an
/// item is passed over.
///
/// # Errors
/// If DynamoDB did not return all of them in time.
pub(crate) async fn batch_get(
    dynamodb: &Client,
    table: &str,
    keys: Vec<Item>,
    operation: &'static str,
    deadline: Deadline,
) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::with_capacity(keys.len());
    let mut missing = keys;
    let mut backoff = Backoff::new(FIRST_WAIT, Duration::MAX);
    while !missing.is_empty() {
        let keys = KeysAndAttributes::builder().set_keys(Some(missing)).consistent_read(true).build();
        let request = dynamodb.batch_get_item().request_items(table, keys.expect("keys are set"));
        let mut answer = send(request, deadline, BATCH_GET).await.map_err(|error| error.into_failure(operation))?;
        items.extend(answer.responses.as_mut().and_then(|tables| tables.remove(table)).unwrap_or_default());
        let unprocessed = answer.unprocessed_keys.as_mut().and_then(|tables| tables.remove(table));
        missing = unprocessed.map(|unprocessed| unprocessed.keys).unwrap_or_default();
        // DynamoDB returns a part of them when it is short of capacity.
        if !missing.is_empty() && !backoff.wait(deadline, Duration::ZERO).await {
            return Err(Failure::transient(operation, "not all items were read in time"));
        }
    }
    Ok(items)
}

/// The first `most` items that `query` finds, in its order. DynamoDB returns them in pages of a megabyte at most.
///
/// # Errors
/// If DynamoDB did not return all of them in time.
pub(crate) async fn query(
    query: QueryFluentBuilder,
    most: usize,
    operation: &'static str,
    deadline: Deadline,
) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    let mut from = None;
    while items.len() < most {
        let left = i32::try_from(most - items.len()).unwrap_or(i32::MAX);
        let request = query.clone().limit(left).set_exclusive_start_key(from);
        let answer = send(request, deadline, QUERY).await.map_err(|error| error.into_failure(operation))?;
        items.extend(answer.items.unwrap_or_default());
        from = answer.last_evaluated_key;
        if from.is_none() {
            break;
        }
    }
    Ok(items)
}

/// Sends a conditional `update`, again while other writes contend with it, and returns whether its condition held.
///
/// # Errors
/// If DynamoDB did not confirm it.
pub(crate) async fn update_once(
    update: UpdateItemFluentBuilder,
    operation: &'static str,
    deadline: Deadline,
) -> Result<bool, Failure> {
    once(update, operation, deadline, UpdateItemError::is_conditional_check_failed_exception).await
}

/// Sends the conditional write `request`, again while other writes contend with it, and returns whether its condition held.
async fn once<R: Request + Clone>(
    request: R,
    operation: &'static str,
    deadline: Deadline,
    is_condition_failed: fn(&R::Error) -> bool,
) -> Result<bool, Failure> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match send(request.clone(), deadline, WRITE).await {
            Ok(_) => return Ok(true),
            Err(CallError::Refused(error)) if is_condition_failed(&error) => return Ok(false),
            Err(CallError::Refused(error)) if error.code().is_some_and(is_transient) => {
                if !backoff.wait(deadline, WRITE.least).await {
                    return Err(CallError::Refused(error).into_failure(operation));
                }
            }
            Err(error) => return Err(error.into_failure(operation)),
        }
    }
}

/// The outcome of a put on condition that the stored item is the one that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionalPut {
    /// It is stored.
    Stored,
    /// The stored one is not the one that was read: read it, and decide again.
    Changed,
}

/// Puts `item` in place of the one that was read with the revision `read`, which is 0 where none was stored, again while
/// other writes contend with it. Where an answer was lost, it may find its own item, and return that it changed.
///
/// # Errors
/// If DynamoDB did not confirm it.
pub(crate) async fn put_once(
    dynamodb: &Client,
    table: &str,
    item: Item,
    read: u64,
    operation: &'static str,
    deadline: Deadline,
) -> Result<ConditionalPut, Failure> {
    let put = dynamodb.put_item().table_name(table).set_item(Some(item));
    let put = match read {
        0 => put.condition_expression(IF_ABSENT),
        read => put
            .condition_expression(AS_READ)
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":read", number(read)),
    };
    let is_stored = once(put, operation, deadline, PutItemError::is_conditional_check_failed_exception).await?;
    Ok(if is_stored { ConditionalPut::Stored } else { ConditionalPut::Changed })
}

/// The write of a new `item` to `table`, as a part of a transaction.
pub(crate) fn put_if_absent(table: &str, item: Item) -> Put {
    Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression(IF_ABSENT)
        .build()
        .expect("table and item are set")
}

/// The write of `item` in place of the one that was read with the revision `read`, which is 0 where none was stored, as a
/// part of a transaction.
pub(crate) fn put_revision(table: &str, item: Item, read: u64) -> TransactWriteItem {
    let put = Put::builder().table_name(table).set_item(Some(item));
    let put = match read {
        0 => put.condition_expression(IF_ABSENT),
        read => put
            .condition_expression(AS_READ)
            .expression_attribute_names("#revision", "revision")
            .expression_attribute_values(":read", number(read)),
    };
    TransactWriteItem::builder().put(put.build().expect("table and item are set")).build()
}

/// The check that the item under `key` still has the revision `read`, as a part of a transaction that does not write it.
pub(crate) fn check_revision(table: &str, key: Item, read: u64) -> TransactWriteItem {
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(key))
        .condition_expression(AS_READ)
        .expression_attribute_names("#revision", "revision")
        .expression_attribute_values(":read", number(read));
    TransactWriteItem::builder().condition_check(check.build().expect("table, key and condition are set")).build()
}

/// A transaction whose items others write too.
pub(crate) struct Contended {
    /// What it is, in failures.
    pub(crate) operation: &'static str,
    pub(crate) limits: Limits,
    /// The writes. One of them has a key that no other request uses, so that a repeat of this one meets its own result.
    pub(crate) writes: Vec<TransactWriteItem>,
    /// Spreads the waits of different requests.
    pub(crate) jitter: String,
}

impl Contended {
    /// Sends it, again while others contend with it. Returns `applied`, or what `settled` reads from the reasons for which
    /// it was cancelled; `settled` returns `None` where another attempt may succeed.
    ///
    /// # Errors
    /// Those of `settled`; if it was cancelled for another reason that is permanent; or if DynamoDB did not confirm it.
    pub(crate) async fn send<T>(
        self,
        dynamodb: &Client,
        deadline: Deadline,
        applied: T,
        settled: impl Fn(&[CancellationReason]) -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let Self { operation, limits, writes, jitter } = self;
        let mut backoff = Backoff::new(FIRST_CONTENDED_WAIT, LONGEST_CONTENDED_WAIT).jittered_by(jitter);
        for attempt in 1..=CONTENDED_ATTEMPTS {
            let request = dynamodb.transact_write_items().set_transact_items(Some(writes.clone()));
            match send(request, deadline, limits).await {
                Ok(_) => return Ok(applied),
                Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                    let reasons = cancelled.cancellation_reasons();
                    if let Some(outcome) = settled(reasons)? {
                        return Ok(outcome);
                    }
                    if reasons.iter().filter_map(code).any(|code| !is_transient(code)) {
                        return Err(Failure::unreadable(operation, "it was cancelled for a permanent reason"));
                    }
                }
                // An attempt of the SDK whose answer was lost is still in progress: the next attempt meets its result.
                Err(CallError::Refused(TransactWriteItemsError::TransactionInProgressException(_))) => {}
                Err(error) => return Err(error.into_failure(operation)),
            }
            if attempt == CONTENDED_ATTEMPTS || !backoff.wait(deadline, limits.least).await {
                break;
            }
        }
        Err(Failure::transient(operation, "other transactions conflicted with it"))
    }
}

/// The code of a cancelled transaction's `reason`; `None` for a write that was not at fault.
pub(crate) fn code(reason: &CancellationReason) -> Option<&str> {
    reason.code().filter(|code| *code != "None")
}

/// Whether `reason` is that the write's own condition did not hold.
pub(crate) fn is_condition_failed(reason: &CancellationReason) -> bool {
    reason.code() == Some(CONDITION_FAILED)
}

/// The code of a write whose condition did not hold, in the reasons of a cancelled transaction.
pub(crate) const CONDITION_FAILED: &str = "ConditionalCheckFailed";
