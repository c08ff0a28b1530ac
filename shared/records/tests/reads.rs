//! Reads and writes that verification and lists use, with the real SDK and an in-memory DynamoDB.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use harness::{Fault, World};
use invocation::Deadline;
use serde_json::json;
use tokio::time::Instant;

fn plenty() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_read_whole_takes_no_wait_and_what_dynamodb_leaves_out_is_read_after_one() {
    let (world, mut incomplete) = (World::new(), 2);
    let subjects = ["P-1", "P-2"].map(|subject| subject.parse().unwrap()).into();
    let enrolled = async || {
        let (began, before) = (Instant::now(), world.count_calls("BatchGetItem RecordsTable"));
        let sites = ["S01".parse().unwrap()].into();
        world.store().enrolled(&"DEMO".parse().unwrap(), &sites, &subjects, plenty()).await.unwrap();
        (began.elapsed(), world.count_calls("BatchGetItem RecordsTable") - before)
    };
    let (waited, calls) = enrolled().await;
    assert!(calls == 1 && waited < Duration::from_millis(15), "{calls} calls, {waited:?}");
    world.inject(move |call| {
        incomplete -= i32::from(call.name() == "BatchGetItem");
        let answer = json!({"Responses": {}, "UnprocessedKeys": call.body["RequestItems"]});
        (incomplete >= 0).then_some(Fault::Answer(200, answer))
    });
    let (waited, calls) = enrolled().await;
    assert!(calls == 3 && waited >= Duration::from_millis(45), "{calls} calls, {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_verification_is_stored_once_whatever_happens_to_the_answer() {
    let world = World::new();
    let store = world.store();
    for after in 0..2 {
        world.inject_into("PutItem RecordsTable", 1, Fault::ApplyTwice);
        assert!(store.put_verification_state(after, "{}".to_owned(), after, plenty()).await.unwrap());
    }
    assert!(!store.put_verification_state(1, "{}".to_owned(), 7, plenty()).await.unwrap(), "another run was first");
    assert_eq!(store.verification_state(plenty()).await.unwrap().differences, 1);
}

#[tokio::test(start_paused = true)]
async fn counts_that_the_store_does_not_return_are_a_failure_and_not_unreadable() {
    let (world, of) = (World::new(), [("DEMO".parse().unwrap(), "S01".parse().unwrap())]);
    assert_eq!(world.store().counts_of(&of, plenty()).await.unwrap().len(), 1);
    world.inject_into("BatchGetItem SiteCountsTable", usize::MAX, Fault::error("AccessDeniedException"));
    assert!(world.store().counts_of(&of, plenty()).await.is_err());
}
