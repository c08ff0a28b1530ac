//! The pipeline from records of the table's stream to committed scores and published alerts. Two functions run it:
//! `score` on what the stream delivers, `sweep` on what waits in the table.
//!
//! For each batch of records:
//!
//! 1. decode it record by record, and read the definition and the version of the study that each submission names;
//! 2. score and commit site by site, in the order of effective time, in chunks of one transaction: scores, alerts,
//!    profiles, counts;
//! 3. evaluate again the courses that changed below their newest point;
//! 4. record which occurrences of the study's schedules the submissions answer ([`scheduling::answer`]); of what waits in
//!    the table, before it is committed, since it waits no more afterwards;
//! 5. quarantine, with its payload, each record that can never be scored.
//!
//! At the same time and after that, with a share of the time of its own, the alerts whose rows are stored are published
//! and marked. An outage of SNS delays alerts, and no score: alerts that are not published wait for `sweep`.
//!
//! The stream delivers a record at least once, and a function may die between any two of these steps: each can be
//! repeated.

mod batch;
mod publish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clinical::ids::{PatientId, StudyId};
use futures::FutureExt;
use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use invocation::aws::{Failure, FailureKind};
use invocation::{Clock, Deadline, metrics};
use notifications::Topic;
use records::stream::Record;
use records::{Alert, AlertId, Commit, Quarantined, Store, Submission, ToScore};

use crate::batch::{Batch, Member, Unscorable};
pub use crate::publish::Queue;
use crate::publish::{Publisher, queue};

/// How long before its deadline a run ends its steps, so that the outcome can still be returned.
pub const RETURN_MARGIN: Duration = Duration::from_millis(10);
/// The longest time that committing leaves for publishing.
const PUBLISHING: Duration = Duration::from_secs(5);
/// Patients whose courses are evaluated again at the same time.
const PATIENTS_AT_ONCE: usize = 8;

/// The pipeline on one store and one topic, with what it keeps between runs.
#[derive(Clone, Debug)]
pub struct Scoring {
    store: Store,
    publisher: Publisher,
}

/// How a run of the two stages ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagesEnded {
    /// Whether committing ended within its share of the time.
    pub committed: bool,
    /// The number of queued alerts whose publication did not end. They stay on the list of waiting items.
    pub unpublished: u64,
}

impl Scoring {
    /// The pipeline on `store` and `topic`.
    pub fn new(store: Store, topic: Topic) -> Self {
        Self { publisher: Publisher::new(store.clone(), topic), store }
    }

    /// Commits `records`, publishes the alerts that they raise, and returns the indices of the records that are not
    /// done, before the deadline. A record is done once its submission is scored and counted, or once it is
    /// quarantined, or if it holds no submission.
    pub async fn process(&self, records: &[Record<'_>], clock: Clock, deadline: Deadline) -> Vec<usize> {
        let completion = Completion::of(records.len());
        let run_until = deadline.earlier_by(RETURN_MARGIN);
        let commit = async |queue: Queue, commit_by: Deadline| {
            let commit_by = commit_by.earlier_by(RETURN_MARGIN);
            self.commit_all(records, Source::Stream, &completion, &queue, clock, commit_by).await;
        };
        let publish_for = Some(self.publisher.share());
        let stages = self.commit_and_publish(commit, publish_for, |_, _| {}, clock, run_until);
        // Each step keeps to the deadline by itself; this holds even if one does not.
        if !deadline.bound(stages).await.is_some_and(|ended| ended.committed) {
            metrics::report(metrics::DEADLINE_STOPS, 1);
        }
        completion.not_done()
    }

    /// Runs two stages at the same time: `commit`, with its own deadline and the queue for the alerts that it has
    /// stored, and the publication of the queue. Once `commit` has ended, publishing continues for at most
    /// `publish_for`, or until the deadline. `published` is called with the result of each alert: published and marked,
    /// or failed.
    pub async fn commit_and_publish(
        &self,
        commit: impl AsyncFnOnce(Queue, Deadline),
        publish_for: Option<Duration>,
        published: impl Fn(&Alert, &Result<(), Failure>),
        clock: Clock,
        deadline: Deadline,
    ) -> StagesEnded {
        let commit_by = deadline.earlier_by((deadline.remaining() / 4).min(PUBLISHING));
        let (queue, queued) = queue();
        let unpublished = queued.waiting();
        let commit = pin!(commit_by.bound(commit(queue, commit_by)));
        let publish = pin!(self.publisher.drain(queued, clock, deadline, published));
        // The queue is dropped with the commits, so that these end first.
        let committed = match select(commit, publish).await {
            Either::Left((committed, publish)) => {
                match publish_for {
                    Some(share) => {
                        deadline.no_later_than(share).bound(publish).await;
                    }
                    None => publish.await,
                }
                committed.is_some()
            }
            Either::Right(_) => false,
        };
        StagesEnded { committed, unpublished: unpublished.load(Ordering::Relaxed) }
    }

    /// Commits `records` of submissions that wait for their score, puts the alerts that they raise into `queue`, and
    /// returns the indices of those that are not done. Once scored, they are delivered by nobody again: which occurrences
    /// they answer is recorded before.
    pub async fn commit(&self, records: &[Record<'_>], queue: &Queue, clock: Clock, deadline: Deadline) -> Vec<usize> {
        let completion = Completion::of(records.len());
        deadline.bound(self.commit_all(records, Source::Table, &completion, queue, clock, deadline)).await;
        completion.not_done()
    }

    /// Evaluates the courses of `patients` again, puts the alerts that are raised into `queue`, and returns the number
    /// of patients for whom that failed.
    pub async fn reevaluate(
        &self,
        patients: impl IntoIterator<Item = (StudyId, PatientId)>,
        queue: &Queue,
        clock: Clock,
        deadline: Deadline,
    ) -> usize {
        let reevaluated = patients.into_iter().map(|(study, patient)| async move {
            let reevaluated = AssertUnwindSafe(self.store.reevaluate(&study, &patient, clock.now(), deadline));
            let failure = match reevaluated.catch_unwind().await {
                Ok(reevaluated) => {
                    queue.extend(reevaluated.raised);
                    reevaluated.failure
                }
                Err(_) => Some(Failure::unreadable("the evaluation of a course", "it panicked")),
            };
            if let Some(failure) = &failure {
                tracing::error!(event = "course_not_reevaluated", %failure);
            }
            usize::from(failure.is_some())
        });
        stream::iter(reevaluated).buffer_unordered(PATIENTS_AT_ONCE).fold(0, async |failed, one| failed + one).await
    }

    async fn commit_all(
        &self,
        records: &[Record<'_>],
        source: Source,
        completion: &Completion,
        queue: &Queue,
        clock: Clock,
        deadline: Deadline,
    ) {
        let Batch { sites, unscorable, nothing_to_do, failures } = Batch::read(records, &self.store, deadline).await;
        completion.mark_done(nothing_to_do);
        for failure in failures {
            tracing::error!(event = "definitions_not_read", %failure);
        }
        let deferred = Mutex::default();
        let stage = CommitStage { records, source, completion, queue, clock, deadline, deferred };
        // No site waits for another: those of one batch are at most as many as its records.
        let commit = stream::iter(&sites).for_each_concurrent(None, |site| self.commit_site(site, &stage));
        futures::join!(self.quarantine(unscorable, &stage), commit);
        let Deferred { repeated, reevaluate } = stage.deferred.into_inner().unwrap_or_else(PoisonError::into_inner);
        let unpublished = self.queue_unpublished(&repeated, queue, deadline);
        futures::join!(unpublished, self.reevaluate(reevaluate, queue, clock, deadline));
    }

    /// Commits the submissions of one site. A submission whose evaluation panics is quarantined; the others are not
    /// affected.
    async fn commit_site(&self, site: &[Member], stage: &CommitStage<'_>) {
        let together = AssertUnwindSafe(self.commit_chunks(site, stage)).catch_unwind();
        if together.await.is_ok() {
            return;
        }
        // Submissions that were committed before the panic are recognised as such.
        for member in site {
            let alone = AssertUnwindSafe(self.commit_chunks(std::slice::from_ref(member), stage)).catch_unwind();
            if alone.await.is_err() {
                let reason = "its evaluation panicked";
                let unscorable = |&index: &usize| Unscorable { index, reason: reason.to_owned() };
                self.quarantine(member.indices.iter().map(unscorable).collect(), stage).await;
            }
        }
    }

    /// Commits `members`, which are of one site, chunk by chunk: they write the same counters.
    async fn commit_chunks(&self, members: &[Member], stage: &CommitStage<'_>) {
        let mut members: Vec<_> = members.iter().map(|member| (member.indices.clone(), member.to_score())).collect();
        if stage.source == Source::Table {
            members = self.answered(members, stage).await;
        }
        let mut chunks = VecDeque::from(records::chunks(members));
        while let Some(chunk) = chunks.pop_front() {
            let committed = self.store.commit(chunk, stage.clock.now(), stage.deadline).await;
            chunks.extend(committed.rest);
            let mut unscorable = Vec::new();
            let mut repeated = Vec::new();
            let mut scored = Vec::new();
            for (indices, to_score, commit) in committed.settled {
                log(&to_score.submission, &commit);
                match commit {
                    Commit::Committed(alerts) => {
                        stage.queue.extend(alerts);
                        scored.push((indices, to_score));
                    }
                    Commit::AlreadyScored(alerts) => {
                        repeated.push((to_score.submission.clone(), alerts));
                        scored.push((indices, to_score));
                    }
                    Commit::Failed(failure) => tracing::error!(event = "score_not_committed", %failure),
                    Commit::Never(reason) => {
                        let reason = reason.to_owned();
                        unscorable
                            .extend(indices.into_iter().map(|index| Unscorable { index, reason: reason.clone() }));
                    }
                }
            }
            stage.defer(repeated, committed.reevaluate);
            let done = match stage.source {
                Source::Stream => self.answered(scored, stage).await,
                Source::Table => scored,
            };
            done.into_iter().for_each(|(indices, _)| stage.completion.mark_done(indices));
            self.quarantine(unscorable, stage).await;
        }
    }

    /// Records which occurrences the submissions of `members` answer, and returns those of which it is recorded, or never can
    /// be. A record of the stream is done only then, so that another one is delivered again.
    async fn answered<'a>(
        &self,
        members: Vec<(Vec<usize>, ToScore<'a>)>,
        stage: &CommitStage<'_>,
    ) -> Vec<(Vec<usize>, ToScore<'a>)> {
        let answers = members.into_iter().map(|(indices, to_score)| async move {
            let (now, ToScore { submission, protocol, .. }) = (stage.clock.now(), &to_score);
            let answered = scheduling::answer(&self.store, protocol, submission, now, stage.deadline);
            let answered = AssertUnwindSafe(answered).catch_unwind().await;
            let answered =
                answered.unwrap_or_else(|_| Err(Failure::unreadable("the record of an answer", "it panicked")));
            let failure =
                answered.inspect_err(|failure| tracing::error!(event = "answer_not_recorded", %failure)).err();
            failure.is_none_or(|failure| stage.source.gives_up(&failure)).then_some((indices, to_score))
        });
        // In their order, in which they are to be committed.
        let answered = stream::iter(answers.collect::<Vec<_>>()).buffered(PATIENTS_AT_ONCE);
        answered.filter_map(|answered| async move { answered }).collect().await
    }

    /// Queues the unpublished alerts of submissions that were scored before: the process that scored them may have died
    /// before it published them. Alerts that cannot be read now stay on the list of waiting items.
    async fn queue_unpublished(&self, repeated: &[(Submission, Vec<AlertId>)], queue: &Queue, deadline: Deadline) {
        let raised: Vec<_> = repeated.iter().map(|(submission, alerts)| (submission, alerts.as_slice())).collect();
        match self.store.alerts(&raised, deadline).await {
            Ok((alerts, unreadable)) => {
                queue.extend(alerts);
                if unreadable > 0 {
                    tracing::error!(event = "alerts_unreadable", unreadable);
                }
            }
            Err(failure) => tracing::error!(event = "alerts_not_read", %failure),
        }
    }

    /// Quarantines records that can never be scored, so that they block no other, and raises an alarm.
    async fn quarantine(&self, unscorable: Vec<Unscorable>, stage: &CommitStage<'_>) {
        for Unscorable { index, reason } in unscorable {
            let quarantined = Quarantined { record: stage.records[index], reason: &reason };
            let id = quarantined.id();
            match self.store.quarantine(&quarantined, stage.clock.now(), stage.deadline).await {
                Ok(()) => {
                    metrics::report(metrics::RECORDS_QUARANTINED, 1);
                    tracing::error!(event = "record_quarantined", record = id, reason);
                    stage.completion.mark_done([index]);
                }
                Err(failure) => tracing::error!(event = "record_not_quarantined", record = id, reason, %failure),
            }
        }
    }
}

/// Logs the outcome of `submission`, so that the request that brought it can be followed to its alerts.
fn log(submission: &Submission, commit: &Commit) {
    let (outcome, alerts) = match commit {
        Commit::Committed(alerts) => ("scored", Some(alerts.len())),
        Commit::AlreadyScored(_) => ("scored-before", None),
        Commit::Never(_) => ("never", None),
        Commit::Failed(_) => ("not-confirmed", None),
    };
    let (submission_id, site) = (submission.id.to_string(), submission.site.as_str());
    let correlation_id = submission.correlation_id.as_str();
    tracing::info!(event = "submission_settled", submission_id, site, correlation_id, outcome, alerts);
}

/// Where records come from.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    /// The stream, which delivers a record until it is done.
    Stream,
    /// The list of what waits in the table, which a submission leaves when it is scored.
    Table,
}

impl Source {
    /// Whether an answer that was not recorded for `failure` is given up, since another attempt would fail alike.
    /// `reconcile` finds the difference.
    fn gives_up(self, failure: &Failure) -> bool {
        match self {
            // It would block the shard.
            Self::Stream => failure.is_unreadable() || failure.is_invalid(),
            // The score, and its alerts, would wait for it.
            Self::Table => failure.kind == FailureKind::Refused,
        }
    }
}

/// The stage that commits: what all of its steps need, and what they defer to its end.
struct CommitStage<'a> {
    records: &'a [Record<'a>],
    source: Source,
    completion: &'a Completion,
    queue: &'a Queue,
    clock: Clock,
    deadline: Deadline,
    deferred: Mutex<Deferred>,
}

/// The work that is deferred until all chunks are committed.
#[derive(Default)]
struct Deferred {
    /// Submissions that were scored before, with the rules that had fired.
    repeated: Vec<(Submission, Vec<AlertId>)>,
    /// Patients whose courses are to be evaluated again.
    reevaluate: BTreeSet<(StudyId, PatientId)>,
}

impl CommitStage<'_> {
    fn defer(&self, repeated: Vec<(Submission, Vec<AlertId>)>, reevaluate: BTreeSet<(StudyId, PatientId)>) {
        let mut deferred = self.deferred.lock().unwrap_or_else(PoisonError::into_inner);
        deferred.repeated.extend(repeated);
        deferred.reevaluate.extend(reevaluate);
    }
}

/// Which records of a batch are done. One that is not marked as done when the time is up is not.
struct Completion(Mutex<BTreeMap<usize, bool>>);

impl Completion {
    fn of(records: usize) -> Self {
        Self(Mutex::new((0..records).map(|index| (index, false)).collect()))
    }

    fn mark_done(&self, indices: impl IntoIterator<Item = usize>) {
        let mut completion = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        completion.extend(indices.into_iter().map(|index| (index, true)));
    }

    fn not_done(&self) -> Vec<usize> {
        let completion = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        completion.iter().filter(|(_, done)| !**done).map(|(&index, _)| index).collect()
    }
}
