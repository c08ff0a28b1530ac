//! The folder in which the local cloud keeps its data between starts.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::storage::write_whole;

/// The version of the folder's layout. It is raised whenever an older local cloud could not read the folder, or this
/// one could not read an older one's.
const VERSION: &str = "1";

/// A data folder that is locked for this process, until the value is dropped or the process ends.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The operating system releases the lock when the process ends, however it ends.
    _lock: File,
}

/// Why a folder cannot be used as the data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// Another process holds the lock.
    #[error(
        "another local cloud uses the data folder {}. Stop that one, or start this one with `--data <another folder>` \
         or `--memory`",
        .0.display()
    )]
    InUse(PathBuf),
    /// Another version of the local cloud wrote it.
    #[error(
        "the data folder {} has version {found:?}, and this local cloud uses version {VERSION:?}. Use \
         `--data <another folder>`, or remove the folder if you no longer need its data",
        path.display()
    )]
    Version {
        /// The folder.
        path: PathBuf,
        /// The content of its `version` file.
        found: String,
    },
    /// It contains other files.
    #[error(
        "{} contains files that are not the local cloud's. Give `--data` an empty or a new folder",
        .0.display()
    )]
    Foreign(PathBuf),
    /// A file operation failed.
    #[error("cannot {operation} {}", path.display())]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The path that it was applied to.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

impl DataDir {
    /// Opens a data folder and creates it if needed. Only this user may read it, because it holds patients' answers.
    ///
    /// # Errors
    /// If the folder is in use, of another version, contains other files, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| DataError::Io { operation, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make the data folder", path))?;
        let path = fs::canonicalize(path).map_err(failed("find the data folder", path))?;
        let version = path.join("version");
        let found = match fs::read_to_string(&version) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read", &version)(error)),
        };
        if found.is_none() && has_foreign_files(&path).map_err(failed("list", &path))? {
            return Err(DataError::Foreign(path));
        }
        fs::set_permissions(&path, Permissions::from_mode(0o700)).map_err(failed("make private", &path))?;
        let lock = lock(&path)?;
        match found {
            Some(found) if found == VERSION => {}
            Some(found) => return Err(DataError::Version { path, found }),
            None => write_whole(&version, VERSION.as_bytes()).map_err(failed("write", &version))?,
        }
        Ok(Self { path, _lock: lock })
    }

    /// The folder. Each part keeps a folder or a file of its own in it (`dynamodb/`, `stream/`, `sns/`,
    /// `failures/`, `issuer.der`, `clock`).
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn lock(folder: &Path) -> Result<File, DataError> {
    let path = folder.join("lock");
    let failed = |source| DataError::Io { operation: "lock", path: path.clone(), source };
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataError::InUse(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Whether the folder contains more than an interrupted start leaves behind.
fn has_foreign_files(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if name != "lock" && name != "version.tmp" {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_private_and_opened_again() {
        let parent = tempfile::tempdir().expect("a folder");
        let path = parent.path().join("a/b");
        let data = DataDir::open(&path).expect("it is made");
        fs::write(data.path().join("kept"), "x").expect("the folder is writable");
        assert_eq!(fs::metadata(&path).expect("it exists").permissions().mode() & 0o777, 0o700);
        drop(data);
        let again = DataDir::open(&path).expect("it is opened again");
        assert_eq!(fs::read_to_string(again.path().join("kept")).expect("it is kept"), "x");
    }

    #[test]
    fn only_one_process_at_a_time_can_open_it() {
        let parent = tempfile::tempdir().expect("a folder");
        let first = DataDir::open(parent.path()).expect("it is free");
        let error = DataDir::open(parent.path()).expect_err("it is in use").to_string();
        assert!(error.contains("another local cloud uses the data folder"), "{error}");
        drop(first);
        DataDir::open(parent.path()).expect("it is free again");
    }

    #[test]
    fn another_version_is_refused_and_left_unchanged() {
        let parent = tempfile::tempdir().expect("a folder");
        fs::write(parent.path().join("version"), "99\n").expect("the folder is writable");
        let error = DataDir::open(parent.path()).expect_err("the version is unknown").to_string();
        assert!(error.contains("has version \"99\", and this local cloud uses version \"1\""), "{error}");
        assert_eq!(fs::read_to_string(parent.path().join("version")).expect("it exists"), "99\n");
    }

    #[test]
    fn a_folder_with_other_files_is_refused_and_left_unchanged() {
        let parent = tempfile::tempdir().expect("a folder");
        fs::write(parent.path().join("thesis.txt"), "chapter 1").expect("the folder is writable");
        let error = DataDir::open(parent.path()).expect_err("it has other files").to_string();
        assert!(error.contains("contains files that are not the local cloud's"), "{error}");
        assert_eq!(fs::read_dir(parent.path()).expect("it exists").count(), 1);
    }

    #[test]
    fn a_file_where_the_folder_should_be_is_an_error() {
        let parent = tempfile::tempdir().expect("a folder");
        let file = parent.path().join("file");
        fs::write(&file, "").expect("the folder is writable");
        let error = DataDir::open(&file).expect_err("it is a file").to_string();
        assert!(error.contains("cannot make the data folder"), "{error}");
    }
}
