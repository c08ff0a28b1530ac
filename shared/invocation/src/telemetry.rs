//! Logs: JSON lines with ids and figures, and without anything that a patient sent. The keys are those of Powertools for
//! AWS Lambda, so that what reads the logs of other functions reads these too.

mod lines;

use std::io::{self, Write};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Span, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::lines::Lines;
use crate::{Environment, metrics};

/// The name of an invocation's span.
const INVOCATION: &str = "invocation";

/// The keys of a line that come before those of its event, in their order. A key is left out where it has no value.
pub const KEYS: [&str; 13] = [
    "level",
    "message",
    "timestamp",
    "service",
    "function_name",
    "function_memory_size",
    "sampling_rate",
    "cold_start",
    "function_arn",
    "function_request_id",
    "correlation_id",
    "xray_trace_id",
    "sampled",
];

/// Starts logs and [`metrics`]; call it once, first thing in `main`. `service` is the function's own crate.
///
/// Events go to standard output, one JSON object a line: those of `service` and of `targets`, the crates of this
/// workspace that it links, from the level of `LOG_LEVEL` on (`info` where it is not set). Other crates may quote what
/// they carry, so only their warnings and errors are logged.
///
/// `POWERTOOLS_LOGGER_SAMPLE_RATE` is the share of invocations, from 0 to 1, that log from `debug` on.
pub fn start(environment: &Environment, service: &'static str, targets: &[&str]) {
    metrics::start(environment, service);
    // One write, so that no metric interrupts it. Where standard output is closed, nobody can be informed.
    let write = |line: &str| drop(io::stdout().lock().write_all(line.as_bytes()));
    subscriber(environment, service, targets, write).init();
}

/// What [`start`] starts, with `write` in place of standard output. It is passed whole lines.
pub fn subscriber(
    environment: &Environment,
    service: &'static str,
    targets: &[&str],
    write: impl Fn(&str) + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let level: Level = environment.optional("LOG_LEVEL").and_then(|level| level.parse().ok()).unwrap_or(Level::INFO);
    let rate = sampling_rate(environment);
    let own = if rate > 0.0 { level.max(Level::DEBUG) } else { level };
    let targets = targets
        .iter()
        .chain(&[service])
        .fold(Targets::new().with_default(LevelFilter::WARN), |targets, target| targets.with_target(*target, own))
        // At TRACE the runtime logs whole events; at WARN and above the SDK may quote a service's message.
        .with_target("lambda_runtime", LevelFilter::INFO.min(LevelFilter::from_level(level)))
        .with_target("aws", LevelFilter::OFF)
        .with_target("hyper", LevelFilter::ERROR);
    tracing_subscriber::registry().with(Lines::new(environment, service, level, rate, write)).with(targets)
}

/// The share of invocations that are sampled. A value that is no number, or not from 0 to 1, samples none: a typing
/// error must not stop the function, or fill the log.
fn sampling_rate(environment: &Environment) -> f64 {
    let rate = environment.optional("POWERTOOLS_LOGGER_SAMPLE_RATE").and_then(|rate| rate.parse().ok());
    rate.filter(|rate| (0.0..=1.0).contains(rate)).unwrap_or_default()
}

/// The ids of an invocation.
#[derive(Clone, Copy, Debug)]
pub struct InvocationIds<'a> {
    /// Lambda's request id.
    pub request_id: &'a str,
    /// The ARN that was invoked.
    pub function_arn: &'a str,
    /// X-Ray's trace header; `None` where the invocation is not traced.
    pub trace_id: Option<&'a str>,
    /// The correlation id of a request; `None` for stream batches and scheduled runs.
    pub correlation_id: Option<&'a str>,
}

/// The span of one invocation. Its fields are on every line logged inside it.
pub fn invocation_span(ids: &InvocationIds<'_>) -> Span {
    tracing::error_span!(
        INVOCATION,
        cold_start = lines::is_cold_start(),
        function_arn = Some(ids.function_arn).filter(|arn| !arn.is_empty()),
        function_request_id = ids.request_id,
        correlation_id = ids.correlation_id,
        xray_trace_id = ids.trace_id.map(root),
    )
}

/// The id of the trace in an `X-Amzn-Trace-Id`, which also names the segment: `Root=1-…;Parent=…;Sampled=1`.
fn root(trace: &str) -> &str {
    trace.split(';').find_map(|part| part.trim().strip_prefix("Root=")).unwrap_or(trace)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use serde_json::{Value, json};

    use super::*;

    /// The lines that `work` logs in the environment `variables`.
    fn logged(variables: &[(&str, &str)], work: impl FnOnce()) -> Vec<String> {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&lines);
        let write = move |line: &str| written.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        let environment = Environment::from_iter(variables.iter().copied());
        tracing::subscriber::with_default(subscriber(&environment, "submit", &["invocation"], write), work);
        std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn parsed(line: &str) -> Value {
        serde_json::from_str(line).unwrap()
    }

    fn ids(request_id: &str) -> InvocationIds<'_> {
        InvocationIds {
            request_id,
            function_arn: "arn:aws:lambda:eu-central-1:000000000000:function:epro-submit",
            trace_id: Some("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"),
            correlation_id: Some("c-1"),
        }
    }

    #[test]
    fn a_line_has_the_keys_of_powertools_and_those_of_its_event() {
        let variables = [
            ("AWS_LAMBDA_FUNCTION_NAME", "epro-submit"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("POWERTOOLS_LOGGER_SAMPLE_RATE", "0"),
        ];
        let lines = logged(&variables, || {
            invocation_span(&ids("r-1"))
                .in_scope(|| tracing::info!(event = "answered", status = 202, outcome = "accepted"));
        });
        let mut line = parsed(&lines[0]);
        let timestamp = line["timestamp"].take();
        assert!(timestamp.as_str().unwrap().ends_with('Z') && timestamp.as_str().unwrap().len() == 24, "{timestamp}");
        assert!(line["cold_start"].take().is_boolean());
        assert_eq!(
            line,
            json!({
                "level": "INFO", "message": "answered", "timestamp": null, "service": "submit",
                "function_name": "epro-submit", "function_memory_size": 256, "cold_start": null,
                "function_arn": "arn:aws:lambda:eu-central-1:000000000000:function:epro-submit",
                "function_request_id": "r-1", "correlation_id": "c-1",
                "xray_trace_id": "1-5759e988-bd862e3fe1be46a994272793",
                "event": "answered", "status": 202, "outcome": "accepted",
            })
        );
        assert!(lines[0].starts_with("{\"level\":\"INFO\",\"message\":\"answered\",\"timestamp\":"), "{}", lines[0]);
        assert!(lines[0].ends_with("}\n") && lines[0].matches('\n').count() == 1);
    }

    #[test]
    fn the_ids_of_the_runtimes_own_span_are_not_repeated() {
        let lines = logged(&[], || {
            tracing::info_span!("Lambda runtime invoke", requestId = "r-1", xrayTraceId = "Root=1-2-3").in_scope(
                || {
                    invocation_span(&ids("r-1")).in_scope(|| tracing::info!(event = "answered"));
                },
            );
        });
        let line = parsed(&lines[0]);
        assert_eq!((&line["requestId"], &line["xrayTraceId"]), (&Value::Null, &Value::Null), "{line}");
        assert_eq!(line["function_request_id"], "r-1");
    }

    #[test]
    fn a_key_of_the_event_replaces_that_of_the_invocation() {
        let lines = logged(&[], || {
            invocation_span(&ids("r-1"))
                .in_scope(|| tracing::info!(event = "submission_scored", correlation_id = "of-the-app"));
        });
        assert_eq!(lines[0].matches("correlation_id").count(), 1);
        assert_eq!(parsed(&lines[0])["correlation_id"], "of-the-app");
    }

    #[test]
    fn only_the_first_invocation_of_an_environment_is_a_cold_start() {
        let lines = logged(&[], || {
            for request_id in ["r-1", "r-2", "r-3"] {
                invocation_span(&ids(request_id)).in_scope(|| tracing::info!(event = "done"));
            }
        });
        // Another test of this process may have had the first invocation.
        assert_eq!(
            lines[1..].iter().map(|line| parsed(line)["cold_start"].clone()).collect::<Vec<_>>(),
            [false, false]
        );
    }

    #[test]
    fn a_share_of_the_invocations_logs_from_debug_on() {
        let debug_lines = |rate: &str| {
            let lines = logged(&[("POWERTOOLS_LOGGER_SAMPLE_RATE", rate)], || {
                for n in 0..1_000 {
                    let request_id = format!("request-{n}");
                    invocation_span(&ids(&request_id)).in_scope(|| {
                        tracing::debug!(event = "service_called");
                        tracing::info!(event = "answered");
                    });
                }
                tracing::debug!(event = "outside of an invocation");
            });
            let lines: Vec<Value> = lines.iter().map(|line| parsed(line)).collect();
            assert_eq!(lines.iter().filter(|line| line["event"] == "answered").count(), 1_000, "{rate}");
            let debug = |line: &&Value| line["level"] == "DEBUG";
            let sampled = lines.iter().filter(|line| line["sampled"] == true);
            assert_eq!(sampled.count(), 2 * lines.iter().filter(debug).count(), "both lines say so: {rate}");
            lines.iter().filter(debug).count()
        };
        assert_eq!((debug_lines("0"), debug_lines("1")), (0, 1_000));
        for invalid in ["", "-0.1", "1.1", "NaN", "much"] {
            assert_eq!(debug_lines(invalid), 0, "{invalid}");
        }
        let tenth = debug_lines("0.1");
        assert!((60..=140).contains(&tenth), "{tenth} of 1,000 at a rate of 0.1");
    }

    #[test]
    fn the_level_applies_to_what_is_not_sampled() {
        let at = |level: &str| {
            logged(&[("LOG_LEVEL", level)], || {
                tracing::debug!(event = "one");
                tracing::info!(event = "two");
                tracing::error!(event = "three");
            })
            .len()
        };
        assert_eq!([at("debug"), at("info"), at("error"), at("nonsense")], [3, 2, 1, 2]);
    }

    #[test]
    fn a_level_that_silences_invocations_leaves_the_ids_on_errors() {
        let lines = logged(&[("LOG_LEVEL", "error")], || {
            invocation_span(&ids("r-1")).in_scope(|| tracing::error!(event = "read_failed"));
        });
        assert_eq!(parsed(&lines[0])["function_request_id"], "r-1");
    }

    #[test]
    fn a_value_is_bounded() {
        let lines = logged(&[], || tracing::error!(event = "read_failed", reason = "é".repeat(100_000)));
        assert!(lines[0].len() < 1_500, "{} bytes", lines[0].len());
        assert!(parsed(&lines[0])["reason"].as_str().unwrap().ends_with("é…"));
    }
}
