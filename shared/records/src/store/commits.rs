//! The transaction that scores: each submission's score, its alerts, its patient's profile and its site's counts, all
//! or nothing, so that an alert and a count are stored exactly when the score is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use clinical::ids::{PatientId, RuleId, SiteId};
use clinical::instruments::Outcome;
use invocation::aws::{CallError, Failure, FailureKind, Limits};
use invocation::{Deadline, metrics};
use time::OffsetDateTime;

use super::Store;
use crate::items::alert::{Alert, AlertId};
use crate::items::counts::CountsAdded;
use crate::items::profile::Profile;
use crate::items::score::Score;
use crate::items::submission::Submission;
use crate::table::attributes::{Item, Unreadable, instant};
use crate::table::calls::{TRANSACTION_WRITES, batch_get, put_if_absent, put_revision, send};
use crate::table::digest::token;
use crate::table::keys::PK;

pub(crate) mod chunk;
pub(crate) mod transaction;

use chunk::{Chunk, ChunkOutcome, ToScore};
use transaction::{Cancelled, Commit, Evaluated, Found, Part, Rest, Transaction, found, token_parts};

const OPERATION: &str = "TransactWriteItems of scores";
pub(super) const TRANSACTION: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };
/// The submission is stored and has no score yet.
const NOT_SCORED: &str = "attribute_exists(pk) AND attribute_not_exists(scored_at)";
/// The number of transient failures after which a chunk is returned, so that it delays no other.
const ATTEMPTS_AT_ONCE: u32 = 2;

impl Store {
    /// Commits `chunk`, whose submissions differ and are of one site, as scored at `at`: in one transaction, on the
    /// current profiles. Returns the settled submissions and the chunks that are to be committed again.
    ///
    /// A submission that was scored before is left out and not counted again. A chunk that raises more alerts than a
    /// transaction takes is returned in halves. After a permanent failure the chunk is
    /// split in halves, so that one bad submission does not affect the others. While the outcome of an attempt is
    /// unknown, the same transaction is sent again under the same token; after that, and after the token's ten minutes,
    /// the conditions hold.
    pub async fn commit<'a, T>(
        &self,
        mut chunk: Chunk<'a, T>,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> ChunkOutcome<'a, T> {
        let mut settled = Vec::new();
        let mut reevaluate = BTreeSet::new();
        let mut attempts = 0;
        let mut unsettled = chunk.unsettled.take();
        while !chunk.members.is_empty() {
            let transaction = match unsettled.take() {
                Some(transaction) => transaction,
                None => match self.prepare(&chunk.members, at, deadline).await {
                    Ok(transaction) => transaction,
                    Err(NotPrepared::Never(commits)) if !commits.is_empty() => {
                        chunk.settle(commits, &mut settled);
                        continue;
                    }
                    Err(NotPrepared::Never(_)) => {
                        let failure = Failure::unreadable(OPERATION, "it returned an item that was not requested");
                        chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                        break;
                    }
                    Err(NotPrepared::Failed(failure)) => {
                        chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                        break;
                    }
                },
            };
            if transaction.parts.len() > TRANSACTION_WRITES && chunk.members.len() > 1 {
                return ChunkOutcome { settled, rest: chunk.halves(), reevaluate };
            }
            let writes = self.writes(&transaction, &chunk.members);
            let failure = match self.transact(&transaction.token, writes, deadline).await {
                Ok(()) => {
                    transaction.report();
                    reevaluate.extend(transaction.reevaluate());
                    let committed = |(_, raised)| Commit::Committed(raised);
                    chunk.settle(transaction.scored.into_iter().map(committed).enumerate().collect(), &mut settled);
                    break;
                }
                Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                    let Cancelled { mut commits, mut amended, to_read, rest } =
                        transaction.cancelled(&cancelled.cancellation_reasons.unwrap_or_default());
                    if rest == Rest::Contended {
                        metrics::report(metrics::TRANSACTION_CONFLICTS, 1);
                    }
                    match self.found(&chunk.members, &to_read, deadline).await {
                        Ok(found) => {
                            for (index, found) in found {
                                match found {
                                    Found::Settled(commit) => drop(commits.insert(index, commit)),
                                    Found::Amended(by) => drop(amended.insert(index, by)),
                                    // No transaction writes an alert without the score.
                                    Found::NotScored => {
                                        let never = Commit::Never("its alert is stored without its score");
                                        commits.insert(index, never);
                                    }
                                }
                            }
                        }
                        Err(failure) => {
                            chunk.settle(commits, &mut settled);
                            chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                            break;
                        }
                    }
                    for (index, by) in amended {
                        if let Some((_, to_score)) = chunk.members.get_mut(index) {
                            to_score.submission.amended_by = Some(by);
                        }
                    }
                    // The invocation that scored them may have ended before the patients' courses were evaluated again.
                    if !commits.is_empty() {
                        reevaluate.extend(transaction.reevaluate());
                    }
                    chunk.settle(commits, &mut settled);
                    match rest {
                        Rest::Again => continue,
                        Rest::Contended => Failure::transient(OPERATION, "other transactions conflicted with it"),
                        Rest::Refused => Failure::unreadable(OPERATION, "it was cancelled for a permanent reason"),
                        Rest::Invalid => Failure::invalid(OPERATION, "DynamoDB does not accept its content"),
                    }
                }
                Err(error) => {
                    let failure = error.into_failure(OPERATION);
                    if failure.kind == FailureKind::Unknown || failure.kind == FailureKind::Transient {
                        unsettled = Some(transaction);
                    }
                    failure
                }
            };
            match failure.kind {
                FailureKind::Refused if chunk.members.len() > 1 => {
                    return ChunkOutcome { settled, rest: chunk.halves(), reevaluate };
                }
                FailureKind::Refused if failure.is_invalid() => {
                    chunk.settle_all(|| Commit::Never("DynamoDB does not accept its score"), &mut settled);
                }
                FailureKind::Refused | FailureKind::NotStarted => {
                    chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                }
                FailureKind::Unknown | FailureKind::Transient => {
                    if !chunk.backoff.wait(deadline, TRANSACTION.least).await {
                        chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                        break;
                    }
                    attempts += 1;
                    if attempts >= ATTEMPTS_AT_ONCE {
                        let contended = unsettled.is_none();
                        let rest = if contended { chunk.halves() } else { vec![Chunk { unsettled, ..chunk }] };
                        return ChunkOutcome { settled, rest, reevaluate };
                    }
                }
            }
        }
        ChunkOutcome { settled, rest: Vec::new(), reevaluate }
    }

    /// The states of the submissions of those `members` that have an index in `to_read`.
    async fn found<T>(
        &self,
        members: &[(T, ToScore<'_>)],
        to_read: &BTreeSet<usize>,
        deadline: Deadline,
    ) -> Result<BTreeMap<usize, Found>, Failure> {
        if to_read.is_empty() {
            return Ok(BTreeMap::new());
        }
        let key = |index: &usize| members[*index].1.submission.key();
        let keys = to_read.iter().map(key).collect();
        let items =
            batch_get(&self.dynamodb, &self.tables.records, keys, "BatchGetItem of submissions", deadline).await?;
        let of = |key: &Item| items.iter().find(|item| key.iter().all(|(name, value)| item.get(name) == Some(value)));
        Ok(to_read.iter().map(|index| (*index, found(of(&key(index))))).collect())
    }

    /// What commits `members` on the current profiles.
    async fn prepare<T>(
        &self,
        members: &[(T, ToScore<'_>)],
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Transaction, NotPrepared> {
        let mut profiles = self.profiles(members, deadline).await?;
        let mut content = vec![at.unix_timestamp_nanos().to_string()];
        content.extend(profiles.values().map(|profile| format!("{}@{}", profile.patient.as_str(), profile.revision)));
        let mut never = BTreeMap::new();
        let mut counted = CountsAdded::default();
        let mut evaluated = Evaluated::default();
        let mut site_entries = BTreeSet::new();
        let (mut scored, mut parts) = (Vec::new(), Vec::new());
        for (index, (_, to_score)) in members.iter().enumerate() {
            let submission = &to_score.submission;
            let profile = profiles.entry(submission.patient.clone()).or_insert_with(|| Profile::before(submission));
            if profile.site != submission.site {
                // The index has the profile at one of them only, and the reports of both need the patient.
                let entry = |site: &SiteId| (submission.patient.clone(), site.clone());
                site_entries.extend([entry(&profile.site), entry(&submission.site)]);
            }
            let Some((outcome, raised)) = to_score.evaluate(profile, at) else {
                never.insert(index, Commit::Never("its answers do not fit the instrument that it names"));
                continue;
            };
            counted.add(submission, raised.len() as u64);
            evaluated.add(&outcome, profile.marked_since().is_some());
            content.extend(token_parts(submission, &outcome));
            parts.push(Part::Submission(index));
            parts.extend(raised.iter().map(|_| Part::Alert(index)));
            scored.push((outcome, raised));
        }
        if !never.is_empty() {
            return Err(NotPrepared::Never(never));
        }
        parts.extend(profiles.iter().map(|_| Part::Profile));
        parts.extend(site_entries.iter().map(|_| Part::SiteEntry));
        parts.push(Part::Counter);
        let token = token(content.iter().map(String::as_bytes));
        let profiles = profiles.into_values().collect();
        Ok(Transaction { token, at, scored, profiles, site_entries, counted, parts, evaluated })
    }

    /// The writes of `transaction`, which was prepared for `members`: the same each time, in the order of its parts.
    /// They are made for each attempt, because most need one only, and the SDK takes them.
    fn writes<T>(&self, transaction: &Transaction, members: &[(T, ToScore<'_>)]) -> Vec<TransactWriteItem> {
        let mut writes = Vec::with_capacity(transaction.parts.len());
        for ((_, ToScore { submission, .. }), (outcome, raised)) in members.iter().zip(&transaction.scored) {
            let score = self.set_score(submission, outcome, raised, transaction.at);
            writes.push(TransactWriteItem::builder().update(score).build());
            writes.extend(raised.iter().map(|alert| self.put_alert(alert)));
        }
        writes.extend(transaction.profiles.iter().map(|profile| self.put_profile(profile)));
        if let Some((_, ToScore { submission: first, .. })) = members.first() {
            let entries = transaction.site_entries.iter();
            writes.extend(entries.map(|(patient, site)| self.put_site_entry(&first.study, patient, site)));
            writes.push(self.add_counts(&transaction.counted, &first.study, &first.site, &first.id.to_string()));
        }
        writes
    }

    /// The profile of each patient among `members`, as stored or as before the first submission.
    async fn profiles<T>(
        &self,
        members: &[(T, ToScore<'_>)],
        deadline: Deadline,
    ) -> Result<BTreeMap<PatientId, Profile>, NotPrepared> {
        let mut profiles: BTreeMap<PatientId, Profile> = members
            .iter()
            .map(|(_, to_score)| (to_score.submission.patient.clone(), Profile::before(&to_score.submission)))
            .collect();
        let keys = profiles.values().map(|profile| profile.key()).collect();
        let items = batch_get(&self.dynamodb, &self.tables.records, keys, "BatchGetItem of profiles", deadline).await?;
        for item in items {
            match Profile::from_item(&item) {
                Ok(profile) => {
                    profiles.insert(profile.patient.clone(), profile);
                }
                Err(Unreadable { .. }) => {
                    let is_of_patient = |submission: &Submission| submission.key().get(PK) == item.get(PK);
                    let never = || Commit::Never("its patient's profile cannot be read");
                    let of_patient =
                        members.iter().enumerate().filter(|(_, (_, to_score))| is_of_patient(&to_score.submission));
                    return Err(NotPrepared::Never(of_patient.map(|(index, _)| (index, never())).collect()));
                }
            }
        }
        Ok(profiles)
    }

    fn set_score(&self, submission: &Submission, outcome: &Outcome, alerts: &[Alert], at: OffsetDateTime) -> Update {
        let raised: Vec<(AlertId, RuleId)> = alerts.iter().map(|alert| (alert.id, alert.rule.clone())).collect();
        let score = Score::of(outcome, submission, at, raised);
        Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(submission.key()))
            .update_expression("SET score = :score, scored_at = :at REMOVE pending, pending_since")
            .condition_expression(match submission.amended_by {
                None => format!("{NOT_SCORED} AND attribute_not_exists(amended_by)"),
                Some(_) => NOT_SCORED.to_owned(),
            })
            .expression_attribute_values(":score", score.to_attribute())
            .expression_attribute_values(":at", instant(at))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .expect("table, key and expression are set")
    }

    /// The write that stores a new `alert`.
    pub(super) fn put_alert(&self, alert: &Alert) -> TransactWriteItem {
        TransactWriteItem::builder().put(put_if_absent(&self.tables.records, alert.to_item())).build()
    }

    /// The write of `profile`, on condition that it still has the revision that was read.
    pub(super) fn put_profile(&self, profile: &Profile) -> TransactWriteItem {
        put_revision(&self.tables.records, profile.to_item(), profile.revision)
    }

    /// Sends `writes` as one transaction under `token`.
    pub(super) async fn transact(
        &self,
        token: &str,
        writes: Vec<TransactWriteItem>,
        deadline: Deadline,
    ) -> Result<(), CallError<TransactWriteItemsError>> {
        let request = self.dynamodb.transact_write_items().client_request_token(token).set_transact_items(Some(writes));
        send(request, deadline, TRANSACTION).await.map(drop)
    }
}

/// Why a transaction could not be prepared.
enum NotPrepared {
    /// These members can never be in one.
    Never(BTreeMap<usize, Commit>),
    /// The profiles could not be read.
    Failed(Failure),
}

impl From<Failure> for NotPrepared {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
