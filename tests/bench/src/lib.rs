//! The ledger of speed: what the functions cost, beside others that are measured in the same run, and the bounds of
//! instructions that CI watches.
//!
//! [`runtime_api`] runs a function's binary, or a peer in another language, as Lambda does. [`aws`] is the DynamoDB and
//! SNS that it calls: they answer at once and keep what was sent. [`events`] are what it is sent. [`measure`] reads what
//! it took, and [`callgrind`] counts its instructions. Each part of the ledger is one of [`sections`], which
//! [`document`] puts into `LEDGER.md`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

pub mod aws;
pub mod bounds;
pub mod callgrind;
pub mod document;
pub mod events;
pub mod measure;
pub mod quota;
pub mod runtime_api;
pub mod sections;

use std::path::{Path, PathBuf};

/// Why a figure could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file or a process could not be used.
    #[error("{0}: {1}")]
    Io(String, #[source] std::io::Error),
    /// What was measured did not do what it is measured for.
    #[error("{0}")]
    Wrong(String),
}

impl Fault {
    /// The fault of `what`, for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        |error| Self::Io(what.into(), error)
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).map(Path::to_owned).unwrap_or_default()
}

/// The text of a file of the repository.
///
/// # Errors
/// If it cannot be read.
pub fn text(path: impl AsRef<Path>) -> Result<String, Fault> {
    let path = root().join(path);
    std::fs::read_to_string(&path).map_err(Fault::io(path.display().to_string()))
}
