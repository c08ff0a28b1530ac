//! The function `reconcile`.

use invocation::{FunctionError, aws, event_function};
use reconcile::{Reconcile, escalates, pause};
use records::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = event_function::start(env!("CARGO_CRATE_NAME"));
    let store = Store::from_environment(&environment, aws::https(&environment))?;
    let (pause, escalates) = (pause(&environment)?, escalates(&environment)?);
    store.warm_up(&store.tables().records).await;
    let reconcile = Reconcile::new(store, pause, escalates);
    event_function::run(async |event| reconcile.handle(event).await).await
}
