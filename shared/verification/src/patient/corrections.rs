//! Corrections and the submissions that they correct.

use super::Patient;
use crate::difference::Kind;

impl Patient<'_> {
    /// Compares each correction with its original, and each original with its correction.
    pub(super) fn corrections(&mut self) {
        for stored in &self.records.submissions {
            let submission = &stored.submission;
            if let Some(amendment) = &submission.amends {
                let agrees = self.stored(amendment.of).is_some_and(|original| {
                    let original = &original.submission;
                    original.amended_by == Some(submission.id)
                        && original.instrument.id == submission.instrument.id
                        && original.place() == amendment.place
                });
                if !agrees {
                    self.of_submission(Kind::CorrectionOneSided, stored, format!("it amends {}", amendment.of));
                }
            }
            if let Some(by) = submission.amended_by {
                let correction = self.stored(by).and_then(|correction| correction.submission.amends.as_ref());
                if correction.is_none_or(|amendment| amendment.of != submission.id) {
                    self.of_submission(Kind::CorrectionOneSided, stored, format!("it is amended by {by}"));
                }
            }
        }
    }
}
