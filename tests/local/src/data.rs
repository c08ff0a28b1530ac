//! The folder in which the local cloud keeps what must survive it.

use std::path::{Path, PathBuf};

/// A data folder that this process alone uses, until it is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
}

impl DataDir {
    /// The folder itself; each part keeps a folder or a file of its own in it (`dynamodb/`, `stream/`, `sns/`,
    /// `failures/`, `issuer/`).
    pub fn path(&self) -> &Path {
        &self.path
    }
}
