//! The key that cursors are signed with, with the real SDK and an in-memory DynamoDB.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use futures::future::join_all;
use harness::{Fault, World};
use invocation::Deadline;
use invocation::aws::FailureKind;

fn plenty() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

#[tokio::test(start_paused = true)]
async fn concurrent_first_calls_get_one_key_and_an_environment_reads_it_once() {
    let world = World::new();
    let environments: Vec<_> = (0..20).map(|_| world.store()).collect();
    let keys = join_all(environments.iter().map(|store| store.cursor_key(plenty()))).await;
    let first = keys[0].as_ref().unwrap();
    assert!(keys.iter().all(|key| key.as_ref().unwrap() == first));
    assert_eq!(world.store().cursor_key(plenty()).await.unwrap(), *first, "a later environment too");
    assert_eq!(world.items("key").len(), 1);
    let calls = world.calls().len();
    environments[3].clone().cursor_key(plenty()).await.unwrap();
    assert_eq!(world.calls().len(), calls, "it is cached");
    let other = World::new().store();
    assert_ne!(other.cursor_key(plenty()).await.unwrap(), *first, "it is random");
}

#[tokio::test(start_paused = true)]
async fn a_key_whose_answer_was_lost_is_used() {
    for fault in [Fault::ApplyTwice, Fault::ApplyAndCut, Fault::throttle(), Fault::internal()] {
        let world = World::new();
        let store = world.store();
        world.inject_into("PutItem RecordsTable", 1, fault.clone());
        let key = store.cursor_key(plenty()).await.unwrap();
        assert_eq!(world.store().cursor_key(plenty()).await.unwrap(), key, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_is_repeated_and_a_damaged_key_is_never_replaced() {
    let world = World::new();
    let store = world.store();
    world.inject_into("PutItem RecordsTable", usize::MAX, Fault::Stall);
    assert_eq!(store.cursor_key(plenty()).await.unwrap_err().kind, FailureKind::Unknown);
    world.heal();
    store.cursor_key(plenty()).await.unwrap();
    world.tamper("key", "value", "not 32 bytes");
    assert_eq!(world.store().cursor_key(plenty()).await.unwrap_err().kind, FailureKind::Refused);
    assert_eq!(world.items("key")[0]["value"], "not 32 bytes");
}
