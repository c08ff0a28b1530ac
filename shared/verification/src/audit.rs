//! The audit trail: each change that is audited has exactly one entry, and each entry of a change its change.
//!
//! Audited changes are acknowledgements and snoozes of alerts, corrections of submissions, registrations of patients, and versions of
//! studies and instruments. Of a registration, transfers and the withdrawal are compared one by one: the other changes
//! leave nothing that tells when they were made. Entries of reads have nothing to be compared with.

use std::collections::BTreeMap;

use clinical::ids::SubmissionId;
use futures::{StreamExt, TryStreamExt, stream};
use invocation::Deadline;
use invocation::aws::Failure;
use records::{
    Acknowledgement, Alert, Audit, AuditAction, DocumentName, Participation, PatientRecords, Registration, Store,
    StoredAlert, StoredDocument, Submission, Transfer,
};
use time::OffsetDateTime;

use crate::AT_ONCE;
use crate::difference::{Difference, Kind};

/// The changes of a patient's records that do not have exactly one entry.
pub(crate) async fn of_patient(
    records: &PatientRecords,
    store: &Store,
    deadline: Deadline,
) -> Result<Vec<Difference>, Failure> {
    // Those of a patient who corrects everything would take longer than a run one after the other.
    let of_alerts: Vec<_> = records.alerts.iter().map(|row| of_alert(row, store, deadline)).collect();
    let submissions = records.submissions.iter().map(|stored| &stored.submission);
    let of_corrections: Vec<_> = submissions.map(|submission| of_correction(submission, store, deadline)).collect();
    let mut differences = stream::iter(of_alerts).buffered(AT_ONCE).try_concat().await?;
    let of_corrections: Vec<Option<Difference>> = stream::iter(of_corrections).buffered(AT_ONCE).try_collect().await?;
    differences.extend(of_corrections.into_iter().flatten());
    if let Some(registration) = &records.registration {
        differences.extend(of_registration(registration, store, deadline).await?);
    }
    Ok(differences)
}

async fn of_registration(
    registration: &Registration,
    store: &Store,
    deadline: Deadline,
) -> Result<Vec<Difference>, Failure> {
    let Registration { study, patient, site, transfers, withdrawal, .. } = registration;
    let transferred = |transfer: &Transfer| [&transfer.from, &transfer.to].map(|site| (site.clone(), transfer.at));
    let transferred = transfers.iter().flat_map(transferred).map(|one| (AuditAction::PatientTransferred, one));
    let withdrawn = withdrawal.iter().map(|withdrawal| (AuditAction::PatientWithdrawn, (site.clone(), withdrawal.at)));
    let mut differences = Vec::new();
    for (action, (site, at)) in transferred.chain(withdrawn) {
        let entries = store.audit_of_change((Some(study), Some(&site)), action, at, true, deadline).await?;
        let found = entries.iter().filter(|entry| entry.at == at && entry.patient.as_ref() == Some(patient));
        let difference = difference(found.count(), 1, &action);
        differences.extend(difference.map(|(kind, detail)| Difference::new(kind, study).at_site(&site).about(detail)));
    }
    Ok(differences)
}

/// The acknowledgements and snoozes of an alert, each with its action, its time and who did it.
fn handling(alert: &Alert) -> impl Iterator<Item = (&'static AuditAction, OffsetDateTime, &str)> {
    let acknowledged = alert.acknowledged.iter().chain(&alert.later);
    let acknowledged =
        acknowledged.map(|Acknowledgement { at, by, .. }| (&AuditAction::AlertAcknowledged, *at, by.as_str()));
    let snoozed = alert.snoozes.iter().map(|snooze| (&AuditAction::AlertSnoozed, snooze.at, snooze.by.as_str()));
    acknowledged.chain(snoozed)
}

async fn of_alert(row: &StoredAlert, store: &Store, deadline: Deadline) -> Result<Vec<Difference>, Failure> {
    let alert = &row.alert;
    // One clinician may have acknowledged it twice within a millisecond.
    let mut changes: BTreeMap<(&str, OffsetDateTime, &str), (&AuditAction, usize)> = BTreeMap::new();
    for (action, at, by) in handling(alert) {
        changes.entry((action.as_str(), at, by)).or_insert((action, 0)).1 += 1;
    }
    let mut differences = Vec::new();
    for ((_, at, by), (action, expected)) in changes {
        let trail = (Some(&alert.study), Some(&alert.site));
        let entries = store.audit_of_change(trail, *action, at, true, deadline).await?;
        let id = alert.id.to_string();
        let is_of_it =
            |entry: &&Audit| entry.subject.as_ref() == Some(&id) && entry.at == at && entry.actor.principal.sub() == by;
        let found = entries.iter().filter(is_of_it).filter(|entry| entry.patient.as_ref() == Some(&alert.patient));
        let difference = difference(found.count(), expected, action);
        differences.extend(difference.map(|(kind, detail)| {
            let difference = Difference::new(kind, &alert.study).at_site(&alert.site).about(detail).of_alert(alert.id);
            Difference { submission: alert.submission(), ..difference }
        }));
    }
    Ok(differences)
}

async fn of_correction(
    submission: &Submission,
    store: &Store,
    deadline: Deadline,
) -> Result<Option<Difference>, Failure> {
    let Some(amendment) = &submission.amends else { return Ok(None) };
    let trail = (Some(&submission.study), Some(&submission.site));
    let action = AuditAction::SubmissionAmended;
    let entries = store.audit_of_change(trail, action, submission.received_at, false, deadline).await?;
    let subject = subject(amendment.of, submission.id);
    let is_of_it = |entry: &&Audit| {
        entry.subject.as_ref() == Some(&subject) && entry.patient.as_ref() == Some(&submission.patient)
    };
    let found = entries.iter().filter(is_of_it).count();
    Ok(difference(found, 1, &action).map(|(kind, detail)| {
        let difference = Difference::new(kind, &submission.study).at_site(&submission.site);
        difference.of_submission(submission.id).about(detail)
    }))
}

/// The entry of a stored `document`, which is not the copy in force.
pub(crate) async fn of_document(
    document: &StoredDocument,
    store: &Store,
    deadline: Deadline,
) -> Result<Option<Difference>, Failure> {
    let (study, subject, action) = match &document.name {
        DocumentName::Study(id, version) => (Some(id), version.to_string(), AuditAction::StudyPut),
        DocumentName::Instrument(id, version) => (None, format!("{id} {version}"), AuditAction::InstrumentPut),
        DocumentName::InForce(..) => return Ok(None),
    };
    let entries = store.audit_of_change((study, None), action, document.put_at, true, deadline).await?;
    let is_of_it = |entry: &&Audit| {
        entry.subject.as_ref() == Some(&subject)
            && entry.at == document.put_at
            && entry.actor.principal.sub() == document.put_by
    };
    let found = entries.iter().filter(is_of_it).count();
    Ok(difference(found, 1, &action).map(|(kind, detail)| Difference {
        kind,
        study: study.cloned(),
        site: None,
        submission: None,
        alert: None,
        detail: format!("{detail} {subject}"),
    }))
}

/// `entry`, if it is of a change that is not stored.
pub(crate) async fn without_change(
    entry: &Audit,
    store: &Store,
    deadline: Deadline,
) -> Result<Option<Difference>, Failure> {
    let is_stored = match entry.action {
        AuditAction::AlertAcknowledged | AuditAction::AlertSnoozed => is_handled(entry, store, deadline).await?,
        AuditAction::SubmissionAmended => is_amended(entry, store, deadline).await?,
        AuditAction::StudyPut | AuditAction::InstrumentPut => match document_of(entry) {
            Some(name) => {
                let document = store.document(&name, deadline).await?;
                document.is_some_and(|document| {
                    document.put_at == entry.at && document.put_by == entry.actor.principal.sub()
                })
            }
            None => false,
        },
        AuditAction::PatientEnrolled
        | AuditAction::PatientChanged
        | AuditAction::EventDated
        | AuditAction::PatientTransferred
        | AuditAction::PatientWithdrawn => is_registered(entry, store, deadline).await?,
        AuditAction::PatientsRead
        | AuditAction::RegistrationRead
        | AuditAction::ReportRead
        | AuditAction::AlertsRead
        | AuditAction::DueRead
        | AuditAction::AuditRead
        | AuditAction::AcknowledgementRead
        | AuditAction::SubmissionRead => true,
    };
    Ok((!is_stored).then(|| Difference {
        kind: Kind::AuditWithoutChange,
        study: entry.study.clone(),
        site: entry.site.clone(),
        submission: amended(entry).map(|(_, by)| by),
        alert: entry.subject.as_ref().and_then(|subject| subject.parse().ok()),
        detail: entry.action.to_string(),
    }))
}

async fn is_handled(entry: &Audit, store: &Store, deadline: Deadline) -> Result<bool, Failure> {
    let id = entry.subject.as_ref().and_then(|subject| subject.parse().ok());
    let (Some(id), Some(study), Some(site)) = (id, &entry.study, &entry.site) else { return Ok(false) };
    let alert = match store.alert(study, [site], id, deadline).await {
        Ok(alert) => alert.filter(|alert| entry.patient.as_ref() == Some(&alert.patient)),
        // The row itself is reported.
        Err(failure) if failure.is_unreadable() => return Ok(true),
        Err(failure) => return Err(failure),
    };
    let Some(alert) = alert else { return Ok(false) };
    let by = entry.actor.principal.sub();
    Ok(handling(&alert).any(|change| change == (&entry.action, entry.at, by)))
}

async fn is_amended(entry: &Audit, store: &Store, deadline: Deadline) -> Result<bool, Failure> {
    let (Some((of, by)), Some(study), Some(patient)) = (amended(entry), &entry.study, &entry.patient) else {
        return Ok(false);
    };
    let correction = match store.submission(study, patient, &by, deadline).await {
        Ok(correction) => correction,
        // The item itself is reported with its patient.
        Err(failure) if failure.is_unreadable() => return Ok(true),
        Err(failure) => return Err(failure),
    };
    Ok(correction.is_some_and(|(correction, _)| {
        correction.amends.is_some_and(|amendment| amendment.of == of) && entry.site.as_ref() == Some(&correction.site)
    }))
}

async fn is_registered(entry: &Audit, store: &Store, deadline: Deadline) -> Result<bool, Failure> {
    let (Some(study), Some(patient)) = (&entry.study, &entry.patient) else { return Ok(false) };
    let registration = match store.participation(study, patient, deadline).await {
        Ok(Participation::Registered(registration)) => registration,
        Ok(Participation::None | Participation::BySubmission(_)) => return Ok(false),
        // The item itself is reported with its patient.
        Err(failure) if failure.is_unreadable() => return Ok(true),
        Err(failure) => return Err(failure),
    };
    let of_entry = |transfer: &Transfer| {
        transfer.at == entry.at && [&transfer.from, &transfer.to].map(Some).contains(&entry.site.as_ref())
    };
    Ok(match entry.action {
        AuditAction::PatientTransferred => registration.transfers.iter().any(of_entry),
        AuditAction::PatientWithdrawn => registration.withdrawal.is_some_and(|withdrawal| withdrawal.at == entry.at),
        _ => true,
    })
}

fn document_of(entry: &Audit) -> Option<DocumentName> {
    let subject = entry.subject.as_ref()?;
    Some(match (entry.action, &entry.study) {
        (AuditAction::StudyPut, Some(study)) => DocumentName::Study(study.clone(), subject.parse().ok()?),
        (AuditAction::InstrumentPut, None) => {
            let (id, version) = subject.split_once(' ')?;
            DocumentName::Instrument(id.parse().ok()?, version.parse().ok()?)
        }
        _ => return None,
    })
}

/// The kind and the detail of a change that has `found` entries in place of `expected`.
fn difference(found: usize, expected: usize, action: &AuditAction) -> Option<(Kind, String)> {
    let kind = match found {
        found if found < expected => Kind::AuditMissing,
        found if found > expected => Kind::AuditTwice,
        _ => return None,
    };
    Some((kind, action.to_string()))
}

/// The object of the entry of a correction: the original and the correction.
fn subject(of: SubmissionId, by: SubmissionId) -> String {
    format!("{of} by {by}")
}

fn amended(entry: &Audit) -> Option<(SubmissionId, SubmissionId)> {
    let (of, by) = entry.subject.as_ref()?.split_once(" by ")?;
    Some((of.parse().ok()?, by.parse().ok()?))
}
