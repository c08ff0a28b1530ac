//! Where definitions are stored, and who stores them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use invocation::{Deadline, Environment, Principal, aws};
use records::{Actor, Store, Tables};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::identity;
use crate::outcome::ConnectError;

/// The path at which a local cloud serves its [`LocalStore`].
pub const LOCAL_STORE_PATH: &str = "/local/store";

/// Bounds one lookup of the identity, and one write with the reads before it. A person waits for it.
pub const PUT_TIMEOUT: Duration = Duration::from_secs(15);

/// Bounds the request for a [`LocalStore`], which a local cloud answers at once.
const LOCAL_STORE_TIMEOUT: Duration = Duration::from_secs(3);

const DYNAMODB_ENDPOINT: &str = "AWS_ENDPOINT_URL_DYNAMODB";

/// Where to store.
#[derive(Debug, Clone)]
pub enum Target {
    /// The local cloud on this port.
    LocalCloud(u16),
    /// The Records table of this name in AWS, in the account and region of the environment's variables; and the name of
    /// its SiteCounts table where counts are read.
    Table(String, Option<String>),
}

/// The tables of a local cloud, and its services that commands need.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocalStore {
    /// The address of its DynamoDB.
    pub dynamodb: String,
    /// The region that its DynamoDB signs for.
    pub region: String,
    /// The name of the Records table.
    pub records_table: String,
    /// The name of the SiteCounts table.
    pub counts_table: String,
    /// The address of its STS.
    pub sts: String,
    /// By how many milliseconds its clock is ahead of the machine's.
    #[serde(default)]
    pub clock_offset_ms: i64,
}

/// A store, and the identity that its audit names for every write.
#[derive(Debug)]
pub struct Connection {
    /// The store.
    pub store: Store,
    /// The data manager who writes.
    pub actor: Actor,
    /// How far the store's clock is ahead of the machine's; not at all in AWS.
    ahead: time::Duration,
}

/// A store that is read.
#[derive(Debug)]
pub struct Reading {
    /// The store.
    pub store: Store,
    /// How far the store's clock is ahead of the machine's; not at all in AWS.
    ahead: time::Duration,
}

impl Target {
    /// Connects to the store, in the name of the identity whose credentials the target uses.
    ///
    /// # Errors
    /// If no local cloud answers, the environment names no account, or STS does not confirm the identity.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let (environment, Reading { store, ahead }) = match self {
            Self::LocalCloud(port) => {
                let local = fetch_local_store(*port).await?;
                (local.environment(), local.reading()?)
            }
            Self::Table(..) => (Environment::of_process(), self.reading().await?),
        };
        let actor = identity::caller(&environment, Deadline::after(PUT_TIMEOUT)).await?;
        Ok(Connection { store, actor, ahead })
    }

    /// The store, to be read: nobody's identity is looked up.
    ///
    /// # Errors
    /// If no local cloud answers, or the environment names no account.
    pub async fn reading(&self) -> Result<Reading, ConnectError> {
        match self {
            Self::LocalCloud(port) => fetch_local_store(*port).await?.reading(),
            Self::Table(records, counts) => {
                let tables = Tables { records: records.clone(), counts: counts.clone().unwrap_or_default() };
                Ok(Reading { store: open(&Environment::of_process(), tables)?, ahead: time::Duration::ZERO })
            }
        }
    }
}

impl Connection {
    /// The time of day at the store.
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.ahead
    }
}

impl Reading {
    /// The time of day at the store.
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.ahead
    }
}

impl LocalStore {
    /// Connects to the tables in the name of `principal`, without a lookup.
    ///
    /// # Errors
    /// If the account is incomplete.
    pub fn connect_as(&self, principal: Principal) -> Result<Connection, ConnectError> {
        let Reading { store, ahead } = self.reading()?;
        Ok(Connection { store, actor: identity::data_manager(principal), ahead })
    }

    fn reading(&self) -> Result<Reading, ConnectError> {
        let tables = Tables { records: self.records_table.clone(), counts: self.counts_table.clone() };
        let ahead = time::Duration::milliseconds(self.clock_offset_ms);
        Ok(Reading { store: open(&self.environment(), tables)?, ahead })
    }

    /// The account and the endpoints of the local cloud, as the variables that the SDK's configuration is read from.
    fn environment(&self) -> Environment {
        Environment::from_iter([
            ("AWS_REGION", self.region.as_str()),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            (DYNAMODB_ENDPOINT, &self.dynamodb),
            (identity::STS_ENDPOINT, &self.sts),
        ])
    }
}

fn open(environment: &Environment, tables: Tables) -> Result<Store, ConnectError> {
    let config =
        aws::sdk_config(environment, DYNAMODB_ENDPOINT, aws::https_of_machine()).map_err(ConnectError::Account)?;
    Ok(Store::new(&config, tables))
}

/// Asks the local cloud on `port` for its tables.
async fn fetch_local_store(port: u16) -> Result<LocalStore, ConnectError> {
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let address = format!("http://127.0.0.1:{port}{LOCAL_STORE_PATH}");
    let request = async {
        let response = client.get(address.parse()?).await?;
        let body = response.into_body().collect().await?.to_bytes();
        serde_json::from_slice(&body).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
    };
    let reason = match timeout(LOCAL_STORE_TIMEOUT, request).await {
        Ok(Ok(store)) => return Ok(store),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer in time".to_owned(),
    };
    Err(ConnectError::NoLocalCloud { port, reason })
}
