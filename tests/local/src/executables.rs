//! The functions' executables, built by cargo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::{env, io};

use serde::Deserialize;
use tokio::process::Command;

/// The crate whose library is preloaded into processes that follow a moved clock.
const CLOCK: &str = "clock";

/// Why an executable is missing.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Cargo cannot be run.
    #[error("cannot run {program}; it builds the functions and comes with Rust (https://rustup.rs)")]
    Cargo {
        /// The program that was called.
        program: String,
        /// The operating system's error.
        source: io::Error,
    },
    /// A function does not compile. Cargo has printed the errors.
    #[error("the functions do not compile ({status}): correct the errors above and start again")]
    Failed {
        /// Cargo's exit status.
        status: ExitStatus,
    },
    /// The template names a binary that the workspace does not have.
    #[error(
        "cargo built no executable {binary}, which the template names as `Binary`: the workspace needs a package with a \
         binary of that name"
    )]
    Missing {
        /// The name of the binary.
        binary: String,
    },
}

/// Builds the binaries of the workspace at `root` by name, with cargo's progress on stderr, and returns the path of
/// each. Unchanged ones are not built again.
///
/// # Errors
/// If cargo cannot be run or a binary does not build.
pub async fn build(
    root: &Path,
    binaries: &[String],
    profile: &str,
    quiet: bool,
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let targets = binaries.iter().flat_map(|binary| ["--bin", binary]);
    let built = executables(&build_targets(root, targets, profile, quiet).await?);
    for binary in binaries {
        if !built.contains_key(binary) {
            return Err(BuildError::Missing { binary: binary.clone() });
        }
    }
    Ok(built)
}

/// Builds the library that moves the clock of a process, the crate `clock`, as [`build`] does, and returns its path.
///
/// # Errors
/// If cargo cannot be run or the library does not build.
pub async fn build_clock(root: &Path, profile: &str, quiet: bool) -> Result<PathBuf, BuildError> {
    // Its one dependency has other features by itself than united with all packages, and is compiled in a second.
    let output = build_targets(root, ["--package", CLOCK], profile, quiet).await?;
    library(&output).ok_or_else(|| BuildError::Missing { binary: CLOCK.to_owned() })
}

/// Runs `cargo build` for `targets`, and returns its messages in JSON.
async fn build_targets(
    root: &Path,
    targets: impl IntoIterator<Item = &str>,
    profile: &str,
    quiet: bool,
) -> Result<Vec<u8>, BuildError> {
    let cargo = cargo(root);
    let program = cargo.get_program().to_owned();
    let mut command = Command::from(cargo);
    command.args(["build", "--message-format=json-render-diagnostics", "--profile", profile]);
    if quiet {
        command.arg("--quiet");
    }
    command.args(targets);
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| BuildError::Cargo { program: program.to_string_lossy().into_owned(), source })?
        .wait_with_output()
        .await
        .map_err(|source| BuildError::Cargo { program: program.to_string_lossy().into_owned(), source })?;
    if !output.status.success() {
        return Err(BuildError::Failed { status: output.status });
    }
    Ok(output.stdout)
}

/// One line of cargo's JSON output, reduced to the members that are used.
#[derive(Deserialize)]
struct Message {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn executables(output: &[u8]) -> BTreeMap<String, PathBuf> {
    artifacts(output).filter_map(|message| Some((message.target?.name, message.executable?))).collect()
}

/// The shared library of the crate [`CLOCK`].
fn library(output: &[u8]) -> Option<PathBuf> {
    let own = artifacts(output).filter(|message| message.target.as_ref().is_some_and(|target| target.name == CLOCK));
    own.flat_map(|message| message.filenames).find(|file| file.extension().is_some_and(|ending| ending == "so"))
}

fn artifacts(output: &[u8]) -> impl Iterator<Item = Message> {
    let messages = output.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Message>(line).ok());
    messages.filter(|message| message.reason == "compiler-artifact")
}

/// Cargo, to be run at `root`. It gets none of the variables that cargo has set for this program: build scripts would take
/// them for changes, and much would be built again.
pub fn cargo(root: &Path) -> std::process::Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = std::process::Command::new(program);
    command.current_dir(root);
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(is_of_cargo) {
            command.env_remove(name);
        }
    }
    command
}

fn is_of_cargo(name: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"].iter().any(|prefix| name.starts_with(prefix))
        || matches!(name, "CARGO_PRIMARY_PACKAGE" | "LD_LIBRARY_PATH" | "DYLD_FALLBACK_LIBRARY_PATH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_in_cargos_messages() {
        let output = br#"{"reason":"compiler-artifact","target":{"name":"serde","kind":["lib"]},"executable":null}
{"reason":"compiler-artifact","target":{"name":"submit","kind":["bin"]},"executable":"/t/debug/submit"}
{"reason":"build-script-executed","package_id":"x"}
{"reason":"build-finished","success":true}
"#;
        assert_eq!(executables(output), BTreeMap::from([("submit".to_owned(), PathBuf::from("/t/debug/submit"))]));
        assert_eq!(library(output), None);
    }

    #[test]
    fn the_clocks_library_is_found_in_cargos_messages() {
        let output = br#"{"reason":"compiler-artifact","target":{"name":"libc"},"filenames":["/t/deps/liblibc.rlib"]}
{"reason":"compiler-artifact","target":{"name":"clock"},"filenames":["/t/debug/libclock.so"],"executable":null}
"#;
        assert_eq!(library(output), Some(PathBuf::from("/t/debug/libclock.so")));
    }
}
