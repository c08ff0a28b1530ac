//! Which patients may send what they answer.

use clinical::studies::{Enrolment, Protocol};
use records::Admission;
use time::OffsetDateTime;

use crate::{Problem, ProblemKind};

/// The answer to a questionnaire, completed at `effective_at`, of a patient whose registration does not admit it.
pub fn not_admitted(
    protocol: &Protocol,
    admission: Option<&Admission>,
    effective_at: OffsetDateTime,
) -> Option<Problem> {
    let Some(admission) = admission else {
        let detail = "the study has patients enrolled by their site first, and this one is not; keep the submission, and \
                      contact the site";
        let is_required = protocol.enrolment() == Enrolment::Required;
        return is_required.then(|| Problem::new(ProblemKind::PatientNotEnrolled, detail));
    };
    // What a phone kept from before the withdrawal is still taken.
    let detail =
        "the patient has withdrawn from the study; nothing was stored, and no more questionnaires are to be asked";
    let is_after = admission.withdrawn_at.is_some_and(|withdrawn_at| effective_at >= withdrawn_at);
    is_after.then(|| Problem::new(ProblemKind::PatientWithdrawn, detail))
}
