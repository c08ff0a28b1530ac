//! The rows of alerts, which a walk meets apart from their patients.

use invocation::Deadline;
use invocation::aws::Failure;
use records::{Cause, Store, StoredAlert};

use crate::difference::{Difference, Kind};

/// Whether the score of its submission names `row`, or the occurrence that was missed: only these lead from a patient to
/// an alert.
pub(crate) async fn not_named(
    row: &StoredAlert,
    store: &Store,
    deadline: Deadline,
) -> Result<Option<Difference>, Failure> {
    let alert = &row.alert;
    let named = match &alert.cause {
        Cause::Submission(id) => store.submission(&alert.study, &alert.patient, id, deadline).await.map(|found| {
            found.is_some_and(|(submission, score)| {
                let named = score.iter().flat_map(|score| &score.alerts);
                submission.site == alert.site && named.into_iter().any(|named| *named == (alert.id, alert.rule.clone()))
            })
        }),
        Cause::Missed { schedule, number } => {
            let found = store.occurrence(&alert.study, &alert.patient, schedule, *number, deadline).await;
            found.map(|found| found.is_some_and(|missed| missed.alert == Some(alert.id) && missed.site == alert.site))
        }
    };
    let names = match named {
        Ok(names) => names,
        // The item itself is reported with its patient.
        Err(failure) if failure.is_unreadable() => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let difference = || Difference::new(Kind::AlertNotNamed, &alert.study).at_site(&alert.site);
    let difference = difference().of_alert(alert.id).about(&alert.rule);
    Ok((!names).then(|| Difference { submission: alert.submission(), ..difference }))
}
