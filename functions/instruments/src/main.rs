//! The function `instruments`: made once an environment, then one request at a time.

use instruments::Instruments;
use invocation::{Ended, Environment, telemetry};
use lambda_http::service_fn;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let instruments = Instruments::from_environment(&environment)?;
    instruments.warm_up().await;
    Ok(lambda_http::run(service_fn(|request| instruments.handle(request))).await?)
}
