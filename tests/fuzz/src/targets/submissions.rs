//! What a patient's app sends.

use std::sync::LazyLock;

use api::{CorrelationId, Problem, ProblemFormat};
use clinical::ids::SiteId;
use clinical::instruments::{Catalog, History};
use clinical::studies::{Protocol, Study};
use lambda_http::http::header::CONTENT_TYPE;
use lambda_http::{Body, Request};
use submit::reading::{self, ReadSubmission, ReadingContext};
use time::OffsetDateTime;
use time::macros::datetime;

const NOW: OffsetDateTime = datetime!(2026-11-23 08:00:00 UTC);

static SITE: LazyLock<SiteId> = LazyLock::new(|| "S01".parse().expect("it is a site's id"));

/// A study without a definition, and one with rules of its own.
static PROTOCOLS: LazyLock<[Protocol; 2]> = LazyLock::new(|| {
    let study = Study::parse(include_str!("../../../../shared/clinical/studies/demo.json"));
    let protocol = study.and_then(|study| study.with_instruments(&[], |_| true));
    [Protocol::of_no_study(), protocol.expect("the study of the repository is valid")]
});

pub(super) fn submission(input: &[u8]) {
    for protocol in PROTOCOLS.iter() {
        match reading::submission(&request(input), context(protocol)) {
            Ok(submission) => score(&[submission]),
            Err(problem) => answer(problem, ProblemFormat::Problem),
        }
    }
}

pub(super) fn batch(input: &[u8]) {
    for protocol in PROTOCOLS.iter() {
        match reading::batch(&request(input), context(protocol)) {
            Ok((submissions, body)) => {
                drop(body.to_string());
                score(&submissions);
            }
            Err(problem) => answer(problem, ProblemFormat::Problem),
        }
    }
}

pub(super) fn response(input: &[u8]) {
    for protocol in PROTOCOLS.iter() {
        match reading::response(&request(input), context(protocol)) {
            Ok(submission) => score(&[submission]),
            Err(problem) => answer(problem, ProblemFormat::OperationOutcome),
        }
    }
}

/// The request that carries `input`: text if it is UTF-8, as API Gateway passes it.
fn request(input: &[u8]) -> Request {
    let body = match std::str::from_utf8(input) {
        Ok(text) => Body::Text(text.to_owned()),
        Err(_) => Body::Binary(input.to_vec()),
    };
    let request = Request::new(body);
    let (mut parts, body) = request.into_parts();
    parts.headers.insert(CONTENT_TYPE, "application/json".parse().expect("it is a header"));
    Request::from_parts(parts, body)
}

fn context(protocol: &Protocol) -> ReadingContext<'_> {
    ReadingContext { protocol, site: &SITE, received_at: NOW }
}

fn answer(problem: Problem, format: ProblemFormat) {
    drop(problem.into_response_in(format, &CorrelationId::given_or_new(Some("fuzz"))));
}

/// Scores valid submissions, each as the first of its course and as the one after those before it.
fn score(submissions: &[ReadSubmission]) {
    let mut latest = Vec::new();
    for submission in submissions {
        let instrument = Catalog::shipped().find(&submission.instrument.id, &submission.instrument.version);
        let instrument = instrument.expect("the studies have shipped instruments only");
        let first = instrument.assess(&submission.answers).expect("the instrument accepted the answers");
        latest.insert(0, first.scores_by_id());
        for more in [false, true] {
            let history = History::Known { baseline: latest.last().cloned(), latest: latest.clone(), more };
            instrument.assess_with(&submission.answers, &history).expect("the instrument accepted the answers");
        }
        latest.truncate(10);
    }
}
