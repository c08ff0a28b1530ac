//! The function `alerts`: made once an environment, then one request at a time.

use alerts_function::Alerts;
use invocation::{Ended, Environment, telemetry};
use lambda_http::service_fn;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let alerts = Alerts::from_environment(&environment)?;
    alerts.warm_up().await;
    Ok(lambda_http::run(service_fn(|request| alerts.handle(request))).await?)
}
