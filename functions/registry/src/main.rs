//! The function `registry`.

use invocation::{FunctionError, aws};
use records::Store;
use registry::Registry;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = api::start(env!("CARGO_CRATE_NAME"));
    let store = Store::from_environment(&environment, aws::https(&environment))?;
    store.warm_up(&store.tables().records).await;
    api::run(Registry::new(store)).await
}
