//! The entry point of the functions that no request calls, but a stream or a schedule: `main` wires, and [`run`] passes
//! events to the handler.

use std::error::Error;

use lambda_runtime::{Context, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::telemetry::{self, InvocationIds};
use crate::{Clock, Deadline, Environment, FunctionError, metrics};

/// The crates of this workspace whose events are logged beside those of the function itself.
const LOGGED: [&str; 6] = ["scoring", "verification", "records", "notifications", "invocation", "clinical"];

/// Reads the settings of the function, and starts its logs and metrics. `crate_name` is the function's own, which its
/// `main` knows as `env!("CARGO_CRATE_NAME")`.
pub fn start(crate_name: &'static str) -> Environment {
    let environment = Environment::of_process();
    telemetry::start(&environment, crate_name, &LOGGED);
    environment
}

/// Handles events with `handler`, one at a time, as long as this environment lives.
///
/// # Errors
/// If the runtime fails.
pub async fn run<P: DeserializeOwned, T: Serialize, E: Error + 'static>(
    handler: impl AsyncFn(LambdaEvent<P>) -> Result<T, E>,
) -> Result<(), FunctionError> {
    let handler = &handler;
    Ok(lambda_runtime::run(service_fn(|event| async move { handler(event).await.map_err(FunctionError::new) })).await?)
}

/// Runs `work` in the log span of one invocation, with its clock and its deadline, and reports the time that it left.
pub async fn in_invocation<T>(context: &Context, work: impl AsyncFnOnce(Clock, Deadline) -> T) -> T {
    let (clock, deadline) = (Clock::system(), Deadline::of(context, Deadline::STREAM_RESERVE));
    let ids = InvocationIds {
        request_id: &context.request_id,
        function_arn: &context.invoked_function_arn,
        trace_id: context.xray_trace_id.as_deref(),
        correlation_id: None,
    };
    async {
        let result = work(clock, deadline).await;
        metrics::report(metrics::REMAINING_MILLISECONDS, deadline.remaining().as_millis() as u64);
        result
    }
    .instrument(telemetry::invocation_span(&ids))
    .await
}
