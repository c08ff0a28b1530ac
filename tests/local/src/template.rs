//! The part of `template.yaml` that has a meaning on one machine.
//!
//! SAM deploys the same file, so that local and deployed resources do not diverge. Physical names are the template's
//! logical ids. ARNs are of [`REGION`] and [`ACCOUNT`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use document::TemplateError;

mod document;
mod read;
mod resolve;
#[cfg(test)]
mod tests;

/// The region of all local ARNs.
pub const REGION: &str = "us-east-1";

/// The account of all local ARNs.
pub const ACCOUNT: &str = "000000000000";

/// A template with resolved parameters and references.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// The file.
    pub path: PathBuf,
    /// The names of its parameters.
    pub parameters: Vec<String>,
    /// `AWS::Serverless::Function`, in the order of the file.
    pub functions: Vec<Function>,
    /// The routes of the HTTP API, in the order of the file.
    pub routes: Vec<Route>,
    /// The HTTP API's authorizers by name.
    pub authorizers: BTreeMap<String, Authorizer>,
    /// `AWS::DynamoDB::Table`, in the order of the file.
    pub tables: Vec<Table>,
    /// `AWS::SNS::Topic`, in the order of the file.
    pub topics: Vec<Topic>,
    /// `AWS::SNS::Subscription`, in the order of the file.
    pub subscriptions: Vec<Subscription>,
    /// The functions' events of type `DynamoDB`, in the order of the file.
    pub streams: Vec<StreamMapping>,
    /// The functions' events of type `Schedule` and `ScheduleV2`, in the order of the file.
    pub schedules: Vec<Schedule>,
    /// `AWS::S3::Bucket`, in the order of the file: logical ids, which are the names too.
    pub buckets: Vec<String>,
    /// Settings that the local cloud knows and does not imitate: one sentence each, printed once at the start.
    /// once at the start.
    pub notices: Vec<String>,
}

/// One Lambda function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Logical id, which is its name too (`SubmitFunction`).
    pub name: String,
    /// The name of the cargo binary (`submit`).
    pub binary: String,
    /// The timeout, after which an invocation is killed.
    pub timeout: Duration,
    /// Memory in MiB.
    pub memory: u32,
    /// `ReservedConcurrentExecutions`: the most environments.
    pub reserved_concurrency: Option<usize>,
    /// Variables with all references resolved.
    pub environment: BTreeMap<String, String>,
    /// `arm64` or `x86_64`. The local cloud runs the function on this machine's architecture.
    pub architecture: String,
}

/// One route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The method in upper case; `ANY` for all.
    pub method: String,
    /// The path: `/v1/submissions/{id}`, or [`Route::DEFAULT`].
    pub path: String,
    /// Logical id of the function behind it.
    pub function: String,
    /// Name of the authorizer; `None`: no token is required.
    pub authorizer: Option<String>,
    /// Scopes of which the token must have one; empty: none is required.
    pub scopes: Vec<String>,
    /// How long the gateway waits for the function.
    pub timeout: Duration,
}

impl Route {
    /// The path of the route for requests that match no other.
    pub const DEFAULT: &str = "$default";
}

impl Function {
    /// The route's ARN for a request.
    pub fn arn(&self) -> String {
        resolve::function_arn(&self.name)
    }
}

/// A JWT authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorizer {
    /// The required `iss` of a token.
    pub issuer: String,
    /// Accepted values of the token's `aud`, or of its `client_id` if it has no `aud`.
    pub audience: Vec<String>,
    /// The header that carries the token, in lower case.
    pub header: String,
}

/// One DynamoDB table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Logical id, which is its name too.
    pub name: String,
    /// Attribute definitions: name to type (`S`, `N`, `B`).
    pub attributes: BTreeMap<String, String>,
    /// The primary key.
    pub key: Key,
    /// Global secondary indexes, in the order of the file.
    pub indexes: Vec<Index>,
    /// `StreamViewType`; `None`: the table has no stream.
    pub stream: Option<String>,
    /// Attribute with the time to live, if it is enabled.
    pub time_to_live: Option<String>,
}

/// A key schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Attribute of the partition key.
    pub hash: String,
    /// Attribute of the sort key.
    pub range: Option<String>,
}

/// A global secondary index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// `IndexName`.
    pub name: String,
    /// The index's key.
    pub key: Key,
    /// `ALL`, `KEYS_ONLY` or `INCLUDE`.
    pub projection: String,
    /// The attributes of `INCLUDE`.
    pub included: Vec<String>,
}

/// One SNS topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Logical id, which is its name too.
    pub name: String,
    /// The ARN, which `!Ref` gives the functions.
    pub arn: String,
    /// `DisplayName`.
    pub display_name: Option<String>,
}

/// One SNS subscription of the template.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// Logical id.
    pub name: String,
    /// The topic's ARN.
    pub topic_arn: String,
    /// `https`, `email`, `sms`, ...
    pub protocol: String,
    /// The address, in the protocol's format.
    pub endpoint: String,
    /// `FilterPolicy`.
    pub filter_policy: Option<serde_json::Value>,
    /// `MessageAttributes` or `MessageBody`.
    pub filter_policy_scope: Option<String>,
    /// `RawMessageDelivery`.
    pub raw: bool,
}

/// A DynamoDB stream as a function's event source. Absent settings have Lambda's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMapping {
    /// `<function>/<event>`: unique and stable; it names the checkpoint.
    pub name: String,
    /// Logical id of the function.
    pub function: String,
    /// Logical id of the table.
    pub table: String,
    /// Where a mapping without a checkpoint starts.
    pub starting_position: StartingPosition,
    /// `BatchSize`: 1 to 10,000; default 100.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`: 0 to 300 s; default 0.
    pub batching_window: Duration,
    /// `ParallelizationFactor`: 1 to 10; default 1.
    pub parallelization_factor: usize,
    /// `ReportBatchItemFailures` is among `FunctionResponseTypes`.
    pub report_batch_item_failures: bool,
    /// `BisectBatchOnFunctionError`; default false.
    pub bisect_batch_on_function_error: bool,
    /// `MaximumRetryAttempts`; `None`: unlimited (-1, the default).
    pub maximum_retry_attempts: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; `None`: unlimited (-1, the default).
    pub maximum_record_age: Option<Duration>,
    /// The patterns of `FilterCriteria`. A record that matches one is delivered; without patterns all are.
    pub filters: Vec<serde_json::Value>,
    /// The destination of records that the mapping gives up.
    pub on_failure: Option<FailureDestination>,
}

/// A recurring event of a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// `<function>/<event>`.
    pub name: String,
    /// Logical id of the function.
    pub function: String,
    /// The service that sends it.
    pub scheduler: Scheduler,
    /// The interval between two events.
    pub every: Duration,
    /// `Input`: JSON that the function receives instead of the service's own event.
    pub input: Option<String>,
}

/// The service that sends the event of a [`Schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// A rule of EventBridge: an event of type `Schedule`.
    Rule,
    /// The EventBridge Scheduler: an event of type `ScheduleV2`.
    Scheduler,
}

/// `StartingPosition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// The oldest record of the stream.
    TrimHorizon,
    /// Records that are written after the mapping was made.
    Latest,
}

/// `DestinationConfig: OnFailure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureDestination {
    /// An S3 bucket, which receives the records too.
    Bucket(String),
    /// An SNS topic's ARN, which receives metadata only.
    Topic(String),
}
