//! The patients' phones: each sends its submission until it is accepted, with the same id, pauses and a limit of tries.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use authoring::progress::ProgressBar;
use futures::{StreamExt, stream};
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::diary::Diary;
use crate::client::{Api, jitter};

/// The tries while the patient waits. Then the submission is kept on the phone, and sent later.
pub(super) const TRIES: usize = 3;

/// The pause after the first try without a result, doubled after the second. The server may ask for another.
const PAUSE: Duration = Duration::from_millis(500);

/// No try is started this long after the first.
const WAIT: Duration = Duration::from_secs(60);

/// The pause before the submissions that were not accepted are sent again.
const LATER: Duration = Duration::from_secs(1);

/// The phones and what they have met so far.
pub(super) struct Phones<'a> {
    api: &'a Api,
    connections: usize,
    /// How long to go on while nothing is accepted.
    patience: Duration,
    settled: AtomicUsize,
    met: Mutex<Met>,
}

/// What all tries met.
#[derive(Debug, Default)]
struct Met {
    took: Vec<Duration>,
    by_status: BTreeMap<String, usize>,
    retries: usize,
}

/// What came of all submissions.
#[derive(Debug)]
pub(super) struct Sent {
    /// In the order of the diaries.
    pub(super) results: Vec<Result<Accepted, NotAccepted>>,
    /// How many were accepted within a phone's tries.
    pub(super) at_first: usize,
    /// From the first try to the last answer of the first round.
    pub(super) took: Duration,
    /// When the last answer came.
    pub(super) ended: Instant,
    /// How long each answered request took, in order of length.
    pub(super) answers: Vec<Duration>,
    /// Answers by status, and requests without one.
    pub(super) by_status: BTreeMap<String, usize>,
    /// Tries after the first of a phone's three.
    pub(super) retries: usize,
}

/// The answer to an accepted submission.
#[derive(Debug)]
pub(super) struct Accepted {
    /// The body of the answer.
    pub(super) receipt: Value,
}

/// Why a submission was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAccepted {
    /// Nothing settled it: it may be stored or not.
    Unsettled,
    /// It was refused for good, which no valid submission is.
    Refused(StatusCode),
}

impl<'a> Phones<'a> {
    pub(super) fn new(api: &'a Api, connections: usize, patience: Duration) -> Self {
        Self { api, connections, patience, settled: AtomicUsize::new(0), met: Mutex::default() }
    }

    /// How many phones are done with their first tries.
    pub(super) fn settled(&self) -> usize {
        self.settled.load(Ordering::Relaxed)
    }

    /// Sends all submissions; those that were not accepted again later, until all are or none more is.
    pub(super) async fn send(&self, diaries: &[Diary], tokens: &[String], progress: &ProgressBar) -> Sent {
        let began = Instant::now();
        let mut first: Vec<_> = stream::iter(diaries.iter().zip(tokens).enumerate())
            .map(|(place, (diary, token))| async move {
                let result = self.try_all(token, &diary.body).await;
                self.settled.fetch_add(1, Ordering::Relaxed);
                progress.step();
                (place, result)
            })
            .buffer_unordered(self.connections)
            .collect()
            .await;
        first.sort_by_key(|(place, _)| *place);
        let mut results: Vec<_> = first.into_iter().map(|(_, result)| result).collect();
        let mut ended = Instant::now();
        let took = ended - began;
        let accepted = |results: &[Result<Accepted, NotAccepted>]| results.iter().filter(|one| one.is_ok()).count();
        let at_first = accepted(&results);
        let mut last_accepted = Instant::now();
        loop {
            let open = || (0..results.len()).filter(|place| matches!(results[*place], Err(NotAccepted::Unsettled)));
            if open().next().is_none() || last_accepted.elapsed() >= self.patience {
                break;
            }
            progress.note(format!("{} are sent again", open().count()));
            sleep(LATER).await;
            let again: Vec<_> = stream::iter(open())
                .map(|place| async move { (place, self.try_all(&tokens[place], &diaries[place].body).await) })
                .buffer_unordered(self.connections)
                .collect()
                .await;
            ended = Instant::now();
            for (place, result) in again {
                if result.is_ok() {
                    last_accepted = ended;
                }
                results[place] = result;
            }
        }
        let Met { took: mut answers, by_status, retries } =
            std::mem::take(&mut *self.met.lock().unwrap_or_else(PoisonError::into_inner));
        answers.sort_unstable();
        Sent { results, at_first, took, ended, answers, by_status, retries }
    }

    async fn try_all(&self, token: &str, body: &Value) -> Result<Accepted, NotAccepted> {
        let end = Instant::now() + WAIT;
        for number in 0..TRIES {
            let began = Instant::now();
            let answer = self.api.try_submit(token, body).await;
            {
                let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
                let status = match &answer {
                    Ok(answer) => {
                        met.took.push(began.elapsed());
                        answer.status.as_u16().to_string()
                    }
                    Err(_) => "no answer".to_owned(),
                };
                *met.by_status.entry(status).or_default() += 1;
                met.retries += usize::from(number > 0);
            }
            let mut pause = PAUSE.mul_f64(jitter()) * (1 << number);
            match answer {
                Ok(answer) if answer.status.is_success() => return Ok(Accepted { receipt: answer.json() }),
                Ok(answer) if !answer.asks_to_come_again() => return Err(NotAccepted::Refused(answer.status)),
                Ok(answer) => pause = answer.retry_after.unwrap_or(pause),
                Err(_) => {}
            }
            if number + 1 == TRIES || Instant::now() + pause >= end {
                break;
            }
            sleep(pause).await;
        }
        Err(NotAccepted::Unsettled)
    }
}
