//! A quota of processor time, as Lambda gives a function with little memory: a control group made by hand.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The memory in MB with which a function has a whole processor.
const MB_OF_A_PROCESSOR: u32 = 1_769;
/// The period in which the quota is given, in microseconds.
const PERIOD: u32 = 20_000;

/// A control group with the quota of a function's memory. Dropping it removes the group, if no process is left in it.
#[derive(Debug)]
pub struct Quota {
    folder: PathBuf,
}

impl Quota {
    /// The quota of a function with `megabytes` of memory. The error says why this machine gives none.
    ///
    /// # Errors
    /// If no control group can be made.
    pub fn of_memory(megabytes: u32) -> Result<Self, String> {
        let quota = (PERIOD * megabytes / MB_OF_A_PROCESSOR).to_string();
        let name = format!("epro-ledger-{}-{megabytes}", std::process::id());
        let (v2, v1) = (Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/cpu"));
        let (folder, settings) = if v2.join("cgroup.controllers").exists() {
            (v2.join(name), vec![("cpu.max", format!("{quota} {PERIOD}"))])
        } else {
            let settings = vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota)];
            (v1.join(name), settings)
        };
        let refused = |what: &Path, error: &std::io::Error| format!("{} cannot be written: {error}", what.display());
        fs::create_dir(&folder).map_err(|error| refused(&folder, &error))?;
        let group = Self { folder };
        for (file, value) in settings {
            let file = group.folder.join(file);
            fs::write(&file, value).map_err(|error| refused(&file, &error))?;
        }
        Ok(group)
    }

    /// The command that joins the group, waits for a line, and becomes the command that follows.
    pub(crate) fn command(&self) -> Vec<OsString> {
        let script = format!("echo $$ >'{}/cgroup.procs' && read -r line && exec \"$0\" \"$@\"", self.folder.display());
        ["/bin/sh".into(), "-c".into(), script.into()].into()
    }

    /// Waits until that command waits for its line with the quota of a whole period.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // A process that was killed leaves the group a moment later.
        for _ in 0..1_000 {
            if fs::remove_dir(&self.folder).is_ok() || !self.folder.exists() {
                return;
            }
            std::thread::yield_now();
        }
    }
}
