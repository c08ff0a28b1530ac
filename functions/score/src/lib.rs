//! Scores what the table's stream brings. For each batch:
//!
//! 1. read it record by record, with the definition and the study's version that each submission names ([`batch`]);
//! 2. score and commit site by site, in the order of effective time, in chunks of one transaction: scores, alerts, profiles,
//!    counts;
//! 3. evaluate the courses again that changed below their newest point;
//! 4. quarantine, with all it holds, what can never be scored;
//! 5. answer with the records that are not committed, from which the stream goes on.
//!
//! Beside and after that, with a share of the time of its own, the alerts whose rows are there are published and marked
//! ([`publish`]). An outage of SNS delays alerts, and no score: what is not published waits for `sweep`.
//!
//! The stream brings a record at least once, and anything may die between two of these steps: each can run again.

mod batch;
mod publish;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clinical::ids::{PatientId, RuleId, StudyId};
use futures::FutureExt;
use futures::future::{Either, select};
use futures::stream::{self, StreamExt};
use invocation::aws::{self, Failure};
use invocation::telemetry::{self, InvocationIds};
use invocation::{Clock, Deadline, Environment, EnvironmentError, metrics};
use lambda_runtime::LambdaEvent;
use notifications::Topic;
use records::{Commit, SetAside, Store, Submission};
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument;

use crate::batch::{Batch, Member, Unscorable};
pub use crate::publish::{Publisher, Queue, Queued, queue};

/// What is left of the time for answering once a step has run out of it.
const WORDING: Duration = Duration::from_millis(10);
/// What committing leaves of the time for publishing, at most.
const PUBLISHING: Duration = Duration::from_secs(5);
/// Patients whose courses are evaluated again at the same time.
const PATIENTS_AT_ONCE: usize = 8;

/// The function, with what it keeps between batches.
#[derive(Clone, Debug)]
pub struct Score {
    store: Store,
    publisher: Publisher,
}

/// The answer to a batch: the records that are not done. The stream goes on from the first of them.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchAnswer {
    /// The records that are not done, in order.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A record that is not done.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// Its sequence number.
    pub item_identifier: String,
}

/// A batch whose records cannot be answered for one by one. The mapping retries all of it, within its bounds.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// It is no batch of a stream.
    #[error("the event holds no list of records: is the function's event source a DynamoDB stream?")]
    NoRecords,
    /// A record without a sequence number is not done, so that it cannot be named.
    #[error("a record that has no sequence number could not be set aside")]
    Nameless,
}

impl Score {
    /// The function as its environment variables set it up.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        let https = aws::https();
        let store = Store::from_environment(environment, https.clone())?;
        Ok(Self::new(store, Topic::from_environment(environment, https)?))
    }

    /// The function on `store` and `topic`.
    pub fn new(store: Store, topic: Topic) -> Self {
        Self { publisher: Publisher::new(store.clone(), topic), store }
    }

    /// Opens the connections to the store and to SNS ahead of the first batch. What fails is opened by the first batch.
    pub async fn warm_up(&self) {
        futures::join!(self.store.warm_up(&self.store.tables().records), self.publisher.warm_up());
    }

    /// What publishes its alerts.
    pub fn publisher(&self) -> &Publisher {
        &self.publisher
    }

    /// Works off one batch, and answers with the records that are not done, before the deadline.
    ///
    /// # Errors
    /// If the records cannot be answered for one by one.
    pub async fn handle(&self, event: LambdaEvent<Value>) -> Result<BatchAnswer, BatchError> {
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
            let records = payload.get("Records").and_then(Value::as_array).ok_or(BatchError::NoRecords)?;
            let progress = Progress::new(records.len());
            // Each step keeps to the deadline by itself; this holds even if one does not.
            deadline.bound(self.work(records, &progress, clock, deadline.earlier_by(WORDING))).await;
            let answer = progress.answer(records);
            tracing::info!(
                event = "batch_done",
                records = records.len(),
                not_done = answer.as_ref().map_or(records.len(), |answer| answer.batch_item_failures.len()),
                ms = clock.elapsed().as_millis() as u64,
                remaining_ms = deadline.remaining().as_millis() as u64,
            );
            answer
        }
        .instrument(span)
        .await
    }

    /// Commits `records` as a batch of the stream, puts the alerts that they raise into `queue`, and returns those that are
    /// not done. For whoever finds submissions that wait in the table.
    pub async fn commit(&self, records: &[Value], queue: &Queue, clock: Clock, deadline: Deadline) -> Vec<usize> {
        let progress = Progress::new(records.len());
        deadline.bound(self.commit_all(records, &progress, queue, clock, deadline)).await;
        progress.not_done()
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

    async fn work(&self, records: &[Value], progress: &Progress, clock: Clock, deadline: Deadline) {
        let commit_by = deadline.earlier_by((deadline.remaining() / 4).min(PUBLISHING));
        let share = self.publisher.share();
        let (queue, queued) = queue();
        let commit = pin!(commit_by.bound(async move {
            self.commit_all(records, progress, &queue, clock, commit_by.earlier_by(WORDING)).await;
        }));
        let publish = pin!(self.publisher.drain(queued, clock, deadline, |_, _| {}));
        // The queue is dropped with the commits, so that these end first.
        if let Either::Left((_, publish)) = select(commit, publish).await {
            deadline.no_later_than(share).bound(publish).await;
        }
    }

    async fn commit_all(
        &self,
        records: &[Value],
        progress: &Progress,
        queue: &Queue,
        clock: Clock,
        deadline: Deadline,
    ) {
        let Batch { sites, unscorable, nothing_to_do, failures } = Batch::read(records, &self.store, deadline).await;
        progress.done(nothing_to_do);
        for failure in failures {
            tracing::error!(event = "definitions_not_read", %failure);
        }
        let stage = Stage { records, progress, queue, clock, deadline, left: Mutex::default() };
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
                        stage.progress.done(indices);
                    }
                    Commit::AlreadyScored(rules) => {
                        repeated.push((to_score.submission, rules));
                        stage.progress.done(indices);
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
            let kept = SetAside { record: &stage.records[index], reason: &reason };
            let id = kept.id();
            match self.store.set_aside(&kept, stage.clock.now(), stage.deadline).await {
                Ok(()) => {
                    metrics::count(metrics::RECORDS_QUARANTINED, 1);
                    tracing::error!(event = "record_set_aside", record = id, reason);
                    stage.progress.done([index]);
                }
                Err(failure) => tracing::error!(event = "record_not_set_aside", record = id, reason, %failure),
            }
        }
    }
}

/// The stage that commits: what all of its steps need, and what they leave for the end.
struct Stage<'a> {
    records: &'a [Value],
    progress: &'a Progress,
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

/// Which records of the batch are done. What is not noted as done when the time is up is not.
struct Progress(Mutex<BTreeMap<usize, bool>>);

impl Progress {
    fn new(records: usize) -> Self {
        Self(Mutex::new((0..records).map(|index| (index, false)).collect()))
    }

    fn done(&self, indices: impl IntoIterator<Item = usize>) {
        let mut progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.extend(indices.into_iter().map(|index| (index, true)));
    }

    fn not_done(&self) -> Vec<usize> {
        let progress = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        progress.iter().filter(|(_, done)| !**done).map(|(&index, _)| index).collect()
    }

    fn answer(&self, records: &[Value]) -> Result<BatchAnswer, BatchError> {
        let batch_item_failures = self.not_done().into_iter().map(|index| {
            let number = records::stream::sequence_number(&records[index]).ok_or(BatchError::Nameless)?;
            Ok(BatchItemFailure { item_identifier: number.to_owned() })
        });
        Ok(BatchAnswer { batch_item_failures: batch_item_failures.collect::<Result<_, _>>()? })
    }
}
