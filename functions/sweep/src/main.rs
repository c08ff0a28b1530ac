//! The function `sweep`: made once an environment, then one run at a time.

use invocation::{Environment, FunctionError, telemetry};
use lambda_runtime::service_fn;
use sweep::Sweep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = Environment::of_process();
    telemetry::start(&environment, &["sweep", "scoring", "records", "notifications", "invocation", "clinical"]);
    let sweep = Sweep::from_environment(&environment)?;
    sweep.warm_up().await;
    let sweep = &sweep;
    Ok(lambda_runtime::run(service_fn(|event| async move { sweep.handle(event).await.map_err(FunctionError::new) }))
        .await?)
}
