//! The list of a site's alerts, newest first, in pages, with their status and acknowledgements.

use api::{Caller, Invocation, PageRequest, Problem, SiteList, counted, http, protocol_for};
use clinical::ids::SiteId;
use invocation::aws::Failure;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use records::AuditAction;

use crate::Alerts;
use crate::entry::{DATA, Filters, PageBody, TIMED_OUT};

pub(crate) const ROUTE: &str = "GET /v1/sites/{site}/alerts";

impl Alerts {
    pub(crate) async fn list(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        let page = self.page(&invocation, &request, &caller, site);
        counted(&self.store, &invocation, caller.study(), [site], page).await
    }

    /// One page. What it needs besides the alerts is read at the same time; the first failure ends all reads.
    async fn page(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
        site: &SiteId,
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline) = (caller.study(), invocation.deadline);
        let not_read = |failure: Failure| Problem::list_not_read("the site's alerts", &failure, &TIMED_OUT, request);
        let page = PageRequest::of(request)?;
        let Filters { filter, status, severity } = Filters::of(request)?;
        protocol_for(&self.store, caller, deadline).await?;
        let (action, filters) = (AuditAction::AlertsRead, [status.as_str(), severity.as_str()]);
        let list = SiteList { store: &self.store, invocation, caller, site, action, route: ROUTE, filters: &filters };
        let below = list.resolve_cursor(&page, not_read).await?;
        let data = deadline.no_later_than(DATA);
        let alerts = self.store.site_alerts(study, site, filter, below.as_deref(), page.limit, data);
        let (alerts, next) = list.page(alerts).await.map_err(not_read)?;
        Ok(http::json(StatusCode::OK, &PageBody::of(&alerts, next)))
    }
}
