//! A Lambda environment: one process of a function and its Runtime API (2018-06-01).
//!
//! The local cloud has one too, with queues, time limits and kills. This one does only what is measured, so that nothing
//! but the process is between two readings of its clock: it knows when the process asks for its next event, and a program
//! such as valgrind may run it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use time::OffsetDateTime;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::Fault;
use crate::measure::CpuClock;
use crate::quota::Quota;

const API: &str = "/2018-06-01/runtime";
/// Longer than anything takes that is measured, also under valgrind.
const PATIENCE: Duration = Duration::from_secs(240);
/// The time that an invocation has; under valgrind a start takes seconds.
const TIME_LIMIT: Duration = Duration::from_secs(300);

/// What is run as a function.
#[derive(Clone, Debug)]
pub struct Program {
    /// Its name in the ledger.
    pub name: String,
    /// The executable and its arguments.
    pub command: Vec<OsString>,
    /// The variables of its environment beside those of every function.
    pub variables: BTreeMap<String, String>,
    /// What is deployed: a file or a folder.
    pub artefact: PathBuf,
}

/// A process of a function that waits for its next event. Dropping it kills the process.
#[derive(Debug)]
pub struct Environment {
    name: String,
    child: Child,
    pid: u32,
    clock: CpuClock,
    started: Instant,
    events: mpsc::Receiver<Event>,
    next: Option<oneshot::Sender<Response>>,
    server: AbortHandle,
    served: u64,
    log: PathBuf,
}

#[derive(Debug)]
enum Event {
    Next(oneshot::Sender<Response>),
    Answer(Bytes),
    Error(Bytes),
}

impl Program {
    /// This program, run by `command`.
    #[must_use]
    pub fn under(mut self, command: impl IntoIterator<Item = OsString>) -> Self {
        self.command = command.into_iter().chain(self.command).collect();
        self
    }
}

impl Environment {
    /// Starts a process of `program` and waits until it asks for its first event. Its output goes to a file in `logs`.
    ///
    /// # Errors
    /// If it ends or reports an error instead.
    pub async fn start(
        program: &Program,
        variables: &BTreeMap<String, String>,
        logs: &std::path::Path,
        quota: Option<&Quota>,
    ) -> Result<Self, Fault> {
        let io = |error| Fault::Io(format!("{} cannot be run", program.name), error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(io)?;
        let address = listener.local_addr().map_err(io)?.to_string();
        let (sender, events) = mpsc::channel(4);
        let api = Router::new()
            .route(&format!("{API}/invocation/next"), get(next))
            .route(&format!("{API}/invocation/{{id}}/response"), post(answer))
            .route(&format!("{API}/invocation/{{id}}/error"), post(error))
            .route(&format!("{API}/init/error"), post(init_error))
            .with_state(sender);
        let server = tokio::spawn(async move { axum::serve(listener, api).await }).abort_handle();

        let log = logs.join(format!("{}.log", program.name));
        let output = || OpenOptions::new().create(true).append(true).open(&log).map_err(io);
        let (stdout, stderr): (File, File) = (output()?, output()?);
        let waiting = quota.map(Quota::command);
        let mut command = waiting.iter().flatten().chain(&program.command);
        let executable = command.next().ok_or_else(|| Fault::Wrong(format!("{} has no command", program.name)))?;
        let mut child = Command::new(executable)
            .args(command)
            .env_clear()
            .envs(std::env::vars_os().filter(|(name, _)| name == "PATH" || name == "HOME"))
            .envs(variables)
            .envs(&program.variables)
            .env("AWS_LAMBDA_RUNTIME_API", &address)
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .map_err(io)?;
        let pid = child.id().ok_or_else(|| Fault::Wrong(format!("{} has no process id", program.name)))?;
        let clock = CpuClock::of(pid)?;
        let stdin = child.stdin.take();
        if let (Some(quota), Some(mut stdin)) = (quota, stdin) {
            quota.settle().await;
            stdin.write_all(b"\n").await.map_err(io)?;
        }
        let mut environment = Self {
            name: program.name.clone(),
            child,
            pid,
            clock,
            started: Instant::now(),
            events,
            next: None,
            server,
            served: 0,
            log,
        };
        match environment.event().await? {
            Event::Next(next) => environment.next = Some(next),
            _ => return Err(environment.wrong("answers before it was asked")),
        }
        Ok(environment)
    }

    /// The processor time of the process since it was started.
    ///
    /// # Errors
    /// If it has ended.
    pub fn cpu(&self) -> Result<Duration, Fault> {
        self.clock.now()
    }

    /// The time since its executable was started.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// The id of its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends `event`, and returns the answer when the process asks for the next one.
    ///
    /// # Errors
    /// If it reports an error or ends.
    pub async fn invoke(&mut self, event: Bytes) -> Result<Bytes, Fault> {
        let Some(next) = self.next.take() else { return Err(self.wrong("does not ask for an event")) };
        self.served += 1;
        let deadline = (OffsetDateTime::now_utc() + TIME_LIMIT).unix_timestamp_nanos() / 1_000_000;
        let request_id = format!("8f5ad1c0-0000-4000-8000-{:012}", self.served);
        let headers = [
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", &request_id),
            ("lambda-runtime-deadline-ms", &deadline.to_string()),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:123456789012:function:epro"),
            ("lambda-runtime-trace-id", "Root=1-69682a2b-3f1c5d7e9a0b2c4d6e8f0a1b"),
        ];
        if next.send((headers, event).into_response()).is_err() {
            return Err(self.wrong("closed its connection"));
        }
        let mut answered = None;
        loop {
            match self.event().await? {
                Event::Answer(answer) => answered = Some(answer),
                Event::Error(error) => {
                    return Err(self.wrong(&format!("reported an error: {}", String::from_utf8_lossy(&error))));
                }
                Event::Next(next) => {
                    self.next = Some(next);
                    return answered.ok_or_else(|| self.wrong("asked for an event before it answered"));
                }
            }
        }
    }

    /// Ends the process by a signal that it can handle, and waits for it: valgrind writes its counts then.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn end(mut self) -> Result<(), Fault> {
        let pid = Pid::from_raw(self.pid.cast_signed());
        kill(pid, Signal::SIGTERM)
            .map_err(|error| Fault::Io(format!("{} cannot be ended", self.name), error.into()))?;
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.wrong("does not end")),
        }
    }

    async fn event(&mut self) -> Result<Event, Fault> {
        let event = tokio::select! {
            biased;
            event = self.events.recv() => event,
            _ = self.child.wait() => None,
            () = tokio::time::sleep(PATIENCE) => None,
        };
        event.ok_or_else(|| self.wrong("ended, or did not answer"))
    }

    fn wrong(&self, what: &str) -> Fault {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(10).collect();
        let last: Vec<&str> = last.into_iter().rev().collect();
        Fault::Wrong(format!("{} {what}; its last lines:\n{}", self.name, last.join("\n")))
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(events): State<mpsc::Sender<Event>>) -> Response {
    let (sender, event) = oneshot::channel();
    if events.send(Event::Next(sender)).await.is_err() {
        return StatusCode::GONE.into_response();
    }
    event.await.unwrap_or_else(|_| StatusCode::GONE.into_response())
}

async fn answer(State(events): State<mpsc::Sender<Event>>, Path(_id): Path<String>, body: Bytes) -> Response {
    accepted(events.send(Event::Answer(body)).await.is_ok())
}

async fn error(State(events): State<mpsc::Sender<Event>>, Path(_id): Path<String>, body: Bytes) -> Response {
    accepted(events.send(Event::Error(body)).await.is_ok())
}

async fn init_error(State(events): State<mpsc::Sender<Event>>, body: Bytes) -> Response {
    accepted(events.send(Event::Error(body)).await.is_ok())
}

fn accepted(sent: bool) -> Response {
    let status = if sent { StatusCode::ACCEPTED } else { StatusCode::GONE };
    (status, Json(json!({"status": "OK"}))).into_response()
}
