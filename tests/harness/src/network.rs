//! A call's way to the service and back, for tests that simulate the network.
//!
//! Without a network each call is applied while its caller waits. With one it travels on its own: what was sent may be
//! applied after its caller gave up, was dropped, or has sent another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::isolation::Before;
use crate::replica::Replica;
use crate::{Call, Fault, World, cut, internal_error, lock, response, sns};

/// How long DynamoDB remembers the token of a transaction.
const TOKEN_MEMORY: Duration = Duration::from_secs(600);

/// How one call travels.
#[derive(Clone, Debug, Default)]
pub struct Path {
    /// From the client to the service.
    pub there: Duration,
    /// The duration of a transaction, during which it holds its items.
    pub work: Duration,
    /// For how long reads of several items may still see some items of a transaction as they were, and which ones, by
    /// bits.
    pub half_visible: Option<(Duration, u64)>,
    /// From the service to the client.
    pub back: Duration,
    /// After what time eventually consistent reads see what the call writes.
    pub lag: Duration,
    /// A fault on the way.
    pub fault: Option<Fault>,
    /// Which one of its reasons a cancelled transaction reports, modulo their number; `None`: all of them.
    pub one_reason: Option<usize>,
    /// Entries of a `PublishBatch` that SNS refuses, by their index.
    pub refused_entries: BTreeSet<usize>,
}

/// What has happened to the calls of a network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// Transactions that were cancelled because another one held an item.
    pub transactions: u64,
    /// Single writes that were refused because a transaction held the item.
    pub writes: u64,
    /// Transactions that were refused because one with their token was in progress.
    pub in_progress: u64,
    /// Transactions whose token was remembered.
    pub tokens: u64,
    /// Cancellations with several reasons that reported one.
    pub partial_reasons: u64,
    /// Publications of which SNS accepted a part.
    pub partial_batches: u64,
    /// Items that a read saw as they were, while a transaction was being applied.
    pub old_items: u64,
}

type ChoosePath = Box<dyn FnMut(&Call) -> Path + Send>;

/// The way of each call, the items that transactions hold, and their tokens.
#[derive(Default)]
pub(crate) struct Network {
    path: Option<ChoosePath>,
    held: BTreeSet<String>,
    tokens: BTreeMap<String, Token>,
    conflicts: Conflicts,
    transactions: u64,
    before: Before,
}

struct Token {
    writes: Value,
    /// When it was applied; `None` while it is in progress.
    applied: Option<Instant>,
}

impl World {
    /// Lets each call from now on travel on a path that `path` chooses.
    pub fn connect(&self, path: impl FnMut(&Call) -> Path + Send + 'static) {
        lock(&self.0.network).path = Some(Box::new(path));
    }

    /// The conflicts so far.
    pub fn conflicts(&self) -> Conflicts {
        lock(&self.0.network).conflicts
    }

    /// The items that were written through the network and are on a list now: the list's shard, and since when or from
    /// when.
    pub fn pending(&self) -> Vec<(String, String)> {
        self.0.replica.get().map(Replica::pending).unwrap_or_default()
    }

    /// The path of `call`, if there is a network.
    pub(crate) fn path(&self, call: &Call) -> Option<Path> {
        lock(&self.0.network).path.as_mut().map(|path| path(call))
    }

    /// Sends `call` on its way, and waits for its answer.
    pub(crate) async fn send(&self, call: Arc<Call>, path: Path) -> Result<HttpResponse, ConnectorError> {
        let (answered, answer) = oneshot::channel();
        let world = self.clone();
        tokio::spawn(async move {
            let result = world.carry(&call, path).await;
            // The caller may be gone.
            let _ = answered.send(result);
        });
        answer.await.unwrap_or_else(|_| Err(cut()))
    }

    async fn carry(&self, call: &Call, path: Path) -> Result<HttpResponse, ConnectorError> {
        sleep(path.there).await;
        let result = match &path.fault {
            None => Ok(self.process(call, &path).await),
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::ApplyAndStall) => {
                self.process(call, &path).await;
                std::future::pending().await
            }
            Some(Fault::Cut) => Err(cut()),
            Some(Fault::ApplyAndCut) => {
                self.process(call, &path).await;
                Err(cut())
            }
            Some(Fault::ApplyTwice) => {
                self.process(call, &path).await;
                Ok(self.process(call, &path).await)
            }
            Some(Fault::ApplyAndFail) => {
                self.process(call, &path).await;
                Ok(internal_error(call))
            }
            Some(Fault::Answer(status, body)) if call.is_dynamodb() => Ok(response(*status, body.to_string())),
            Some(Fault::Answer(status, body)) => Ok(response(*status, sns::error(body))),
        };
        sleep(path.back).await;
        result
    }

    async fn process(&self, call: &Call, path: &Path) -> HttpResponse {
        if !call.is_dynamodb() {
            let (status, body) = self.0.sns.apply(call, &path.refused_entries, |body| self.stored_step(body));
            let is_partial = body.contains("<Failed><member>") && body.contains("<Successful><member>");
            lock(&self.0.network).conflicts.partial_batches += u64::from(is_partial);
            return response(status, body);
        }
        match call.name() {
            "DescribeTable" | "DescribeStream" | "GetShardIterator" => self.0.shards.answer(call),
            "GetRecords" => self.0.shards.records(call).await,
            "TransactWriteItems" => self.transact(call, path).await,
            "PutItem" | "UpdateItem" if self.is_held(call) => {
                lock(&self.0.network).conflicts.writes += 1;
                error("TransactionConflictException", "Transaction is ongoing for the item")
            }
            _ if Replica::answers(call) => {
                let (status, body) = self.0.replica.get_or_init(Replica::new).read(call);
                response(status, body)
            }
            _ => {
                let (status, body) = self.0.dynamodb.apply(call);
                self.written(call, status, path);
                let mut network = lock(&self.0.network);
                let (body, old) = network.before.show(call, body);
                network.conflicts.old_items += old;
                response(status, body)
            }
        }
    }

    /// Lets the stream and the indexes have what `call` wrote.
    fn written(&self, call: &Call, status: u16, path: &Path) {
        self.0.shards.applied(call, status);
        if status == 200 {
            self.0.replica.get_or_init(Replica::new).follow(call, &self.0.dynamodb, path.lag);
        }
    }

    fn is_held(&self, call: &Call) -> bool {
        let network = lock(&self.0.network);
        call.keys().iter().any(|key| network.held.contains(key))
    }

    async fn transact(&self, call: &Call, path: &Path) -> HttpResponse {
        let writes = &call.body["TransactItems"];
        let token = call.body["ClientRequestToken"].as_str().map(str::to_owned);
        let keys = call.keys();
        {
            let mut network = lock(&self.0.network);
            let now = Instant::now();
            network.tokens.retain(|_, token| token.applied.is_none_or(|at| now.duration_since(at) < TOKEN_MEMORY));
            if let Some(known) = token.as_ref().and_then(|token| network.tokens.get(token)) {
                let (same, done) = (known.writes == *writes, known.applied.is_some());
                if !same {
                    return error("IdempotentParameterMismatchException", "the token was used for another transaction");
                }
                if !done {
                    network.conflicts.in_progress += 1;
                    return error("TransactionInProgressException", "the transaction is in progress");
                }
                network.conflicts.tokens += 1;
                return response(200, "{}".to_owned());
            }
            let conflicts: Vec<bool> = keys.iter().map(|key| network.held.contains(key)).collect();
            if conflicts.contains(&true) {
                network.conflicts.transactions += 1;
                let code = |&conflict: &bool| if conflict { "TransactionConflict" } else { "None" };
                let mut reasons: Vec<Value> =
                    conflicts.iter().map(|conflict| json!({"Code": code(conflict)})).collect();
                network.conflicts.partial_reasons += u64::from(report_one(&mut reasons, path.one_reason));
                return cancelled(reasons);
            }
            network.held.extend(keys.iter().cloned());
            if let Some(token) = &token {
                network.tokens.insert(token.clone(), Token { writes: writes.clone(), applied: None });
            }
        }
        sleep(path.work).await;
        let transaction = {
            let mut network = lock(&self.0.network);
            network.transactions += 1;
            let transaction = network.transactions;
            if let Some((_, which)) = path.half_visible {
                network.before.keep(transaction, call, &self.0.dynamodb, which);
            }
            transaction
        };
        // The token is remembered here, for as long as DynamoDB does.
        let (status, body) = self.0.dynamodb.apply_again(call);
        self.written(call, status, path);
        if let Some((lasts, _)) = path.half_visible.filter(|_| status == 200) {
            sleep(lasts).await;
        }
        let mut network = lock(&self.0.network);
        network.before.end(transaction);
        for key in &keys {
            network.held.remove(key);
        }
        if let Some(token) = token {
            if status == 200 {
                network.tokens.insert(token, Token { writes: writes.clone(), applied: Some(Instant::now()) });
            } else {
                network.tokens.remove(&token);
            }
        }
        if status == 200 {
            return response(status, body);
        }
        let (body, is_partial) = with_one_reason(body, path.one_reason);
        network.conflicts.partial_reasons += u64::from(is_partial);
        response(status, body)
    }
}

impl Call {
    /// The items that a write is of, as texts.
    pub(crate) fn keys(&self) -> Vec<String> {
        let alone = ["PutItem", "UpdateItem"].contains(&self.name()).then_some(&self.body);
        let writes = self.body["TransactItems"].as_array().into_iter().flatten();
        let writes = writes.filter_map(|write| write.as_object()?.values().next());
        let key = |write: &Value| {
            let key = write.get("Key").unwrap_or(&write["Item"]);
            format!("{} {} {}", write["TableName"], key["pk"], key["sk"])
        };
        alone.into_iter().chain(writes).map(key).collect()
    }
}

fn error(code: &str, message: &str) -> HttpResponse {
    response(400, json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{code}"), "message": message}).to_string())
}

fn cancelled(reasons: Vec<Value>) -> HttpResponse {
    let body = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled", "CancellationReasons": reasons,
    });
    response(400, body.to_string())
}

/// The cancellation in `body`, with one of its reasons if `which` is given; and whether others are left out.
fn with_one_reason(body: String, which: Option<usize>) -> (String, bool) {
    let Ok(mut error) = serde_json::from_str::<Value>(&body) else { return (body, false) };
    let Some(reasons) = error["CancellationReasons"].as_array_mut() else { return (body, false) };
    let is_partial = report_one(reasons, which);
    (error.to_string(), is_partial)
}

/// Leaves one of `reasons` if `which` is given. Returns whether others are left out.
fn report_one(reasons: &mut [Value], which: Option<usize>) -> bool {
    let Some(which) = which else { return false };
    let given: Vec<usize> = (0..reasons.len()).filter(|&at| reasons[at]["Code"] != "None").collect();
    for &at in &given {
        if at != given[which % given.len()] {
            reasons[at] = json!({"Code": "None"});
        }
    }
    given.len() > 1
}
