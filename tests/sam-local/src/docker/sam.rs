//! The SAM CLI's processes.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sam_local::Cloud;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::Result;
use crate::image::{Image, architecture};
use crate::run_folder::RunFolder;

/// How long SAM may take to remove its containers when it is ended.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// What all of SAM's processes get.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) image: &'a Image,
    pub(crate) arguments: &'a [OsString],
}

/// A process of `sam local`.
#[derive(Debug)]
pub(crate) struct Sam {
    process: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Sam {
    /// Starts `sam local` with `arguments` on what is in `folder`. By `access_key` a request is known to be the function's.
    pub(crate) fn start(
        folder: &RunFolder,
        settings: &Settings<'_>,
        access_key: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        let (output, log) = (folder.path().join("output"), folder.path().join("log"));
        let process = Command::new("sam")
            .arg("local")
            .args(arguments)
            .arg("--template")
            .arg(folder.template())
            .arg("--env-vars")
            .arg(folder.variables())
            // One request a second, to show that start-api does not limit them.
            .arg("--parameter-overrides")
            .args([&format!("Architecture={}", architecture()), "RequestsPerSecond=1", "RequestBurst=1"])
            .args(settings.image.arguments())
            .args(settings.arguments)
            .current_dir(Cloud::root())
            // Any credentials will do: nothing leaves this machine.
            .envs([
                ("AWS_ACCESS_KEY_ID", access_key),
                ("AWS_SECRET_ACCESS_KEY", "local"),
                ("AWS_DEFAULT_REGION", "us-east-1"),
            ])
            .env("SAM_CLI_TELEMETRY", "0")
            .stdin(Stdio::null())
            .stdout(File::create(&output)?)
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|e| format!("sam does not start: {e}: pip install aws-sam-cli"))?;
        Ok(Self { process, output, log })
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.process.wait().await
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    /// What it printed: a function's result.
    pub(crate) fn output(&self) -> io::Result<Vec<u8>> {
        fs::read(&self.output)
    }

    /// Its log, with the function's.
    pub(crate) fn log(&self) -> String {
        fs::read(&self.log).map_or_else(|e| e.to_string(), |log| String::from_utf8_lossy(&log).into_owned())
    }
}

impl Drop for Sam {
    #[expect(clippy::disallowed_methods, reason = "a drop cannot await")]
    fn drop(&mut self) {
        // No id: it has ended and was waited for.
        let Some(id) = self.process.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) else { return };
        let _ = kill_process(id, Signal::TERM);
        let started = Instant::now();
        while started.elapsed() < END_PATIENCE {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        let _ = kill_process(id, Signal::KILL);
    }
}
