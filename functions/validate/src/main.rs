//! The function `validate`: made once an environment, then one request at a time.

use invocation::{Ended, Environment, telemetry};
use lambda_http::service_fn;
use validate::Validate;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let validate = Validate::from_environment(&environment)?;
    validate.warm_up().await;
    Ok(lambda_http::run(service_fn(|request| validate.handle(request))).await?)
}
