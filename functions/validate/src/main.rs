//! The function `validate`.

use std::thread::available_parallelism;

use invocation::{FunctionError, aws};
use records::Store;
use validate::Validate;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = api::start(env!("CARGO_CRATE_NAME"));
    let store = Store::from_environment(&environment, aws::https(&environment))?;
    store.warm_up(&store.tables().counts).await;
    api::run(Validate::new(store, available_parallelism().map_or(1, usize::from))).await
}
