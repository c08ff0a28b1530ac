//! The function for clinicians:
//!
//! | route | module |
//! |---|---|
//! | `GET /v1/alerts`: what waits at all sites of the token | `worklist` |
//! | `GET /v1/sites/{site}/alerts`: the alerts of a site | `list` |
//! | `POST /v1/alerts/{alertId}/acknowledge` | `acknowledge` |
//! | `POST /v1/alerts/{alertId}/snooze` | `snooze` |

mod acknowledge;
mod entry;
mod list;
mod snooze;
mod worklist;

use api::{Caller, Handler, Invocation, Problem, ProblemKind, http};
use lambda_http::{Body, Request, Response};
use records::{Alert, AlertId, Store};

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Alerts {
    store: Store,
}

impl Alerts {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The alert that the path of `request` names, if it is of one of the caller's sites. No others are looked for.
    async fn named(&self, request: &Request, caller: &Caller, invocation: &Invocation) -> Result<Alert, Problem> {
        let id = alert_id(request)?;
        let found = self.store.alert(caller.study(), caller.sites(), id, invocation.deadline).await;
        let found = found.map_err(|failure| Problem::not_read("the alert", &failure))?;
        found.ok_or_else(not_found)
    }
}

impl Handler for Alerts {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            worklist::ROUTE => self.worklist(invocation, request).await,
            list::ROUTE => self.list(invocation, request).await,
            acknowledge::ROUTE => self.acknowledge(invocation, request).await,
            snooze::ROUTE => self.snooze(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}

/// The id in the path of `request`.
fn alert_id(request: &Request) -> Result<AlertId, Problem> {
    http::path_parameter(request, "alertId").parse().map_err(|_| not_found())
}

/// The same answer for an alert that does not exist and for one of another site.
fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such alert for this token")
}
