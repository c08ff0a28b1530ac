//! The function `counts`.

use counts::Counts;
use invocation::{FunctionError, aws};
use records::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = api::start(env!("CARGO_CRATE_NAME"));
    let store = Store::from_environment(&environment, aws::https(&environment))?;
    store.warm_up(&store.tables().counts).await;
    api::run(Counts::new(store)).await
}
