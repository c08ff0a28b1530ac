//! The function `counts`: made once an environment, then one request at a time.

use counts::Counts;
use invocation::{Ended, Environment, telemetry};
use lambda_http::service_fn;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let counts = Counts::from_environment(&environment)?;
    counts.warm_up().await;
    Ok(lambda_http::run(service_fn(|request| counts.handle(request))).await?)
}
