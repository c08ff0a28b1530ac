//! Writes files so that a crash at any point leaves either the old content or the new, and a full disk no half of a
//! line.

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

/// Appends lines to a file. They are on the disk when this returns; if it fails, the file is as it was, because a line
/// that is written in part would make the next one unreadable.
///
/// # Errors
/// If a file operation fails.
pub fn append_lines(file: &mut File, lines: &str) -> io::Result<()> {
    let end = file.metadata()?.len();
    let written = file.write_all(lines.as_bytes()).and_then(|()| file.sync_data());
    if written.is_err() {
        file.set_len(end)?;
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::process::Command;

    use super::*;

    /// The limit of a file's size takes the place of a full disk. It is of a process, so the test runs in another one.
    #[test]
    fn lines_that_do_not_fit_on_the_disk_leave_the_file_as_it_was() {
        const LIMITED: &str = "STORAGE_TEST_LIMITED";
        let folder = tempfile::tempdir().expect("a folder");
        if std::env::var_os(LIMITED).is_none() {
            // Without the trap the signal of the limit ends the process.
            let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
            let test = std::env::current_exe().expect("a test has a path");
            let name = "storage::tests::lines_that_do_not_fit_on_the_disk_leave_the_file_as_it_was";
            let mut command = Command::new("sh");
            command.args(["-c", limited]).arg(test).args([name, "--exact"]).env(LIMITED, "1");
            let output = command.output().expect("there is a shell");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let path = folder.path().join("lines");
        let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("it is made");
        append_lines(&mut file, "first\n").expect("it fits");
        append_lines(&mut file, &"x".repeat(5_000)).expect_err("it is over the limit");
        append_lines(&mut file, "second\n").expect("it fits");
        assert_eq!(fs::read_to_string(&path).expect("it exists"), "first\nsecond\n");
    }
}
