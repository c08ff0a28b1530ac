//! `cargo run -- simulate-day`: a day of the demonstration study. Its patients are asked, reminded, answer or miss, some
//! late, some abroad, while the local cloud's clock is moved through the day. Then it is compared with what the plan of
//! the day expects, and the store is recomputed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use authoring::connection::{LOCAL_STORE_PATH, LocalStore};
use authoring::error_chain;
use authoring::outcome::ConnectError;
use clinical::ids::StudyId;
use clinical::studies::Study as OwnStudy;
use invocation::Deadline;
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep};

use crate::client::{Api, ApiError};
use crate::cloud::{CloudOptions, DEMO_STUDY};
use crate::cloud_process::CloudProcess;
pub use crate::cloud_process::ProcessError;
pub use crate::recomputation::RecomputationError;
use crate::recomputation::recompute;
use crate::sts;
use calendar::Study;
use course::Course;
use observed::Observed;
use plan::{Draw, Plan};

mod calendar;
mod course;
mod expected;
mod observed;
mod plan;
mod report;

/// The demonstration study.
const STUDY: &str = "EPRO-DEMO";

/// How long an unanswered request is repeated, and what was sent last may take to be scored.
const PATIENCE: Duration = Duration::from_secs(60);

/// The pause between two reads of what is scored.
const PAUSE: Duration = Duration::from_millis(500);

/// Bounds one read of the study.
const STUDY_TIMEOUT: Duration = Duration::from_secs(10);

/// The days until the day that is chosen: the first patients are enrolled days before it, in zones where it is later.
const AHEAD: i64 = 4;

/// The options of a simulated day.
#[derive(Debug)]
pub struct DayOptions {
    /// Patients who take part.
    pub patients: usize,
    /// Determines who does what when.
    pub seed: u64,
    /// The day, of each patient's own calendar; `None`: the fourth from now.
    pub date: Option<Date>,
    /// The local cloud to start.
    pub cloud: CloudOptions,
}

/// The result of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All that was observed is as the plan expects.
    AsExpected,
    /// Something differs; the report says what.
    Differs,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum DayError {
    /// The local cloud cannot be started.
    #[error("no local cloud to pass a day on")]
    Process(#[from] ProcessError),
    /// The local cloud stopped answering, refused the move of its clock, or its response has another shape.
    #[error("the day cannot continue")]
    Api(#[from] ApiError),
    /// The local cloud's store cannot be read.
    #[error("cannot connect to the store of the local cloud")]
    Connect(#[from] ConnectError),
    /// The study in force cannot be read.
    #[error("cannot read the study {STUDY} ({0})")]
    Study(String),
    /// The data folder has another version of the study.
    #[error(
        "the study {STUDY} in force is another than the demonstration study of this program: use `--data <another folder>` \
         or `--memory`"
    )]
    OtherStudy,
    /// The day is too early.
    #[error(
        "the day {day} is too early: its first patients are enrolled at {begins}, and the local cloud's clock shows {now} \
         already. Choose a later `--date`"
    )]
    TooEarly {
        /// The day that was asked for.
        day: Date,
        /// When the first patients would be enrolled.
        begins: Timestamp,
        /// The time of the local cloud.
        now: Timestamp,
    },
    /// The calendar ends.
    #[error("the windows of the day {0} cannot be computed: choose another `--date`")]
    Calendar(Date),
    /// Sweep does not come to an end.
    #[error("sweep fails, or finds more to do after {0} runs: `--logs` shows why")]
    Sweep(usize),
    /// The store cannot be recomputed.
    #[error("cannot compare the store with what follows from the submissions")]
    Recomputation(#[from] RecomputationError),
    /// A signal stopped the day.
    #[error("interrupted")]
    Interrupted,
    /// The signals cannot be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    /// The report cannot be written.
    #[error("cannot write the report to stdout")]
    Report(#[source] io::Error),
}

/// Lets a day pass and prints the report on stdout.
///
/// # Errors
/// If the local cloud does not start, its clock cannot be moved, or it stops answering.
pub async fn run(options: DayOptions) -> Result<Verdict, DayError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(DayError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(DayError::Signals)?;
    let (report, verdict) = tokio::select! {
        result = day(&options) => result?,
        _ = interrupt.recv() => return Err(DayError::Interrupted),
        _ = terminate.recv() => return Err(DayError::Interrupted),
    };
    match io::stdout().lock().write_all(report.as_bytes()) {
        // The reader closed the output early, `head` for example.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(DayError::Report)?,
    }
    Ok(verdict)
}

async fn day(options: &DayOptions) -> Result<(String, Verdict), DayError> {
    let quiet = options.cloud.console.quiet;
    if !quiet {
        eprintln!("starting a local cloud for this day; its first start builds the functions");
    }
    let process = CloudProcess::start(options.cloud.clone()).await?;
    let api = Api::at(process.url().to_owned(), PATIENCE);
    let result = pass(options, &api, quiet).await;
    process.stop().await;
    result
}

async fn pass(options: &DayOptions, api: &Api, quiet: bool) -> Result<(String, Verdict), DayError> {
    let id: StudyId = STUDY.parse().expect("the id of the demonstration study is well formed");
    ensure_own_study(api, &id).await?;
    let study: Study = serde_json::from_str(DEMO_STUDY).expect("a test reads the demonstration study so");
    let now = now(api).await?;
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let day = options.date.unwrap_or(today + AHEAD.days());
    let mut run = uuid::Uuid::new_v4().simple().to_string();
    run.truncate(8);
    let draw = Draw { patients: options.patients, seed: options.seed, day, run: &run };
    let plan = Plan::draw(&study, draw).ok_or(DayError::Calendar(day))?;
    if plan.begins < now {
        return Err(DayError::TooEarly { day, begins: plan.begins, now });
    }
    // From then on, so that they hold until the end.
    api.move_clock(&plan.begins.to_string()).await?;
    let (staff, clinicians) = (tokens(api, &id, &study, "staff").await?, tokens(api, &id, &study, "clinician").await?);
    let seen = Course { api, study: &id, plan: &plan, quiet, staff: &staff }.run().await?;

    let is_of_run = |patient: &str| patient.starts_with(&format!("DAY-{run}-"));
    let end = Instant::now() + PATIENCE;
    let observed: Observed = loop {
        let observed = observed::read(api, &staff, &clinicians, is_of_run).await?;
        // What was sent last may still be scored, which answers its window.
        let is_settled = expected::differences(&plan, &study, &seen, &observed).is_empty();
        if is_settled || !seen.differences.is_empty() || Instant::now() >= end {
            break observed;
        }
        sleep(PAUSE).await;
    };
    let recomputed = recompute(api, PATIENCE, quiet).await?;
    let seed = options.seed;
    let figures = report::Figures {
        day,
        seed,
        study: &study,
        plan: &plan,
        seen: &seen,
        observed: &observed,
        recomputed: &recomputed,
    };
    Ok(report::render(&figures))
}

/// The time of the local cloud.
async fn now(api: &Api) -> Result<Timestamp, DayError> {
    let clock: Value = api.read("/local/clock", None).await?;
    let now = clock["now"].as_str().and_then(|now| now.parse().ok());
    // Its own clock is one that is read.
    Ok(now.unwrap_or_else(Timestamp::now))
}

/// Tokens of the role by site.
async fn tokens(api: &Api, id: &StudyId, study: &Study, role: &str) -> Result<BTreeMap<String, String>, DayError> {
    let mut tokens = BTreeMap::new();
    for site in &study.sites {
        let token = api.token(json!({"role": role, "study": id, "sites": [site.id]})).await?;
        tokens.insert(site.id.clone(), token);
    }
    Ok(tokens)
}

/// A data folder may have another version in force, whose windows are not those of the plan.
async fn ensure_own_study(api: &Api, id: &StudyId) -> Result<(), DayError> {
    let local: LocalStore = api.read(LOCAL_STORE_PATH, None).await?;
    let connection = local.connect_as(sts::principal(&local.sts))?;
    let protocol = connection.store.protocol(id, Deadline::after(STUDY_TIMEOUT)).await;
    let protocol = protocol.map_err(|failure| DayError::Study(error_chain(&failure)))?;
    let own = OwnStudy::parse(DEMO_STUDY).expect("a test checks the demonstration study");
    let is_own = protocol.study().is_some_and(|study| study.hash() == own.hash());
    if is_own { Ok(()) } else { Err(DayError::OtherStudy) }
}

#[cfg(test)]
mod tests;
