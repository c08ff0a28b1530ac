//! The function `patients`: made once an environment, then one request at a time.

use invocation::{Environment, telemetry};
use lambda_http::{Error, service_fn};
use patients::Patients;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let patients = Patients::from_environment(&environment)?;
    patients.warm_up().await;
    lambda_http::run(service_fn(|request| patients.handle(request))).await
}
