//! The function that serves the audit trail. `GET /v1/sites/{site}/audit` returns the audit entries of a site and of
//! its study as a whole, newest first, in pages. Reading them makes an audit entry as well.

use api::{Caller, Handler, Invocation, PageRequest, Problem, SiteList, counted, http, protocol_for};
use clinical::ids::{PatientId, SiteId};
use invocation::rfc3339;
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
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for AuditTrail {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            ROUTE => self.list(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}

impl AuditTrail {
    async fn list(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        let page = self.page(&invocation, &request, &caller, site);
        counted(&self.store, &invocation, caller.study(), [site], page).await
    }

    /// One page. The entry of this request itself is written at the same time, and may be in it or not.
    async fn page(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
        site: &SiteId,
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline) = (caller.study(), invocation.deadline);
        let not_read = |failure| Problem::not_read("the audit", &failure);
        let page = PageRequest::of(request)?;
        protocol_for(&self.store, caller, deadline).await?;
        let action = AuditAction::AuditRead;
        let list = SiteList { store: &self.store, invocation, caller, site, action, route: ROUTE, filters: &[] };
        let below = list.resolve_cursor(&page, not_read).await?;
        let entries = self.store.audit_entries(study, site, below.as_deref(), page.limit, deadline);
        let (entries, next) = list.page(entries).await.map_err(not_read)?;
        Ok(http::json(StatusCode::OK, &PageBody { entries: entries.iter().map(EntryBody::of).collect(), next }))
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
    /// Omitted for an entry of the whole study.
    #[serde(skip_serializing_if = "Option::is_none")]
    site: Option<&'a SiteId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patient: Option<&'a PatientId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    /// Omitted for an action outside of a request.
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
            at: rfc3339(entry.at),
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
