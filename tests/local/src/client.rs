//! The API over HTTP, as a phone, site staff and the clinician inbox use it, with retries.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clinical::ids::{PatientId, SiteId, StudyId, SubmissionId};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value, json};
use tokio::time::{Instant, sleep, timeout};

/// API Gateway answers within 30 s.
const ATTEMPT: Duration = Duration::from_secs(35);

/// How long a local cloud may take to answer the first request; another service may never answer.
const GREETING: Duration = Duration::from_secs(2);

/// The first pause before a retry, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The life of tokens in seconds: longer than any replay.
const TOKEN_LIFETIME: u32 = 7 * 24 * 3600;

/// The API of a local cloud.
#[derive(Debug)]
pub(crate) struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
    /// How long an unanswered request is retried.
    patience: Duration,
    repeats: AtomicU64,
    /// Requests of the API that were answered.
    answered: AtomicU64,
}

/// Why there is no usable response.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Nothing answered in time.
    #[error("{request} was not answered ({why})")]
    Unreachable {
        /// The method and path.
        request: String,
        /// The last attempt's failure.
        why: String,
    },
    /// Every response in time asked for a later retry.
    #[error("{request} was answered with a request to retry later for too long ({why})")]
    Unsettled {
        /// The method and path.
        request: String,
        /// The last response.
        why: String,
    },
    /// A response refused the request.
    #[error("{request} was refused with {status}{detail}")]
    Refused {
        /// The method and path.
        request: String,
        /// The status.
        status: StatusCode,
        /// The problem's detail.
        detail: String,
    },
    /// A response has another shape.
    #[error("the response to {request} has another shape than expected")]
    Shape {
        /// The method and path.
        request: String,
        /// The difference.
        source: serde_json::Error,
    },
}

/// The response to a submission.
pub(crate) enum Receipt {
    /// It is stored, since this time (RFC 3339).
    Stored { received_at: String },
    /// Another body is stored under its id.
    Conflict,
}

/// The state of a submission.
#[derive(Debug, Deserialize)]
pub(crate) struct State {
    pub(crate) score: Option<Score>,
}

/// The score of a submission.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Score {
    /// When it was scored (RFC 3339).
    pub(crate) scored_at: String,
    pub(crate) scores: Vec<ScoreValue>,
    pub(crate) not_scored: Vec<Reason>,
    pub(crate) alerts: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ScoreValue {
    pub(crate) id: String,
    pub(crate) value: Number,
    pub(crate) band: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Reason {
    pub(crate) id: String,
    pub(crate) reason: String,
}

/// The counts of a site.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    pub(crate) api_calls: u64,
    pub(crate) submissions: u64,
    pub(crate) alerts: u64,
}

/// A published alert.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Alert {
    pub(crate) alert_id: String,
    pub(crate) submission_id: Option<String>,
    pub(crate) severity: String,
    pub(crate) rule: String,
}

impl Api {
    pub(crate) fn at(url: String, patience: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { client, url, patience, repeats: AtomicU64::new(0), answered: AtomicU64::new(0) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many requests were repeats.
    pub(crate) fn repeats(&self) -> u64 {
        self.repeats.load(Ordering::Relaxed)
    }

    /// How many requests of the API, below `/v1`, were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether a local cloud listens at the address.
    pub(crate) async fn is_local_cloud(&self) -> bool {
        let call = Call::get("/local/.well-known/openid-configuration", None);
        let answer = timeout(GREETING, self.attempt(&call)).await;
        let Ok(Ok(Answer { status: StatusCode::OK, body, .. })) = answer else { return false };
        let configuration: Value = serde_json::from_slice(&body).unwrap_or_default();
        configuration["issuer"].as_str().is_some_and(|issuer| issuer.ends_with("/local"))
    }

    pub(crate) async fn patient_token(
        &self,
        study: &StudyId,
        site: &SiteId,
        patient: &PatientId,
    ) -> Result<String, ApiError> {
        self.token(json!({"role": "patient", "study": study, "sites": [site], "patient": patient})).await
    }

    pub(crate) async fn staff_token(&self, study: &StudyId, site: &SiteId) -> Result<String, ApiError> {
        self.token(json!({"role": "staff", "study": study, "sites": [site]})).await
    }

    /// Sends a submission as a phone does: again under the same id until a response settles it.
    pub(crate) async fn submit(&self, token: &str, body: &Value) -> Result<Receipt, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            received_at: String,
        }
        let call = Call { method: Method::POST, path: "/v1/submissions", token: Some(token), body: Some(body) };
        let answer = self.settled(&call).await?;
        if answer.status == StatusCode::CONFLICT {
            return Ok(Receipt::Conflict);
        }
        let Body { received_at } = call.read(&answer)?;
        Ok(Receipt::Stored { received_at })
    }

    /// Sends a submission once, whatever becomes of it. The error is why there is no answer.
    pub(crate) async fn try_submit(&self, token: &str, body: &Value) -> Result<Answer, String> {
        let call = Call { method: Method::POST, path: "/v1/submissions", token: Some(token), body: Some(body) };
        timeout(ATTEMPT, self.attempt(&call)).await.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Sends a submission until it is settled.
    pub(crate) async fn repeat(&self, token: &str, body: &Value) -> Result<Answer, ApiError> {
        self.settled(&Call { method: Method::POST, path: "/v1/submissions", token: Some(token), body: Some(body) })
            .await
    }

    /// Asks for what `path` names until the answer is other than "later", whatever it says.
    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Result<Answer, ApiError> {
        self.settled(&Call::get(path, token)).await
    }

    /// Kills one of the functions' processes. Returns whether it was one and still ran.
    pub(crate) async fn kill_environment(&self, pid: u32) -> Result<bool, ApiError> {
        let path = format!("/local/environments/{pid}");
        let call = Call { method: Method::DELETE, path: &path, token: None, body: None };
        Ok(self.settled(&call).await?.status.is_success())
    }

    pub(crate) async fn state(&self, token: &str, patient: &PatientId, id: &SubmissionId) -> Result<State, ApiError> {
        self.read(&format!("/v1/submissions/{id}?patient={patient}"), Some(token)).await
    }

    pub(crate) async fn counts(&self, token: &str, site: &SiteId) -> Result<Counts, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            counts: Vec<Counts>,
        }
        let body: Body = self.read(&format!("/v1/sites/{site}/counts"), Some(token)).await?;
        Ok(body.counts.into_iter().next().unwrap_or_default())
    }

    /// The alerts in the inbox, repeats included.
    pub(crate) async fn inbox(&self, site: &SiteId) -> Result<Vec<Alert>, ApiError> {
        #[derive(Deserialize)]
        struct Body {
            messages: Vec<Message>,
        }
        #[derive(Deserialize)]
        struct Message {
            body: Value,
        }
        let body: Body = self.read(&format!("/local/inbox?site={site}"), None).await?;
        // Other messages of the site are not alerts of this replay.
        Ok(body.messages.into_iter().filter_map(|message| serde_json::from_value(message.body).ok()).collect())
    }

    /// Sends `body` by POST to `path`, which may be repeated, until it is answered.
    pub(crate) async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Result<Answer, ApiError> {
        self.settled(&Call { method: Method::POST, path, token, body: Some(body) }).await
    }

    /// Sends `body` by PUT to `path` until it is accepted.
    pub(crate) async fn put(&self, path: &str, token: &str, body: &Value) -> Result<Value, ApiError> {
        let call = Call { method: Method::PUT, path, token: Some(token), body: Some(body) };
        call.read(&self.settled(&call).await?)
    }

    /// Moves the clock of the local cloud forwards to `now` (RFC 3339), if it is not there yet.
    pub(crate) async fn move_clock(&self, now: &str) -> Result<(), ApiError> {
        let asked = json!({"now": now});
        let call = Call { method: Method::POST, path: "/local/clock", token: None, body: Some(&asked) };
        call.read::<Value>(&self.settled(&call).await?).map(drop)
    }

    pub(crate) async fn token(&self, mut claims: Value) -> Result<String, ApiError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            access_token: String,
        }
        claims["expiresIn"] = TOKEN_LIFETIME.into();
        let call = Call { method: Method::POST, path: "/local/tokens", token: None, body: Some(&claims) };
        let body: Body = call.read(&self.settled(&call).await?)?;
        Ok(body.access_token)
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, path: &str, token: Option<&str>) -> Result<T, ApiError> {
        let call = Call::get(path, token);
        call.read(&self.settled(&call).await?)
    }

    /// Retries a request until it has a response other than "later". All requests here may be repeated.
    async fn settled(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let end = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let mut wait = pause.mul_f64(jitter());
            let error = match timeout(ATTEMPT, self.attempt(call)).await {
                Ok(Ok(answer)) if !answer.asks_to_come_again() => return Ok(answer),
                Ok(Ok(answer)) => {
                    wait = answer.retry_after.unwrap_or(wait);
                    ApiError::Unsettled { request: call.to_string(), why: answer.status.to_string() }
                }
                Ok(Err(why)) => ApiError::Unreachable { request: call.to_string(), why },
                Err(_) => ApiError::Unreachable { request: call.to_string(), why: no_answer() },
            };
            if Instant::now() + wait > end {
                return Err(error);
            }
            self.repeats.fetch_add(1, Ordering::Relaxed);
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, call: &Call<'_>) -> Result<Answer, String> {
        let mut request = Request::builder().method(&call.method).uri(format!("{}{}", self.url, call.path));
        if let Some(token) = call.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if call.body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = call.body.map(Value::to_string).unwrap_or_default();
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
        let (head, body) = self.client.request(request).await.map_err(|error| reason(&error))?.into_parts();
        let body = body.collect().await.map_err(|error| reason(&error))?.to_bytes();
        let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        if call.path.starts_with("/v1/") {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Answer { status: head.status, retry_after: retry_after.map(Duration::from_secs), body })
    }
}

/// A request that can be sent repeatedly.
struct Call<'a> {
    method: Method,
    path: &'a str,
    token: Option<&'a str>,
    body: Option<&'a Value>,
}

impl<'a> Call<'a> {
    fn get(path: &'a str, token: Option<&'a str>) -> Self {
        Self { method: Method::GET, path, token, body: None }
    }

    fn read<T: DeserializeOwned>(&self, answer: &Answer) -> Result<T, ApiError> {
        let request = || self.to_string();
        if !answer.status.is_success() {
            return Err(ApiError::Refused { request: request(), status: answer.status, detail: answer.problem() });
        }
        serde_json::from_slice(&answer.body).map_err(|source| ApiError::Shape { request: request(), source })
    }
}

/// Method and path without the query, which names a patient.
impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path.split('?').next().unwrap_or_default())
    }
}

/// A response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// Its JSON, or null.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    pub(crate) fn asks_to_come_again(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }

    /// The detail and errors of an RFC 9457 problem, after a colon.
    fn problem(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let findings = body["errors"].as_array().into_iter().flatten().map(|error| {
            let text = |field: &str| error[field].as_str().unwrap_or_default();
            format!("{} {}", text("pointer"), text("detail"))
        });
        let details: Vec<String> = body["detail"].as_str().map(str::to_owned).into_iter().chain(findings).collect();
        if details.is_empty() { String::new() } else { format!(": {}", details.join("; ")) }
    }
}

fn no_answer() -> String {
    format!("nothing within {} s", ATTEMPT.as_secs())
}

/// The client's errors only name the step that failed; the reason is at the end of the chain of sources.
fn reason(error: &dyn Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// Half to all of a pause, so that rejected clients do not return together.
pub(crate) fn jitter() -> f64 {
    let mut random = [0];
    // Without randomness the pause is not shortened.
    let share = getrandom::fill(&mut random).map_or(1.0, |()| f64::from(random[0]) / 255.0);
    0.5 + share / 2.0
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::{Arc, Mutex};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    /// Serves one connection after the other with these responses and keeps the requests. An empty response cuts the
    /// connection off after the request.
    async fn server(answers: &'static [&'static str]) -> (String, Arc<Mutex<Vec<String>>>, JoinHandle<()>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let sent = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&sent);
        let serving = tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a client connects");
                let mut request = String::new();
                while !request.ends_with('}') {
                    let mut buffer = [0; 1024];
                    let read = stream.read(&mut buffer).await.expect("it is sent");
                    assert!(read > 0, "the request ends before its body");
                    request.push_str(&String::from_utf8_lossy(&buffer[..read]));
                }
                let body = request.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
                kept.lock().expect("no thread panicked").push(body);
                let answer = answer.replace("END", "\r\nconnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.expect("the client reads it");
            }
        });
        (url, sent, serving)
    }

    const STORED: &str = r#"HTTP/1.1 202 AcceptedEND{"receivedAt":"2026-11-23T08:00:00Z"}"#;

    async fn submit(answers: &'static [&'static str], patience: Duration) -> (Result<Receipt, ApiError>, usize, u64) {
        let (url, sent, serving) = server(answers).await;
        let api = Api::at(url, patience);
        let receipt = api.submit("token", &json!({"id": "same"})).await;
        serving.abort();
        let sent = sent.lock().expect("no thread panicked");
        assert!(sent.iter().all(|body| body == r#"{"id":"same"}"#), "{sent:?}");
        (receipt, sent.len(), api.repeats())
    }

    #[tokio::test]
    async fn an_unsettled_request_is_repeated_unchanged() {
        let answers = &["HTTP/1.1 503 BusyEND", "", "HTTP/1.1 500 OopsEND", "HTTP/1.1 429 SlowlyEND", STORED];
        let (receipt, sent, repeats) = submit(answers, Duration::from_secs(60)).await;
        assert!(matches!(receipt, Ok(Receipt::Stored { received_at }) if received_at == "2026-11-23T08:00:00Z"));
        assert_eq!((sent, repeats), (5, 4));
    }

    #[tokio::test]
    async fn a_repeat_waits_as_long_as_retry_after_says() {
        let began = Instant::now();
        let answers = &["HTTP/1.1 503 Busy\r\nretry-after: 1END", STORED];
        let (receipt, ..) = submit(answers, Duration::from_secs(60)).await;
        assert!(receipt.is_ok());
        assert!(began.elapsed() >= Duration::from_secs(1), "it came after {:?}", began.elapsed());
    }

    #[tokio::test]
    async fn a_conflict_and_a_refusal_are_not_repeated() {
        let (receipt, sent, _) = submit(&["HTTP/1.1 409 ConflictEND"], Duration::from_secs(60)).await;
        assert!(matches!(receipt, Ok(Receipt::Conflict)));
        assert_eq!(sent, 1);
        const REFUSED: &[&str] = &[
            r#"HTTP/1.1 422 WrongEND{"detail":"it does not fit","errors":[{"pointer":"/answers/1","detail":"is high"}]}"#,
        ];
        let (receipt, sent, _) = submit(REFUSED, Duration::from_secs(60)).await;
        let error = receipt.err().expect("it is refused").to_string();
        assert_eq!(
            error,
            "POST /v1/submissions was refused with 422 Unprocessable Entity: it does not fit; /answers/1 is high"
        );
        assert_eq!(sent, 1);
    }

    #[tokio::test]
    async fn repeats_end_in_time_and_report_whether_anything_answered() {
        let answers = &["HTTP/1.1 503 Busy\r\nretry-after: 30END"];
        let (receipt, ..) = submit(answers, Duration::from_secs(1)).await;
        assert!(matches!(receipt, Err(ApiError::Unsettled { .. })));
        let api = {
            let (url, _, serving) = server(&[]).await;
            serving.await.expect("the server ends");
            Api::at(url, Duration::from_millis(300))
        };
        let error = api.submit("token", &json!({})).await.err().expect("nothing listens");
        assert!(matches!(&error, ApiError::Unreachable { why, .. } if why.contains("refused")), "{error}");
        assert!(!api.is_local_cloud().await);
    }
}
