//! The tables, and the client that reaches them.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::Put;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use invocation::aws::{Attempts, Failure, Limits, SharedHttpClient, call, sdk_config};
use invocation::{Deadline, Environment, EnvironmentError};
use tokio::sync::OnceCell;

use crate::cursor_key::CursorKey;
use crate::store::api_calls::ApiCalls;
use crate::table::attributes::{Item, text};
use crate::table::keys::{PK, SK};
use crate::store::studies::Known;

pub(crate) mod acknowledgements;
pub(crate) mod alerts;
pub(crate) mod api_calls;
pub(crate) mod commits;
pub(crate) mod corrections;
pub(crate) mod counts;
pub(crate) mod definitions;
mod enrolment;
pub(crate) mod lists;
pub(crate) mod quarantine;
pub(crate) mod reevaluation;
pub(crate) mod studies;

/// As many keys as one BatchGetItem takes.
pub(crate) const MOST_KEYS: usize = 100;

const QUERY: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };

/// The condition of what is written once.
pub(crate) const NOT_THERE: &str = "attribute_not_exists(pk)";

/// The names of the tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Submissions, alerts, profiles.
    pub records: String,
    /// What each site sent.
    pub counts: String,
}

impl Tables {
    /// The names that the template gives.
    ///
    /// # Errors
    /// If it gives none.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self {
            records: environment.required("RECORDS_TABLE")?.to_owned(),
            counts: environment.required("COUNTS_TABLE")?.to_owned(),
        })
    }
}

/// Some of a list, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// They.
    pub entries: Vec<T>,
    /// Where the list goes on; none if this is its end.
    pub next: Option<String>,
}

/// What is stored. Made once an environment: it holds the connections, what is known of studies, and the API calls whose
/// count is not confirmed yet.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) dynamodb: Client,
    pub(crate) tables: Tables,
    pub(crate) known: Arc<Known>,
    pub(crate) api_calls: Arc<ApiCalls>,
    /// Whether a study may be used that is not stored.
    pub(crate) open_studies: bool,
    /// Once it was read.
    pub(crate) cursor_key: Arc<OnceCell<CursorKey>>,
}

impl Store {
    /// A store on `tables`, reached as `config` says, for the studies that are in it.
    pub fn new(config: &SdkConfig, tables: Tables) -> Self {
        let config = Builder::from(config).interceptor(Attempts::default()).build();
        Self {
            dynamodb: Client::from_conf(config),
            tables,
            known: Arc::default(),
            api_calls: Arc::default(),
            open_studies: false,
            cursor_key: Arc::default(),
        }
    }

    /// This store, for studies that are not in it, too.
    #[must_use]
    pub fn open_to_all_studies(self) -> Self {
        Self { open_studies: true, ..self }
    }

    /// A store on the tables that the environment variables name, reached by `https`; for studies that are not stored
    /// only where `OPEN_STUDIES` is `true`.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_environment(environment: &Environment, https: SharedHttpClient) -> Result<Self, EnvironmentError> {
        let config = sdk_config(environment, "AWS_ENDPOINT_URL_DYNAMODB", https)?;
        let store = Self::new(&config, Tables::from_environment(environment)?);
        Ok(match environment.optional("OPEN_STUDIES") {
            Some("true") => store.open_to_all_studies(),
            _ => store,
        })
    }

    /// Opens the connection, TLS handshake included, by a cheap read of a table that this function may read. For
    /// start-up, where it runs on a full core; without it the first patient waits for it. If it fails, the first call opens
    /// the connection.
    pub async fn warm_up(&self, table: &str) {
        let deadline = Deadline::after(Duration::from_secs(3));
        let limits = Limits { most: Duration::from_secs(2), least: Duration::from_millis(100) };
        let request = self.dynamodb.get_item().table_name(table).key(PK, text("WARM-UP"));
        let request = if table == self.tables.records { request.key(SK, text("WARM-UP")) } else { request };
        let sent =
            call(deadline, limits, |timeouts| request.customize().config_override(Self::timeouts(timeouts)).send());
        if let Err(failure) = sent.await.map_err(|error| error.of("GetItem at start-up")) {
            tracing::warn!(event = "warm_up_failed", %failure);
        }
    }

    /// The names of its tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The first `most` items that `query` finds, in its order; DynamoDB gives them in pages of a megabyte at most.
    pub(crate) async fn query(
        &self,
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
            let sent =
                call(deadline, QUERY, |timeouts| request.customize().config_override(Self::timeouts(timeouts)).send());
            let answer = sent.await.map_err(|error| error.of(operation))?;
            items.extend(answer.items.unwrap_or_default());
            from = answer.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok(items)
    }

    /// The write of a new item to the Records table, as a part of a transaction.
    pub(crate) fn put_new(&self, item: Item) -> Put {
        Put::builder()
            .table_name(&self.tables.records)
            .set_item(Some(item))
            .condition_expression(NOT_THERE)
            .build()
            .expect("table and item are set")
    }

    pub(crate) fn timeouts(timeouts: TimeoutConfig) -> Builder {
        Builder::new().timeout_config(timeouts)
    }
}
