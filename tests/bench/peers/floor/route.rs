//! What the route does between an event and the calls of DynamoDB, and between these and the answer: without any input or
//! output, so that both floors have the same.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::env;
use std::error::Error;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest;
use serde::Deserialize;
use serde_json::{Value, json};
use time::format_description::BorrowedFormatItem;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};
use uuid::Uuid;

use crate::signer::hex;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const SORTABLE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:9]Z");
const FIELDS: [&str; 9] =
    ["id", "instrument", "version", "authoredAt", "sentAt", "answers", "device", "amends", "reason"];
/// The content hash of the PHQ-9, in base64.
const HASH: &str = "9fSRwveO28KHxpIW5ZgmfiTp5QUOQURt32zTcomlK+c=";

/// The names of the tables.
pub(crate) struct Tables {
    records: String,
    counts: String,
}

/// A request that has been read.
pub(crate) struct Request<'a> {
    event: Event<'a>,
    correlation_id: Cow<'a, str>,
    request_id: &'a str,
    now: OffsetDateTime,
}

/// A submission that is to be stored.
pub(crate) struct Submission {
    id: String,
    digest: String,
    received_at: String,
}

/// The answer to a request.
pub(crate) struct Answer {
    status: u16,
    location: Option<String>,
    body: Value,
}

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

impl Tables {
    pub(crate) fn of_environment() -> Result<Self> {
        Ok(Self { records: env::var("RECORDS_TABLE")?, counts: env::var("COUNTS_TABLE")? })
    }

    /// The cheap read that opens a connection at the start, as that of `submit`.
    pub(crate) fn warm_up(&self) -> Result<Vec<u8>> {
        let read = json!({"TableName": self.records, "Key": {"pk": {"S": "WARM-UP"}, "sk": {"S": "WARM-UP"}}});
        Ok(serde_json::to_vec(&read)?)
    }
}

impl<'a> Request<'a> {
    pub(crate) fn read(event: &'a [u8], request_id: &'a str) -> Result<Self> {
        let event: Event<'a> = serde_json::from_slice(event)?;
        let given = event.headers.correlation_id;
        let correlation_id = given.map_or_else(|| Uuid::new_v4().to_string().into(), Cow::Borrowed);
        Ok(Self { event, correlation_id, request_id, now: OffsetDateTime::now_utc() })
    }

    /// The answer to one who may not do this, or who sends something else.
    pub(crate) fn refusal(&self) -> Option<Answer> {
        let claims = self.claims();
        let is_scoped = claims.scope.split(' ').any(|scope| scope == "submissions:write");
        let is_one_site = !claims.sites.is_empty() && !claims.sites.contains(' ');
        let (status, kind) = if claims.token_use != "access" || claims.sub.is_empty() || claims.iss.is_empty() {
            (401, "unauthenticated")
        } else if !is_scoped || !is_one_site || claims.role != "patient" || claims.patient.is_empty() {
            (403, "forbidden")
        } else if !self.event.headers.content_type.starts_with("application/json") {
            (415, "unsupported-media-type")
        } else if self.event.body.len() > 256 * 1024 {
            (413, "too-large")
        } else {
            return None;
        };
        Some(self.problem(status, kind, &[]))
    }

    /// The transaction that counts the call, unless it is counted with the score of its submission: a submission that
    /// is stored, or may be.
    pub(crate) fn count(&self, answer: &Answer, tables: &Tables) -> Result<Option<Vec<u8>>> {
        if matches!(answer.status, 202 | 503) {
            return Ok(None);
        }
        let claims = self.claims();
        let token = hex(digest::digest(&digest::SHA256, self.request_id.as_bytes()).as_ref());
        let shard = token.as_bytes()[0] % 10;
        let request = json!({
            "ClientRequestToken": &token[..36],
            "TransactItems": [{"Update": {
                "TableName": tables.counts,
                "Key": {"pk": {"S": format!("COUNT#{}#{}#api_calls#{shard}", claims.study, claims.sites)}},
                "UpdateExpression": "ADD #n :calls",
                "ExpressionAttributeNames": {"#n": "api_calls"},
                "ExpressionAttributeValues": {":calls": {"N": "1"}},
            }}],
        });
        Ok(Some(serde_json::to_vec(&request)?))
    }

    /// The conditional put of the submission; the answer with the findings if it is invalid.
    pub(crate) fn put(&self, tables: &Tables) -> Result<std::result::Result<(Vec<u8>, Submission), Answer>> {
        let Some((body, id, authored_at)) = valid(&self.event.body) else {
            return Ok(Err(self.problem(422, "invalid", &findings(&self.event.body))));
        };
        let claims = self.claims();
        let id = id.to_string();
        let device = body.device.as_ref().map(|device| [&device.app, &device.os]);
        let canonical = (&id, body.instrument, body.version, body.authored_at, &body.answers, device);
        let hash = digest::digest(&digest::SHA256, &serde_json::to_vec(&canonical)?);
        let digest = BASE64_STANDARD.encode(hash);
        let answers: BTreeMap<&str, Value> = body
            .answers
            .iter()
            .filter_map(|(item, answer)| Some((*item, json!({"N": (*answer)?.to_string()}))))
            .collect();
        let text = |value: &str| json!({"S": value});
        let shard = hash.as_ref()[0] % 8;
        let received_at = self.now.format(&Rfc3339)?;
        let mut item = json!({
            "pk": text(&format!("PATIENT#{}#{}", claims.study, claims.patient)),
            "sk": text(&format!("SUBMISSION#{id}")),
            "kind": text("submission"),
            "study": text(claims.study), "site": text(claims.sites), "patient": text(claims.patient), "id": text(&id),
            "instrument": {"M": {"id": text(body.instrument), "version": text(body.version), "hash": {"B": HASH}}},
            "answers": {"M": answers},
            "authored_at": text(body.authored_at),
            "effective_at": text(&authored_at.to_offset(UtcOffset::UTC).format(SORTABLE)?),
            "received_at": text(&received_at),
            "sub": text(claims.sub), "iss": text(claims.iss),
            "digest": {"B": &digest},
            "correlation_id": text(&self.correlation_id),
            "counts_call": {"BOOL": true},
            "nonce": {"B": BASE64_STANDARD.encode(Uuid::new_v4())},
            "pending": text(&format!("PENDING#{shard}")),
            "pending_since": text(&self.now.format(SORTABLE)?),
        });
        if let Some(Device { app, os }) = &body.device {
            let parts = [("app", app), ("os", os)];
            let known = parts.into_iter().filter_map(|(name, part)| Some((name.to_owned(), text(part.as_ref()?))));
            item["device"] = json!({"M": known.collect::<serde_json::Map<_, _>>()});
        }
        let request = json!({
            "TableName": tables.records,
            "Item": item,
            "ConditionExpression": "attribute_not_exists(pk)",
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        });
        Ok(Ok((serde_json::to_vec(&request)?, Submission { id, digest, received_at })))
    }

    /// The answer once DynamoDB has answered the put.
    pub(crate) fn stored(&self, submission: &Submission, status: u16, answer: &[u8]) -> Result<Answer> {
        if status == 200 {
            return Ok(self.receipt(202, submission, &submission.received_at, &self.correlation_id));
        }
        let refused: Value = serde_json::from_slice(answer)?;
        let stored = |name: &str| refused["Item"][name]["S"].as_str().unwrap_or_default();
        Ok(match refused["Item"]["digest"]["B"].as_str().unwrap_or_default() {
            "" => self.problem(503, "outcome-unknown", &[]),
            known if known == submission.digest => {
                self.receipt(200, submission, stored("received_at"), stored("correlation_id"))
            }
            _ => self.problem(409, "submission-conflict", &[]),
        })
    }

    /// The answer in payload format 2.0. Logs a line.
    pub(crate) fn written(&self, answer: Answer) -> Result<Vec<u8>> {
        let Answer { status, location, body } = answer;
        let correlation_id = &self.correlation_id;
        println!("{}", json!({"event": "submission_received", "correlation_id": correlation_id, "status": status}));
        let mut headers = json!({
            "content-type": if status < 300 { "application/json" } else { "application/problem+json" },
            "x-correlation-id": correlation_id,
            "cache-control": "no-store",
        });
        if let Some(location) = location {
            headers["location"] = location.into();
        }
        Ok(serde_json::to_vec(&json!({"statusCode": status, "headers": headers, "body": body.to_string()}))?)
    }

    pub(crate) fn now(&self) -> OffsetDateTime {
        self.now
    }

    fn claims(&self) -> &Claims<'a> {
        &self.event.request_context.authorizer.jwt.claims
    }

    fn receipt(&self, status: u16, submission: &Submission, received_at: &str, correlation_id: &str) -> Answer {
        let id = &submission.id;
        let body = json!({
            "id": id, "status": "queued", "receivedAt": received_at, "instrument": "phq-9", "version": "1.0.0",
            "correlationId": correlation_id,
        });
        Answer { status, location: Some(format!("/v1/submissions/{id}")), body }
    }

    fn problem(&self, status: u16, kind: &str, errors: &[Value]) -> Answer {
        let body = json!({
            "type": format!("urn:epro:problem:{kind}"), "title": kind, "status": status,
            "detail": "see the contract", "errors": errors, "correlationId": self.correlation_id,
        });
        Answer { status, location: None, body }
    }
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
