//! Repeats of stored submissions that the study does not accept any more.

use std::sync::Arc;

use api::{AcceptedInstruments, Problem};
use clinical::document::Findings;
use clinical::ids::SubmissionId;
use clinical::instruments::Catalog;
use lambda_http::http::StatusCode;
use records::{Store, Submission};
use serde_json::Value;

use crate::body::SubmissionContext;
use crate::{Format, Sender, conflict};

/// The answer to `json`, a submission with the id `id` that the study refuses with `refusal`. If it repeats the stored
/// submission of that id, it was accepted before, and gets its receipt.
///
/// # Errors
/// `refusal` if nothing is stored under the id, 409 if another body is, 422 if it does not fit the instrument of the
/// stored submission, 503 or 500 if that could not be read.
pub(crate) async fn answer(
    store: &Store,
    id: SubmissionId,
    json: &Value,
    format: Format,
    refusal: Problem,
    sender: Sender<'_>,
) -> Result<(StatusCode, Submission), Problem> {
    let Sender { invocation, caller, patient, received_at, .. } = sender;
    let stored = store.submission(caller.study(), patient, &id, invocation.deadline).await;
    let stored = stored.map_err(|failure| Problem::not_read("the submission under the id", &failure))?;
    let Some((stored, _)) = stored else { return Err(refusal) };
    // A version of an instrument never changes, so that the digest is computed as it was then.
    let instrument = store.instrument(&stored.instrument.id, &stored.instrument.version, invocation.deadline).await;
    let instrument = instrument.map_err(|failure| Problem::not_read("the instrument", &failure))?;
    let known = Catalog::of(instrument.into_iter().collect::<Vec<Arc<_>>>());
    match (format.read)(
        json,
        Findings::default(),
        SubmissionContext { accepted: AcceptedInstruments::Catalog(&known), received_at },
    ) {
        Ok(parsed) if parsed.digest() == stored.digest => Ok((StatusCode::OK, stored)),
        Ok(_) => Err(conflict()),
        Err(rejection) if rejection.not_asked.is_some() => Err(conflict()),
        Err(rejection) => Err(rejection.problem()),
    }
}
