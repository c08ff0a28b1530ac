//! One environment: a process of the function and its Runtime API (2018-06-01).

use std::error::Error as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use axum::body::{Body, to_bytes};
use axum::extract::{self, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::processes::Listed;
use super::{FunctionSettings, Invocation, InvocationOutcome, Processes, Slot};
use crate::clock;
use crate::template::Function;
use process::{Process, Tail};

mod process;

/// Lambda's limit of an invocation's result, in bytes.
const ANSWER_LIMIT: usize = 6 * 1024 * 1024 + 100;

/// Lambda's limit of the initialisation. A debug build on a busy machine needs a part of it.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// How long a process may take to ask again after its connection broke.
const PATIENCE: Duration = Duration::from_secs(1);

const API: &str = "/2018-06-01/runtime";

/// An initialised process that is free for an invocation. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Environment {
    function_arn: String,
    timeout: Duration,
    events: mpsc::Receiver<Event>,
    /// The function's open request for its next invocation.
    next: Option<oneshot::Sender<Response>>,
    process: Process,
    _listed: Option<Listed>,
    cold: bool,
    server: AbortHandle,
    slot: Slot,
}

/// An invocation that waits for an environment.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request_id: String,
    pub(super) payload: Bytes,
    trace: String,
}

/// An invocation that the process has received.
#[derive(Debug)]
pub(super) struct Running {
    request_id: String,
    started: Instant,
    deadline: Instant,
}

/// An invocation with its outcome and details for the history.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) invocation: Invocation,
    pub(super) cold: bool,
    pub(super) detail: Option<String>,
}

/// Why a process does not become an environment.
#[derive(Debug)]
pub(super) enum StartFailure {
    /// The executable cannot be run.
    Run(PathBuf, io::Error),
    /// The process ended before it asked for an invocation.
    Ended(String, Tail),
    /// The process reported an initialisation error.
    Reported(String, Tail),
    /// The process did not ask for an invocation in time.
    Slow(Tail),
}

/// A request of the process to its Runtime API.
#[derive(Debug)]
enum Event {
    Next(oneshot::Sender<Response>),
    Answer(String, Option<Bytes>, oneshot::Sender<StatusCode>),
    Error(String, Bytes, oneshot::Sender<StatusCode>),
    InitError(Bytes),
}

impl Job {
    pub(super) fn new(payload: Bytes, trace: String) -> Self {
        Self { request_id: uuid::Uuid::new_v4().to_string(), payload, trace }
    }
}

impl Running {
    pub(super) fn request_id(&self) -> &str {
        &self.request_id
    }
}

impl Environment {
    /// Starts a process of the function and waits until it asks for its first invocation.
    pub(super) async fn start(
        function: &Function,
        executable: &Path,
        settings: &FunctionSettings,
        processes: &Processes,
        end: watch::Receiver<bool>,
        slot: Slot,
    ) -> Result<Self, StartFailure> {
        let run = |error| StartFailure::Run(executable.to_owned(), error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(run)?;
        let address = listener.local_addr().map_err(run)?.to_string();
        let (sender, events) = mpsc::channel(4);
        // The server runs as long as the environment and has no way to fail before.
        let server = tokio::spawn(async move { axum::serve(listener, runtime_api(sender)).await }).abort_handle();
        let process = Process::spawn(function, executable, settings, &address, end).map_err(|error| {
            server.abort();
            run(error)
        })?;
        let listed = process.id().map(|pid| processes.add(&function.binary, pid));
        let mut environment = Self {
            function_arn: function.arn(),
            timeout: function.timeout,
            events,
            next: None,
            process,
            _listed: listed,
            cold: true,
            server,
            slot,
        };
        match timeout(INIT_LIMIT, environment.initialised()).await {
            Ok(Ok(())) => Ok(environment),
            Ok(Err(failure)) => Err(failure),
            Err(_) => Err(StartFailure::Slow(environment.process.tail.clone())),
        }
    }

    /// Whether it has served no invocation yet.
    pub(super) fn is_cold(&self) -> bool {
        self.cold
    }

    /// The generation of its pool's environments that it belongs to.
    pub(super) fn generation(&self) -> u64 {
        self.slot.generation
    }

    /// Hands the job to the process. If the process has ended, returns the job unchanged and the exit status.
    pub(super) async fn hand_over(&mut self, job: Job) -> Result<Running, (Job, String)> {
        let running = loop {
            if let Some(how) = self.process.ended() {
                return Err((job, how));
            }
            let Some(next) = self.next.take() else {
                match timeout(PATIENCE, self.wait_for_next()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(how)) => return Err((job, how)),
                    Err(_) => return Err((job, "it did not ask for an invocation".to_owned())),
                }
            };
            let started = Instant::now();
            let event = job.response(&self.function_arn, self.timeout);
            // This fails if the process closed the connection: it then asks again or ends.
            if next.send(event).is_ok() {
                break Running { request_id: job.request_id, started, deadline: started + self.timeout };
            }
        };
        Ok(running)
    }

    /// Waits for the outcome of the invocation, and kills the process when its time is up.
    pub(super) async fn outcome(&mut self, running: &Running) -> Finished {
        let (outcome, detail) = loop {
            tokio::select! {
                biased;
                event = self.events.recv() => {
                    if let Some(outcome) = event.and_then(|event| self.concluded(event, &running.request_id)) {
                        break outcome;
                    }
                }
                how = self.process.wait() => {
                    // Its last output may still be in the pipes.
                    let last = std::iter::from_fn(|| self.events.try_recv().ok()).collect::<Vec<_>>();
                    let concluded = last.into_iter().find_map(|event| self.concluded(event, &running.request_id));
                    break concluded.unwrap_or((InvocationOutcome::Crashed, Some(how)));
                }
                () = sleep_until(running.deadline) => {
                    self.process.kill();
                    let detail = format!("Task timed out after {:.2} seconds", self.timeout.as_secs_f64());
                    break (InvocationOutcome::TimedOut, Some(detail));
                }
            }
        };
        let cold = std::mem::replace(&mut self.cold, false);
        let took = running.started.elapsed();
        let invocation = Invocation { request_id: running.request_id.clone(), took, outcome };
        Finished { invocation, cold, detail }
    }

    /// Waits until the process asks for the next invocation; until then the previous one counts as running. Returns
    /// false if the process ended instead.
    pub(super) async fn settle(&mut self, running: &Running) -> bool {
        if self.process.is_killed() {
            return false;
        }
        matches!(tokio::time::timeout_at(running.deadline, self.wait_for_next()).await, Ok(Ok(())))
    }

    async fn initialised(&mut self) -> Result<(), StartFailure> {
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(Event::Next(next)) => {
                        self.next = Some(next);
                        return Ok(());
                    }
                    Some(Event::InitError(error)) => {
                        return Err(StartFailure::Reported(error_type(&error), self.process.tail.clone()));
                    }
                    Some(event) => event.refuse(),
                    None => {}
                },
                how = self.process.wait() => {
                    self.process.last_words().await;
                    return Err(StartFailure::Ended(how, self.process.tail.clone()));
                }
            }
        }
    }

    async fn wait_for_next(&mut self) -> Result<(), String> {
        while self.next.is_none() {
            tokio::select! {
                biased;
                event = self.events.recv() => match event {
                    Some(Event::Next(next)) => self.next = Some(next),
                    Some(event) => event.refuse(),
                    None => {}
                },
                how = self.process.wait() => return Err(how),
            }
        }
        Ok(())
    }

    /// The outcome that an event reports, if the event belongs to this request.
    fn concluded(&mut self, event: Event, request_id: &str) -> Option<(InvocationOutcome, Option<String>)> {
        // The process may no longer read the acknowledgement.
        match event {
            Event::Answer(id, Some(answer), acknowledge) if id == request_id => {
                let _ = acknowledge.send(StatusCode::ACCEPTED);
                Some((InvocationOutcome::Answer(answer), None))
            }
            Event::Answer(id, None, acknowledge) if id == request_id => {
                let _ = acknowledge.send(StatusCode::PAYLOAD_TOO_LARGE);
                let error = json!({
                    "errorType": "Function.ResponseSizeTooLarge",
                    "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
                });
                let error = Bytes::from(error.to_string());
                Some((InvocationOutcome::FunctionError(error), Some("Function.ResponseSizeTooLarge".to_owned())))
            }
            Event::Error(id, error, acknowledge) if id == request_id => {
                let _ = acknowledge.send(StatusCode::ACCEPTED);
                let detail = error_type(&error);
                Some((InvocationOutcome::FunctionError(error), Some(detail)))
            }
            Event::Next(next) => {
                self.next = Some(next);
                None
            }
            other => {
                other.refuse();
                None
            }
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.process.kill();
        self.server.abort();
    }
}

impl Job {
    /// The response to the function's request for its next invocation.
    fn response(&self, function_arn: &str, timeout: Duration) -> Response {
        let deadline = clock::now() + timeout;
        let deadline = (deadline.unix_timestamp_nanos() / 1_000_000).to_string();
        let headers = [
            ("content-type", "application/json"),
            ("lambda-runtime-aws-request-id", &self.request_id),
            ("lambda-runtime-deadline-ms", &deadline),
            ("lambda-runtime-invoked-function-arn", function_arn),
            ("lambda-runtime-trace-id", &self.trace),
        ];
        (headers, self.payload.clone()).into_response()
    }
}

impl Event {
    /// Refuses an event that does not belong to the running invocation.
    fn refuse(self) {
        if let Event::Answer(_, _, acknowledge) | Event::Error(_, _, acknowledge) = self {
            // The process may no longer read the acknowledgement.
            let _ = acknowledge.send(StatusCode::BAD_REQUEST);
        }
    }
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(program, error) => write!(f, "{} cannot be run: {error}", program.display()),
            Self::Ended(how, tail) => write!(f, "its process ended ({how}) during the initialisation{tail}"),
            Self::Reported(kind, tail) => write!(f, "its initialisation failed with {kind}{tail}"),
            Self::Slow(tail) => {
                write!(f, "it did not ask for an invocation within {} s{tail}", INIT_LIMIT.as_secs())
            }
        }
    }
}

/// The Runtime API of one environment.
fn runtime_api(events: mpsc::Sender<Event>) -> Router {
    Router::new()
        .route(&format!("{API}/invocation/next"), get(next))
        .route(&format!("{API}/invocation/{{id}}/response"), post(answer))
        .route(&format!("{API}/invocation/{{id}}/error"), post(error))
        .route(&format!("{API}/init/error"), post(init_error))
        .with_state(events)
}

async fn next(State(events): State<mpsc::Sender<Event>>) -> Response {
    let (sender, invocation) = oneshot::channel();
    if events.send(Event::Next(sender)).await.is_err() {
        return StatusCode::GONE.into_response();
    }
    invocation.await.unwrap_or_else(|_| StatusCode::GONE.into_response())
}

async fn answer(
    State(events): State<mpsc::Sender<Event>>,
    extract::Path(id): extract::Path<String>,
    body: Body,
) -> Response {
    // An incomplete body is no result: the process has ended, or reports an error next.
    let body = match to_bytes(body, ANSWER_LIMIT).await {
        Ok(body) => Some(body),
        Err(error) if error.source().is_some_and(|source| source.is::<LengthLimitError>()) => None,
        Err(_) => return acknowledgement(StatusCode::BAD_REQUEST),
    };
    let (acknowledge, status) = oneshot::channel();
    settled(events.send(Event::Answer(id, body, acknowledge)).await.is_ok(), status).await
}

async fn error(
    State(events): State<mpsc::Sender<Event>>,
    extract::Path(id): extract::Path<String>,
    body: Bytes,
) -> Response {
    let (acknowledge, status) = oneshot::channel();
    settled(events.send(Event::Error(id, body, acknowledge)).await.is_ok(), status).await
}

async fn init_error(State(events): State<mpsc::Sender<Event>>, body: Bytes) -> Response {
    let sent = events.send(Event::InitError(body)).await.is_ok();
    acknowledgement(if sent { StatusCode::ACCEPTED } else { StatusCode::GONE })
}

async fn settled(sent: bool, status: oneshot::Receiver<StatusCode>) -> Response {
    let status = if sent { status.await.ok() } else { None };
    acknowledgement(status.unwrap_or(StatusCode::GONE))
}

fn acknowledgement(status: StatusCode) -> Response {
    let body = match status {
        StatusCode::ACCEPTED => json!({"status": "OK"}),
        StatusCode::PAYLOAD_TOO_LARGE => json!({"errorType": "RequestEntityTooLarge", "errorMessage": "too large"}),
        _ => json!({"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"}),
    };
    (status, Json(body)).into_response()
}

/// The type of a reported error. Its message is not shown, because it may quote the event.
fn error_type(error: &Bytes) -> String {
    let error: Option<serde_json::Value> = serde_json::from_slice(error).ok();
    let kind = error.as_ref().and_then(|error| error.get("errorType")).and_then(|kind| kind.as_str());
    kind.unwrap_or("an untyped error").to_owned()
}
