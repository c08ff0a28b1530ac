//! The file that has how far the clock is ahead, which the functions' processes map.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{ClockError, FURTHEST};

/// The file of the offset: 16 bytes, milliseconds and their inverted bits, in the machine's byte order.
#[derive(Debug)]
pub(super) struct OffsetFile {
    path: PathBuf,
    file: File,
}

impl OffsetFile {
    /// The file in `folder`, or in memory, and the offset in it.
    pub(super) fn open(folder: Option<&Path>) -> Result<(Self, i64), ClockError> {
        let (path, opened) = match folder {
            Some(folder) => {
                let path = folder.join("clock");
                let mut options = OpenOptions::new();
                options.read(true).write(true).create(true).truncate(false).mode(0o600);
                let opened = options.open(&path);
                (path, opened)
            }
            None => in_memory(),
        };
        let failed = |operation| {
            let file = path.clone();
            move |source| ClockError::File { operation, file, source }
        };
        let file = opened.map_err(failed("open"))?;
        let length = file.metadata().map_err(failed("read"))?.len();
        let mut bytes = [0; 16];
        let offset = if length == 0 {
            0
        } else {
            file.read_exact_at(&mut bytes, 0).map_err(failed("read"))?;
            offset_of(bytes).ok_or_else(|| ClockError::Damaged(path.clone()))?
        };
        let file = Self { path, file };
        file.write(offset)?;
        Ok((file, offset))
    }

    /// As the functions' processes open it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the offset, in milliseconds.
    pub(super) fn write(&self, offset: i64) -> Result<(), ClockError> {
        let written = self.file.write_all_at(&bytes_of(offset), 0).and_then(|()| self.file.sync_data());
        written.map_err(|source| ClockError::File { operation: "write", file: self.path.clone(), source })
    }
}

/// A file that ends with this process, and its path for processes that this one starts.
#[cfg(target_os = "linux")]
fn in_memory() -> (PathBuf, io::Result<File>) {
    use std::os::fd::AsRawFd;

    use rustix::fs::{MemfdFlags, memfd_create};

    let opened = memfd_create("epro-clock", MemfdFlags::CLOEXEC).map(File::from).map_err(io::Error::from);
    let number = opened.as_ref().map_or(-1, AsRawFd::as_raw_fd);
    (PathBuf::from(format!("/proc/{}/fd/{number}", std::process::id())), opened)
}

/// Nothing maps it: the clock does not move here.
#[cfg(not(target_os = "linux"))]
fn in_memory() -> (PathBuf, io::Result<File>) {
    let path = std::env::temp_dir().join(format!("epro-clock-{}", uuid::Uuid::new_v4()));
    let opened = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
    // It stays open, and ends with this process.
    let removed = opened.and_then(|file| std::fs::remove_file(&path).map(|()| file));
    (path, removed)
}

fn bytes_of(offset: i64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&offset.to_ne_bytes());
    bytes[8..].copy_from_slice(&(!offset).to_ne_bytes());
    bytes
}

/// The offset in the file's bytes, if they are whole and no clock was moved back or too far.
fn offset_of(bytes: [u8; 16]) -> Option<i64> {
    let [offset, inverted] = [0, 8].map(|at| {
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[at..at + 8]);
        i64::from_ne_bytes(half)
    });
    let is_possible = (0..=FURTHEST.whole_milliseconds()).contains(&offset.into());
    (inverted == !offset && is_possible).then_some(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_kept_in_the_folder_and_a_damaged_file_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || OffsetFile::open(Some(folder.path()));
        let (file, offset) = open().expect("it is made");
        assert_eq!(offset, 0);
        file.write(86_400_000).expect("it is writable");
        assert_eq!(open().expect("it is opened again").1, 86_400_000);
        for damaged in [[7; 16].as_slice(), &bytes_of(-1), &bytes_of(i64::MAX)] {
            std::fs::write(folder.path().join("clock"), damaged).expect("it is writable");
            let error = open().expect_err("it is damaged").to_string();
            assert!(error.contains("is damaged"), "{error}");
        }
        std::fs::write(folder.path().join("clock"), "half").expect("it is writable");
        assert!(matches!(open(), Err(ClockError::File { operation: "read", .. })));
    }
}
