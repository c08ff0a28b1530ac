//! `sam local start-api`: the HTTP API as SAM imitates it, without the template's authorizer.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Method, Request, Response};
use sam_local::{ANY_FUNCTION, Cloud, send};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{self, Instant};

use crate::Result;
use crate::events::{self, INVOCATIONS};
use crate::run_folder::RunFolder;
use crate::sam::{Sam, Settings};

/// How long SAM may take until it listens.
const PATIENCE: Duration = Duration::from_secs(120);
/// The program that adds the claims of a token.
const CLAIMS: &str = "sam-local-claims";
/// API Gateway refuses a body of more than 10 MB.
const TOO_LARGE: usize = 10 * 1024 * 1024 + 1;

/// More than fit into the template's limit, which SAM is given as one a second.
const REQUESTS_AT_ONCE: u16 = 20;

/// What start-api leaves out, beside what is shown before.
const NOT_ENFORCED: &str = "\
  so start-api enforces no token (signature, issuer, audience, expiry, scopes of a route), no rate, no size. Nor has it
  API Gateway's 30 s, concurrency limits, IAM, keys, an access log, streams, schedules: `cargo run` has tokens, scopes,
  streams and schedules.";

/// The id that the events submit, and another one, which nothing has submitted before.
const IDS: [&str; 2] = ["019bbeda-0f1e-7b2a-9d4e-5f6a7b8c9d0e", "019bbeda-0f1e-7b2a-9d4e-5f6a7b8c9dff"];

/// Event, expected status, and the beginning of the answer or a part of it. `sam local invoke` had the same events
/// before, so that what it stored is repeated.
const REQUESTS: &[(&str, u16, &str)] = &[
    ("submit-post-conflict", 409, "urn:epro:problem:"),
    ("submit-post-invalid", 422, "\"pointer\":\"/answers/1\""),
    ("submit-post-batch", 207, "\"status\":422"),
    ("submit-post-fhir", 200, "\"instrument\":\"phq-9\""),
    ("submit-post-correction", 200, "\"skewSeconds\""),
    ("submit-post-fhir-invalid", 422, "QuestionnaireResponse.item[2].answer[0]"),
    ("submit-get-questionnaire", 200, "urn:epro:questionnaire:phq-9"),
    ("submit-get-staff", 200, "\"status\":\"scored\""),
    ("counts-post-call", 202, ""),
    ("counts-get", 200, "\"site\":\"S02\""),
    ("counts-get-site", 200, "\"site\":\"S01\""),
    ("instruments-get", 200, "\"id\":\"phq-9\""),
    ("instruments-get-one", 200, "\"phq-9\""),
    ("definitions-put-instrument", 200, "\"hash\""),
    ("definitions-put-study", 200, "\"study\":\"FATIGUE\""),
    ("definitions-put-study-invalid", 422, "\"pointer\":\"/instruments/0\""),
    ("drafts-put", 200, "\"expiresAt\""),
    ("drafts-get", 200, "\"answers\":{\"1\":1}"),
    ("due-get", 200, "\"open\""),
    ("due-site-get", 200, "\"due\""),
    ("patients-get", 200, "\"P-001\""),
    ("registry-put", 200, "\"enrolledOn\":\"2026-11-01\""),
    ("audit-get", 200, "\"entries\":[{"),
    ("alerts-get", 200, "\"alerts\":["),
    ("alerts-get-waiting", 200, "\"alerts\":["),
    ("alerts-snooze", 409, "urn:epro:problem:alert-conflict"),
    ("alerts-acknowledge", 200, "\"acknowledged"),
    ("validate-post", 200, "\"findings\""),
    ("validate-post-invalid", 422, "\"pointer\""),
    ("report-get", 200, "%PDF-"),
];

/// Sends a request without a token to every route: each reaches its function, which must refuse it.
#[allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]
pub(crate) async fn without_claims(cloud: &Cloud, folder: &RunFolder, settings: &Settings<'_>) -> Result<()> {
    let api = Api::start(folder, settings).await?;
    println!("sam local start-api at {}", api.url);
    let mut routes = BTreeSet::new();
    for (_, name, status) in INVOCATIONS {
        let event = events::read(name)?;
        let Some(route) = event["routeKey"].as_str() else { continue };
        if status.is_some() && routes.insert(route.to_owned()) {
            refused(route, &api.send(&event, None).await?)?;
        }
    }
    let of_template: BTreeSet<String> =
        cloud.routes().iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    if routes != of_template {
        return Err(format!("the events are of the routes {routes:?}, and the template has {of_template:?}").into());
    }
    println!("  {} routes without a token: each function answers 401 and no data", routes.len());

    // Nothing verifies a token here, so its claims must not be believed.
    let event = events::read("submit-get-staff")?;
    let forged = unsigned(&event["requestContext"]["authorizer"]["jwt"]["claims"]);
    refused("a token that nobody signed", &api.send(&event, Some(&forged)).await?)?;
    println!("  a token that nobody signed: the function answers 401 and no data");

    // The template's limit, as SAM was given it, is one request a second.
    let started = Instant::now();
    for _ in 0..REQUESTS_AT_ONCE {
        refused("one request of many", &api.send(&event, None).await?)?;
    }
    let seconds = started.elapsed().as_secs_f32();
    // One a second, and one on top of that.
    if seconds + 2.0 < f32::from(REQUESTS_AT_ONCE) {
        println!(
            "  {REQUESTS_AT_ONCE} requests in {seconds:.1} s, where one a second is allowed: none is answered 429"
        );
    } else {
        println!("  NOT SHOWN: a rate above the limit, as {REQUESTS_AT_ONCE} requests took {seconds:.1} s here");
    }

    let mut large = events::read("submit-post")?;
    large["body"] = " ".repeat(TOO_LARGE).into();
    by_start_api(&api.send(&large, None).await?, 500)?;
    println!("  a body of 10 MB and a byte: 500, as the emulator cuts the event off at 6 MB; API Gateway answers 413");

    let mut unknown = events::read("submit-get")?;
    unknown["rawPath"] = "/v1/unknown".into();
    by_start_api(&api.send(&unknown, None).await?, 403)?;
    println!("  a path without a route: 403; API Gateway answers 404");
    println!("{NOT_ENFORCED}");
    Ok(())
}

/// The program that adds claims, built for this machine.
pub(crate) async fn claims_program() -> Result<PathBuf> {
    let mut built = local::executables::build(&Cloud::root(), &[CLAIMS.to_owned()], "dev", true).await?;
    Ok(built.remove(CLAIMS).ok_or("cargo built no sam-local-claims")?)
}

/// Sends the requests of the events, whose claims a program in the container adds in the place of an authorizer.
#[allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]
pub(crate) async fn with_claims(folder: &RunFolder, settings: &Settings<'_>) -> Result<()> {
    let api = Api::start(folder, settings).await?;
    println!("sam local start-api at {}, with claims that no authorizer verified", api.url);
    let first = api.check("submit-post", 202, "\"status\":\"queued\"").await?;
    for (name, status) in [("submit-post", 200), ("submit-get", 200)] {
        let again = api.check(name, status, "\"status\":\"queued\"").await?;
        if again != first {
            return Err(format!("{name} answered {again:?}, and submit-post answered {first:?} before").into());
        }
    }
    for (name, status, part) in REQUESTS {
        api.check(name, *status, part).await?;
    }

    let mut event = events::read("counts-get")?;
    event["requestContext"]["authorizer"]["jwt"]["claims"]["scope"] = "submissions:read".into();
    let answer = api.send(&event, Some(&token(&event))).await?;
    if answer.status() != 403 {
        return Err(format!("a token without the route's scope was answered {answer:?}").into());
    }
    println!("  a token without the route's scope: start-api passes it on, and the function answers 403");
    Ok(())
}

/// A running `sam local start-api`.
#[derive(Debug)]
struct Api {
    url: String,
    sam: Sam,
}

impl Api {
    async fn start(folder: &RunFolder, settings: &Settings<'_>) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port();
        let port_argument = port.to_string();
        // A function's container stays for its next requests.
        let arguments = ["start-api", "--host", "127.0.0.1", "--port", &port_argument, "--warm-containers", "LAZY"];
        let mut sam = Sam::start(folder, settings, ANY_FUNCTION, &arguments)?;
        let listening = async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
                if sam.has_ended()? {
                    return Err(io::Error::other(format!("sam local start-api ended:\n{}", sam.log())));
                }
                time::sleep(Duration::from_millis(100)).await;
            }
            Ok(())
        };
        let listening = time::timeout(PATIENCE, listening).await;
        listening.map_err(|_| format!("sam local start-api does not listen:\n{}", sam.log()))??;
        Ok(Self { url: format!("http://127.0.0.1:{port}"), sam })
    }

    /// Sends the request of event `name`, with the other id, and returns its answer, which must have `status` and
    /// contain `part`.
    #[allow(clippy::print_stdout, reason = "it talks to a person at a terminal")]
    async fn check(&self, name: &str, status: u16, part: &str) -> Result<Bytes> {
        let [known, new] = IDS;
        let event = match name {
            "submit-post" | "submit-get" | "submit-post-conflict" => {
                serde_json::from_str(&events::read(name)?.to_string().replace(known, new))?
            }
            _ => events::read(name)?,
        };
        let started = Instant::now();
        let answer = self.send(&event, Some(&token(&event))).await?;
        let body = String::from_utf8_lossy(answer.body());
        if answer.status() != status || !body.contains(part) {
            let log = self.sam.log();
            return Err(format!("{log}\n{name} was answered {answer:?}, and not {status} with {part}").into());
        }
        let route = event["routeKey"].as_str().unwrap_or_default();
        println!("  {route} ({name}): {status} ({:.1} s)", started.elapsed().as_secs_f32());
        Ok(answer.into_body())
    }

    /// Sends the request that API Gateway made `event` of.
    async fn send(&self, event: &Value, token: Option<&str>) -> Result<Response<Bytes>> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let uri = match text(&event["rawQueryString"]) {
            query if query.is_empty() => format!("{}{}", self.url, text(&event["rawPath"])),
            query => format!("{}{}?{query}", self.url, text(&event["rawPath"])),
        };
        let mut request = Request::builder().uri(uri);
        request = request.method(text(&event["requestContext"]["http"]["method"]).parse::<Method>()?);
        for name in ["accept", "accept-language", "content-type", "x-correlation-id"] {
            if let Some(value) = event["headers"][name].as_str() {
                request = request.header(name, value);
            }
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match (event["body"].as_str(), event["isBase64Encoded"] == true) {
            (Some(_), true) => return Err("an event with a binary body is not sent here".into()),
            (body, _) => body.unwrap_or_default().to_owned(),
        };
        let answer = send(request.body(body.into())?).await;
        answer.map_err(|e| format!("{}\nsam local start-api does not answer: {e}", self.sam.log()).into())
    }
}

/// Requires that the function itself refused a request, and gave nothing away.
fn refused(what: &str, answer: &Response<Bytes>) -> Result<()> {
    let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    // The function returns the correlation id of the request, which SAM does not know.
    let by_function = answer.headers().get("x-correlation-id").is_some_and(|id| id == "walk-through-1");
    let members: BTreeSet<&str> = body.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let problem = BTreeSet::from(["type", "title", "status", "detail", "correlationId"]);
    let outcome = BTreeSet::from(["resourceType", "issue"]);
    let nothing_else = members == problem && body["type"] == "urn:epro:problem:unauthenticated"
        || members == outcome && body["resourceType"] == "OperationOutcome";
    if answer.status() == 401 && by_function && nothing_else {
        return Ok(());
    }
    Err(format!("{what}: no authorizer passed the request, and it was answered {answer:?}").into())
}

/// Requires that start-api itself, and no function, answered with `status`.
fn by_start_api(answer: &Response<Bytes>, status: u16) -> Result<()> {
    if answer.status() == status && !answer.headers().contains_key("x-correlation-id") {
        return Ok(());
    }
    Err(format!("start-api was to answer {status}, and this was answered: {answer:?}").into())
}

/// The token of an event, with its claims and no signature.
fn token(event: &Value) -> String {
    unsigned(&event["requestContext"]["authorizer"]["jwt"]["claims"])
}

fn unsigned(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(&json!({"alg": "none"})), part(claims), URL_SAFE_NO_PAD.encode("no signature"))
}
