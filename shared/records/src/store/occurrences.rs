//! Occurrences: each write is on condition that the stored one is as it was read, so that of an answer and a miss that
//! cross, one is decided again.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::{CancellationReason, Put, TransactWriteItem, Update};
use clinical::ids::{InstrumentId, PatientId, ScheduleId, StudyId, SubmissionId};
use clinical::instruments::Severity;
use clinical::schedules::timestamp;
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::{Failure, Limits};
use jiff::Timestamp;
use time::OffsetDateTime;

use super::Store;
use super::commits::transaction::report_raised;
use crate::items::alert::Alert;
use crate::items::compliance::{self, Compliance, SettledWindow};
use crate::items::counts::CountsAdded;
use crate::items::occurrence::StoredOccurrence;
use crate::items::open_alerts::{MARKS, OpenAlerts};
use crate::items::profile::Profile;
use crate::items::submission;
use crate::table::attributes::{Item, Reader, Unreadable, number, text, unreadable};
use crate::table::calls::{
    self, ConditionalPut, Contended, check_revision, is_condition_failed, put_if_absent, put_once, put_revision, send,
};
use crate::table::keys::{self, OCCURRENCE, SUBMISSION};

const TRANSACTION: Limits = Limits { most: Duration::from_secs(4), least: Duration::from_millis(50) };
const OF_MISS: &str = "TransactWriteItems of missed windows";
const QUERY: &str = "Query of a patient's occurrences";
const READS_AT_ONCE: usize = 16;
/// Sorts after the numbers of all occurrences of a schedule.
const AFTER_NUMBERS: &str = "~";

/// A stored submission, as far as it can answer an occurrence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completed {
    /// The submission.
    pub submission: SubmissionId,
    /// Its instrument.
    pub instrument: InstrumentId,
    /// When the patient completed it.
    pub effective: Timestamp,
    /// When it was received.
    pub received: Timestamp,
}

impl Store {
    /// The occurrence of `schedule` with this `number`, read consistently.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub async fn occurrence(
        &self,
        study: &StudyId,
        patient: &PatientId,
        schedule: &ScheduleId,
        number: u32,
        deadline: Deadline,
    ) -> Result<Option<StoredOccurrence>, Failure> {
        const OPERATION: &str = "GetItem of an occurrence";
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::occurrence(study, patient, schedule, number)))
            .consistent_read(true);
        let item = send(request, deadline, calls::GET).await.map_err(|error| error.into_failure(OPERATION))?.item;
        let read = item.map(|item| StoredOccurrence::from_item(&item)).transpose();
        read.map_err(|_| Failure::unreadable(OPERATION, "the stored item cannot be read"))
    }

    /// All occurrences of `patient`, or those of one schedule from a number on, by schedule and number.
    ///
    /// # Errors
    /// If the store did not return all of them in time, or one cannot be read.
    pub async fn occurrences(
        &self,
        study: &StudyId,
        patient: &PatientId,
        from: Option<(&ScheduleId, u32)>,
        deadline: Deadline,
    ) -> Result<Vec<StoredOccurrence>, Failure> {
        let (from, until) = match from {
            None => (OCCURRENCE.to_owned(), format!("{OCCURRENCE}{AFTER_NUMBERS}")),
            Some((schedule, number)) => (keys::occurrence_sort(schedule, number), last_of(schedule)),
        };
        let query = self.between(keys::patient(study, patient), from, until);
        read(&calls::query(query, usize::MAX, QUERY, deadline).await?)
    }

    /// The `most` occurrences of `schedule` below the number `below`, or the last ones if it is `None`, in descending
    /// order.
    ///
    /// # Errors
    /// As [`occurrences`](Self::occurrences).
    pub async fn occurrences_below(
        &self,
        study: &StudyId,
        patient: &PatientId,
        (schedule, below): (&ScheduleId, Option<u32>),
        most: usize,
        deadline: Deadline,
    ) -> Result<Vec<StoredOccurrence>, Failure> {
        // No number is below 1.
        let until = match below {
            Some(..=1) => return Ok(Vec::new()),
            Some(below) => keys::occurrence_sort(schedule, below - 1),
            None => last_of(schedule),
        };
        let query = self.between(keys::patient(study, patient), keys::occurrence_sort(schedule, 0), until);
        read(&calls::query(query.scan_index_forward(false), most, QUERY, deadline).await?)
    }

    /// The submissions of `patient` that are no corrections, in the order in which they were received. With `from`, those
    /// whose id an app with a right clock has made at this time or later: an index by time would cost a write for each.
    ///
    /// # Errors
    /// If the store did not return all of them in time, or one cannot be read.
    pub async fn completed(
        &self,
        study: &StudyId,
        patient: &PatientId,
        from: Option<Timestamp>,
        deadline: Deadline,
    ) -> Result<Vec<Completed>, Failure> {
        let from = from.map_or_else(|| SUBMISSION.to_owned(), |at| format!("{SUBMISSION}{}", first_id_at(at)));
        let query = self
            .between(keys::patient(study, patient), from, format!("{SUBMISSION}~"))
            .filter_expression("#kind = :submission AND attribute_not_exists(amends)")
            .projection_expression("id, instrument, effective_at, received_at")
            .expression_attribute_names("#kind", "kind")
            .expression_attribute_values(":submission", text(submission::KIND));
        let items = calls::query(query, usize::MAX, "Query of a patient's submissions", deadline).await?;
        let completed: Result<Vec<Completed>, Unreadable> = items.iter().map(Completed::from_item).collect();
        let mut completed = completed
            .map_err(|_| Failure::unreadable("Query of a patient's submissions", "a submission cannot be read"))?;
        completed.sort_by_key(|one| (one.received, one.submission));
        Ok(completed)
    }

    /// The compliance of each of `patients`, by instrument, in all windows so far. Who was never asked has none.
    ///
    /// # Errors
    /// If the store did not return all windows in time, or one cannot be read.
    pub async fn compliance_of(
        &self,
        study: &StudyId,
        patients: impl IntoIterator<Item = &PatientId>,
        deadline: Deadline,
    ) -> Result<BTreeMap<PatientId, BTreeMap<InstrumentId, Compliance>>, Failure> {
        let read = patients.into_iter().cloned().map(|patient| async move {
            let all = (OCCURRENCE.to_owned(), format!("{OCCURRENCE}{AFTER_NUMBERS}"));
            let names = compliance::ATTRIBUTES.map(|name| (format!("#{name}"), name.to_owned()));
            let query = self
                .between(keys::patient(study, &patient), all.0, all.1)
                .projection_expression(compliance::ATTRIBUTES.map(|name| format!("#{name}")).join(", "))
                .set_expression_attribute_names(Some(names.into_iter().collect()));
            let items = calls::query(query, usize::MAX, QUERY, deadline).await?;
            let windows: Result<Vec<Option<SettledWindow>>, Unreadable> =
                items.iter().map(SettledWindow::from_item).collect();
            let windows = windows.map_err(|_| Failure::unreadable(QUERY, "an occurrence cannot be read"))?;
            Ok((patient, Compliance::by_instrument(windows.iter().flatten())))
        });
        stream::iter(read.collect::<Vec<_>>()).buffer_unordered(READS_AT_ONCE).try_collect().await
    }

    /// Stores `occurrence`, if the stored one is the one that was read, or none is stored where it is new.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn put_occurrence(
        &self,
        occurrence: &StoredOccurrence,
        deadline: Deadline,
    ) -> Result<ConditionalPut, Failure> {
        const OPERATION: &str = "PutItem of an occurrence";
        let item = occurrence.to_item();
        put_once(&self.dynamodb, &self.tables.records, item, occurrence.revision, OPERATION, deadline).await
    }

    /// Stores `missed`, which raises an alert of this `severity` at `at`, with the alert, the patient's number of open
    /// alerts and the site's count, in one transaction. Returns the alert; `None` if the stored occurrence, or one of
    /// those before it that the alert has `counted`, is not as it was read: one of them may be answered by now.
    ///
    /// # Errors
    /// If the store did not confirm it.
    pub async fn raise_missed(
        &self,
        missed: &StoredOccurrence,
        counted: impl IntoIterator<Item = &StoredOccurrence>,
        severity: Severity,
        at: OffsetDateTime,
        deadline: Deadline,
    ) -> Result<Option<Alert>, Failure> {
        let alert = Alert::of_missed(missed, severity, at);
        let stored = StoredOccurrence { alert: Some(alert.id), ..missed.clone() };
        let table = &self.tables.records;
        let counted = counted.into_iter().map(|counted| check_revision(table, counted.key(), counted.revision));
        let counted: Vec<TransactWriteItem> = counted.collect();
        let mut has_profile = true;
        loop {
            let mut writes = vec![
                put_revision(table, stored.to_item(), stored.revision),
                TransactWriteItem::builder().put(put_if_absent(table, alert.to_item())).build(),
                self.count_open_alert(&alert, has_profile),
                self.add_counts(&CountsAdded::of_alerts(1), &alert.study, &alert.site, &alert.id.to_string()),
            ];
            writes.extend(counted.iter().cloned());
            let jitter = alert.id.to_string();
            let transaction = Contended { operation: OF_MISS, limits: TRANSACTION, writes, jitter };
            let settled = |reasons: &[CancellationReason]| Ok(Raising::of(reasons));
            match transaction.send(&self.dynamodb, deadline, Raising::Stored, settled).await? {
                Raising::Stored => {
                    report_raised([&alert]);
                    return Ok(Some(alert));
                }
                Raising::Changed => return Ok(None),
                Raising::OtherProfile => has_profile = !has_profile,
            }
        }
    }

    /// The write that counts one more open alert of the patient, who has a profile or not.
    fn count_open_alert(&self, alert: &Alert, has_profile: bool) -> TransactWriteItem {
        let Alert { study, patient, site, .. } = alert;
        if has_profile {
            let update = Update::builder()
                .table_name(&self.tables.records)
                .set_key(Some(keys::profile(study, patient)))
                .update_expression(format!(
                    "SET open_alerts = open_alerts + :one, #revision = #revision + :one ADD {MARKS} :mark"
                ))
                .condition_expression("attribute_exists(pk)")
                .expression_attribute_values(":mark", OpenAlerts::attribute_of(alert))
                .expression_attribute_names("#revision", "revision")
                .expression_attribute_values(":one", number(1));
            return TransactWriteItem::builder()
                .update(update.build().expect("table, key and expression are set"))
                .build();
        }
        let mut profile = Profile { open_alerts: 1, ..Profile::new(study.clone(), patient.clone(), site.clone()) };
        profile.open_marks.add(alert);
        let put: Put = put_if_absent(&self.tables.records, profile.to_item());
        TransactWriteItem::builder().put(put).build()
    }
}

/// The place of the profile in the transaction that raises an alert of missed windows.
const PROFILE: usize = 2;

/// How a transaction that raises an alert of missed windows ended.
#[derive(Clone, Copy)]
enum Raising {
    Stored,
    Changed,
    /// The patient has a profile where none was expected, or none where one was.
    OtherProfile,
}

impl Raising {
    /// How it ended if it was cancelled for `reasons`; `None` if another attempt may succeed.
    fn of(reasons: &[CancellationReason]) -> Option<Self> {
        let failed: Vec<usize> = (0..reasons.len()).filter(|index| is_condition_failed(&reasons[*index])).collect();
        match failed.as_slice() {
            [] => None,
            // Of a profile only its presence is checked. The alert comes with the occurrence, and the checks of those
            // that it counts come last.
            [PROFILE] => Some(Self::OtherProfile),
            _ => Some(Self::Changed),
        }
    }
}

impl Completed {
    fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        let at = |name: &'static str| {
            let at = timestamp(reader.instant(name)?);
            at.ok_or_else(|| unreadable(name, "is out of range"))
        };
        Ok(Self {
            submission: reader.parsed("id")?,
            instrument: reader.map("instrument")?.parsed("id")?,
            effective: at("effective_at")?,
            received: at("received_at")?,
        })
    }
}

fn read(items: &[Item]) -> Result<Vec<StoredOccurrence>, Failure> {
    let read: Result<Vec<StoredOccurrence>, Unreadable> = items.iter().map(StoredOccurrence::from_item).collect();
    read.map_err(|_| Failure::unreadable(QUERY, "an occurrence cannot be read"))
}

/// Sorts after all occurrences of `schedule`.
fn last_of(schedule: &ScheduleId) -> String {
    format!("{OCCURRENCE}{}#{AFTER_NUMBERS}", schedule.as_str())
}

/// The least UUID of version 7 that an app makes at `at`.
fn first_id_at(at: Timestamp) -> SubmissionId {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(millis, &[0; 10]).into_uuid().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::calls::CONDITION_FAILED;

    #[test]
    fn ids_from_a_time_on_begin_with_that_time() {
        let id = first_id_at("2026-11-27T08:00:00Z".parse().unwrap()).to_string();
        assert_eq!(&id[..18], "01a21c04-b400-7000");
    }

    #[test]
    fn a_profile_that_is_missing_is_told_from_an_occurrence_that_changed() {
        let reasons = |codes: [&str; 4]| codes.map(|code| CancellationReason::builder().code(code).build());
        let none = "None";
        assert!(matches!(Raising::of(&reasons([none, none, CONDITION_FAILED, none])), Some(Raising::OtherProfile)));
        assert!(matches!(
            Raising::of(&reasons([CONDITION_FAILED, none, CONDITION_FAILED, none])),
            Some(Raising::Changed)
        ));
        // DynamoDB need not report every reason.
        assert!(matches!(Raising::of(&reasons([none, CONDITION_FAILED, none, none])), Some(Raising::Changed)));
        assert!(Raising::of(&reasons([none, none, none, "TransactionConflict"])).is_none());
        let counted = [none, none, CONDITION_FAILED, none, CONDITION_FAILED];
        let counted = counted.map(|code| CancellationReason::builder().code(code).build());
        assert!(matches!(Raising::of(&counted), Some(Raising::Changed)), "a window that it counts was answered");
    }
}
