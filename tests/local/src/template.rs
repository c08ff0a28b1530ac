//! What `template.yaml` says, as far as it has a meaning on one machine.
//!
//! The template is the one truth: what runs here and what SAM deploys are read from the same file. Physical names
//! are the logical ids of the template. ARNs are of [`REGION`] and [`ACCOUNT`].

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

pub use document::TemplateError;

mod document;
mod read;
mod resolve;
#[cfg(test)]
mod tests;

/// The region in which everything local claims to be.
pub const REGION: &str = "us-east-1";

/// The account to which everything local claims to belong.
pub const ACCOUNT: &str = "000000000000";

/// A template whose parameters and references are resolved.
#[derive(Debug, Clone, Default)]
pub struct Template {
    /// Where it was read.
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
    /// What the template asks for that the local cloud knows and does not imitate: one sentence each, to be said
    /// once at the start.
    pub notices: Vec<String>,
}

/// One Lambda function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Logical id, which is its name too (`SubmitFunction`).
    pub name: String,
    /// The cargo package and binary (`submit`).
    pub binary: String,
    /// After which an invocation is killed.
    pub timeout: Duration,
    /// MiB.
    pub memory: u32,
    /// `ReservedConcurrentExecutions`: more environments than this are never made.
    pub reserved_concurrency: Option<usize>,
    /// Variables with all references resolved.
    pub environment: BTreeMap<String, String>,
    /// `arm64` or `x86_64`; here a function runs on what the machine has.
    pub architecture: String,
}

/// One route of the HTTP API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Upper case, `ANY` for all.
    pub method: String,
    /// `/v1/submissions/{id}`, or [`Route::DEFAULT`].
    pub path: String,
    /// Logical id of the function behind it.
    pub function: String,
    /// Name of the authorizer; `None`: anybody may call.
    pub authorizer: Option<String>,
    /// One of these must be in the token, if there are any.
    pub scopes: Vec<String>,
    /// How long the gateway waits for the function.
    pub timeout: Duration,
}

impl Route {
    /// The path of the route that takes what no other one takes.
    pub const DEFAULT: &str = "$default";
}

impl Function {
    /// Its ARN.
    pub fn arn(&self) -> String {
        resolve::function_arn(&self.name)
    }
}

/// A JWT authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorizer {
    /// The token's `iss`.
    pub issuer: String,
    /// One of these must be in the token's `aud`, or be its `client_id` if it has no `aud`.
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
    /// Primary key.
    pub key: Key,
    /// Global secondary indexes, in the order of the file.
    pub indexes: Vec<Index>,
    /// `StreamViewType`; `None`: the table has no stream.
    pub stream: Option<String>,
    /// Attribute with the time to live, if it is switched on.
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
    /// Its key.
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
    /// Its ARN, as the functions get it by `!Ref`.
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
    /// Address in the protocol's own form.
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
    /// `<function>/<event>`: unique and stable, the name of its checkpoint.
    pub name: String,
    /// Logical id of the function.
    pub function: String,
    /// Logical id of the table.
    pub table: String,
    /// Where a mapping without a checkpoint begins.
    pub starting_position: StartingPosition,
    /// 1 to 10,000; default 100.
    pub batch_size: usize,
    /// 0 to 300 s; default 0.
    pub batching_window: Duration,
    /// 1 to 10; default 1.
    pub parallelization_factor: usize,
    /// `ReportBatchItemFailures` is among `FunctionResponseTypes`.
    pub report_batch_item_failures: bool,
    /// Default false.
    pub bisect_batch_on_function_error: bool,
    /// `None`: -1, without end (the default).
    pub maximum_retry_attempts: Option<u32>,
    /// `None`: -1, without end (the default).
    pub maximum_record_age: Option<Duration>,
    /// The patterns of `FilterCriteria`; a record that fits one of them is delivered; none at all lets all through.
    pub filters: Vec<serde_json::Value>,
    /// Where records go that the mapping gives up on.
    pub on_failure: Option<FailureDestination>,
}

/// A function's event that comes again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// `<function>/<event>`.
    pub name: String,
    /// Logical id of the function.
    pub function: String,
    /// Who sends it.
    pub scheduler: Scheduler,
    /// How often it comes.
    pub every: Duration,
    /// What the function gets instead of the scheduler's own event: JSON.
    pub input: Option<String>,
}

/// Who sends the event of a [`Schedule`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduler {
    /// A rule of EventBridge, of an event of type `Schedule`.
    Rule,
    /// The EventBridge Scheduler, of an event of type `ScheduleV2`.
    Scheduler,
}

/// `StartingPosition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartingPosition {
    /// The oldest record that the stream has.
    TrimHorizon,
    /// What comes after the mapping was made.
    Latest,
}

/// `DestinationConfig: OnFailure`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureDestination {
    /// An S3 bucket: with the records.
    Bucket(String),
    /// An SNS topic's ARN: metadata only.
    Topic(String),
}
