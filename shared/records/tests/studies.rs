//! The studies that an environment keeps, with the real SDK and an in-memory DynamoDB.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use clinical::ids::StudyId;
use harness::{Fault, World};
use invocation::Deadline;
use records::Store;
use serde_json::json;
use tokio::time::{Instant, sleep};

const READ: &str = "GetItem RecordsTable";
/// How long a request waits for a study that is outdated.
const WAIT: Duration = Duration::from_millis(300);

/// Uses the study as a request does, and returns how long that took.
async fn used(store: &Store) -> Duration {
    let study: StudyId = "DEMO".parse().unwrap();
    let began = Instant::now();
    let protocol = store.protocol(&study, Deadline::after(Duration::from_secs(10))).await.unwrap();
    assert!(protocol.study().is_some());
    began.elapsed()
}

async fn world_with_a_study() -> (World, Store) {
    let world = World::new();
    world.put_study(json!({})).await;
    let store = world.store();
    used(&store).await;
    (world, store)
}

#[tokio::test(start_paused = true)]
async fn a_study_whose_read_stalls_delays_one_request_and_is_read_once_at_a_time() {
    let (world, store) = world_with_a_study().await;
    sleep(Duration::from_secs(61)).await;
    world.inject_into(READ, usize::MAX, Fault::Stall);
    let reads = world.count_calls(READ);
    assert!(used(&store).await >= WAIT);
    for _ in 0..3 {
        assert!(used(&store).await < WAIT / 10);
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.count_calls(READ), reads + 1);
}

#[tokio::test(start_paused = true)]
async fn a_study_that_cannot_be_read_again_is_tried_every_few_seconds() {
    let (world, store) = world_with_a_study().await;
    sleep(Duration::from_secs(31)).await;
    world.inject_into(READ, usize::MAX, Fault::error("AccessDeniedException"));
    let mut reads = Vec::new();
    for pause in [0, 1, 1, 4] {
        sleep(Duration::from_secs(pause)).await;
        let before = world.count_calls(READ);
        assert!(used(&store).await < WAIT / 10, "the one that it has stays in force");
        sleep(Duration::from_millis(1)).await;
        reads.push(world.count_calls(READ) - before);
    }
    assert_eq!(reads, [1, 0, 0, 1]);
}
