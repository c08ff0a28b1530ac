//! The courses of a site's patients, for small plots. The API has them only as the report's pages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use authoring::connection::LocalStore;
use authoring::error_chain;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use clinical::ids::{SiteId, StudyId};
use invocation::{Deadline, rfc3339};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, problem};
use crate::{clock, sts};

/// Bounds the reads. A person waits for them.
const READ: Duration = Duration::from_secs(10);

/// How far the courses go back.
const SPAN: time::Duration = time::Duration::days(3_660);

/// The most patients that are shown, in the order of their ids.
const MOST_PATIENTS: usize = 60;

#[derive(Deserialize)]
pub(super) struct Of {
    study: String,
    site: String,
}

/// `GET /console/courses?study&site`: `{"patients": [{"patient", "courses": [{"instrument", "version", "points":
/// [{"at", "submission", "scores"}]}]}], "more"}`, without corrected submissions.
pub(super) async fn list(State(shared): State<Arc<Shared>>, Query(of): Query<Of>) -> Response {
    let Some(local) = &shared.parts.store else {
        return problem(StatusCode::NOT_FOUND, "The template names no tables.");
    };
    let (Ok(study), Ok(site)) = (of.study.parse::<StudyId>(), of.site.parse::<SiteId>()) else {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "The study or the site is not an id.");
    };
    match read(local, &study, &site).await {
        Ok(body) => Json(body).into_response(),
        Err(reason) => problem(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

async fn read(local: &LocalStore, study: &StudyId, site: &SiteId) -> Result<Value, String> {
    let store = local.connect_as(sts::principal(&local.sts)).map_err(|error| error_chain(&error))?.store;
    let deadline = Deadline::after(READ);
    let patients = store.site_patients(study, site, deadline).await;
    let (mut patients, unreadable) = patients.map_err(|failure| error_chain(&failure))?;
    let more = patients.len().saturating_sub(MOST_PATIENTS);
    patients.truncate(MOST_PATIENTS);
    let now = clock::now();
    let until = now + time::Duration::minutes(1);
    let period = store.site_period(study, site, (patients, unreadable), now - SPAN, until, deadline).await;
    let period = period.map_err(|failure| error_chain(&failure))?;
    let patients: Vec<Value> = period
        .patients
        .into_iter()
        .map(|of| json!({"patient": of.patient.as_str(), "courses": courses(of.submissions)}))
        .collect();
    Ok(json!({ "patients": patients, "more": more }))
}

fn courses(submissions: Vec<records::SubmissionSummary>) -> Vec<Value> {
    let mut courses: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    for summary in submissions.into_iter().filter(|summary| summary.amended_by.is_none()) {
        let Some(scores) = summary.scores else { continue };
        let of = (summary.instrument.id.as_str().to_owned(), summary.instrument.version.as_str().to_owned());
        let point = json!({"at": rfc3339(summary.place.at), "submission": summary.id.to_string(), "scores": scores});
        courses.entry(of).or_default().push(point);
    }
    courses
        .into_iter()
        .map(|((instrument, version), points)| json!({"instrument": instrument, "version": version, "points": points}))
        .collect()
}
