//! The function that lists patients. `GET /v1/sites/{site}/patients` returns, in pages, the state of each patient of a
//! site: the last submission, the latest scores by instrument, the compliance, and the open alerts: how many, how severe,
//! since when.

use std::collections::BTreeMap;
use std::time::Duration;

use api::{Caller, Handler, Invocation, PageRequest, Problem, SiteList, admit, counted, http, language};
use clinical::document::{Number, Texts};
use clinical::ids::{InstrumentId, InstrumentVersion, ScoreId, SiteId, StudyId, SubmissionId};
use clinical::instruments::{Catalog, Course, Point};
use clinical::studies::{Protocol, Study};
use invocation::aws::Failure;
use invocation::rfc3339;
use lambda_http::http::header::CONTENT_LANGUAGE;
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use records::{AuditAction, Compliance, PatientRow, Profile, Store, Withdrawal};
use serde::Serialize;

const ROUTE: &str = "GET /v1/sites/{site}/patients";
/// The most that reading the patients may take: a person who waits for a list would rather ask again than wait longer.
const DATA: Duration = Duration::from_secs(2);
/// The detail where time runs out, by language.
const TIMED_OUT: [(&str, &str); 2] =
    [("en", "Fetching the patients timed out; please try again later"), ("zh-Hans", "获取患者数据超时，请稍后重试")];

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Patients {
    store: Store,
}

impl Patients {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Patients {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            ROUTE => self.list(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}

impl Patients {
    async fn list(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        let page = Box::pin(self.page(&invocation, &request, &caller, site));
        counted(&self.store, &invocation, caller.study(), [site], page).await
    }

    /// One page. What it needs besides the patients is read at the same time; the first failure ends all reads.
    async fn page(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
        site: &SiteId,
    ) -> Result<Response<Body>, Problem> {
        let (study, deadline) = (caller.study(), invocation.deadline);
        let not_read = |failure: Failure| Problem::list_not_read("the patients", &failure, &TIMED_OUT, request);
        let page = PageRequest::of(request)?;
        let action = AuditAction::PatientsRead;
        let list = SiteList { store: &self.store, invocation, caller, site, action, route: ROUTE, filters: &[] };
        let after = list.resolve_cursor(&page, not_read).await?;
        let data = deadline.no_later_than(DATA);
        let patients = self.store.patients(study, site, after.as_deref(), page.limit, data);
        let ((patients, next), protocol) =
            tokio::try_join!(list.page(patients), self.store.protocol(study, deadline)).map_err(not_read)?;
        admit(&self.store, &protocol)?;
        let mut compliance = BTreeMap::new();
        if !protocol.schedules().is_empty() {
            let shown = patients.iter().filter(|listed| is_shown(listed)).map(|listed| &listed.patient);
            compliance = self.store.compliance_of(study, shown, data).await.map_err(not_read)?;
        }
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
                patients: patients
                    .iter()
                    .map(|listed| PatientBody::of(listed, compliance.get(&listed.patient), &protocol))
                    .collect(),
                next,
            },
        );
        if let Some(tag) = title.and_then(|(tag, _)| HeaderValue::from_str(tag).ok()) {
            response.headers_mut().insert(CONTENT_LANGUAGE, tag);
        }
        Ok(response)
    }
}

/// The text of `texts` in the best language for the caller, with its tag.
fn in_language<'a>(request: &Request, texts: &'a Texts) -> Option<(&'a str, &'a str)> {
    let offered: Vec<&str> = texts.keys().map(String::as_str).collect();
    let (tag, text) = texts.get_key_value(language::choose(request, &offered)?)?;
    Some((tag, text))
}

#[derive(Serialize)]
struct PageBody<'a> {
    study: StudyBody<'a>,
    site: SiteBody<'a>,
    patients: Vec<PatientBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// The study; its title is omitted where the study is not stored.
#[derive(Serialize)]
struct StudyBody<'a> {
    id: &'a StudyId,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
}

/// The site; its name is omitted where the study is not stored.
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
    /// Of a registered patient.
    #[serde(skip_serializing_if = "Option::is_none")]
    enrolled_on: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn: Option<WithdrawnBody>,
    /// Of the instruments in whose windows the patient was asked; omitted where there is none, and of a patient whose data
    /// are hidden.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compliance: Vec<ComplianceBody<'a>>,
    /// `None` before the first score, of a patient whose data are hidden, and where the stored profile cannot be read.
    #[serde(flatten)]
    state: Option<PatientState<'a>>,
    /// The reason why what is stored of the patient cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// A withdrawal from the study.
#[derive(Serialize)]
struct WithdrawnBody {
    at: String,
    mode: &'static str,
}

/// How many of the windows of an instrument that are over, or were answered before, were answered, and how many of these
/// answers were received late.
#[derive(Serialize)]
struct ComplianceBody<'a> {
    instrument: &'a InstrumentId,
    expected: u64,
    completed: u64,
    late: u64,
}

/// The state of a patient.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PatientState<'a> {
    /// `None` of a patient who has only missed windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_submission: Option<LastSubmission<'a>>,
    /// By instrument.
    scores: Vec<ScoresOf<'a>>,
    open_alerts: u64,
    /// The highest severity of these; omitted where there is none, or where that is not known of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    highest_severity: Option<&'static str>,
    /// When the oldest of these was raised; omitted with the severity.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_raised_at: Option<String>,
}

/// The submission that the patient completed last. Its instrument is omitted until it is scored.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastSubmission<'a> {
    id: SubmissionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    instrument: Option<&'a InstrumentId>,
    /// When it counts as completed.
    effective_at: String,
}

/// The latest scores of one instrument.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScoresOf<'a> {
    instrument: &'a InstrumentId,
    version: &'a InstrumentVersion,
    submission: SubmissionId,
    effective_at: String,
    /// The number of scored submissions.
    count: u64,
    scores: Vec<ScoreBody<'a>>,
}

/// A score; range and band are those of the version that computed it, omitted where that is not known.
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
    fn of(
        listed: &'a PatientRow,
        compliance: Option<&'a BTreeMap<InstrumentId, Compliance>>,
        protocol: &'a Protocol,
    ) -> Self {
        let compliance = compliance.into_iter().flatten().map(|(instrument, compliance)| {
            let Compliance { expected, completed, late } = *compliance;
            ComplianceBody { instrument, expected, completed, late }
        });
        let mut body = Self {
            patient: listed.patient.as_str(),
            enrolled_on: None,
            withdrawn: None,
            compliance: compliance.collect(),
            state: None,
            unreadable: None,
        };
        match (&listed.registration, &listed.profile) {
            (Ok(registration), Ok(profile)) => {
                let withdrawal = registration.as_ref().and_then(|registration| registration.withdrawal.as_ref());
                body.enrolled_on = registration.as_ref().map(|registration| registration.enrolled_on.to_string());
                body.withdrawn = withdrawal
                    .map(|withdrawal| WithdrawnBody { at: rfc3339(withdrawal.at), mode: withdrawal.mode.as_str() });
                let shown = profile.as_ref().filter(|_| is_shown(listed));
                body.state = shown.map(|profile| PatientState::of(profile, protocol));
            }
            (Err(unreadable), _) | (_, Err(unreadable)) => {
                tracing::error!(event = "patient_unreadable", %unreadable);
                body.unreadable = Some(unreadable.to_string());
            }
        }
        body
    }
}

/// Whether data of the patient may be shown. Without the registration it is not known whether they are to be hidden.
fn is_shown(listed: &PatientRow) -> bool {
    listed.registration.as_ref().is_ok_and(|registration| {
        let withdrawal = registration.as_ref().and_then(|registration| registration.withdrawal.as_ref());
        !withdrawal.is_some_and(Withdrawal::hides)
    })
}

impl<'a> PatientState<'a> {
    fn of(profile: &'a Profile, protocol: &'a Protocol) -> Self {
        let last = profile.last_submission;
        // An instrument whose versions are not comparable has several courses; the newest is shown.
        let mut newest: BTreeMap<&InstrumentId, (&Course, &Point)> = BTreeMap::new();
        for (course_id, course) in &profile.courses {
            let Some(latest) = course.latest() else { continue };
            let known = newest.entry(&course_id.instrument).or_insert((course, latest));
            if known.1.place < latest.place {
                *known = (course, latest);
            }
        }
        let open = profile.highest_and_oldest();
        let instrument = |id: SubmissionId| newest.iter().find(|(_, (_, latest))| latest.submission == id);
        Self {
            last_submission: last.map(|(id, place)| LastSubmission {
                id,
                instrument: instrument(id).map(|(instrument, _)| *instrument),
                effective_at: rfc3339(place.at),
            }),
            scores: newest
                .iter()
                .map(|(instrument, (course, latest))| ScoresOf::of(instrument, course, latest, protocol))
                .collect(),
            open_alerts: profile.open_alerts,
            highest_severity: open.map(|(highest, _)| highest.as_str()),
            oldest_raised_at: open.map(|(_, oldest)| rfc3339(oldest)),
        }
    }
}

impl<'a> ScoresOf<'a> {
    fn of(instrument: &'a InstrumentId, course: &Course, latest: &'a Point, protocol: &'a Protocol) -> Self {
        // An instrument that the study does not ask any more may be one that ships.
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
            effective_at: rfc3339(latest.place.at),
            count: course.count,
            scores: scores.collect(),
        }
    }
}
