//! The bounds of instructions, in `bounds.json`: raised only on purpose.

use std::collections::BTreeMap;

use crate::{Fault, text};

/// How far above its bound a figure may be, in percent: counts differ by a fraction of that from run to run.
const ABOVE: u64 = 5;
/// How far below its bound a figure is, in percent, when the bound may be lowered.
const BELOW: u64 = 10;

/// The bounds by name.
pub type Bounds = BTreeMap<String, u64>;

/// The bounds of the repository.
///
/// # Errors
/// If the file cannot be read.
pub fn read() -> Result<Bounds, Fault> {
    serde_json::from_str(&text("tests/bench/bounds.json")?)
        .map_err(|error| Fault::Wrong(format!("tests/bench/bounds.json: {error}")))
}

/// Compares `measured` with the bound of `name`. Returns what to print, and whether it is within.
pub fn judge(bounds: &Bounds, name: &str, measured: u64) -> (String, bool) {
    let Some(&bound) = bounds.get(name) else {
        return (format!("FAILED {name}: {measured} instructions, and no bound: add one to bounds.json"), false);
    };
    let percent = (measured as f64 / bound as f64 - 1.0) * 100.0;
    let figures = format!("{name}: {measured} instructions, bound {bound} ({percent:+.1} %)");
    if measured * 100 > bound * (100 + ABOVE) {
        (format!("FAILED {figures}: find what adds them, or raise the bound on purpose"), false)
    } else if measured * 100 < bound * (100 - BELOW) {
        (format!("ok {figures}: the bound may be lowered"), true)
    } else {
        (format!("ok {figures}"), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_five_percent_above_a_bound_fails_with_both_figures_and_the_name() {
        let bounds = Bounds::from([("submit warm".to_owned(), 1_000_000)]);
        for (measured, within, said) in [
            (1_050_000, true, "ok submit warm: 1050000 instructions, bound 1000000 (+5.0 %)"),
            (1_051_000, false, "FAILED submit warm: 1051000 instructions, bound 1000000 (+5.1 %)"),
            (899_000, true, "the bound may be lowered"),
            (990_000, true, "(-1.0 %)"),
        ] {
            let (line, is_within) = judge(&bounds, "submit warm", measured);
            assert_eq!(is_within, within, "{line}");
            assert!(line.contains(said), "{line}");
        }
    }

    #[test]
    fn a_figure_without_a_bound_fails() {
        let (line, within) = judge(&Bounds::new(), "score start", 7);
        assert!(!within && line.contains("no bound"), "{line}");
    }

    #[test]
    fn the_bounds_of_the_repository_are_those_that_are_watched() {
        // Those of write units are compared by a test.
        let of_instructions = |name: &String| !name.starts_with("write units");
        let names: Vec<String> = read().unwrap().into_keys().filter(of_instructions).collect();
        let mut watched = crate::sections::watch::NAMES.map(str::to_owned);
        watched.sort();
        assert_eq!(names, watched);
    }
}
