//! Faults between the functions and the services that they call: a proxy that refuses, delays and cuts off a share of
//! the requests, before they reach the service or after it has applied them.
//!
//! Only the functions' requests go through it. The local cloud's own, those of the stream's reader and those of
//! commands do not. The seed fixes the sequence of faults; which request meets which of them depends on the order in
//! which requests arrive.

mod dice;
mod proxy;
mod refusal;

use std::collections::BTreeMap;
use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinSet;

pub(crate) use dice::Dice;

/// A hundred percent, in the unit of [`Share`].
const WHOLE: u32 = 1_000_000;

/// The delays around the functions' time limits: attempts of 0.4 s and 1 s, calls of 2 to 5 s.
const DELAYS: [Duration; 8] = [
    Duration::from_millis(150),
    Duration::from_millis(390),
    Duration::from_millis(410),
    Duration::from_millis(980),
    Duration::from_millis(1_020),
    Duration::from_millis(1_900),
    Duration::from_millis(2_950),
    Duration::from_millis(5_050),
];

/// A share of the requests, exact to a ten-thousandth of a percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share(u32);

/// The settings of the faults.
#[derive(Debug, Clone, Copy, Default)]
pub struct FaultSettings {
    /// The share of the requests that meet a fault.
    pub share: Share,
    /// Determines the sequence of faults.
    pub seed: u64,
    /// By how much each request to SNS is delayed before it is sent on.
    pub sns_delay: Duration,
}

/// A service that the functions call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// The database.
    DynamoDb,
    /// The notifications.
    Sns,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Fault {
    /// It is answered 500; the service has not seen it.
    Error500,
    /// It is answered 500 although the service applied it, which AWS does not rule out.
    Error500Applied,
    /// It is answered 503; the service has not seen it.
    Error503,
    /// It is answered with a throttle; the service has not seen it.
    Throttled,
    /// A write is answered with a conflict of transactions; the service has not seen it.
    Conflict,
    /// It reaches the service late, even if the function has given it up by then.
    DelayedBefore,
    /// The service answers at once, and the answer arrives late.
    DelayedAfter,
    /// The connection is cut; the service has not seen the request.
    CutBefore,
    /// The connection is cut after the service has applied the request.
    CutAfter,
}

/// The faults of a running local cloud. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Faults {
    shared: Arc<Shared>,
    proxies: Arc<AsyncMutex<JoinSet<()>>>,
}

#[derive(Debug)]
struct Shared {
    settings: Mutex<FaultSettings>,
    /// Requests that have drawn, over all services.
    drawn: AtomicU64,
    counts: Mutex<BTreeMap<Service, Counts>>,
}

/// The requests to one service.
#[derive(Debug, Clone, Default, Serialize)]
struct Counts {
    requests: u64,
    faults: BTreeMap<Fault, u64>,
}

/// `GET /local/faults`.
#[derive(Debug, Serialize)]
struct Listing {
    share: Share,
    seed: u64,
    #[serde(flatten)]
    services: BTreeMap<Service, Counts>,
}

impl Faults {
    /// Faults with these settings, in front of no service yet.
    pub fn new(settings: FaultSettings) -> Self {
        let shared = Shared { settings: Mutex::new(settings), drawn: AtomicU64::new(0), counts: Mutex::default() };
        Self { shared: Arc::new(shared), proxies: Arc::default() }
    }

    /// Starts a proxy of `service` at `target`, and returns the address that the functions use in its place.
    ///
    /// # Errors
    /// If no port can be listened on.
    pub async fn put_before(&self, service: Service, target: &str) -> io::Result<String> {
        proxy::start(&mut *self.proxies.lock().await, Arc::clone(&self.shared), service, target).await
    }

    /// The settings in force.
    pub fn settings(&self) -> FaultSettings {
        self.shared.settings()
    }

    /// Puts other settings in force, for requests that come from now on.
    pub fn set(&self, settings: FaultSettings) {
        *self.shared.settings.lock().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// `GET /local/faults`: the share, the seed, and by service how many requests came and how many met which fault.
    pub fn routes(&self) -> Router {
        let shared = Arc::clone(&self.shared);
        Router::new().route("/local/faults", get(async move || Json(shared.listing())))
    }

    /// What happened to the requests, for a person.
    pub fn summary(&self) -> String {
        let Listing { share, seed, services } = self.shared.listing();
        let mut text = format!("faults: {share} of the requests, seed {seed}");
        for (service, counts) in services {
            let name = match service {
                Service::DynamoDb => "DynamoDB",
                Service::Sns => "SNS",
            };
            text += &format!("\n  {name}: {} requests", counts.requests);
            for (fault, count) in counts.faults {
                text += &format!(", {} {count}", fault.name());
            }
        }
        text
    }

    /// Whether any service has a proxy.
    pub async fn is_in_use(&self) -> bool {
        !self.proxies.lock().await.is_empty()
    }

    /// Stops the proxies.
    pub async fn stop(self) {
        self.proxies.lock().await.shutdown().await;
    }
}

impl Shared {
    fn settings(&self) -> FaultSettings {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to the next request. `writes`: it is a write of DynamoDB, which may meet a conflict.
    fn draw(&self, service: Service, writes: bool) -> Option<(Fault, Dice)> {
        let FaultSettings { share, seed, .. } = self.settings();
        let mut dice = Dice::numbered(seed, self.drawn.fetch_add(1, Ordering::Relaxed));
        let met = dice.below(WHOLE.into()) < u64::from(share.0);
        let kinds = if writes { Fault::ALL.as_slice() } else { Fault::OF_ALL_REQUESTS.as_slice() };
        let fault = met.then(|| *dice.pick(kinds));
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = counts.entry(service).or_default();
        counts.requests += 1;
        if let Some(fault) = fault {
            *counts.faults.entry(fault).or_default() += 1;
        }
        fault.map(|fault| (fault, dice))
    }

    fn listing(&self) -> Listing {
        let FaultSettings { share, seed, .. } = self.settings();
        let services = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Listing { share, seed, services }
    }
}

impl Fault {
    const OF_ALL_REQUESTS: [Self; 8] = [
        Self::Error500,
        Self::Error500Applied,
        Self::Error503,
        Self::Throttled,
        Self::DelayedBefore,
        Self::DelayedAfter,
        Self::CutBefore,
        Self::CutAfter,
    ];
    const ALL: [Self; 9] = [
        Self::Error500,
        Self::Error500Applied,
        Self::Error503,
        Self::Throttled,
        Self::Conflict,
        Self::DelayedBefore,
        Self::DelayedAfter,
        Self::CutBefore,
        Self::CutAfter,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Error500 => "500",
            Self::Error500Applied => "500 after the write",
            Self::Error503 => "503",
            Self::Throttled => "throttled",
            Self::Conflict => "conflicts",
            Self::DelayedBefore => "delayed before the service",
            Self::DelayedAfter => "delayed after it",
            Self::CutBefore => "cut before the service",
            Self::CutAfter => "cut after it",
        }
    }
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const NOT_ONE: &str = "is not a percentage from 0% to 100%, such as 10%";
        let number = text.strip_suffix('%').ok_or(NOT_ONE)?;
        // `f64` accepts signs, exponents and names of numbers too.
        if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(NOT_ONE);
        }
        let percent: f64 = number.parse().map_err(|_| NOT_ONE)?;
        if percent > 100.0 {
            return Err(NOT_ONE);
        }
        Ok(Self((percent * f64::from(WHOLE) / 100.0).round() as u32))
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}%", f64::from(self.0) * 100.0 / f64::from(WHOLE))
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
