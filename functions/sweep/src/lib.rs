//! Finds what waits too long, on a schedule, by the table's sparse index `pending`:
//!
//! 1. submissions that are not scored, because the stream lost them or gave up on them: scored by the code of `score`;
//! 2. patients whose courses wait to be evaluated again, because a run of `score` ended before it did;
//! 3. alerts that SNS never confirmed: published, then marked;
//! 4. critical alerts that were published and that nobody has acknowledged: published again, step by step, up to a limit.
//!    At the limit they are exhausted: an alarm of its own.
//!
//! Scoring and publishing run beside each other, so that an outage of SNS delays no score. What is done leaves its list, so a run that ends early is resumed by the next. Every step is safe beside a running
//! `score`, beside another run, and after one that died anywhere.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clinical::ids::StudyId;
use clinical::studies::Escalation;
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use invocation::aws::{self, Failure};
use invocation::telemetry::{self, InvocationIds};
use invocation::{Clock, Deadline, Environment, EnvironmentError, metrics};
use lambda_runtime::LambdaEvent;
use notifications::Topic;
use records::{Alert, List, Store, Waiting};
use scoring::{Queue, RETURN_MARGIN, Scoring};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use tracing::Instrument;

/// How long something waits before it is looked for. What is well is done within a second or two, and a batch of `score`
/// lives for a minute: who would have done it is not at it any more.
const GRACE: time::Duration = time::Duration::minutes(3);
/// A page is not begun with less time than this.
const LEAST: Duration = Duration::from_millis(200);
/// Parts of a list that are worked off at the same time. Submissions of one site meet at its counters.
const SHARDS_AT_ONCE: usize = 2;
const UPDATES_AT_ONCE: usize = 8;

/// The function, with what it keeps between runs.
#[derive(Clone, Debug)]
pub struct Sweep {
    store: Store,
    scoring: Scoring,
    escalation: Escalation,
}

/// What one run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Swept {
    /// Submissions that waited and are scored, or quarantined, now.
    pub submissions: u64,
    /// Patients whose courses waited and are evaluated now.
    pub courses: u64,
    /// Alerts that waited, or were raised by this run, and are published now.
    pub alerts: u64,
    /// Alerts that were published again.
    pub escalated: u64,
    /// Alerts that nobody acknowledged, though they were published as often as their study allows.
    pub exhausted: u64,
    /// How many seconds the oldest of what waited for its score or its publication had waited.
    pub oldest_pending_seconds: u64,
    /// Whether all lists were gone through; if not, the next run goes on.
    pub finished: bool,
}

/// A run that could not do something. What it did is done; the next run tries the rest again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failures} of what waits could not be done; the log says why")]
pub struct NotSwept {
    failures: u64,
}

impl Sweep {
    /// The function as its environment variables set it up.
    ///
    /// # Errors
    /// If one is missing or cannot be read.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        let https = aws::https();
        let store = Store::from_environment(environment, https.clone())?;
        let escalation = Escalation {
            after_minutes: environment.number("ESCALATION_MINUTES", 0..=10_080)?,
            limit: environment.number("ESCALATION_LIMIT", 0..=100)?,
        };
        Ok(Self::new(store, Topic::from_environment(environment, https)?, escalation))
    }

    /// The function on `store` and `topic`; alerts escalate as `escalation` says where their study says nothing.
    pub fn new(store: Store, topic: Topic, escalation: Escalation) -> Self {
        Self { scoring: Scoring::new(store.clone(), topic), store, escalation }
    }

    /// Opens the connections ahead of the first run. What fails is opened by the first run.
    pub async fn warm_up(&self) {
        self.scoring.warm_up().await;
    }

    /// Works off what waits, as far as the deadline lets it. The event says nothing, or `{"again": "set-aside"}`: then it is
    /// what was set aside, once its cause is mended.
    ///
    /// # Errors
    /// If something could not be done.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<Swept, NotSwept> {
        let LambdaEvent { payload, context } = event;
        let deadline = Deadline::of(&context, Deadline::STREAM_RESERVE);
        let clock = Clock::system();
        let ids = InvocationIds {
            request_id: &context.request_id,
            trace_id: context.xray_trace_id.as_deref(),
            correlation_id: None,
        };
        let span = telemetry::invocation_span(&ids);
        async {
            let run = Run::new(clock, deadline.earlier_by(RETURN_MARGIN));
            // Each step keeps to the deadline by itself; this holds even if one does not.
            if deadline.bound(self.work(payload["again"] == "set-aside", &run)).await.is_none() {
                run.unfinished();
            }
            let (swept, failures) = run.result();
            tracing::info!(
                event = "swept",
                submissions = swept.submissions,
                courses = swept.courses,
                alerts = swept.alerts,
                escalated = swept.escalated,
                exhausted = swept.exhausted,
                oldest_pending_seconds = swept.oldest_pending_seconds,
                finished = swept.finished,
                failures,
                ms = clock.elapsed().as_millis() as u64,
                remaining_ms = deadline.remaining().as_millis() as u64,
            );
            metrics::seconds(metrics::OLDEST_PENDING_SECONDS, swept.oldest_pending_seconds);
            metrics::count(metrics::SWEEP_FAILURES, failures);
            if swept.exhausted > 0 {
                metrics::count(metrics::ALERTS_EXHAUSTED, swept.exhausted);
            }
            if failures == 0 { Ok(swept) } else { Err(NotSwept { failures }) }
        }
        .instrument(span)
        .await
    }

    /// Scores, and beside that publishes what is found and what scoring raises.
    async fn work(&self, again: bool, run: &Run) {
        let commit = async |queue: Queue, deadline: Deadline| {
            if again {
                self.pending(List::Quarantine, run.clock.now(), deadline, &queue, run).await;
            } else {
                let now = run.clock.now();
                let pending = self.pending(List::Pending, now - GRACE, deadline, &queue, run);
                futures::join!(pending, self.open(now, deadline, &queue, run));
            }
        };
        let published = |alert: &Alert, result: &Result<(), Failure>| run.published(alert, result);
        let ended = self.scoring.commit_and_publish(commit, None, published, run.clock, run.deadline).await;
        run.unpublished(ended.unpublished);
        if !ended.committed {
            run.unfinished();
        }
    }

    /// Scores the submissions, evaluates the courses, and queues the alerts that are on `list` since before `before`.
    async fn pending(&self, list: List, before: OffsetDateTime, deadline: Deadline, queue: &Queue, run: &Run) {
        let work = async |waiting: Waiting| {
            run.saw_oldest(waiting.oldest);
            let (unpublished, over): (Vec<_>, Vec<_>) =
                waiting.alerts.into_iter().partition(|alert| alert.unpublished().is_some());
            queue.extend(unpublished);
            self.leave(&over, run).await;
            let not_done = self.scoring.commit(&waiting.submissions, queue, run.clock, deadline).await;
            run.scored(waiting.submissions.len(), not_done.len());
            let courses = waiting.patients.len();
            let still_waiting = self.scoring.reevaluate(waiting.patients, queue, run.clock, deadline).await;
            run.reevaluated(courses, still_waiting);
        };
        self.each_page(list, before, run, work).await;
    }

    /// Takes off their list `alerts` that were acknowledged before a step of their escalation was told.
    async fn leave(&self, alerts: &[Alert], run: &Run) {
        for alert in alerts {
            if let Err(failure) = self.store.leave_list(alert, run.deadline).await {
                run.failed(&failure);
            }
        }
    }

    /// Looks at the critical alerts that nobody has acknowledged, those that are due for it at `now`.
    async fn open(&self, now: OffsetDateTime, deadline: Deadline, queue: &Queue, run: &Run) {
        let work = async |waiting: Waiting| {
            let looks = waiting.alerts.into_iter().map(|alert| self.look_at_safely(alert, now, deadline, run));
            let due: Vec<Alert> =
                stream::iter(looks).buffer_unordered(UPDATES_AT_ONCE).filter_map(|due| async { due }).collect().await;
            queue.extend(due);
        };
        self.each_page(List::Open, now, run, work).await;
    }

    /// As [`Sweep::look_at`]. A panic over one alert quarantines it, and spares the others.
    async fn look_at_safely(&self, alert: Alert, now: OffsetDateTime, deadline: Deadline, run: &Run) -> Option<Alert> {
        match AssertUnwindSafe(self.look_at(alert.clone(), now, deadline, run)).catch_unwind().await {
            Ok(due) => due,
            Err(_) => {
                metrics::count(metrics::RECORDS_QUARANTINED, 1);
                tracing::error!(event = "alert_quarantined", alert_id = %alert.id, reason = "its escalation panicked");
                let quarantined = self.store.quarantine_alert(&alert, deadline).await;
                run.failed(&quarantined.err().unwrap_or_else(|| {
                    Failure::unreadable("the escalation of an alert", "it panicked, and the alert is quarantined")
                }));
                None
            }
        }
    }

    /// Gives what is on `list` since before `before` to `work`, page by page, as long as there is time.
    async fn each_page(&self, list: List, before: OffsetDateTime, run: &Run, work: impl AsyncFn(Waiting)) {
        let work = &work;
        let shards = stream::iter(run.shards()).for_each_concurrent(SHARDS_AT_ONCE, |shard| async move {
            let mut position = None;
            while run.has_time() {
                let mut waiting = match self.store.waiting(list, shard, before, position, run.deadline).await {
                    Ok(waiting) => waiting,
                    Err(failure) => return run.failed(&failure),
                };
                run.saw_unreadable(waiting.unreadable);
                position = waiting.next.take();
                work(waiting).await;
                if position.is_none() {
                    return;
                }
            }
            run.unfinished();
        });
        shards.await;
    }

    /// Decides what becomes of an open `alert`. Returns it, a step further, if it is to be published again: the step is on its
    /// row before it is published, so that each step is published at least once, and none is skipped.
    async fn look_at(&self, alert: Alert, now: OffsetDateTime, deadline: Deadline, run: &Run) -> Option<Alert> {
        let Escalation { after_minutes, limit } = self.escalation(&alert.study, run).await;
        let wait = time::Duration::minutes(after_minutes.into());
        let due = alert
            .last_published()
            .checked_add(wait)
            .unwrap_or(OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT));
        let decided = if alert.acknowledged.is_some() || limit == 0 {
            self.store.leave_list(&alert, deadline).await.map(|()| None)
        } else if due > now {
            self.store.postpone(&alert, due, deadline).await.map(|()| None)
        } else if alert.escalation >= limit {
            self.store.exhaust(&alert, now, deadline).await.map(|exhausted| {
                if exhausted {
                    tracing::error!(event = "alert_exhausted", alert_id = %alert.id, escalations = alert.escalation);
                    run.exhausted.fetch_add(1, Ordering::Relaxed);
                }
                None
            })
        } else {
            self.store.escalate(alert, now, deadline).await
        };
        decided.unwrap_or_else(|failure| {
            run.failed(&failure);
            None
        })
    }

    /// When alerts of `study` escalate. One that cannot be read now keeps no alert silent: then it is as the installation says.
    async fn escalation(&self, study: &StudyId, run: &Run) -> Escalation {
        match self.store.protocol(study, run.deadline).await {
            Ok(protocol) => protocol.escalation().unwrap_or(self.escalation),
            Err(failure) => {
                tracing::warn!(event = "study_not_read", %failure);
                metrics::count(metrics::STUDY_NOT_READ, 1);
                self.escalation
            }
        }
    }
}

/// One run, and what it has done so far.
struct Run {
    clock: Clock,
    deadline: Deadline,
    started: OffsetDateTime,
    submissions: AtomicU64,
    alerts: AtomicU64,
    escalated: AtomicU64,
    exhausted: AtomicU64,
    courses: AtomicU64,
    oldest_pending_seconds: AtomicU64,
    failures: AtomicU64,
    unfinished: AtomicBool,
}

impl Run {
    fn new(clock: Clock, deadline: Deadline) -> Self {
        Self {
            clock,
            deadline,
            started: clock.now(),
            submissions: AtomicU64::new(0),
            alerts: AtomicU64::new(0),
            escalated: AtomicU64::new(0),
            exhausted: AtomicU64::new(0),
            courses: AtomicU64::new(0),
            oldest_pending_seconds: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            unfinished: AtomicBool::new(false),
        }
    }

    /// The parts of a list, from another one on each minute: one that is long keeps none waiting for ever.
    fn shards(&self) -> impl Iterator<Item = u32> {
        let all: Vec<u32> = List::shards().collect();
        let (first, count) = (usize::from(self.started.minute()), all.len());
        all.into_iter().cycle().skip(first % count).take(count)
    }

    fn has_time(&self) -> bool {
        self.deadline.remaining() >= LEAST
    }

    fn saw_oldest(&self, oldest: Option<OffsetDateTime>) {
        let seconds = oldest.map_or(0, |oldest| (self.started - oldest).whole_seconds().max(0));
        self.oldest_pending_seconds.fetch_max(seconds.unsigned_abs(), Ordering::Relaxed);
    }

    fn saw_unreadable(&self, unreadable: usize) {
        if unreadable > 0 {
            tracing::error!(event = "not_swept", unreadable);
            self.failures.fetch_add(unreadable as u64, Ordering::Relaxed);
        }
    }

    /// A failure is in the log already.
    fn published(&self, alert: &Alert, result: &Result<(), Failure>) {
        let count = match result {
            Err(_) => &self.failures,
            Ok(()) if alert.unpublished() == Some(0) => &self.alerts,
            Ok(()) => &self.escalated,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts alerts that the time did not suffice to publish: they wait for the next run.
    fn unpublished(&self, alerts: u64) {
        self.failures.fetch_add(alerts, Ordering::Relaxed);
    }

    fn reevaluated(&self, courses: usize, still_waiting: usize) {
        self.courses.fetch_add((courses - still_waiting) as u64, Ordering::Relaxed);
        self.failures.fetch_add(still_waiting as u64, Ordering::Relaxed);
    }

    fn scored(&self, submissions: usize, not_done: usize) {
        self.submissions.fetch_add((submissions - not_done) as u64, Ordering::Relaxed);
        self.failures.fetch_add(not_done as u64, Ordering::Relaxed);
    }

    fn failed(&self, failure: &Failure) {
        tracing::error!(event = "not_swept", %failure);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn unfinished(&self) {
        self.unfinished.store(true, Ordering::Relaxed);
    }

    fn result(&self) -> (Swept, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let swept = Swept {
            submissions: of(&self.submissions),
            alerts: of(&self.alerts),
            escalated: of(&self.escalated),
            exhausted: of(&self.exhausted),
            courses: of(&self.courses),
            oldest_pending_seconds: of(&self.oldest_pending_seconds),
            finished: !self.unfinished.load(Ordering::Relaxed),
        };
        (swept, of(&self.failures))
    }
}
