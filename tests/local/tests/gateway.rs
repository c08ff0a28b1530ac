//! The API through HTTP: a client, the gateway, and a function's process behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use local::console::Console;
use local::feed::Feed;
use local::gateway::Gateway;
use local::issuer::Issuer;
use local::lambda::{FunctionSettings, Functions};
use local::template::Template;
use serde_json::{Value, json};
use support::executable;
use tokio::net::TcpListener;

mod support;

const TEMPLATE: &str = r#"
Parameters:
  Issuer: {Type: String}
Resources:
  Api:
    Type: AWS::Serverless::HttpApi
    Properties:
      Auth:
        DefaultAuthorizer: Jwt
        Authorizers:
          Jwt:
            IdentitySource: $request.header.Authorization
            JwtConfiguration: {issuer: !Ref Issuer, audience: [app]}
  Work:
    Type: AWS::Serverless::Function
    Metadata: {BuildProperties: {Binary: work}}
    Properties:
      Timeout: 2
      Events:
        Submit: {Type: HttpApi, Properties: {Method: POST, Path: "/jobs/{id}", Auth: {AuthorizationScopes: [submissions:write]}}}
        Open: {Type: HttpApi, Properties: {Method: POST, Path: /open, Auth: {Authorizer: NONE}}}
        Quick: {Type: HttpApi, Properties: {Method: POST, Path: /quick, TimeoutInMillis: 100, Auth: {Authorizer: NONE}}}
"#;

struct Api {
    url: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Api {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it listens"));
        let parameters = BTreeMap::from([("Issuer".to_owned(), format!("{url}/local"))]);
        let template = Template::parse(Path::new("t.yaml"), TEMPLATE, &parameters).expect("the template is valid");
        let console = Console { quiet: true, logs: false };
        let (environment, feed) = (BTreeMap::new(), Feed::default());
        let settings = FunctionSettings { concurrency: 4, environment, launcher: None, console, feed };
        let functions = Functions::new([(template.functions[0].clone(), executable())], settings);
        let issuer = Issuer::open(None, format!("{url}/local")).expect("a key is made");
        let issuer = issuer.for_audience(vec!["app".to_owned()]);
        let router = Gateway::new(template, issuer.clone(), functions, console).router().merge(issuer.routes());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        Self { url, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        let mut request = Request::post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let response = self.client.request(request).await.expect("the gateway answers");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("the response is complete").to_bytes();
        let body = serde_json::from_slice(&body).expect("the answer is JSON");
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn token(&self, wanted: Value) -> String {
        let answer = self.post("/local/tokens", &[], wanted.to_string()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        format!("Bearer {}", answer.body["accessToken"].as_str().expect("a token"))
    }
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_request_reaches_its_function_with_claims_and_parameters() {
    let api = Api::start().await;
    let token = api.token(json!({"role": "patient", "study": "S1", "sites": ["A1", "B2"], "patient": "P1"})).await;
    let answer = api.post("/jobs/7?a=1", &[("authorization", &token)], "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let event = answer.body;
    assert_eq!(event["routeKey"], "POST /jobs/{id}");
    assert_eq!(event["pathParameters"], json!({"id": "7"}));
    assert_eq!(event["queryStringParameters"], json!({"a": "1"}));
    let jwt = &event["requestContext"]["authorizer"]["jwt"];
    assert_eq!(jwt["scopes"], json!(["submissions:write"]));
    for (claim, value) in [
        ("sub", "P1"),
        ("role", "patient"),
        ("study", "S1"),
        ("sites", "A1 B2"),
        ("patient", "P1"),
        ("token_use", "access"),
        ("scope", "submissions:write submissions:read instruments:read due:read"),
        ("aud", "[app]"),
    ] {
        assert_eq!(jwt["claims"][claim], value, "{claim}");
    }
}

#[tokio::test]
async fn refusals_have_api_gateways_status_and_body() {
    let api = Api::start().await;
    let expired = api.token(json!({"role": "patient", "expiresIn": -1})).await;
    let scopeless = api.token(json!({"role": "patient", "scope": "counts:read"})).await;
    let (_, unsigned) =
        expired.rsplit_once('.').map(|(rest, signature)| (signature, format!("{rest}."))).expect("a JWT");
    let long = "x".repeat(10 * 1024 * 1024 + 1);
    let much = "x".repeat(6 * 1024 * 1024);
    for (path, authorization, body, status, message) in [
        ("/jobs/1", "", "", 401, "Unauthorized"),
        ("/jobs/1", "Bearer x", "", 401, "Unauthorized"),
        ("/jobs/1", &expired, "", 401, "Unauthorized"),
        ("/jobs/1", &unsigned, "", 401, "Unauthorized"),
        ("/jobs/1", &scopeless, "", 403, "Forbidden"),
        ("/nowhere", "", "", 404, "Not Found"),
        ("/open", "", &long, 413, "Request Entity Too Large"),
        ("/open", "", &much, 413, "Request Entity Too Large"),
        ("/open", "", r#"{"do":"error"}"#, 500, "Internal Server Error"),
        ("/open", "", r#"{"do":"exit"}"#, 500, "Internal Server Error"),
        ("/open", "", r#"{"do":"hang"}"#, 500, "Internal Server Error"),
        ("/quick", "", r#"{"do":"hang"}"#, 503, "Service Unavailable"),
    ] {
        let mut headers = vec![("x-correlation-id", "mine-1"), ("content-type", "application/json")];
        if !authorization.is_empty() {
            headers.push(("authorization", authorization));
        }
        let answer = api.post(path, &headers, body.to_owned()).await;
        let case = format!("{path} {authorization} {}", &body[..body.len().min(20)]);
        assert_eq!((answer.status.as_u16(), &answer.body), (status, &json!({"message": message})), "{case}");
        assert_eq!(answer.header("x-correlation-id"), "mine-1", "{case}");
        assert!(!answer.header("apigw-requestid").is_empty(), "{case}");
        assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401 || status == 403, "{case}");
    }
    let answer = api.post("/nowhere", &[("x-correlation-id", "not well formed")], "").await;
    assert!(uuid::Uuid::parse_str(answer.header("x-correlation-id")).is_ok(), "a new one");
}

#[tokio::test]
async fn two_hundred_requests_at_once_are_all_answered() {
    let api = Api::start().await;
    let requests = (0..200).map(|number| {
        let body = json!({ "number": number }).to_string();
        let api = &api;
        async move { api.post("/open", &[("content-type", "application/json")], body).await }
    });
    for (number, answer) in futures::future::join_all(requests).await.into_iter().enumerate() {
        assert_eq!((answer.status, answer.body["number"].as_u64()), (StatusCode::OK, Some(number as u64)));
    }
}

#[tokio::test]
async fn an_invalid_token_request_is_refused_with_all_faults() {
    let api = Api::start().await;
    let wanted = json!({"role": "doctor", "sites": [1], "expiresIn": "soon", "colour": "red"});
    let answer = api.post("/local/tokens", &[], wanted.to_string()).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let errors = answer.body["errors"].as_array().expect("a list of errors");
    let pointers: Vec<_> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
    assert_eq!(pointers, ["/expiresIn", "/role", "/sites", "/colour"]);
    for body in ["", "[]", "{"] {
        assert_eq!(api.post("/local/tokens", &[], body).await.status, StatusCode::BAD_REQUEST, "{body:?}");
    }
}

#[tokio::test]
async fn a_token_lives_as_long_as_requested() {
    let api = Api::start().await;
    let answer = api.post("/local/tokens", &[], r#"{"role": "service", "expiresIn": 60}"#).await;
    assert_eq!((&answer.body["expiresIn"], &answer.body["tokenType"]), (&json!(60), &json!("Bearer")));
    let default = api.post("/local/tokens", &[], "{}").await;
    assert_eq!(default.body["expiresIn"], 3600);
}

#[test]
fn the_issuers_key_survives_a_restart_and_a_broken_one_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || {
        let data = local::data::DataDir::open(folder.path()).expect("it is free");
        Issuer::open(Some(&data), "http://issuer.test".to_owned())
    };
    let first = open().expect("a key is made").key_set();
    assert_eq!(open().expect("the key is kept").key_set(), first);
    std::fs::write(folder.path().join("issuer.der"), "x").expect("the folder is writable");
    let error = open().expect_err("the key is broken").to_string();
    assert!(error.contains("issuer.der cannot be used") && error.contains("Remove the file"), "{error}");
}
