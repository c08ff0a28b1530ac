//! The function `submit`: made once an environment, then one request at a time.

use invocation::{Environment, telemetry};
use lambda_http::{Error, service_fn};
use submit::Submit;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let submit = Submit::from_environment(&environment)?;
    submit.warm_up().await;
    lambda_http::run(service_fn(|request| submit.handle(request))).await
}
