//! The pipeline from records of the table's stream to committed scores and published alerts. Two functions run it: `score`
//! on what the stream delivers, `sweep` on what waits in the table.
//!
//! For each batch of records:
//!
//! 1. decode it record by record, and read the definition and the study's version that each submission names ([`batch`]);
//! 2. score and commit site by site, in the order of effective time, in chunks of one transaction: scores, alerts, profiles,
//!    counts;
//! 3. evaluate again the courses that changed below their newest point;
//! 4. quarantine, with its payload, each record that can never be scored.
//!
//! Beside and after that, with a share of the time of its own, the alerts whose rows are stored are published and marked
//! ([`publish`]). An outage of SNS delays alerts, and no score: what is not published waits for `sweep`.
//!
//! The stream delivers a record at least once, and a function may die between any two of these steps: each can be repeated.

mod batch;
mod publish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clinical::ids::{PatientId, RuleId, StudyId};
use futures::FutureExt;
use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use invocation::aws::Failure;
use invocation::{Clock, Deadline, metrics};
use notifications::Topic;
use records::{Alert, Commit, Quarantined, Store, Submission};
use serde_json::Value;

use crate::batch::{Batch, Member, Unscorable};
pub use crate::publish::Queue;
use crate::publish::{Publisher, queue};

/// How long before its deadline a run ends its steps, so that the outcome can still be returned.
pub const RETURN_MARGIN: Duration = Duration::from_millis(10);
/// The most that committing leaves of the time for publishing.
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
    /// Whether committing came to its end within its share of the time.
    pub committed: bool,
    /// How many queued alerts are not published: each of them stays on the list of what waits.
    pub unpublished: u64,
}

impl Scoring {
    /// The pipeline on `store` and `topic`.
    pub fn new(store: Store, topic: Topic) -> Self {
        Self { publisher: Publisher::new(store.clone(), topic), store }
    }

    /// Opens the connections to the store and to SNS ahead of the first run. A connection that fails is opened by the first run.
    pub async fn warm_up(&self) {
        futures::join!(self.store.warm_up(&self.store.tables().records), self.publisher.warm_up());
    }

    /// Commits `records`, publishes the alerts that they raise, and returns the indices of the records that are not done,
    /// before the deadline. A record that is done is scored and counted, or quarantined, or nothing that is scored.
    pub async fn process(&self, records: &[Value], clock: Clock, deadline: Deadline) -> Vec<usize> {
        let completion = Completion::of(records.len());
        let run_until = deadline.earlier_by(RETURN_MARGIN);
        let commit = async |queue: Queue, commit_by: Deadline| {
            self.commit_all(records, &completion, &queue, clock, commit_by.earlier_by(RETURN_MARGIN)).await;
        };
        let publish_for = Some(self.publisher.share());
        let stages = self.commit_and_publish(commit, publish_for, |_, _| {}, clock, run_until);
        // Each step keeps to the deadline by itself; this holds even if one does not.
        deadline.bound(stages).await;
        completion.not_done()
    }

    /// Runs the two stages: `commit`, which is given where to put alerts that are stored, and its own deadline; and beside it
    /// the publication of these alerts. Once `commit` has ended, publishing goes on for `publish_for`, or until the deadline.
    /// `published` is called for each alert that was published and marked, or could not be.
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

    /// Commits `records` as a batch of the stream, puts the alerts that they raise into `queue`, and returns the indices of
    /// those that are not done. For submissions that were found waiting in the table.
    pub async fn commit(&self, records: &[Value], queue: &Queue, clock: Clock, deadline: Deadline) -> Vec<usize> {
        let completion = Completion::of(records.len());
        deadline.bound(self.commit_all(records, &completion, queue, clock, deadline)).await;
        completion.not_done()
    }

    /// Evaluates the courses of `patients` again, puts the alerts that are raised into `queue`, and returns how many courses
    /// still wait for it.
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
        stream::iter(reevaluated).buffer_unordered(PATIENTS_AT_ONCE).fold(0, async |waiting, one| waiting + one).await
    }

    async fn commit_all(
        &self,
        records: &[Value],
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
        let stage = Stage { records, completion, queue, clock, deadline, left: Mutex::default() };
        // No site waits for another: those of one batch are at most as many as its records.
        let commit = stream::iter(&sites).for_each_concurrent(None, |site| self.commit_site(site, &stage));
        futures::join!(self.set_aside(unscorable, &stage), commit);
        let Left { repeated, reevaluate } = stage.left.into_inner().unwrap_or_else(PoisonError::into_inner);
        let publish_again = self.publish_again(&repeated, queue, deadline);
        futures::join!(publish_again, self.reevaluate(reevaluate, queue, clock, deadline));
    }

    /// Commits the submissions of one site. A panic over one of them quarantines it, and spares the others.
    async fn commit_site(&self, site: &[Member], stage: &Stage<'_>) {
        let together = AssertUnwindSafe(self.commit_chunks(site, stage)).catch_unwind();
        if together.await.is_ok() {
            return;
        }
        // What was committed before the panic is found to be so.
        for member in site {
            let alone = AssertUnwindSafe(self.commit_chunks(std::slice::from_ref(member), stage)).catch_unwind();
            if alone.await.is_err() {
                let reason = "its evaluation panicked";
                let unscorable = |&index: &usize| Unscorable { index, reason: reason.to_owned() };
                self.set_aside(member.indices.iter().map(unscorable).collect(), stage).await;
            }
        }
    }

    /// Commits `members`, which are of one site, chunk by chunk: they write the same counters.
    async fn commit_chunks(&self, members: &[Member], stage: &Stage<'_>) {
        let members = members.iter().map(|member| (member.indices.clone(), member.to_score())).collect();
        let mut chunks = VecDeque::from(records::chunks(members));
        while let Some(chunk) = chunks.pop_front() {
            let committed = self.store.commit(chunk, stage.clock.now(), stage.deadline).await;
            chunks.extend(committed.rest);
            let mut unscorable = Vec::new();
            let mut repeated = Vec::new();
            for (indices, to_score, commit) in committed.settled {
                match commit {
                    Commit::Committed(alerts) => {
                        stage.queue.extend(alerts);
                        stage.completion.mark_done(indices);
                    }
                    Commit::AlreadyScored(rules) => {
                        repeated.push((to_score.submission, rules));
                        stage.completion.mark_done(indices);
                    }
                    Commit::Failed(failure) => tracing::error!(event = "not_scored_yet", %failure),
                    Commit::Never(reason) => {
                        let reason = reason.to_owned();
                        unscorable
                            .extend(indices.into_iter().map(|index| Unscorable { index, reason: reason.clone() }));
                    }
                }
            }
            stage.left(repeated, committed.reevaluate);
            self.set_aside(unscorable, stage).await;
        }
    }

    /// Queues what is not published yet of submissions that were scored before: whoever scored them may have died before it
    /// published their alerts. What cannot be read now stays on the list of what waits.
    async fn publish_again(&self, repeated: &[(Submission, Vec<RuleId>)], queue: &Queue, deadline: Deadline) {
        let raised: Vec<_> = repeated.iter().map(|(submission, rules)| (submission, rules.as_slice())).collect();
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

    /// Keeps what can never be scored where it blocks nobody, and raises an alarm.
    async fn set_aside(&self, unscorable: Vec<Unscorable>, stage: &Stage<'_>) {
        for Unscorable { index, reason } in unscorable {
            let kept = Quarantined { record: &stage.records[index], reason: &reason };
            let id = kept.id();
            match self.store.quarantine(&kept, stage.clock.now(), stage.deadline).await {
                Ok(()) => {
                    metrics::count(metrics::RECORDS_QUARANTINED, 1);
                    tracing::error!(event = "record_set_aside", record = id, reason);
                    stage.completion.mark_done([index]);
                }
                Err(failure) => tracing::error!(event = "record_not_set_aside", record = id, reason, %failure),
            }
        }
    }
}

/// The stage that commits: what all of its steps need, and what they leave for the end.
struct Stage<'a> {
    records: &'a [Value],
    completion: &'a Completion,
    queue: &'a Queue,
    clock: Clock,
    deadline: Deadline,
    left: Mutex<Left>,
}

/// What is left to do once all is committed.
#[derive(Default)]
struct Left {
    /// Submissions that were scored before, with the rules that had fired.
    repeated: Vec<(Submission, Vec<RuleId>)>,
    /// Patients whose courses are to be evaluated again.
    reevaluate: BTreeSet<(StudyId, PatientId)>,
}

impl Stage<'_> {
    fn left(&self, repeated: Vec<(Submission, Vec<RuleId>)>, reevaluate: BTreeSet<(StudyId, PatientId)>) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.repeated.extend(repeated);
        left.reevaluate.extend(reevaluate);
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
