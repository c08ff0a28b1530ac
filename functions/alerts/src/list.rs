//! A site's alerts, newest first, in pages: what was raised, what came of it, and who looks after it.

use std::time::Duration;

use clinical::document::Finding;
use clinical::ids::SiteId;
use clinical::instruments::Severity;
use invocation::aws::Failure;
use invocation::cursor::Wish;
use invocation::http::{self, Invocation};
use invocation::{Caller, Problem, ProblemKind, Role, Scope, beside};
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, RequestExt, Response};
use records::{Alert, AlertFilter, AlertStatus, Audit, AuditAction, StatusFilter, Unreadable};
use serde::Serialize;

use crate::Alerts;
use crate::acknowledge::AcknowledgementBody;

pub(crate) const ROUTE: &str = "GET /v1/sites/{site}/alerts";
/// What the call for the alerts may take of the request's time: who looks at a list would rather ask again than wait longer.
const DATA: Duration = Duration::from_secs(2);

impl Alerts {
    pub(crate) async fn list(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::ALERTS_READ, &[Role::Clinician])?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        let deadline = invocation.deadline;
        let count = self.store.count_calls(caller.study(), [site], &invocation.request_id, deadline);
        beside(deadline, count, self.page(&invocation, &request, &caller, site)).await
    }

    /// One page. What it needs besides the alerts is fetched beside them; where one of them fails or runs out of time, all
    /// end.
    async fn page(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
        site: &SiteId,
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline, now) = (caller.study(), invocation.deadline, invocation.clock.now());
        let problem = |failure: Failure| read_problem(&failure);
        let wish = Wish::of(request)?;
        let Wanted { filter, status, severity } = Wanted::of(request)?;
        self.store.protocol_for(caller, deadline).await?;
        // A cursor is for the list that it was given for, its filters included.
        let list = [ROUTE, study.as_str(), site.as_str(), &status, &severity];
        let below = self.store.page_begins(&wish, &list, now, deadline, problem).await?;
        // Nobody sees alerts whose look at them is not on record.
        let entry = Audit::of(AuditAction::AlertsRead, caller, invocation).at_site(site);
        let data = deadline.no_later_than(DATA);
        let (page, key, ()) = tokio::try_join!(
            self.store.site_alerts(study, site, filter, below.as_deref(), wish.limit, data),
            self.store.cursor_key(deadline),
            self.store.audit(&entry, deadline)
        )
        .map_err(problem)?;
        let alerts = page.entries.iter().map(AlertBody::of).collect();
        let next = page.next.map(|position| key.cursor(&list, &position, now));
        Ok(http::json(StatusCode::OK, &PageBody { alerts, next }))
    }
}

/// Which alerts the caller asks for, and in which words.
struct Wanted {
    filter: AlertFilter,
    status: String,
    severity: String,
}

impl Wanted {
    fn of(request: &Request) -> Result<Self, Problem> {
        let query = request.query_string_parameters_ref();
        let given = |name| query.and_then(|query| query.first(name)).unwrap_or_default().to_owned();
        let (status, severity) = (given("status"), given("severity"));
        let by_status = Some(&status).filter(|name| !name.is_empty()).map(|name| name.parse::<StatusFilter>());
        let by_severity = Some(&severity).filter(|name| !name.is_empty()).map(|name| name.parse::<Severity>());
        let filter = AlertFilter {
            status: by_status.transpose().map_err(|()| {
                let known = StatusFilter::ALL.map(|(name, _)| name).join(", ");
                unknown("query.status", format!("?status= is one of {known}"))
            })?,
            severity: by_severity
                .transpose()
                .map_err(|_| unknown("query.severity", "?severity= is one of critical, warning, info".to_owned()))?,
        };
        Ok(Self { filter, status, severity })
    }
}

fn unknown(code: &'static str, detail: String) -> Problem {
    let finding = Finding { pointer: String::new(), code, detail: detail.clone() };
    Problem::new(ProblemKind::Invalid, detail).with_errors(finding)
}

fn read_problem(failure: &Failure) -> Problem {
    if failure.is_out_of_time() {
        tracing::error!(event = "alerts_not_read", %failure);
        return Problem::new(ProblemKind::TimedOut, "the alerts could not be read in time; ask again");
    }
    Problem::not_read("the site's alerts", failure)
}

#[derive(Serialize)]
struct PageBody<'a> {
    alerts: Vec<AlertBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// An alert, or why the one that stands here cannot be read.
#[derive(Serialize)]
#[serde(untagged)]
enum AlertBody<'a> {
    Known(Box<Known<'a>>),
    Unreadable { unreadable: String },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Known<'a> {
    alert_id: String,
    severity: &'static str,
    rule: &'a str,
    status: &'static str,
    raised_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent_at: Option<String>,
    patient: &'a str,
    submission_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    instrument: Option<&'a str>,
    /// How often it was published again.
    #[serde(skip_serializing_if = "Option::is_none")]
    escalation: Option<u32>,
    /// When the last escalation had passed and nobody had acknowledged it.
    #[serde(skip_serializing_if = "Option::is_none")]
    exhausted_at: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    exhausted: bool,
    /// Raised after its submission was scored, because an earlier submission or a correction arrived.
    #[serde(skip_serializing_if = "is_false")]
    late: bool,
    /// Its submission was corrected.
    #[serde(skip_serializing_if = "is_false")]
    corrected: bool,
    /// Its rule does not fire any more on all that has arrived since.
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
        Self::Known(Box::new(Known {
            alert_id: alert.id.to_string(),
            severity: alert.severity.as_str(),
            rule: alert.rule.as_str(),
            status: match alert.status {
                AlertStatus::Pending => "pending",
                AlertStatus::Sent => "sent",
                AlertStatus::Acknowledged => "acknowledged",
                AlertStatus::Quiet => "quiet",
            },
            raised_at: http::rfc3339(alert.raised_at),
            sent_at: alert.sent_at.map(http::rfc3339),
            patient: alert.patient.as_str(),
            submission_id: alert.submission.to_string(),
            instrument: alert.instrument.as_ref().map(|instrument| instrument.as_str()),
            escalation: Some(alert.escalation).filter(|step| *step > 0),
            exhausted_at: alert.exhausted_at.map(http::rfc3339),
            exhausted: alert.exhausted_at.is_some(),
            late: alert.late,
            corrected: alert.corrected,
            superseded: alert.superseded,
            acknowledged: alert.acknowledged.as_ref().map(AcknowledgementBody::of),
            later_acknowledgements: alert.later.iter().map(AcknowledgementBody::of).collect(),
        }))
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}
