//! Scoring and edit checks without anything around them, beside the same written by hand: what `cargo bench` measured.

use std::path::Path;

use serde::Deserialize;

use super::table;
use crate::measure::figure;
use crate::{Fault, document};

/// What is measured, as criterion names it, with what it is beside and how many of the units it does at once.
const MEASURED: [(&str, &str, &str, f64, &str); 4] = [
    ("a PHQ-9", "phq-9/definition", "phq-9/by hand", 1.0, "scores"),
    ("a RAND-36", "rand-36/definition", "rand-36/by hand", 1.0, "scores"),
    ("edit checks, one thread", "20,000 rows of 12 checks/form, 1 thread(s)", BY_HAND, 240_000.0, "checks"),
    ("edit checks, two threads", "20,000 rows of 12 checks/form, 2 thread(s)", BY_HAND, 240_000.0, "checks"),
];
const BY_HAND: &str = "20,000 rows of 12 checks/by hand, 1 thread";

#[derive(Deserialize)]
struct Estimates {
    median: Estimate,
}

/// Nanoseconds.
#[derive(Deserialize)]
struct Estimate {
    point_estimate: f64,
    confidence_interval: Interval,
}

#[derive(Deserialize)]
struct Interval {
    lower_bound: f64,
    upper_bound: f64,
}

/// The section, from the folder `criterion` that `cargo bench` has written.
///
/// # Errors
/// If something was not measured.
pub fn section(criterion: &Path) -> Result<String, Fault> {
    let mut rows = Vec::new();
    for (what, measured, beside, units, unit) in MEASURED {
        let (own, by_hand) = (estimate(criterion, measured)?, estimate(criterion, beside)?);
        let microseconds = |nanoseconds: f64| figure(nanoseconds / 1_000.0);
        let interval = &own.confidence_interval;
        rows.push(vec![
            what.to_owned(),
            format!(
                "{} ({}–{})",
                microseconds(own.point_estimate),
                microseconds(interval.lower_bound),
                microseconds(interval.upper_bound)
            ),
            microseconds(by_hand.point_estimate),
            figure(own.point_estimate / by_hand.point_estimate),
            format!("{} million {unit}", figure(units * 1_000.0 / own.point_estimate)),
        ]);
    }
    let mut text = format!(
        "## Medicine\n\n{}\n\nScoring and edit checks of `shared/clinical` in a process without anything around them, beside \
         Rust functions written by hand for the same sums and, in floating point, the same checks: what `cargo bench \
         --workspace --bench scoring --bench forms` measures. Wall time in µs, median with its interval of 95 %; edit checks \
         of 20,000 rows at once.\n\n",
        document::provenance()
    );
    text += &table(&["", "µs", "by hand", "times", "a second"], rows);
    Ok(text)
}

fn estimate(criterion: &Path, name: &str) -> Result<Estimate, Fault> {
    let path = criterion.join(name).join("new/estimates.json");
    let text = std::fs::read_to_string(&path).map_err(Fault::io(path.display().to_string()))?;
    let estimates: Result<Estimates, _> = serde_json::from_str(&text);
    estimates.map(|estimates| estimates.median).map_err(|error| Fault::Wrong(format!("{}: {error}", path.display())))
}
