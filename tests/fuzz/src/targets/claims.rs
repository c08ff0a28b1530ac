//! The claims of access tokens.

use api::Caller;
use lambda_http::Request;
use local::gateway::authorizer;
use local::template::Authorizer;
use serde_json::{Map, Value, json};
use time::macros::datetime;

pub(super) fn claims(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // As the function would get them from a gateway that passes them unchanged.
    if let Some(request) = request(text) {
        call(&request);
    }
    let Ok(mut claims) = serde_json::from_str::<Map<String, Value>>(text) else { return };
    pass(&claims);
    // With what else the gateway requires, so that it passes the others on.
    for (name, value) in [("iss", "http://issuer.test"), ("aud", "app"), ("scope", "submissions:write")] {
        claims.insert(name.to_owned(), json!(value));
    }
    claims.insert("exp".to_owned(), json!(4_000_000_000_u64));
    claims.remove("nbf");
    claims.remove("iat");
    pass(&claims);
}

/// Passes verified claims through the local gateway to a function.
fn pass(claims: &Map<String, Value>) {
    let authorizer = Authorizer {
        issuer: "http://issuer.test".to_owned(),
        audience: vec!["app".to_owned()],
        header: "authorization".to_owned(),
    };
    let now = datetime!(2026-11-23 08:00:00 UTC);
    match authorizer::allow(claims, &authorizer, &["submissions:write".to_owned()], now) {
        Ok(allowed) => {
            let text = Value::Object(allowed.claims).to_string();
            call(&request(&text).expect("the gateway passes claims as texts"));
        }
        Err(refusal) => drop(refusal.to_string()),
    }
}

fn call(request: &Request) {
    let Ok(caller) = Caller::of(request) else { return };
    drop(caller.patient().map(ToString::to_string));
    drop(caller.only_site().map(ToString::to_string));
    for site in caller.sites() {
        assert!(caller.own_site(site.as_str()).is_ok(), "a site of the caller is not its own");
    }
    assert!(!caller.sub().is_empty(), "a caller without a name");
}

/// The event of API Gateway with `claims`, as the function decodes it.
fn request(claims: &str) -> Option<Request> {
    let event = format!(
        r#"{{"version":"2.0","routeKey":"POST /v1/submissions","rawPath":"/v1/submissions","rawQueryString":"",
        "headers":{{"host":"localhost"}},"requestContext":{{"accountId":"0","apiId":"local","stage":"$default",
        "http":{{"method":"POST","path":"/v1/submissions","protocol":"HTTP/1.1","sourceIp":"127.0.0.1","userAgent":"t"}},
        "requestId":"r","routeKey":"POST /v1/submissions","time":"23/Nov/2026:08:00:00 +0000","timeEpoch":1795420800000,
        "authorizer":{{"jwt":{{"claims":{claims},"scopes":null}}}}}},"isBase64Encoded":false}}"#
    );
    lambda_http::request::from_str(&event).ok()
}
