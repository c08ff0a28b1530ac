//! The store: the tables, the client that reaches them, and what an environment remembers. Each resource has its
//! methods in a file of its own.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::Builder;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_types::SdkConfig;
use invocation::aws::{AdaptiveTimeout, Limits, SharedHttpClient, sdk_config};
use invocation::{Deadline, Environment, EnvironmentError};
use tokio::sync::OnceCell;

use crate::items::cursor_key::CursorKey;
use crate::table::attributes::text;
use crate::table::calls::send;
use crate::table::keys::{PK, SK, WARM_UP};

pub(crate) mod acknowledgements;
pub(crate) mod alerts;
mod api_calls;
mod audit;
mod call_counter;
pub(crate) mod commits;
pub(crate) mod corrections;
mod counts;
mod cursor_key;
pub(crate) mod definitions;
pub(crate) mod drafts;
mod escalations;
pub(crate) mod lists;
pub(crate) mod occurrences;
mod patients;
mod periods;
pub(crate) mod plans;
mod quarantine;
pub(crate) mod reevaluation;
pub(crate) mod registry;
mod rollouts;
pub(crate) mod snoozes;
pub(crate) mod studies;
mod study_cache;
pub(crate) mod submissions;
mod verification_state;
pub(crate) mod walk;
mod worklist;

use call_counter::CallCounter;
use study_cache::StudyCache;

/// The names of the tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// The Records table: submissions, alerts, profiles, registrations, studies, audit entries.
    pub records: String,
    /// The SiteCounts table.
    pub counts: String,
}

impl Tables {
    /// The names in the environment variables `RECORDS_TABLE` and `COUNTS_TABLE`.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self {
            records: environment.required("RECORDS_TABLE")?.to_owned(),
            counts: environment.required("COUNTS_TABLE")?.to_owned(),
        })
    }
}

/// The stored records. Made once an environment: it holds the connections, the cached studies, and the API calls whose
/// count is not confirmed yet. A clone shares them.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) dynamodb: Client,
    pub(crate) tables: Tables,
    studies: Arc<StudyCache>,
    calls: Arc<CallCounter>,
    /// Whether studies that are not stored may be used.
    pub(crate) open_studies: bool,
    /// The key that cursors are signed with, once it was read.
    pub(crate) cursor_key: Arc<OnceCell<CursorKey>>,
}

impl Store {
    /// A store on `tables`, reached with `config`, for the studies that are stored.
    pub fn new(config: &SdkConfig, tables: Tables) -> Self {
        let config = Builder::from(config).interceptor(AdaptiveTimeout::default()).build();
        Self {
            dynamodb: Client::from_conf(config),
            tables,
            studies: Arc::default(),
            calls: Arc::default(),
            open_studies: false,
            cursor_key: Arc::default(),
        }
    }

    /// This store, also for studies that are not stored.
    #[must_use]
    pub fn open_to_all_studies(self) -> Self {
        Self { open_studies: true, ..self }
    }

    /// A store on the tables of the environment variables ([`Tables::from_environment`]), reached through `https`; also
    /// for studies that are not stored where `OPEN_STUDIES` is `true`.
    ///
    /// # Errors
    /// If a variable is missing.
    pub fn from_environment(environment: &Environment, https: SharedHttpClient) -> Result<Self, EnvironmentError> {
        let config = sdk_config(environment, "AWS_ENDPOINT_URL_DYNAMODB", https)?;
        let store = Self::new(&config, Tables::from_environment(environment)?);
        Ok(match environment.optional("OPEN_STUDIES") {
            Some("true") => store.open_to_all_studies(),
            _ => store,
        })
    }

    /// Opens the connection, TLS handshake included, with a cheap read of `table`, which this function must have the
    /// permission to read. For start-up, which runs on a full core; without it the first request waits for the
    /// handshake. If it fails, the first call opens the connection.
    pub async fn warm_up(&self, table: &str) {
        let deadline = Deadline::after(Duration::from_secs(3));
        let limits = Limits { most: Duration::from_secs(2), least: Duration::from_millis(100) };
        let request = self.dynamodb.get_item().table_name(table).key(PK, text(WARM_UP));
        let request = if table == self.tables.records { request.key(SK, text(WARM_UP)) } else { request };
        if let Err(failure) =
            send(request, deadline, limits).await.map_err(|error| error.into_failure("GetItem at start-up"))
        {
            tracing::warn!(event = "warm_up_failed", %failure);
        }
    }

    /// A query of all records under `pk`, read consistently.
    fn partition(&self, pk: String) -> QueryFluentBuilder {
        self.dynamodb
            .query()
            .table_name(&self.tables.records)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
    }

    /// The names of the tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }
}
