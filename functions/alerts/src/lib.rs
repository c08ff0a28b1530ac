//! The function for clinicians. `GET /v1/sites/{site}/alerts` lists a site's alerts (`list`), and
//! `POST /v1/alerts/{alertId}/acknowledge` stores an acknowledgement of one (`acknowledge`).

mod acknowledge;
mod list;

use api::{Handler, Invocation, Problem, http};
use lambda_http::{Body, Request, Response};
use records::Store;

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
}

impl Handler for Alerts {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            list::ROUTE => self.list(invocation, request).await,
            acknowledge::ROUTE => self.acknowledge(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}
