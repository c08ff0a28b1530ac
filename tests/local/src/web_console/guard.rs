//! Keeps pages of other origins out of routes that need no token.
//!
//! A page of any origin can make its reader's browser send requests to this machine. It can read the answers only if it
//! passes for a page of this machine, by a name of its own that it lets point here (DNS rebinding): so requests must
//! name an address or `localhost`. It can change something without reading an answer, by a form for example: so
//! requests that carry another page's origin are refused, and the console's own ones must have a header that no form
//! can send, and that no script of another origin may send without a permission that is never given.

use std::net::IpAddr;

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;

use super::problem;

/// The header of the console's own requests. Its value does not matter.
pub const OWN: HeaderName = HeaderName::from_static("x-epro-console");

const SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Lets requests pass that name this machine by an address or as `localhost`.
pub async fn named_as_this_machine(request: Request, next: Next) -> Response {
    if names_this_machine(request.headers()) {
        return next.run(request).await;
    }
    problem(StatusCode::FORBIDDEN, "Use http://127.0.0.1 or http://localhost: other names are refused.")
}

/// Lets requests pass that no page of another origin sent. Programs send no origin and pass too.
pub async fn not_cross_origin(request: Request, next: Next) -> Response {
    if !names_this_machine(request.headers()) || is_cross_origin(request.headers()) {
        return problem(StatusCode::FORBIDDEN, "This route is for this machine's own pages and programs.");
    }
    next.run(request).await
}

/// As [`not_cross_origin`]. Requests that change something must have the header [`OWN`] too.
pub async fn own_page(request: Request, next: Next) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if !reads && !request.headers().contains_key(OWN) {
        return problem(StatusCode::FORBIDDEN, "Requests that change something need the header x-epro-console.");
    }
    not_cross_origin(request, next).await
}

fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let name = name.to_ascii_lowercase();
    // An address belongs to nobody else's zone.
    name.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
}

fn is_cross_origin(headers: &HeaderMap) -> bool {
    let value = |name: &HeaderName| headers.get(name).map(|value| value.as_bytes());
    let own = value(&HOST).map(|host| [b"http://", host].concat());
    let other_origin = value(&ORIGIN).is_some_and(|origin| Some(origin) != own.as_deref());
    let other_site = value(&SITE).is_some_and(|site| site != b"same-origin" && site != b"none");
    other_origin || other_site
}
