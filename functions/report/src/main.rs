//! The function `report`: made once an environment, then one request at a time.

use invocation::{Environment, telemetry};
use lambda_http::{Error, service_fn};
use report::Report;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let report = Report::from_environment(&environment)?;
    report.warm_up().await;
    lambda_http::run(service_fn(|request| report.handle(request))).await
}
