//! `GET /v1/sites/{site}/alerts` lists a site's alerts for its clinicians ([`list`]), and
//! `POST /v1/alerts/{alertId}/acknowledge` takes their word that they look after one ([`acknowledge`]).

mod acknowledge;
mod list;

use std::convert::Infallible;

use invocation::http::{self, Invocation};
use invocation::{Environment, EnvironmentError, aws};
use lambda_http::{Body, Request, Response};
use records::Store;

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Alerts {
    store: Store,
}

impl Alerts {
    /// The function as its environment variables set it up.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self::new(Store::from_environment(environment, aws::https())?))
    }

    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Opens the connection to the store ahead of the first request. If it fails, the first request opens it.
    pub async fn warm_up(&self) {
        self.store.warm_up(&self.store.tables().records).await;
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Never: an error is an answer.
    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Infallible> {
        http::answer(request, async |invocation: Invocation, request: Request| match http::route(&request).as_str() {
            list::ROUTE => self.list(invocation, request).await,
            acknowledge::ROUTE => self.acknowledge(invocation, request).await,
            _ => Err(http::no_such_route()),
        })
        .await
    }
}
