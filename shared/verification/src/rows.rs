//! The rows of alerts, which a walk meets apart from their patients.

use invocation::Deadline;
use invocation::aws::Failure;
use records::{Store, StoredAlert};

use crate::difference::{Difference, Kind};

/// Whether the score of its submission names `row`: only the score leads from a patient to an alert.
pub(crate) async fn not_named(
    row: &StoredAlert,
    store: &Store,
    deadline: Deadline,
) -> Result<Option<Difference>, Failure> {
    let alert = &row.alert;
    let names = match store.submission(&alert.study, &alert.patient, &alert.submission, deadline).await {
        Ok(found) => found.is_some_and(|(submission, score)| {
            let named = score.iter().flat_map(|score| &score.alerts);
            submission.site == alert.site && named.into_iter().any(|named| *named == (alert.id, alert.rule.clone()))
        }),
        // The item itself is reported with its patient.
        Err(failure) if failure.is_unreadable() => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let difference = || Difference::new(Kind::AlertNotNamed, &alert.study).at_site(&alert.site);
    Ok((!names).then(|| difference().of_submission(alert.submission).of_alert(alert.id).about(&alert.rule)))
}
