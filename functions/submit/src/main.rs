//! The function `submit`: made once an environment, then one request at a time.

use invocation::{Ended, Environment, telemetry};
use lambda_http::service_fn;
use submit::Submit;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let submit = Submit::from_environment(&environment)?;
    submit.warm_up().await;
    Ok(lambda_http::run(service_fn(|request| submit.handle(request))).await?)
}
