//! The floor: what a program costs that does nothing but the route `POST /v1/submissions` of `submit`.
//!
//! It has no SDK, no runtime of Lambda and no asynchronous tasks: it blocks on three connections, reads events by their
//! types and signs by hand. It is here to be measured and has no tests of its own: before it is measured, its answers and
//! its calls are compared with those of `submit`.
#![allow(clippy::print_stdout, reason = "a function's log")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;

use ring::{digest, hmac};
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]");
const TIME: &[BorrowedFormatItem<'_>] = format_description!("[hour][minute][second]");
const SORTABLE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
const FIELDS: [&str; 9] =
    ["id", "instrument", "version", "authoredAt", "sentAt", "answers", "device", "amends", "reason"];
/// The content hash of the PHQ-9.
const HASH: &str = "f5f491c2f78edbc287c69216e598267e24e9e5050e41446ddf6cd37289a52be7";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow)]
    headers: Headers<'a>,
    #[serde(borrow)]
    request_context: Context<'a>,
    #[serde(borrow, default)]
    body: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Headers<'a> {
    #[serde(rename = "content-type", default)]
    content_type: &'a str,
    #[serde(rename = "x-correlation-id")]
    correlation_id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Context<'a> {
    #[serde(borrow)]
    authorizer: Authorizer<'a>,
}

#[derive(Deserialize)]
struct Authorizer<'a> {
    #[serde(borrow)]
    jwt: Jwt<'a>,
}

#[derive(Deserialize)]
struct Jwt<'a> {
    #[serde(borrow)]
    claims: Claims<'a>,
}

#[derive(Deserialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    study: &'a str,
    role: &'a str,
    scope: &'a str,
    sites: &'a str,
    patient: &'a str,
    token_use: &'a str,
}

/// A body that is valid as far as its types say.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Body<'a> {
    id: &'a str,
    instrument: &'a str,
    version: &'a str,
    authored_at: &'a str,
    sent_at: Option<&'a str>,
    #[serde(borrow)]
    answers: BTreeMap<&'a str, Option<u8>>,
    device: Option<Device>,
    amends: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    app: Option<String>,
    os: Option<String>,
}

struct Answer {
    status: u16,
    location: Option<String>,
    body: Value,
}

fn main() -> Result<()> {
    let mut dynamodb = Dynamodb::of_environment()?;
    let runtime = env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut api = Connection::open(&runtime)?;
    loop {
        api.send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n", &[], b"")?;
        let next = api.receive()?;
        let request_id = next.header("lambda-runtime-aws-request-id").unwrap_or_default().to_owned();
        let answer = answer(&next.body, &request_id, &mut dynamodb)?;
        let line = format!("POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\n");
        api.send(&line, &[], &answer)?;
        api.receive()?;
    }
}

/// The answer to the event `json`, in payload format 2.0.
fn answer(json: &[u8], request_id: &str, dynamodb: &mut Dynamodb) -> Result<Vec<u8>> {
    let event: Event<'_> = serde_json::from_slice(json)?;
    let made;
    let correlation_id = match event.headers.correlation_id {
        Some(given) => given,
        None => {
            made = Uuid::new_v4().to_string();
            &made
        }
    };
    let answer = post(&event, correlation_id, request_id, dynamodb)?;
    let line = json!({"event": "submission_received", "correlation_id": correlation_id, "status": answer.status});
    println!("{line}");
    let mut headers = json!({
        "content-type": if answer.status < 300 { "application/json" } else { "application/problem+json" },
        "x-correlation-id": correlation_id,
        "cache-control": "no-store",
    });
    if let Some(location) = answer.location {
        headers["location"] = location.into();
    }
    let answer = json!({"statusCode": answer.status, "headers": headers, "body": answer.body.to_string()});
    Ok(serde_json::to_vec(&answer)?)
}

fn post(event: &Event<'_>, correlation_id: &str, request_id: &str, dynamodb: &mut Dynamodb) -> Result<Answer> {
    let claims = &event.request_context.authorizer.jwt.claims;
    let is_scoped = claims.scope.split(' ').any(|scope| scope == "submissions:write");
    let is_one_site = !claims.sites.is_empty() && !claims.sites.contains(' ');
    if claims.token_use != "access" || claims.sub.is_empty() || claims.iss.is_empty() {
        return Ok(problem(401, "unauthenticated", correlation_id, &[]));
    }
    if !is_scoped || !is_one_site || claims.role != "patient" || claims.patient.is_empty() {
        return Ok(problem(403, "forbidden", correlation_id, &[]));
    }
    if !event.headers.content_type.starts_with("application/json") {
        return Ok(problem(415, "unsupported-media-type", correlation_id, &[]));
    }
    if event.body.len() > 256 * 1024 {
        return Ok(problem(413, "too-large", correlation_id, &[]));
    }
    let now = OffsetDateTime::now_utc();
    let count = dynamodb.count_call(claims, request_id, now)?;
    let answer = match valid(&event.body) {
        Some((body, id, authored_at)) => {
            let put = Put { claims, body: &body, id, authored_at, correlation_id, request_id, now };
            put.answer(dynamodb)?
        }
        None => problem(422, "invalid", correlation_id, &findings(&event.body)),
    };
    if count {
        dynamodb.counts.receive()?;
    }
    Ok(answer)
}

/// The body, if it is valid.
fn valid(body: &str) -> Option<(Body<'_>, Uuid, OffsetDateTime)> {
    let body: Body<'_> = serde_json::from_str(body).ok()?;
    let id = Uuid::parse_str(body.id).ok()?;
    let authored_at = OffsetDateTime::parse(body.authored_at, &Rfc3339).ok()?;
    let sent = body.sent_at.is_none_or(|at| OffsetDateTime::parse(at, &Rfc3339).is_ok());
    let is_item = |id: &str| matches!(id.parse::<u8>(), Ok(1..=10));
    let fits = body.answers.iter().all(|(id, answer)| is_item(id) && answer.is_none_or(|code| code <= 3));
    let is_new = body.amends.is_none() && body.reason.is_none();
    (sent && fits && is_new && (body.instrument, body.version) == ("phq-9", "1.0.0")).then_some((body, id, authored_at))
}

/// The findings in a body that is not valid.
fn findings(body: &str) -> Vec<Value> {
    let finding = |pointer: &str, code: &str| json!({"pointer": pointer, "code": code, "detail": "see the contract"});
    let Ok(Value::Object(object)) = serde_json::from_str(body) else { return vec![finding("", "json.syntax")] };
    let text = |name: &str| object.get(name).and_then(Value::as_str);
    let unknown = object.keys().filter(|name| !FIELDS.contains(&name.as_str()));
    let mut found: Vec<Value> = unknown.map(|name| finding(&format!("/{name}"), "field.unknown")).collect();
    if text("id").is_none_or(|id| Uuid::parse_str(id).is_err()) {
        found.push(finding("/id", "id.not-a-uuid"));
    }
    if text("instrument") != Some("phq-9") {
        found.push(finding("/instrument", "instrument.unknown"));
    }
    if text("version") != Some("1.0.0") {
        found.push(finding("/version", "instrument.version-unknown"));
    }
    if text("authoredAt").is_none_or(|at| OffsetDateTime::parse(at, &Rfc3339).is_err()) {
        found.push(finding("/authoredAt", "authored-at.format"));
    }
    for (id, answer) in object.get("answers").and_then(Value::as_object).into_iter().flatten() {
        let code = match answer {
            _ if !matches!(id.parse::<u8>(), Ok(1..=10)) => "item.unknown",
            Value::Null => continue,
            Value::Number(number) if number.as_u64().is_some_and(|code| code <= 3) => continue,
            Value::Number(_) => "item.code",
            _ => "item.type",
        };
        found.push(finding(&format!("/answers/{id}"), code));
    }
    found
}

fn problem(status: u16, kind: &str, correlation_id: &str, errors: &[Value]) -> Answer {
    let body = json!({
        "type": format!("urn:epro:problem:{kind}"), "title": kind, "status": status,
        "detail": "see the contract", "errors": errors, "correlationId": correlation_id,
    });
    Answer { status, location: None, body }
}

/// One submission on its way to the table.
struct Put<'a> {
    claims: &'a Claims<'a>,
    body: &'a Body<'a>,
    id: Uuid,
    authored_at: OffsetDateTime,
    correlation_id: &'a str,
    request_id: &'a str,
    now: OffsetDateTime,
}

impl Put<'_> {
    fn answer(&self, dynamodb: &mut Dynamodb) -> Result<Answer> {
        let (claims, body, id) = (self.claims, self.body, self.id.to_string());
        let digest = self.digest(&id)?;
        let answers: BTreeMap<&str, Value> = body
            .answers
            .iter()
            .filter_map(|(item, answer)| Some((*item, json!({"N": (*answer)?.to_string()}))))
            .collect();
        let text = |value: &str| json!({"S": value});
        let shard = digest.as_bytes()[0] % 8;
        let received_at = self.now.format(&Rfc3339)?;
        let mut item = json!({
            "pk": text(&format!("PATIENT#{}#{}", claims.study, claims.patient)),
            "sk": text(&format!("SUBMISSION#{id}")),
            "kind": text("submission"),
            "study": text(claims.study), "site": text(claims.sites), "patient": text(claims.patient), "id": text(&id),
            "instrument": {"M": {"id": text(body.instrument), "version": text(body.version), "hash": text(HASH)}},
            "answers": {"M": answers},
            "authored_at": text(body.authored_at),
            "effective_at": text(&self.authored_at.to_offset(UtcOffset::UTC).format(SORTABLE)?),
            "received_at": text(&received_at),
            "sub": text(claims.sub), "iss": text(claims.iss),
            "digest": text(&digest),
            "correlation_id": text(self.correlation_id), "request_id": text(self.request_id),
            "nonce": text(&Uuid::new_v4().to_string()),
            "pending": text(&format!("PENDING#{shard}")),
            "pending_since": text(&self.now.format(SORTABLE)?),
        });
        if let Some(Device { app, os }) = &body.device {
            let parts = [("app", app), ("os", os)];
            let known = parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), text(part.as_ref()?))));
            item["device"] = json!({"M": known.collect::<serde_json::Map<_, _>>()});
        }
        let request = json!({
            "TableName": dynamodb.records,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        });
        let body = serde_json::to_vec(&request)?;
        let Dynamodb { signer, puts, .. } = dynamodb;
        signer.send(puts, "PutItem", &body, self.now)?;
        let answer = puts.receive()?;
        if answer.status == 200 {
            return Ok(self.receipt(202, &id, &received_at, self.correlation_id));
        }
        let refused: Value = serde_json::from_slice(&answer.body)?;
        let stored = |name: &str| refused["Item"][name]["S"].as_str().unwrap_or_default();
        match stored("digest") {
            "" => Ok(problem(503, "outcome-unknown", self.correlation_id, &[])),
            known if known == digest => Ok(self.receipt(200, &id, stored("received_at"), stored("correlation_id"))),
            _ => Ok(problem(409, "submission-conflict", self.correlation_id, &[])),
        }
    }

    fn receipt(&self, status: u16, id: &str, received_at: &str, correlation_id: &str) -> Answer {
        let body = json!({
            "id": id, "status": "queued", "receivedAt": received_at, "instrument": self.body.instrument,
            "version": self.body.version, "correlationId": correlation_id,
        });
        Answer { status, location: Some(format!("/v1/submissions/{id}")), body }
    }

    fn digest(&self, id: &str) -> Result<String> {
        let device = self.body.device.as_ref().map(|device| [&device.app, &device.os]);
        let canonical =
            (id, self.body.instrument, self.body.version, self.body.authored_at, &self.body.answers, device);
        Ok(hex(digest::digest(&digest::SHA256, &serde_json::to_vec(&canonical)?).as_ref()))
    }
}

/// Two connections, so that a put and a count are under way at once.
struct Dynamodb {
    signer: Signer,
    puts: Connection,
    counts: Connection,
    records: String,
    site_counts: String,
}

impl Dynamodb {
    fn of_environment() -> Result<Self> {
        let endpoint = env::var("AWS_ENDPOINT_URL_DYNAMODB")?;
        let host = endpoint.trim_start_matches("http://").to_owned();
        let (mut puts, counts) = (Connection::open(&host)?, Connection::open(&host)?);
        let records = env::var("RECORDS_TABLE")?;
        let mut signer = Signer {
            host,
            region: env::var("AWS_REGION")?,
            key_id: env::var("AWS_ACCESS_KEY_ID")?,
            secret: env::var("AWS_SECRET_ACCESS_KEY")?,
            token: env::var("AWS_SESSION_TOKEN")?,
            key: None,
        };
        // As `submit` does, so that the connection is open before the first request.
        let read = json!({"TableName": records, "Key": {"pk": {"S": "WARM-UP"}, "sk": {"S": "WARM-UP"}}});
        signer.send(&mut puts, "GetItem", &serde_json::to_vec(&read)?, OffsetDateTime::now_utc())?;
        puts.receive()?;
        Ok(Self { signer, puts, counts, records, site_counts: env::var("COUNTS_TABLE")? })
    }

    /// Sends the count of the call; the answer is read when the put is answered.
    fn count_call(&mut self, claims: &Claims<'_>, request_id: &str, now: OffsetDateTime) -> Result<bool> {
        let token = hex(digest::digest(&digest::SHA256, request_id.as_bytes()).as_ref());
        let shard = token.as_bytes()[0] % 10;
        let request = json!({
            "ClientRequestToken": &token[..36],
            "TransactItems": [{"Update": {
                "TableName": self.site_counts,
                "Key": {"pk": {"S": format!("COUNT#{}#{}#api_calls#{shard}", claims.study, claims.sites)}},
                "UpdateExpression": "ADD #n :calls",
                "ExpressionAttributeNames": {"#n": "api_calls"},
                "ExpressionAttributeValues": {":calls": {"N": "1"}},
            }}],
        });
        self.signer.send(&mut self.counts, "TransactWriteItems", &serde_json::to_vec(&request)?, now)?;
        Ok(true)
    }
}

/// Signature version 4. The key is derived once a day.
struct Signer {
    host: String,
    region: String,
    key_id: String,
    secret: String,
    token: String,
    key: Option<(String, hmac::Key)>,
}

impl Signer {
    fn send(&mut self, to: &mut Connection, operation: &str, body: &[u8], now: OffsetDateTime) -> Result<()> {
        let day = now.format(DAY)?;
        let instant = format!("{day}T{}Z", now.format(TIME)?);
        let target = format!("DynamoDB_20120810.{operation}");
        let hash = hex(digest::digest(&digest::SHA256, body).as_ref());
        let names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
        let canonical = format!(
            "POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{}\nx-amz-date:{instant}\n\
             x-amz-security-token:{}\nx-amz-target:{target}\n\n{names}\n{hash}",
            self.host, self.token
        );
        let scope = format!("{day}/{}/dynamodb/aws4_request", self.region);
        let canonical = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let text = format!("AWS4-HMAC-SHA256\n{instant}\n{scope}\n{canonical}");
        let signature = hex(hmac::sign(self.key(&day), text.as_bytes()).as_ref());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.key_id
        );
        let headers = [
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-date", &instant),
            ("x-amz-security-token", &self.token),
            ("x-amz-target", &target),
            ("authorization", &authorization),
        ];
        Ok(to.send("POST / HTTP/1.1\r\n", &headers, body)?)
    }

    fn key(&mut self, day: &str) -> &hmac::Key {
        if self.key.as_ref().is_none_or(|(of, _)| of != day) {
            let sign = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
            let secret = format!("AWS4{}", self.secret);
            let mut tag = sign(secret.as_bytes(), day);
            for part in [self.region.as_str(), "dynamodb", "aws4_request"] {
                tag = sign(tag.as_ref(), part);
            }
            self.key = Some((day.to_owned(), hmac::Key::new(hmac::HMAC_SHA256, tag.as_ref())));
        }
        match &self.key {
            Some((_, key)) => key,
            None => unreachable!("it was set above"),
        }
    }
}

/// A connection that is kept, with one request under way at a time.
struct Connection {
    host: String,
    stream: TcpStream,
    buffer: Vec<u8>,
}

struct Received {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Connection {
    fn open(host: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(host)?;
        stream.set_nodelay(true)?;
        Ok(Self { host: host.to_owned(), stream, buffer: Vec::with_capacity(8_192) })
    }

    fn send(&mut self, line: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
        self.buffer.clear();
        self.buffer.extend_from_slice(line.as_bytes());
        write!(self.buffer, "host: {}\r\n", self.host)?;
        for (name, value) in headers {
            write!(self.buffer, "{name}: {value}\r\n")?;
        }
        write!(self.buffer, "content-length: {}\r\n\r\n", body.len())?;
        self.buffer.extend_from_slice(body);
        self.stream.write_all(&self.buffer)
    }

    fn receive(&mut self) -> Result<Received> {
        self.buffer.clear();
        let head_end = loop {
            self.read()?;
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..head_end])?.to_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let mut received = Received { status, head, body: Vec::new() };
        let length: usize = received.header("content-length").unwrap_or("0").parse()?;
        while self.buffer.len() < head_end + length {
            self.read()?;
        }
        received.body = self.buffer[head_end..head_end + length].to_vec();
        Ok(received)
    }

    fn read(&mut self) -> Result<()> {
        let start = self.buffer.len();
        self.buffer.resize(start + 8_192, 0);
        let read = self.stream.read(&mut self.buffer[start..])?;
        self.buffer.truncate(start + read);
        if read == 0 { Err("the connection was closed".into()) } else { Ok(()) }
    }
}

impl Received {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]].map(char::from))
        .collect()
}
