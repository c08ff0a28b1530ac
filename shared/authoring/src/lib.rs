//! Tools for those who write instruments, studies and forms: what `cargo run -- instrument`, `study`, `instruments`,
//! `score`, `validate` and `verify` do.
//!
//! [`Command`] is the command line: its arguments, its output and its exit code. Plain functions do the work:
//! [`instrument`] and [`study`] check definitions and store them, [`catalog`] finds and lists instruments, [`score`]
//! scores answers, [`validate`] checks case-report rows and [`verify`] recomputes what is stored. Definitions are stored through a [`connection`] to a local
//! cloud or to a deployment in AWS, in the name of the identity that STS confirms.

pub mod catalog;
mod command;
pub mod connection;
mod identity;
pub mod instrument;
pub mod outcome;
pub mod progress;
pub mod score;
pub mod study;
mod table;
pub mod validate;
pub mod verify;

use std::path::{Path, PathBuf};
use std::{fs, io};

pub use command::Command;

/// A file that cannot be read as text.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}", file.display())]
pub struct ReadError {
    /// The file.
    pub file: PathBuf,
    /// What the operating system reports.
    pub source: io::Error,
}

fn read_text(file: &Path) -> Result<String, ReadError> {
    fs::read_to_string(file).map_err(|source| ReadError { file: file.to_owned(), source })
}

fn read_bytes(file: &Path) -> Result<Vec<u8>, ReadError> {
    fs::read(file).map_err(|source| ReadError { file: file.to_owned(), source })
}

/// An error and its sources, in one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
