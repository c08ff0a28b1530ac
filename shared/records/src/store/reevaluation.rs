//! Evaluating a patient's courses again, where something changed below their newest points: a submission that came late, a
//! correction, or more of the past than was kept.
//!
//! All submissions of the patient that are scored are read and replayed ([`clinical::instruments::replay`]). What the replay raises
//! and is not there is raised now; alerts that it does not have are marked; the profile's courses become those of the
//! replay. Every transaction stands on the profile's revision that was read before, so that whatever is scored meanwhile
//! makes this read again, and every one leaves the mark on the profile but the last: a run that dies is resumed.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem, Update};
use clinical::ids::{PatientId, RuleId, ScoreId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{Basis, CourseId, FiredRule, NotEvaluated, Outcome, ReplayEntry, replay};
use invocation::aws::{CallError, Failure, FailureKind, Limits, call};
use invocation::{Deadline, metrics};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::items::alert::{Alert, AlertId};
use crate::table::attributes::{Item, Reader, Unreadable, from_json, text};
use crate::store::commits::token;
use crate::store::counts::Addition;
use crate::store::definitions::{NotDefined, ScoredBy};
use crate::table::digest::sha256;
use crate::table::keys::{self, SK};
use crate::items::profile::{self, NOT_YET, Profile};
use crate::store::Store;
use crate::items::submission::{self, Score, Submission};

const OPERATION: &str = "TransactWriteItems of a course";
const GET: Limits = Limits { most: Duration::from_secs(3), least: Duration::from_millis(30) };
/// As many writes as are sent in one transaction beside the profile's and the counters'; it takes 100.
const MOST_WRITES: usize = 80;
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// The rule that stands for all rules of a submission whose definition cannot be read any more.
const ALL_RULES: &str = "all";
const LOST: &str = "the definition that it was scored by cannot be read any more";
const CORRECTED: &str = "the submission was corrected before its course was evaluated";

/// What came of evaluating a patient's courses again.
#[derive(Debug, Default)]
pub struct Reevaluated {
    /// The alerts that were raised, which are to be published.
    pub raised: Vec<Alert>,
    /// Why it is not complete; a later run goes on.
    pub failure: Option<Failure>,
}

impl Store {
    /// Evaluates the courses of `patient` again, at `at`, if their profile waits for it.
    pub async fn reevaluate(
        &self,
        study: &StudyId,
        patient: &PatientId,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Reevaluated {
        let mut done = Reevaluated::default();
        let mut wait = FIRST_WAIT;
        loop {
            match self.reevaluate_once(study, patient, at, deadline, &mut done.raised).await {
                Ok(()) => return done,
                Err(failure) if matches!(failure.kind, FailureKind::Passing | FailureKind::Unknown) => {
                    if deadline.clamp(wait, wait + GET.least).is_none() {
                        done.failure = Some(failure);
                        return done;
                    }
                    let [byte, ..] = sha256([patient.as_str().as_bytes(), &wait.as_nanos().to_be_bytes()]);
                    tokio::time::sleep(wait / 2 + wait * u32::from(byte) / 512).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                Err(failure) => {
                    done.failure = Some(failure);
                    return done;
                }
            }
        }
    }

    /// One reading of the patient's records, and the writes that follow from it.
    async fn reevaluate_once(
        &self,
        study: &StudyId,
        patient: &PatientId,
        at: OffsetDateTime,
        deadline: Deadline,
        raised: &mut Vec<Alert>,
    ) -> Result<(), Failure> {
        // Before the records: what is scored between the two readings has another revision.
        let Some(mut profile) = self.profile(study, patient, deadline).await? else { return Ok(()) };
        if profile.reevaluate.is_none() {
            return Ok(());
        }
        let records = self.records_of(study, patient, deadline).await?;
        let definitions = self.definitions(records.scored.values().map(|(submission, _)| submission), deadline).await;
        if let Some(failure) = definitions.failures().next() {
            return Err(failure.clone());
        }
        let scored_by: BTreeMap<SubmissionId, Result<ScoredBy, NotDefined>> =
            records.scored.iter().map(|(id, (submission, _))| (*id, definitions.of(submission))).collect();
        let mut changes = Changes::of(&records, &scored_by, &mut profile, at);
        loop {
            let unit = changes.next_transaction();
            let last = changes.is_empty();
            profile.reevaluate = profile.reevaluate.filter(|_| !last);
            self.write_unit(&unit, &profile, deadline).await?;
            profile.revision += 1;
            raised.extend(unit.into_iter().filter_map(|change| match change {
                Change::Raise(alert) => Some(*alert),
                _ => None,
            }));
            if last {
                return Ok(());
            }
        }
    }

    /// The profile of `patient`, read consistently; none before the first score.
    async fn profile(
        &self,
        study: &StudyId,
        patient: &PatientId,
        deadline: Deadline,
    ) -> Result<Option<Profile>, Failure> {
        const OPERATION: &str = "GetItem of a profile";
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(Profile::key(study, patient)))
            .consistent_read(true);
        let sent =
            call(deadline, GET, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        let item = sent.await.map_err(|error| error.of(OPERATION))?.item;
        let profile = item.map(|item| Profile::from_item(&item)).transpose();
        profile.map_err(|_| Failure::unreadable(OPERATION, "the patient's profile cannot be read"))
    }

    /// The alerts and the scored submissions of `patient`, which lie side by side.
    async fn records_of(&self, study: &StudyId, patient: &PatientId, deadline: Deadline) -> Result<Records, Failure> {
        let query = self
            .dynamodb
            .query()
            .table_name(&self.tables.records)
            .consistent_read(true)
            .key_condition_expression("pk = :patient AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":patient", text(keys::patient(study, patient)))
            .expression_attribute_values(":first", text(keys::ALERT))
            .expression_attribute_values(":last", text("SUBMISSION#~"));
        let items = self.query(query, usize::MAX, "Query of a patient's records", deadline).await?;
        let mut records = Records::default();
        let unreadable = items.iter().filter(|item| records.add(item).is_err()).count();
        if unreadable > 0 {
            tracing::error!(event = "records_unreadable", unreadable);
            metrics::count(metrics::NOT_REEVALUATED, unreadable as u64);
        }
        Ok(records)
    }

    /// Writes `unit` and `profile` in one transaction, with what the sites' counts gain.
    async fn write_unit(&self, unit: &[Change], profile: &Profile, deadline: Deadline) -> Result<(), Failure> {
        let mut content = vec![profile.patient.as_str().to_owned(), profile.revision.to_string()];
        let mut counted: BTreeMap<&SiteId, (u64, &Alert)> = BTreeMap::new();
        let mut writes = Vec::new();
        for change in unit {
            match change {
                Change::Raise(alert) => {
                    writes.extend(self.put_alert(alert));
                    content.push(format!("{}@{}", alert.id, alert.raised_at.unix_timestamp_nanos()));
                    counted.entry(&alert.site).or_insert((0, alert)).0 += 1;
                }
                Change::Mark { key, corrected, superseded } => {
                    writes.push(TransactWriteItem::builder().update(self.mark(key, *corrected, *superseded)).build());
                    content.push(format!("{corrected}{superseded}"));
                }
                Change::Score { key, alerts, not_evaluated } => {
                    let update = self.set_evaluation(key, alerts, not_evaluated);
                    writes.push(TransactWriteItem::builder().update(update).build());
                    content.push(not_evaluated.to_string());
                }
            }
        }
        writes.push(TransactWriteItem::builder().update(self.set_profile(profile)).build());
        for (site, (alerts, first)) in counted {
            let added = Addition::of_alerts(alerts);
            let update = added.update(&self.tables.counts, &first.study, site, &first.submission.to_string());
            writes.push(TransactWriteItem::builder().update(update).build());
        }
        match self.send(&token(&content), &writes, deadline).await {
            Ok(()) => Ok(()),
            // Something was scored, acknowledged or published meanwhile: what follows from it is read.
            Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled)))
                if !cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some("ValidationError")) =>
            {
                Err(Failure::passing(OPERATION, "the patient's records changed meanwhile"))
            }
            Err(error) => Err(error.of(OPERATION)),
        }
    }

    fn mark(&self, key: &Item, corrected: bool, superseded: bool) -> Update {
        Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(key.clone()))
            .update_expression("SET corrected = :corrected, superseded = :superseded")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":corrected", AttributeValue::Bool(corrected))
            .expression_attribute_values(":superseded", AttributeValue::Bool(superseded))
            .build()
            .expect("table, key and expression are set")
    }

    fn set_evaluation(&self, key: &Item, alerts: &[(AlertId, RuleId)], not_evaluated: &Value) -> Update {
        Update::builder()
            .table_name(&self.tables.records)
            .set_key(Some(key.clone()))
            .update_expression("SET #score.#alerts = :alerts, #score.#not_evaluated = :not_evaluated")
            .condition_expression("attribute_exists(scored_at)")
            .expression_attribute_names("#score", "score")
            .expression_attribute_names("#alerts", "alerts")
            .expression_attribute_names("#not_evaluated", "not_evaluated")
            .expression_attribute_values(":alerts", Score::alerts_to_attribute(alerts))
            .expression_attribute_values(":not_evaluated", from_json(not_evaluated))
            .build()
            .expect("table, key and expression are set")
    }
}

/// What is stored of a patient.
#[derive(Default)]
struct Records {
    scored: BTreeMap<SubmissionId, (Submission, Score)>,
    /// By submission and rule. One that cannot be read is there all the same, and stays as it is.
    alerts: BTreeMap<SubmissionId, BTreeMap<RuleId, Option<Alert>>>,
}

impl Records {
    /// Adds what `item` holds.
    fn add(&mut self, item: &Item) -> Result<(), Unreadable> {
        let reader = Reader(item);
        if let Some((submission, rule)) = reader.text(SK)?.strip_prefix(keys::ALERT).and_then(|id| id.split_once('#'))
            && let (Ok(submission), Ok(rule)) = (submission.parse(), rule.parse())
        {
            let alert = Alert::from_item(item);
            let unreadable = alert.as_ref().err().cloned();
            self.alerts.entry(submission).or_default().insert(rule, alert.ok());
            return unreadable.map_or(Ok(()), Err);
        }
        match reader.text("kind")? {
            submission::KIND if item.contains_key("scored_at") => {
                let submission = Submission::from_item(item)?;
                let score = Score::from_item(item)?;
                self.scored.extend(score.map(|score| (submission.id, (submission, score))));
            }
            submission::KIND | profile::KIND => {}
            _ => return Err(crate::table::attributes::unreadable("kind", "is none of the known")),
        }
        Ok(())
    }
}

/// One write that follows from a replay.
enum Change {
    /// A new alert.
    Raise(Box<Alert>),
    /// What an alert is marked as.
    Mark { key: Item, corrected: bool, superseded: bool },
    /// The alerts of a score, and the rules that were not evaluated.
    Score { key: Item, alerts: Vec<(AlertId, RuleId)>, not_evaluated: Value },
}

/// The writes that follow from a replay, in order.
struct Changes(std::iter::Peekable<std::vec::IntoIter<Change>>);

impl Changes {
    /// What is to be written so that `records` equal their replay. `profile` becomes that of the replay.
    fn of(
        records: &Records,
        scored_by: &BTreeMap<SubmissionId, Result<ScoredBy, NotDefined>>,
        profile: &mut Profile,
        at: OffsetDateTime,
    ) -> Self {
        let entries: Vec<ReplayEntry<'_>> = records
            .scored
            .values()
            .filter_map(|(submission, score)| entry(submission, score, scored_by.get(&submission.id)?))
            .collect();
        let replayed = replay(&entries);
        let mut changes = Vec::new();
        let none = BTreeMap::new();
        for (id, (submission, score)) in &records.scored {
            let rows = records.alerts.get(id).unwrap_or(&none);
            let corrected = replayed.corrected.contains(id);
            let outcome = replayed.outcomes.get(id);
            let fired: &[FiredRule] = outcome.map_or(&[], |outcome| &outcome.alerts);
            let mut alerts = score.alerts.clone();
            for row in rows.values().flatten() {
                let superseded = match outcome {
                    Some(_) => !fired.iter().any(|fired| fired.rule == row.rule),
                    None => row.superseded && !corrected,
                };
                if (row.corrected, row.superseded) != (corrected, superseded) {
                    changes.push(Change::Mark { key: row.own_key(), corrected, superseded });
                }
                if !alerts.iter().any(|(_, rule)| *rule == row.rule) {
                    alerts.push((row.id, row.rule.clone()));
                }
            }
            for fired in fired.iter().filter(|fired| !rows.contains_key(&fired.rule)) {
                let alert = Alert { late: true, ..profile.raise(submission, fired, at) };
                alerts.push((alert.id, alert.rule.clone()));
                changes.push(Change::Raise(Box::new(alert)));
            }
            let not_evaluated = not_evaluated(score, outcome, corrected);
            if alerts != score.alerts || not_evaluated != score.not_evaluated {
                if outcome.is_none() && !corrected {
                    metrics::count(metrics::NOT_REEVALUATED, 1);
                    tracing::error!(event = "not_reevaluated", submission = %id, reason = LOST);
                }
                changes.push(Change::Score { key: submission.key(), alerts, not_evaluated });
            }
        }
        if let Some((place, last)) = replayed.last
            && let Some((submission, _)) = records.scored.get(&last)
        {
            profile.last_submission = (last, place);
            profile.site = submission.site.clone();
        }
        let looks_back = |of: &CourseId| {
            let instruments = scored_by.values().flatten().map(|by| &by.instrument);
            instruments.filter(|instrument| instrument.course() == *of).map(|one| one.looks_back()).max()
        };
        let kept = |of: &CourseId| profile.courses.get(of).map_or(0, |course| course.last.len());
        let mut courses = replayed.courses;
        for (id, course) in &mut courses {
            course.last.truncate(looks_back(id).unwrap_or_default().max(kept(id)).max(2));
        }
        profile.courses = courses;
        Self(changes.into_iter().peekable())
    }

    fn is_empty(&mut self) -> bool {
        self.0.peek().is_none()
    }

    /// As many of them as fit into one transaction.
    fn next_transaction(&mut self) -> Vec<Change> {
        let mut writes = 0;
        let mut unit = Vec::new();
        while let Some(change) = self.0.next_if(|change| writes + change.writes() <= MOST_WRITES) {
            writes += change.writes();
            unit.push(change);
        }
        unit
    }
}

impl Change {
    fn writes(&self) -> usize {
        match self {
            Self::Raise(_) => 2,
            Self::Mark { .. } | Self::Score { .. } => 1,
        }
    }
}

/// The entry of a submission in the replay. One whose definition cannot be read any more counts with its stored scores.
fn entry<'a>(
    submission: &'a Submission,
    score: &Score,
    scored_by: &'a Result<ScoredBy, NotDefined>,
) -> Option<ReplayEntry<'a>> {
    let (basis, in_study) = match scored_by {
        Ok(ScoredBy { instrument, protocol }) => {
            let basis = Basis::Answers { instrument, answers: &submission.answers };
            (basis, submission.is_in_study(protocol))
        }
        Err(_) => {
            let of = &submission.instrument;
            let course = CourseId { instrument: of.id.clone(), version: of.version.clone() };
            (Basis::Recorded { course, version: of.version.clone(), scores: stored_scores(&score.scores)? }, true)
        }
    };
    let amends = submission.amends.as_ref().map(|amendment| amendment.of);
    Some(ReplayEntry { id: submission.id, place: submission.place(), amends, in_study, basis })
}

fn stored_scores(scores: &Value) -> Option<BTreeMap<ScoreId, Decimal>> {
    let scores: Vec<clinical::instruments::Score> = serde_json::from_value(scores.clone()).ok()?;
    Some(scores.into_iter().map(|score| (score.id, score.value)).collect())
}

/// The rules of a score that are not evaluated, in the shape of the API.
fn not_evaluated(score: &Score, outcome: Option<&Outcome>, corrected: bool) -> Value {
    let json = |list: &[NotEvaluated]| serde_json::to_value(list).expect("rules and reasons are texts");
    match outcome {
        Some(outcome) => json(&outcome.not_evaluated),
        None if corrected => {
            let mut list = score.not_evaluated.clone();
            for entry in list.as_array_mut().into_iter().flatten().filter(|entry| entry["reason"] == NOT_YET) {
                entry["reason"] = json!(CORRECTED);
            }
            list
        }
        None => json!([{"rule": ALL_RULES, "reason": LOST}]),
    }
}
