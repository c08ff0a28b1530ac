//! The function `report`: made once an environment, then one request at a time.

use invocation::{Ended, Environment, telemetry};
use lambda_http::service_fn;
use report::Report;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let report = Report::from_environment(&environment)?;
    report.warm_up().await;
    Ok(lambda_http::run(service_fn(|request| report.handle(request))).await?)
}
