//! Recomputes, on a schedule and a slice at a time, what is stored, by [`verification`], and reports what differs as a
//! metric: more than zero is an alarm.
//!
//! A pass over the whole store takes as many runs as it needs. Its state is an item of the Records table, the only one
//! that this function writes: the position, the brackets of the sites' counters, the numbers so far. Each part of a pass
//! is written on condition that no other run wrote one since, so that of two runs at the same time one stops, and a run
//! that ends anywhere is continued by the next: no patient is left out of a pass or counted twice.
//!
//! The first pass begins with the first run, another one a while after the last one began. The event `{"begin": true}`
//! begins one at once, for example after the cause of a difference was mended.

use std::time::Duration;

use invocation::aws::{Failure, FailureKind};
use invocation::event_function::in_invocation;
use invocation::{Backoff, Clock, Deadline, Environment, EnvironmentError, metrics};
use lambda_runtime::LambdaEvent;
use records::Store;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;
use verification::{Difference, Kind, Pass, SYNCHRONIZED, Settings};

/// How long before its deadline a run ends its steps, so that the state can still be written.
const WRITE_MARGIN: Duration = Duration::from_secs(2);
/// The least time that a step is started with.
const LEAST: Duration = Duration::from_millis(500);
/// How often the state is written. A run that is cut off loses at most what it did since.
const WRITE_EVERY: Duration = Duration::from_secs(5);
/// About how many bytes the counters of a pass take of its state, which has room in one item of 400 KB. The parts that
/// sites are split into are not equally large.
const MOST_BYTES: usize = 200_000;
/// The largest number of differences that one run logs. The metric counts all.
const MOST_LOGGED: usize = 100;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// The function, with what it keeps between runs.
#[derive(Clone, Debug)]
pub struct Reconcile {
    store: Store,
    pause: time::Duration,
    settings: Settings,
}

/// What one run did, as the answer of the function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconcileSummary {
    /// The number of the pass, from 0.
    pub pass: u64,
    /// Patients that the pass has compared so far.
    pub patients: u64,
    /// Submissions that the pass has compared so far.
    pub submissions: u64,
    /// Alerts that the pass has compared so far.
    pub alerts: u64,
    /// Submissions, alerts and courses that wait for their score, publication or evaluation, for whatever time.
    pub waiting: u64,
    /// Differences of the pass or, until it is finished, of the last one that was finished where those are more. What
    /// only waits too long is not among them.
    pub differences: u64,
    /// Whether the pass reached the end.
    pub finished: bool,
    /// Whether another run was active, so that this one stopped.
    pub other_run: bool,
}

/// The store did not answer, so that the pass did not go on. The next run continues.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the verification did not go on")]
pub struct ReconcileError {
    source: Failure,
}

/// Whether alerts are escalated in studies that define no escalation: if `ESCALATION_LIMIT` is not 0.
///
/// # Errors
/// If the variable is missing, is not a number, or is out of range.
pub fn escalates(environment: &Environment) -> Result<bool, EnvironmentError> {
    Ok(environment.number("ESCALATION_LIMIT", 0..=100)? > 0)
}

/// The time from the beginning of one pass to that of the next: `RECONCILE_HOURS`.
///
/// # Errors
/// If the variable is missing, is not a number, or is out of range.
pub fn pause(environment: &Environment) -> Result<time::Duration, EnvironmentError> {
    Ok(time::Duration::hours(environment.number("RECONCILE_HOURS", 1..=168)?.into()))
}

impl Reconcile {
    /// The function on `store`. A pass begins `pause` after the last one began. `escalates` is whether alerts are escalated
    /// in studies that define no escalation.
    pub fn new(store: Store, pause: time::Duration, escalates: bool) -> Self {
        // The largest number of escalations is not known: it may have been larger before.
        let settings = Settings { escalates, clocks_apart: SYNCHRONIZED, ..Settings::default() };
        Self::with_settings(store, pause, settings)
    }

    /// As [`Reconcile::new`], with `settings`.
    pub fn with_settings(store: Store, pause: time::Duration, settings: Settings) -> Self {
        Self { store, pause, settings: Settings { most_bytes: MOST_BYTES.min(settings.most_bytes), ..settings } }
    }

    /// Goes on with the pass, as far as the deadline allows.
    ///
    /// # Errors
    /// If the store did not answer.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<ReconcileSummary, ReconcileError> {
        let LambdaEvent { payload, context } = event;
        in_invocation(&context, async |clock, deadline| {
            // Each step keeps to the deadline by itself; this holds even if one does not.
            let run = deadline.bound(self.run(payload["begin"] == true, clock, deadline));
            let out_of_time = || Failure::transient("a run of the verification", "it took too long");
            let result = run.await.unwrap_or_else(|| Err(out_of_time()));
            match &result {
                Ok(summary) => {
                    metrics::report(metrics::RECORDS_DIFFER, summary.differences);
                    tracing::info!(
                        event = "reconciled",
                        outcome = "ok",
                        pass = summary.pass,
                        patients = summary.patients,
                        submissions = summary.submissions,
                        alerts = summary.alerts,
                        waiting = summary.waiting,
                        differences = summary.differences,
                        finished = summary.finished,
                        other_run = summary.other_run,
                        ms = clock.elapsed().as_millis() as u64,
                        remaining_ms = deadline.remaining().as_millis() as u64,
                    );
                }
                Err(failure) => tracing::error!(event = "not_reconciled", %failure),
            }
            result.map_err(|source| ReconcileError { source })
        })
        .await
    }

    async fn run(&self, begin: bool, clock: Clock, deadline: Deadline) -> Result<ReconcileSummary, Failure> {
        let stored = self.store.verification_state(deadline).await?;
        let mut pass = Pass::resume(self.settings.clone(), &stored);
        let mut revision = stored.revision;
        if pass.is_done() && (begin || pass.age(clock.now()) >= self.pause) {
            pass = pass.next();
        }
        let steps_until = deadline.earlier_by(WRITE_MARGIN);
        let mut logged = 0;
        while !pass.is_done() {
            let ended = self.steps(&mut pass, clock, steps_until).await;
            let (differences, failure) = (ended.differences, ended.failure);
            if ended.steps > 0 {
                // Before the write, which may succeed without an answer: a difference may be logged twice.
                for difference in differences.iter().take(MOST_LOGGED.saturating_sub(logged)) {
                    log(difference);
                }
                logged += differences.len();
                let (content, known) = (pass.content(), pass.differences());
                if !self.store.put_verification_state(revision, content, known, deadline).await? {
                    // The other run's state counts.
                    return Ok(ReconcileSummary { other_run: true, ..self.stored(deadline).await? });
                }
                revision += 1;
            }
            if let Some(failure) = failure {
                // A run that did something is no failure: the next one continues.
                return if revision > stored.revision { Ok(summary(&pass)) } else { Err(failure) };
            }
            if steps_until.remaining() < LEAST {
                break;
            }
        }
        Ok(summary(&pass))
    }

    /// Does steps of `pass` until its state is to be written.
    async fn steps(&self, pass: &mut Pass, clock: Clock, deadline: Deadline) -> Ended {
        let mut ended = Ended { steps: 0, differences: Vec::new(), failure: None };
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
        let began = Instant::now();
        while !pass.is_done() && began.elapsed() < WRITE_EVERY {
            match pass.step(&self.store, clock.now(), deadline).await {
                Ok(differences) => {
                    ended.steps += 1;
                    ended.differences.extend(differences);
                }
                Err(failure) => {
                    let may_succeed = matches!(failure.kind, FailureKind::Transient | FailureKind::Unknown);
                    if !may_succeed || !backoff.wait(deadline, LEAST).await {
                        ended.failure = Some(failure);
                        break;
                    }
                }
            }
            if deadline.remaining() < LEAST {
                break;
            }
        }
        ended
    }

    /// The summary of the pass as it is stored.
    async fn stored(&self, deadline: Deadline) -> Result<ReconcileSummary, Failure> {
        let stored = self.store.verification_state(deadline).await?;
        Ok(summary(&Pass::resume(self.settings.clone(), &stored)))
    }
}

/// How some steps of a pass ended.
struct Ended {
    steps: u64,
    differences: Vec<Difference>,
    /// Why the last one failed.
    failure: Option<Failure>,
}

fn summary(pass: &Pass) -> ReconcileSummary {
    let tally = pass.tally();
    ReconcileSummary {
        pass: pass.number(),
        patients: tally.patients,
        submissions: tally.submissions,
        alerts: tally.alerts,
        waiting: tally.waiting,
        differences: pass.differences(),
        finished: pass.is_done(),
        other_run: false,
    }
}

/// Logs ids and the kind only.
fn log(difference: &Difference) {
    let Difference { kind, study, site, submission, alert, .. } = difference;
    let (study, site) = (study.as_ref().map(|study| study.as_str()), site.as_ref().map(|site| site.as_str()));
    let (submission_id, alert_id) = (submission.map(|id| id.to_string()), alert.map(|id| id.to_string()));
    match kind {
        // While SNS is down this is no difference, and another alarm stays.
        Kind::WaitsTooLong => tracing::warn!(event = "waits_too_long", study, site, submission_id, alert_id),
        kind => tracing::error!(event = "record_differs", kind = kind.name(), study, site, submission_id, alert_id),
    }
}
