//! A repeat of what is stored, which the study would refuse by now.

use std::sync::Arc;

use api::{Findings, Problem};
use clinical::ids::SubmissionId;
use clinical::instruments::Catalog;
use lambda_http::http::StatusCode;
use records::{Store, Submission};
use serde_json::Value;

use crate::body::{Asked, Sending};
use crate::{Form, Sender, conflict};

/// What is answered to `json`, a submission of the id `id` that the study refuses by `refusal`: if it repeats what is
/// stored under its id, it was accepted, and gets its receipt whatever the study asks by now.
///
/// # Errors
/// `refusal` if nothing is stored under its id, 409 if another body is, 422 if it does not fit the instrument of what is
/// stored, 503 or 500 if that could not be read.
pub(crate) async fn answer(
    store: &Store,
    id: SubmissionId,
    json: &Value,
    form: Form,
    refusal: Problem,
    sender: Sender<'_>,
) -> Result<(StatusCode, Submission), Problem> {
    let Sender { invocation, caller, patient, received_at, .. } = sender;
    let stored = store.submission(caller.study(), patient, &id, invocation.deadline).await;
    let stored = stored.map_err(|failure| Problem::not_read("what is stored under the id", &failure))?;
    let Some((stored, _)) = stored else { return Err(refusal) };
    // A version of an instrument never changes, so that the digest is made as it was then.
    let instrument = store.instrument(&stored.instrument.id, &stored.instrument.version, invocation.deadline).await;
    let instrument = instrument.map_err(|failure| Problem::not_read("the instrument", &failure))?;
    let known = Catalog::of(instrument.into_iter().collect::<Vec<Arc<_>>>());
    match (form.read)(json, Findings::default(), Sending { asked: Asked::These(&known), received_at }) {
        Ok(sent) if sent.digest() == stored.digest => Ok((StatusCode::OK, stored)),
        Ok(_) => Err(conflict()),
        Err(refused) if refused.unasked.is_some() => Err(conflict()),
        Err(refused) => Err(refused.problem()),
    }
}
