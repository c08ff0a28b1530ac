//! The function `sweep`.

use invocation::{FunctionError, aws, event_function};
use notifications::{ReminderTopic, Topic};
use records::Store;
use sweep::{Sweep, escalation};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), FunctionError> {
    let environment = event_function::start(env!("CARGO_CRATE_NAME"));
    let https = aws::https(&environment);
    let store = Store::from_environment(&environment, https.clone())?;
    let topic = Topic::from_environment(&environment, https.clone())?;
    let reminders = ReminderTopic::from_environment(&environment, https)?;
    let escalation = escalation(&environment)?;
    tokio::join!(store.warm_up(&store.tables().records), topic.warm_up());
    let sweep = Sweep::new(store, topic, reminders, escalation);
    event_function::run(async |event| sweep.handle(event).await).await
}
