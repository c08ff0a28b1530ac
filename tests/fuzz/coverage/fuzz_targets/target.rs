//! A fuzz target under libFuzzer: the one that the binary is named after.

#![no_main]

use std::sync::LazyLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let target = Target::named(env!("CARGO_BIN_NAME")).expect("each binary is named after a target");
    target.warm_up().expect("the examples are readable");
    target
});

fuzz_target!(|input: &[u8]| {
    TARGET.check(input);
});
