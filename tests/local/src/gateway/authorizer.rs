//! The JWT authorizer of an HTTP API. It checks exactly what API Gateway documents; the functions decide what a token's
//! claims allow.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::issuer::Issuer;
use crate::template::Authorizer;

/// A caller with a valid token.
#[derive(Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The token's claims as API Gateway passes them: all as text.
    pub claims: Map<String, Value>,
    /// The route's scopes that the token has; `None` if the route requires none.
    pub scopes: Option<Vec<String>>,
}

/// Why a token is refused. No variant carries a part of the token.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request has none.
    #[error("no token")]
    NoToken,
    /// It is malformed, not signed by the issuer, for another API, or not valid now.
    #[error("{0}")]
    Token(&'static str),
    /// It has none of the route's scopes.
    #[error("the token has none of the scopes {0}")]
    Scope(String),
}

/// Checks the token of a request: signature, `kid`, `iss`, `aud` or `client_id`, `exp`, `nbf`, `iat`, and scopes.
pub(super) fn authorize(
    authorizer: &Authorizer,
    scopes: &[String],
    issuer: &Issuer,
    headers: &HeaderMap,
    now: OffsetDateTime,
) -> Result<Allowed, Refusal> {
    let header = headers.get(&authorizer.header).ok_or(Refusal::NoToken)?;
    let text = header.to_str().map_err(|_| Refusal::Token("the token is not text"))?.trim();
    let token = match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        Some(_) => return Err(Refusal::Token("the scheme is not Bearer")),
        None if text.is_empty() => return Err(Refusal::NoToken),
        None => text,
    };
    allow(&verified(token, issuer)?, authorizer, scopes, now)
}

/// The caller with a token of these `claims`, whose signature was verified.
///
/// # Errors
/// The token is for another API, is not valid at `now`, or has none of `scopes`.
pub fn allow(
    claims: &Map<String, Value>,
    authorizer: &Authorizer,
    scopes: &[String],
    now: OffsetDateTime,
) -> Result<Allowed, Refusal> {
    check(claims, authorizer, now.unix_timestamp())?;
    let granted = match granted(claims, scopes) {
        _ if scopes.is_empty() => None,
        granted if granted.is_empty() => return Err(Refusal::Scope(scopes.join(" "))),
        granted => Some(granted),
    };
    let claims = claims.iter().map(|(name, value)| (name.clone(), Value::String(text_of(value)))).collect();
    Ok(Allowed { claims, scopes: granted })
}

/// The claims of a token with a valid signature of the issuer.
fn verified(token: &str, issuer: &Issuer) -> Result<Map<String, Value>, Refusal> {
    let malformed = || Refusal::Token("the token is not a JWT");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
    let object =
        |part: &str| -> Option<Map<String, Value>> { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok() };
    let header = object(header).ok_or_else(malformed)?;
    let claims = object(claims).ok_or_else(malformed)?;
    // The algorithm is fixed here and never taken from the token: `none`, and HMAC with the public key, are refused.
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err(Refusal::Token("the token is not signed with RS256"));
    }
    let kid = header.get("kid").and_then(Value::as_str).ok_or(Refusal::Token("the token names no key"))?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
    if !issuer.verifies(kid, signed, &signature) {
        return Err(Refusal::Token("the signature is not of the issuer's key"));
    }
    Ok(claims)
}

fn check(claims: &Map<String, Value>, authorizer: &Authorizer, now: i64) -> Result<(), Refusal> {
    if claims.get("iss").and_then(Value::as_str) != Some(&authorizer.issuer) {
        return Err(Refusal::Token("the token has another issuer"));
    }
    let meant = |audience: &Value| audience.as_str().is_some_and(|one| authorizer.audience.iter().any(|a| a == one));
    let for_us = match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(meant),
        Some(audience) => meant(audience),
        None => claims.get("client_id").is_some_and(meant),
    };
    if !for_us {
        return Err(Refusal::Token("the token is for another audience"));
    }
    let time = |claim: &str| match claims.get(claim) {
        None => Ok(None),
        Some(value) => match value.as_f64() {
            #[expect(clippy::cast_possible_truncation, reason = "an absurd time saturates, and stays absurd")]
            Some(seconds) => Ok(Some(seconds as i64)),
            None => Err(Refusal::Token("a time of the token is not a number")),
        },
    };
    match time("exp")? {
        None => return Err(Refusal::Token("the token never expires")),
        Some(expires) if expires <= now => return Err(Refusal::Token("the token has expired")),
        Some(_) => {}
    }
    if time("nbf")?.is_some_and(|begins| begins > now) {
        return Err(Refusal::Token("the token is not valid yet"));
    }
    if time("iat")?.is_some_and(|issued| issued > now) {
        return Err(Refusal::Token("the token was issued in the future"));
    }
    Ok(())
}

/// The required scopes that the token's `scope` or `scp` has.
fn granted(claims: &Map<String, Value>, required: &[String]) -> Vec<String> {
    let words = |value: &Value| -> Vec<String> {
        match value {
            Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
            Value::Array(list) => list.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let has: Vec<String> = ["scope", "scp"].iter().filter_map(|name| claims.get(*name)).flat_map(words).collect();
    required.iter().filter(|scope| has.contains(scope)).cloned().collect()
}

/// A claim as API Gateway passes it: a list as `[a b]`, an object as `map[a:b]`.
fn text_of(claim: &Value) -> String {
    match claim {
        Value::String(text) => text.clone(),
        Value::Null => "<nil>".to_owned(),
        Value::Bool(_) | Value::Number(_) => claim.to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(text_of).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name}:{}", text_of(value)));
            format!("map[{}]", fields.collect::<Vec<_>>().join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use axum::http::header::AUTHORIZATION;
    use serde_json::json;

    use super::*;

    const TOKENS: [&str; 5] = [
        include_str!("../../../tokens/cognito-user.json"),
        include_str!("../../../tokens/cognito-machine.json"),
        include_str!("../../../tokens/entra-id.json"),
        include_str!("../../../tokens/auth0.json"),
        include_str!("../../../tokens/keycloak.json"),
    ];

    const NOW: i64 = 1_800_000_000;

    static OURS: LazyLock<Issuer> = LazyLock::new(issuer);

    fn issuer() -> Issuer {
        Issuer::open(None, "http://issuer.test".to_owned()).expect("a key is made")
    }

    fn claims() -> Value {
        json!({
            "iss": "http://issuer.test", "aud": ["app"], "sub": "p-1", "exp": NOW + 60, "iat": NOW, "scope": "a:read a:write",
            "cognito:groups": ["g1", "g2"], "admin": false, "study": "S1",
        })
    }

    fn with(name: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[name] = value;
        claims
    }

    fn without(name: &str) -> Value {
        let mut claims = claims();
        claims.as_object_mut().expect("claims are an object").remove(name);
        claims
    }

    fn ask(authorization: Option<&str>, scopes: &[&str]) -> Result<Allowed, Refusal> {
        let authorizer = Authorizer {
            issuer: "http://issuer.test".to_owned(),
            audience: vec!["other".to_owned(), "app".to_owned()],
            header: "authorization".to_owned(),
        };
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert("authorization", value.parse().expect("a header value"));
        }
        let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let now = OffsetDateTime::from_unix_timestamp(NOW).expect("a time");
        authorize(&authorizer, &scopes, &OURS, &headers, now)
    }

    fn ask_with(claims: &Value) -> Result<Allowed, Refusal> {
        ask(Some(&format!("Bearer {}", OURS.sign(claims))), &["a:read"])
    }

    #[test]
    fn a_good_token_passes_with_its_claims_as_text() {
        let allowed = ask_with(&claims()).expect("the token is valid");
        assert_eq!(allowed.scopes, Some(vec!["a:read".to_owned()]));
        assert_eq!(
            Value::Object(allowed.claims),
            json!({
                "iss": "http://issuer.test", "aud": "[app]", "sub": "p-1", "exp": "1800000060", "iat": "1800000000",
                "scope": "a:read a:write", "cognito:groups": "[g1 g2]", "admin": "false", "study": "S1",
            })
        );
    }

    /// Claims of known issuers' tokens, and how API Gateway passes them. The functions' tests use the same file.
    #[test]
    fn tokens_of_known_issuers_pass_as_api_gateway_passes_them() {
        for file in TOKENS {
            let known: Value = serde_json::from_str(file).expect("the file is JSON");
            let text = |name: &str| known[name].as_str().expect("a text").to_owned();
            let authorizer = |audience: &str| Authorizer {
                issuer: known["token"]["iss"].as_str().expect("a text").to_owned(),
                audience: vec![audience.to_owned()],
                header: "authorization".to_owned(),
            };
            let token = format!("Bearer {}", OURS.sign(&known["token"]));
            let headers = HeaderMap::from_iter([(AUTHORIZATION, token.parse().expect("a header value"))]);
            let ask = |audience: &str, scope: &str| {
                let now = OffsetDateTime::from_unix_timestamp(NOW).expect("a time");
                authorize(&authorizer(audience), &[scope.to_owned()], &OURS, &headers, now)
            };
            let allowed = ask(&text("audience"), &text("routeScope")).expect("the token is valid");
            assert_eq!(Value::Object(allowed.claims), known["passed"], "{}", known["issuer"]);
            assert_eq!(allowed.scopes, Some(vec![text("routeScope")]));
            assert_eq!(ask("another", &text("routeScope")), Err(Refusal::Token("the token is for another audience")));
            assert_eq!(ask(&text("audience"), "other/scope"), Err(Refusal::Scope("other/scope".to_owned())));
        }
    }

    #[test]
    fn the_scheme_may_be_absent_or_of_any_case() {
        let token = OURS.sign(&claims());
        for header in [token.clone(), format!("bearer {token}"), format!("BEARER  {token}")] {
            assert!(ask(Some(&header), &[]).is_ok(), "{}", &header[..8]);
        }
        assert_eq!(ask(Some(&format!("Basic {token}")), &[]), Err(Refusal::Token("the scheme is not Bearer")));
    }

    #[test]
    fn a_request_without_a_token_is_refused() {
        assert_eq!(ask(None, &[]), Err(Refusal::NoToken));
        assert_eq!(ask(Some(""), &[]), Err(Refusal::NoToken));
    }

    #[test]
    fn invalid_claims_are_refused() {
        for (claims, why) in [
            (with("exp", json!(NOW)), "the token has expired"),
            (with("exp", json!(NOW - 1)), "the token has expired"),
            (without("exp"), "the token never expires"),
            (with("exp", json!("1900000000")), "a time of the token is not a number"),
            (with("nbf", json!(NOW + 1)), "the token is not valid yet"),
            (with("iat", json!(NOW + 1)), "the token was issued in the future"),
            (with("iss", json!("http://issuer.test/")), "the token has another issuer"),
            (without("iss"), "the token has another issuer"),
            (with("aud", json!("another")), "the token is for another audience"),
            (with("aud", json!([])), "the token is for another audience"),
            (without("aud"), "the token is for another audience"),
        ] {
            assert_eq!(ask_with(&claims), Err(Refusal::Token(why)), "{claims}");
        }
    }

    #[test]
    fn the_client_id_counts_where_there_is_no_audience() {
        let mut claims = without("aud");
        claims["client_id"] = json!("app");
        assert!(ask_with(&claims).is_ok());
        claims["aud"] = json!("another");
        assert_eq!(ask_with(&claims), Err(Refusal::Token("the token is for another audience")));
    }

    #[test]
    fn one_of_the_routes_scopes_is_enough_and_none_is_forbidden() {
        let token = format!("Bearer {}", OURS.sign(&claims()));
        assert!(ask(Some(&token), &["x", "a:write"]).is_ok());
        assert_eq!(ask(Some(&token), &["x", "a"]), Err(Refusal::Scope("x a".to_owned())));
        assert_eq!(ask(Some(&token), &[]).expect("no scope is asked for").scopes, None);
        let token = format!("Bearer {}", OURS.sign(&without("scope")));
        assert_eq!(ask(Some(&token), &["a:read"]), Err(Refusal::Scope("a:read".to_owned())));
    }

    #[test]
    fn only_the_issuers_own_signature_counts() {
        let theirs = issuer().sign(&claims());
        let refused = Err(Refusal::Token("the signature is not of the issuer's key"));
        assert_eq!(ask(Some(&theirs), &[]), refused, "another key");

        let ours = OURS.sign(&claims());
        let parts: Vec<&str> = ours.split('.').collect();
        let changed = URL_SAFE_NO_PAD.encode(with("sub", json!("p-2")).to_string());
        assert_eq!(ask(Some(&format!("{}.{changed}.{}", parts[0], parts[2])), &[]), refused, "other claims");

        for (header, why) in [
            (json!({"alg": "none"}), "the token is not signed with RS256"),
            (json!({"alg": "HS256", "kid": "x"}), "the token is not signed with RS256"),
            (json!({"alg": "RS256"}), "the token names no key"),
            (json!({"alg": "RS256", "kid": "x"}), "the signature is not of the issuer's key"),
        ] {
            let header = URL_SAFE_NO_PAD.encode(header.to_string());
            for signature in ["", parts[2]] {
                let token = format!("{header}.{}.{signature}", parts[1]);
                assert_eq!(ask(Some(&token), &[]), Err(Refusal::Token(why)), "{header}");
            }
        }
        for token in ["x", "a.b.c", "..", &format!("{}.{}", parts[0], parts[1])] {
            assert_eq!(ask(Some(token), &[]), Err(Refusal::Token("the token is not a JWT")), "{token}");
        }
    }
}
