//! The function `sweep`: made once an environment, then one run at a time.

use invocation::{Environment, telemetry};
use lambda_runtime::{Error, service_fn};
use sweep::Sweep;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let sweep = Sweep::from_environment(&environment)?;
    sweep.warm_up().await;
    let sweep = &sweep;
    lambda_runtime::run(service_fn(|event| async move { sweep.handle(event).await.map_err(Error::from) })).await
}
