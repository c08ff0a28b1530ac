//! The HTTP API in front of the functions: routes, authorizer and payload format 2.0, as in API Gateway.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, State};
use axum::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::time::timeout;

use crate::clock;
use crate::console::Console;
use crate::issuer::Issuer;
use crate::lambda::{Functions, InvocationOutcome, new_trace};
use crate::template::{Authorizer, Route, Template};
use authorizer::{Allowed, Refusal};
use routes::Found;

pub mod authorizer;
mod event;
mod routes;

/// API Gateway's limit of a request, in bytes.
const REQUEST_LIMIT: usize = 10 * 1024 * 1024;

/// Lambda's limit of an invocation's payload, in bytes.
const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;

const CORRELATION: HeaderName = HeaderName::from_static("x-correlation-id");

/// The routes of a template and the functions that serve them.
#[derive(Debug)]
pub struct Gateway {
    template: Template,
    issuer: Issuer,
    functions: Functions,
    console: Console,
}

impl Gateway {
    /// Serves the template's routes with the functions. Tokens are the issuer's.
    pub fn new(template: Template, issuer: Issuer, functions: Functions, console: Console) -> Self {
        Self { template, issuer, functions, console }
    }

    /// A router of all routes. Serve it with connect info, which has the callers' addresses.
    pub fn router(self) -> Router {
        Router::new().fallback(serve).with_state(Arc::new(self))
    }

    fn authorize(&self, route: &Route, parts: &Parts) -> Result<Option<Allowed>, Refusal> {
        let authorizer: Option<&Authorizer> =
            route.authorizer.as_ref().and_then(|name| self.template.authorizers.get(name));
        let now = clock::now();
        authorizer
            .map(|authorizer| authorizer::authorize(authorizer, &route.scopes, &self.issuer, &parts.headers, now))
            .transpose()
    }
}

async fn serve(State(gateway): State<Arc<Gateway>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let caller = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
    let request_id = uuid::Uuid::new_v4().to_string();
    let mut response = match answer(&gateway, &parts, body, caller, &request_id).await {
        Ok(response) => response,
        Err(refused) => {
            let (status, why) = (refused.status.as_u16(), &refused.why);
            gateway.console.event(format!("gateway  {status} for a {}: {why}", parts.method));
            refused.response(&parts)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert("apigw-requestid", id);
    }
    response
}

async fn answer(
    gateway: &Gateway,
    parts: &Parts,
    body: Body,
    caller: Option<String>,
    request_id: &str,
) -> Result<Response, Refused> {
    let Found { route, parameters } = routes::find(&gateway.template.routes, parts.method.as_str(), parts.uri.path())
        .ok_or_else(|| Refused::new(StatusCode::NOT_FOUND, "no route"))?;
    let allowed = gateway.authorize(route, parts).map_err(Refused::from)?;
    let body = to_bytes(body, REQUEST_LIMIT)
        .await
        .map_err(|_| Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is over 10 MB or incomplete"))?;
    let trace = parts
        .headers
        .get("x-amzn-trace-id")
        .and_then(|trace| trace.to_str().ok())
        .map_or_else(new_trace, str::to_owned);
    let context = event::Context {
        route,
        parameters,
        allowed: allowed.as_ref(),
        caller: caller.as_deref().unwrap_or("127.0.0.1"),
        request_id,
        trace: &trace,
        now: clock::now(),
    };
    let payload = event::request(parts, &body, &context);
    if payload.len() > PAYLOAD_LIMIT {
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "the event exceeds Lambda's 6 MB"));
    }
    let invocation = gateway.functions.invoke_traced(&route.function, payload.into(), Some(trace));
    // API Gateway stops waiting; the invocation continues.
    let invocation = timeout(route.timeout, invocation)
        .await
        .map_err(|_| Refused::new(StatusCode::SERVICE_UNAVAILABLE, "the function did not answer in time"))?;
    match invocation.outcome {
        InvocationOutcome::Answer(payload) => event::response(&payload).map_err(|why| Refused::failed(&why)),
        InvocationOutcome::FunctionError(_) => Err(Refused::failed("the function's error")),
        InvocationOutcome::TimedOut => Err(Refused::failed("the function's timeout")),
        InvocationOutcome::Crashed => Err(Refused::failed("the function's process ended")),
        InvocationOutcome::Unavailable(_) => {
            Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, "no environment could take it"))
        }
    }
}

/// A response of the gateway itself.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    /// The reason, for the person at the terminal.
    why: String,
    challenge: Option<String>,
}

impl Refused {
    fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Self { status, why: why.into(), challenge: None }
    }

    /// A function gave no usable response.
    fn failed(why: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, why)
    }

    fn response(self, parts: &Parts) -> Response {
        let message = match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
            status => status.canonical_reason().unwrap_or_default(),
        };
        let body = json!({"message": message}).to_string();
        let mut response = (self.status, [(CONTENT_TYPE, "application/json")], body).into_response();
        response.headers_mut().insert(CORRELATION, correlation(parts));
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let (status, error) = match refusal {
            Refusal::NoToken => {
                return Self {
                    challenge: Some("Bearer".to_owned()),
                    ..Self::new(StatusCode::UNAUTHORIZED, "no token")
                };
            }
            Refusal::Token(_) => (StatusCode::UNAUTHORIZED, "invalid_token"),
            Refusal::Scope(_) => (StatusCode::FORBIDDEN, "insufficient_scope"),
        };
        let why = refusal.to_string();
        let challenge = format!("Bearer scope=\"\" error=\"{error}\" error_description=\"{why}\"");
        Self { challenge: Some(challenge), ..Self::new(status, why) }
    }
}

/// The caller's correlation id if it is well formed, otherwise a new one.
fn correlation(parts: &Parts) -> HeaderValue {
    let well_formed = |id: &&HeaderValue| {
        let id = id.as_bytes();
        (1..=64).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
    };
    match parts.headers.get(CORRELATION).filter(well_formed) {
        Some(id) => id.clone(),
        None => {
            HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).unwrap_or_else(|_| HeaderValue::from_static("none"))
        }
    }
}
