//! The function `score`: made once an environment, then one batch at a time.

use invocation::{Environment, FunctionError, telemetry};
use lambda_runtime::service_fn;
use score::Score;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = Environment::of_process();
    telemetry::start(&environment, &["score", "scoring", "records", "notifications", "invocation", "clinical"]);
    let score = Score::from_environment(&environment)?;
    score.warm_up().await;
    let score = &score;
    Ok(lambda_runtime::run(service_fn(|event| async move { score.handle(event).await.map_err(FunctionError::new) }))
        .await?)
}
