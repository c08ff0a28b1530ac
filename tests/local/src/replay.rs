//! `cargo run -- replay FILE`: a CDISC Dataset-JSON file of questionnaires, sent through the API as its patients would
//! have sent it, and compared with what the file says itself.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io::{self, Write},
    path::PathBuf,
    time::Duration,
};

use authoring::progress::ProgressBar;
use clinical::ids::{PatientId, SiteId, SubmissionId};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Mutex,
    time::{Instant, sleep, sleep_until},
};

use crate::cloud::{Cloud, CloudError, CloudOptions};
pub use api::ApiError;
use api::{Alert, Api, Receipt, Score};
use file::{Administration, Dataset};
pub use file::{Fault, FileError};
use report::{Entry, Report, Sent, When};

mod api;
mod categories;
mod file;
mod report;

/// Patients that send at the same time.
const PATIENTS_AT_ONCE: usize = 8;

/// Submissions that are asked about at the same time, and in one round.
const QUESTIONS_AT_ONCE: usize = 4;
const QUESTIONS_IN_A_ROUND: usize = 50;

/// The pause between rounds in which nothing happened, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long before its transaction a score's time may be.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// What a person can choose.
#[derive(Debug)]
pub struct ReplayOptions {
    /// The Dataset-JSON file.
    pub file: PathBuf,
    /// The site that all patients are of.
    pub site: SiteId,
    /// Administrations a second; `None`: as fast as the answers come.
    pub speed: Option<f64>,
    /// How long to go on while nothing happens.
    pub patience: Duration,
    /// The local cloud to start if none serves on its port.
    pub cloud: CloudOptions,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was scored, and every total that the file has is ours.
    Agrees,
    /// Something differs; the report says what.
    Differs,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No local cloud serves, and none can be started.
    #[error("no local cloud to replay to")]
    Cloud(#[source] Box<CloudError>),
    /// The local cloud stopped answering, or answers something else.
    #[error("the replay cannot go on")]
    Api(#[from] ApiError),
    /// Somebody stopped it.
    #[error("interrupted; replay it again to go on: what is stored stays as it is")]
    Interrupted,
    /// The signals that stop it cannot be watched.
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    /// Nobody takes the report.
    #[error("cannot write the report to stdout")]
    Report(#[source] io::Error),
}

/// Replays a file and prints the report on stdout.
///
/// # Errors
/// If the file is no such file, in which case nothing is sent, or there is no local cloud.
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
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.map_err(ReplayError::Report)?,
    }
    Ok(if agrees { Verdict::Agrees } else { Verdict::Differs })
}

/// A local cloud whose events do not run over the bar; with the functions' log lines it says all.
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

/// What the API said to one administration.
struct Answered {
    sent: Sent,
    /// Why it is not stored as the file has it.
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
                        .unwrap_or_else(|| report::Result::NotScored("it was not asked about".to_owned())),
                };
                Entry { administration, sent: *sent, result }
            })
            .collect();
        let inbox = self.wait_until_delivered(&entries).await?;
        let after = self.api.counts(&staff, self.site).await?;
        let report = Report { site: self.site, entries, inbox, before, after, repeats: self.api.repeats() };
        Ok(report.told())
    }

    /// Sends everything: the patients side by side, each one's administrations one after the other in their order.
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
            // An answer may have been lost, and its repeat answered: when it was stored tells which it is.
            Ok(Receipt::Stored { received_at }) => {
                let sent = if is_since(began, &received_at) { Sent::Now } else { Sent::AlreadyThere };
                Answered { sent, why_not: None }
            }
            Ok(Receipt::Conflict) => not_stored("another content is stored under its id (409), and stays".to_owned()),
            // The rest would meet the same.
            Err(error @ ApiError::Unreachable { .. }) => return Err(error),
            Err(error) => not_stored(error.to_string()),
        })
    }

    /// Asks about everything that is stored until it is scored, or nothing more happens for as long as the patience.
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
            let why = format!("nothing was scored any more for {} s", self.patience.as_secs());
            results.insert(administration.id, report::Result::NotScored(why));
        }
        Ok(results)
    }

    /// What the inbox holds, once it has every alert that a score names, or nothing more comes.
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

/// Whether a time that the API told is not before `began`. Both clocks are this machine's.
fn is_since(began: OffsetDateTime, told: &str) -> bool {
    OffsetDateTime::parse(told, &Rfc3339).is_ok_and(|told| told >= began)
}

/// When a submission was scored, seen from the moment after the first counts were read.
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
            format!("{error}; was it sent as of another site before? Replay it with that `--site`")
        }
        _ => error.to_string(),
    }
}

/// Lets one administration go at a time, so many a second.
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
