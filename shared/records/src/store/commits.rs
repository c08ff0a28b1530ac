//! The transaction that scores: each submission's score, its alerts, its patient's profile and its site's counts, all or
//! nothing, so that a count and an alert are there exactly when the score is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{CancellationReason, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};
use clinical::ids::{PatientId, RuleId, StudyId, SubmissionId};
use clinical::instruments::{Instrument, Outcome};
use clinical::studies::{Protocol, Study};
use invocation::Deadline;
use invocation::aws::{CallError, Failure, FailureKind, Limits, call, is_passing};
use time::OffsetDateTime;

use crate::items::alert::{Alert, AlertId};
use crate::table::attributes::{Reader, Unreadable, instant, number};
use crate::store::counts::Addition;
use crate::table::digest::{hex, sha256};
use crate::table::keys::PK;
use crate::items::profile::{Evaluation, Profile};
use crate::store::{NOT_THERE, Store};
use crate::items::submission::{Score, Submission};

const OPERATION: &str = "TransactWriteItems of scores";
const TRANSACTION: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };
/// What one TransactWriteItems takes.
const MOST_WRITES: usize = 100;
/// And as many bytes, those that lie in the items already included; it takes 4 MB.
const MOST_BYTES: usize = 3_000_000;
/// More submissions in one transaction save round trips; fewer meet fewer conflicts.
const MOST_SUBMISSIONS: usize = 25;
/// The counter of the site, which every chunk writes.
const COUNTER_WRITES: usize = 1;
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// The submission is there, and has no score yet.
const NOT_SCORED: &str = "attribute_exists(pk) AND attribute_not_exists(scored_at)";
/// After as many failures that may pass, a chunk is given back, so that it holds up no other.
const ATTEMPTS_AT_ONCE: u32 = 2;

/// A submission that is to be scored, with the definition that it names.
#[derive(Clone, Debug)]
pub struct ToScore<'a> {
    /// The submission.
    pub submission: Submission,
    /// Its instrument, in the version that it names, under the alert rules of the study's version that it names.
    pub instrument: &'a Instrument,
    /// That version of the study.
    pub protocol: &'a Protocol,
}

/// Submissions that are committed together. Each may bring something along that its owner keeps with it.
#[derive(Debug)]
pub struct Chunk<'a, T> {
    members: Vec<(T, ToScore<'a>)>,
    /// How often it has failed so far, for a reason that may pass.
    tries: u32,
    /// The transaction whose outcome is not known: it is sent again as it is.
    unsettled: Option<Transaction>,
}

/// What became of a chunk.
#[derive(Debug)]
pub struct Progress<'a, T> {
    /// What is settled, in no order that matters.
    pub settled: Vec<(T, ToScore<'a>, Commit)>,
    /// What is still to be committed.
    pub rest: Vec<Chunk<'a, T>>,
    /// The patients whose courses wait for [`Store::reevaluate`].
    pub reevaluate: BTreeSet<(StudyId, PatientId)>,
}

/// What became of one submission.
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

/// `submissions`, in order, in chunks that each fit into one transaction.
pub fn chunks<T>(submissions: Vec<(T, ToScore<'_>)>) -> Vec<Chunk<'_, T>> {
    let mut chunks: Vec<Chunk<'_, T>> = Vec::new();
    let (mut writes, mut bytes) = (0, 0);
    for one in submissions {
        let (its_writes, its_bytes) = (one.1.most_writes(), one.1.submission.bytes());
        match chunks.last_mut() {
            Some(chunk)
                if chunk.members.len() < MOST_SUBMISSIONS
                    && writes + its_writes <= MOST_WRITES
                    && bytes + its_bytes <= MOST_BYTES =>
            {
                writes += its_writes;
                bytes += its_bytes;
                chunk.members.push(one);
            }
            _ => {
                writes = COUNTER_WRITES + its_writes;
                bytes = its_bytes;
                chunks.push(Chunk { members: vec![one], tries: 0, unsettled: None });
            }
        }
    }
    chunks
}

impl ToScore<'_> {
    /// Evaluates the submission on `profile`, which it is added to, and returns the outcome with the alerts that it raises;
    /// `None` if its answers do not fit.
    fn evaluate(&self, profile: &mut Profile, at: OffsetDateTime) -> Option<(Outcome, Vec<Alert>)> {
        let Self { submission, instrument, protocol } = self;
        let evaluation = profile.evaluation(submission, instrument);
        let history = profile.history(instrument, evaluation);
        let mut outcome = instrument.assess_with(&submission.answers, &history).ok()?;
        if evaluation == Evaluation::Amended {
            (outcome.alerts, outcome.not_evaluated) = (Vec::new(), Vec::new());
        }
        let in_study = submission.is_in_study(protocol);
        let raised = profile.add(submission, instrument, &outcome, evaluation, in_study, at);
        Some((outcome, raised))
    }

    fn most_writes(&self) -> usize {
        // Its score, its patient's profile, and for each rule an alert and where it lies.
        2 + 2 * self.instrument.rules().len()
    }
}

impl<'a, T> Chunk<'a, T> {
    /// This chunk to be tried again: in halves if it has more than one member.
    fn halves(mut self) -> Vec<Self> {
        if self.members.len() < 2 {
            return vec![self];
        }
        let second = self.members.split_off(self.members.len() / 2);
        [self.members, second].map(|members| Self { members, tries: self.tries, unsettled: None }).into()
    }

    /// Takes out the members at `commits`, settled as it says.
    fn settle(&mut self, mut commits: BTreeMap<usize, Commit>, settled: &mut Vec<(T, ToScore<'a>, Commit)>) {
        let members = std::mem::take(&mut self.members);
        for (index, (its, to_score)) in members.into_iter().enumerate() {
            match commits.remove(&index) {
                Some(commit) => settled.push((its, to_score, commit)),
                None => self.members.push((its, to_score)),
            }
        }
    }

    /// Settles all that are left alike.
    fn settle_all(&mut self, commit: impl Fn() -> Commit, settled: &mut Vec<(T, ToScore<'a>, Commit)>) {
        settled.extend(self.members.drain(..).map(|(its, to_score)| (its, to_score, commit())));
    }

    /// How long to wait before the next try: longer each time, and differently for each chunk, so that two that met do not
    /// meet again.
    fn pause(&self) -> Duration {
        let wait = (FIRST_WAIT * 2_u32.pow(self.tries.min(6))).min(LONGEST_WAIT);
        let first = self.members.first().map(|(_, to_score)| to_score.submission.id.to_string()).unwrap_or_default();
        let [byte, ..] = sha256([first.as_bytes(), self.tries.to_be_bytes().as_slice()]);
        wait / 2 + wait * u32::from(byte) / 512
    }
}

impl Store {
    /// Commits `chunk`, whose submissions differ and are of one site, as scored at `at`: in one transaction, on the
    /// profiles as they are. Says what is settled, and gives back what is to be tried again.
    ///
    /// What was scored before is left out, and counted no second time. What fails for a reason that stays is tried in
    /// halves, so that one bad member spoils no other. While the outcome of an attempt is unknown it sends the very same
    /// transaction again, under the same token; past that, and past the token's ten minutes, the conditions hold.
    pub async fn commit<'a, T>(
        &self,
        mut chunk: Chunk<'a, T>,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Progress<'a, T> {
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
                        let failure = Failure::unreadable(OPERATION, "an item came back that nobody asked for");
                        chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                        break;
                    }
                    Err(NotPrepared::Failed(failure)) => {
                        chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                        break;
                    }
                },
            };
            let failure = match self.send(&transaction.token, &transaction.writes, deadline).await {
                Ok(()) => {
                    reevaluate.extend(transaction.reevaluate);
                    let committed = |alerts| Commit::Committed(alerts);
                    chunk.settle(transaction.alerts.into_iter().map(committed).enumerate().collect(), &mut settled);
                    break;
                }
                Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled))) => {
                    let Cancelled { commits, amended, rest } =
                        transaction.read(&cancelled.cancellation_reasons.unwrap_or_default());
                    for (index, by) in amended {
                        if let Some((_, to_score)) = chunk.members.get_mut(index) {
                            to_score.submission.amended_by = Some(by);
                        }
                    }
                    // Who scored them before may have died before the patients' courses were evaluated again.
                    if !commits.is_empty() {
                        reevaluate.extend(transaction.reevaluate);
                    }
                    chunk.settle(commits, &mut settled);
                    match rest {
                        Rest::Again => continue,
                        Rest::Contended => Failure::passing(OPERATION, "other transactions were in its way"),
                        Rest::Refused => Failure::unreadable(OPERATION, "it was cancelled for a reason that will stay"),
                        Rest::Invalid => Failure::invalid(OPERATION, "it holds what the store does not take"),
                    }
                }
                Err(error) => {
                    let failure = error.of(OPERATION);
                    if failure.kind == FailureKind::Unknown || failure.kind == FailureKind::Passing {
                        unsettled = Some(transaction);
                    }
                    failure
                }
            };
            match failure.kind {
                FailureKind::Refused if chunk.members.len() > 1 => {
                    return Progress { settled, rest: chunk.halves(), reevaluate };
                }
                FailureKind::Refused if failure.is_invalid() => {
                    chunk.settle_all(|| Commit::Never("the store does not take its score"), &mut settled);
                }
                FailureKind::Refused | FailureKind::NotStarted => {
                    chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                }
                FailureKind::Unknown | FailureKind::Passing => {
                    let pause = chunk.pause();
                    if deadline.clamp(pause, pause + TRANSACTION.least).is_none() {
                        chunk.settle_all(|| Commit::Failed(failure.clone()), &mut settled);
                        break;
                    }
                    tokio::time::sleep(pause).await;
                    chunk.tries += 1;
                    attempts += 1;
                    if attempts >= ATTEMPTS_AT_ONCE {
                        let contended = unsettled.is_none();
                        let rest = if contended { chunk.halves() } else { vec![Chunk { unsettled, ..chunk }] };
                        return Progress { settled, rest, reevaluate };
                    }
                }
            }
        }
        Progress { settled, rest: Vec::new(), reevaluate }
    }

    /// The transaction that commits `members`, on the profiles as they are now.
    async fn prepare<T>(
        &self,
        members: &[(T, ToScore<'_>)],
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Transaction, NotPrepared> {
        let Some((_, ToScore { submission: first, .. })) = members.first() else {
            return Err(NotPrepared::Never(BTreeMap::new()));
        };
        let mut profiles = self.profiles(members, deadline).await?;
        let mut content = vec![at.unix_timestamp_nanos().to_string()];
        content.extend(profiles.values().map(|profile| format!("{}@{}", profile.patient.as_str(), profile.revision)));
        let mut never = BTreeMap::new();
        let mut addition = Addition::default();
        let (mut writes, mut parts, mut alerts) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (_, to_score)) in members.iter().enumerate() {
            let ToScore { submission, protocol, .. } = to_score;
            let profile = profiles.entry(submission.patient.clone()).or_insert_with(|| Profile::before(submission));
            let Some((outcome, raised)) = to_score.evaluate(profile, at) else {
                never.insert(index, Commit::Never("its answers do not fit the instrument that it names"));
                continue;
            };
            addition.take_in(&submission.instrument.id, raised.len() as u64);
            content.extend(token_parts(submission, &outcome));
            let score = TransactWriteItem::builder().update(self.set_score(
                submission,
                protocol.study(),
                &outcome,
                &raised,
                at,
            ));
            writes.push(score.build());
            parts.push(Part::Submission(index));
            for write in raised.iter().flat_map(|alert| self.put_alert(alert)) {
                writes.push(write);
                parts.push(Part::Alert(index));
            }
            alerts.push(raised);
        }
        if !never.is_empty() {
            return Err(NotPrepared::Never(never));
        }
        for profile in profiles.values() {
            writes.push(TransactWriteItem::builder().update(self.set_profile(profile)).build());
            parts.push(Part::Profile);
        }
        let counter = addition.update(&self.tables.counts, &first.study, &first.site, &first.id.to_string());
        writes.push(TransactWriteItem::builder().update(counter).build());
        parts.push(Part::Counter);
        let token = token(&content);
        let marked = profiles.into_values().filter(|profile| profile.reevaluate.is_some());
        let reevaluate = marked.map(|profile| (profile.study, profile.patient)).collect();
        Ok(Transaction { token, writes, parts, alerts, reevaluate })
    }

    /// The profile of each patient among `members`, as stored or before its first submission.
    async fn profiles<T>(
        &self,
        members: &[(T, ToScore<'_>)],
        deadline: Deadline,
    ) -> Result<BTreeMap<PatientId, Profile>, NotPrepared> {
        let mut profiles: BTreeMap<PatientId, Profile> = members
            .iter()
            .map(|(_, to_score)| (to_score.submission.patient.clone(), Profile::before(&to_score.submission)))
            .collect();
        let keys = profiles.values().map(|profile| Profile::key(&profile.study, &profile.patient)).collect();
        let items = self.get_all(&self.tables.records, keys, "BatchGetItem of profiles", deadline).await?;
        for item in items {
            match Profile::from_item(&item) {
                Ok(profile) => {
                    profiles.insert(profile.patient.clone(), profile);
                }
                Err(Unreadable { .. }) => {
                    let its = |submission: &Submission| submission.key().get(PK) == item.get(PK);
                    let theirs = members.iter().enumerate().filter(|(_, (_, to_score))| its(&to_score.submission));
                    let never = |(index, _)| (index, Commit::Never("its patient's profile cannot be read"));
                    return Err(NotPrepared::Never(theirs.map(never).collect()));
                }
            }
        }
        Ok(profiles)
    }

    fn set_score(
        &self,
        submission: &Submission,
        study: Option<&Study>,
        outcome: &Outcome,
        alerts: &[Alert],
        at: OffsetDateTime,
    ) -> Update {
        let raised: Vec<(AlertId, RuleId)> = alerts.iter().map(|alert| (alert.id, alert.rule.clone())).collect();
        let score = Score::of(outcome, submission, study, at, raised);
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

    /// The writes that store a new `alert`.
    pub(crate) fn put_alert(&self, alert: &Alert) -> [TransactWriteItem; 2] {
        [alert.to_item(), alert.to_pointer()].map(|item| TransactWriteItem::builder().put(self.put_new(item)).build())
    }

    /// The write of `profile`, on the revision that was read.
    pub(crate) fn set_profile(&self, profile: &Profile) -> Update {
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
            0 => update.condition_expression(NOT_THERE),
            read => update.condition_expression("#revision = :read").expression_attribute_values(":read", number(read)),
        };
        let mut expression = format!("SET {}", clauses.join(", "));
        if profile.reevaluate.is_none() {
            expression.push_str(&format!(" REMOVE {}", Profile::UNLESS_MARKED.join(", ")));
        }
        let update = update.update_expression(expression);
        update.build().expect("table, key and expression are set")
    }

    /// Sends `writes` as one transaction under `token`.
    pub(crate) async fn send(
        &self,
        token: &str,
        writes: &[TransactWriteItem],
        deadline: Deadline,
    ) -> Result<(), CallError<TransactWriteItemsError>> {
        let request =
            self.dynamodb.transact_write_items().client_request_token(token).set_transact_items(Some(writes.to_vec()));
        let sent = call(deadline, TRANSACTION, |timeouts| {
            request.customize().config_override(Store::timeouts(timeouts)).send()
        });
        sent.await.map(drop)
    }
}

/// A transaction that can be sent again as it is.
struct Transaction {
    token: String,
    writes: Vec<TransactWriteItem>,
    /// What each write is, in their order.
    parts: Vec<Part>,
    /// The alerts of each member, in their order.
    alerts: Vec<Vec<Alert>>,
    /// The patients whose courses wait for a replay.
    reevaluate: Vec<(StudyId, PatientId)>,
}

/// What the reasons of a cancelled transaction say.
struct Cancelled {
    /// The members that are settled.
    commits: BTreeMap<usize, Commit>,
    /// The members of which a correction is stored, and which one.
    amended: BTreeMap<usize, SubmissionId>,
    /// What to do with the members that are not settled.
    rest: Rest,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("token", &self.token).finish_non_exhaustive()
    }
}

/// Why there is no transaction.
enum NotPrepared {
    /// These can never be in one.
    Never(BTreeMap<usize, Commit>),
    /// What it needs could not be read.
    Failed(Failure),
}

impl From<Failure> for NotPrepared {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What a write is for: a member by its place, or all of them.
#[derive(Clone, Copy)]
enum Part {
    Submission(usize),
    Alert(usize),
    Profile,
    Counter,
}

/// What to do with the members that a cancelled transaction did not settle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rest {
    /// Prepare again, without those that are settled and on the profiles as they are now.
    Again,
    /// Wait, then prepare again.
    Contended,
    /// Waiting does not help.
    Refused,
    /// Nor does anything else: the store does not take what it holds.
    Invalid,
}

impl Transaction {
    /// What the reasons of its cancellation say.
    fn read(&self, reasons: &[CancellationReason]) -> Cancelled {
        let mut settled = BTreeMap::new();
        let mut amended = BTreeMap::new();
        let mut rest = Rest::Again;
        let mut explained = false;
        for (reason, &part) in reasons.iter().zip(&self.parts) {
            let code = reason.code().unwrap_or("None");
            if code == "None" {
                continue;
            }
            explained = true;
            match (part, code) {
                (Part::Submission(index), "ConditionalCheckFailed") => match found(reason) {
                    Found::Settled(commit) => {
                        settled.insert(index, commit);
                    }
                    Found::Amended(by) => {
                        amended.insert(index, by);
                    }
                },
                // The row of an alert on a submission that is not scored: nothing here writes such a thing.
                (Part::Alert(index), "ConditionalCheckFailed") => {
                    settled.entry(index).or_insert(Commit::Never("its alert is there, and its score is not"));
                }
                (Part::Profile, "ConditionalCheckFailed") => {}
                (_, code) if is_passing(code) => rest = rest.max(Rest::Contended),
                (_, "ValidationError") => rest = Rest::Invalid,
                _ => rest = rest.max(Rest::Refused),
            }
        }
        // Without any reason it is as if there were a conflict: wait, and see.
        if !explained {
            rest = Rest::Contended;
        }
        Cancelled { commits: settled, amended, rest }
    }
}

/// What a submission's own condition found.
enum Found {
    Settled(Commit),
    /// No score yet, and a correction that was stored meanwhile.
    Amended(SubmissionId),
}

/// The submission's own condition failed: it was scored before, or corrected, or it is not there at all.
fn found(reason: &CancellationReason) -> Found {
    let Some(item) = reason.item().filter(|item| !item.is_empty()) else {
        return Found::Settled(Commit::Never("it is not in the table"));
    };
    match (Score::from_item(item), Reader(item).optional_parsed("amended_by")) {
        (Ok(Some(score)), _) => {
            Found::Settled(Commit::AlreadyScored(score.alerts.into_iter().map(|(_, rule)| rule).collect()))
        }
        (Ok(None), Ok(Some(by))) => Found::Amended(by),
        (Ok(None) | Err(_), _) => Found::Settled(Commit::Never("its stored score cannot be read")),
    }
}

/// The token of a transaction with this `content`, so that an attempt whose answer was lost is recognised. It has 36
/// characters, as many as one may have.
pub(crate) fn token(content: &[String]) -> String {
    hex(&sha256(content.iter().map(String::as_bytes))[..18])
}

/// What the token takes of one member: the same for the same content.
fn token_parts(submission: &Submission, outcome: &Outcome) -> Vec<String> {
    let outcome = serde_json::to_string(outcome).expect("an outcome is names and numbers");
    vec![submission.patient.as_str().to_owned(), submission.id.to_string(), submission.nonce.to_string(), outcome]
}
