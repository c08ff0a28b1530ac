//! The function `drafts`.

use drafts::Drafts;
use invocation::{FunctionError, aws};
use records::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = api::start(env!("CARGO_CRATE_NAME"));
    let store = Store::from_environment(&environment, aws::https(&environment))?;
    store.warm_up(&store.tables().records).await;
    api::run(Drafts::new(store)).await
}
