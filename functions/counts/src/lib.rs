//! `POST /v1/sites/{site}/calls` records one API call of a site; `GET /v1/sites/counts` and
//! `GET /v1/sites/{site}/counts` tell what the caller's sites sent.

use std::collections::BTreeMap;
use std::convert::Infallible;

use clinical::ids::SiteId;
use invocation::aws::{self, Failure, FailureKind};
use invocation::http::{self, Invocation};
use invocation::{Caller, Environment, EnvironmentError, Problem, ProblemKind, Role, Scope, beside};
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use records::{SiteCounts, Store};
use serde::Serialize;

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Counts {
    store: Store,
}

impl Counts {
    /// The function as its environment variables set it up.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self::new(Store::from_environment(environment, aws::https())?))
    }

    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Opens the connection to the store ahead of the first request. If it fails, the first request opens it.
    pub async fn warm_up(&self) {
        self.store.warm_up(&self.store.tables().counts).await;
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Never: an error is an answer.
    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Infallible> {
        http::answer(request, async |invocation: Invocation, request: Request| match http::route(&request).as_str() {
            "POST /v1/sites/{site}/calls" => self.record_call(invocation, request).await,
            "GET /v1/sites/counts" => self.all_counts(invocation, request).await,
            "GET /v1/sites/{site}/counts" => self.counts_of_one(invocation, request).await,
            _ => Err(http::no_such_route()),
        })
        .await
    }

    async fn record_call(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::COUNTS_WRITE, &[Role::Service])?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        // The call that it records is its own: one request, one more, unless the caller says that it is the same one.
        let key = idempotency_key(&request)?;
        let id = match &key {
            Some(key) => format!("{} {key}", caller.sub()),
            None => invocation.request_id.clone(),
        };
        self.store.protocol_for(&caller, invocation.deadline).await?;
        let counted = self.store.count_call(caller.study(), site, &id, invocation.deadline).await;
        counted.map_err(|failure| count_problem(&failure, key.is_some()))?;
        Ok(http::json(StatusCode::ACCEPTED, &Recorded { site: site.as_str(), recorded: 1 }))
    }

    async fn all_counts(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::COUNTS_READ, &[Role::Staff])?;
        let sites: Vec<SiteId> = caller.sites().iter().cloned().collect();
        self.tell(&invocation, &caller, &sites).await
    }

    async fn counts_of_one(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::COUNTS_READ, &[Role::Staff])?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        self.tell(&invocation, &caller, std::slice::from_ref(site)).await
    }

    /// The counts of `sites`. The request's own call, which is counted beside, may be in them already or not.
    async fn tell(
        &self,
        invocation: &Invocation,
        caller: &Caller,
        sites: &[SiteId],
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline) = (caller.study(), invocation.deadline);
        // A request about several sites is a call of each of them.
        let count = self.store.count_calls(study, sites, &invocation.request_id, deadline);
        let counts = beside(deadline, count, async {
            let read = self.store.site_counts(study, sites, deadline);
            let (admitted, counts) = tokio::join!(self.store.protocol_for(caller, deadline), read);
            admitted?;
            counts.map_err(|failure| Problem::not_read("the counts", &failure))
        })
        .await?;
        let counts = sites.iter().zip(&counts).map(|(site, counts)| SiteBody::new(site, counts)).collect();
        Ok(http::json(StatusCode::OK, &CountsBody { counts }))
    }
}

#[derive(Serialize)]
struct Recorded<'a> {
    site: &'a str,
    recorded: u32,
}

#[derive(Serialize)]
struct CountsBody<'a> {
    counts: Vec<SiteBody<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SiteBody<'a> {
    site: &'a str,
    api_calls: u64,
    submissions: u64,
    alerts: u64,
    by_instrument: BTreeMap<&'a str, u64>,
}

impl<'a> SiteBody<'a> {
    fn new(site: &'a SiteId, counts: &'a SiteCounts) -> Self {
        Self {
            site: site.as_str(),
            api_calls: counts.api_calls,
            submissions: counts.submissions,
            alerts: counts.alerts,
            by_instrument: counts.by_instrument.iter().map(|(id, count)| (id.as_str(), *count)).collect(),
        }
    }
}

/// By which the caller makes the repeats of a call known, within ten minutes.
fn idempotency_key(request: &Request) -> Result<Option<&str>, Problem> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    key.map(Some).ok_or_else(|| Problem::new(ProblemKind::Invalid, "an Idempotency-Key has 1 to 255 ASCII characters"))
}

fn count_problem(failure: &Failure, may_be_repeated: bool) -> Problem {
    tracing::error!(event = "api_call_not_counted", %failure);
    match failure.kind {
        FailureKind::NotStarted | FailureKind::Passing => {
            Problem::new(ProblemKind::NotDone, "the call was not counted; record it again")
        }
        FailureKind::Unknown if may_be_repeated => Problem::new(
            ProblemKind::OutcomeUnknown,
            "whether the call was counted is not known; record it again within ten minutes, under the same Idempotency-Key",
        ),
        FailureKind::Unknown => Problem::new(
            ProblemKind::MayRepeat,
            "whether the call was counted is not known; recording it again may count it twice",
        ),
        FailureKind::Refused => Problem::new(ProblemKind::Internal, "the store refused to count the call"),
    }
}
