//! The switches: faults between the functions and what they call, and a slow SNS.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::{Shared, problem};
use crate::faults::{FaultSettings, Faults, Service, Share};
use crate::feed::{Event, Feed, now};
use crate::lambda::Functions;

/// The longest delay of SNS, in milliseconds: longer than any function waits.
const LONGEST_DELAY: u64 = 60_000;

/// The addresses at which the functions call services. The template names none, because deployed functions use AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The database.
    pub dynamodb: String,
    /// The notifications.
    pub sns: String,
}

/// The switches. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Switches(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    faults: Faults,
    functions: Functions,
    /// Where the services are, without proxies.
    services: Endpoints,
    /// The functions' variables other than the endpoints.
    account: BTreeMap<String, String>,
    feed: Feed,
    /// Whether the functions call the services through the proxies.
    in_between: Mutex<bool>,
}

/// `GET /console/switches`, and the body of `POST`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Setting {
    /// The share of the functions' requests that meet a fault, such as `10%`.
    faults: String,
    /// By how many milliseconds each request to SNS is delayed.
    sns_delay_ms: u64,
}

/// Why the switches stay as they are.
#[derive(Debug)]
enum Refused {
    Share(&'static str),
    Delay,
    OverTls,
    Proxy(io::Error),
}

impl Switches {
    /// The switches of `functions`. `in_between`: they call the services through proxies from the start.
    pub fn new(
        faults: Faults,
        functions: Functions,
        services: Endpoints,
        account: BTreeMap<String, String>,
        feed: Feed,
        in_between: bool,
    ) -> Self {
        let in_between = Mutex::new(in_between);
        Self(Arc::new(Inner { faults, functions, services, account, feed, in_between }))
    }

    fn setting(&self) -> Setting {
        let FaultSettings { share, sns_delay, .. } = self.0.faults.settings();
        Setting { faults: share.to_string(), sns_delay_ms: u64::try_from(sns_delay.as_millis()).unwrap_or(u64::MAX) }
    }

    async fn set(&self, wanted: &Setting) -> Result<(), Refused> {
        let Inner { faults, functions, services, account, feed, in_between } = self.0.as_ref();
        let share: Share = wanted.faults.parse().map_err(Refused::Share)?;
        if wanted.sns_delay_ms > LONGEST_DELAY {
            return Err(Refused::Delay);
        }
        let sns_delay = Duration::from_millis(wanted.sns_delay_ms);
        // One change at a time.
        let mut in_between = in_between.lock().await;
        let is_off = share == Share::default() && sns_delay.is_zero();
        if !*in_between && !is_off {
            if !services.dynamodb.starts_with("http://") {
                return Err(Refused::OverTls);
            }
            // The functions call the services directly until a switch is first set, so that a proxy costs nothing.
            let endpoints = Endpoints {
                dynamodb: faults.put_before(Service::DynamoDb, &services.dynamodb).await.map_err(Refused::Proxy)?,
                sns: faults.put_before(Service::Sns, &services.sns).await.map_err(Refused::Proxy)?,
            };
            functions.replace_variables(endpoints.variables(account));
            *in_between = true;
        }
        faults.set(FaultSettings { share, sns_delay, ..faults.settings() });
        let Setting { faults, sns_delay_ms } = self.setting();
        feed.add(&Event::Switched { at: now(), faults, sns_delay_ms });
        Ok(())
    }
}

impl Endpoints {
    /// The functions' variables: those of the account, and the endpoints.
    pub fn variables(&self, account: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut variables = account.clone();
        variables.insert("AWS_ENDPOINT_URL_DYNAMODB".to_owned(), self.dynamodb.clone());
        variables.insert("AWS_ENDPOINT_URL_SNS".to_owned(), self.sns.clone());
        variables
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(reason) => write!(f, "The share of faults {reason}."),
            Self::Delay => write!(f, "SNS can be delayed by {LONGEST_DELAY} ms at most."),
            Self::OverTls => f.write_str("The database is called over TLS, whose requests cannot be passed on."),
            Self::Proxy(error) => write!(f, "No port can be listened on: {error}."),
        }
    }
}

pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Json<Setting> {
    Json(shared.parts.switches.setting())
}

pub(super) async fn set(State(shared): State<Arc<Shared>>, Json(wanted): Json<Setting>) -> Response {
    let switches = &shared.parts.switches;
    match switches.set(&wanted).await {
        Ok(()) => Json(switches.setting()).into_response(),
        Err(refused) => problem(StatusCode::CONFLICT, &refused.to_string()),
    }
}
