//! `GET /v1/sites/{site}/report`: compliance, score courses and alerts of a site in a period, as a PDF.
//!
//! A chain of steps on one deadline: authorise, data, statistics, render. A step that cannot end in time is not
//! started, and the answer names it.

mod data;
pub mod period;
pub mod render;
pub mod statistics;
mod step;

#[cfg(test)]
#[path = "../tests/sample/mod.rs"]
#[allow(clippy::unwrap_used, reason = "it is written for tests")]
mod sample;

use std::sync::Arc;

use api::{Caller, Handler, Invocation, Problem, ProblemKind, WriteFailure, admit, audit, counted, http, language};
use clinical::ids::SiteId;
use clinical::studies::Protocol;
use invocation::Deadline;
use invocation::aws::Failure;
use lambda_http::http::header::{CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_TYPE};
use lambda_http::http::{HeaderName, HeaderValue};
use lambda_http::{Body, Request, RequestExt, Response};
use records::{Audit, AuditAction, SitePeriod, Store};

use crate::period::{ReportPeriod, Zone};
use crate::render::{Heading, LANGUAGES, Language, RenderError};
use crate::statistics::{SitePlan, statistics};
use crate::step::{Step, Stop};

/// The greatest size of a report: a response of Lambda has at most 6 MB, in which base64 makes a PDF a third longer.
const MAX_BYTES: usize = 4_600_000;
/// The header with the hash of the data that a report shows.
const REPORT_HASH: HeaderName = HeaderName::from_static("x-report-hash");

/// The answers to a report whose audit entry was not stored. A repeat stores another entry.
const AUDIT_NOT_WRITTEN: WriteFailure = WriteFailure {
    event: "report_audit_not_written",
    not_done: "the audit entry of the report could not be stored, and no report was made; retry the request",
    unknown: (
        ProblemKind::NotDone,
        "the audit entry of the report may not be stored, and no report was made; retry the request",
    ),
    invalid: None,
    refused: "the audit entry of the report could not be stored",
};

/// The function, with what it keeps between requests.
#[derive(Clone, Debug)]
pub struct Report {
    store: Store,
}

impl Report {
    /// The function on `store`.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

impl Handler for Report {
    async fn answer(&self, route: &str, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        match route {
            "GET /v1/sites/{site}/report" => self.report(invocation, request).await,
            _ => Err(http::no_such_route()),
        }
    }
}

impl Report {
    async fn report(&self, invocation: Invocation, request: Request) -> Result<Response<Body>, Problem> {
        let caller = Caller::of(&request)?;
        let site = caller.own_site(&http::path_parameter(&request, "site"))?;
        let language = Language::of(language::choose(&request, &LANGUAGES).unwrap_or_default());
        let report = Box::pin(self.make(&invocation, &request, &caller, site, language));
        let report = counted(&self.store, &invocation, caller.study(), [site], report).await;
        report.map_err(|stop| stop.into_problem(language))
    }

    /// Runs the chain of steps.
    async fn make(
        &self,
        invocation: &Invocation,
        request: &Request,
        caller: &Caller,
        site: &SiteId,
        language: Language,
    ) -> Result<Response<Body>, Stop> {
        let (now, deadline) = (invocation.clock.now(), invocation.deadline);
        let protocol = self.protocol(caller, deadline).await?;
        let in_study = protocol.study().and_then(|study| study.site(site));
        let zone = in_study.and_then(|site| Zone::named(&site.time_zone)).unwrap_or_else(Zone::utc);
        let query = request.query_string_parameters_ref();
        let day = |name: &str| query.and_then(|query| query.first(name));
        let period = ReportPeriod::parse(day("from"), day("to"), now, zone)?;

        let entry = audit::entry(AuditAction::ReportRead, caller, invocation).at_site(site);
        let entry = entry.about(format_args!("{}/{}", period.from(), period.to()));
        let audited = self.write_audit(&entry, deadline);
        let (data, ()) = tokio::try_join!(self.data(caller, site, &period, deadline), audited)?;
        let data_ms = invocation.clock.elapsed().as_millis() as u64;

        Step::Statistics.starts(deadline, Step::Statistics.least())?;
        let hash = data::hash(caller.study().as_str(), site.as_str(), &period, &data);
        let plan = SitePlan::at(&protocol, site);
        let statistics = statistics(&data, &plan, &period, period.zone().local(now).date());
        let statistics_ms = invocation.clock.elapsed().as_millis() as u64;

        Step::Render.starts(deadline, render::expected_duration(&statistics))?;
        let study = protocol.study().and_then(|study| language.choose(&study.definition().title));
        let heading = Heading {
            study: &id_and_name(caller.study().as_str(), study),
            site: &id_and_name(site.as_str(), in_study.map(|site| site.name.as_str())),
            plan: &plan,
            period: &period,
            generated_at: now,
            hash: &hash,
            language,
        };
        let in_time = || !deadline.remaining().is_zero();
        let pdf = render::render(&heading, &statistics, in_time).map_err(|reason| match reason {
            RenderError::Stopped => Stop::OutOfTime(Step::Render),
            RenderError::Refused => Problem::new(ProblemKind::Internal, "the report could not be rendered").into(),
        })?;
        tracing::info!(
            event = "report_made",
            data_ms,
            statistics_ms = statistics_ms - data_ms,
            render_ms = invocation.clock.elapsed().as_millis() as u64 - statistics_ms,
            patients = statistics.totals.patients,
            submissions = statistics.totals.submissions,
            bytes = pdf.len(),
        );
        Ok(respond(pdf, &heading, site)?)
    }

    /// Reads the rules in force in the caller's study.
    async fn protocol(&self, caller: &Caller, deadline: Deadline) -> Result<Arc<Protocol>, Stop> {
        let later = Step::Data.least() + Step::Statistics.least() + Step::Render.least();
        Step::Authorise.starts(deadline, Step::Authorise.least() + later)?;
        let deadline = deadline.earlier_by(later);
        let protocol = Step::Authorise
            .bound(deadline, self.store.protocol(caller.study(), deadline), |failure| {
                Problem::not_read("the study", failure)
            })
            .await?;
        admit(&self.store, &protocol)?;
        Ok(protocol)
    }

    /// Stores the audit entry of the report. If that fails, no report is returned.
    async fn write_audit(&self, entry: &Audit, deadline: Deadline) -> Result<(), Stop> {
        let deadline = deadline.earlier_by(Step::Statistics.least() + Step::Render.least());
        let written = self.store.audit(entry, deadline);
        Step::Audit.bound(deadline, written, |failure| Problem::not_written(failure, &AUDIT_NOT_WRITTEN)).await
    }

    /// Reads all data of the period, in the time that the later steps leave.
    async fn data(
        &self,
        caller: &Caller,
        site: &SiteId,
        period: &ReportPeriod,
        deadline: Deadline,
    ) -> Result<SitePeriod, Stop> {
        let later = Step::Statistics.least() + Step::Render.least();
        Step::Data.starts(deadline, Step::Data.least() + later)?;
        let deadline = deadline.earlier_by(later);
        let not_read = |failure: &Failure| Problem::not_read("the site's data", failure);
        let patients = self.store.site_patients(caller.study(), site, deadline);
        let patients = Step::Data.bound(deadline, patients, not_read).await?;
        period.check_size(patients.0.len())?;
        let read = self.store.site_period(caller.study(), site, patients, period.start(), period.end(), deadline);
        Step::Data.bound(deadline, read, not_read).await
    }
}

/// An id, followed by its name if there is one.
fn id_and_name(id: &str, name: Option<&str>) -> String {
    name.map_or_else(|| id.to_owned(), |name| format!("{id} – {name}"))
}

fn respond(pdf: Vec<u8>, heading: &Heading<'_>, site: &SiteId) -> Result<Response<Body>, Problem> {
    if pdf.len() > MAX_BYTES {
        return Err(Problem::new(
            ProblemKind::Invalid,
            format!(
                "the report has {} bytes, and at most {MAX_BYTES} can be returned; request a shorter period",
                pdf.len()
            ),
        ));
    }
    let (from, to) = (heading.period.from(), heading.period.to());
    // The id of a site has no character that needs escaping in a quoted string.
    let disposition = format!("inline; filename=\"report-{}-{from}-{to}.pdf\"", site.as_str());
    let header = |text: &str| HeaderValue::try_from(text).expect("ids, dates, hashes and tags are plain ASCII");
    let mut response = Response::new(Body::Binary(pdf));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/pdf"));
    headers.insert(CONTENT_DISPOSITION, header(&disposition));
    headers.insert(CONTENT_LANGUAGE, header(heading.language.tag()));
    headers.insert(REPORT_HASH, header(heading.hash));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_report_too_large_for_a_lambda_response_is_refused_and_never_truncated() {
        let (protocol, now) = (Protocol::of_no_study(), datetime!(2026-11-23 16:00 UTC));
        let site: SiteId = "S01".parse().unwrap();
        let heading = Heading {
            study: "DEMO",
            site: "S01",
            plan: &SitePlan::at(&protocol, &site),
            period: &ReportPeriod::parse(None, None, now, Zone::utc()).unwrap(),
            generated_at: now,
            hash: "0",
            language: Language::English,
        };
        let sent = respond(vec![0; MAX_BYTES], &heading, &site).unwrap();
        assert!(matches!(sent.body(), Body::Binary(pdf) if pdf.len() == MAX_BYTES));
        // Lambda's limit, less a thousand bytes for what surrounds the body.
        assert!(MAX_BYTES.div_ceil(3) * 4 < 6 * 1024 * 1024 - 1_000);
        let problem = respond(vec![0; MAX_BYTES + 1], &heading, &site).unwrap_err();
        assert_eq!(problem.kind(), ProblemKind::Invalid);
    }
}
