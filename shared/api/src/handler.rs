//! The entry point of every HTTP function: `main` wires, a [`Handler`] answers. Whatever happens to a request, there is one
//! answer, in time, and one line in the log.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use invocation::telemetry::{self, InvocationIds};
use invocation::{Clock, Deadline, Environment, FunctionError, metrics};
use lambda_http::http::header::CACHE_CONTROL;
use lambda_http::http::{HeaderValue, Method, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt, Response, service_fn};
use tracing::Instrument;

use crate::http::route;
use crate::{CorrelationId, Invocation, Problem, ProblemFormat, ProblemKind};

/// Kept of the time for building the answer once a step has run out of it.
const ANSWERING: Duration = Duration::from_millis(10);

/// Reads the settings of the function, and starts its logs and metrics. `crate_name` is the function's own, which its
/// `main` knows as `env!("CARGO_CRATE_NAME")`.
pub fn start(crate_name: &'static str) -> Environment {
    let environment = Environment::of_process();
    telemetry::start(&environment, crate_name, &["api", "records", "invocation", "clinical"]);
    environment
}

/// Answers requests with `handler`, one at a time, as long as this environment lives.
///
/// # Errors
/// If the runtime fails.
pub async fn run(handler: impl Handler) -> Result<(), FunctionError> {
    Ok(lambda_http::run(service_fn(|request| handler.handle(request))).await?)
}

/// What answers the requests of an HTTP function.
pub trait Handler: Sync {
    /// Answers a request of `route`, which is as the template names it.
    fn answer(
        &self,
        route: &str,
        invocation: Invocation,
        request: Request,
    ) -> impl Future<Output = Result<Response<Body>, Problem>> + Send;

    /// How problems are written in answers to `route`.
    fn problem_format(&self, _route: &str) -> ProblemFormat {
        ProblemFormat::Problem
    }

    /// What is answered to a request that overran its deadline, whatever became of it. Each step obeys the deadline by
    /// itself and knows better, so this is the last resort.
    fn overrun(&self, method: &Method) -> ProblemKind {
        if method.is_safe() { ProblemKind::NotDone } else { ProblemKind::OutcomeUnknown }
    }

    /// Handles one request from entry to answer: makes its deadline (a `Request-Timeout` header, in seconds, shortens
    /// it), turns a problem into an answer, puts `x-correlation-id` on every answer, and logs one line.
    ///
    /// # Errors
    /// Never: an error is an answer.
    fn handle(&self, request: Request) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send {
        handle(self, request)
    }
}

async fn handle<H: Handler + ?Sized>(handler: &H, request: Request) -> Result<Response<Body>, Infallible> {
    let context = request.lambda_context_ref().cloned().unwrap_or_default();
    let mut deadline = Deadline::of(&context, Deadline::API_RESERVE);
    if let Some(timeout) = requested_timeout(&request) {
        deadline = deadline.no_later_than(timeout);
    }
    let given = request.headers().get(CorrelationId::HEADER).and_then(|value| value.to_str().ok());
    let invocation = Invocation {
        deadline: deadline.earlier_by(ANSWERING),
        clock: Clock::system(),
        correlation_id: CorrelationId::given_or_of_gateway(given, gateway_id(&request)),
        request_id: context.request_id.clone(),
    };
    let correlation_id = invocation.correlation_id.clone();
    let clock = invocation.clock;
    let ids = InvocationIds {
        request_id: &context.request_id,
        function_arn: &context.invoked_function_arn,
        trace_id: context.xray_trace_id.as_deref(),
        correlation_id: Some(correlation_id.as_str()),
    };
    let span = telemetry::invocation_span(&ids);
    let (route, method) = (route(&request), request.method().clone());
    let format = handler.problem_format(&route);

    async {
        let answered = deadline.bound(Box::pin(handler.answer(&route, invocation, request))).await;
        let overran = answered.is_none();
        let result = answered.unwrap_or_else(|| Err(out_of_time(handler.overrun(&method))));
        let problem = result.as_ref().err().map(Problem::kind);
        let mut response = result.unwrap_or_else(|problem| problem.into_response_in(format, &correlation_id));
        if let Ok(value) = HeaderValue::from_str(correlation_id.as_str()) {
            response.headers_mut().insert(CorrelationId::HEADER, value);
        }
        // Answers, and errors too, are for one caller. What a cache may keep has the header already.
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        let remaining_ms = deadline.remaining().as_millis() as u64;
        metrics::report(metrics::REMAINING_MILLISECONDS, remaining_ms);
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            metrics::report(metrics::REFUSED, 1);
        }
        if response.status().is_server_error() {
            metrics::report(metrics::SERVER_ERRORS, 1);
        }
        if overran || remaining_ms <= ANSWERING.as_millis() as u64 || problem == Some(ProblemKind::TimedOut) {
            metrics::report(metrics::DEADLINE_STOPS, 1);
        }
        tracing::info!(
            event = "answered",
            route,
            status = response.status().as_u16(),
            outcome = problem.map_or("ok", ProblemKind::name),
            ms = clock.elapsed().as_millis() as u64,
            remaining_ms,
        );
        Ok(response)
    }
    .instrument(span)
    .await
}

/// API Gateway's id of `request`, which is in its access log too.
fn gateway_id(request: &Request) -> Option<String> {
    match request.request_context_ref()? {
        RequestContext::ApiGatewayV2(context) => context.request_id.clone(),
        _ => None,
    }
}

fn out_of_time(kind: ProblemKind) -> Problem {
    let detail = match kind {
        ProblemKind::OutcomeUnknown => "time ran out; send the same again, which settles it",
        ProblemKind::MayRepeat => "time ran out, and whether it was done is not known",
        _ => "time ran out; ask again",
    };
    Problem::new(kind, detail)
}

fn requested_timeout(request: &Request) -> Option<Duration> {
    let seconds: f64 = request.headers().get("request-timeout")?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    use crate::http::{json, no_such_route};
    use invocation::metrics::Captured;
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

    type Answer = Result<Response<Body>, Problem>;

    /// Answers every request with what the closure gives.
    struct Fixed<F>(F);

    impl<F, Fut> Handler for Fixed<F>
    where
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Answer> + Send,
    {
        async fn answer(&self, _: &str, _: Invocation, _: Request) -> Answer {
            (self.0)().await
        }
    }

    async fn answer<F, Fut>(request: Request, handler: F) -> Response<Body>
    where
        F: Fn() -> Fut + Sync,
        Fut: Future<Output = Answer> + Send,
    {
        Fixed(handler).handle(request).await.unwrap()
    }

    async fn stalled() -> Answer {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_stalls_does_not_delay_the_answer_into_the_reserve() {
        for remaining in [0, 50, 100, 250, 500, 1_000, 3_000] {
            let start = Instant::now();
            let response = answer(request(remaining, &[]), stalled).await;
            assert_eq!(response.status(), 503, "{remaining}");
            assert!(start.elapsed() <= Duration::from_millis(remaining.saturating_sub(250)), "{remaining}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn promise_7_a_handler_that_stalls_on_a_write_is_answered_as_one_to_repeat() {
        for (method, problem) in [(Method::POST, "outcome-unknown"), (Method::GET, "not-done")] {
            let mut request = request(500, &[]);
            *request.method_mut() = method;
            let response = answer(request, stalled).await;
            assert_eq!(response.headers()["retry-after"], "1");
            let Body::Text(body) = response.into_body() else { panic!("a problem is text") };
            assert!(body.contains(&format!("urn:epro:problem:{problem}")), "{body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_may_ask_for_less_time_and_not_for_more() {
        for (seconds, expected_ms) in
            [("0.5", 500), ("1", 1_000), ("60", 2_750), ("-1", 2_750), ("NaN", 2_750), ("x", 2_750)]
        {
            let start = Instant::now();
            answer(request(3_000, &[("request-timeout", seconds)]), stalled).await;
            let took = start.elapsed().as_millis() as i64;
            // The wall clock runs while Tokio's is paused.
            assert!((took - expected_ms).abs() <= 50, "{seconds}: {took} ms");
        }
    }

    #[tokio::test]
    async fn refused_requests_are_a_metric() {
        let metrics = Captured::begin();
        for kind in [ProblemKind::Unauthenticated, ProblemKind::Forbidden, ProblemKind::NotFound, ProblemKind::Invalid]
        {
            let refused = || async move { Err(Problem::new(kind, "")) };
            answer(request(3_000, &[]), refused).await;
        }
        answer(request(3_000, &[]), || async { Ok(json(StatusCode::OK, &[1])) }).await;
        assert_eq!(metrics.sum(metrics::REFUSED), Some(2));
        assert_eq!(metrics.sum(metrics::SERVER_ERRORS), None);
        assert_eq!(
            metrics.reports().iter().filter(|report| report.metric == metrics::REMAINING_MILLISECONDS).count(),
            5
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_fault_or_a_deadline_ends_is_a_metric() {
        for (kind, errors, stops) in [
            (ProblemKind::Internal, Some(1), None),
            (ProblemKind::NotDone, Some(1), None),
            (ProblemKind::TimedOut, Some(1), Some(1)),
            (ProblemKind::Invalid, None, None),
        ] {
            let metrics = Captured::begin();
            answer(request(3_000, &[]), || async move { Err(Problem::new(kind, "")) }).await;
            assert_eq!(
                (metrics.sum(metrics::SERVER_ERRORS), metrics.sum(metrics::DEADLINE_STOPS)),
                (errors, stops),
                "{kind:?}"
            );
        }
        let metrics = Captured::begin();
        answer(request(3_000, &[]), stalled).await;
        assert_eq!((metrics.sum(metrics::SERVER_ERRORS), metrics.sum(metrics::DEADLINE_STOPS)), (Some(1), Some(1)));
        assert_eq!(metrics.sum(metrics::REMAINING_MILLISECONDS), Some(0));
    }

    #[tokio::test]
    async fn no_answer_may_be_cached_unless_it_has_its_own_cache_control() {
        let fine = || async { Ok(json(StatusCode::OK, &[1])) };
        let broken = || async { Err(no_such_route()) };
        let lasting = || async {
            let mut response = json(StatusCode::OK, &[1]);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, immutable"));
            Ok(response)
        };
        assert_eq!(answer(request(3_000, &[]), fine).await.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(answer(request(3_000, &[]), broken).await.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(answer(request(0, &[]), stalled).await.headers()[CACHE_CONTROL], "no-store");
        assert_eq!(answer(request(3_000, &[]), lasting).await.headers()[CACHE_CONTROL], "private, immutable");
    }

    #[tokio::test]
    async fn every_answer_carries_the_correlation_id() {
        let fine = || async { Ok(json(StatusCode::OK, &[1])) };
        let response = answer(request(3_000, &[("x-correlation-id", "abc-1")]), fine).await;
        assert_eq!(response.headers()["x-correlation-id"], "abc-1");
        let broken = || async { Err(no_such_route()) };
        let response = answer(request(3_000, &[("x-correlation-id", "not well formed")]), broken).await;
        assert_eq!(response.headers()["x-correlation-id"].len(), 36);
    }
}
