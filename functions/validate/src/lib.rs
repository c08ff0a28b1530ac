//! The function that validates. `POST /v1/forms/{form}/{version}/validate` validates a batch of case-report rows
//! against a form, and returns all findings.
//!
//! Reading, checking and reporting are CPU-bound, so they run outside of the runtime, on a thread for each core, and
//! check the deadline meanwhile. Nothing is stored, so a batch may be sent again at any time.

mod batch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use api::{Caller, Handler, Invocation, Problem, ProblemKind, admit, counted, http, language};
use clinical::document::NotFound;
use clinical::forms::{Batch, Catalog, CheckContext, Form, NoRegister, Register, ReportOptions, Workers};
use clinical::ids::PatientId;
use invocation::Deadline;
use invocation::aws::Failure;
use lambda_http::http::header::{CONTENT_LANGUAGE, CONTENT_TYPE, VARY};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, RequestExt, Response};
use records::Store;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use uuid::Uuid;

/// The most bytes of an answer: Lambda takes 6 MB, headers and the JSON around the body included.
const LARGEST_ANSWER: usize = 6 * 1024 * 1024 - 16 * 1024;

/// The longest wait for the register of subjects, which is half of the remaining time at most: rules that need it can
/// be reported as not evaluated, and the other rules need the time.
const REGISTER: Duration = Duration::from_secs(2);

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Validate {
    store: Store,
    threads: usize,
}

/// The validation that a request asks for.
struct Validation {
    form: &'static Form,
    language: &'static str,
    values: bool,
    context: CheckContext,
    deadline: Deadline,
}

/// The number of rows read and checked so far, for the answer where time runs out.
#[derive(Default)]
struct RowCounts {
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

    fn overrun(&self, _method: &Method) -> ProblemKind {
        // It stores nothing.
        ProblemKind::NotDone
    }
}

impl Validate {
    async fn validate(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
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
        let counts = Arc::new(RowCounts::default());

        let body = request.into_body();
        let read = in_time(deadline, &counts, move || batch::read(&body, notation));
        let register_deadline = deadline.no_later_than((deadline.remaining() / 2).min(REGISTER));
        let (batch, protocol) = tokio::join!(read, self.store.protocol(caller.study(), register_deadline));
        if let Ok(protocol) = &protocol {
            admit(&self.store, protocol)?;
        }
        let batch = batch?;
        counts.rows.store(batch.len(), Ordering::Relaxed);
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
        let validation = Validation { form, language, values, context, deadline };
        let (threads, shared) = (self.threads, Arc::clone(&counts));
        let text = in_time(deadline, &counts, move || validation.answer(&batch, threads, &shared)).await?;

        let mut response = Response::new(Body::Text(text));
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LANGUAGE, HeaderValue::from_static(language));
        headers.insert(VARY, HeaderValue::from_static("Accept-Language"));
        Ok(response)
    }

    /// The register of those of `subjects` that are enrolled at the caller's sites.
    async fn enrolled(&self, caller: &Caller, subjects: BTreeSet<&str>, deadline: Deadline) -> Register {
        // An invalid id is not a subject's.
        let subjects: BTreeSet<PatientId> = subjects.into_iter().filter_map(|subject| subject.parse().ok()).collect();
        match self.store.enrolled(caller.study(), caller.sites(), &subjects, deadline).await {
            Ok(enrolled) => Register::Known(enrolled.into_iter().map(|subject| subject.as_str().to_owned()).collect()),
            Err(failure) => unreachable(&failure),
        }
    }
}

/// Runs `work` outside of the runtime, and returns its output if it is done in time.
async fn in_time<T: Send + 'static>(
    deadline: Deadline,
    counts: &RowCounts,
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    match deadline.bound(spawn_blocking(work)).await {
        Some(Ok(result)) => result,
        Some(Err(_)) => Err(Problem::new(ProblemKind::Internal, "checking the batch failed")),
        None => Err(timed_out(counts)),
    }
}

fn unreachable(failure: &Failure) -> Register {
    tracing::warn!(event = "register_not_read", %failure);
    Register::Unreachable
}

impl Validation {
    fn answer(&self, batch: &Batch, threads: usize, counts: &RowCounts) -> Result<String, Problem> {
        // The checking threads are not the runtime's, and would not see a clock that a test paused.
        let runtime = Handle::current();
        let is_over = || {
            let _entered = runtime.enter();
            self.deadline.remaining().is_zero()
        };
        let count = |rows| {
            counts.checked.fetch_add(rows, Ordering::Relaxed);
        };
        let workers = Workers::new(threads).until(&is_over).reporting(&count);
        let report = self.form.check(batch, &self.context, workers).map_err(|_| timed_out(counts))?;
        let id = Uuid::new_v4().to_string();
        let options = ReportOptions { batch: &id, language: self.language, values: self.values };
        let mut size = 0;
        let written = self.form.to_json(&report, options, |piece| {
            size += size_in_json(piece);
            size <= LARGEST_ANSWER && !is_over()
        });
        written.map_err(|rows| if size > LARGEST_ANSWER { too_large(rows, batch.len()) } else { timed_out(counts) })
    }
}

/// The form that the path names.
fn find(request: &Request) -> Result<&'static Form, Problem> {
    let not_found = |detail: &str| Problem::new(ProblemKind::NotFound, detail);
    let id = http::path_parameter(request, "form").parse().map_err(|_| not_found("there is no such form"))?;
    let version = http::path_parameter(request, "version");
    let version = version.parse().map_err(|_| not_found("a version has three numbers, such as 1.0.0"))?;
    Catalog::shipped().find(&id, &version).map(AsRef::as_ref).map_err(|reason| match reason {
        NotFound::Id => not_found("there is no such form"),
        NotFound::Version { known } => {
            let known: Vec<_> = known.iter().map(|version| version.as_str()).collect();
            not_found(&format!("the form has no such version; it has {}", known.join(", ")))
        }
    })
}

fn timed_out(counts: &RowCounts) -> Problem {
    let (rows, checked) = (counts.rows.load(Ordering::Relaxed), counts.checked.load(Ordering::Relaxed));
    let how_far = match (rows, checked) {
        (0, _) => "the batch could not be read in time".to_owned(),
        (rows, checked) if rows == checked => format!("all {rows} rows were checked, but time ran out for the answer"),
        (rows, checked) => format!("{checked} of {rows} rows checked when time ran out"),
    };
    Problem::new(ProblemKind::TimedOut, format!("{how_far}; nothing was stored: send smaller batches"))
}

fn too_large(written: usize, rows: usize) -> Problem {
    let detail = format!(
        "the answer would be over Lambda's 6 MB: it is full after {written} of {rows} rows; send smaller batches, or leave \
         `values` out"
    );
    Problem::new(ProblemKind::TooLarge, detail)
}

/// The bytes of a text as a JSON string, which is how Lambda takes an answer. A text that is JSON has no control
/// characters.
fn size_in_json(text: &str) -> usize {
    text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}
