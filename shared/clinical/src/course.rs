//! The course of a patient's submissions.

use time::OffsetDateTime;

use crate::ids::SubmissionId;

/// Where a submission stands in its course: by effective time, and by id among those of the same time, so that the order
/// of arrival makes no difference. A correction has the place of the submission at the root of its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// When the patient completed it, as far as the clocks can be trusted.
    pub at: OffsetDateTime,
    /// The submission's id; of a correction, the id of the first submission of its chain.
    pub id: SubmissionId,
}
