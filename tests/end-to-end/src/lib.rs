//! A local cloud of a test's own: started as a developer starts it, and spoken to over HTTP only.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// A first start may have to build the functions.
const START: Duration = Duration::from_secs(300);
/// What must come comes within this; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A running local cloud. Stopped when dropped.
pub struct Cloud {
    process: Child,
    address: String,
    http: Client,
    log: Arc<Mutex<String>>,
}

/// What the local cloud said when it could not start.
#[derive(Debug)]
pub struct NotStarted {
    /// Its exit code.
    pub code: Option<i32>,
    /// What it wrote on standard error.
    pub message: String,
}

/// An answer of the API.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The JSON body; null if there is none.
    pub body: Value,
    /// Its `x-correlation-id`.
    pub correlation_id: Option<String>,
    /// Its `location`.
    pub location: Option<String>,
}

impl Cloud {
    /// A cloud that keeps its data in `data`.
    ///
    /// # Errors
    /// What it said, if it did not start.
    pub async fn start(data: &Path, options: &[&str]) -> Result<Self, NotStarted> {
        let mut command = Command::new(executable());
        command.args(options);
        if !options.contains(&"--port") {
            command.args(["--port", "0"]);
        }
        if !options.contains(&"--memory") {
            command.arg("--data").arg(data);
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
        let ready = timeout(START, lines.next_line()).await.expect("it starts or says why it does not");
        let Some(line) = ready.expect("its output is text") else {
            let code = process.wait().await.expect("it has ended").code();
            reading.await.expect("its messages can be read");
            let message = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return Err(NotStarted { code, message });
        };
        let address = line.strip_prefix("ready ").unwrap_or_else(|| panic!("not a ready line: {line}")).to_owned();
        Ok(Self { process, address, http: Client::new(), log })
    }

    /// A cloud with data of its own, which goes with the folder that comes with it.
    pub async fn fresh(options: &[&str]) -> (Self, TempDir) {
        let data = tempfile::tempdir().expect("there is room for temporary files");
        let cloud = Self::start(&data.path().join("data"), options).await;
        (cloud.unwrap_or_else(|failure| panic!("the local cloud did not start: {failure:?}")), data)
    }

    /// Where it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has written on standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it at once, as a crash would, and its functions with it.
    pub async fn kill(mut self) {
        self.process.kill().await.expect("it is running");
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

    /// Asks for `path`, with `token` where there is one.
    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        let request = self.http.get(format!("{}{path}", self.address));
        Answer::of(with(request, token).send().await.expect("the cloud answers")).await
    }

    /// Sends `body` to `path`.
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> Answer {
        let request = self.http.post(format!("{}{path}", self.address)).json(body);
        Answer::of(with(request, token).send().await.expect("the cloud answers")).await
    }

    /// Sends `submission`.
    pub async fn submit(&self, token: &str, submission: &Value) -> Answer {
        self.post("/v1/submissions", Some(token), submission).await
    }

    /// The counts of `site`.
    pub async fn counts(&self, staff: &str, site: &str) -> Value {
        self.get(&format!("/v1/sites/{site}/counts"), Some(staff)).await.body["counts"][0].clone()
    }

    /// What has reached the inbox from `site`.
    pub async fn inbox(&self, site: &str) -> Vec<Value> {
        let answer = self.get(&format!("/local/inbox?site={site}"), None).await;
        answer.body["messages"].as_array().expect("an inbox is a list").clone()
    }

    /// Calls the command of a person at this cloud, such as `study put FILE`.
    pub async fn command(&self, arguments: &[&str]) -> std::process::Output {
        let port = self.address.rsplit(':').next().expect("an address has a port");
        let output = Command::new(executable()).args(arguments).args(["--port", port]).output().await;
        output.expect("the local cloud is built")
    }

    /// The process ids of the functions' environments that run `function` now.
    pub fn environments(&self, function: &str) -> Vec<u32> {
        let own = self.process.id().expect("it is running");
        let children = std::fs::read_dir("/proc").expect("processes are listed in /proc").flatten();
        let ids = children.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            // pid (name) state parent
            let Some((name, rest)) = stat.split_once(") ") else { return false };
            let parent = rest.split(' ').nth(1).and_then(|parent| parent.parse().ok());
            name.ends_with(&format!("({function}")) && parent == Some(own)
        })
        .collect()
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

/// A PHQ-9 of a new id whose items 1 to 9 have `codes`.
pub fn phq_9(codes: [u8; 9]) -> Value {
    let answers: serde_json::Map<String, Value> =
        codes.iter().zip(1..).map(|(code, item): (&u8, u8)| (item.to_string(), json!(code))).collect();
    json!({
        "id": uuid::Uuid::now_v7().to_string(), "instrument": "phq-9", "version": "1.0.0",
        "authoredAt": "2026-11-01T08:00:00+01:00", "answers": answers,
    })
}

/// Waits until `condition` gives something, and gives that.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(it) = condition().await {
            return it;
        }
        assert!(Instant::now() < end, "{what}: not within {PATIENCE:?}");
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

/// The binary of the local cloud, beside the tests; built if it is not.
fn executable() -> PathBuf {
    static BUILT: std::sync::LazyLock<PathBuf> = std::sync::LazyLock::new(|| {
        let mut build = std::process::Command::new(env!("CARGO"));
        build
            .args(["build", "--quiet", "--package", "local", "--bin", "local"])
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        // What cargo tells a test is a change to build scripts, and would have them and all behind them built again.
        let told = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_", "LD_LIBRARY_"];
        for (name, _) in std::env::vars() {
            if told.iter().any(|prefix| name.starts_with(prefix)) {
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
