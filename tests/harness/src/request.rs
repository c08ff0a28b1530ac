//! Events as API Gateway and the stream send them to a function.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lambda_http::{Context, Request, RequestExt};
use lambda_runtime::LambdaEvent;
use records::stream::Batch;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The context of an invocation with `remaining` until its deadline.
pub fn context(remaining: Duration) -> Context {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    let mut context = Context::default();
    context.request_id = Uuid::new_v4().to_string();
    context.deadline = (now + remaining).as_millis() as u64;
    context
}

/// The claims of an access token as API Gateway passes them: of a patient of site S01 of the study DEMO, with `changes`.
pub fn claims(changes: &[(&str, &str)]) -> Map<String, Value> {
    let defaults = [
        ("sub", "user-1"),
        ("iss", "https://issuer.example"),
        ("token_use", "access"),
        (
            "scope",
            "submissions:write submissions:read counts:read counts:write instruments:read patients:read reports:read \
             forms:validate alerts:read alerts:write studies:write patients:write due:read",
        ),
        ("study", "DEMO"),
        ("sites", "S01"),
        ("patient", "P-001"),
        ("role", "patient"),
    ];
    defaults.iter().chain(changes).map(|&(name, value)| (name.to_owned(), json!(value))).collect()
}

/// The request of API Gateway for a call of `route` (`GET /v1/submissions/{id}`) with `parameters` in its path, `query`, and
/// a JSON `body`. With `None` for `claims` it has not passed an authorizer.
pub fn request(
    route: &str,
    parameters: &[(&str, &str)],
    query: &str,
    claims: Option<Map<String, Value>>,
    body: Option<&str>,
    remaining: Duration,
) -> Request {
    let (method, path) = route.split_once(' ').expect("a route is a method and a path");
    let path =
        parameters.iter().fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
    let parameters: Map<String, Value> =
        parameters.iter().map(|&(name, value)| (name.to_owned(), json!(value))).collect();
    let mut event = json!({
        "version": "2.0", "routeKey": route, "rawPath": path, "rawQueryString": query,
        "headers": {"content-type": "application/json", "host": "localhost"},
        "requestContext": {
            "accountId": "000000000000", "apiId": "local", "domainName": "localhost", "domainPrefix": "localhost",
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "test"},
            "requestId": Uuid::new_v4().to_string(), "routeKey": route, "stage": "$default",
            "time": "23/Nov/2026:08:00:00 +0000", "timeEpoch": 1_795_420_800_000_u64,
        },
        "pathParameters": parameters, "isBase64Encoded": false,
    });
    if let Some(claims) = claims {
        event["requestContext"]["authorizer"] = json!({"jwt": {"claims": claims, "scopes": null}});
    }
    if let Some(body) = body {
        event["body"] = json!(body);
    }
    let request = lambda_http::request::from_str(&event.to_string()).expect("this is the shape of payload 2.0");
    request.with_lambda_context(context(remaining))
}

/// The text of each of `records` of the stream.
pub fn record_texts(records: &[Value]) -> Vec<Box<RawValue>> {
    records.iter().map(|record| to_raw_value(record).expect("it is JSON")).collect()
}

/// The event with a batch of `records` of the stream.
pub fn stream_event(records: &[Value], remaining: Duration) -> LambdaEvent<Batch> {
    LambdaEvent::new(Batch(Some(record_texts(records))), context(remaining))
}
