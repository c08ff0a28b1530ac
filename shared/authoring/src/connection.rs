//! Where definitions are stored, and who stores them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use invocation::{Deadline, Environment, Principal, aws};
use records::{Actor, Store, Tables};
use serde::{Deserialize, Serialize};
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
}

/// A store, and the identity that its audit names for every write.
#[derive(Debug)]
pub struct Connection {
    /// The store.
    pub store: Store,
    /// The data manager who writes.
    pub actor: Actor,
}

impl Target {
    /// Connects to the store, in the name of the identity whose credentials the target uses.
    ///
    /// # Errors
    /// If no local cloud answers, the environment names no account, or STS does not confirm the identity.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        let (environment, store) = match self {
            Self::LocalCloud(port) => {
                let local = fetch_local_store(*port).await?;
                (local.environment(), local.store()?)
            }
            Self::Table(..) => (Environment::of_process(), self.store().await?),
        };
        let actor = identity::caller(&environment, Deadline::after(PUT_TIMEOUT)).await?;
        Ok(Connection { store, actor })
    }
}

impl Target {
    /// The store, to be read: nobody's identity is looked up.
    ///
    /// # Errors
    /// If no local cloud answers, or the environment names no account.
    pub async fn store(&self) -> Result<Store, ConnectError> {
        match self {
            Self::LocalCloud(port) => fetch_local_store(*port).await?.store(),
            Self::Table(records, counts) => {
                let tables = Tables { records: records.clone(), counts: counts.clone().unwrap_or_default() };
                open(&Environment::of_process(), tables)
            }
        }
    }
}

impl LocalStore {
    /// Connects to the tables in the name of `principal`, without a lookup.
    ///
    /// # Errors
    /// If the account is incomplete.
    pub fn connect_as(&self, principal: Principal) -> Result<Connection, ConnectError> {
        Ok(Connection { store: self.store()?, actor: identity::data_manager(principal) })
    }

    fn store(&self) -> Result<Store, ConnectError> {
        let tables = Tables { records: self.records_table.clone(), counts: self.counts_table.clone() };
        open(&self.environment(), tables)
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
