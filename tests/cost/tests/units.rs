//! Write units stay within their bounds, and items below the kilobyte that a unit pays for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, and so does what helps it")]

use bench::bounds;
use cost::Costs;

#[tokio::test]
async fn no_submission_and_no_alert_takes_more_write_units_than_its_bound() {
    let (costs, bounds) = (Costs::of().await.unwrap(), bounds::read().unwrap());
    let mut compared = 0;
    for (what, writes, _) in &costs.units {
        let Some(bound) = bounds.get(&format!("write units in hundredths: {what}")) else { continue };
        let measured = (writes * 100.0).round() as u64;
        assert!(measured <= *bound, "{what} takes {measured} hundredths of a write unit, and may take {bound}");
        compared += 1;
    }
    let bounded = bounds.keys().filter(|name| name.starts_with("write units")).count();
    assert_eq!(compared, bounded, "each bound is of something that is worked out");
}

#[tokio::test]
async fn what_is_written_with_each_submission_is_below_a_kilobyte_with_room_for_longer_names() {
    let costs = Costs::of().await.unwrap();
    for (what, most) in [("the same with its score", 920), ("a profile of six instruments", 1_000)] {
        let (_, bytes) = costs.bytes.iter().find(|(name, _)| *name == what).unwrap();
        assert!(*bytes <= most, "{what} takes {bytes} bytes");
    }
}
