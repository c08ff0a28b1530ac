//! A local cloud for one test, started as a developer starts it, and used over HTTP only.
//!
//! Where `EPRO_ENGINE` is set, each cloud uses a DynamoDB that this command starts, in place of the embedded one. It
//! must print `ready PORT` and end with its standard input (`tests/engines/servers`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use reqwest::{Client, Response};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// A first start may have to build the functions.
const START: Duration = Duration::from_secs(300);
/// The time within which an expected result must appear on the embedded engine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of requests at once where another engine is used: moto answers some hundred a second, one at a time.
const AT_ONCE: usize = 4;
const POLL: Duration = Duration::from_millis(20);

/// A running local cloud. Stopped when dropped.
pub struct Cloud {
    process: Child,
    address: String,
    http: Client,
    log: Arc<Mutex<String>>,
    data: PathBuf,
    engine: Option<Engine>,
}

/// A DynamoDB in a process of its own, which ends when this is dropped, or with this process.
struct Engine {
    _process: Child,
    url: String,
}

/// The engines of killed clouds, by the folders of the clouds: a store outlives its callers.
static ENGINES: Mutex<BTreeMap<PathBuf, Engine>> = Mutex::new(BTreeMap::new());

/// The failed start of a local cloud.
#[derive(Debug)]
pub struct NotStarted {
    /// The exit code of the process.
    pub code: Option<i32>,
    /// The text on its standard error.
    pub message: String,
}

/// An answer of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body, or null if the answer has none.
    pub body: Value,
    /// The header `x-correlation-id`.
    pub correlation_id: Option<String>,
    /// The header `location`.
    pub location: Option<String>,
}

impl Cloud {
    /// Starts a cloud that keeps its data in `data`.
    ///
    /// # Errors
    /// If it does not start, with its exit code and message.
    pub async fn start(data: &Path, options: &[&str]) -> Result<Self, NotStarted> {
        // The signal of the limit of files' sizes is ignored, so that it is an error of the write, as a full disk is.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(executable()).args(options);
        if !options.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        if !options.contains(&"--memory") {
            command.arg("--data").arg(data);
        }
        let (engine, is_new) = Engine::of(data).await;
        if let Some(engine) = &engine {
            command.args(["--dynamodb", &engine.url]);
        }
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the local cloud is built");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = process.stderr.take().expect("it is piped");
        let reading = tokio::spawn(keep(stderr, Arc::clone(&log)));
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let ready = timeout(START, lines.next_line()).await.expect("it starts, or exits with a message");
        let Some(line) = ready.expect("its output is text") else {
            let code = process.wait().await.expect("it has ended").code();
            reading.await.expect("its messages can be read");
            let message = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(NotStarted { code, message });
        };
        let address = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not a ready line: {line}")).to_owned();
        let cloud = Self { process, address, http: Client::new(), log, data: data.to_owned(), engine };
        if is_new {
            // The local cloud puts it in force in the embedded engine only.
            let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/clinical/studies/demo.json");
            let put = cloud.command(&["study", "put", demo, "--reason", "the tests need it"]).await;
            assert!(put.status.success(), "{}", String::from_utf8_lossy(&put.stderr));
        }
        Ok(cloud)
    }

    /// Starts a cloud with data in a temporary folder, which is deleted once it is dropped.
    pub async fn fresh(options: &[&str]) -> (Self, TempDir) {
        let data = tempfile::tempdir().expect("there is room for temporary files");
        let cloud = Self::start(&data.path().join("data"), options).await;
        (cloud.unwrap_or_else(|failure| panic!("the local cloud did not start: {failure:?}")), data)
    }

    /// The address that it serves, with its port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The text on its standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kills it and its functions, as a crash would.
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it is running");
        if let Some(engine) = self.engine {
            ENGINES.lock().unwrap_or_else(PoisonError::into_inner).insert(self.data, engine);
        }
    }

    /// A token with `claims`.
    pub async fn token(&self, claims: Value) -> String {
        let answer = self.http.post(format!("{}/local/tokens", self.address)).json(&claims).send().await;
        let body: Value = answer.expect("the issuer answers").json().await.expect("it answers in JSON");
        body["accessToken"].as_str().unwrap_or_else(|| panic!("no token, but {body}")).to_owned()
    }

    /// The token of `patient` at `site` of the study DEMO.
    pub async fn patient(&self, site: &str, patient: &str) -> String {
        self.token(json!({"role": "patient", "study": "DEMO", "sites": site, "patient": patient})).await
    }

    /// The token of staff at `sites` of the study DEMO.
    pub async fn staff(&self, sites: &str) -> String {
        self.token(json!({"role": "staff", "study": "DEMO", "sites": sites})).await
    }

    /// Sends a GET request for `path`, with `token` if there is one.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let request = self.http.get(format!("{}{path}", self.address));
        Answer::of(with(request, token).send().await.expect("the cloud answers")).await
    }

    /// Sends a POST request with `body` to `path`, with `token` if there is one.
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let request = self.http.post(format!("{}{path}", self.address)).json(body);
        Answer::of(with(request, token).send().await.expect("the cloud answers")).await
    }

    /// Sends a PUT request with `body` to `path`, with `token` if there is one.
    pub async fn put(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let request = self.http.put(format!("{}{path}", self.address)).json(body);
        Answer::of(with(request, token).send().await.expect("the cloud answers")).await
    }

    /// Sends a DELETE request for `path`.
    pub async fn delete(&self, path: &str) -> Answer {
        let request = self.http.delete(format!("{}{path}", self.address));
        Answer::of(request.send().await.expect("the cloud answers")).await
    }

    /// Submits `submission`.
    pub async fn submit(&self, token: &str, submission: &Value) -> Answer {
        self.post("/v1/submissions", Some(token), submission).await
    }

    /// The counts of `site`.
    pub async fn counts(&self, staff: &str, site: &str) -> Value {
        self.get(&format!("/v1/sites/{site}/counts"), Some(staff)).await.body["counts"][0].clone()
    }

    /// The messages of `site` in the inbox, the latest first.
    pub async fn inbox(&self, site: &str) -> Vec<Value> {
        let answer = self.get(&format!("/local/inbox?site={site}"), None).await;
        answer.body["messages"].as_array().expect("an inbox is a list").clone()
    }

    /// Lets its writes fail that would make a file larger than `bytes`, as a full disk does; `None`: there is room again.
    pub fn limit_files(&self, bytes: Option<u64>) {
        let pid = self.process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(pid, Resource::Fsize, limit).expect("a process of this user may be limited");
    }

    /// Sends a request to its DynamoDB, past the functions, and returns the answer.
    pub async fn dynamodb(&self, operation: &str, body: Value) -> Value {
        let store = self.get("/local/store", None).await.body;
        let request = self
            .http
            .post(store["dynamodb"].as_str().unwrap())
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", format!("DynamoDB_20120810.{operation}"))
            .header(
                "authorization",
                // Some engines keep the tables of each region apart.
                format!(
                    "AWS4-HMAC-SHA256 Credential=local/20260101/{}/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
                    store["region"].as_str().unwrap()
                ),
            )
            .header("x-amz-date", "20260101T000000Z")
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The items of a table, `recordsTable` or `countsTable`, past the functions. A page of it: a test stores little.
    pub async fn items(&self, table: &str) -> Vec<Value> {
        let name = self.get("/local/store", None).await.body[table].clone();
        let page = self.dynamodb("Scan", json!({"TableName": name, "ConsistentRead": true})).await;
        assert!(page["LastEvaluatedKey"].is_null(), "the table has more than one page");
        page["Items"].as_array().unwrap().clone()
    }

    /// Runs a command of the local cloud's binary against this cloud, such as `study put FILE`.
    pub async fn command(&self, arguments: &[&str]) -> std::process::Output {
        let port = self.address.rsplit(':').next().expect("an address has a port");
        let output = Command::new(executable()).args(arguments).args(["--port", port]).output().await;
        output.expect("the local cloud is built")
    }

    /// Kills the environments that run `function` now. Returns how many; those that end by themselves do not count.
    pub async fn kill_environments(&self, function: &str) -> usize {
        let listed = self.get("/local/environments", None).await.body["environments"].clone();
        let mut killed = 0;
        for one in listed.as_array().expect("the environments are a list") {
            if one["function"] == function {
                let answer = self.delete(&format!("/local/environments/{}", one["pid"])).await;
                killed += usize::from(answer.status == 204);
            }
        }
        killed
    }
}

impl Engine {
    /// The engine of the cloud with the folder `data`, and whether it is new; `None` where the embedded one is used.
    async fn of(data: &Path) -> (Option<Self>, bool) {
        let Ok(start) = std::env::var("EPRO_ENGINE") else { return (None, false) };
        if let Some(engine) = ENGINES.lock().unwrap_or_else(PoisonError::into_inner).remove(data) {
            return (Some(engine), false);
        }
        let mut words = start.split_whitespace();
        let mut process = Command::new(words.next().expect("EPRO_ENGINE is a command"))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the command in EPRO_ENGINE can be started");
        let stdout = process.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START, lines.next_line()).await.expect("the engine starts").expect("its output is text");
        let line = line.expect("the engine has started");
        let port = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not a ready line: {line}"));
        (Some(Self { url: format!("http://127.0.0.1:{port}"), _process: process }), true)
    }
}

impl Answer {
    async fn of(response: Response) -> Self {
        let header = |name| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let (correlation_id, location) = (header("x-correlation-id"), header("location"));
        let status = response.status().as_u16();
        let body = response.json().await.unwrap_or_default();
        Self { status, body, correlation_id, location }
    }
}

/// A PHQ-9 with a new id whose items 1 to 9 have `codes`.
pub fn phq_9(codes: [u8; 9]) -> Value {
    let answers: serde_json::Map<String, Value> =
        codes.iter().zip(1..).map(|(code, item): (&u8, u8)| (item.to_string(), json!(code))).collect();
    json!({
        "id": uuid::Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": "2026-11-01T08:00:00+01:00", "answers": answers,
    })
}

/// Awaits all of `futures`, at the same time: as many as the engine of the store bears, and all with the embedded one.
/// Returns their outputs in order.
pub async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let at_once = if std::env::var_os("EPRO_ENGINE").is_some() { AT_ONCE } else { usize::MAX };
    stream::iter(futures).buffered(at_once).collect().await
}

/// The time within which an expected result must appear, on the engine that is used.
pub fn patience() -> Duration {
    if std::env::var_os("EPRO_ENGINE").is_some() { PATIENCE * 5 } else { PATIENCE }
}

/// Waits until `condition` returns something, and returns it.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let patience = patience();
    let end = Instant::now() + patience;
    loop {
        if let Some(it) = condition().await {
            return it;
        }
        assert!(Instant::now() < end, "{what}: not within {patience:?}");
        sleep(POLL).await;
    }
}

fn with(request: reqwest::RequestBuilder, token: Option<&str>) -> reqwest::RequestBuilder {
    match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    }
}

async fn keep(stream: impl AsyncRead + Unpin, log: Arc<Mutex<String>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&line);
        log.push('\n');
    }
}

/// The binary of the local cloud in the folder of the tests' binaries. It is built if necessary.
fn executable() -> PathBuf {
    static BUILT: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let mut build = std::process::Command::new(env!("CARGO"));
        build
            // At the root, with the features of all packages united, as `cargo run` there.
            .args(["build", "--quiet", "--bin", "local"])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        // Variables that cargo sets for a test count as changes to build scripts, which would then be built again.
        let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "LD_LIBRARY_"];
        for (name, _) in std::env::vars() {
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                build.env_remove(name);
            }
        }
        let built = build.status();
        assert!(built.is_ok_and(|status| status.success()), "the local cloud does not build");
        let test = std::env::current_exe().expect("a test has a path");
        test.ancestors().nth(2).expect("tests are built into <target>/<profile>/deps").join("local")
    });
    BUILT.clone()
}
