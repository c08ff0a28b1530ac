//! DynamoDB and SNS that answer at once. They count the calls by operation and keep what was sent, so that a section can
//! check that the work was done before it is measured, and the next one can use it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::Fault;

/// The services. Dropping them stops their server.
#[derive(Debug)]
pub struct Aws {
    address: SocketAddr,
    state: Arc<Mutex<Kept>>,
    server: AbortHandle,
}

/// A call as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The operation: `PutItem`.
    pub operation: String,
    /// Its body; of SNS, the fields of the form.
    pub body: Value,
    /// The bytes of its body.
    pub bytes: usize,
}

#[derive(Debug, Default)]
struct Kept {
    items: BTreeMap<String, Value>,
    calls: BTreeMap<String, u64>,
    sent: Vec<Sent>,
    /// Whether to keep what is sent: not while something is measured with thousands of calls.
    keeps: bool,
}

impl Aws {
    /// Starts them on a free port.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> Result<Self, Fault> {
        let io = |error| Fault::Io("no port for the services".to_owned(), error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let state = Arc::new(Mutex::new(Kept::default()));
        let service = Router::new().fallback(answer).with_state(Arc::clone(&state));
        let server = tokio::spawn(async move { axum::serve(listener, service).await }).abort_handle();
        Ok(Self { address, state, server })
    }

    /// The variables of a function that calls them.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let endpoint = format!("http://{}", self.address);
        let variables = [
            ("AWS_REGION", "eu-central-1"),
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            ("AWS_SESSION_TOKEN", "IQoJb3JpZ2luX2VjEXAMPLE"),
            ("AWS_ENDPOINT_URL_DYNAMODB", &endpoint),
            ("AWS_ENDPOINT_URL_SNS", &endpoint),
            ("AWS_LAMBDA_FUNCTION_NAME", "epro"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/epro"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "ledger"),
            ("RECORDS_TABLE", "Records"),
            ("COUNTS_TABLE", "SiteCounts"),
            ("OPEN_STUDIES", "true"),
            ("LOG_LEVEL", "INFO"),
            ("ALERTS_TOPIC_ARN", "arn:aws:sns:eu-central-1:123456789012:Alerts"),
            ("REMINDERS_TOPIC_ARN", "arn:aws:sns:eu-central-1:123456789012:Reminders"),
            ("ALERT_LINK", "https://example.org/alerts/{alertId}"),
            ("ESCALATION_MINUTES", "30"),
            ("ESCALATION_LIMIT", "3"),
            ("RECONCILE_HOURS", "24"),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// The calls by operation since this was last asked.
    pub fn take_calls(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.lock().calls)
    }

    /// Keeps what is sent from now on, or keeps it no longer.
    pub fn keep(&self, keeps: bool) {
        let mut kept = self.lock();
        kept.keeps = keeps;
        kept.sent.clear();
    }

    /// What was sent since [`Aws::keep`].
    pub fn sent(&self) -> Vec<Sent> {
        self.lock().sent.clone()
    }

    /// Forgets all items.
    pub fn clear(&self) {
        self.lock().items.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.state)
    }
}

impl Drop for Aws {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(state): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let (operation, request) = match target {
        Some(target) => {
            let operation = target.rsplit('.').next().unwrap_or(target).to_owned();
            (operation, serde_json::from_slice(&body).unwrap_or_default())
        }
        None => {
            let fields: Map<String, Value> =
                form_urlencoded::parse(&body).map(|(name, value)| (name.into_owned(), value.into())).collect();
            (fields.get("Action").and_then(Value::as_str).unwrap_or_default().to_owned(), Value::Object(fields))
        }
    };
    let mut kept = lock(&state);
    *kept.calls.entry(operation.clone()).or_default() += 1;
    let (status, text) = match target {
        Some(_) => {
            let (status, answer) = kept.dynamodb(&operation, &request);
            (status, answer.to_string())
        }
        None => (200, sns(&operation, &request)),
    };
    if kept.keeps {
        kept.sent.push(Sent { operation, body: request, bytes: body.len() });
    }
    drop(kept);
    let mut response = Response::new(Body::from(text.clone()));
    *response.status_mut() = status.try_into().unwrap_or_default();
    if target.is_some() {
        let headers = response.headers_mut();
        headers.insert("content-type", axum::http::HeaderValue::from_static("application/x-amz-json-1.0"));
        // Some SDKs check it.
        headers.insert("x-amz-crc32", crc32fast::hash(text.as_bytes()).into());
    }
    response
}

impl Kept {
    fn dynamodb(&mut self, operation: &str, request: &Value) -> (u16, Value) {
        let table = request["TableName"].as_str().unwrap_or_default();
        let answer = match operation {
            "GetItem" => match self.items.get(&key(table, &request["Key"])) {
                Some(item) => json!({"Item": item}),
                None => json!({}),
            },
            "PutItem" => {
                let key = key(table, &request["Item"]);
                match self.items.get(&key) {
                    Some(stored) if !request["ConditionExpression"].is_null() => {
                        return (
                            400,
                            json!({
                                "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                                "message": "The conditional request failed",
                                "Item": stored,
                            }),
                        );
                    }
                    _ => {
                        self.items.insert(key, request["Item"].clone());
                        json!({})
                    }
                }
            }
            "BatchGetItem" => {
                let tables = request["RequestItems"].as_object().into_iter().flatten();
                let found = tables.map(|(table, wanted)| {
                    let keys = wanted["Keys"].as_array().into_iter().flatten();
                    let items = keys.filter_map(|one| self.items.get(&key(table, one)).cloned());
                    (table.clone(), Value::Array(items.collect()))
                });
                json!({"Responses": found.collect::<Map<_, _>>(), "UnprocessedKeys": {}})
            }
            "Query" | "Scan" => json!({"Items": [], "Count": 0, "ScannedCount": 0}),
            _ => json!({}),
        };
        (200, answer)
    }
}

/// The key of `item` in `table`: both tables have the same names.
fn key(table: &str, item: &Value) -> String {
    let part = |name: &str| item[name]["S"].as_str().unwrap_or_default();
    format!("{table} {} {}", part("pk"), part("sk"))
}

fn sns(operation: &str, request: &Value) -> String {
    let published = |n: usize| {
        let id = request.get(format!("PublishBatchRequestEntries.member.{n}.Id"))?.as_str()?;
        Some(format!("<member><Id>{id}</Id><MessageId>00000000-0000-0000-0000-{n:012}</MessageId></member>"))
    };
    let content = match operation {
        "PublishBatch" => {
            let successful: String = (1..).map_while(published).collect();
            format!("<Failed></Failed><Successful>{successful}</Successful>")
        }
        _ => "<Attributes/>".to_owned(),
    };
    let result = format!("<{operation}Result>{content}</{operation}Result>");
    format!("<{operation}Response xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">{result}</{operation}Response>")
}

/// The state is consistent between two statements.
fn lock(state: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
