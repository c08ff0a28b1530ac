//! Who is due, overdue or done at a site.

use api::{Caller, Invocation, PageRequest, Problem, ProblemKind, SiteList, admit, counted, http};
use clinical::ids::{PatientId, SiteId};
use clinical::studies::Protocol;
use futures::{StreamExt, TryStreamExt, stream};
use invocation::aws::Failure;
use jiff::Timestamp;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use records::{AuditAction, Page, PatientRow, StoredOccurrence, Withdrawal};
use serde::Serialize;

use crate::body::{Shown, WindowBody};
use crate::{BACK, Due, not_read, now};

const ROUTE: &str = "GET /v1/sites/{site}/due";
/// Patients whose windows are read at the same time.
const PATIENTS_AT_ONCE: usize = 8;
/// The windows that can be asked for, by their name in the API.
const STATUSES: [(&str, Shown); 3] = [("open", Shown::Open), ("missed", Shown::Missed), ("done", Shown::Done)];

#[derive(Serialize)]
struct PageBody<'a> {
    due: Vec<EntryBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct EntryBody<'a> {
    patient: &'a str,
    status: &'static str,
    #[serde(flatten)]
    window: WindowBody<'a>,
}

impl Due {
    pub(crate) async fn of_site(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        let page = Box::pin(self.page(&invocation, &request, &caller, site));
        counted(&self.store, &invocation, caller.study(), [site], page).await
    }

    /// One page: the windows of so many patients as the caller asks for, which may be none.
    async fn page(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
        site: &SiteId,
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline, now) = (caller.study(), invocation.deadline, now(invocation)?);
        let page = PageRequest::of(request)?;
        let (name, status) = status(request)?;
        let (action, filters) = (AuditAction::DueRead, [name]);
        let list = SiteList { store: &self.store, invocation, caller, site, action, route: ROUTE, filters: &filters };
        let after = list.resolve_cursor(&page, |failure| not_read(&failure)).await?;
        let windows = async {
            let patients = self.store.patients(study, site, after.as_deref(), page.limit, deadline).await?;
            let from = now.checked_sub(BACK).unwrap_or(now);
            let reads = patients.entries.into_iter().filter(is_shown).map(|row| async move {
                let seen = scheduling::seen(&self.store, study, &row.patient, from, invocation.clock, deadline).await?;
                Ok::<_, Failure>((row.patient, seen.occurrences))
            });
            let entries = stream::iter(reads.collect::<Vec<_>>()).buffered(PATIENTS_AT_ONCE).try_collect().await?;
            Ok(Page { entries, next: patients.next })
        };
        let (windows, protocol) = tokio::try_join!(list.page(windows), self.store.protocol(study, deadline))
            .map_err(|failure| not_read(&failure))?;
        admit(&self.store, &protocol)?;
        let (windows, next) = windows;
        let due = entries(&windows, (name, status), &protocol, now);
        Ok(http::json(StatusCode::OK, &PageBody { due, next }))
    }
}

/// Whether the windows of a patient are shown: not if the data are hidden, or it is not known whether they are.
fn is_shown(row: &PatientRow) -> bool {
    let withdrawal = |row: &PatientRow| row.registration.as_ref().ok()?.as_ref()?.withdrawal.clone();
    row.registration.is_ok() && !withdrawal(row).as_ref().is_some_and(Withdrawal::hides)
}

fn entries<'a>(
    windows: &'a [(PatientId, Vec<StoredOccurrence>)],
    (name, status): (&'static str, Shown),
    protocol: &'a Protocol,
    now: Timestamp,
) -> Vec<EntryBody<'a>> {
    let of_patients = windows.iter().flat_map(|(patient, windows)| windows.iter().map(move |one| (patient, one)));
    let these = of_patients.filter(|(_, one)| Shown::of(one, now) == Some(status));
    these
        .map(|(patient, one)| EntryBody {
            patient: patient.as_str(),
            status: name,
            window: WindowBody::of(one, protocol),
        })
        .collect()
}

/// The status that the query asks for (`?status=`), `open` if it does not say.
fn status(request: &Request) -> Result<(&'static str, Shown), Problem> {
    let query = request.query_string_parameters_ref();
    let asked = query.and_then(|query| query.first("status")).unwrap_or("open");
    STATUSES.into_iter().find(|(name, _)| *name == asked).ok_or_else(|| {
        let names = STATUSES.map(|(name, _)| name).join(", ");
        Problem::of_finding(ProblemKind::Invalid, "", "query.status", format!("?status= is one of {names}"))
    })
}
