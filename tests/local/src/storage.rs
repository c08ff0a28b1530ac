//! Writes files so that a crash at any point leaves either the old content or the new.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Replaces a file's content. It is on the disk when this returns.
///
/// # Errors
/// If a file operation fails.
pub fn write_whole(file: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let beside = file.with_file_name(name);
    let mut new = File::create(&beside)?;
    new.write_all(text)?;
    new.sync_all()?;
    fs::rename(&beside, file)?;
    // The rename is on the disk once the folder is synchronised.
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
