//! AWS under the SDK, for tests of the functions: real handlers and real SDK clients, with an HTTP client that calls a
//! DynamoDB in memory and an SNS that records what it is sent. Tests inject faults into its calls.
//!
//! Nothing listens on a port or sleeps in real time, so a test may pause the clock.

mod dynamodb;
mod isolation;
mod meter;
mod network;
mod recording;
mod replica;
mod request;
mod shards;
mod sns;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use clinical::ids::StudyId;
use clinical::instruments::Instrument;
use clinical::schedules::{Occurrence, State, Window, timestamp};
use clinical::studies::Study;
use invocation::aws::sdk_config;
use invocation::{Clock, Deadline, Environment, Principal};
use notifications::{LinkTemplate, ReminderTopic, Topic};
use records::stream::Record;
use records::{Actor, Audit, AuditAction, ConditionalPut, InstrumentPut, Store, StoredOccurrence, StudyPut, Tables};
use scoring::Scoring;
use serde_json::Value;

pub use crate::meter::{Consumed, Written};
pub use crate::network::{Conflicts, Path};
pub use crate::request::{claims, context, record_texts, request, stream_event};

/// The name of the Records table in the template.
pub const RECORDS: &str = "RecordsTable";
/// The name of the SiteCounts table in the template.
pub const COUNTS: &str = "SiteCountsTable";

/// The duration of a call on the clock of the test, unless the test sets another.
const LATENCY: Duration = Duration::from_millis(2);

const PLENTY: Duration = Duration::from_secs(10);

/// The tables, the topic and the faults of one test.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    dynamodb: dynamodb::Engine,
    shards: shards::Shards,
    sns: sns::Sns,
    network: Mutex<network::Network>,
    replica: OnceLock<replica::Replica>,
    faults: Mutex<Faults>,
    calls: Mutex<Vec<Arc<Call>>>,
    /// What calls consume; `None` while nobody asks.
    consumed: Mutex<Option<Vec<Consumed>>>,
    pools: Mutex<BTreeSet<String>>,
    in_flight: AtomicUsize,
    latency: Mutex<Duration>,
}

type Faults = Vec<Box<dyn FnMut(&Call) -> Option<Fault> + Send>>;

/// An HTTP request of the SDK.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The operation, followed by its table if it has one: `PutItem RecordsTable`, `PublishBatch`. A transaction has a table
    /// only if it writes nothing but counts.
    pub operation: String,
    /// The body: the JSON of DynamoDB, or the form fields of SNS.
    pub body: Value,
    /// The region of the client.
    pub region: String,
}

/// A fault that is injected into a call.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The call is not applied, and never answered.
    Stall,
    /// The call is applied, and never answered.
    ApplyAndStall,
    /// The connection breaks before the call is applied.
    Cut,
    /// The call is applied, and the connection breaks before the answer.
    ApplyAndCut,
    /// The call is applied twice, and the second answer is returned, as after a retry inside the SDK.
    ApplyTwice,
    /// The call is applied, and answered with an internal server error.
    ApplyAndFail,
    /// The call is not applied, and answered with this status and body.
    Answer(u16, Value),
}

impl Fault {
    /// A throttling error.
    pub fn throttle() -> Self {
        Self::error("ThrottlingException")
    }

    /// An error of the type `code`.
    pub fn error(code: &str) -> Self {
        Self::Answer(400, serde_json::json!({"__type": code, "message": "a fault that the test injected"}))
    }

    /// An internal server error.
    pub fn internal() -> Self {
        Self::Answer(
            500,
            serde_json::json!({"__type": "InternalServerError", "message": "a fault that the test injected"}),
        )
    }

    /// The cancellation of a transaction of `writes` writes, of which the one at the index `at` conflicted.
    pub fn conflict(writes: usize, at: usize) -> Self {
        Self::cancelled_by(writes, at, "TransactionConflict")
    }

    /// The cancellation of a transaction of `writes` writes, of which the one at the index `at` has the reason `code`.
    pub fn cancelled_by(writes: usize, at: usize, code: &str) -> Self {
        let reason = |index| if index == at { code } else { "None" };
        let reasons: Vec<Value> = (0..writes).map(|index| serde_json::json!({"Code": reason(index)})).collect();
        let body = serde_json::json!({
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "Transaction cancelled", "CancellationReasons": reasons,
        });
        Self::Answer(400, body)
    }
}

/// A message that SNS accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The message id that SNS returned.
    pub message_id: String,
    /// The subject of e-mails.
    pub subject: String,
    /// The texts by protocol.
    pub message: BTreeMap<String, String>,
    /// The attributes that subscribers filter by.
    pub attributes: BTreeMap<String, String>,
    /// The step of the escalation in the alert's row when SNS accepted the message; `None` if it had no row.
    pub stored_step: Option<u64>,
    /// When SNS accepted it.
    pub at: SystemTime,
}

/// A reminder that SNS accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reminded {
    /// The body.
    pub body: Value,
    /// When SNS accepted it.
    pub at: SystemTime,
}

impl Published {
    /// The JSON body of the protocols that programs use.
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.message["default"]).expect("the default message is JSON")
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Empty tables and one topic without messages.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            dynamodb: dynamodb::Engine::new(),
            shards: shards::Shards::default(),
            sns: sns::Sns::default(),
            network: Mutex::default(),
            replica: OnceLock::new(),
            faults: Mutex::default(),
            calls: Mutex::default(),
            consumed: Mutex::default(),
            pools: Mutex::default(),
            in_flight: AtomicUsize::default(),
            latency: Mutex::new(LATENCY),
        }))
    }

    /// A store on the tables that is open to studies that are not stored, since most tests need no particular study.
    pub fn store(&self) -> Store {
        self.closed_store().open_to_all_studies()
    }

    /// A store on the tables that accepts stored studies only, as the template configures it.
    pub fn closed_store(&self) -> Store {
        self.store_in("eu-central-1")
    }

    /// Puts a version of the study DEMO in force, with one site, S01, the PHQ-9, and `changes` to its definition.
    pub async fn put_study(&self, changes: Value) {
        let mut study = serde_json::json!({
            "id": "DEMO", "version": "1.0.0", "title": {"en": "A study"}, "languages": ["en"],
            "sites": [{"id": "S01", "name": "Site 1", "timeZone": "Europe/Berlin"}],
            "instruments": [{"id": "phq-9", "version": "1.0.0"}],
        });
        for (name, value) in changes.as_object().expect("changes are an object") {
            study[name] = value.clone();
        }
        let study = Study::parse(&study.to_string()).expect("the study of the test is valid");
        let audit = self.audit(AuditAction::StudyPut, Some(study.id())).about(study.version());
        let put = self.store().put_study(&study, &audit, Deadline::after(PLENTY)).await;
        assert!(matches!(put.expect("the store is healthy"), StudyPut::InForce(_)));
    }

    /// Stores an instrument that does not ship.
    pub async fn put_instrument(&self, json: &str) {
        let instrument = Instrument::parse(json).expect("the instrument of the test is valid");
        let definition = format!("{} {}", instrument.id(), instrument.version());
        let audit = self.audit(AuditAction::InstrumentPut, None).about(definition);
        let put = self.store().put_instrument(&instrument, &audit, Deadline::after(PLENTY)).await;
        assert!(matches!(put.expect("the store is healthy"), InstrumentPut::Stored(_)));
    }

    /// Stores the window `number` of an hour in which `patient` of S01 was asked for the PHQ-9.
    pub async fn put_window(&self, patient: &str, number: u32, opens: time::OffsetDateTime, state: State) {
        let at = |time| timestamp(time).expect("the time of the test is in range");
        let occurrence = Occurrence {
            schedule: "daily".parse().expect("it is an id"),
            instrument: "phq-9".parse().expect("it is an id"),
            number,
            window: Window { opens: at(opens), closes: at(opens + time::Duration::HOUR) },
            reminders: Vec::new(),
            state,
            alert: None,
        };
        let [study, patient, site] = ["DEMO", patient, "S01"];
        let parsed = "the ids of the test are valid";
        let (study, patient) = (study.parse().expect(parsed), patient.parse().expect(parsed));
        let stored = StoredOccurrence::new(study, patient, site.parse().expect(parsed), occurrence);
        let put = self.store().put_occurrence(&stored, Deadline::after(PLENTY)).await;
        assert_eq!(put.expect("the store is healthy"), ConditionalPut::Stored);
    }

    fn audit(&self, action: AuditAction, study: Option<&StudyId>) -> Audit {
        let principal = Principal::new("dm-1", "https://sts.amazonaws.com").expect("both are printable");
        let actor = Actor { principal, role: "data-manager".to_owned() };
        Audit::by(actor, action, study, "a test needs it", time::OffsetDateTime::now_utc())
    }

    /// The topic.
    pub fn topic(&self) -> Topic {
        self.topic_in("eu-central-1")
    }

    /// A store on the tables with clients of its own, as another environment has, in `region`: the SDK's budget of
    /// retries is one for each region and process.
    pub fn store_in(&self, region: &str) -> Store {
        let tables = Tables { records: RECORDS.to_owned(), counts: COUNTS.to_owned() };
        Store::new(&self.sdk_config_in(region), tables)
    }

    /// As [`World::topic`], with a client of its own, as another environment has.
    pub fn topic_in(&self, region: &str) -> Topic {
        let link = LinkTemplate::new("https://epro.example/alerts/{alertId}");
        Topic::new(&self.sdk_config_in(region), "arn:aws:sns:eu-central-1:000000000000:AlertsTopic", link)
    }

    /// The topic of reminders.
    pub fn reminder_topic(&self) -> ReminderTopic {
        self.reminder_topic_in("eu-central-1")
    }

    /// As [`World::reminder_topic`], with a client of its own, as another environment has.
    pub fn reminder_topic_in(&self, region: &str) -> ReminderTopic {
        ReminderTopic::new(&self.sdk_config_in(region), "arn:aws:sns:eu-central-1:000000000000:RemindersTopic")
    }

    /// The bodies of the reminders that were published, in order.
    pub fn reminders(&self) -> Vec<Value> {
        self.reminded().into_iter().map(|reminder| reminder.body).collect()
    }

    /// The reminders that were published, in order, each with its time.
    pub fn reminded(&self) -> Vec<Reminded> {
        self.0.sns.reminders()
    }

    /// The settings of clients that call this world.
    pub fn sdk_config_in(&self, region: &str) -> aws_types::SdkConfig {
        let environment = Environment::from_iter([
            ("AWS_REGION", region),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ]);
        let http = SharedHttpClient::new(Wire(self.clone()));
        sdk_config(&environment, "AWS_ENDPOINT_URL", http).expect("all settings are given")
    }

    /// Passes each call from now on to `fault`, which returns the fault to inject. The first `fault` that returns one wins.
    pub fn inject(&self, fault: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        lock(&self.0.faults).push(Box::new(fault));
    }

    /// Injects `fault` into the next `times` calls of `operation`.
    pub fn inject_into(&self, operation: &'static str, times: usize, fault: Fault) {
        let mut left = times;
        self.inject(move |call| {
            let hit = left > 0 && call.operation == operation;
            left -= usize::from(hit);
            hit.then(|| fault.clone())
        });
    }

    /// Removes all faults.
    pub fn heal(&self) {
        lock(&self.0.faults).clear();
    }

    /// All calls so far, in order.
    pub fn calls(&self) -> Vec<Arc<Call>> {
        lock(&self.0.calls).clone()
    }

    /// What the calls of DynamoDB have consumed since this was last asked for. The first time there is nothing: only from
    /// then on is it worked out.
    pub fn consumed(&self) -> Vec<Consumed> {
        lock(&self.0.consumed).replace(Vec::new()).unwrap_or_default()
    }

    /// The number of calls of `operation` so far.
    pub fn count_calls(&self, operation: &str) -> usize {
        lock(&self.0.calls).iter().filter(|call| call.operation == operation).count()
    }

    /// The number of connection pools that the SDK's own HTTP client would have by now: one for each set of connection
    /// settings.
    pub fn pools(&self) -> usize {
        lock(&self.0.pools).len()
    }

    /// The number of calls that are waited for.
    pub fn in_flight(&self) -> usize {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    /// The messages that SNS accepted, in order.
    pub fn published(&self) -> Vec<Published> {
        self.published_after(0)
    }

    /// As [`Self::published`], without the first `known`.
    pub fn published_after(&self, known: usize) -> Vec<Published> {
        self.0.sns.published_after(known)
    }

    /// The items of the Records table of `kind`, as plain JSON.
    pub fn items(&self, kind: &str) -> Vec<Value> {
        let mut items = self.0.dynamodb.items(RECORDS);
        items.retain(|item| item["kind"] == kind);
        items
    }

    /// All items of the Records table, as plain JSON.
    pub fn all_items(&self) -> Vec<Value> {
        self.0.dynamodb.items(RECORDS)
    }

    /// The item of the Records table with this key in DynamoDB's notation, as plain JSON.
    pub fn item(&self, key: &Value) -> Option<Value> {
        self.0.dynamodb.item(RECORDS, key)
    }

    /// Sets `attribute` of all items of `kind` in the Records table to the text `value`.
    pub fn tamper(&self, kind: &str, attribute: &str, value: &str) {
        for item in self.items(kind) {
            self.tamper_one(&item, attribute, value);
        }
    }

    /// As [`World::tamper`], for `item` only.
    pub fn tamper_one(&self, item: &Value, attribute: &str, value: &str) {
        self.set(item, attribute, serde_json::json!({"S": value}));
    }

    /// As [`World::tamper_one`], with a `value` in DynamoDB's notation.
    pub fn set(&self, item: &Value, attribute: &str, value: Value) {
        self.0.dynamodb.set(RECORDS, item, attribute, value);
    }

    /// Stores a copy of `item` in which the attributes of `changes` have other texts.
    pub fn copy(&self, item: &Value, changes: &[(&str, &str)]) {
        self.0.dynamodb.copy(RECORDS, item, changes);
    }

    /// Stores `item` of `table` again as `change` makes it, in DynamoDB's notation. With another key it is a copy.
    pub fn edit(&self, table: &str, item: &Value, change: impl FnOnce(&mut Value)) {
        self.0.dynamodb.edit(table, item, change);
    }

    /// Removes `item` of `table`, which no function may.
    pub fn remove(&self, table: &str, item: &Value) {
        self.0.dynamodb.remove(table, item);
    }

    /// The items of the SiteCounts table, as plain JSON.
    pub fn counters(&self) -> Vec<Value> {
        self.0.dynamodb.items(COUNTS)
    }

    /// Sets the duration of each call on the clock of the test.
    pub fn delay(&self, latency: Duration) {
        *lock(&self.0.latency) = latency;
    }

    /// The stream's records of all submissions that were inserted so far, as Lambda receives them.
    pub fn stream(&self) -> Vec<Value> {
        self.0.dynamodb.stream()
    }

    /// Runs the pipeline of `score` over `records` of the stream, as in an invocation with `remaining` until its deadline.
    /// Returns how many of them are not done.
    pub async fn score(&self, records: &[Value], remaining: Duration) -> usize {
        let deadline = Deadline::after(remaining.saturating_sub(Deadline::STREAM_RESERVE));
        let texts = record_texts(records);
        let records: Vec<_> = texts.iter().map(|text| Record::new(text)).collect();
        Scoring::new(self.store(), self.topic()).process(&records, Clock::system(), deadline).await.len()
    }

    async fn answer(&self, request: HttpRequest) -> Result<HttpResponse, ConnectorError> {
        let _until_answered_or_dropped = InFlight::count(&self.0.in_flight);
        let call = Arc::new(Call::of(&request));
        recording::record(&call);
        lock(&self.0.calls).push(Arc::clone(&call));
        if let Some(path) = self.path(&call) {
            return self.send(call, path).await;
        }
        let fault = lock(&self.0.faults).iter_mut().find_map(|fault| fault(&call));
        let latency = *lock(&self.0.latency);
        tokio::time::sleep(latency).await;
        match fault {
            None => Ok(self.apply(&call)),
            Some(Fault::Stall) => std::future::pending().await,
            Some(Fault::ApplyAndStall) => {
                self.apply(&call);
                std::future::pending().await
            }
            Some(Fault::Cut) => Err(cut()),
            Some(Fault::ApplyAndCut) => {
                self.apply(&call);
                Err(cut())
            }
            Some(Fault::ApplyTwice) => {
                self.apply(&call);
                Ok(self.apply(&call))
            }
            Some(Fault::ApplyAndFail) => {
                self.apply(&call);
                Ok(internal_error(&call))
            }
            Some(Fault::Answer(status, body)) if call.is_dynamodb() => Ok(response(status, body.to_string())),
            Some(Fault::Answer(status, body)) => Ok(response(status, sns::error(&body))),
        }
    }

    /// The step of the escalation in the row of the alert that a message with this `body` is about; `None` if it has none.
    fn stored_step(&self, body: &Value) -> Option<u64> {
        let text = |name: &str| body[name].as_str();
        let pk = format!("ALERTS#{}#{}", text("study")?, text("site")?);
        let key = serde_json::json!({"pk": {"S": pk}, "sk": {"S": text("alertId")?}});
        let row = self.0.dynamodb.get(RECORDS, &key)?;
        Some(row["escalation"]["N"].as_str().and_then(|step| step.parse().ok()).unwrap_or_default())
    }

    fn apply(&self, call: &Call) -> HttpResponse {
        if !call.is_dynamodb() {
            let (status, body) = self.0.sns.apply(call, &BTreeSet::new(), |body| self.stored_step(body));
            return response(status, body);
        }
        let metered = lock(&self.0.consumed).is_some();
        let before = metered.then(|| meter::Before::of(call, &self.0.dynamodb));
        let (status, body) = self.0.dynamodb.apply(call);
        self.0.shards.applied(call, status);
        if let (Some(before), Some(consumed), 200) = (before, lock(&self.0.consumed).as_mut(), status) {
            let answer = serde_json::from_str(&body).expect("the engine answers in JSON");
            consumed.push(before.consumed(call, &self.0.dynamodb, &answer));
        }
        response(status, body)
    }
}

impl Call {
    fn of(request: &HttpRequest) -> Self {
        let bytes = request.body().bytes().expect("the SDK does not stream these bodies");
        let region = region(request);
        let Some(target) = request.headers().get("x-amz-target") else {
            let form: BTreeMap<String, String> = form_urlencoded::parse(bytes).into_owned().collect();
            let operation = form.get("Action").cloned().unwrap_or_default();
            return Self { operation, body: serde_json::json!(form), region };
        };
        let body: Value = serde_json::from_slice(bytes).expect("the SDK sends JSON");
        let name = target.rsplit('.').next().unwrap_or_default();
        let table = match (body["TableName"].as_str(), body["RequestItems"].as_object()) {
            (Some(table), _) => Some(table),
            (None, Some(tables)) => tables.keys().next().map(String::as_str),
            (None, None) => counts_alone(&body),
        };
        let operation = table.map_or_else(|| name.to_owned(), |table| format!("{name} {table}"));
        Self { operation, body, region }
    }

    fn is_dynamodb(&self) -> bool {
        self.body.get("Action").is_none()
    }

    /// The operation without its table.
    pub fn name(&self) -> &str {
        self.operation.split(' ').next().unwrap_or_default()
    }
}

/// The SiteCounts table, if the transaction `body` writes to no other.
fn counts_alone(body: &Value) -> Option<&'static str> {
    let mut writes = body["TransactItems"].as_array()?.iter();
    let of_counts =
        |write: &Value| write.as_object().is_some_and(|write| write.values().all(|w| w["TableName"] == COUNTS));
    writes.all(of_counts).then_some(COUNTS)
}

/// The region in the signature's scope: `Credential=<key>/<date>/<region>/<service>/aws4_request`.
fn region(request: &HttpRequest) -> String {
    let authorization = request.headers().get("authorization").unwrap_or_default();
    authorization.split('/').nth(2).unwrap_or_default().to_owned()
}

/// An internal server error of the service that `call` is to.
fn internal_error(call: &Call) -> HttpResponse {
    let Fault::Answer(status, body) = Fault::internal() else { unreachable!("it is an answer") };
    response(status, if call.is_dynamodb() { body.to_string() } else { sns::error(&body) })
}

fn cut() -> ConnectorError {
    ConnectorError::io("the test cut the connection".into())
}

fn response(status: u16, body: String) -> HttpResponse {
    let status = aws_smithy_runtime_api::http::StatusCode::try_from(status).expect("tests use real statuses");
    HttpResponse::new(status, SdkBody::from(body))
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a call as waited for until it is dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn count(calls: &'a AtomicUsize) -> Self {
        calls.fetch_add(1, Ordering::SeqCst);
        Self(calls)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The HTTP client that the SDK calls.
struct Wire(World);

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

impl HttpClient for Wire {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let settings = format!("{:?} {:?}", settings.connect_timeout(), settings.read_timeout());
        lock(&self.0.0.pools).insert(settings);
        SharedHttpConnector::new(Self(self.0.clone()))
    }
}

impl HttpConnector for Wire {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let world = self.0.clone();
        HttpConnectorFuture::new(async move { world.answer(request).await })
    }
}
