//! `GET /v1/sites/{site}/audit` tells who read and who changed what at a site, and what was done to its study as a whole:
//! newest first, in pages. Who reads it is on record as well.

use std::convert::Infallible;

use clinical::ids::{PatientId, SiteId};
use invocation::aws;
use invocation::cursor::Wish;
use invocation::http::{self, Invocation};
use invocation::{Caller, Environment, EnvironmentError, Problem, Role, Scope, beside};
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use records::{Audit, AuditAction, Store};
use serde::Serialize;

const ROUTE: &str = "GET /v1/sites/{site}/audit";

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct AuditTrail {
    store: Store,
}

impl AuditTrail {
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
            ROUTE => self.list(invocation, request).await,
            _ => Err(http::no_such_route()),
        })
        .await
    }

    async fn list(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require_one_of(&[Scope::AUDIT_READ, Scope::REPORTS_READ], &[Role::Staff, Role::Monitor])?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        let (study, deadline) = (caller.study(), invocation.deadline);
        let count = self.store.count_calls(study, [site], &invocation.request_id, deadline);
        beside(deadline, count, self.page(&invocation, &request, &caller, site)).await
    }

    /// One page. The entry of this look itself is written beside, and may be in it already or not.
    async fn page(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
        site: &SiteId,
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline, now) = (caller.study(), invocation.deadline, invocation.clock.now());
        let not_read = |failure| Problem::not_read("the audit", &failure);
        let wish = Wish::of(request)?;
        self.store.protocol_for(caller, deadline).await?;
        let list = [ROUTE, study.as_str(), site.as_str()];
        let below = self.store.page_begins(&wish, &list, now, deadline, not_read).await?;
        let entry = Audit::of(AuditAction::AuditRead, caller, invocation).at_site(site);
        let entries = self.store.audit_entries(study, site, below.as_deref(), wish.limit, deadline);
        let (page, key, ()) =
            tokio::try_join!(entries, self.store.cursor_key(deadline), self.store.audit(&entry, deadline))
                .map_err(not_read)?;
        let next = page.next.map(|position| key.cursor(&list, &position, now));
        Ok(http::json(StatusCode::OK, &PageBody { entries: page.entries.iter().map(EntryBody::of).collect(), next }))
    }
}

#[derive(Serialize)]
struct PageBody<'a> {
    entries: Vec<EntryBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EntryBody<'a> {
    at: String,
    actor: ActorBody<'a>,
    action: &'a str,
    /// None: it concerns the whole study.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a SiteId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<&'a PatientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// None: it was done outside of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    correlation_id: &'a str,
}

#[derive(Serialize)]
struct ActorBody<'a> {
    sub: &'a str,
    iss: &'a str,
    role: &'a str,
}

impl<'a> EntryBody<'a> {
    fn of(entry: &'a Audit) -> Self {
        let principal = &entry.actor.principal;
        Self {
            at: http::rfc3339(entry.at),
            actor: ActorBody { sub: principal.sub(), iss: principal.iss(), role: &entry.actor.role },
            action: entry.action.as_str(),
            site: entry.site.as_ref(),
            patient: entry.patient.as_ref(),
            subject: entry.subject.as_deref(),
            reason: entry.reason.as_deref(),
            request_id: entry.request_id.as_deref(),
            correlation_id: &entry.correlation_id,
        }
    }
}
