//! The function `patients`: made once an environment, then one request at a time.

use invocation::{Ended, Environment, telemetry};
use lambda_http::service_fn;
use patients::Patients;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let patients = Patients::from_environment(&environment)?;
    patients.warm_up().await;
    Ok(lambda_http::run(service_fn(|request| patients.handle(request))).await?)
}
