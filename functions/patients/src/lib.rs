//! `GET /v1/sites/{site}/patients` tells where each patient of a site stands: the last submission, the last scores by
//! instrument, the alerts that nobody has taken on. In pages, by patient.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use clinical::document::{Number, Texts};
use clinical::ids::{InstrumentId, InstrumentVersion, ScoreId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{Catalog, Course, Point};
use clinical::studies::{Protocol, Study};
use invocation::aws::{self, Failure};
use invocation::cursor::Wish;
use invocation::http::{self, Invocation};
use invocation::{Caller, Environment, EnvironmentError, Problem, ProblemKind, Role, Scope, beside, language};
use lambda_http::http::header::CONTENT_LANGUAGE;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use records::{Audit, AuditAction, Listed, Profile, Store};
use serde::Serialize;

const ROUTE: &str = "GET /v1/sites/{site}/patients";
/// What the call for the patients may take of the request's time: who looks at a list would rather ask again than wait longer.
const DATA: Duration = Duration::from_secs(2);
/// What is said when time runs out, by language.
const TIMED_OUT: [(&str, &str); 2] =
    [("en", "Fetching the patients timed out; please try again later"), ("zh-Hans", "获取患者数据超时，请稍后重试")];

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Patients {
    store: Store,
}

impl Patients {
    /// The function as its environment variables set it up.
    ///
    /// # Errors
    /// If one is missing.
    pub fn from_environment(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self::new(Store::from_environment(environment, aws::https())?))
    }

    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Opens the connection to the store ahead of the first request. If it fails, the first request opens it.
    pub async fn warm_up(&self) {
        self.store.warm_up(&self.store.tables().records).await;
    }

    /// Answers one request.
    ///
    /// # Errors
    /// Never: an error is an answer.
    pub async fn handle(&self, request: Request) -> Result<Response<Body>, Infallible> {
        http::answer(request, async |invocation: Invocation, request: Request| match http::route(&request).as_str() {
            ROUTE => self.list(invocation, request).await,
            _ => Err(http::no_such_route()),
        })
        .await
    }

    async fn list(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        caller.require(Scope::PATIENTS_READ, &[Role::Staff])?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        let (study, deadline) = (caller.study(), invocation.deadline);
        let count = self.store.count_calls(study, [site], &invocation.request_id, deadline);
        beside(deadline, count, Box::pin(self.page(&invocation, &request, &caller, site))).await
    }

    /// One page. What it needs besides the patients is fetched beside them; where one of them fails or runs out of time,
    /// all end.
    async fn page(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
        site: &SiteId,
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline, now) = (caller.study(), invocation.deadline, invocation.clock.now());
        let problem = |failure: Failure| read_problem(&failure, request);
        let wish = Wish::of(request)?;
        let list = [ROUTE, study.as_str(), site.as_str()];
        let after = self.store.page_begins(&wish, &list, now, deadline, problem).await?;
        // Nobody sees patients whose look at them is not on record.
        let entry = Audit::of(AuditAction::PatientsRead, caller, invocation).at_site(site);
        let patients = self.store.patients(study, site, after.as_deref(), wish.limit, deadline.no_later_than(DATA));
        let (page, protocol, key, ()) = tokio::try_join!(
            patients,
            self.store.protocol(study, deadline),
            self.store.cursor_key(deadline),
            self.store.audit(&entry, deadline)
        )
        .map_err(problem)?;
        self.store.admit(&protocol)?;
        let of_study = protocol.study().map(Study::definition);
        let title = of_study.and_then(|study| in_language(request, &study.title));
        let mut response = http::json(
            StatusCode::OK,
            &PageBody {
                study: StudyBody { id: study, title: title.map(|(_, title)| title) },
                site: SiteBody {
                    id: site,
                    name: protocol.study().and_then(|study| study.site(site)).map(|site| site.name.as_str()),
                },
                patients: page.entries.iter().map(|listed| PatientBody::of(listed, &protocol)).collect(),
                next: page.next.map(|position| key.cursor(&list, &position, now)),
            },
        );
        if let Some(tag) = title.and_then(|(tag, _)| HeaderValue::from_str(tag).ok()) {
            response.headers_mut().insert(CONTENT_LANGUAGE, tag);
        }
        Ok(response)
    }
}

/// The one of `texts` that suits the caller, with its language.
fn in_language<'a>(request: &Request, texts: &'a Texts) -> Option<(&'a str, &'a str)> {
    let offered: Vec<&str> = texts.keys().map(String::as_str).collect();
    let (tag, text) = texts.get_key_value(language::of(request, &offered)?)?;
    Some((tag, text))
}

/// What a step that failed means to who asked: in the caller's language where all that it takes is to ask again.
fn read_problem(failure: &Failure, request: &Request) -> Problem {
    if failure.is_out_of_time() {
        tracing::error!(event = "patients_timed_out", %failure);
        let tag = language::of(request, &TIMED_OUT.map(|(tag, _)| tag));
        let (tag, detail) = TIMED_OUT.into_iter().find(|(known, _)| Some(*known) == tag).unwrap_or(TIMED_OUT[0]);
        return Problem::new(ProblemKind::TimedOut, detail).in_language(tag);
    }
    Problem::not_read("the patients", failure)
}

#[derive(Serialize)]
struct PageBody<'a> {
    study: StudyBody<'a>,
    site: SiteBody<'a>,
    patients: Vec<PatientBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The study; its title is known where its data is stored.
#[derive(Serialize)]
struct StudyBody<'a> {
    id: &'a StudyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

/// The site; its name is known where the study's data has it.
#[derive(Serialize)]
struct SiteBody<'a> {
    id: &'a SiteId,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PatientBody<'a> {
    patient: &'a str,
    /// What is known; without it the stored profile cannot be read, and says so.
    #[serde(flatten)]
    standing: Option<Standing<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// Where a patient stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Standing<'a> {
    last_submission: LastSubmission<'a>,
    /// By instrument.
    scores: Vec<ScoresOf<'a>>,
    open_alerts: u64,
}

/// The submission that the patient completed last. Its instrument is known once it has a score.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastSubmission<'a> {
    id: SubmissionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    instrument: Option<&'a InstrumentId>,
    /// When the patient completed it, as far as the clocks can be trusted.
    effective_at: String,
}

/// The last scores of one instrument.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScoresOf<'a> {
    instrument: &'a InstrumentId,
    version: &'a InstrumentVersion,
    submission: SubmissionId,
    effective_at: String,
    /// How many submissions were scored.
    count: u64,
    scores: Vec<ScoreBody<'a>>,
}

/// One score; its range and band by the version that it was scored by, where that is known.
#[derive(Serialize)]
struct ScoreBody<'a> {
    id: &'a ScoreId,
    value: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<(Number, Number)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    band: Option<&'a str>,
}

impl<'a> PatientBody<'a> {
    fn of(listed: &'a Listed, protocol: &'a Protocol) -> Self {
        let patient = listed.patient.as_str();
        match &listed.profile {
            Ok(profile) => Self { patient, standing: Some(Standing::of(profile, protocol)), unreadable: None },
            Err(unreadable) => {
                tracing::error!(event = "profile_unreadable", %unreadable);
                Self { patient, standing: None, unreadable: Some(unreadable.to_string()) }
            }
        }
    }
}

impl<'a> Standing<'a> {
    fn of(profile: &'a Profile, protocol: &'a Protocol) -> Self {
        let (id, place) = profile.last_submission;
        // Of an instrument with several courses, because its versions are not comparable, the newest.
        let mut newest: BTreeMap<&InstrumentId, (&Course, &Point)> = BTreeMap::new();
        for (course_id, course) in &profile.courses {
            let Some(latest) = course.latest() else { continue };
            let known = newest.entry(&course_id.instrument).or_insert((course, latest));
            if known.1.place < latest.place {
                *known = (course, latest);
            }
        }
        let scored = newest.iter().find(|(_, (_, latest))| latest.submission == id);
        Self {
            last_submission: LastSubmission {
                id,
                instrument: scored.map(|(instrument, _)| *instrument),
                effective_at: http::rfc3339(place.at),
            },
            scores: newest
                .iter()
                .map(|(instrument, (course, latest))| ScoresOf::of(instrument, course, latest, protocol))
                .collect(),
            open_alerts: profile.open_alerts,
        }
    }
}

impl<'a> ScoresOf<'a> {
    fn of(instrument: &'a InstrumentId, course: &Course, latest: &'a Point, protocol: &'a Protocol) -> Self {
        // Where the study asks it no more, it may still be one that ships.
        let mut catalogs = [protocol.catalog(), Catalog::shipped()].into_iter();
        let scored_by = catalogs.find_map(|catalog| catalog.find(instrument, &latest.version).ok());
        let definition =
            |score: &ScoreId| scored_by?.definition().scores.iter().find(|definition| definition.id == *score);
        let scores = latest.scores.iter().map(|(id, value)| {
            let definition = definition(id);
            ScoreBody {
                id,
                value: Number(*value),
                range: definition.map(|score| score.range),
                band: definition.and_then(|score| score.band(*value)).map(|band| band.id.as_str()),
            }
        });
        Self {
            instrument,
            version: &latest.version,
            submission: latest.submission,
            effective_at: http::rfc3339(latest.place.at),
            count: course.count,
            scores: scores.collect(),
        }
    }
}
