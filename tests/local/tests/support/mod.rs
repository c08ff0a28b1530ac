//! Shared by the tests with real processes.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use local::executables::cargo;

/// The path of the example `function`, which is built if needed.
pub(crate) fn executable() -> PathBuf {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        // At the root, so that features are unified as in `cargo test` there, and nothing is built twice.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let build = cargo(&root).args(["build", "--quiet", "--example", "function"]).status();
        assert!(build.is_ok_and(|status| status.success()), "the example `function` does not build");
        let test = std::env::current_exe().expect("a test has a path");
        let target = test.ancestors().nth(3).expect("tests are built into <target>/<profile>/deps");
        target.join("debug/examples/function")
    });
    BUILT.clone()
}
