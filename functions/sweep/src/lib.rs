//! Processes, on a schedule, what waits too long on the lists of the table's sparse index `pending`:
//!
//! 1. submissions without a score, because the stream lost them or gave up on them: scored by the pipeline of
//!    [`scoring`];
//! 2. patients whose courses are still to be evaluated again, because a run of `score` ended before it did so;
//! 3. alerts that SNS never confirmed: published, then marked;
//! 4. critical alerts that were published and that nobody has acknowledged: published again, step by step, up to a
//!    limit. At the limit they are exhausted, which has an alarm of its own;
//! 5. occurrences of the studies' schedules: those that are to be made, reminders that are due, and windows that have
//!    closed ([`scheduling`]).
//!
//! Scoring and publishing run at the same time, so that an outage of SNS delays no score. Each item leaves its list
//! once it is done, so a run that ends early is resumed by the next. Every step is safe while `score` or another run is
//! active, and after a run that died at any point.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clinical::ids::StudyId;
use clinical::studies::Escalation;
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use invocation::aws::Failure;
use invocation::event_function::in_invocation;
use invocation::{Clock, Deadline, Environment, EnvironmentError, metrics};
use lambda_runtime::LambdaEvent;
use notifications::{ReminderTopic, Topic};
use records::stream::Record;
use records::{Alert, List, Store, Waiting};
use scheduling::{DueRun, WorkedOff};
use scoring::{Queue, RETURN_MARGIN, Scoring};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;

/// How long an item waits on a list before a run processes it. Usually an item is done within two seconds, and an
/// invocation of `score` lasts a minute at most: none can still be processing an item of this age.
const GRACE: time::Duration = time::Duration::minutes(3);
/// The least time that a page is started with.
const LEAST: Duration = Duration::from_millis(200);
/// Shards of a list that are processed at the same time. Submissions of one site conflict at its counters.
const SHARDS_AT_ONCE: usize = 2;
const UPDATES_AT_ONCE: usize = 8;

/// The function, with what it keeps between runs.
#[derive(Clone, Debug)]
pub struct Sweep {
    store: Store,
    scoring: Scoring,
    reminders: ReminderTopic,
    escalation: Escalation,
}

/// What one run did, as the answer of the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SweepSummary {
    /// Waiting submissions that this run scored or quarantined.
    pub submissions: u64,
    /// Patients whose courses this run evaluated again.
    pub courses: u64,
    /// Alerts that this run published for the first time: waiting ones, and those that it raised.
    pub alerts: u64,
    /// Alerts that this run published again, because nobody had acknowledged them.
    pub escalated: u64,
    /// Alerts that nobody acknowledged although they were published as often as their study allows.
    pub exhausted: u64,
    /// Occurrences that this run made or moved.
    pub made: u64,
    /// Reminders that this run published.
    pub reminded: u64,
    /// Windows that this run found missed.
    pub missed: u64,
    /// The age, in seconds, of the oldest item that waited for its score or its publication.
    pub oldest_pending_seconds: u64,
    /// Whether the run reached the end of all lists; if not, the next run continues.
    pub finished: bool,
}

/// A run in which some items failed. The others are done; the next run retries those that failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failures} of the waiting items failed; the reasons are in the log")]
pub struct SweepError {
    failures: u64,
}

/// The escalation of studies that define none: `ESCALATION_MINUTES` and `ESCALATION_LIMIT`.
///
/// # Errors
/// If a variable is missing, is not a number, or is out of range.
pub fn escalation(environment: &Environment) -> Result<Escalation, EnvironmentError> {
    Ok(Escalation {
        after_minutes: environment.number("ESCALATION_MINUTES", 0..=10_080)?,
        limit: environment.number("ESCALATION_LIMIT", 0..=100)?,
    })
}

impl Sweep {
    /// The function on `store`, the `topic` of alerts and that of `reminders`. `escalation` applies to studies that define
    /// none.
    pub fn new(store: Store, topic: Topic, reminders: ReminderTopic, escalation: Escalation) -> Self {
        Self { scoring: Scoring::new(store.clone(), topic), reminders, store, escalation }
    }

    /// Processes what waits, as far as the deadline allows. With the event `{"retry": "quarantine"}` that is what was
    /// quarantined, once the cause is fixed; with any other event, such as the schedule's, it is the regular lists.
    ///
    /// # Errors
    /// If some items failed.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<SweepSummary, SweepError> {
        let LambdaEvent { payload, context } = event;
        in_invocation(&context, async |clock, deadline| {
            let run = Run::new(clock, deadline.earlier_by(RETURN_MARGIN));
            // Each step keeps to the deadline by itself; this holds even if one does not.
            if deadline.bound(self.process(payload["retry"] == "quarantine", &run)).await.is_none() {
                run.unfinished();
            }
            let (summary, failures) = run.result();
            if !summary.finished {
                metrics::report(metrics::DEADLINE_STOPS, 1);
            }
            tracing::info!(
                event = "swept",
                outcome = if failures == 0 { "ok" } else { "not-done" },
                submissions = summary.submissions,
                courses = summary.courses,
                alerts = summary.alerts,
                escalated = summary.escalated,
                exhausted = summary.exhausted,
                made = summary.made,
                reminded = summary.reminded,
                missed = summary.missed,
                oldest_pending_seconds = summary.oldest_pending_seconds,
                finished = summary.finished,
                failures,
                ms = clock.elapsed().as_millis() as u64,
                remaining_ms = deadline.remaining().as_millis() as u64,
            );
            metrics::report(metrics::OLDEST_PENDING_SECONDS, summary.oldest_pending_seconds);
            metrics::report(metrics::ITEMS_PENDING, run.pending.load(Ordering::Relaxed));
            metrics::report(metrics::ITEMS_SWEPT, summary.submissions + summary.courses + summary.alerts);
            metrics::report(metrics::SWEEP_FAILURES, failures);
            // At the end, since it waits: nothing else that is reported depends on it.
            self.report_unacknowledged(&run).await;
            if failures == 0 { Ok(summary) } else { Err(SweepError { failures }) }
        })
        .await
    }

    /// Reports how many alerts wait for an acknowledgement. A run that has no time for it reports nothing.
    async fn report_unacknowledged(&self, run: &Run) {
        match self.store.count_listed(List::Open, run.deadline).await {
            Ok(open) => metrics::report(metrics::ALERTS_UNACKNOWLEDGED, open),
            Err(failure) => tracing::warn!(event = "open_alerts_not_counted", %failure),
        }
    }

    /// Scores what waits, and at the same time publishes the alerts that wait or are raised.
    async fn process(&self, quarantined: bool, run: &Run) {
        let commit = async |queue: Queue, deadline: Deadline| {
            if quarantined {
                self.pending(List::Quarantine, run.clock.now(), deadline, &queue, run).await;
            } else {
                let now = run.clock.now();
                let pending = self.pending(List::Pending, now - GRACE, deadline, &queue, run);
                let escalated = self.escalate_due(now, deadline, &queue, run);
                futures::join!(pending, escalated, self.work_off_due(now, deadline, &queue, run));
            }
        };
        let published = |alert: &Alert, result: &Result<(), Failure>| run.published(alert, result);
        let ended = self.scoring.commit_and_publish(commit, None, published, run.clock, run.deadline).await;
        run.unpublished(ended.unpublished);
        if !ended.committed {
            run.unfinished();
        }
    }

    /// Scores the submissions, evaluates the courses, and queues the alerts that have been on `list` since before
    /// `before`.
    async fn pending(&self, list: List, before: OffsetDateTime, deadline: Deadline, queue: &Queue, run: &Run) {
        let process = async |waiting: Waiting| {
            run.saw_oldest(waiting.oldest);
            let found = waiting.submissions.len() + waiting.alerts.len() + waiting.patients.len() + waiting.unreadable;
            run.pending.fetch_add(found as u64, Ordering::Relaxed);
            let (unpublished, acknowledged): (Vec<_>, Vec<_>) =
                waiting.alerts.into_iter().partition(|alert| alert.unpublished().is_some());
            queue.extend(unpublished);
            self.take_off_list(&acknowledged, run).await;
            let records: Vec<_> = waiting.submissions.iter().map(|text| Record::new(text)).collect();
            let not_done = self.scoring.commit(&records, queue, run.clock, deadline).await;
            run.scored(records.len(), not_done.len());
            let courses = waiting.patients.len();
            let failed = self.scoring.reevaluate(waiting.patients, queue, run.clock, deadline).await;
            run.reevaluated(courses, failed);
        };
        self.each_page(list, before, run, process).await;
    }

    /// Takes `alerts` off their list: they were acknowledged before a step of their escalation was published.
    async fn take_off_list(&self, alerts: &[Alert], run: &Run) {
        for alert in alerts {
            if let Err(failure) = self.store.leave_list(alert, run.deadline).await {
                run.failed(&failure);
            }
        }
    }

    /// Queues the critical alerts whose next step of escalation is due at `now`.
    async fn escalate_due(&self, now: OffsetDateTime, deadline: Deadline, queue: &Queue, run: &Run) {
        let process = async |waiting: Waiting| {
            let reviews = waiting.alerts.into_iter().map(|alert| self.review_or_quarantine(alert, now, deadline, run));
            let due: Vec<Alert> =
                stream::iter(reviews).buffer_unordered(UPDATES_AT_ONCE).filter_map(|due| async { due }).collect().await;
            queue.extend(due);
        };
        self.each_page(List::Open, now, run, process).await;
    }

    /// Works off the occurrences that are due at `now`, queues the alerts of missed windows, and makes the occurrences that
    /// are due to be made.
    async fn work_off_due(&self, now: OffsetDateTime, deadline: Deadline, queue: &Queue, run: &Run) {
        let due = DueRun::new(self.store.clone(), self.reminders.clone());
        let process = async |waiting: Waiting| {
            let worked_off = due.work_off(waiting.occurrences, run.clock, deadline).await;
            let WorkedOff { reminded, missed, postponed, alerts, failures } = worked_off;
            run.reminded.fetch_add(reminded, Ordering::Relaxed);
            run.missed.fetch_add(missed, Ordering::Relaxed);
            run.unpublished(postponed);
            queue.extend(alerts);
            failures.iter().for_each(|failure| run.failed(failure));
            // After what was due before: a change moves only what is left.
            let plans = waiting.plans.iter().map(|(study, patient)| async move {
                let planned = scheduling::plan(&self.store, study, patient, run.clock, deadline);
                let planned = AssertUnwindSafe(planned).catch_unwind().await;
                match planned.unwrap_or_else(|_| Err(Failure::unreadable("the plan of a patient", "it panicked"))) {
                    Ok(made) => drop(run.made.fetch_add(made, Ordering::Relaxed)),
                    Err(failure) => run.failed(&failure),
                }
            });
            stream::iter(plans.collect::<Vec<_>>()).buffer_unordered(UPDATES_AT_ONCE).collect::<()>().await;
            for rollout in waiting.rollouts {
                let rolled_out = scheduling::roll_out(&self.store, rollout, now, deadline, || run.has_time());
                if let Err(failure) = rolled_out.await {
                    run.failed(&failure);
                }
            }
        };
        // What is due at this very millisecond, too.
        self.each_page(List::Due, now + time::Duration::milliseconds(1), run, process).await;
    }

    /// As [`Sweep::review`]. An alert whose review panics is quarantined; the others are not affected.
    async fn review_or_quarantine(
        &self,
        alert: Alert,
        now: OffsetDateTime,
        deadline: Deadline,
        run: &Run,
    ) -> Option<Alert> {
        match AssertUnwindSafe(self.review(alert.clone(), now, deadline, run)).catch_unwind().await {
            Ok(due) => due,
            Err(_) => {
                metrics::report(metrics::RECORDS_QUARANTINED, 1);
                tracing::error!(event = "alert_quarantined", alert_id = %alert.id, reason = "its escalation panicked");
                let quarantined = self.store.quarantine_alert(&alert, deadline).await;
                run.failed(&quarantined.err().unwrap_or_else(|| {
                    Failure::unreadable("the escalation of an alert", "it panicked; the alert is quarantined")
                }));
                None
            }
        }
    }

    /// Passes the items that have been on `list` since before `before` to `process`, page by page, while there is time.
    async fn each_page(&self, list: List, before: OffsetDateTime, run: &Run, process: impl AsyncFn(Waiting)) {
        let process = &process;
        let shards = stream::iter(run.shards()).for_each_concurrent(SHARDS_AT_ONCE, |shard| async move {
            let mut position = None;
            while run.has_time() {
                let mut waiting = match self.store.waiting(list, shard, before, position, run.deadline).await {
                    Ok(waiting) => waiting,
                    Err(failure) => return run.failed(&failure),
                };
                run.saw_unreadable(waiting.unreadable);
                position = waiting.next.take();
                process(waiting).await;
                if position.is_none() {
                    return;
                }
            }
            run.unfinished();
        });
        shards.await;
    }

    /// Decides the next state of an open `alert`. Returns it with its next step if it is to be published again: the
    /// step is stored before it is published, so that each step is published at least once and none is skipped.
    async fn review(&self, alert: Alert, now: OffsetDateTime, deadline: Deadline, run: &Run) -> Option<Alert> {
        let Escalation { after_minutes, limit } = self.escalation(&alert.study, run).await;
        let wait = time::Duration::minutes(after_minutes.into());
        let due = alert
            .last_published()
            .checked_add(wait)
            .unwrap_or(OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT));
        let due = alert.snoozed_until().map_or(due, |until| due.max(until));
        let decided = if alert.acknowledged.is_some() || limit == 0 {
            self.store.leave_list(&alert, deadline).await.map(|()| None)
        } else if due > now {
            self.store.postpone(&alert, due, deadline).await.map(|()| None)
        } else if alert.escalation >= limit {
            self.store.exhaust(&alert, now, deadline).await.map(|exhausted| {
                if exhausted {
                    // At once, and not with the run: an alert is exhausted only once.
                    metrics::report(metrics::ALERTS_EXHAUSTED, 1);
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

    /// The escalation of `study`, or that of the deployment if the study defines none or cannot be read now: no alert
    /// stays silent because of an unreadable study.
    async fn escalation(&self, study: &StudyId, run: &Run) -> Escalation {
        match self.store.protocol(study, run.deadline).await {
            Ok(protocol) => protocol.escalation().unwrap_or(self.escalation),
            Err(failure) => {
                tracing::warn!(event = "study_not_read", %failure);
                metrics::report(metrics::STUDY_NOT_READ, 1);
                self.escalation
            }
        }
    }
}

/// One run with its counters.
struct Run {
    clock: Clock,
    deadline: Deadline,
    started: OffsetDateTime,
    submissions: AtomicU64,
    alerts: AtomicU64,
    escalated: AtomicU64,
    exhausted: AtomicU64,
    courses: AtomicU64,
    made: AtomicU64,
    reminded: AtomicU64,
    missed: AtomicU64,
    oldest_pending_seconds: AtomicU64,
    pending: AtomicU64,
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
            made: AtomicU64::new(0),
            reminded: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            oldest_pending_seconds: AtomicU64::new(0),
            pending: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            unfinished: AtomicBool::new(false),
        }
    }

    /// The shards of a list, starting with another one each minute, so that a long one cannot starve the others.
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
            tracing::error!(event = "waiting_items_unreadable", unreadable);
            self.failures.fetch_add(unreadable as u64, Ordering::Relaxed);
        }
    }

    /// Counts an alert that was published, or failed to be, which is logged already.
    fn published(&self, alert: &Alert, result: &Result<(), Failure>) {
        let count = match result {
            Err(_) => &self.failures,
            Ok(()) if alert.unpublished() == Some(0) => &self.alerts,
            Ok(()) => &self.escalated,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts alerts and reminders that were not published in time: they wait for the next run.
    fn unpublished(&self, alerts: u64) {
        self.failures.fetch_add(alerts, Ordering::Relaxed);
    }

    fn reevaluated(&self, courses: usize, failed: usize) {
        self.courses.fetch_add((courses - failed) as u64, Ordering::Relaxed);
        self.failures.fetch_add(failed as u64, Ordering::Relaxed);
    }

    fn scored(&self, submissions: usize, not_done: usize) {
        self.submissions.fetch_add((submissions - not_done) as u64, Ordering::Relaxed);
        self.failures.fetch_add(not_done as u64, Ordering::Relaxed);
    }

    fn failed(&self, failure: &Failure) {
        tracing::error!(event = "sweep_step_failed", %failure);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn unfinished(&self) {
        self.unfinished.store(true, Ordering::Relaxed);
    }

    fn result(&self) -> (SweepSummary, u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let summary = SweepSummary {
            submissions: of(&self.submissions),
            alerts: of(&self.alerts),
            escalated: of(&self.escalated),
            exhausted: of(&self.exhausted),
            courses: of(&self.courses),
            made: of(&self.made),
            reminded: of(&self.reminded),
            missed: of(&self.missed),
            oldest_pending_seconds: of(&self.oldest_pending_seconds),
            finished: !self.unfinished.load(Ordering::Relaxed),
        };
        (summary, of(&self.failures))
    }
}
