//! The function `score`.

use invocation::{FunctionError, aws, event_function};
use notifications::Topic;
use records::Store;
use score::Score;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = event_function::start(env!("CARGO_CRATE_NAME"));
    let https = aws::https(&environment);
    let store = Store::from_environment(&environment, https.clone())?;
    let topic = Topic::from_environment(&environment, https)?;
    tokio::join!(store.warm_up(&store.tables().records), topic.warm_up());
    let score = Score::new(store, topic);
    event_function::run(async |event| score.handle(event).await).await
}
