//! Scores what the table's stream brings. For each batch:
//!
//! 1. read it record by record, with the definition that each submission names and its study's alert rules ([`batch`]);
//! 2. score and commit site by site, in chunks of one transaction: scores, alerts, profiles, counts;
//! 3. publish the alerts whose rows are there, then mark them sent;
//! 4. set aside, with all it holds, what can never be scored;
//! 5. answer with the records that are not done, from which the stream goes on.
//!
//! The stream brings a record at least once, and anything may die between two of these steps: each can run again.

mod batch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use alerts::{LinkTemplate, Notice, Topic};
use clinical::ids::{RuleId, StudyId};
use futures::future::join_all;
use futures::stream::{self, StreamExt};
use invocation::aws::{self, Failure};
use invocation::telemetry::{self, InvocationIds};
use invocation::{Clock, Deadline, Environment, EnvironmentError};
use lambda_runtime::LambdaEvent;
use records::{Alert, Commit, SetAside, Store, Submission};
use serde::Serialize;
use serde_json::Value;
use tracing::Instrument;

use crate::batch::{Batch, Member, Unscorable};

/// What is left of the time for answering once a step has run out of it.
const WORDING: Duration = Duration::from_millis(10);
/// What committing leaves of the time for publishing, at most.
const PUBLISHING: Duration = Duration::from_secs(5);
/// Sites that are committed at the same time. A site's chunks follow each other: they write the same counters.
const SITES_AT_ONCE: usize = 4;
const MARKS_AT_ONCE: usize = 8;

/// The function, with what it keeps between batches.
#[derive(Clone, Debug)]
pub struct Score {
    store: Store,
    topic: Topic,
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
        Self { store, topic }
    }

    /// Opens the connections to the store and to SNS ahead of the first batch. What fails is opened by the first batch.
    pub async fn warm_up(&self) {
        futures::join!(self.store.warm_up(&self.store.tables().records), self.topic.warm_up());
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

    /// Works off `records` as a batch of the stream, and says which are not done. For whoever finds submissions that wait
    /// in the table.
    pub async fn work_off(&self, records: &[Value], clock: Clock, deadline: Deadline) -> Vec<usize> {
        let progress = Progress::new(records.len());
        deadline.bound(self.work(records, &progress, clock, deadline)).await;
        progress.not_done()
    }

    /// Publishes what of `alerts` nobody has confirmed, and marks it told. Answers for each of them, in order; one of which
    /// nothing is untold is done.
    pub async fn tell(&self, alerts: &[Alert], clock: Clock, deadline: Deadline) -> Vec<Result<(), Failure>> {
        let links = self.links(alerts, deadline).await;
        let untold: Vec<(usize, &Alert, Notice)> = alerts
            .iter()
            .enumerate()
            .filter_map(|(at, alert)| Some((at, alert, notice(alert, links.get(&alert.study), alert.untold()?))))
            .collect();
        let notices: Vec<Notice> = untold.iter().map(|(.., notice)| notice.clone()).collect();
        let published = self.topic.publish(&notices, deadline).await;
        let marks = untold.into_iter().zip(published).map(|((at, alert, _), published)| async move {
            let marked = async {
                let message_id = published?;
                self.store.mark_told(alert, &message_id, clock.now(), deadline).await
            };
            let marked = marked.await.inspect_err(|failure: &Failure| {
                tracing::error!(event = "alert_not_confirmed", alert_id = %alert.id, %failure);
            });
            (at, marked)
        });
        let mut told = vec![Ok(()); alerts.len()];
        let mut marks = stream::iter(marks).buffer_unordered(MARKS_AT_ONCE);
        while let Some((at, marked)) = marks.next().await {
            told[at] = marked;
        }
        told
    }

    /// Where clinicians open the alerts of those studies that say so themselves. A study that cannot be read now does not keep
    /// an alert from them: they open it where the installation says.
    async fn links(&self, alerts: &[Alert], deadline: Deadline) -> BTreeMap<StudyId, LinkTemplate> {
        let studies: BTreeSet<&StudyId> = alerts.iter().map(|alert| &alert.study).collect();
        let links = studies.into_iter().map(|study| async move {
            match self.store.protocol(study, deadline).await {
                Ok(protocol) => Some((study.clone(), LinkTemplate::new(protocol.alert_link()?))),
                Err(failure) => {
                    tracing::warn!(event = "study_not_read", %failure);
                    None
                }
            }
        });
        join_all(links).await.into_iter().flatten().collect()
    }

    async fn work(&self, records: &[Value], progress: &Progress, clock: Clock, deadline: Deadline) {
        let Batch { sites, unscorable, nothing_to_do, failures } = Batch::read(records, &self.store, deadline).await;
        progress.done(nothing_to_do);
        for failure in failures {
            tracing::error!(event = "definitions_not_read", %failure);
        }
        let set_aside = self.set_aside(records, unscorable, progress, clock, deadline);
        let commit = stream::iter(&sites).for_each_concurrent(SITES_AT_ONCE, |site| async move {
            self.commit_and_tell(records, site, progress, clock, deadline).await;
        });
        futures::join!(set_aside, commit);
    }

    /// Commits the submissions of one site, chunk by chunk, and publishes the alerts of each as soon as their rows are
    /// there: a chunk that has to wait holds up no alert of another.
    async fn commit_and_tell(
        &self,
        records: &[Value],
        site: &[Member],
        progress: &Progress,
        clock: Clock,
        deadline: Deadline,
    ) {
        let site = site.iter().map(|member| (member.indices.clone(), member.to_score())).collect();
        let commit_by = deadline.earlier_by((deadline.remaining() / 4).min(PUBLISHING));
        let mut chunks = VecDeque::from(records::chunks(site));
        while let Some(chunk) = chunks.pop_front() {
            let records::Progress { settled, rest } = self.store.commit(chunk, clock.now(), commit_by).await;
            chunks.extend(rest);
            let (mut untold, mut repeated, mut unscorable) = (Vec::new(), Vec::new(), Vec::new());
            for (indices, to_score, commit) in settled {
                match commit {
                    Commit::Committed(alerts) => untold.push((indices, alerts)),
                    Commit::AlreadyScored(rules) => repeated.push((indices, to_score.submission, rules)),
                    Commit::Failed(failure) => tracing::error!(event = "not_scored_yet", %failure),
                    Commit::Never(reason) => {
                        let reason = reason.to_owned();
                        unscorable
                            .extend(indices.into_iter().map(|index| Unscorable { index, reason: reason.clone() }));
                    }
                }
            }
            self.tell_of(untold, progress, clock, deadline).await;
            self.tell_again(repeated, progress, clock, deadline).await;
            self.set_aside(records, unscorable, progress, clock, deadline).await;
        }
    }

    /// Tells what is still untold of submissions that were scored before: whoever scored them may have died before it told
    /// the clinicians.
    async fn tell_again(
        &self,
        repeated: Vec<(Vec<usize>, Submission, Vec<RuleId>)>,
        progress: &Progress,
        clock: Clock,
        deadline: Deadline,
    ) {
        let raised: Vec<_> = repeated.iter().map(|(_, submission, rules)| (submission, rules.as_slice())).collect();
        match self.store.alerts(&raised, deadline).await {
            Ok(alerts) => {
                let untold = repeated.into_iter().zip(alerts).map(|((indices, ..), alerts)| (indices, alerts));
                self.tell_of(untold.collect(), progress, clock, deadline).await;
            }
            Err(failure) => tracing::error!(event = "alerts_not_read", %failure),
        }
    }

    /// Tells what is untold of the alerts, and notes as done the records all of whose alerts are told.
    async fn tell_of(
        &self,
        raised: Vec<(Vec<usize>, Vec<Alert>)>,
        progress: &Progress,
        clock: Clock,
        deadline: Deadline,
    ) {
        let alerts: Vec<Alert> = raised.iter().flat_map(|(_, alerts)| alerts.iter().cloned()).collect();
        let mut told = self.tell(&alerts, clock, deadline).await.into_iter();
        for (indices, alerts) in raised {
            if told.by_ref().take(alerts.len()).filter(Result::is_err).count() == 0 {
                progress.done(indices);
            }
        }
    }

    /// Keeps what can never be scored where it blocks nobody, and raises an alarm (by the log line `record_set_aside`).
    async fn set_aside(
        &self,
        records: &[Value],
        unscorable: Vec<Unscorable>,
        progress: &Progress,
        clock: Clock,
        deadline: Deadline,
    ) {
        for Unscorable { index, reason } in unscorable {
            let kept = SetAside { record: &records[index], reason: &reason };
            let id = kept.id();
            match self.store.set_aside(&kept, clock.now(), deadline).await {
                Ok(()) => {
                    tracing::error!(event = "record_set_aside", record = id, reason);
                    progress.done([index]);
                }
                Err(failure) => tracing::error!(event = "record_not_set_aside", record = id, reason, %failure),
            }
        }
    }
}

fn notice(alert: &Alert, link: Option<&LinkTemplate>, escalation: u32) -> Notice {
    Notice {
        alert_id: alert.id.to_string(),
        study: alert.study.clone(),
        site: alert.site.clone(),
        severity: alert.severity,
        rule: alert.rule.clone(),
        raised_at: alert.raised_at,
        submission_id: alert.submission,
        link: link.cloned(),
        escalation,
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
