//! The worklist: the alerts that wait at all sites of the token, the most severe first, and of these the newest.

use std::collections::BTreeSet;

use api::{Caller, Invocation, Listing, PageRequest, Problem, ProblemKind, audit, counted, http, protocol_for};
use clinical::ids::SiteId;
use futures::future::try_join_all;
use invocation::aws::Failure;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use records::{AlertStatus, AuditAction, StatusFilter};

use crate::Alerts;
use crate::entry::{DATA, Filters, PageBody, TIMED_OUT, unknown};

pub(crate) const ROUTE: &str = "GET /v1/alerts";
/// The most sites of a token: each is a query for each page.
const MOST_SITES: usize = 100;

impl Alerts {
    pub(crate) async fn worklist(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let page = self.page_of_worklist(&invocation, &request, &caller);
        counted(&self.store, &invocation, caller.study(), caller.sites(), page).await
    }

    async fn page_of_worklist(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
    ) -> Result<Response<Body>, Problem> {
        let (study, sites, deadline) = (caller.study(), caller.sites(), invocation.deadline);
        let not_read = |failure: Failure| Problem::list_not_read("the alerts", &failure, &TIMED_OUT, request);
        if sites.len() > MOST_SITES {
            let detail = format!(
                "the worklist reads at most {MOST_SITES} sites, and the token has {}; list them one by one with \
                 GET /v1/sites/{{site}}/alerts",
                sites.len()
            );
            return Err(Problem::of_finding(ProblemKind::Invalid, "", "token.sites", detail));
        }
        let page = PageRequest::of(request)?;
        let Filters { mut filter, status, severity } = Filters::of(request)?;
        match filter.status.get_or_insert(StatusFilter::Open) {
            StatusFilter::Only(AlertStatus::Acknowledged | AlertStatus::Quiet) => {
                let detail =
                    "the worklist has alerts that wait: ?status= must be one of open, exhausted, pending, sent";
                return Err(unknown("query.status", detail.to_owned()));
            }
            StatusFilter::Open | StatusFilter::Exhausted | StatusFilter::Only(_) => {}
        }
        protocol_for(&self.store, caller, deadline).await?;
        let of_sites = sites.iter().map(SiteId::as_str);
        let identity =
            [ROUTE, study.as_str()].into_iter().chain(of_sites).chain([status.as_str(), severity.as_str()]).collect();
        let listing = Listing { store: &self.store, invocation, identity };
        let below = listing.resolve_cursor(&page, not_read).await?;
        let data = deadline.no_later_than(DATA);
        let alerts = self.store.worklist(study, sites, filter, below.as_deref(), page.limit, data);
        let (alerts, key) = tokio::try_join!(alerts, self.store.cursor_key(deadline)).map_err(not_read)?;
        // Each site whose alerts are returned has an entry, before they are.
        let read: BTreeSet<&SiteId> = alerts.entries.iter().flatten().map(|alert| &alert.site).collect();
        let entries: Vec<_> = read
            .into_iter()
            .map(|site| audit::entry(AuditAction::AlertsRead, caller, invocation).at_site(site))
            .collect();
        let stored = entries.iter().map(|entry| self.store.audit(entry, deadline));
        try_join_all(stored).await.map_err(not_read)?;
        let next = alerts.next.map(|position| listing.cursor(key, &position));
        Ok(http::json(StatusCode::OK, &PageBody::of(&alerts.entries, next)))
    }
}
