//! The function that counts. `POST /v1/sites/{site}/calls` records one API call of a site; `GET /v1/sites/counts` and
//! `GET /v1/sites/{site}/counts` return the counts of the caller's sites.

use std::collections::BTreeMap;

use api::{Caller, Handler, Invocation, Problem, ProblemKind, WriteFailure, counted, http, protocol_for};
use clinical::ids::SiteId;
use lambda_http::http::{Method, StatusCode};
use lambda_http::{Body, Request, Response};
use records::{SiteCounts, Store};
use serde::Serialize;

/// The answers to a call that was not recorded, where a repeat may count it twice.
const NOT_RECORDED: WriteFailure = WriteFailure {
    event: "api_call_not_counted",
    not_done: "the call was not counted; record it again",
    unknown: (
        ProblemKind::MayRepeat,
        "whether the call was counted is not known; recording it again may count it twice",
    ),
    invalid: None,
    refused: "the store refused to count the call",
};

/// The answers to a call that was not recorded under an Idempotency-Key, which lets it be repeated.
const NOT_RECORDED_UNDER_A_KEY: WriteFailure = WriteFailure {
    unknown: (
        ProblemKind::OutcomeUnknown,
        "whether the call was counted is not known; record it again within ten minutes, under the same Idempotency-Key",
    ),
    ..NOT_RECORDED
};

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Counts {
    store: Store,
}

impl Counts {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Counts {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            "POST /v1/sites/{site}/calls" => self.record_call(invocation, request).await,
            "GET /v1/sites/counts" => self.all_counts(invocation, request).await,
            "GET /v1/sites/{site}/counts" => self.counts_of_one(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }

    fn overrun(&self, method: &Method) -> ProblemKind {
        // The call of a request without an Idempotency-Key may be counted twice.
        if method.is_safe() { ProblemKind::NotDone } else { ProblemKind::MayRepeat }
    }
}

impl Counts {
    async fn record_call(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        // Each request records another call, unless its Idempotency-Key names one that was recorded.
        let key = idempotency_key(&request)?;
        let id = match &key {
            Some(key) => format!("{} {key}", caller.sub()),
            None => invocation.request_id.clone(),
        };
        protocol_for(&self.store, &caller, invocation.deadline).await?;
        let recorded = self.store.count_call(caller.study(), site, &id, invocation.deadline).await;
        recorded.map_err(|failure| {
            let answers = if key.is_some() { &NOT_RECORDED_UNDER_A_KEY } else { &NOT_RECORDED };
            Problem::not_written(&failure, answers)
        })?;
        Ok(http::json(StatusCode::ACCEPTED, &Recorded { site: site.as_str(), recorded: 1 }))
    }

    async fn all_counts(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let sites: Vec<SiteId> = caller.sites().iter().cloned().collect();
        self.counts_of(&invocation, &caller, &sites).await
    }

    async fn counts_of_one(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        self.counts_of(&invocation, &caller, std::slice::from_ref(site)).await
    }

    /// The counts of `sites`. The request's own call, which is counted alongside, may be in them or not.
    async fn counts_of(
        &self,
        invocation: &Invocation,
        caller: &Caller,
        sites: &[SiteId],
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline) = (caller.study(), invocation.deadline);
        let counts = counted(&self.store, invocation, study, sites, async {
            let read = self.store.site_counts(study, sites, deadline);
            let (admitted, counts) = tokio::join!(protocol_for(&self.store, caller, deadline), read);
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

/// The key by which the repeats of a call are recognised within ten minutes.
fn idempotency_key(request: &Request) -> Result<Option<&str>, Problem> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=255).contains(&key.len()));
    key.map(Some)
        .ok_or_else(|| Problem::new(ProblemKind::Invalid, "an Idempotency-Key must have 1 to 255 ASCII characters"))
}
