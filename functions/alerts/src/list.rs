//! The list of a site's alerts, newest first, in pages, with their status and acknowledgements.

use std::time::Duration;

use api::{Caller, Invocation, PageRequest, Problem, ProblemKind, SiteList, counted, http, protocol_for};
use clinical::ids::SiteId;
use clinical::instruments::Severity;
use invocation::aws::Failure;
use invocation::rfc3339;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use records::{Alert, AlertFilter, AlertStatus, AuditAction, Cause, StatusFilter, Unreadable};
use serde::Serialize;

use crate::Alerts;
use crate::acknowledge::AcknowledgementBody;

pub(crate) const ROUTE: &str = "GET /v1/sites/{site}/alerts";
/// The most that reading the alerts may take: a person who waits for a list would rather ask again than wait longer.
const DATA: Duration = Duration::from_secs(2);
/// The detail where time runs out, by language.
const TIMED_OUT: [(&str, &str); 1] = [("en", "the alerts could not be read in time; ask again")];

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
        Ok(http::json(StatusCode::OK, &PageBody { alerts: alerts.iter().map(AlertBody::of).collect(), next }))
    }
}

/// The filters of a request: parsed, and as the request has them.
struct Filters {
    filter: AlertFilter,
    status: String,
    severity: String,
}

impl Filters {
    fn of(request: &Request) -> Result<Self, Problem> {
        let query = request.query_string_parameters_ref();
        let given = |name| query.and_then(|query| query.first(name)).unwrap_or_default().to_owned();
        let (status, severity) = (given("status"), given("severity"));
        let by_status = Some(&status).filter(|name| !name.is_empty()).map(|name| name.parse::<StatusFilter>());
        let by_severity = Some(&severity).filter(|name| !name.is_empty()).map(|name| name.parse::<Severity>());
        let filter = AlertFilter {
            status: by_status.transpose().map_err(|_| {
                let known = StatusFilter::ALL.map(|(name, _)| name).join(", ");
                unknown("query.status", format!("?status= must be one of {known}"))
            })?,
            severity: by_severity.transpose().map_err(|_| {
                unknown("query.severity", "?severity= must be one of critical, warning, info".to_owned())
            })?,
        };
        Ok(Self { filter, status, severity })
    }
}

fn unknown(code: &'static str, detail: String) -> Problem {
    Problem::of_finding(ProblemKind::Invalid, "", code, detail)
}

#[derive(Serialize)]
struct PageBody<'a> {
    alerts: Vec<AlertBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// An alert, or the reason why it cannot be read.
#[derive(Serialize)]
#[serde(untagged)]
enum AlertBody<'a> {
    Readable(Box<ReadableAlert<'a>>),
    Unreadable { unreadable: String },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReadableAlert<'a> {
    alert_id: String,
    severity: &'static str,
    rule: &'a str,
    status: &'static str,
    raised_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    patient: &'a str,
    /// `null` if windows were missed.
    submission_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<MissedBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instrument: Option<&'a str>,
    /// The number of times that it was published again; omitted where that is zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    escalation: Option<u32>,
    /// When it was found unacknowledged after its last escalation.
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted_at: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    exhausted: bool,
    /// Whether it was raised after its submission was scored, because an earlier submission or a correction arrived.
    #[serde(skip_serializing_if = "is_false")]
    late: bool,
    /// Whether its submission was corrected.
    #[serde(skip_serializing_if = "is_false")]
    corrected: bool,
    /// Whether its rule does not fire any more on all submissions that arrived since.
    #[serde(skip_serializing_if = "is_false")]
    superseded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged: Option<AcknowledgementBody<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    later_acknowledgements: Vec<AcknowledgementBody<'a>>,
}

impl<'a> AlertBody<'a> {
    fn of(listed: &'a Result<Alert, Unreadable>) -> Self {
        let alert = match listed {
            Ok(alert) => alert,
            Err(unreadable) => {
                tracing::error!(event = "alert_unreadable", %unreadable);
                return Self::Unreadable { unreadable: unreadable.to_string() };
            }
        };
        Self::Readable(Box::new(ReadableAlert {
            alert_id: alert.id.to_string(),
            severity: alert.severity.as_str(),
            rule: alert.rule.as_str(),
            status: match alert.status {
                AlertStatus::Pending => "pending",
                AlertStatus::Sent => "sent",
                AlertStatus::Acknowledged => "acknowledged",
                AlertStatus::Quiet => "quiet",
            },
            raised_at: rfc3339(alert.raised_at),
            sent_at: alert.sent_at.map(rfc3339),
            patient: alert.patient.as_str(),
            submission_id: alert.submission().map(|id| id.to_string()),
            missed: MissedBody::of(&alert.cause),
            instrument: alert.instrument.as_ref().map(|instrument| instrument.as_str()),
            escalation: Some(alert.escalation).filter(|step| *step > 0),
            exhausted_at: alert.exhausted_at.map(rfc3339),
            exhausted: alert.exhausted_at.is_some(),
            late: alert.late,
            corrected: alert.corrected,
            superseded: alert.superseded,
            acknowledged: alert.acknowledged.as_ref().map(AcknowledgementBody::of),
            later_acknowledgements: alert.later.iter().map(AcknowledgementBody::of).collect(),
        }))
    }
}

/// The last of the windows that were missed in a row.
#[derive(Serialize)]
struct MissedBody<'a> {
    schedule: &'a str,
    occurrence: u32,
}

impl<'a> MissedBody<'a> {
    fn of(cause: &'a Cause) -> Option<Self> {
        match cause {
            Cause::Submission(_) => None,
            Cause::Missed { schedule, number } => Some(Self { schedule: schedule.as_str(), occurrence: *number }),
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}
