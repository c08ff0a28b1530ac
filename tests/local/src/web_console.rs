//! The web console: the page at `/`, and the routes below `/console` that only it uses.
//!
//! The page's files are in `tests/local/console` and compiled into this program. It speaks to the same HTTP API as every
//! client, with tokens of the local issuer. These routes add what the API does not have:
//!
//! | route | does |
//! |---|---|
//! | `GET /` | the page |
//! | `GET /console/{file}` | its scripts and styles |
//! | `GET /console/study` | the version of a study that is in force, with its sites |
//! | `POST /console/escalation` | lets alerts of the demonstration study escalate after a minute |
//! | `GET /console/courses` | the courses of a site's patients, for plots |
//! | `GET /console/events` | what happens, as server-sent events ([`crate::feed`]) |
//! | `GET`, `POST /console/switches` | faults and a slow SNS |
//! | `POST /console/verification` | recomputes what is stored, as `cargo run -- verify` does |
//!
//! [`guard`] keeps other pages in the same browser out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use authoring::connection::LocalStore;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::middleware::from_fn;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::stream;
use serde_json::json;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::spawn_blocking;

use crate::feed::{Feed, Numbered};
use crate::lambda::Functions;
use assets::Asset;
pub use switches::{Endpoints, Switches};

mod assets;
mod courses;
pub mod guard;
mod studies;
mod switches;
mod verify;

/// Pages that may watch at the same time.
const READERS: usize = 32;

/// How often a silent stream of events sends a comment, so that a page which went away is noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Nothing but this program's own files runs or is loaded, and no other page shows this one in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

/// What the routes use.
#[derive(Debug)]
pub struct Parts {
    /// What happens.
    pub feed: Feed,
    /// Faults and a slow SNS.
    pub switches: Switches,
    /// The functions, which keep a study in memory for a while.
    pub functions: Functions,
    /// The tables; `None` where the template names none.
    pub store: Option<LocalStore>,
    /// True once the local cloud stops: streams of events end.
    pub stopping: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Shared {
    parts: Parts,
    /// Distinguishes the numbers of this start's events from those of an earlier one.
    start: String,
    readers: Arc<Semaphore>,
    verifications: Semaphore,
}

/// The routes of the page.
pub fn routes(parts: Parts) -> Router {
    let shared = Shared {
        parts,
        start: uuid::Uuid::new_v4().simple().to_string(),
        readers: Arc::new(Semaphore::new(READERS)),
        verifications: Semaphore::new(1),
    };
    let files = Router::new()
        .route("/", get(async || Asset::page().response()))
        .route("/console/{file}", get(file))
        .route_layer(from_fn(guard::named_as_this_machine));
    let data = Router::new()
        .route("/console/courses", get(courses::list))
        .route("/console/events", get(events))
        .route("/console/switches", get(switches::show).post(switches::set))
        .route("/console/escalation", post(studies::escalate_soon))
        .route("/console/study", get(studies::show))
        .route("/console/verification", post(verify::run))
        .route_layer(from_fn(guard::own_page))
        .with_state(Arc::new(shared));
    files.merge(data)
}

async fn file(Path(name): Path<String>) -> Response {
    Asset::named(&name).map_or_else(|| StatusCode::NOT_FOUND.into_response(), Asset::response)
}

impl Asset {
    fn response(self) -> Response {
        let headers = [
            (CONTENT_TYPE, self.kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            // Another build of this program has other files under the same names.
            (CACHE_CONTROL, "no-cache"),
            (HeaderName::from_static("x-content-type-options"), "nosniff"),
            (HeaderName::from_static("referrer-policy"), "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ];
        (headers, self.text).into_response()
    }
}

/// One page that watches.
struct Reader {
    feed: Feed,
    latest: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    start: String,
    /// The number of the last event that was sent.
    position: u64,
    /// In the reverse order.
    ready: Vec<sse::Event>,
    _permit: OwnedSemaphorePermit,
}

/// `GET /console/events`: the kept events and then each as it happens. A page that connects again goes on after the
/// event that it names in `Last-Event-ID`. An event `skipped` precedes a gap, and `start` all others.
async fn events(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let Ok(permit) = Arc::clone(&shared.readers).try_acquire_owned() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "Too many pages watch. Close some and load this one again.");
    };
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.split_once('.'));
    let position = last.filter(|(start, _)| *start == shared.start).and_then(|(_, number)| number.parse().ok());
    let Parts { feed, stopping, .. } = &shared.parts;
    let first = sse::Event::default().event("start").data(json!({ "start": shared.start }).to_string());
    let reader = Reader {
        feed: feed.clone(),
        latest: feed.latest(),
        stopping: stopping.clone(),
        start: shared.start.clone(),
        position: position.unwrap_or_default(),
        ready: vec![first],
        _permit: permit,
    };
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

impl Reader {
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if let Some(event) = self.ready.pop() {
                return Some(event);
            }
            // Marked as seen before the read, so that an event in between is not missed.
            self.latest.borrow_and_update();
            let events = self.feed.after(self.position);
            if let (Some(first), Some(last)) = (events.first(), events.last()) {
                let skipped = first.number - self.position - 1;
                self.position = last.number;
                self.ready = events.iter().rev().map(|event| self.numbered(event)).collect();
                if skipped > 0 {
                    self.ready.push(sse::Event::default().event("skipped").data(skipped.to_string()));
                }
                continue;
            }
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            }
        }
    }

    fn numbered(&self, event: &Numbered) -> sse::Event {
        sse::Event::default().id(format!("{}.{}", self.start, event.number)).data(&*event.json)
    }
}

/// Waits for work whose future may not move between threads.
async fn on_one_thread<T: Send + 'static, F: Future<Output = Result<T, String>>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<T, String> {
    let handle = Handle::current();
    let done = spawn_blocking(move || handle.block_on(work())).await;
    done.unwrap_or_else(|error| Err(error.to_string()))
}

/// An answer to a request that cannot be served.
fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    (status, Json(json!({"title": title, "status": status.as_u16(), "detail": detail}))).into_response()
}

#[cfg(test)]
mod tests;
