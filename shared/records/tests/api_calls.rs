//! API calls are counted exactly, with the real SDK, an in-memory DynamoDB and injected faults.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, and so does what helps it")]

use std::time::Duration;

use clinical::ids::{SiteId, StudyId};
use harness::{Fault, World};
use invocation::metrics::{API_CALLS_NOT_COUNTED, Captured};
use invocation::{Deadline, run_alongside};
use records::Store;
use tokio::time::Instant;

const COUNT: &str = "TransactWriteItems SiteCountsTable";

fn study() -> StudyId {
    "DEMO".parse().unwrap()
}

fn sites(count: usize) -> Vec<SiteId> {
    (0..count).map(|n| format!("S{n:03}").parse().unwrap()).collect()
}

/// One request of `sites`, with work of a few milliseconds.
async fn request(store: &Store, sites: &[SiteId], id: &str) {
    let deadline = Deadline::after(Duration::from_secs(9));
    let study = study();
    let count = store.count_calls(&study, sites, id, deadline);
    run_alongside(deadline, count, tokio::time::sleep(Duration::from_millis(4))).await;
}

async fn counts(world: &World, sites: &[SiteId]) -> Vec<u64> {
    let counts = world.store().site_counts(&study(), sites, Deadline::after(Duration::from_secs(60))).await.unwrap();
    counts.into_iter().map(|counts| counts.api_calls).collect()
}

/// A small generator, so that a failing seed replays.
struct Random(u64);

impl Random {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % most
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_of_a_surge_is_counted_once_whatever_is_lost_late_or_throttled() {
    for seed in 0..20 {
        let world = World::new();
        let mut random = Random(seed);
        world.inject(move |call| {
            if call.operation != COUNT {
                return None;
            }
            match random.below(20) {
                0..2 => Some(Fault::Stall),
                2..4 => Some(Fault::ApplyAndStall),
                4..6 => Some(Fault::Cut),
                6..8 => Some(Fault::ApplyAndCut),
                8 => Some(Fault::ApplyTwice),
                9 => Some(Fault::throttle()),
                10 => Some(Fault::internal()),
                11 => Some(Fault::conflict(1, 0)),
                12 => Some(Fault::error("TransactionInProgressException")),
                _ => None,
            }
        });
        let metrics = Captured::begin();
        let (sites, environments, requests) = (sites(3), 4, 25);
        let surge = (0..environments).map(|environment| {
            let (store, sites) = (world.store(), &sites);
            async move {
                // One request at a time, as Lambda has it.
                for n in 0..requests {
                    request(&store, &sites[..1 + n % 3], &format!("{seed}-{environment}-{n}")).await;
                }
            }
        });
        futures::future::join_all(surge).await;
        // Time for the counts that are late.
        tokio::time::sleep(Duration::from_secs(120)).await;
        assert_eq!(counts(&world, &sites).await, [100, 64, 32], "seed {seed}");
        assert_eq!(metrics.sum(API_CALLS_NOT_COUNTED), None, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_not_confirmed_in_time_is_counted_by_the_next_request_and_neither_waits() {
    let world = World::new();
    let (store, sites) = (world.store(), sites(2));
    world.inject_into(COUNT, usize::MAX, Fault::ApplyAndStall);
    let start = Instant::now();
    request(&store, &sites[..1], "r-0").await;
    assert!(start.elapsed() <= Duration::from_millis(260), "{:?}", start.elapsed());
    for n in 1..10 {
        let start = Instant::now();
        request(&store, &sites[..1], &format!("r-{n}")).await;
        assert!(
            start.elapsed() <= Duration::from_millis(5),
            "a request does not wait while an earlier count is unconfirmed"
        );
    }
    world.heal();
    tokio::time::sleep(Duration::from_secs(10)).await;
    request(&store, &sites, "r-10").await;
    assert_eq!(counts(&world, &sites).await, [11, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_count_whose_token_has_expired_is_given_up_and_never_applied_twice() {
    let world = World::new();
    let (store, sites, metrics) = (world.store(), sites(1), Captured::begin());
    world.inject_into(COUNT, usize::MAX, Fault::ApplyAndStall);
    request(&store, &sites, "r-0").await;
    request(&store, &sites, "r-1").await;
    // The environment is frozen in the meantime.
    tokio::time::sleep(Duration::from_secs(15 * 60)).await;
    world.heal();
    request(&store, &sites, "r-2").await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    // The first was applied without confirmation and is given up; the second was not sent before and is counted.
    assert_eq!(metrics.sum(API_CALLS_NOT_COUNTED), Some(1));
    assert_eq!(counts(&world, &sites).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_count_is_given_up_at_once_and_reported_as_a_metric() {
    let world = World::new();
    let metrics = Captured::begin();
    world.inject_into(COUNT, usize::MAX, Fault::error("AccessDeniedException"));
    request(&world.store(), &sites(2), "r-0").await;
    assert_eq!((metrics.sum(API_CALLS_NOT_COUNTED), world.count_calls(COUNT)), (Some(2), 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_of_more_sites_than_a_transaction_takes_is_counted_in_several() {
    let world = World::new();
    let sites = sites(250);
    request(&world.store(), &sites, "r-0").await;
    assert_eq!(world.count_calls(COUNT), 3);
    assert_eq!(counts(&world, &sites).await, vec![1; 250]);
}

#[tokio::test(start_paused = true)]
async fn calls_during_a_slow_write_are_counted_in_one_transaction() {
    let world = World::new();
    world.delay(Duration::from_millis(600));
    let (store, sites) = (world.store(), sites(1));
    for n in 0..50 {
        request(&store, &sites, &format!("r-{n}")).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(world.count_calls(COUNT) <= 3, "{}", world.count_calls(COUNT));
    assert_eq!(counts(&world, &sites).await, [50]);
}

#[tokio::test(start_paused = true)]
async fn a_count_is_confirmed_by_a_store_that_takes_seconds_to_answer() {
    let world = World::new();
    world.delay(Duration::from_secs(3));
    let (store, sites) = (world.store(), sites(1));
    store.count_call(&study(), &sites[0], "r-0", Deadline::after(Duration::from_secs(20))).await.unwrap();
    world.delay(Duration::ZERO);
    assert_eq!(counts(&world, &sites).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_no_attempt_applied_are_counted_however_long_the_store_refuses_them() {
    let world = World::new();
    let (store, sites, metrics) = (world.store(), sites(1), Captured::begin());
    world.inject_into(COUNT, usize::MAX, Fault::throttle());
    request(&store, &sites, "r-0").await;
    tokio::time::sleep(Duration::from_secs(20 * 60)).await;
    let attempts = world.count_calls(COUNT);
    assert!((20..300).contains(&attempts), "it waits longer and longer, and not for ever: {attempts}");
    world.heal();
    request(&store, &sites, "r-1").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((counts(&world, &sites).await, metrics.sum(API_CALLS_NOT_COUNTED)), (vec![2], None));
}
