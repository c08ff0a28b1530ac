//! The transaction that scores: each submission's score, its alerts, its patient's profile and its site's counts, all or
//! nothing, so that a count and an alert are there exactly when the score is.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    CancellationReason, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use clinical::ids::{PatientId, RuleId};
use clinical::outcome::Outcome;
use invocation::Deadline;
use invocation::aws::{CallError, Failure, FailureKind, Limits, call, is_passing};
use time::OffsetDateTime;

use crate::alert::{Alert, AlertId};
use crate::attributes::{instant, number};
use crate::counts::Addition;
use crate::digest::{hex, sha256};
use crate::profile::Profile;
use crate::store::Store;
use crate::submission::{Score, Submission};

const OPERATION: &str = "TransactWriteItems of scores";
const TRANSACTION: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };
/// What one TransactWriteItems takes.
const MOST_WRITES: usize = 100;
/// More submissions in one transaction save round trips; fewer meet fewer conflicts.
const MOST_SUBMISSIONS: usize = 25;
/// The counter of the site, which every chunk writes.
const COUNTER_WRITES: usize = 1;
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// After as many refusals for a conflict, the chunk is split: smaller transactions meet fewer conflicts.
const CONFLICTS_BEFORE_SPLIT: u32 = 2;

/// A submission with what came of it, not committed yet.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The submission.
    pub submission: Submission,
    /// Its scores and the rules that fired.
    pub outcome: Outcome,
}

/// What became of one submission of a chunk.
#[derive(Debug)]
pub enum Commit {
    /// It was scored, now or by an attempt whose answer was lost: these alerts are its rows.
    Committed(Vec<Alert>),
    /// It had been scored before; these rules had fired.
    AlreadyScored(Vec<RuleId>),
    /// It can never be committed, for this reason.
    Never(&'static str),
    /// Nothing says that it was committed. A later attempt settles it.
    Failed(Failure),
}

impl Scored {
    fn writes(&self) -> usize {
        // Its score, its patient's profile, its alerts.
        2 + self.outcome.alerts.len()
    }
}

/// `scored`, in order, in chunks that each fit into one transaction. Each may bring something along that its owner keeps
/// with it.
pub fn chunks<T>(scored: Vec<(T, Scored)>) -> Vec<Vec<(T, Scored)>> {
    let mut chunks: Vec<Vec<(T, Scored)>> = Vec::new();
    let mut writes = MOST_WRITES;
    for one in scored {
        let its_writes = one.1.writes();
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MOST_SUBMISSIONS && writes + its_writes <= MOST_WRITES => {
                writes += its_writes;
                chunk.push(one);
            }
            _ => {
                writes = COUNTER_WRITES + its_writes;
                chunks.push(vec![one]);
            }
        }
    }
    chunks
}

impl Store {
    /// Commits `chunk`, whose submissions differ, are of one site, and fit into one transaction, as scored at `at`.
    /// Answers for each of them, in order.
    ///
    /// What was scored before is left out, and counted no second time. On a conflict it waits, then splits. While the
    /// outcome of an attempt is unknown it sends the very same transaction again, under the same token; past the token's
    /// ten minutes the conditions hold all the same.
    pub async fn commit(&self, chunk: &[Scored], at: OffsetDateTime, deadline: Deadline) -> Vec<Commit> {
        let mut commits: BTreeMap<usize, Commit> = BTreeMap::new();
        let mut parts = VecDeque::from([(0..chunk.len()).collect::<Vec<_>>()]);
        while let Some(part) = parts.pop_front() {
            let members: Vec<(usize, &Scored)> = part.iter().map(|&index| (index, &chunk[index])).collect();
            let (settled, halves) = self.commit_part(members, at, deadline).await;
            commits.extend(settled);
            for half in halves.into_iter().rev() {
                parts.push_front(half);
            }
        }
        commits.into_values().collect()
    }

    /// Commits `members` in one transaction. Answers for each of them, or gives back the halves to try one by one.
    async fn commit_part(
        &self,
        mut members: Vec<(usize, &Scored)>,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> (Vec<(usize, Commit)>, Vec<Vec<usize>>) {
        let mut settled = Vec::new();
        let mut conflicts = 0;
        let mut wait = FIRST_WAIT;
        let mut unsettled: Option<Transaction> = None;
        while !members.is_empty() {
            let transaction = match unsettled.take() {
                Some(transaction) => transaction,
                None => match self.prepare(&members, at, deadline).await {
                    Ok(transaction) => transaction,
                    Err(failure) => {
                        settled.extend(members.iter().map(|&(index, _)| (index, Commit::Failed(failure.clone()))));
                        break;
                    }
                },
            };
            let failure = match self.send(&transaction, deadline).await {
                Ok(()) => {
                    settled
                        .extend(members.iter().map(|&(index, scored)| (index, Commit::Committed(raise(scored, at)))));
                    break;
                }
                Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                    let reasons = cancelled.cancellation_reasons.unwrap_or_default();
                    let cancelled = transaction.read_reasons(&reasons, &members);
                    members.retain(|(index, _)| !cancelled.settled.contains_key(index));
                    settled.extend(cancelled.settled);
                    match cancelled.rest {
                        Rest::Again => continue,
                        Rest::Contended => {
                            conflicts += 1;
                            Failure::passing(OPERATION, "other transactions were in its way")
                        }
                        Rest::Refused => Failure::unreadable(OPERATION, "it was cancelled for a reason that will stay"),
                    }
                }
                Err(error) => {
                    let failure = error.of(OPERATION);
                    if matches!(failure.kind, FailureKind::Unknown | FailureKind::Passing) {
                        unsettled = Some(transaction);
                    }
                    failure
                }
            };
            let may_pass = matches!(failure.kind, FailureKind::Unknown | FailureKind::Passing);
            let pause = jittered(wait, &members, conflicts);
            if !may_pass || deadline.clamp(pause, pause + TRANSACTION.least).is_none() {
                settled.extend(members.iter().map(|&(index, _)| (index, Commit::Failed(failure.clone()))));
                break;
            }
            tokio::time::sleep(pause).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            if conflicts >= CONFLICTS_BEFORE_SPLIT && members.len() > 1 && unsettled.is_none() {
                let indices: Vec<usize> = members.iter().map(|&(index, _)| index).collect();
                let (first, second) = indices.split_at(indices.len() / 2);
                return (settled, vec![first.to_vec(), second.to_vec()]);
            }
        }
        (settled, Vec::new())
    }

    /// The transaction that commits `members`, on the profiles as they are now.
    async fn prepare(
        &self,
        members: &[(usize, &Scored)],
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Transaction, Failure> {
        let mut profiles = self.profiles(members, deadline).await?;
        let read: Vec<(PatientId, u64)> =
            profiles.iter().map(|(patient, profile)| (patient.clone(), profile.revision)).collect();
        let mut addition = Addition::default();
        let mut writes = Vec::new();
        let mut parts = Vec::new();
        for &(index, scored) in members {
            let Scored { submission, outcome } = scored;
            let alerts = raise(scored, at);
            addition.take_in(&submission.instrument.id, alerts.len() as u64);
            if let Some(profile) = profiles.get_mut(&submission.patient) {
                profile.take_in(submission, outcome, alerts.len() as u64);
            }
            writes.push(TransactWriteItem::builder().update(self.set_score(scored, &alerts, at)).build());
            parts.push(Part::Submission(index));
            for alert in &alerts {
                writes.push(TransactWriteItem::builder().put(self.put_alert(alert)).build());
                parts.push(Part::Alert(index));
            }
        }
        for profile in profiles.values() {
            writes.push(TransactWriteItem::builder().update(self.set_profile(profile)).build());
            parts.push(Part::Profile);
        }
        let Some(&(_, Scored { submission: first, .. })) = members.first() else {
            return Err(Failure::unreadable(OPERATION, "there is nothing to commit"));
        };
        let counter = addition.update(&self.tables.counts, &first.study, &first.site, &first.id.to_string());
        writes.push(TransactWriteItem::builder().update(counter).build());
        parts.push(Part::Counter);
        Ok(Transaction { token: token(members, &read, at), writes, parts })
    }

    /// The profile of each patient among `members`, as stored or before its first submission.
    async fn profiles(
        &self,
        members: &[(usize, &Scored)],
        deadline: Deadline,
    ) -> Result<BTreeMap<PatientId, Profile>, Failure> {
        const READ: &str = "BatchGetItem of profiles";
        let mut profiles: BTreeMap<PatientId, Profile> = members
            .iter()
            .map(|(_, scored)| (scored.submission.patient.clone(), Profile::before(&scored.submission)))
            .collect();
        let keys = profiles.values().map(|profile| Profile::key(&profile.study, &profile.patient)).collect();
        for item in self.get_all(&self.tables.records, keys, READ, deadline).await? {
            let profile =
                Profile::from_item(&item).map_err(|_| Failure::unreadable(READ, "a stored profile cannot be read"))?;
            profiles.insert(profile.patient.clone(), profile);
        }
        Ok(profiles)
    }

    fn set_score(&self, scored: &Scored, alerts: &[Alert], at: OffsetDateTime) -> Update {
        let Scored { submission, outcome } = scored;
        let raised: Vec<(AlertId, RuleId)> = alerts.iter().map(|alert| (alert.id, alert.rule.clone())).collect();
        let score = Score::of(outcome, &submission.instrument.hash, at, raised);
        Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(submission.key()))
            .update_expression("SET score = :score, scored_at = :at REMOVE pending, pending_since")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(scored_at)")
            .expression_attribute_values(":score", score.to_attribute())
            .expression_attribute_values(":at", instant(at))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table, key and expression are set")
    }

    fn put_alert(&self, alert: &Alert) -> Put {
        Put::builder()
            .table_name(&self.tables.records)
            .set_item(Some(alert.to_item()))
            .condition_expression("attribute_not_exists(pk)")
            .build()
            .expect("table and item are set")
    }

    fn set_profile(&self, profile: &Profile) -> Update {
        let mut update = Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(Profile::key(&profile.study, &profile.patient)));
        let mut clauses = Vec::new();
        for (name, value) in profile.to_attributes() {
            clauses.push(format!("#{name} = :{name}"));
            update = update
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), value);
        }
        let update = match profile.revision {
            0 => update.condition_expression("attribute_not_exists(pk)"),
            read => update.condition_expression("#revision = :read").expression_attribute_values(":read", number(read)),
        };
        let update = update.update_expression(format!("SET {}", clauses.join(", ")));
        update.build().expect("table, key and expression are set")
    }

    async fn send(
        &self,
        transaction: &Transaction,
        deadline: Deadline,
    ) -> Result<(), CallError<TransactWriteItemsError>> {
        let request = self
            .dynamodb
            .transact_write_items()
            .client_request_token(&transaction.token)
            .set_transact_items(Some(transaction.writes.clone()));
        let sent = call(deadline, TRANSACTION, |timeouts| {
            request.customize().config_override(Store::timeouts(timeouts)).send()
        });
        sent.await.map(drop)
    }
}

/// The alerts that `scored` raises, as rows.
fn raise(scored: &Scored, at: OffsetDateTime) -> Vec<Alert> {
    scored.outcome.alerts.iter().map(|fired| Alert::raise(&scored.submission, fired, at)).collect()
}

/// A transaction that can be sent again as it is.
struct Transaction {
    token: String,
    writes: Vec<TransactWriteItem>,
    /// What each write is, in their order.
    parts: Vec<Part>,
}

#[derive(Clone, Copy)]
enum Part {
    Submission(usize),
    Alert(usize),
    Profile,
    Counter,
}

/// What the reasons of a cancelled transaction say.
struct Cancelled {
    settled: BTreeMap<usize, Commit>,
    rest: Rest,
}

/// What to do with the members that are not settled.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// Prepare again, without those that are settled and on the profiles as they are now.
    Again,
    /// Wait, then prepare again, or split.
    Contended,
    /// Nothing helps.
    Refused,
}

impl Transaction {
    fn read_reasons(&self, reasons: &[CancellationReason], members: &[(usize, &Scored)]) -> Cancelled {
        let mut settled = BTreeMap::new();
        // Without any reason it is as if there were a conflict: wait, and see.
        let mut rest = if reasons.len() == self.parts.len() { Rest::Again } else { Rest::Contended };
        let mut explained = false;
        for (reason, &part) in reasons.iter().zip(&self.parts) {
            let code = reason.code().unwrap_or("None");
            if code == "None" {
                continue;
            }
            explained = true;
            match (part, code) {
                (Part::Submission(index), "ConditionalCheckFailed") => {
                    settled.insert(index, scored_before(reason));
                }
                // The row of an alert on a submission that is not scored: nothing here writes such a thing.
                (Part::Alert(index), "ConditionalCheckFailed") => {
                    settled.entry(index).or_insert(Commit::Never("its alert is there, and its score is not"));
                }
                (Part::Profile, "ConditionalCheckFailed") => {}
                (Part::Submission(index) | Part::Alert(index), "ValidationError" | "ItemSizeLimitExceeded") => {
                    settled.entry(index).or_insert(Commit::Never("the store does not take its score"));
                }
                (_, code) if is_passing(code) => rest = rest.max(Rest::Contended),
                _ => rest = Rest::Refused,
            }
        }
        if !explained {
            rest = rest.max(Rest::Contended);
        }
        debug_assert!(settled.keys().all(|settled| members.iter().any(|(index, _)| index == settled)));
        Cancelled { settled, rest }
    }
}

/// The submission's own condition failed: it was scored before, or it is not there at all.
fn scored_before(reason: &CancellationReason) -> Commit {
    match reason.item().filter(|item| !item.is_empty()) {
        None => Commit::Never("it is not in the table"),
        Some(item) => match Score::from_item(item) {
            Ok(Some(score)) => Commit::AlreadyScored(score.alerts.into_iter().map(|(_, rule)| rule).collect()),
            Ok(None) | Err(_) => Commit::Never("its stored score cannot be read"),
        },
    }
}

/// The idempotency token: the same for the same content, so that an attempt whose answer was lost is recognised.
fn token(members: &[(usize, &Scored)], profiles: &[(PatientId, u64)], at: OffsetDateTime) -> String {
    let mut parts: Vec<String> = vec![at.unix_timestamp_nanos().to_string()];
    for (_, Scored { submission, outcome }) in members {
        parts.push(submission.patient.as_str().to_owned());
        parts.push(submission.id.to_string());
        parts.push(submission.nonce.to_string());
        parts.push(serde_json::to_string(&outcome.scores).expect("scores are names and numbers"));
        parts.extend(outcome.alerts.iter().map(|fired| fired.rule.as_str().to_owned()));
    }
    for (patient, revision) in profiles {
        parts.push(format!("{}@{revision}", patient.as_str()));
    }
    // A token has at most 36 characters.
    hex(&sha256(parts.iter().map(String::as_bytes))[..18])
}

/// `wait`, shortened to between half and all of it: differently for each chunk, so that two that met do not meet again.
fn jittered(wait: Duration, members: &[(usize, &Scored)], attempt: u32) -> Duration {
    let first = members.first().map(|(_, scored)| scored.submission.id.to_string()).unwrap_or_default();
    let [byte, ..] = sha256([first.as_bytes(), attempt.to_be_bytes().as_slice(), &wait.as_nanos().to_be_bytes()]);
    wait / 2 + wait * u32::from(byte) / 512
}
