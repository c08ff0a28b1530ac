//! Logs: JSON lines, one for each invocation, with ids and figures, and without anything that a patient sent.

use std::sync::atomic::{AtomicBool, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::{Environment, metrics};

/// Starts logs and [`metrics`]; call it once, first thing in `main`.
///
/// Events go to standard output, one JSON object a line. Those of `targets`, the function's crate and the crates of
/// this workspace that it links, are logged from the level of `LOG_LEVEL` on (`info` where it is not set). Other crates
/// may quote what they carry, so only their warnings and errors are logged.
pub fn start(environment: &Environment, targets: &[&str]) {
    metrics::start(environment);
    let level: Level = environment.optional("LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    let targets = targets
        .iter()
        .fold(Targets::new().with_default(LevelFilter::WARN), |targets, own| targets.with_target(*own, level))
        // At TRACE the runtime logs whole events; at WARN and above the SDK may quote a service's message.
        .with_target("lambda_runtime", LevelFilter::INFO.min(LevelFilter::from_level(level)))
        .with_target("aws", LevelFilter::OFF)
        .with_target("hyper", LevelFilter::ERROR);
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(false)
        .with_ansi(false);
    tracing_subscriber::registry().with(lines).with(targets).init();
}

/// The ids of an invocation.
#[derive(Clone, Copy, Debug)]
pub struct InvocationIds<'a> {
    /// Lambda's request id.
    pub request_id: &'a str,
    /// X-Ray's trace id; `None` where the invocation is not traced.
    pub trace_id: Option<&'a str>,
    /// The correlation id of a request; `None` for stream batches and scheduled runs.
    pub correlation_id: Option<&'a str>,
}

/// The span of one invocation. Its fields are on every line logged inside it.
pub fn invocation_span(ids: &InvocationIds<'_>) -> Span {
    static WARM: AtomicBool = AtomicBool::new(false);
    let cold_start = !WARM.swap(true, Ordering::Relaxed);
    tracing::info_span!(
        "invocation",
        service = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
        cold_start,
        function_request_id = ids.request_id,
        correlation_id = ids.correlation_id,
        xray_trace_id = ids.trace_id,
    )
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_the_first_invocation_of_an_environment_is_a_cold_start() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            for request_id in ["r-1", "r-2"] {
                let ids = InvocationIds { request_id, trace_id: None, correlation_id: Some("c-1") };
                invocation_span(&ids).in_scope(|| tracing::info!(event = "done"));
            }
        });
        let bytes = lines.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(bytes).unwrap();
        let span = |line: &str| serde_json::from_str::<Value>(line).unwrap()["span"].clone();
        let spans: Vec<Value> = text.lines().map(span).collect();
        let shown = |span: &Value| (span["function_request_id"].clone(), span["cold_start"].clone());
        let expected = [("r-1".into(), true.into()), ("r-2".into(), false.into())];
        assert_eq!(spans.iter().map(shown).collect::<Vec<(Value, Value)>>(), expected);
    }
}
