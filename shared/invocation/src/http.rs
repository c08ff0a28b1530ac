//! One HTTP request from entry to answer: whatever happens, there is an answer, in time, and one line in the log.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::Instrument;

use crate::telemetry::{self, InvocationIds};
use crate::{Clock, CorrelationId, Deadline, Problem, ProblemForm, ProblemKind, metrics};

/// What is left of the time for putting the answer into words once a step has run out of it.
const WORDING: Duration = Duration::from_millis(10);

/// What a handler knows of its invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// When everything that the handler waits for must have ended.
    pub deadline: Deadline,
    /// The time of day.
    pub clock: Clock,
    /// Ties what comes of this request together.
    pub correlation_id: CorrelationId,
    /// Lambda's id of this invocation; no other one has it.
    pub request_id: String,
}

/// Answers `request` by `handle`: makes its deadline (shortened by a `Request-Timeout` header, in seconds), turns a
/// problem into an answer, puts `x-correlation-id` on every answer, and logs one line.
///
/// # Errors
/// Never: an error is an answer.
pub async fn answer<F, Fut>(request: Request, handle: F) -> Result<Response<Body>, Infallible>
where
    F: FnOnce(Invocation, Request) -> Fut,
    Fut: Future<Output = Result<Response<Body>, Problem>>,
{
    answer_in(ProblemForm::Problem, request, handle).await
}

/// As [`answer`], with problems written in `form`.
///
/// # Errors
/// Never: an error is an answer.
pub async fn answer_in<F, Fut>(form: ProblemForm, request: Request, handle: F) -> Result<Response<Body>, Infallible>
where
    F: FnOnce(Invocation, Request) -> Fut,
    Fut: Future<Output = Result<Response<Body>, Problem>>,
{
    let context = request.lambda_context_ref().cloned().unwrap_or_default();
    let mut deadline = Deadline::of(&context, Deadline::API_RESERVE);
    if let Some(wish) = requested_timeout(&request) {
        deadline = deadline.no_later_than(wish);
    }
    let given = request.headers().get(CorrelationId::HEADER).and_then(|value| value.to_str().ok());
    let invocation = Invocation {
        deadline: deadline.earlier_by(WORDING),
        clock: Clock::system(),
        correlation_id: CorrelationId::given_or_new(given),
        request_id: context.request_id.clone(),
    };
    let correlation_id = invocation.correlation_id.clone();
    let clock = invocation.clock;
    let ids = InvocationIds {
        request_id: &context.request_id,
        trace_id: context.xray_trace_id.as_deref(),
        correlation_id: Some(correlation_id.as_str()),
    };
    let span = telemetry::invocation_span(&ids);
    let (route, method) = (route(&request), request.method().clone());

    async {
        let result = match deadline.bound(Box::pin(handle(invocation, request))).await {
            Some(result) => result,
            None => Err(out_of_time(&method)),
        };
        let problem = result.as_ref().err().map(Problem::kind);
        let mut response = result.unwrap_or_else(|problem| problem.into_response_in(form, &correlation_id));
        if let Ok(value) = HeaderValue::from_str(correlation_id.as_str()) {
            response.headers_mut().insert(CorrelationId::HEADER, value);
        }
        // What is answered is one caller's, and errors are too. What anybody may keep says so by itself.
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            metrics::count(metrics::REFUSED, 1);
        }
        tracing::info!(
            event = "answered",
            route,
            status = response.status().as_u16(),
            problem = problem.map(tracing::field::debug),
            ms = clock.elapsed().as_millis() as u64,
            remaining_ms = deadline.remaining().as_millis() as u64,
        );
        Ok(response)
    }
    .instrument(span)
    .await
}

/// The route as the template names it, so that ids in a path stay out of the log; `""` where no gateway named one.
pub fn route(request: &Request) -> String {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.route_key.clone().unwrap_or_default(),
        _ => String::new(),
    }
}

/// The part `name` of the request's path, as the template names it.
pub fn path_parameter(request: &Request, name: &str) -> String {
    request.path_parameters_ref().and_then(|parameters| parameters.first(name)).unwrap_or_default().to_owned()
}

/// An answer with `body` as JSON.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string(body).expect("answers are maps with string keys, which always serialise");
    let mut response = Response::new(Body::Text(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// `time` as answers have it.
pub fn rfc3339(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).expect("a time that was read from RFC 3339, or from the clock, can be written in it")
}

/// The answer to a route that the function does not have: the template and the function disagree.
pub fn no_such_route() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such route")
}

/// Each step keeps to the deadline by itself and knows better what became of it; this answers if one does not.
fn out_of_time(method: &Method) -> Problem {
    if method.is_safe() {
        Problem::new(ProblemKind::NotDone, "time ran out; ask again")
    } else {
        Problem::new(ProblemKind::MayRepeat, "time ran out, and whether it was done is not known")
    }
}

fn requested_timeout(request: &Request) -> Option<Duration> {
    let seconds: f64 = request.headers().get("request-timeout")?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    use crate::metrics::Captured;
    use lambda_http::Context;
    use tokio::time::Instant;

    fn request(remaining_ms: u64, headers: &[(&'static str, &'static str)]) -> Request {
        let mut context = Context::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        context.deadline = now.as_millis() as u64 + remaining_ms;
        let mut request = Request::new(Body::Empty).with_lambda_context(context);
        for &(name, value) in headers {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        request
    }

    async fn stalled(_: Invocation, _: Request) -> Result<Response<Body>, Problem> {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_never_answers_is_answered_for_before_the_reserve() {
        for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
            let start = Instant::now();
            let response = answer(request(remaining, &[]), stalled).await.unwrap();
            assert_eq!(response.status(), 503, "{remaining}");
            assert!(start.elapsed() <= Duration::from_millis(remaining.saturating_sub(250)), "{remaining}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_wish_for_less_time_and_not_for_more() {
        for (wish, expected_ms) in
            [("0.5", 500), ("1", 1_000), ("60", 2_750), ("-1", 2_750), ("NaN", 2_750), ("x", 2_750)]
        {
            let start = Instant::now();
            answer(request(3_000, &[("request-timeout", wish)]), stalled).await.unwrap();
            let took = start.elapsed().as_millis() as i64;
            // The wall clock goes on while Tokio's is stopped.
            assert!((took - expected_ms).abs() <= 50, "{wish}: {took} ms");
        }
    }

    #[tokio::test]
    async fn what_is_refused_is_a_metric() {
        let metrics = Captured::begin();
        for kind in [ProblemKind::Unauthenticated, ProblemKind::Forbidden, ProblemKind::NotFound, ProblemKind::Invalid]
        {
            let refused = |_, _| async { Err(Problem::new(kind, "")) };
            answer(request(3_000, &[]), refused).await.unwrap();
        }
        answer(request(3_000, &[]), |_, _| async { Ok(json(StatusCode::OK, &[1])) }).await.unwrap();
        assert_eq!(metrics.sum(metrics::REFUSED), Some(2));
    }

    #[tokio::test]
    async fn no_answer_is_kept_by_a_cache_unless_it_says_that_it_may_be() {
        let fine = |_, _| async { Ok(json(StatusCode::OK, &[1])) };
        let broken = |_, _| async { Err(no_such_route()) };
        let lasting = |_, _| async {
            let mut response = json(StatusCode::OK, &[1]);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, immutable"));
            Ok(response)
        };
        assert_eq!(answer(request(3_000, &[]), fine).await.unwrap().headers()[CACHE_CONTROL], "no-store");
        assert_eq!(answer(request(3_000, &[]), broken).await.unwrap().headers()[CACHE_CONTROL], "no-store");
        assert_eq!(answer(request(0, &[]), stalled).await.unwrap().headers()[CACHE_CONTROL], "no-store");
        assert_eq!(answer(request(3_000, &[]), lasting).await.unwrap().headers()[CACHE_CONTROL], "private, immutable");
    }

    #[tokio::test]
    async fn every_answer_carries_the_correlation_id() {
        let fine = |_, _| async { Ok(json(StatusCode::OK, &[1])) };
        let response = answer(request(3_000, &[("x-correlation-id", "abc-1")]), fine).await.unwrap();
        assert_eq!(response.headers()["x-correlation-id"], "abc-1");
        let broken = |_, _| async { Err(no_such_route()) };
        let response = answer(request(3_000, &[("x-correlation-id", "not well formed")]), broken).await.unwrap();
        assert_eq!(response.headers()["x-correlation-id"].len(), 36);
    }
}
