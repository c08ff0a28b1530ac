//! Snoozes of alerts: the escalation waits until a time that a clinician sets, at most as long as the study allows.

use api::{Caller, Invocation, Members, Problem, ProblemKind, WriteFailure, audit, counted, http, protocol_for};
use invocation::rfc3339;
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use records::{AuditAction, Snooze, SnoozeOutcome};
use serde::Serialize;
use time::{Duration, OffsetDateTime, UtcOffset};

use crate::{Alerts, alert_id};

pub(crate) const ROUTE: &str = "POST /v1/alerts/{alertId}/snooze";
/// The most bytes of a body: in JSON, a character of a reason may take twelve.
const LARGEST_BODY: usize = 32 * 1024;
const NOT_SNOOZED_DETAIL: &str = "the alert was not snoozed";

/// The answers to a snooze that was not stored.
const NOT_SNOOZED: WriteFailure = WriteFailure {
    event: "not_snoozed",
    not_done: "the alert was not snoozed; send the same request again",
    unknown: (
        ProblemKind::OutcomeUnknown,
        "whether the alert was snoozed is not known; send the same request again to find out",
    ),
    invalid: Some("the alert already has the maximum of 20 snoozes; this one was not stored"),
    refused: "the store refused the snooze",
};

impl Alerts {
    pub(crate) async fn snooze(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let (until, reason) = asked(&request)?;
        let id = alert_id(&request)?;
        let protocol = protocol_for(&self.store, &caller, invocation.deadline).await?;
        let alert = self.named(&request, &caller, &invocation).await?;

        let entry = audit::entry(AuditAction::AlertSnoozed, &caller, &invocation);
        let entry = entry.at_site(&alert.site).of_patient(&alert.patient).about(id);
        let snooze = Snooze { by: caller.sub().to_owned(), at: entry.at, until, reason };
        // A repeat is answered as the first time, whatever time it is by now. It returns what its sender said.
        let is_repeat = alert.snoozes.last().is_some_and(|known| known.is_repeated_by(&snooze));
        if !is_repeat {
            within_limit(&snooze, protocol.most_snooze_minutes())?;
        }
        let stored = self.store.snooze(&alert, &snooze, &entry, invocation.deadline);
        let stored = counted(&self.store, &invocation, &alert.study, [&alert.site], stored).await;
        match stored.map_err(|failure| Problem::not_confirmed(failure, &NOT_SNOOZED))? {
            SnoozeOutcome::Snoozed(snooze) => {
                let body = SnoozedBody { alert_id: id.to_string(), snoozed: SnoozeBody::of(&snooze) };
                Ok(http::json(StatusCode::OK, &body))
            }
            SnoozeOutcome::Acknowledged => Err(conflict("the alert is acknowledged, so that nothing is left to wait")),
        }
    }
}

/// A snooze of an alert.
#[derive(Serialize)]
pub(crate) struct SnoozeBody<'a> {
    by: &'a str,
    at: String,
    until: String,
    reason: &'a str,
}

impl<'a> SnoozeBody<'a> {
    pub(crate) fn of(snooze: &'a Snooze) -> Self {
        let Snooze { by, at, until, reason } = snooze;
        Self { by, at: rfc3339(*at), until: rfc3339(*until), reason }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SnoozedBody<'a> {
    alert_id: String,
    snoozed: SnoozeBody<'a>,
}

/// The time and the reason in the body.
fn asked(request: &Request) -> Result<(OffsetDateTime, String), Problem> {
    let mut members = Members::of(request, LARGEST_BODY, NOT_SNOOZED_DETAIL)?;
    let (until, reason) = (members.time("until"), members.reason());
    let until = members.required("until", until, "say until when the alert is snoozed");
    let reason = members.required("reason", reason, "a snooze needs a reason");
    let (until, reason) = members.end(until.zip(reason))?;
    let until = until.checked_to_offset(UtcOffset::UTC).ok_or_else(|| wrong_until("there is no such time"))?;
    Ok((until, reason))
}

/// `snooze` ends in the time to come, after at most `most` minutes.
fn within_limit(snooze: &Snooze, most: Option<u32>) -> Result<(), Problem> {
    // For safety: a study that says nothing about it wants its alerts to escalate.
    let most = most.ok_or_else(|| conflict("the study does not allow snoozing: it sets no `alerts.snooze`"))?;
    if snooze.until <= snooze.at {
        return Err(wrong_until("it must be in the future"));
    }
    if snooze.until - snooze.at > Duration::minutes(most.into()) {
        return Err(wrong_until(&format!("the study allows at most {most} minutes from now")));
    }
    Ok(())
}

fn wrong_until(detail: &str) -> Problem {
    Problem::of_finding(ProblemKind::Invalid, "/until", "snooze.until", format!("{NOT_SNOOZED_DETAIL}: {detail}"))
}

fn conflict(why: &str) -> Problem {
    Problem::new(ProblemKind::AlertConflict, format!("{NOT_SNOOZED_DETAIL}: {why}"))
}
