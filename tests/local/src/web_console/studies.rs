//! The study that a visitor is in, and a version of the demonstration study whose alerts escalate soon.

use std::sync::Arc;

use authoring::connection::{LocalStore, PUT_TIMEOUT};
use authoring::outcome::Outcome;
use authoring::{error_chain, study};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clinical::ids::StudyId;
use clinical::studies::Study;
use invocation::Deadline;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, on_one_thread, problem};
use crate::cloud::DEMO_STUDY;
use crate::sts;

/// The version of the demonstration study that escalates soon. It differs in nothing else.
const SOON: &str = "1.0.1";

/// The least that a study may say.
const MINUTES: u64 = 1;

#[derive(Deserialize)]
pub(super) struct Named {
    id: String,
}

/// `GET /console/study?id`: the study in force, 404 where none of that id is stored.
pub(super) async fn show(State(shared): State<Arc<Shared>>, Query(named): Query<Named>) -> Response {
    let (Some(local), Ok(id)) = (shared.parts.store.clone(), named.id.parse::<StudyId>()) else {
        return problem(StatusCode::NOT_FOUND, "There is no such study.");
    };
    match on_one_thread(async move || in_force(&local, &id).await).await {
        Ok(Some(study)) => Json(study).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, "No study of this id is stored."),
        Err(reason) => problem(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

/// `POST /console/escalation`: puts the demonstration study in force with an escalation after a minute.
pub(super) async fn escalate_soon(State(shared): State<Arc<Shared>>) -> Response {
    let Some(local) = shared.parts.store.clone() else {
        return problem(StatusCode::NOT_FOUND, "The template names no tables.");
    };
    match on_one_thread(async move || put(&local).await).await {
        Ok(None) => {
            // Else each would keep the version that it has read for a minute.
            shared.parts.functions.retire();
            Json(json!({"version": SOON, "afterMinutes": MINUTES})).into_response()
        }
        Ok(Some(refused)) => problem(StatusCode::CONFLICT, &refused),
        Err(reason) => problem(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

async fn in_force(local: &LocalStore, id: &StudyId) -> Result<Option<Value>, String> {
    let connection = local.connect_as(sts::principal(&local.sts)).map_err(|error| error_chain(&error))?;
    let protocol = connection.store.protocol(id, Deadline::after(PUT_TIMEOUT)).await;
    let protocol = protocol.map_err(|failure| error_chain(&failure))?;
    protocol
        .study()
        .map(|study| serde_json::to_value(study.definition()))
        .transpose()
        .map_err(|error| error.to_string())
}

/// `None` if it is in force; otherwise why it is not.
async fn put(local: &LocalStore) -> Result<Option<String>, String> {
    let connection = local.connect_as(sts::principal(&local.sts)).map_err(|error| error_chain(&error))?;
    let study = Study::parse(&escalating_soon()).map_err(|faults| format!("{} faults", faults.len()))?;
    match study::put_parsed(study, connection, "an escalation after a minute, for a demonstration").await {
        Ok(Outcome::Accepted(_)) => Ok(None),
        Ok(Outcome::Refused(_) | Outcome::Faulty(_)) => {
            Ok(Some("Another version of the study is in force.".to_owned()))
        }
        Err(error) => Err(error_chain(&error)),
    }
}

/// The demonstration study with another escalation.
fn escalating_soon() -> String {
    let mut study: Value = serde_json::from_str(DEMO_STUDY).unwrap_or_default();
    study["version"] = SOON.into();
    study["alerts"]["escalation"]["afterMinutes"] = MINUTES.into();
    study.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_that_escalates_soon_is_a_later_one_of_the_same_study() {
        let (first, soon) =
            (Study::parse(DEMO_STUDY).expect("valid"), Study::parse(&escalating_soon()).expect("valid"));
        assert_eq!(first.id(), soon.id());
        assert!(soon.version() > first.version());
        assert_eq!(soon.definition().sites.len(), first.definition().sites.len());
    }
}
