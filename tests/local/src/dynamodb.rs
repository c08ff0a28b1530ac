//! The database: the embedded engine or another one at an address, and the template's tables in it.
//!
//! Both are called through the AWS SDK, so the same code works with AWS's DynamoDB Local and with AWS itself.

use crate::console::Console;
use crate::template::{Index, Key, REGION, Table};
use aws_credential_types::Credentials;
use aws_sdk_dynamodb::config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, StreamSpecification, StreamViewType, TableDescription, TableStatus, TimeToLiveSpecification,
};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fmt, fs, thread};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::{runtime, time};

/// How long a table may take to become active. AWS takes some seconds.
const TABLE_PATIENCE: Duration = Duration::from_secs(60);

/// How long a stop waits for running requests.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How often expired items are removed. AWS takes up to some days.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// How often writes are brought to the disk.
const SYNC_INTERVAL: Duration = Duration::from_millis(100);
/// How often it is checked whether the disk has room for a few writes.
const SPACE_INTERVAL: Duration = Duration::from_secs(5);
const PROBE: usize = 256 * 1024;

/// A running database.
#[derive(Debug)]
pub struct DynamoDb {
    endpoint: String,
    client: aws_sdk_dynamodb::Client,
    streams: aws_sdk_dynamodbstreams::Client,
    engine: Option<Engine>,
}

impl DynamoDb {
    /// Starts the embedded engine on a free port of the loopback address.
    ///
    /// `folder` holds its file `tables.sqlite`. Without a folder the tables are in memory and end with the process.
    ///
    /// # Errors
    /// If the file cannot be opened, or another program wrote it.
    pub async fn embedded(folder: Option<&Path>) -> Result<Self, DynamoDbError> {
        let (engine, port) = Engine::start(folder.map(Path::to_owned)).await?;
        Ok(Self { engine: Some(engine), ..Self::at(&format!("http://127.0.0.1:{port}"))? })
    }

    /// Uses another engine at `url`. Credentials come from the environment if it has any: AWS checks them, the local
    /// engines accept all.
    ///
    /// # Errors
    /// If `url` is not an `http` or `https` address.
    pub fn at(url: &str) -> Result<Self, DynamoDbError> {
        let endpoint = url.trim_end_matches('/').to_owned();
        let host = endpoint
            .parse::<http::Uri>()
            .ok()
            .filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")))
            .and_then(|uri| uri.host().map(str::to_owned))
            .ok_or_else(|| DynamoDbError::Address(url.to_owned()))?;
        let region = Region::new(region_of(&host).unwrap_or(REGION).to_owned());
        let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let client = aws_sdk_dynamodb::Client::from_conf(
            aws_sdk_dynamodb::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client(http.clone())
                .credentials_provider(credentials())
                .region(region.clone())
                .endpoint_url(&endpoint)
                .build(),
        );
        let streams = aws_sdk_dynamodbstreams::Client::from_conf(
            aws_sdk_dynamodbstreams::Config::builder()
                .behavior_version(BehaviorVersion::latest())
                .http_client(http)
                .credentials_provider(credentials())
                .region(region)
                .endpoint_url(streams_endpoint(&endpoint, &host))
                .build(),
        );
        Ok(Self { endpoint, client, streams, engine: None })
    }

    /// The database that these clients call, for simulations: a read of its stream returns once there is something to
    /// read.
    pub fn simulated(client: aws_sdk_dynamodb::Client, streams: aws_sdk_dynamodbstreams::Client) -> Self {
        Self { endpoint: String::new(), client, streams, engine: None }
    }

    /// Whether it was made by [`DynamoDb::simulated`].
    pub fn is_simulated(&self) -> bool {
        self.endpoint.is_empty()
    }

    /// The address, for the functions' `AWS_ENDPOINT_URL_DYNAMODB`.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The SDK's client for tables.
    pub fn client(&self) -> &aws_sdk_dynamodb::Client {
        &self.client
    }

    /// The SDK's client for streams.
    pub fn streams(&self) -> &aws_sdk_dynamodbstreams::Client {
        &self.streams
    }

    /// The embedded engine, for calls without HTTP and the SDK; `None` if it is another one. A clone keeps its file open.
    pub(crate) fn engine(&self) -> Option<&dynoxide::Database> {
        self.engine.as_ref().map(|engine| &engine.database)
    }

    /// Creates the tables that do not exist yet, with their indexes and streams, and waits until all are active.
    /// Returns the names of the created ones.
    ///
    /// # Errors
    /// If an existing table has other keys or indexes, or another stream, than the template says, or the database
    /// does not answer.
    pub async fn make_tables(&self, tables: &[Table]) -> Result<Vec<String>, DynamoDbError> {
        let mut made = Vec::new();
        for table in tables {
            match self.describe(&table.name).await? {
                Some(found) => check(table, &found)?,
                None => {
                    self.create(table).await?;
                    made.push(table.name.clone());
                }
            }
        }
        for table in tables {
            self.wait_until_active(&table.name).await?;
        }
        for table in tables.iter().filter(|table| made.contains(&table.name)) {
            if let Some(attribute) = &table.time_to_live {
                self.expire_by(&table.name, attribute).await?;
            }
        }
        Ok(made)
    }

    /// The ARN of a table's stream.
    ///
    /// # Errors
    /// If the table does not exist or has no stream, or the database does not answer.
    pub async fn stream_arn(&self, table: &str) -> Result<String, DynamoDbError> {
        self.describe(table)
            .await?
            .and_then(|found| found.latest_stream_arn)
            .ok_or_else(|| DynamoDbError::NoStream(table.to_owned()))
    }

    /// Stops the embedded engine: running requests are answered and the file is closed. Another engine is left running.
    pub async fn stop(self) {
        if let Some(engine) = self.engine {
            engine.stop().await;
        }
    }

    async fn describe(&self, table: &str) -> Result<Option<TableDescription>, DynamoDbError> {
        match self.client.describe_table().table_name(table).send().await {
            Ok(answer) => Ok(answer.table),
            Err(error) if error.as_service_error().is_some_and(|e| e.is_resource_not_found_exception()) => Ok(None),
            Err(error) => Err(self.call("DescribeTable", table, &error)),
        }
    }

    async fn create(&self, table: &Table) -> Result<(), DynamoDbError> {
        let mut create = self
            .client
            .create_table()
            .table_name(&table.name)
            .billing_mode(BillingMode::PayPerRequest)
            .set_key_schema(Some(key_schema(&table.key)))
            .set_attribute_definitions(Some(
                table
                    .attributes
                    .iter()
                    .map(|(name, kind)| {
                        required(
                            AttributeDefinition::builder()
                                .attribute_name(name)
                                .attribute_type(ScalarAttributeType::from(kind.as_str()))
                                .build(),
                        )
                    })
                    .collect(),
            ));
        for index in &table.indexes {
            create = create.global_secondary_indexes(required(
                GlobalSecondaryIndex::builder()
                    .index_name(&index.name)
                    .set_key_schema(Some(key_schema(&index.key)))
                    .projection(
                        Projection::builder()
                            .projection_type(ProjectionType::from(index.projection.as_str()))
                            .set_non_key_attributes((!index.included.is_empty()).then(|| index.included.clone()))
                            .build(),
                    )
                    .build(),
            ));
        }
        if let Some(view) = &table.stream {
            create = create.stream_specification(required(
                StreamSpecification::builder()
                    .stream_enabled(true)
                    .stream_view_type(StreamViewType::from(view.as_str()))
                    .build(),
            ));
        }
        create.send().await.map(drop).map_err(|error| self.call("CreateTable", &table.name, &error))
    }

    async fn wait_until_active(&self, table: &str) -> Result<(), DynamoDbError> {
        let active = async {
            loop {
                let status = self.describe(table).await?.and_then(|found| found.table_status);
                if status == Some(TableStatus::Active) {
                    return Ok(());
                }
                time::sleep(Duration::from_millis(100)).await;
            }
        };
        time::timeout(TABLE_PATIENCE, active).await.unwrap_or_else(|_| Err(DynamoDbError::NotActive(table.to_owned())))
    }

    /// Switches on the time to live. An engine that does not know it keeps what has expired, which the functions find gone.
    async fn expire_by(&self, table: &str, attribute: &str) -> Result<(), DynamoDbError> {
        let updated = self
            .client
            .update_time_to_live()
            .table_name(table)
            .time_to_live_specification(required(
                TimeToLiveSpecification::builder().attribute_name(attribute).enabled(true).build(),
            ))
            .send()
            .await;
        match updated {
            Err(error) if error.code() != Some("UnknownOperationException") => {
                Err(self.call("UpdateTimeToLive", table, &error))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn call<E>(&self, operation: &'static str, table: &str, error: &SdkError<E>) -> DynamoDbError
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let (table, endpoint) = (table.to_owned(), self.endpoint.clone());
        DynamoDbError::Call { operation, table, endpoint, cause: cause(error) }
    }
}

/// The message of a failed call with its causes, on one line. The error's `Debug` is not used, because it shows the
/// bodies of requests and responses.
pub(crate) fn cause<E, R>(error: &SdkError<E, R>) -> String
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
    R: std::fmt::Debug,
{
    if let Some(refusal) = error.as_service_error() {
        let code = refusal.code().unwrap_or("unknown error");
        return format!("{code}: {}", refusal.message().unwrap_or("no message"));
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// What the user can do about `cause`. A full disk loses no data, so the message suggests removing none.
fn what_to_do(cause: &str) -> &'static str {
    let full = ["is full", "No space left", "disk I/O error"];
    if full.iter().any(|sign| cause.contains(sign)) {
        "Free space on its disk and start again: no stored data is lost"
    } else {
        "Start with another --data; the file is left unchanged"
    }
}

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DynamoDbError {
    /// `--dynamodb` is not an address.
    #[error("--dynamodb {0}: not an http or https address; try http://127.0.0.1:8000")]
    Address(String),
    /// The engine's folder cannot be created or written.
    #[error("cannot use {} for the tables", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The engine cannot open its file.
    #[error("cannot open the tables in {place}: {cause}. {}", what_to_do(cause))]
    Open {
        /// The file, or "memory".
        place: String,
        /// The engine's error.
        cause: String,
    },
    /// The engine's thread, runtime or port cannot be had.
    #[error("cannot start the embedded database")]
    Start(#[source] std::io::Error),
    /// A call failed or was not answered.
    #[error("{operation} of {table} at {endpoint} failed: {cause}")]
    Call {
        /// The name of the operation.
        operation: &'static str,
        /// The table that it was for.
        table: String,
        /// The address of the database.
        endpoint: String,
        /// The SDK's message with all causes.
        cause: String,
    },
    /// A table exists, but not as the template describes it.
    #[error(
        "table {table} exists with another {what} than in the template (table: {found}; template: {expected}); \
         start with another --data, or delete the table"
    )]
    Differs {
        /// The table.
        table: String,
        /// The property that differs.
        what: &'static str,
        /// Its value in the database.
        found: String,
        /// Its value in the template.
        expected: String,
    },
    /// A created table does not become active.
    #[error("table {0} did not become active within {patience} s", patience = TABLE_PATIENCE.as_secs())]
    NotActive(String),
    /// The table of a mapping has no stream.
    #[error("table {0} has no stream; give it a StreamSpecification in the template")]
    NoStream(String),
}

/// The embedded engine on a thread of its own, because its operations block.
struct Engine {
    database: dynoxide::Database,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<()>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}

impl Engine {
    async fn start(folder: Option<PathBuf>) -> Result<(Self, u16), DynamoDbError> {
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (ready, started) = oneshot::channel();
        thread::Builder::new()
            .name("dynamodb".to_owned())
            .spawn(move || {
                serve(folder.as_deref(), ready, stopped);
                end.send(()).ok();
            })
            .map_err(DynamoDbError::Start)?;
        let (database, port) = started.await.unwrap_or_else(|_| {
            Err(DynamoDbError::Start(std::io::Error::other("the engine's thread ended during its start")))
        })?;
        Ok((Self { database, stop, ended }, port))
    }

    async fn stop(self) {
        drop(self.database);
        self.stop.send(()).ok();
        // An error means that the thread has ended already. A client in the middle of a request may delay the end, but
        // answered writes are in the file either way.
        time::timeout(STOP_PATIENCE, self.ended).await.map(drop).ok();
    }
}

/// An open database and the port that it is served on.
type Started = (dynoxide::Database, u16);

fn serve(
    folder: Option<&Path>,
    ready: oneshot::Sender<Result<Started, DynamoDbError>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(DynamoDbError::Start(error)))),
    };
    runtime.block_on(async {
        let opened = async {
            let database = open(folder)?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(DynamoDbError::Start)?;
            let port = listener.local_addr().map_err(DynamoDbError::Start)?.port();
            Ok((database, listener, port))
        };
        match opened.await {
            Err(error) => drop(ready.send(Err(error))),
            Ok((database, listener, port)) => {
                ready.send(Ok((database.clone(), port))).ok();
                let expiry = tokio::spawn(expire(database.clone()));
                let watch = tokio::spawn(watch_space(folder.map(Path::to_owned)));
                let sync = tokio::spawn(sync_log(folder.map(Path::to_owned)));
                let shutdown = async {
                    stopped.await.ok();
                };
                if let Err(error) = dynoxide::server::serve_with_shutdown(listener, database, shutdown).await {
                    Console::default().warn(format!("dynamodb: the embedded database stopped: {error}"));
                }
                expiry.abort();
                watch.abort();
                sync.abort();
            }
        }
    });
}

fn open(folder: Option<&Path>) -> Result<dynoxide::Database, DynamoDbError> {
    let Some(folder) = folder else {
        return open_in_memory();
    };
    fs::create_dir_all(folder).map_err(|source| DynamoDbError::Folder { path: folder.to_owned(), source })?;
    let file = folder.join("tables.sqlite");
    let place = file.display().to_string();
    let opened = add_stream_index(&place).and_then(|()| {
        let database = dynoxide::Database::new(&place)?;
        // SQLite's `synchronous = NORMAL`, which the engine's interface reaches only so: a write is in the file before it
        // is answered, and survives the end of the process; `sync_log` brings it to the disk a moment later. A wait for
        // the disk in every write would take a third of the writes a second.
        database.disable_bulk_loading()?;
        Ok(database)
    });
    opened.map_err(|error| DynamoDbError::Open { place, cause: error.to_string() })
}

/// A database in memory gives no access to its SQL tables, but can be loaded from a file that already has the index.
fn open_in_memory() -> Result<dynoxide::Database, DynamoDbError> {
    let template = env::temp_dir().join(format!("tables-{}.sqlite", uuid::Uuid::new_v4()));
    let place = template.display().to_string();
    let opened = add_stream_index(&place).and_then(|()| {
        let database = dynoxide::Database::memory()?;
        database.restore_from(&place)?;
        Ok(database)
    });
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(format!("{place}{suffix}")).ok();
    }
    opened.map_err(|error| DynamoDbError::Open { place: "memory".to_owned(), cause: error.to_string() })
}

/// With every write the engine searches for the highest sequence number, and with every read for the records after one,
/// both by an expression without an index: it reads every record that was ever written. The index makes both constant,
/// which `dynamodb::tests::writes_stay_quick_while_stream_records_pile_up` checks.
fn add_stream_index(file: &str) -> dynoxide::Result<()> {
    let storage = dynoxide::storage::Storage::new(file)?;
    storage.conn().execute_batch(
        "CREATE INDEX IF NOT EXISTS local_stream_order
             ON _stream_records (table_name, CAST(sequence_number AS INTEGER));",
    )?;
    Ok(())
}

/// Warns when the disk is full, and reports when it has room again. Until then the engine answers functions with an
/// internal error, which is not shown at the terminal.
async fn watch_space(folder: Option<PathBuf>) {
    let Some(folder) = folder else { return };
    let (probe, mut failing) = (folder.join("probe"), false);
    let mut interval = time::interval(SPACE_INTERVAL);
    loop {
        interval.tick().await;
        let written = fs::write(&probe, [0; PROBE]);
        fs::remove_file(&probe).ok();
        match &written {
            Err(error) if !failing => Console::default().warn(format!(
                "dynamodb: the store cannot write to {}: {error}. Free space on its disk: what is stored stays stored, and \
                 it goes on by itself",
                folder.display()
            )),
            Ok(()) if failing => Console::default().warn("dynamodb: the store can write again"),
            _ => {}
        }
        failing = written.is_err();
    }
}

/// Brings the write-ahead log to the disk after writes, so that a power failure loses no more than the last moment. SQLite
/// itself does so before it writes from the log into the tables, which are whole whatever happens.
async fn sync_log(folder: Option<PathBuf>) {
    let Some(folder) = folder else { return };
    let log = folder.join("tables.sqlite-wal");
    let mut synced = None;
    loop {
        time::sleep(SYNC_INTERVAL).await;
        // It appears with the first write. A disk that fails is reported by `watch_space`.
        let Ok(written) = fs::metadata(&log).and_then(|log| log.modified()) else { continue };
        if synced == Some(written) {
            continue;
        }
        let log = log.clone();
        let sync = tokio::task::spawn_blocking(move || fs::File::open(log)?.sync_data());
        if let Ok(Ok(())) = sync.await {
            synced = Some(written);
        }
    }
}

async fn expire(database: dynoxide::Database) {
    let mut interval = time::interval(EXPIRY_INTERVAL);
    loop {
        interval.tick().await;
        if let Err(error) = database.sweep_ttl() {
            Console::default().warn(format!("dynamodb: cannot remove expired items: {error}"));
        }
    }
}

fn credentials() -> Credentials {
    let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
    match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(id), Some(secret)) => {
            Credentials::new(id, secret, variable("AWS_SESSION_TOKEN"), None, "environment of the local cloud")
        }
        _ => Credentials::new("local", "local", None, None, "local cloud"),
    }
}

/// `dynamodb.eu-central-1.amazonaws.com` -> `eu-central-1`
fn region_of(host: &str) -> Option<&str> {
    let rest = host.strip_prefix("dynamodb.")?;
    rest.strip_suffix(".amazonaws.com").or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
}

/// AWS serves the streams at another host, the local engines at the same address.
fn streams_endpoint(endpoint: &str, host: &str) -> String {
    match region_of(host) {
        Some(_) => endpoint.replacen("://dynamodb.", "://streams.dynamodb.", 1),
        None => endpoint.to_owned(),
    }
}

fn key_schema(key: &Key) -> Vec<KeySchemaElement> {
    let element =
        |name: &String, kind| required(KeySchemaElement::builder().attribute_name(name).key_type(kind).build());
    let mut schema = vec![element(&key.hash, KeyType::Hash)];
    schema.extend(key.range.as_ref().map(|name| element(name, KeyType::Range)));
    schema
}

/// The SDK's builders fail if a required member is missing. Every caller here sets all of them in the same
/// expression.
fn required<T>(built: Result<T, aws_sdk_dynamodb::error::BuildError>) -> T {
    built.expect("all required members are set")
}

fn check(table: &Table, found: &TableDescription) -> Result<(), DynamoDbError> {
    let differs = |what, there: String, expected: String| {
        if there == expected {
            Ok(())
        } else {
            Err(DynamoDbError::Differs { table: table.name.clone(), what, found: there, expected })
        }
    };
    let types = |names: Vec<&str>, of: &dyn Fn(&str) -> Option<String>| {
        names.into_iter().map(|name| format!("{name} {}", of(name).unwrap_or_default())).collect::<Vec<_>>().join(", ")
    };
    let there = |schema: &[KeySchemaElement]| {
        types(schema.iter().map(|element| element.attribute_name()).collect(), &|name| {
            let definition = found.attribute_definitions().iter().find(|d| d.attribute_name() == name)?;
            Some(definition.attribute_type().as_str().to_owned())
        })
    };
    let key_of = |key: &Key| {
        types(std::iter::once(key.hash.as_str()).chain(key.range.as_deref()).collect(), &|name| {
            table.attributes.get(name).cloned()
        })
    };
    differs("key", there(found.key_schema()), key_of(&table.key))?;
    let mut found_indexes: Vec<_> = found
        .global_secondary_indexes()
        .iter()
        .map(|index| {
            let projection = index.projection().and_then(|p| p.projection_type()).map_or("ALL", ProjectionType::as_str);
            format!("{} ({}; {projection})", index.index_name().unwrap_or_default(), there(index.key_schema()))
        })
        .collect();
    let mut template_indexes: Vec<_> = table
        .indexes
        .iter()
        .map(|index: &Index| format!("{} ({}; {})", index.name, key_of(&index.key), index.projection))
        .collect();
    found_indexes.sort();
    template_indexes.sort();
    differs("set of indexes", or_none(found_indexes.join(", ")), or_none(template_indexes.join(", ")))?;
    let stream = found
        .stream_specification()
        .filter(|stream| stream.stream_enabled())
        .and_then(|stream| stream.stream_view_type())
        .map(|view| view.as_str().to_owned());
    differs("stream", or_none(stream.unwrap_or_default()), or_none(table.stream.clone().unwrap_or_default()))
}

fn or_none(text: String) -> String {
    if text.is_empty() { "none".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_dynamodb::types::AttributeValue;
    use futures::future::try_join_all;
    use std::collections::BTreeMap;

    #[test]
    fn on_a_full_disk_the_advice_is_to_free_space_and_never_to_remove_data() {
        let error =
            |cause: &str| DynamoDbError::Open { place: "t.sqlite".to_owned(), cause: cause.to_owned() }.to_string();
        assert!(error("database or disk is full").contains("Free space on its disk and start again"));
        for cause in ["database or disk is full", "file is not a database"] {
            assert!(!error(cause).contains("remove") && !error(cause).contains("delete"), "{}", error(cause));
        }
    }

    fn records() -> Table {
        let key = |hash: &str, range: Option<&str>| Key { hash: hash.to_owned(), range: range.map(str::to_owned) };
        Table {
            name: "RecordsTable".to_owned(),
            attributes: BTreeMap::from(["pk", "sk", "site"].map(|name| (name.to_owned(), "S".to_owned()))),
            key: key("pk", Some("sk")),
            indexes: vec![Index {
                name: "site".to_owned(),
                key: key("site", Some("sk")),
                projection: "ALL".to_owned(),
                included: Vec::new(),
            }],
            stream: Some("NEW_AND_OLD_IMAGES".to_owned()),
            time_to_live: None,
        }
    }

    fn folder(name: &str) -> PathBuf {
        env::temp_dir().join(format!("local-{name}-{}", uuid::Uuid::new_v4()))
    }

    async fn put(client: &aws_sdk_dynamodb::Client, number: usize) -> Result<(), String> {
        client
            .put_item()
            .table_name("RecordsTable")
            .item("pk", AttributeValue::S(format!("PATIENT#{}", number % 7)))
            .item("sk", AttributeValue::S(format!("SUBMISSION#{number}")))
            .condition_expression("attribute_not_exists(pk)")
            .send()
            .await
            .map(drop)
            .map_err(|error| cause(&error))
    }

    async fn count(client: &aws_sdk_dynamodb::Client) -> i32 {
        client.scan().table_name("RecordsTable").select("COUNT".into()).send().await.expect("scan").count()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn two_hundred_writes_at_once_are_all_kept_and_survive_a_restart() {
        let folder = folder("kept");
        let database = DynamoDb::embedded(Some(&folder)).await.expect("starts");
        assert_eq!(database.make_tables(&[records()]).await.expect("made"), ["RecordsTable"]);
        try_join_all((0..200).map(|number| put(database.client(), number))).await.expect("no write fails");
        let stream = database.stream_arn("RecordsTable").await.expect("has a stream");
        database.stop().await;

        let database = DynamoDb::embedded(Some(&folder)).await.expect("starts again");
        assert!(database.make_tables(&[records()]).await.expect("it exists already").is_empty());
        assert_eq!(count(database.client()).await, 200);
        assert_eq!(database.stream_arn("RecordsTable").await.expect("the same stream"), stream);
        database.stop().await;
        fs::remove_dir_all(folder).expect("removes");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn writes_stay_quick_while_stream_records_pile_up() {
        let plan = |file: &str| {
            let storage = dynoxide::storage::Storage::new(file).expect("opens");
            let explain = |sql: &str| {
                let mut statement = storage.conn().prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("prepares");
                let rows = statement.query_map([], |row| row.get::<_, String>(3)).expect("plans");
                rows.map(|row| row.expect("reads")).collect::<Vec<_>>().join("; ")
            };
            [
                explain(
                    "SELECT COALESCE(MAX(CAST(sequence_number AS INTEGER)), 0) + 1 FROM _stream_records \
                     WHERE table_name = 'T'",
                ),
                explain(
                    "SELECT event_name FROM _stream_records WHERE table_name = 'T' AND shard_id = 'S' \
                     AND CAST(sequence_number AS INTEGER) > 7 ORDER BY CAST(sequence_number AS INTEGER) ASC LIMIT 9",
                ),
            ]
        };
        let folder = folder("index");
        let database = DynamoDb::embedded(Some(&folder)).await.expect("starts");
        database.stop().await;
        for plan in plan(&folder.join("tables.sqlite").display().to_string()) {
            assert!(plan.contains("SEARCH") && plan.contains("local_stream_order"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
        fs::remove_dir_all(folder).expect("removes");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_table_with_another_key_is_a_clear_error() {
        let database = DynamoDb::embedded(None).await.expect("starts");
        database.make_tables(&[records()]).await.expect("made");
        let mut other = records();
        other.key.range = None;
        let error = database.make_tables(&[other]).await.expect_err("differs").to_string();
        assert!(error.contains("RecordsTable exists with another key"), "{error}");
        assert!(error.contains("table: pk S, sk S; template: pk S"), "{error}");
        let mut other = records();
        other.indexes.clear();
        let error = database.make_tables(&[other]).await.expect_err("differs").to_string();
        assert!(error.contains("set of indexes"), "{error}");
        database.stop().await;
    }

    #[tokio::test]
    async fn an_invalid_address_is_refused() {
        for address in ["localhost:8000", "ftp://127.0.0.1", "8000"] {
            let error = DynamoDb::at(address).expect_err("refused").to_string();
            assert!(error.contains("not an http or https address"), "{error}");
        }
    }

    #[test]
    fn aws_streams_have_their_own_address() {
        assert_eq!(
            streams_endpoint("https://dynamodb.eu-central-1.amazonaws.com", "dynamodb.eu-central-1.amazonaws.com"),
            "https://streams.dynamodb.eu-central-1.amazonaws.com"
        );
        assert_eq!(streams_endpoint("http://127.0.0.1:8000", "127.0.0.1"), "http://127.0.0.1:8000");
    }
}
