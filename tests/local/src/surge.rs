//! `cargo run -- surge`: the eight-o'clock peak. Many patients submit at once, as phones do. Then it is checked from
//! outside that the promises were kept, and the store is recomputed.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use authoring::connection::{LOCAL_STORE_PATH, LocalStore};
use authoring::error_chain;
use authoring::outcome::ConnectError;
use authoring::progress::ProgressBar;
use clinical::ids::{SiteId, StudyId};
use clinical::studies::Protocol;
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use crate::client::{Api, ApiError};
use crate::cloud::CloudOptions;
use crate::cloud_process::CloudProcess;
pub use crate::cloud_process::ProcessError;
pub use crate::recomputation::RecomputationError;
use crate::recomputation::recompute;
use crate::sts;
use checks::{Checks, During};
use diary::Diary;
pub use kills::Kill;
use kills::Kills;
use phones::Phones;

mod checks;
mod diary;
mod kills;
mod phones;
mod report;

/// The study whose patients submit: the demonstration study of a local cloud.
const STUDY: &str = "EPRO-DEMO";

/// The sites of a study that is not stored.
const SITES: [&str; 2] = ["S01", "S02"];

/// Tokens that are fetched in parallel.
const TOKENS_AT_ONCE: usize = 4;

/// Bounds one read of the study.
const STUDY_TIMEOUT: Duration = Duration::from_secs(10);

/// The options of a surge.
#[derive(Debug)]
pub struct SurgeOptions {
    /// Patients, each of whom submits once.
    pub patients: usize,
    /// Submissions that are sent at the same time.
    pub connections: usize,
    /// What is killed meanwhile.
    pub kills: BTreeSet<Kill>,
    /// How long the surge goes on while nothing is accepted, scored or delivered.
    pub patience: Duration,
    /// The local cloud to start if none runs on its port.
    pub cloud: CloudOptions,
}

/// The result of a surge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every promise that can be seen from outside was kept.
    Kept,
    /// One was broken; the report says which.
    Broken,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum SurgeError {
    /// The local cloud cannot be started, or started again.
    #[error("no local cloud to send to")]
    Process(#[from] ProcessError),
    /// A cloud that already runs was to be killed.
    #[error(
        "a local cloud already serves on port {0}, and a surge kills only one of its own: stop that one, or choose \
         another port with `--port`"
    )]
    NotOwn(u16),
    /// A cloud that keeps nothing was to be killed.
    #[error("data in memory ends with the local cloud: `--kill cloud` needs a data folder")]
    InMemory,
    /// The local cloud stopped answering, or its response has another shape.
    #[error("the surge cannot continue")]
    Api(#[from] ApiError),
    /// The local cloud's store cannot be read.
    #[error("cannot connect to the store of the local cloud")]
    Connect(#[from] ConnectError),
    /// The study in force cannot be read.
    #[error("cannot read the study {STUDY} ({0})")]
    Study(String),
    /// The store cannot be recomputed.
    #[error("cannot compare the store with what follows from the submissions")]
    Recomputation(#[from] RecomputationError),
    /// The study in force has none of the instruments that the patients use.
    #[error("the study {STUDY} in force has no site, or none of the instruments that its patients use here")]
    NoInstrument,
    /// A signal stopped the surge.
    #[error("interrupted; what was accepted is kept")]
    Interrupted,
    /// The signals cannot be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    /// The report cannot be written.
    #[error("cannot write the report to stdout")]
    Report(#[source] io::Error),
}

/// Runs a surge and prints the report on stdout.
///
/// # Errors
/// If there is no local cloud, or it stops answering.
pub async fn run(options: SurgeOptions) -> Result<Verdict, SurgeError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(SurgeError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(SurgeError::Signals)?;
    let (report, verdict) = tokio::select! {
        result = surge(&options) => result?,
        _ = interrupt.recv() => return Err(SurgeError::Interrupted),
        _ = terminate.recv() => return Err(SurgeError::Interrupted),
    };
    match io::stdout().lock().write_all(report.as_bytes()) {
        // The reader closed the output early, `head` for example.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(SurgeError::Report)?,
    }
    Ok(verdict)
}

async fn surge(options: &SurgeOptions) -> Result<(String, Verdict), SurgeError> {
    let quiet = options.cloud.console.quiet;
    let say = |text: String| {
        if !quiet {
            eprintln!("{text}");
        }
    };
    if options.kills.contains(&Kill::Cloud) && options.cloud.data.is_none() {
        return Err(SurgeError::InMemory);
    }
    let port = options.cloud.port;
    let running = Api::at(format!("http://127.0.0.1:{port}"), options.patience);
    let found = port != 0 && running.is_local_cloud().await;
    let (api, own) = if found {
        if options.kills.contains(&Kill::Cloud) {
            return Err(SurgeError::NotOwn(port));
        }
        say(format!("sending to the local cloud that serves at {}", running.url()));
        (running, None)
    } else {
        say("starting a local cloud for this surge; its first start builds the functions".to_owned());
        let process = CloudProcess::start(options.cloud.clone()).await?;
        say(format!("sending to {}", process.url()));
        (Api::at(process.url().to_owned(), options.patience), Some(process))
    };
    let own = tokio::sync::Mutex::new(own);
    let result = Surge { options, api: Arc::new(api), quiet }.run(&own).await;
    if let Some(process) = own.into_inner() {
        process.stop().await;
    }
    result
}

/// Whether any request met an injected fault, by the body of `GET /local/faults`.
fn has_faults(body: &Value) -> bool {
    let services = body.as_object().into_iter().flatten();
    services.filter_map(|(_, counts)| counts["faults"].as_object()).any(|kinds| !kinds.is_empty())
}

struct Surge<'a> {
    options: &'a SurgeOptions,
    api: Arc<Api>,
    quiet: bool,
}

impl Surge<'_> {
    async fn run(&self, own: &tokio::sync::Mutex<Option<CloudProcess>>) -> Result<(String, Verdict), SurgeError> {
        let SurgeOptions { patients, connections, kills, patience, .. } = self.options;
        let api = &*self.api;
        let study: StudyId = STUDY.parse().expect("the id of the demonstration study is well formed");
        let protocol = self.protocol(&study).await?;
        let sites: Vec<SiteId> = match protocol.study() {
            Some(study) => study.definition().sites.iter().map(|site| site.id.clone()).collect(),
            None => SITES.iter().filter_map(|site| site.parse().ok()).collect(),
        };
        let diaries = diary::diaries(&protocol, &sites, *patients).ok_or(SurgeError::NoInstrument)?;
        let tokens = self.tokens(&study, &diaries).await?;
        let checks = Checks::begin(api, &study, &sites, *patience, self.quiet).await?;

        let phones = Phones::new(api, *connections, *patience);
        let progress = ProgressBar::new("sent", *patients, self.quiet);
        let mut killer = Kills::new(api, own, kills, *patients);
        // The kills go on until everything is accepted, and are then dropped.
        let sending = phones.send(&diaries, &tokens, &progress);
        let sent = tokio::select! {
            sent = sending => sent,
            error = killer.run(&phones) => return Err(error),
        };
        drop(progress);
        let killed = killer.killed();
        // Its process may be one that a kill was about to start.
        if let Some(process) = own.lock().await.as_mut() {
            process.ensure_running().await?;
        }
        let faults: Value = api.read("/local/faults", None).await?;
        let during = During { faults: has_faults(&faults), timed_out: killed.timed_out };
        let mut findings = checks.run(&diaries, &tokens, &sent, during).await?;
        let recomputed = recompute(api, *patience, self.quiet).await?;
        findings.recomputed = recomputed.tally.submissions;
        if recomputed.tally.waiting > 0 {
            let why = format!("{} submissions, alerts or courses still wait for the sweep", recomputed.tally.waiting);
            findings.broken.push((4, why));
        }
        findings.different.extend(recomputed.differences.iter().map(ToString::to_string));
        let faults: Value = api.read("/local/faults", None).await?;
        let (connections, patients) = (*connections, *patients);
        let figures = report::Figures { patients, connections, sent: &sent, killed, faults: &faults };
        Ok(report::render(&figures, &findings))
    }

    /// The study that is in force, read from the store of the local cloud.
    async fn protocol(&self, study: &StudyId) -> Result<Arc<Protocol>, SurgeError> {
        let local: LocalStore = self.api.read(LOCAL_STORE_PATH, None).await?;
        let connection = local.connect_as(sts::principal(&local.sts))?;
        let protocol = connection.store.protocol(study, Deadline::after(STUDY_TIMEOUT)).await;
        protocol.map_err(|failure| SurgeError::Study(error_chain(&failure)))
    }

    /// The patients' tokens, in the order of their diaries.
    async fn tokens(&self, study: &StudyId, diaries: &[Diary]) -> Result<Vec<String>, SurgeError> {
        let progress = ProgressBar::new("tokens", diaries.len(), self.quiet);
        let token = async |diary: &Diary| {
            let token = self.api.patient_token(study, &diary.site, &diary.patient).await;
            progress.step();
            token
        };
        Ok(stream::iter(diaries).map(token).buffered(TOKENS_AT_ONCE).try_collect().await?)
    }
}
