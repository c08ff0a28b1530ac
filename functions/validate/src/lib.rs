//! `POST /v1/forms/{form}/{version}/validate` checks a batch of case-report rows against a form, and tells all that it finds.
//!
//! Reading, checking and wording need a processor and nothing else, so they run beside the runtime, on as many threads as
//! there are cores, and ask the deadline as they go. Nothing is stored, so a batch may be sent again at any time.

mod batch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::{Caller, Handler, Invocation, Problem, ProblemKind, Role, Scope, admit, counted, http, language};
use clinical::document::NotFound;
use clinical::forms::{Batch, Catalog, CheckContext, Form, NoRegister, Register, ReportOptions, Workers};
use clinical::ids::PatientId;
use invocation::Deadline;
use invocation::aws::Failure;
use lambda_http::http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, VARY};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use records::Store;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use uuid::Uuid;

/// What Lambda takes for an answer: 6 MB, its headers and the JSON around its body included.
const LARGEST_ANSWER: usize = 6 * 1024 * 1024 - 16 * 1024;

/// As long as the register of subjects is waited for, and never more than half of the time there is: what it is asked for
/// can be told as not evaluated, and the rest cannot wait.
const REGISTER: Duration = Duration::from_secs(2);

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Validate {
    store: Store,
    threads: usize,
}

/// What one request asks for.
struct Asked {
    form: &'static Form,
    language: &'static str,
    values: bool,
    context: CheckContext,
    deadline: Deadline,
}

/// How far the work has come, told to who waits for it.
#[derive(Default)]
struct Progress {
    rows: AtomicUsize,
    checked: AtomicUsize,
}

impl Validate {
    /// The function on `store`, checking rows on `threads` threads.
    pub fn new(store: Store, threads: usize) -> Self {
        Self { store, threads }
    }
}

impl Handler for Validate {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            "POST /v1/forms/{form}/{version}/validate" => self.validate(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}

impl Validate {
    async fn validate(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::FORMS_VALIDATE, &[Role::Staff])?;
        let checked = self.checked(&invocation, &caller, request);
        counted(&self.store, &invocation, caller.study(), caller.sites(), checked).await
    }

    async fn checked(
        &self,
        invocation: &Invocation,
        caller: &Caller,
        request: Request,
    ) -> Result<Response<Body>, Problem> {
        let form = find(&request)?;
        let notation = batch::notation(&request)?;
        let languages: Vec<&str> = form.languages().collect();
        let language = language::choose(&request, &languages).unwrap_or("en");
        let values = request.query_string_parameters_ref().and_then(|query| query.first("values")) == Some("true");
        let deadline = invocation.deadline;
        let progress = Arc::new(Progress::default());

        let body = request.into_body();
        let read = in_time(deadline, &progress, move || batch::read(&body, notation));
        let register_deadline = deadline.no_later_than((deadline.remaining() / 2).min(REGISTER));
        let (batch, protocol) = tokio::join!(read, self.store.protocol(caller.study(), register_deadline));
        if let Ok(protocol) = &protocol {
            admit(&self.store, protocol)?;
        }
        let batch = batch?;
        progress.rows.store(batch.len(), Ordering::Relaxed);
        let subjects = match protocol {
            Ok(protocol) if protocol.subjects_enrol_first() => {
                self.enrolled(caller, form.subjects(&batch), register_deadline).await
            }
            Ok(_) => Register::Absent(NoRegister::NoSubjects),
            Err(failure) => unreachable(&failure),
        };
        let sites = caller.sites().iter().map(|site| site.as_str().to_owned()).collect();
        let context =
            CheckContext { now: invocation.clock.now().unix_timestamp(), sites: Register::Known(sites), subjects };
        let asked = Asked { form, language, values, context, deadline };
        let (threads, shared) = (self.threads, Arc::clone(&progress));
        let text = in_time(deadline, &progress, move || asked.answer(&batch, threads, &shared)).await?;

        let mut response = Response::new(Body::Text(text));
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language));
        headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
        Ok(response)
    }

    /// The register of those of `subjects` that are the caller's to know of.
    async fn enrolled(&self, caller: &Caller, subjects: BTreeSet<&str>, deadline: Deadline) -> Register {
        // What cannot be a subject's id is none.
        let subjects: BTreeSet<PatientId> = subjects.into_iter().filter_map(|subject| subject.parse().ok()).collect();
        match self.store.enrolled(caller.study(), caller.sites(), &subjects, deadline).await {
            Ok(enrolled) => Register::Known(enrolled.into_iter().map(|subject| subject.as_str().to_owned()).collect()),
            Err(failure) => unreachable(&failure),
        }
    }
}

/// What `work` gives, done beside the runtime, if it is done in time.
async fn in_time<T: Send + 'static>(
    deadline: Deadline,
    progress: &Progress,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match deadline.bound(spawn_blocking(work)).await {
        Some(Ok(result)) => result,
        Some(Err(_)) => Err(Problem::new(ProblemKind::Internal, "checking the batch failed")),
        None => Err(timed_out(progress)),
    }
}

fn unreachable(failure: &Failure) -> Register {
    tracing::warn!(event = "register_not_read", %failure);
    Register::Unreachable
}

impl Asked {
    fn answer(&self, batch: &Batch, threads: usize, progress: &Progress) -> Result<String, Problem> {
        // The threads that check are not the runtime's, and would not see a clock that a test stopped.
        let runtime = Handle::current();
        let is_over = || {
            let _entered = runtime.enter();
            self.deadline.remaining().is_zero()
        };
        let count = |rows| {
            progress.checked.fetch_add(rows, Ordering::Relaxed);
        };
        let workers = Workers::new(threads).until(&is_over).reporting(&count);
        let report = self.form.check(batch, &self.context, workers).map_err(|_| timed_out(progress))?;
        let id = Uuid::new_v4().to_string();
        let wording = ReportOptions { batch: &id, language: self.language, values: self.values };
        let mut size = 0;
        let told = self.form.to_json(&report, wording, |piece| {
            size += size_in_json(piece);
            size <= LARGEST_ANSWER && !is_over()
        });
        told.map_err(|rows| if size > LARGEST_ANSWER { too_large(rows, batch.len()) } else { timed_out(progress) })
    }
}

/// The form that the path names.
fn find(request: &Request) -> Result<&'static Form, Problem> {
    let not_found = |detail: &str| Problem::new(ProblemKind::NotFound, detail);
    let id = http::path_parameter(request, "form").parse().map_err(|_| not_found("there is no such form"))?;
    let version = http::path_parameter(request, "version");
    let version = version.parse().map_err(|_| not_found("a version is three numbers: 1.0.0"))?;
    Catalog::shipped().find(&id, &version).map(AsRef::as_ref).map_err(|reason| match reason {
        NotFound::Id => not_found("there is no such form"),
        NotFound::Version { known } => {
            let known: Vec<_> = known.iter().map(|version| version.as_str()).collect();
            not_found(&format!("the form is not there in this version, but in {}", known.join(", ")))
        }
    })
}

fn timed_out(progress: &Progress) -> Problem {
    let (rows, checked) = (progress.rows.load(Ordering::Relaxed), progress.checked.load(Ordering::Relaxed));
    let how_far = match (rows, checked) {
        (0, _) => "the batch could not be read in time".to_owned(),
        (rows, checked) if rows == checked => format!("all {rows} rows were checked, but time ran out for telling it"),
        (rows, checked) => format!("{checked} of {rows} rows checked when time ran out"),
    };
    Problem::new(ProblemKind::TimedOut, format!("{how_far}; nothing was stored: send smaller batches"))
}

fn too_large(told: usize, rows: usize) -> Problem {
    let detail = format!(
        "the answer would be over Lambda's 6 MB: it is full after {told} of {rows} rows; send smaller batches, or leave \
         `values` out"
    );
    Problem::new(ProblemKind::TooLarge, detail)
}

/// The bytes that a text has as a JSON string, which is how Lambda takes an answer. What is text in JSON has no control
/// characters left.
fn size_in_json(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}
