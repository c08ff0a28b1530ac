//! `cargo run -- replay FILE`: sends the questionnaires of a CDISC Dataset-JSON file through the API as its patients,
//! and compares the results with the file.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use authoring::progress::ProgressBar;
use clinical::ids::{PatientId, SiteId, SubmissionId};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, sleep_until};

pub use crate::client::ApiError;
use crate::client::{Alert, Api, Receipt, Score};
use crate::cloud::{Cloud, CloudError, CloudOptions};
use file::{Administration, Dataset};
pub use file::{Fault, FileError};
use report::{Entry, Report, Sent, When};

mod categories;
mod file;
mod report;

/// Patients that send in parallel.
const PATIENTS_AT_ONCE: usize = 8;

/// Submissions that are queried in parallel, and in one round.
const QUESTIONS_AT_ONCE: usize = 4;
const QUESTIONS_IN_A_ROUND: usize = 50;

/// The pause after a round without progress, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long before its transaction a score's time may be.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// The options of a replay.
#[derive(Debug)]
pub struct ReplayOptions {
    /// The Dataset-JSON file.
    pub file: PathBuf,
    /// The site of all patients.
    pub site: SiteId,
    /// Administrations a second; `None`: as fast as they are answered.
    pub speed: Option<f64>,
    /// How long the replay continues without progress.
    pub patience: Duration,
    /// The local cloud to start if none runs on its port.
    pub cloud: CloudOptions,
}

/// Validates the content of the file at `path` as a replay does, and returns the number of its administrations.
///
/// # Errors
/// If it is not a Dataset-JSON file of questionnaires, or its rows have faults: all of them.
pub fn check(path: &Path, bytes: &[u8], now: OffsetDateTime) -> Result<usize, FileError> {
    file::parse(path, bytes, now).map(|dataset| dataset.administrations.len())
}

/// The result of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was scored, and every total in the file equals the computed one.
    Agrees,
    /// Something differs; the report lists it.
    Differs,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be replayed.
    #[error(transparent)]
    File(#[from] FileError),
    /// No local cloud runs, and none can be started.
    #[error("no local cloud to replay to")]
    Cloud(#[source] Box<CloudError>),
    /// The local cloud stopped answering, or its response has another shape.
    #[error("the replay cannot continue")]
    Api(#[from] ApiError),
    /// A signal stopped the replay.
    #[error("interrupted; run the replay again to continue: stored submissions are kept")]
    Interrupted,
    /// The signals cannot be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    /// The report cannot be written.
    #[error("cannot write the report to stdout")]
    Report(#[source] io::Error),
}

/// Replays a file and prints the report on stdout.
///
/// # Errors
/// If the file has faults, in which case nothing is sent, or there is no local cloud.
pub async fn run(options: ReplayOptions) -> Result<Verdict, ReplayError> {
    let dataset = file::read(&options.file, OffsetDateTime::now_utc())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ReplayError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ReplayError::Signals)?;
    let quiet = options.cloud.console.quiet;
    let say = |text: String| {
        if !quiet {
            eprintln!("{text}");
        }
    };
    say(format!(
        "{}: study {}, {} administrations",
        options.file.display(),
        dataset.study,
        dataset.administrations.len()
    ));
    let port = options.cloud.port;
    let running = Api::at(format!("http://127.0.0.1:{port}"), options.patience);
    let found = port != 0 && running.is_local_cloud().await;
    let (api, own) = if found {
        say(format!("sending to the local cloud that serves at {}", running.url()));
        (running, None)
    } else {
        let why = if port == 0 { String::new() } else { format!("no local cloud serves on port {port}: ") };
        say(format!("{why}starting one for this replay; its first start builds the functions"));
        let cloud = tokio::select! {
            cloud = start(options.cloud) => cloud?,
            _ = interrupt.recv() => return Err(ReplayError::Interrupted),
            _ = terminate.recv() => return Err(ReplayError::Interrupted),
        };
        say(format!("sending to {}", cloud.url()));
        (Api::at(cloud.url().to_owned(), options.patience), Some(cloud))
    };
    let replay = Replay {
        api,
        dataset: &dataset,
        site: &options.site,
        pace: options.speed.map(Pace::new),
        patience: options.patience,
        quiet,
    };
    let result = tokio::select! {
        result = replay.run() => result,
        _ = interrupt.recv() => Err(ReplayError::Interrupted),
        _ = terminate.recv() => Err(ReplayError::Interrupted),
    };
    if let Some(cloud) = own {
        cloud.stop().await;
    }
    let (report, agrees) = result?;
    match io::stdout().lock().write_all(report.as_bytes()) {
        // The reader closed the output early, `head` for example.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(ReplayError::Report)?,
    }
    Ok(if agrees { Verdict::Agrees } else { Verdict::Differs })
}

/// Starts a local cloud whose events do not overwrite the progress bar; with the functions' log lines it prints all.
async fn start(mut options: CloudOptions) -> Result<Cloud, ReplayError> {
    options.console.quiet = !options.console.logs;
    Cloud::start(options).await.map_err(|error| ReplayError::Cloud(Box::new(error)))
}

struct Replay<'a> {
    api: Api,
    dataset: &'a Dataset,
    site: &'a SiteId,
    pace: Option<Pace>,
    patience: Duration,
    quiet: bool,
}

/// The API's response to one administration.
struct Answered {
    sent: Sent,
    /// Why it is not stored with the file's content.
    why_not: Option<String>,
}

impl Replay<'_> {
    async fn run(&self) -> Result<(String, bool), ReplayError> {
        let staff = self.api.staff_token(&self.dataset.study, self.site).await?;
        let before = self.api.counts(&staff, self.site).await?;
        let began = OffsetDateTime::now_utc();
        let answered = self.send(began).await?;
        let mut results = self.wait_until_scored(&staff, &answered, began).await?;
        let entries: Vec<Entry<'_>> = self
            .dataset
            .administrations
            .iter()
            .map(|administration| {
                let Answered { sent, why_not } = &answered[&administration.id];
                let result = match why_not {
                    Some(why) => report::Result::NotStored(why.clone()),
                    None => results
                        .remove(&administration.id)
                        .unwrap_or_else(|| report::Result::NotScored("it was not queried".to_owned())),
                };
                Entry { administration, sent: *sent, result }
            })
            .collect();
        let inbox = self.wait_until_delivered(&entries).await?;
        let after = self.api.counts(&staff, self.site).await?;
        let report = Report { site: self.site, entries, inbox, before, after, repeats: self.api.repeats() };
        Ok(report.render())
    }

    /// Sends all administrations: patients in parallel, each one's in order.
    async fn send(&self, began: OffsetDateTime) -> Result<BTreeMap<SubmissionId, Answered>, ReplayError> {
        let mut patients: BTreeMap<&PatientId, Vec<&Administration>> = BTreeMap::new();
        for administration in &self.dataset.administrations {
            patients.entry(&administration.patient).or_default().push(administration);
        }
        for own in patients.values_mut() {
            own.sort_by_key(|administration| administration.authored);
        }
        let progress = ProgressBar::new("sent", self.dataset.administrations.len(), self.quiet);
        let progress = &progress;
        let answered: Vec<Vec<_>> = stream::iter(patients)
            .map(|(patient, administrations)| async move {
                let token = self.api.patient_token(&self.dataset.study, self.site, patient).await?;
                let mut answered = Vec::new();
                for administration in administrations {
                    if let Some(pace) = &self.pace {
                        pace.turn().await;
                    }
                    answered.push((administration.id, self.send_one(&token, administration, began).await?));
                    progress.step();
                    if self.api.repeats() > 0 {
                        progress.note(format!("{} requests sent again", self.api.repeats()));
                    }
                }
                Ok::<_, ApiError>(answered)
            })
            .buffer_unordered(PATIENTS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(answered.into_iter().flatten().collect())
    }

    async fn send_one(
        &self,
        token: &str,
        administration: &Administration,
        began: OffsetDateTime,
    ) -> Result<Answered, ApiError> {
        let body = json!({
            "id": administration.id,
            "instrument": administration.instrument.id(),
            "version": administration.instrument.version(),
            "authoredAt": administration.authored_at,
            "answers": administration.answers,
        });
        let not_stored = |why: String| Answered { sent: Sent::Not, why_not: Some(why) };
        Ok(match self.api.submit(token, &body).await {
            // The first response may have been lost and this one be the repeat's: the time of storage decides.
            Ok(Receipt::Stored { received_at }) => {
                let sent = if is_since(began, &received_at) { Sent::Now } else { Sent::AlreadyThere };
                Answered { sent, why_not: None }
            }
            Ok(Receipt::Conflict) => not_stored("other content is already stored under its id (409)".to_owned()),
            // All further administrations would fail the same way.
            Err(error @ ApiError::Unreachable { .. }) => return Err(error),
            Err(error) => not_stored(error.to_string()),
        })
    }

    /// Queries everything that is stored until it is scored, or nothing has changed for `patience`.
    async fn wait_until_scored(
        &self,
        staff: &str,
        answered: &BTreeMap<SubmissionId, Answered>,
        began: OffsetDateTime,
    ) -> Result<BTreeMap<SubmissionId, report::Result>, ReplayError> {
        let mut waiting: VecDeque<&Administration> = self
            .dataset
            .administrations
            .iter()
            .filter(|administration| answered[&administration.id].why_not.is_none())
            .collect();
        let progress = ProgressBar::new("scored", waiting.len(), self.quiet);
        let mut results = BTreeMap::new();
        let mut happened = Instant::now();
        let mut pause = FIRST_PAUSE;
        while !waiting.is_empty() && happened.elapsed() < self.patience {
            let round: Vec<&Administration> = waiting.drain(..waiting.len().min(QUESTIONS_IN_A_ROUND)).collect();
            let states: Vec<_> = stream::iter(round)
                .map(|administration| async move {
                    (administration, self.api.state(staff, &administration.patient, &administration.id).await)
                })
                .buffered(QUESTIONS_AT_ONCE)
                .collect()
                .await;
            let before = results.len();
            for (administration, state) in states {
                let result = match state {
                    Ok(state) => match state.score {
                        Some(score) => report::Result::Scored { when: when(began, &score.scored_at), score },
                        None => {
                            waiting.push_back(administration);
                            continue;
                        }
                    },
                    Err(error @ ApiError::Unreachable { .. }) => return Err(error.into()),
                    Err(error) => report::Result::NotScored(explained(&error)),
                };
                results.insert(administration.id, result);
                progress.step();
            }
            if results.len() > before {
                happened = Instant::now();
                pause = FIRST_PAUSE;
            } else {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        for administration in waiting {
            let why = format!("nothing more was scored for {} s", self.patience.as_secs());
            results.insert(administration.id, report::Result::NotScored(why));
        }
        Ok(results)
    }

    /// The messages in the inbox, once it has every alert that a score names, or nothing has changed for `patience`.
    async fn wait_until_delivered(&self, entries: &[Entry<'_>]) -> Result<Vec<Alert>, ReplayError> {
        let scores = entries.iter().filter_map(|entry| match &entry.result {
            report::Result::Scored { score, .. } => Some(score),
            _ => None,
        });
        let raised: BTreeSet<&String> = scores.flat_map(|score: &Score| &score.alerts).collect();
        let mut arrived = 0;
        let mut happened = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let inbox = self.api.inbox(self.site).await?;
            let ids: BTreeSet<&String> = inbox.iter().map(|alert| &alert.alert_id).collect();
            let here = raised.intersection(&ids).count();
            if here > arrived {
                (arrived, happened, pause) = (here, Instant::now(), FIRST_PAUSE);
            }
            if arrived == raised.len() || happened.elapsed() >= self.patience {
                return Ok(inbox);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether a time in a response is not before `began`. Both clocks are this machine's.
fn is_since(began: OffsetDateTime, time: &str) -> bool {
    OffsetDateTime::parse(time, &Rfc3339).is_ok_and(|time| time >= began)
}

/// When a submission was scored, relative to the first read of the counts.
fn when(began: OffsetDateTime, scored_at: &str) -> When {
    if is_since(began, scored_at) {
        When::Since
    } else if is_since(began - ON_ITS_WAY, scored_at) {
        When::Around
    } else {
        When::Before
    }
}

fn explained(error: &ApiError) -> String {
    match error {
        ApiError::Refused { status: http::StatusCode::NOT_FOUND, .. } => {
            format!("{error}; it may have been sent for another site before: replay it with that `--site`")
        }
        _ => error.to_string(),
    }
}

/// Limits administrations to a number a second.
struct Pace {
    interval: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    fn new(per_second: f64) -> Self {
        Self { interval: Duration::from_secs_f64(1.0 / per_second), next: Mutex::new(Instant::now()) }
    }

    async fn turn(&self) {
        let mut next = self.next.lock().await;
        let turn = (*next).max(Instant::now());
        *next = turn + self.interval;
        drop(next);
        sleep_until(turn).await;
    }
}
