//! Takes the place of a bootstrap in a container of `sam local start-api`, which has no authorizer for tokens: it runs
//! the real bootstrap, between it and the runtime API, and adds the claims of the request's token to the event. It
//! verifies nothing. It is part of the tests and never deployed.

use std::env;
use std::error::Error;
use std::net::Ipv4Addr;
use std::process::{Command, ExitCode};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::Full;
use sam_local::send;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";
/// More than any event and any answer have.
const LARGEST: usize = 64 * 1024 * 1024;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let runtime_api = env::var(RUNTIME_API)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let here = listener.local_addr()?.to_string();
    let routes = Router::new().fallback(pass).with_state(runtime_api);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let function = env::current_exe()?.with_file_name("function");
    let ended = tokio::task::spawn_blocking(move || Command::new(function).env(RUNTIME_API, here).status()).await??;
    Ok(if ended.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Passes a request of the function on to the runtime API, and its answer back.
async fn pass(State(runtime_api): State<String>, request: Request) -> Response {
    match passed(&runtime_api, request).await {
        Ok(answer) => answer,
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()).into_response(),
    }
}

async fn passed(runtime_api: &str, request: Request) -> Result<Response, Box<dyn Error>> {
    let (mut head, body) = request.into_parts();
    let is_event = head.uri.path().ends_with("/runtime/invocation/next");
    head.uri = format!("http://{runtime_api}{}", head.uri).parse()?;
    of_one_message(&mut head.headers);
    let body = to_bytes(body, LARGEST).await?;
    let (mut head, mut body) = send(Request::from_parts(head, Full::new(body))).await?.into_parts();
    of_one_message(&mut head.headers);
    if is_event && head.status.is_success() {
        body = with_claims(body)?;
    }
    Ok(Response::from_parts(head, body.into()))
}

/// Removes the headers that each connection has of its own.
fn of_one_message(headers: &mut HeaderMap) {
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, HOST] {
        headers.remove(name);
    }
}

/// The event, with the claims of its token where API Gateway's JWT authorizer puts them: all of them texts.
fn with_claims(body: Bytes) -> Result<Bytes, serde_json::Error> {
    let mut event: Value = serde_json::from_slice(&body)?;
    let headers = event["headers"].as_object().cloned().unwrap_or_default();
    let authorization = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let claims = authorization
        .and_then(|(_, value)| value.as_str()?.strip_prefix("Bearer ")?.split('.').nth(1))
        .and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok())
        .and_then(|claims| serde_json::from_slice::<Map<String, Value>>(&claims).ok());
    let Some(claims) = claims else { return Ok(body) };
    event["requestContext"]["authorizer"] = json!({"jwt": {"claims": claims, "scopes": null}});
    Ok(event.to_string().into())
}
