//! Evaluating a patient's courses again, after a change below their newest points: a submission that arrived late, a
//! correction, or rules that look further back than the profile reached.
//!
//! All scored submissions of the patient are read and replayed ([`clinical::instruments::replay`]). Alerts that the
//! replay raises and that are not stored are raised; stored alerts that it does not raise are marked; the profile's
//! courses become those of the replay. Each transaction depends on the profile's revision that was read before, so that
//! a submission scored in the meantime makes this read again. All but the last leave the mark on the profile, so that a
//! run that ends early is resumed.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, TransactWriteItem, Update};
use clinical::ids::{PatientId, RuleId, SiteId, StudyId, SubmissionId};
use invocation::aws::{CallError, Failure, FailureKind};
use invocation::{Backoff, Deadline, metrics};
use serde_json::Value;
use time::OffsetDateTime;

use super::Store;
use super::commits::TRANSACTION;
use super::commits::transaction::report_raised;
use super::definitions::{NotDefined, ScoredBy};
use crate::items::alert::{Alert, AlertId};
use crate::items::counts::CountsAdded;
use crate::items::profile::Profile;
use crate::items::score::Score;
use crate::table::attributes::{Item, from_json};
use crate::table::calls::{GET, TRANSACTION_WRITES, send};
use crate::table::digest::token;
use crate::table::keys::PK;

mod changes;

use changes::{Change, Changes, Records, ScoreChange};

const OPERATION: &str = "TransactWriteItems of a course";
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// The result of evaluating a patient's courses again.
#[derive(Debug, Default)]
pub struct Reevaluated {
    /// The alerts that were raised and are to be published.
    pub raised: Vec<Alert>,
    /// Why it is incomplete; a later run continues. `None` if it is complete.
    pub failure: Option<Failure>,
}

impl Store {
    /// Evaluates the courses of `patient` again, at `at`, if the profile is marked for it.
    pub async fn reevaluate(
        &self,
        study: &StudyId,
        patient: &PatientId,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Reevaluated {
        let mut done = Reevaluated::default();
        let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT).jittered_by(patient.as_str());
        loop {
            match self.reevaluate_once(study, patient, at, deadline, &mut done.raised).await {
                Ok(()) => return done,
                Err(failure) if matches!(failure.kind, FailureKind::Transient | FailureKind::Unknown) => {
                    if !backoff.wait(deadline, GET.least).await {
                        done.failure = Some(failure);
                        return done;
                    }
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
        // Before the records: a submission that is scored between the two reads raises the revision.
        let Some(mut profile) = self.profile(study, patient, deadline).await? else { return Ok(()) };
        if profile.reevaluate.is_none() {
            return Ok(());
        }
        let records = self.records_of(study, patient, deadline).await?;
        self.check_absent(&records.unscored, "scored_at", deadline).await?;
        self.check_absent(&records.missing, PK, deadline).await?;
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
            // Only with the transaction that stores them: a run that ends in between raises the others again, and must
            // not find them counted, or be kept quiet by them.
            for change in &unit {
                if let Change::Score(ScoreChange { raised, instrument, .. }) = change {
                    raised.iter().for_each(|alert| profile.count(alert, instrument));
                }
            }
            profile.reevaluate = profile.reevaluate.filter(|_| !last);
            self.write_unit(&unit, &profile, deadline).await?;
            profile.revision += 1;
            let before = raised.len();
            raised.extend(unit.into_iter().flat_map(|change| match change {
                Change::Score(change) => change.raised,
                Change::Mark { .. } => Vec::new(),
            }));
            report_raised(&raised[before..]);
            if last {
                return Ok(());
            }
        }
    }

    /// The alerts and the scored submissions of `patient`.
    async fn records_of(&self, study: &StudyId, patient: &PatientId, deadline: Deadline) -> Result<Records, Failure> {
        let items = self.data_of_patient(study, patient, |query| query, deadline).await?;
        let mut records = Records::default();
        let mut unreadable = items.iter().filter(|item| records.add(item).is_err()).count();
        unreadable += records.add_alerts(&self.alert_rows(records.alert_keys(), deadline).await?);
        if unreadable > 0 {
            tracing::error!(event = "records_unreadable", unreadable);
            metrics::report(metrics::NOT_REEVALUATED, unreadable as u64);
        }
        Ok(records)
    }

    /// Makes sure that the items under `keys` do not have `attribute`, as they were read: submissions without a score,
    /// alerts that are named and not stored.
    ///
    /// Reads may see a transaction half applied: the profile, read before them, with its new revision, and a submission
    /// still without its score, which the evaluation would leave out for good, or a score without its alert, which it
    /// would not mark. A transaction is not deceived: it fails if another one has written the item or is about to. One
    /// that writes it later raises the revision.
    async fn check_absent(&self, keys: &[Item], attribute: &str, deadline: Deadline) -> Result<(), Failure> {
        const OPERATION: &str = "TransactWriteItems that checks what is not stored";
        for keys in keys.chunks(TRANSACTION_WRITES) {
            let checks = keys.iter().map(|key| {
                let check = ConditionCheck::builder()
                    .table_name(&self.tables.records)
                    .set_key(Some(key.clone()))
                    .condition_expression(format!("attribute_not_exists({attribute})"))
                    .build()
                    .expect("table, key and condition are set");
                TransactWriteItem::builder().condition_check(check).build()
            });
            // The SDK gives each a token of its own: a remembered one would be answered without a check.
            let request = self.dynamodb.transact_write_items().set_transact_items(Some(checks.collect()));
            match send(request, deadline, TRANSACTION).await {
                Ok(_) => {}
                Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(_))) => {
                    return Err(Failure::transient(OPERATION, "the patient's records changed in the meantime"));
                }
                Err(error) => return Err(error.into_failure(OPERATION)),
            }
        }
        Ok(())
    }

    /// Writes `unit` and `profile` in one transaction, with the additions to the sites' counts.
    async fn write_unit(&self, unit: &[Change], profile: &Profile, deadline: Deadline) -> Result<(), Failure> {
        let mut content = vec![profile.patient.as_str().to_owned(), profile.revision.to_string()];
        let mut counted: BTreeMap<&SiteId, (u64, &Alert)> = BTreeMap::new();
        let mut writes = Vec::new();
        for change in unit {
            match change {
                Change::Mark { key, corrected, superseded } => {
                    writes.push(TransactWriteItem::builder().update(self.mark(key, *corrected, *superseded)).build());
                    content.push(format!("{corrected}{superseded}"));
                }
                Change::Score(ScoreChange { key, alerts, raised, not_evaluated, .. }) => {
                    for alert in raised {
                        writes.push(self.put_alert(alert));
                        content.push(format!("{}@{}", alert.id, alert.raised_at.unix_timestamp_nanos()));
                        counted.entry(&alert.site).or_insert((0, alert)).0 += 1;
                    }
                    let update = self.set_evaluation(key, alerts, not_evaluated);
                    writes.push(TransactWriteItem::builder().update(update).build());
                    content.push(not_evaluated.to_string());
                }
            }
        }
        writes.push(self.put_profile(profile));
        for (site, (alerts, first)) in counted {
            let added = CountsAdded::of_alerts(alerts);
            writes.push(self.add_counts(&added, &first.study, site, &first.id.to_string()));
        }
        let token = token(content.iter().map(String::as_bytes));
        match self.transact(&token, writes, deadline).await {
            Ok(()) => Ok(()),
            // A submission was scored, or an alert acknowledged or published, in the meantime: all is read again.
            Err(CallError::Refused(TransactWriteItemsError::TransactionCanceledException(cancelled)))
                if !cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some("ValidationError")) =>
            {
                Err(Failure::transient(OPERATION, "the patient's records changed in the meantime"))
            }
            Err(error) => Err(error.into_failure(OPERATION)),
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
