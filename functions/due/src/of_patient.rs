//! What a patient may answer now, what comes next, and what is done: enough for an app to work offline for a week.

use api::{Caller, Invocation, Problem, counted, http, protocol_for};
use lambda_http::http::StatusCode;
use lambda_http::{Body, Request, Response};
use serde::Serialize;

use crate::body::{Shown, WindowBody};
use crate::{BACK, Due, not_read, now};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DueBody<'a> {
    /// The server's time, to which the windows are compared.
    now: String,
    /// The IANA zone in which the windows were planned; omitted for a patient who does not take part yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a str>,
    open: Vec<WindowBody<'a>>,
    next: Vec<WindowBody<'a>>,
    done: Vec<WindowBody<'a>>,
    missed: Vec<WindowBody<'a>>,
}

impl Due {
    pub(crate) async fn of_patient(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let (patient, site) = (caller.patient()?.clone(), caller.only_site()?.clone());
        let (study, deadline, now) = (caller.study(), invocation.deadline, now(&invocation)?);
        let work = async {
            let protocol = protocol_for(&self.store, &caller, deadline).await?;
            let from = now.checked_sub(BACK).unwrap_or(now);
            let seen = scheduling::seen(&self.store, study, &patient, from, invocation.clock, deadline).await;
            let mut seen = seen.map_err(|failure| not_read(&failure))?;
            seen.occurrences.sort_by_key(|one| (one.occurrence.window, one.occurrence.schedule.clone()));
            let shown = |as_what: Shown| {
                let these = seen.occurrences.iter().filter(|one| Shown::of(one, now) == Some(as_what));
                these.map(|one| WindowBody::of(one, &protocol)).collect()
            };
            let body = DueBody {
                now: now.to_string(),
                time_zone: seen.time_zone.as_deref(),
                open: shown(Shown::Open),
                next: shown(Shown::Next),
                done: shown(Shown::Done),
                missed: shown(Shown::Missed),
            };
            Ok(http::json(StatusCode::OK, &body))
        };
        counted(&self.store, &invocation, study, [&site], work).await
    }
}
