//! The function `audit`: made once an environment, then one request at a time.

use audit::AuditTrail;
use invocation::{Ended, Environment, telemetry};
use lambda_http::service_fn;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let audit = AuditTrail::from_environment(&environment)?;
    audit.warm_up().await;
    Ok(lambda_http::run(service_fn(|request| audit.handle(request))).await?)
}
