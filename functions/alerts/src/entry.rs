//! The lists' filters and entries.

use std::time::Duration;

use api::{Problem, ProblemKind};
use clinical::instruments::Severity;
use invocation::rfc3339;
use lambda_http::{Request, RequestExt};
use records::{Alert, AlertFilter, AlertStatus, Cause, StatusFilter, Unreadable};
use serde::Serialize;

use crate::acknowledge::AcknowledgementBody;
use crate::snooze::SnoozeBody;

/// The most that reading the alerts may take: a person who waits for a list would rather ask again than wait longer.
pub(crate) const DATA: Duration = Duration::from_secs(2);
/// The detail where time runs out, by language.
pub(crate) const TIMED_OUT: [(&str, &str); 1] = [("en", "the alerts could not be read in time; ask again")];

/// The filters of a request: parsed, and as the request has them.
pub(crate) struct Filters {
    pub(crate) filter: AlertFilter,
    pub(crate) status: String,
    pub(crate) severity: String,
}

impl Filters {
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
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

pub(crate) fn unknown(code: &'static str, detail: String) -> Problem {
    Problem::of_finding(ProblemKind::Invalid, "", code, detail)
}

#[derive(Serialize)]
pub(crate) struct PageBody<'a> {
    alerts: Vec<AlertBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl<'a> PageBody<'a> {
    pub(crate) fn of(alerts: &'a [Result<Alert, Unreadable>], next: Option<String>) -> Self {
        Self { alerts: alerts.iter().map(AlertBody::of).collect(), next }
    }
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
    site: &'a str,
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
    /// Until when its escalation waits, be that past.
    #[serde(skip_serializing_if = "Option::is_none")]
    snoozed_until: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    snoozes: Vec<SnoozeBody<'a>>,
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
            site: alert.site.as_str(),
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
            snoozed_until: alert.snoozed_until().map(rfc3339),
            snoozes: alert.snoozes.iter().map(SnoozeBody::of).collect(),
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
