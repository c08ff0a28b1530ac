//! The checks against an API that breaks one promise after the other.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clinical::studies::Protocol;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::surge::diary::diaries;
use crate::surge::phones::Phones;

const PATIENTS: usize = 120;

/// What the API does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    None,
    LosesOne,
    KeepsWhatItRefused,
    RefusesNewOnes,
    ScoresOtherwise,
    ScoresByAnotherVersion,
    NeverScoresOne,
    CountsOneTwice,
    CountsAnotherInstrument,
    PublishesNotAll,
    PublishesWithAnotherSeverity,
    PublishesWhatIsNotStored,
    NamesNoAlertInTheScore,
    IssuesNewReceipts,
    AcceptsOtherAnswers,
    ShowsToOtherPatients,
    ShowsToOneOtherPatient,
    IsNeverAvailable,
    IsNotAvailableToOne,
    TimesOut,
}

/// A local cloud in memory, with a defect.
#[derive(Clone)]
struct Cloud {
    defect: Defect,
    diaries: Arc<Vec<Diary>>,
    stored: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Cloud {
    fn router(self) -> Router {
        Router::new()
            .route("/v1/submissions", post(submit))
            .route("/v1/submissions/{id}", get(state))
            .route("/v1/sites/{site}/counts", get(site_counts))
            .route("/local/inbox", get(inbox))
            .route("/local/tokens", post(token))
            .route("/local/failures", get(async || Json(json!({"failures": []}))))
            .route("/local/invocations", get(invocations))
            .with_state(self)
    }

    fn diary(&self, id: &str) -> &Diary {
        self.diaries.iter().find(|diary| diary.id.to_string() == id).expect("one of the surge")
    }

    fn stored(&self) -> MutexGuard<'_, BTreeMap<String, Value>> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// Whether a defect that affects one submission affects this one, which has an alert.
    fn affects(&self, id: &str) -> bool {
        let with_alert = self.diaries.iter().find(|diary| !diary.expected.alerts.is_empty());
        with_alert.is_some_and(|diary| diary.id.to_string() == id)
    }
}

async fn token(Json(claims): Json<Value>) -> Json<Value> {
    Json(json!({"accessToken": claims["patient"].as_str().unwrap_or("staff")}))
}

async fn submit(State(cloud): State<Cloud>, Json(body): Json<Value>) -> Response {
    let id = body["id"].as_str().expect("an id").to_owned();
    let receipt = |number: usize| Json(json!({"id": id, "status": "queued", "number": number}));
    let affected = cloud.affects(&id);
    let mut stored = cloud.stored();
    if cloud.is(Defect::IsNeverAvailable) || affected && cloud.is(Defect::IsNotAvailableToOne) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if affected && cloud.is(Defect::RefusesNewOnes) {
        return StatusCode::CONFLICT.into_response();
    }
    match stored.get(&id) {
        None => {
            if !(affected && (cloud.is(Defect::LosesOne) || cloud.is(Defect::PublishesWhatIsNotStored))) {
                stored.insert(id.clone(), body);
            }
            if affected && cloud.is(Defect::KeepsWhatItRefused) {
                return StatusCode::UNPROCESSABLE_ENTITY.into_response();
            }
            (StatusCode::ACCEPTED, receipt(0)).into_response()
        }
        Some(first) if *first == body || cloud.is(Defect::AcceptsOtherAnswers) => {
            let number = usize::from(affected && cloud.is(Defect::IssuesNewReceipts));
            receipt(number).into_response()
        }
        Some(_) => StatusCode::CONFLICT.into_response(),
    }
}

async fn state(State(cloud): State<Cloud>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let caller = headers["authorization"].to_str().expect("a token").trim_start_matches("Bearer ").to_owned();
    let diary = cloud.diary(&id);
    let last = cloud.diaries.last().is_some_and(|last| caller == last.patient.as_str());
    let other = cloud.is(Defect::ShowsToOtherPatients) || last && cloud.is(Defect::ShowsToOneOtherPatient);
    let own = caller == "staff" || caller == diary.patient.as_str() || other;
    let Some(body) = cloud.stored().get(&id).cloned().filter(|_| own) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let affected = cloud.affects(&id);
    if affected && cloud.is(Defect::NeverScoresOne) {
        return Json(json!({"status": "queued"})).into_response();
    }
    let expected = &diary.expected;
    let mut scores = expected.scores.clone();
    if affected && cloud.is(Defect::ScoresOtherwise) {
        scores[0]["value"] = 99.into();
    }
    let hash = if affected && cloud.is(Defect::ScoresByAnotherVersion) { "other" } else { &expected.hash };
    let named = !(affected && cloud.is(Defect::NamesNoAlertInTheScore));
    let alerts: Vec<String> =
        expected.alerts.iter().filter(|_| named).map(|(rule, _)| format!("{id}-{rule}")).collect();
    Json(json!({
        "status": "scored", "instrument": body["instrument"], "version": body["version"],
        "score": {"instrumentHash": hash, "scores": scores, "notScored": expected.not_scored, "alerts": alerts},
    }))
    .into_response()
}

async fn site_counts(State(cloud): State<Cloud>, Path(site): Path<String>) -> Json<Value> {
    let (mut submissions, mut alerts, mut by_instrument) = (0, 0, BTreeMap::<String, u64>::new());
    for id in cloud.stored().keys() {
        let diary = cloud.diary(id);
        if diary.site.as_str() != site {
            continue;
        }
        submissions += 1 + u64::from(cloud.affects(id) && cloud.is(Defect::CountsOneTwice));
        alerts += diary.expected.alerts.len();
        let other = cloud.affects(id) && cloud.is(Defect::CountsAnotherInstrument);
        let instrument = if other { "other".to_owned() } else { diary.instrument.clone() };
        *by_instrument.entry(instrument).or_default() += 1;
    }
    // More than were sent, as no check waits for them here.
    let api_calls = 1_000 * submissions;
    let counts =
        json!({"apiCalls": api_calls, "submissions": submissions, "alerts": alerts, "byInstrument": by_instrument});
    Json(json!({"counts": [counts]}))
}

async fn inbox(State(cloud): State<Cloud>, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let mut messages = Vec::new();
    for diary in cloud.diaries.iter().filter(|diary| diary.site.as_str() == query["site"]) {
        let id = diary.id.to_string();
        let affected = cloud.affects(&id);
        let stored = cloud.stored().contains_key(&id) || cloud.is(Defect::PublishesWhatIsNotStored);
        if !stored || affected && cloud.is(Defect::PublishesNotAll) {
            continue;
        }
        for (rule, severity) in &diary.expected.alerts {
            let other = affected && cloud.is(Defect::PublishesWithAnotherSeverity);
            let severity = if other { "none" } else { severity };
            let (alert, id) = (format!("{id}-{rule}"), &id);
            let body = json!({"alertId": alert, "submissionId": id, "severity": severity, "rule": rule});
            // At least once.
            messages.extend([json!({"body": body}), json!({"body": body})]);
        }
    }
    Json(json!({"messages": messages}))
}

async fn invocations(State(cloud): State<Cloud>) -> Json<Value> {
    let late = u64::from(cloud.is(Defect::TimesOut) && !cloud.stored().is_empty());
    Json(json!({"totals": {"submit": {"answered": 9, "timedOut": late}}}))
}

/// The promises that the checks find broken.
async fn broken(defect: Defect) -> BTreeSet<u8> {
    broken_in(defect, PATIENTS, During::default()).await
}

async fn broken_in(defect: Defect, patients: usize, during: During) -> BTreeSet<u8> {
    let sites: Vec<SiteId> = ["S01", "S02"].map(|site| site.parse().expect("well formed")).into();
    let diaries = Arc::new(diaries(&Protocol::of_no_study(), &sites, patients).expect("the instruments ship"));
    let cloud = Cloud { defect, diaries: Arc::clone(&diaries), stored: Arc::default() };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let server = tokio::spawn(async move { axum::serve(listener, cloud.router()).await });

    let patience = Duration::from_millis(200);
    let api = Api::at(url, patience);
    let study = "EPRO-DEMO".parse().expect("well formed");
    let checks = Checks::begin(&api, &study, &sites, patience, true).await.expect("it answers");
    let tokens: Vec<String> = diaries.iter().map(|diary| diary.patient.to_string()).collect();
    let progress = ProgressBar::new("sent", patients, true);
    let sent = Phones::new(&api, 8, patience).send(&diaries, &tokens, &progress).await;
    let findings = checks.run(&diaries, &tokens, &sent, during).await.expect("it answers");
    server.abort();
    findings.broken.into_iter().map(|(promise, _)| promise).collect()
}

#[tokio::test]
async fn each_broken_promise_is_found_and_only_that_one() {
    for (defect, expected) in [
        (Defect::None, [].as_slice()),
        // Its repeat is accepted as a new one.
        (Defect::LosesOne, &[1]),
        (Defect::KeepsWhatItRefused, &[1]),
        (Defect::RefusesNewOnes, &[5]),
        (Defect::ScoresOtherwise, &[2]),
        (Defect::ScoresByAnotherVersion, &[2]),
        // The counts have it, and its alert is published.
        (Defect::NeverScoresOne, &[2, 3]),
        (Defect::CountsOneTwice, &[3]),
        (Defect::CountsAnotherInstrument, &[3]),
        (Defect::PublishesNotAll, &[4]),
        (Defect::PublishesWithAnotherSeverity, &[4]),
        (Defect::PublishesWhatIsNotStored, &[1, 4]),
        (Defect::NamesNoAlertInTheScore, &[4]),
        (Defect::IssuesNewReceipts, &[5]),
        (Defect::AcceptsOtherAnswers, &[5]),
        (Defect::ShowsToOtherPatients, &[9]),
        (Defect::ShowsToOneOtherPatient, &[9]),
        (Defect::IsNotAvailableToOne, &[7]),
        (Defect::TimesOut, &[6]),
    ] {
        assert_eq!(broken(defect).await, expected.iter().copied().collect(), "{defect:?}");
    }
}

#[tokio::test]
async fn a_surge_that_only_gets_503_fails_and_under_faults_some_submissions_may_stay_unsettled() {
    let during = During { faults: true, ..During::default() };
    assert_eq!(broken_in(Defect::IsNotAvailableToOne, PATIENTS, during).await, BTreeSet::new());
    assert_eq!(broken_in(Defect::IsNeverAvailable, 3, During::default()).await, BTreeSet::from([7]));
    assert_eq!(broken_in(Defect::IsNeverAvailable, 3, during).await, BTreeSet::from([7]));
}

#[tokio::test]
async fn one_patient_alone_is_no_other_patient() {
    assert_eq!(broken_in(Defect::None, 1, During::default()).await, BTreeSet::new());
}

#[tokio::test]
async fn invocations_that_timed_out_before_the_cloud_was_killed_are_counted() {
    let during = During { timed_out: 1, ..During::default() };
    assert_eq!(broken_in(Defect::None, 3, during).await, BTreeSet::from([6]));
}
