//! Payload format 2.0: a request as a function's event, and its result as a response.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version, header};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use super::authorizer::Allowed;
use crate::template::{ACCOUNT, Route};

/// The API's id. AWS assigns one to a deployed API.
const API_ID: &str = "local";

/// What the gateway adds to a request.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub(super) route: &'a Route,
    pub(super) parameters: BTreeMap<String, String>,
    pub(super) allowed: Option<&'a Allowed>,
    pub(super) caller: &'a str,
    pub(super) request_id: &'a str,
    pub(super) trace: &'a str,
    pub(super) now: OffsetDateTime,
}

/// The event of a request, as JSON.
pub(super) fn request(parts: &Parts, body: &Bytes, context: &Context<'_>) -> Vec<u8> {
    let headers = headers(parts, body, context);
    let host = headers.get("host").map_or("localhost", String::as_str).to_owned();
    // HTTP APIs pass the decoded path as `rawPath`.
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
    let query = parts.uri.query().unwrap_or_default();
    let route_key = match context.route.path.as_str() {
        Route::DEFAULT => Route::DEFAULT.to_owned(),
        path => format!("{} {path}", context.route.method),
    };
    let mut request_context = json!({
        "accountId": ACCOUNT,
        "apiId": API_ID,
        "domainName": host,
        "domainPrefix": host.split('.').next(),
        "http": {
            "method": parts.method.as_str(),
            "path": path,
            "protocol": protocol(parts.version),
            "sourceIp": context.caller,
            "userAgent": headers.get("user-agent").cloned().unwrap_or_default(),
        },
        "requestId": context.request_id,
        "routeKey": route_key,
        "stage": "$default",
        "time": clf(context.now),
        "timeEpoch": context.now.unix_timestamp_nanos() / 1_000_000,
    });
    if let Some(allowed) = context.allowed {
        request_context["authorizer"] = json!({"jwt": {"claims": allowed.claims, "scopes": allowed.scopes}});
    }
    let mut event = json!({
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": headers,
        "requestContext": request_context,
        "isBase64Encoded": false,
    });
    let cookies = cookies(&parts.headers);
    if !cookies.is_empty() {
        event["cookies"] = json!(cookies);
    }
    if !query.is_empty() {
        event["queryStringParameters"] = json!(query_parameters(query));
    }
    if !context.parameters.is_empty() {
        event["pathParameters"] = json!(context.parameters);
    }
    if !body.is_empty() {
        match std::str::from_utf8(body) {
            Ok(text) if is_text(&parts.headers) => event["body"] = text.into(),
            _ => {
                event["body"] = STANDARD.encode(body).into();
                event["isBase64Encoded"] = true.into();
            }
        }
    }
    event.to_string().into_bytes()
}

/// A function's result. Format 2.0 ignores other members.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    headers: Option<Map<String, Value>>,
    #[serde(default)]
    cookies: Option<Vec<String>>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: Option<bool>,
}

/// The response that a function's result describes. The error says why the result is none.
pub(super) fn response(payload: &Bytes) -> Result<Response, String> {
    let value: Value = serde_json::from_slice(payload).map_err(|_| "an answer that is not JSON")?;
    if value.get("statusCode").is_none() {
        // Without a status code the whole result is the body.
        return Ok(plain(payload.clone()));
    }
    let answer: Answer = serde_json::from_value(value).map_err(|_| "an answer that is not of payload format 2.0")?;
    let status = StatusCode::from_u16(answer.status_code).map_err(|_| "an answer with an impossible status code")?;
    let body = match answer.body {
        Some(body) if answer.is_base64_encoded == Some(true) => {
            Bytes::from(STANDARD.decode(body).map_err(|_| "an answer whose body is not base64")?)
        }
        Some(body) => body.into(),
        None => Bytes::new(),
    };
    let has_body = !body.is_empty();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in answer.headers.unwrap_or_default() {
        let name = HeaderName::try_from(name).map_err(|_| "an answer with an impossible header name")?;
        let value = match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let value = HeaderValue::try_from(value).map_err(|_| "an answer with an impossible header value")?;
        if !is_of_the_connection(&name) {
            headers.insert(name, value);
        }
    }
    for cookie in answer.cookies.unwrap_or_default() {
        let cookie = HeaderValue::try_from(cookie).map_err(|_| "an answer with an impossible cookie")?;
        headers.append(header::SET_COOKIE, cookie);
    }
    if has_body && !headers.contains_key(header::CONTENT_TYPE) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
    }
    Ok(response)
}

fn plain(body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Headers by lower-case name, values of one name joined by commas, with those that the gateway adds.
fn headers(parts: &Parts, body: &Bytes, context: &Context<'_>) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for name in parts.headers.keys() {
        if name == header::COOKIE || is_of_the_connection(name) {
            continue;
        }
        let values: Vec<_> =
            parts.headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        headers.insert(name.as_str().to_owned(), values.join(","));
    }
    if let Some(host) = parts.uri.host() {
        headers.entry("host".to_owned()).or_insert_with(|| host.to_owned());
    }
    let port = headers.get("host").and_then(|host| host.rsplit_once(':')).map_or("80", |(_, port)| port).to_owned();
    let forwarded_for = match headers.get("x-forwarded-for") {
        Some(before) => format!("{before}, {}", context.caller),
        None => context.caller.to_owned(),
    };
    for (name, value) in [
        ("content-length", body.len().to_string()),
        ("x-amzn-trace-id", context.trace.to_owned()),
        ("x-forwarded-for", forwarded_for),
        ("x-forwarded-port", port),
        ("x-forwarded-proto", "http".to_owned()),
    ] {
        headers.insert(name.to_owned(), value);
    }
    headers
}

fn cookies(headers: &HeaderMap) -> Vec<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .map(|cookie| cookie.trim().to_owned())
        .filter(|cookie| !cookie.is_empty())
        .collect()
}

/// Decoded parameters, values of one name joined by commas.
fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        parameters
            .entry(name.into_owned())
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    parameters
}

/// API Gateway passes these types as text, and all others (forms too) as base64.
fn is_text(headers: &HeaderMap) -> bool {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return false;
    }
    let Some(content_type) = headers.get(header::CONTENT_TYPE) else { return true };
    let content_type = content_type.to_str().unwrap_or_default().to_ascii_lowercase();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.starts_with("text/")
        || matches!(essence, "application/json" | "application/javascript" | "application/xml")
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
}

/// Headers of one connection, which are not passed on.
fn is_of_the_connection(name: &HeaderName) -> bool {
    [header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::UPGRADE, header::TE].contains(name)
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

/// The time as `23/Nov/2026:07:58:03 +0000`.
fn clf(time: OffsetDateTime) -> String {
    let format = format_description!(
        "[day]/[month repr:short]/[year]:[hour]:[minute]:[second] [offset_hour sign:mandatory][offset_minute]"
    );
    time.format(format).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::to_bytes;
    use axum::http::Request;

    use super::*;

    fn event(request: Request<&str>) -> Value {
        let (parts, body) = request.into_parts();
        let route = Route {
            method: "POST".to_owned(),
            path: "/v1/sites/{site}/calls".to_owned(),
            function: "Counts".to_owned(),
            authorizer: None,
            scopes: Vec::new(),
            timeout: Duration::from_secs(30),
        };
        let claims = json!({"sub": "s-1", "exp": "1800000060"}).as_object().cloned().expect("an object");
        let allowed = Allowed { claims, scopes: Some(vec!["counts:write".to_owned()]) };
        let context = Context {
            route: &route,
            parameters: BTreeMap::from([("site".to_owned(), "A 1".to_owned())]),
            allowed: Some(&allowed),
            caller: "127.0.0.1",
            request_id: "R1",
            trace: "Root=1-5",
            now: OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time"),
        };
        let payload = request_bytes(&parts, body, &context);
        serde_json::from_slice(&payload).expect("an event is JSON")
    }

    fn request_bytes(parts: &Parts, body: &str, context: &Context<'_>) -> Vec<u8> {
        request(parts, &Bytes::from(body.to_owned()), context)
    }

    #[test]
    fn an_event_has_the_shape_that_api_gateway_sends() {
        let request = Request::post("/v1/sites/A%201/calls?b=1&a=x%20y&b=2")
            .header("Host", "127.0.0.1:3000")
            .header("User-Agent", "curl/8")
            .header("Content-Type", "application/json; charset=utf-8")
            .header("X-Two", "1")
            .header("X-Two", "2")
            .header("Cookie", "a=1; b=2")
            .header("Connection", "keep-alive")
            .body(r#"{"é":1}"#)
            .expect("a request");
        let expected = json!({
            "version": "2.0",
            "routeKey": "POST /v1/sites/{site}/calls",
            "rawPath": "/v1/sites/A 1/calls",
            "rawQueryString": "b=1&a=x%20y&b=2",
            "cookies": ["a=1", "b=2"],
            "headers": {
                "content-length": "8",
                "content-type": "application/json; charset=utf-8",
                "host": "127.0.0.1:3000",
                "user-agent": "curl/8",
                "x-amzn-trace-id": "Root=1-5",
                "x-forwarded-for": "127.0.0.1",
                "x-forwarded-port": "3000",
                "x-forwarded-proto": "http",
                "x-two": "1,2",
            },
            "queryStringParameters": {"a": "x y", "b": "1,2"},
            "pathParameters": {"site": "A 1"},
            "requestContext": {
                "accountId": "000000000000",
                "apiId": "local",
                "authorizer": {"jwt": {"claims": {"sub": "s-1", "exp": "1800000060"}, "scopes": ["counts:write"]}},
                "domainName": "127.0.0.1:3000",
                "domainPrefix": "127",
                "http": {
                    "method": "POST",
                    "path": "/v1/sites/A 1/calls",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "curl/8",
                },
                "requestId": "R1",
                "routeKey": "POST /v1/sites/{site}/calls",
                "stage": "$default",
                "time": "15/Jan/2027:08:00:00 +0000",
                "timeEpoch": 1_800_000_000_000_u64,
            },
            "body": r#"{"é":1}"#,
            "isBase64Encoded": false,
        });
        assert_eq!(event(request), expected);
    }

    #[test]
    fn absent_parts_are_not_in_the_event() {
        let event = event(Request::get("/x").body("").expect("a request"));
        for field in ["cookies", "queryStringParameters", "body"] {
            assert!(event.get(field).is_none(), "{field}");
        }
        assert_eq!(event["rawQueryString"], "");
    }

    #[test]
    fn a_binary_body_is_passed_in_base64() {
        for (content_type, encoding, text) in [
            ("application/json", None, true),
            ("text/csv", None, true),
            ("application/problem+json", None, true),
            ("application/x-www-form-urlencoded", None, false),
            ("application/octet-stream", None, false),
            ("application/json", Some("gzip"), false),
        ] {
            let mut request = Request::post("/x").header("content-type", content_type);
            if let Some(encoding) = encoding {
                request = request.header("content-encoding", encoding);
            }
            let event = event(request.body("abc").expect("a request"));
            let expected = if text { json!(["abc", false]) } else { json!(["YWJj", true]) };
            assert_eq!(json!([event["body"], event["isBase64Encoded"]]), expected, "{content_type} {encoding:?}");
        }
    }

    async fn answer(payload: Value) -> Result<(u16, HeaderMap, Bytes), String> {
        let response = response(&payload.to_string().into())?;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.expect("a body in memory");
        Ok((parts.status.as_u16(), parts.headers, body))
    }

    #[tokio::test]
    async fn a_result_becomes_a_response() {
        let (status, headers, body) = answer(json!({
            "statusCode": 202,
            "headers": {"Content-Type": "application/json", "X-A": "1", "Content-Length": "999"},
            "multiValueHeaders": {"X-A": ["2"]},
            "cookies": ["a=1; Secure", "b=2"],
            "body": "eyJhIjoxfQ==",
            "isBase64Encoded": true,
        }))
        .await
        .expect("the result is valid");
        assert_eq!((status, &body[..]), (202, &br#"{"a":1}"#[..]));
        assert_eq!(
            (&headers["content-type"], &headers["x-a"]),
            (&"application/json".parse().expect("a header"), &"1".parse().expect("a header"))
        );
        assert!(!headers.contains_key("content-length"));
        assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    }

    #[tokio::test]
    async fn a_binary_result_is_returned_byte_for_byte() {
        let bytes: Vec<u8> = (0..=255).collect();
        let payload = json!({"statusCode": 200, "body": STANDARD.encode(&bytes), "isBase64Encoded": true});
        let (_, _, body) = answer(payload).await.expect("the result is valid");
        assert_eq!(body, bytes);
    }

    #[tokio::test]
    async fn a_result_without_a_status_is_the_body() {
        let (status, headers, body) = answer(json!({"a": 1})).await.expect("the result is valid");
        assert_eq!((status, &body[..]), (200, &br#"{"a":1}"#[..]));
        assert_eq!(headers["content-type"], "application/json");
        let (_, headers, _) = answer(json!({"statusCode": 200, "body": "x"})).await.expect("the result is valid");
        assert_eq!(headers["content-type"], "text/plain;charset=UTF-8");
    }

    #[tokio::test]
    async fn a_result_that_describes_no_response_is_an_error() {
        for payload in [
            json!({"statusCode": "many"}),
            json!({"statusCode": 99}),
            json!({"statusCode": 200, "headers": {"a b": "x"}}),
            json!({"statusCode": 200, "headers": {"a": "x\ny"}}),
            json!({"statusCode": 200, "body": {"a": 1}}),
            json!({"statusCode": 200, "body": "%", "isBase64Encoded": true}),
        ] {
            assert!(answer(payload.clone()).await.is_err(), "{payload}");
        }
        assert!(response(&Bytes::from_static(b"no json")).is_err());
    }
}
