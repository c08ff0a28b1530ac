//! The examples, and the inputs that once were findings, are read as the fuzz targets require.

use std::sync::{Mutex, PoisonError};

use fuzz::TARGETS;

/// The memory is that of the process: only one test may read.
static ALONE: Mutex<()> = Mutex::new(());

#[test]
fn each_target_has_examples_and_reads_them_within_its_limits() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for target in &TARGETS {
        target.warm_up().unwrap();
        let examples = target.examples().unwrap();
        assert!(!examples.is_empty(), "{} has no examples", target.name);
        for (path, example) in &examples {
            assert!(target.check(example) > 0, "{} takes no memory", path.display());
        }
    }
}

#[test]
fn inputs_that_once_were_findings_are_read_within_the_limits() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut read = 0;
    for target in &TARGETS {
        target.warm_up().unwrap();
        for (_, input) in target.regressions().unwrap() {
            target.check(&input);
            read += 1;
        }
    }
    assert!(read > 0, "no input was read");
}
