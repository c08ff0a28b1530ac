//! The function `score`: made once an environment, then one batch at a time.

use invocation::{Ended, Environment, telemetry};
use lambda_runtime::service_fn;
use score::Score;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Ended> {
    let environment = Environment::of_process();
    telemetry::start(&environment);
    let score = Score::from_environment(&environment)?;
    score.warm_up().await;
    let score = &score;
    Ok(lambda_runtime::run(service_fn(|event| async move { score.handle(event).await.map_err(Ended::by) })).await?)
}
