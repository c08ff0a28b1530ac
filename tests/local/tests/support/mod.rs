//! Shared by the tests with real processes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The path of the example `function`, which is built if needed.
pub(crate) fn executable() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        // At the root, so that features are unified as in `cargo test` there, and nothing is built twice.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let build = Command::new(env!("CARGO")).args(["build", "--example", "function"]).current_dir(root).status();
        assert!(build.is_ok_and(|status| status.success()), "the example `function` does not build");
        let test = std::env::current_exe().expect("a test has a path");
        let target = test.ancestors().nth(3).expect("tests are built into <target>/<profile>/deps");
        target.join("debug/examples/function")
    });
    BUILT.clone()
}
