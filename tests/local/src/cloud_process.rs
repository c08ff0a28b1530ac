//! A local cloud in a process of its own, so that it can be killed and started again.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::cloud::CloudOptions;

/// How long a first start may take, which builds the functions.
const START: Duration = Duration::from_secs(900);

/// How long a stop may take: the grace of running invocations, and the database's.
const STOP: Duration = Duration::from_secs(20);

/// The last lines of its messages that are kept to explain why it ended.
const KEPT: usize = 20;

/// A running local cloud. It ends with this value.
#[derive(Debug)]
pub(crate) struct CloudProcess {
    options: CloudOptions,
    program: PathBuf,
    url: String,
    process: Option<Child>,
}

/// Why a local cloud does not start.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The path of this program is not known.
    #[error("this program cannot be started again")]
    Program(#[source] io::Error),
    /// The process cannot be started.
    #[error("cannot start {}", program.display())]
    Spawn {
        /// This program.
        program: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// It ended before it served.
    #[error("the local cloud ended before it served ({how}){messages}")]
    Ended {
        /// Its exit status.
        how: String,
        /// Its last messages.
        messages: String,
    },
    /// It does not serve in time.
    #[error("the local cloud does not serve after {} s{messages}", START.as_secs())]
    Slow {
        /// Its last messages.
        messages: String,
    },
}

/// The messages of a process. Until it serves they are shown, since a build may be among them; then they would tear a
/// progress bar, and are shown only if the functions' log lines are asked for.
#[derive(Debug, Clone)]
struct Messages {
    lines: Arc<Mutex<VecDeque<String>>>,
    shown: Arc<AtomicBool>,
}

impl CloudProcess {
    /// Starts one and waits until it serves.
    pub(crate) async fn start(options: CloudOptions) -> Result<Self, ProcessError> {
        let program = std::env::current_exe().map_err(ProcessError::Program)?;
        let mut this = Self { options, program, url: String::new(), process: None };
        this.ensure_running().await?;
        Ok(this)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Kills it with SIGKILL; its functions end with it.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // This fails only if it has already ended.
            let _ = process.kill().await;
        }
    }

    /// Starts it if it does not run, on the port and the data that it had.
    pub(crate) async fn ensure_running(&mut self) -> Result<(), ProcessError> {
        if let Some(process) = &mut self.process
            && matches!(process.try_wait(), Ok(None))
        {
            return Ok(());
        }
        let known = self.url.rsplit(':').next().and_then(|port| port.parse().ok());
        let port = known.unwrap_or(self.options.port);
        let mut arguments: Vec<OsString> = vec!["environment".into(), std::process::id().to_string().into()];
        arguments.push(self.program.clone().into());
        arguments.extend(self.options.arguments(port));
        let mut process = Command::new(&self.program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal reaches the command that started it, which stops it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| ProcessError::Spawn { program: self.program.clone(), source })?;
        let again = known.is_some();
        let messages = Messages::new(!again && !self.options.console.quiet);
        let reading = process.stderr.take().map(|stderr| tokio::spawn(messages.clone().read(stderr)));
        let ready = async {
            let stdout = process.stdout.take()?;
            BufReader::new(stdout).lines().next_line().await.ok().flatten()
        };
        let line = match timeout(START, ready).await {
            Ok(line) => line,
            Err(_) => return Err(ProcessError::Slow { messages: messages.text() }),
        };
        let Some(url) = line.as_deref().and_then(|line| line.strip_prefix("ready ")) else {
            let how = process.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
            if let Some(reading) = reading {
                // Its functions may hold the pipe open for a moment.
                let _ = timeout(Duration::from_secs(1), reading).await;
            }
            return Err(ProcessError::Ended { how, messages: messages.text() });
        };
        self.url = url.to_owned();
        messages.shown.store(self.options.console.logs, Ordering::Relaxed);
        self.process = Some(process);
        Ok(())
    }

    /// Stops it as Ctrl-C does.
    pub(crate) async fn stop(mut self) {
        let Some(mut process) = self.process.take() else { return };
        let pid = process.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
        if timeout(STOP, process.wait()).await.is_err() {
            let _ = process.kill().await;
        }
    }
}

impl Messages {
    fn new(shown: bool) -> Self {
        Self { lines: Arc::default(), shown: Arc::new(AtomicBool::new(shown)) }
    }

    async fn read(self, stderr: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stderr).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if self.shown.load(Ordering::Relaxed) {
                eprintln!("{line}");
            }
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == KEPT {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    }

    /// The last ones, each on a line of its own.
    fn text(&self) -> String {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(|line| format!("\n  | {line}")).collect()
    }
}
