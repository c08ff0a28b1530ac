//! Corrections of submissions.

use api::{Problem, ProblemKind, audit};
use clinical::document::Finding;
use clinical::ids::{PatientId, StudyId, SubmissionId};
use invocation::Deadline;
use records::{Amendment, AuditAction, CorrectionOutcome, PutOutcome, Store, Submission, Target};

use crate::body::Correction;
use crate::{Sender, not_stored};

/// The most links that are followed to the end of a chain of corrections.
const MOST_LINKS: usize = 32;

/// The reason why a correction is refused.
enum Refusal {
    /// The original is not stored.
    Missing,
    /// The original is another patient's.
    OtherPatient,
    /// The original is of another instrument.
    OtherInstrument,
    /// The original has this correction already.
    AmendedBy(SubmissionId),
}

/// Stores `submission` as a `correction`, and returns it as it was put.
///
/// # Errors
/// 409 or 422 if it may not correct the original, 503 or 500 if the store did not confirm it.
pub(crate) async fn put(
    store: &Store,
    mut submission: Submission,
    correction: Correction,
    sender: Sender<'_>,
) -> Result<(PutOutcome, Submission), Problem> {
    let Sender { invocation, caller, site, .. } = sender;
    let deadline = invocation.deadline;
    let Correction { of, reason } = correction;
    let target = store.correction_target(&submission.study, &submission.patient, &of, deadline).await;
    let target = target.map_err(|failure| Problem::not_read("the submission to correct", &failure))?;
    let refusal = match target {
        None => Refusal::Missing,
        Some(Target { instrument, .. }) if instrument != submission.instrument.id => Refusal::OtherInstrument,
        Some(Target { amended_by: Some(by), .. }) if by != submission.id => Refusal::AmendedBy(by),
        Some(Target { place, .. }) => {
            let entry = audit::entry(AuditAction::SubmissionAmended, caller, invocation).at_site(site);
            let entry = entry.of_patient(&submission.patient).about(format!("{of} by {}", submission.id));
            let amendment = Amendment { of, reason, place };
            submission.amends = Some(amendment.clone());
            match store.put_correction(&submission, &amendment, &entry, deadline).await {
                Ok(CorrectionOutcome::Put(outcome)) => return Ok((outcome, submission)),
                Ok(CorrectionOutcome::AmendedBy(by)) => Refusal::AmendedBy(by),
                Err(failure) => return Err(not_stored(failure)),
            }
        }
    };
    // A repeat gets its receipt, even if the original has another correction since.
    match store.stored_under_id_of(&submission, deadline).await {
        Ok(Some(outcome)) => Ok((outcome, submission)),
        Ok(None) => {
            let refusal = if let Refusal::Missing = refusal {
                missing_or_of_another_patient(store, &submission, &of, deadline).await
            } else {
                refusal
            };
            Err(refusal.problem(store, &submission, deadline).await)
        }
        Err(failure) => Err(Problem::not_read("the submission under the id", &failure)),
    }
}

impl Refusal {
    async fn problem(self, store: &Store, submission: &Submission, deadline: Deadline) -> Problem {
        let (kind, code, detail) = match self {
            Self::Missing => {
                let detail = "the submission to correct is not stored; send the original first, then this one again, \
                              unchanged";
                (ProblemKind::OriginalMissing, "amends.not-stored", detail.to_owned())
            }
            Self::OtherPatient => {
                let detail = "the submission to correct is not one of this patient's";
                (ProblemKind::Invalid, "amends.not-yours", detail.to_owned())
            }
            Self::OtherInstrument => {
                let detail = "the submission to correct is of another instrument";
                (ProblemKind::Invalid, "amends.other-instrument", detail.to_owned())
            }
            Self::AmendedBy(by) => {
                let last = last_link(store, &submission.study, &submission.patient, by, deadline).await;
                let detail = format!(
                    "the submission has a correction already; to correct it again, amend its last correction, {last}"
                );
                (ProblemKind::AlreadyAmended, "amends.amended", detail)
            }
        };
        let finding = Finding { pointer: "/amends".to_owned(), code, detail: detail.clone() };
        Problem::new(kind, format!("{detail}; this request stored nothing")).with_errors(finding)
    }
}

/// The reason why the original `of` is not stored for this patient. A repeat may succeed if it is not stored yet, and
/// never if it is another patient's.
async fn missing_or_of_another_patient(
    store: &Store,
    submission: &Submission,
    of: &SubmissionId,
    deadline: Deadline,
) -> Refusal {
    let Submission { study, site, patient, .. } = submission;
    match store.is_of_another_patient(study, site, patient, of, deadline).await {
        Ok(true) => Refusal::OtherPatient,
        Ok(false) => Refusal::Missing,
        Err(failure) => {
            tracing::warn!(event = "original_not_searched", %failure);
            Refusal::Missing
        }
    }
}

/// The last correction of the chain that `link` is part of, as far as it can be followed in time.
async fn last_link(
    store: &Store,
    study: &StudyId,
    patient: &PatientId,
    mut link: SubmissionId,
    deadline: Deadline,
) -> SubmissionId {
    for _ in 0..MOST_LINKS {
        match store.correction_target(study, patient, &link, deadline).await {
            Ok(Some(Target { amended_by: Some(next), .. })) => link = next,
            _ => break,
        }
    }
    link
}
