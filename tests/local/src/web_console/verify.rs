//! The promises, checked: all that is stored is recomputed from the submissions.

use std::sync::Arc;
use std::time::Duration;

use authoring::connection::LocalStore;
use authoring::error_chain;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use invocation::Deadline;
use serde_json::json;
use tokio::time::Instant;
use verification::{Settings, verify};

use super::{Shared, on_one_thread, problem};
use crate::clock;
use crate::feed::now;
use crate::sts;

/// Bounds one pass over the store. A person waits for it.
const PASS: Duration = Duration::from_secs(60);

/// The most differences that are listed.
const MOST_LISTED: usize = 50;

/// `POST /console/verification`: what was compared, and what differs. One at a time.
pub(super) async fn run(State(shared): State<Arc<Shared>>) -> Response {
    let Some(store) = &shared.parts.store else {
        return problem(StatusCode::NOT_FOUND, "The template names no tables.");
    };
    let Ok(_permit) = shared.verifications.try_acquire() else {
        return problem(StatusCode::CONFLICT, "A verification is running.");
    };
    let store = store.clone();
    match on_one_thread(async move || compare(&store).await).await {
        Ok(report) => Json(report).into_response(),
        Err(reason) => problem(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

async fn compare(local: &LocalStore) -> Result<serde_json::Value, String> {
    let began = Instant::now();
    let connection = local.connect_as(sts::principal(&local.sts)).map_err(|error| error_chain(&error))?;
    let deadline = Deadline::after(PASS);
    let pass = verify(&connection.store, Settings::default(), clock::now(), deadline, |_| ()).await;
    let report = pass.map_err(|failure| error_chain(&failure))?;
    let tally = report.tally;
    let listed: Vec<String> = report.differences.iter().take(MOST_LISTED).map(ToString::to_string).collect();
    Ok(json!({
        "at": now(),
        "ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        "patients": tally.patients,
        "submissions": tally.submissions,
        "alerts": tally.alerts,
        "sites": tally.sites,
        "waiting": tally.waiting,
        "quarantined": tally.quarantined,
        "differences": tally.differences,
        "byKind": tally.by_kind,
        "listed": listed,
    }))
}
