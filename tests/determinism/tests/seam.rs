//! The replaced symbols reach everything that draws random bytes or reads the time of day.
#![cfg(target_os = "linux")]

use std::collections::HashSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use determinism::run;

/// Everything that draws random bytes or reads the time of day.
fn draw() -> (String, Vec<u32>, u64, Duration) {
    let order: HashSet<u32> = (0..50).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    (uuid::Uuid::new_v4().to_string(), order.into_iter().collect(), fastrand::u64(..), now)
}

#[test]
fn a_seed_fixes_uuids_hash_orders_and_the_time_of_day() {
    let once = |seed| run(seed, || Duration::from_millis(1_772_000_000_123), draw);
    let first = once(7);
    assert_eq!(first, once(7));
    assert_eq!(first.3, Duration::from_millis(1_772_000_000_123));
    let other = once(8);
    assert!(first.0 != other.0 && first.1 != other.1 && first.2 != other.2);
}

#[test]
fn other_threads_have_the_kernel_s() {
    assert_ne!(draw().0, draw().0);
    run(1, || Duration::ZERO, || ());
    assert!(draw().3 > Duration::from_secs(1_700_000_000));
}
