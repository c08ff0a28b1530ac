//! The stage that publishes alerts. It runs at the same time as the commits and after them; they never wait for it.
//!
//! Only alerts whose rows are stored are queued. Those that are not published in time stay on the list of waiting
//! items, from which `sweep` publishes them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clinical::ids::StudyId;
use clinical::studies::Protocol;
use futures::FutureExt;
use futures::channel::mpsc;
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use invocation::aws::Failure;
use invocation::{Clock, Deadline, metrics};
use notifications::{LinkTemplate, Notification, Topic};
use records::{Alert, Store};
use time::OffsetDateTime;

/// The number of alerts in one PublishBatch.
const BATCH: usize = 10;
const BATCHES_AT_ONCE: usize = 4;
const MARKS_AT_ONCE: usize = 8;
/// How long publishing may continue once everything is committed.
const SHARE: Duration = Duration::from_secs(5);
/// As [`SHARE`], after a call in which SNS accepted nothing, so that the stream's next batch does not wait for an
/// outage.
const SHARE_IN_OUTAGE: Duration = Duration::from_secs(1);
const OPERATION: &str = "PublishBatch of alerts";

/// Publishes alerts, and marks them published.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    store: Store,
    topic: Topic,
    /// Whether SNS accepted nothing in the last call.
    failed: Arc<AtomicBool>,
}

/// The queue of stored alerts that are to be published. Once it is dropped, the stage ends when all of them are
/// published.
#[derive(Debug)]
pub struct Queue {
    alerts: mpsc::UnboundedSender<Alert>,
    /// The number of alerts that are queued or being published.
    waiting: Arc<AtomicU64>,
}

/// The receiving end of a [`Queue`].
#[derive(Debug)]
pub(crate) struct Queued {
    alerts: mpsc::UnboundedReceiver<Alert>,
    waiting: Arc<AtomicU64>,
}

/// A queue of alerts and its receiving end.
pub(crate) fn queue() -> (Queue, Queued) {
    let (sender, receiver) = mpsc::unbounded();
    let waiting = Arc::<AtomicU64>::default();
    (Queue { alerts: sender, waiting: Arc::clone(&waiting) }, Queued { alerts: receiver, waiting })
}

impl Queue {
    /// Adds those of `alerts` that have an unpublished step.
    pub fn extend(&self, alerts: impl IntoIterator<Item = Alert>) {
        for alert in alerts.into_iter().filter(|alert| alert.unpublished().is_some()) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            // Once the time for publishing is over, the receiving end is gone: the alert stays on the list of waiting
            // items.
            let _ = self.alerts.unbounded_send(alert);
        }
    }
}

impl Queued {
    /// The counter of alerts that are queued or being published.
    pub(crate) fn waiting(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.waiting)
    }
}

impl Publisher {
    /// A publisher to `topic` of alerts whose rows are in `store`.
    pub(crate) fn new(store: Store, topic: Topic) -> Self {
        Self { store, topic, failed: Arc::default() }
    }

    /// How long publishing may continue once everything is committed. Call it before publishing begins.
    pub(crate) fn share(&self) -> Duration {
        if self.failed.load(Ordering::Relaxed) { SHARE_IN_OUTAGE } else { SHARE }
    }

    /// Publishes queued alerts until the queue is dropped and empty, or until the deadline. `done` is called with the
    /// result of each alert.
    pub(crate) async fn drain(
        &self,
        Queued { alerts, waiting }: Queued,
        clock: Clock,
        deadline: Deadline,
        done: impl Fn(&Alert, &Result<(), Failure>),
    ) {
        let (done, waiting) = (&done, &waiting);
        let batches = alerts.ready_chunks(BATCH).for_each_concurrent(BATCHES_AT_ONCE, |alerts| async move {
            let results = self.publish(&alerts, clock, deadline).await;
            alerts.iter().zip(&results).for_each(|(alert, result)| done(alert, result));
            waiting.fetch_sub(alerts.len() as u64, Ordering::Relaxed);
        });
        deadline.bound(batches).await;
    }

    /// Publishes `alerts`, and marks them published. The results are in their order.
    async fn publish(&self, alerts: &[Alert], clock: Clock, deadline: Deadline) -> Vec<Result<(), Failure>> {
        let studies = self.studies(alerts, deadline).await;
        let now = clock.now();
        let notifications: Vec<Notification> =
            alerts.iter().map(|alert| notification(alert, studies.get(&alert.study).map(Arc::as_ref), now)).collect();
        // Holds if this future is dropped before SNS answers, too.
        self.failed.store(true, Ordering::Relaxed);
        let published = self.send(&notifications, deadline).await;
        self.failed.store(published.iter().all(Result::is_err), Ordering::Relaxed);
        report(alerts, &published);
        let marks = alerts.iter().zip(published).map(|(alert, published)| async move {
            let marked = match published {
                Ok(message_id) => self.store.mark_published(alert, &message_id, clock.now(), deadline).await,
                Err(NotPublished::Failed(failure)) => Err(failure),
                Err(NotPublished::Panicked) => {
                    metrics::report(metrics::RECORDS_QUARANTINED, 1);
                    tracing::error!(event = "alert_quarantined", alert_id = %alert.id, reason = "publishing it panicked");
                    let quarantined = self.store.quarantine_alert(alert, deadline).await;
                    quarantined.and(Err(Failure::unreadable(OPERATION, "publishing it panicked")))
                }
            };
            marked.inspect_err(|failure| {
                tracing::error!(event = "alert_not_published", alert_id = %alert.id, %failure);
            })
        });
        stream::iter(marks).buffered(MARKS_AT_ONCE).collect().await
    }

    /// Sends `notifications`. If that panics, they are sent one by one, so that a panic over one does not affect the
    /// others.
    async fn send(&self, notifications: &[Notification], deadline: Deadline) -> Vec<Result<String, NotPublished>> {
        let together = AssertUnwindSafe(self.topic.publish(notifications, deadline)).catch_unwind().await;
        if let Ok(results) = together {
            return results.into_iter().map(|result| result.map_err(NotPublished::Failed)).collect();
        }
        let each = notifications.iter().map(|notification| async move {
            let alone =
                AssertUnwindSafe(self.topic.publish(std::slice::from_ref(notification), deadline)).catch_unwind();
            match alone.await.map(|mut results| results.pop()) {
                Ok(Some(result)) => result.map_err(NotPublished::Failed),
                Ok(None) | Err(_) => Err(NotPublished::Panicked),
            }
        });
        join_all(each).await
    }

    /// What is in force in the studies of `alerts`. The alerts of a study that cannot be read now are published with the
    /// deployment's link, and name nobody who is on call.
    async fn studies(&self, alerts: &[Alert], deadline: Deadline) -> BTreeMap<StudyId, Arc<Protocol>> {
        let studies: BTreeSet<&StudyId> = alerts.iter().map(|alert| &alert.study).collect();
        let studies = studies.into_iter().map(|study| async move {
            match self.store.protocol(study, deadline).await {
                Ok(protocol) => Some((study.clone(), protocol)),
                Err(failure) => {
                    tracing::warn!(event = "study_not_read", %failure);
                    metrics::report(metrics::STUDY_NOT_READ, 1);
                    None
                }
            }
        });
        join_all(studies).await.into_iter().flatten().collect()
    }
}

/// Reports, as metrics and in the log, which of `alerts` SNS confirmed.
fn report(alerts: &[Alert], published: &[Result<String, NotPublished>]) {
    let mut confirmed: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut escalated = 0;
    for (alert, result) in alerts.iter().zip(published) {
        let Ok(message_id) = result else { continue };
        *confirmed.entry(alert.severity.as_str()).or_default() += 1;
        let escalation = alert.unpublished().unwrap_or_default();
        escalated += u64::from(escalation > 0);
        tracing::info!(
            event = "alert_published",
            alert_id = %alert.id,
            submission_id = alert.submission().map(|id| id.to_string()),
            site = alert.site.as_str(),
            correlation_id = alert.correlation_id.as_str(),
            message_id = message_id.as_str(),
            escalation,
        );
    }
    let failed = published.iter().filter(|result| result.is_err()).count() as u64;
    confirmed.into_iter().for_each(|(severity, count)| metrics::report_of(metrics::ALERTS_PUBLISHED, severity, count));
    let counts = [(metrics::ALERTS_ESCALATED, escalated), (metrics::ALERTS_NOT_PUBLISHED, failed)];
    counts.into_iter().filter(|(_, count)| *count > 0).for_each(|(metric, count)| metrics::report(metric, count));
}

/// The reason why an alert was not published.
enum NotPublished {
    Failed(Failure),
    Panicked,
}

/// The notification of `alert` as it is published at `now`.
fn notification(alert: &Alert, protocol: Option<&Protocol>, now: OffsetDateTime) -> Notification {
    let zone = |name: &str| jiff::tz::db().get(name).ok();
    Notification {
        alert_id: alert.id.to_string(),
        study: alert.study.clone(),
        site: alert.site.clone(),
        severity: alert.severity,
        rule: alert.rule.clone(),
        raised_at: alert.raised_at,
        submission_id: alert.submission(),
        correlation_id: alert.correlation_id.clone(),
        link: protocol.and_then(Protocol::alert_link).map(LinkTemplate::new),
        escalation: alert.unpublished().unwrap_or_default(),
        on_call: protocol.and_then(|protocol| protocol.on_call(&alert.site, alert.severity, now, zone)).cloned(),
    }
}
