//! Requests and answers.

use invocation::{Clock, Deadline};
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;

use crate::{CorrelationId, Problem, ProblemKind};

/// The invocation that handles a request.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The instant by which everything that the handler waits for must have ended.
    pub deadline: Deadline,
    /// The time of day.
    pub clock: Clock,
    /// Connects the request with its log lines, its records and the alerts that follow.
    pub correlation_id: CorrelationId,
    /// Lambda's id of this invocation, unique to it.
    pub request_id: String,
}

/// The route as the template names it, so that ids in a path are not logged; `""` if no gateway passed the request.
pub fn route(request: &Request) -> String {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.route_key.clone().unwrap_or_default(),
        _ => String::new(),
    }
}

/// The parameter `name` of the request's path; `""` if the route has none.
pub fn path_parameter(request: &Request, name: &str) -> String {
    request.path_parameters_ref().and_then(|parameters| parameters.first(name)).unwrap_or_default().to_owned()
}

/// The answer `status` with `body` as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(body).expect("answers are maps with string keys, which always serialise");
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The answer to a route that the function does not have, so that the template and the function disagree.
pub fn no_such_route() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such route")
}
