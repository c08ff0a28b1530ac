//! A function's process: its start, its output and its end.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::console::Console;
use crate::feed::Feed;
use crate::lambda::FunctionSettings;
use crate::template::{Function, REGION};

mod metrics;

/// The last lines of output that are kept to explain the end of a process.
const TAIL: usize = 20;

/// Variables of this process that the functions' processes inherit.
const INHERITED: [&str; 4] = ["PATH", "HOME", "TMPDIR", "RUST_BACKTRACE"];

/// A process, running or ended. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// True asks the process to end.
    end: watch::Receiver<bool>,
    killed: bool,
    readers: Vec<JoinHandle<()>>,
    pub(super) tail: Tail,
}

/// The last lines that a process wrote.
#[derive(Debug, Clone, Default)]
pub(in crate::lambda) struct Tail(Arc<Mutex<VecDeque<String>>>);

impl Process {
    /// Starts the executable with the environment of a Lambda function, whose Runtime API is at `address`.
    pub(super) fn spawn(
        function: &Function,
        executable: &Path,
        settings: &FunctionSettings,
        address: &str,
        end: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let mut command = match &settings.launcher {
            Some(launcher) => {
                let mut command = Command::new(launcher);
                command.arg("environment").arg(std::process::id().to_string()).arg(executable);
                command
            }
            None => Command::new(executable),
        };
        command
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            .envs(&settings.environment)
            .envs(&function.environment)
            .envs(lambda_variables(function, address))
            .env("LAMBDA_TASK_ROOT", executable.parent().unwrap_or(executable))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C at the terminal reaches only the local cloud, which lets running invocations finish.
            .process_group(0)
            .kill_on_drop(true);
        let mut child = command.spawn()?;
        let tail = Tail::default();
        let mut readers = Vec::new();
        let lines = Lines {
            function: function.binary.clone(),
            console: settings.console,
            feed: settings.feed.clone(),
            tail: tail.clone(),
        };
        if let Some(output) = child.stdout.take() {
            readers.push(tokio::spawn(read(output, lines.clone())));
        }
        if let Some(output) = child.stderr.take() {
            readers.push(tokio::spawn(read(output, lines)));
        }
        Ok(Self { child, end, killed: false, readers, tail })
    }

    /// The process id, until the process has ended.
    pub(super) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The exit status, if the process has ended.
    pub(super) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Waits for the end of the process and kills it when the local cloud stops. Cancel safe.
    pub(super) async fn wait(&mut self) -> String {
        let ended = tokio::select! {
            ended = self.child.wait() => Some(ended),
            () = async { drop(self.end.wait_for(|end| *end).await) } => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                self.kill();
                self.child.wait().await
            }
        };
        ended.map_or_else(|error| error.to_string(), |status| status.to_string())
    }

    /// Kills the process with SIGKILL, as Lambda does.
    pub(super) fn kill(&mut self) {
        self.killed = true;
        // This fails only if the process has already ended.
        let _ = self.child.start_kill();
    }

    pub(super) fn is_killed(&self) -> bool {
        self.killed
    }

    /// Waits until all of its output has been read.
    pub(super) async fn last_words(&mut self) {
        // A child of the process may hold the pipes open, so the wait is bounded.
        let _ = timeout(Duration::from_millis(500), futures::future::join_all(self.readers.drain(..))).await;
    }
}

impl Tail {
    fn add(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(line);
    }
}

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return f.write_str("; it wrote no output");
        }
        f.write_str("; its last output:")?;
        lines.iter().try_for_each(|line| write!(f, "\n  | {line}"))
    }
}

/// The variables that Lambda sets for a function.
fn lambda_variables(function: &Function, address: &str) -> [(&'static str, String); 11] {
    [
        ("AWS_LAMBDA_RUNTIME_API", address.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory.to_string()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("local/[$LATEST]{}", uuid::Uuid::new_v4().simple())),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".to_owned()),
        ("_HANDLER", "bootstrap".to_owned()),
        ("TZ", ":UTC".to_owned()),
    ]
}

/// Where the lines of a process go.
#[derive(Debug, Clone)]
struct Lines {
    function: String,
    console: Console,
    feed: Feed,
    tail: Tail,
}

/// Reads the lines of an output until it is closed.
async fn read(output: impl AsyncRead + Unpin, lines: Lines) {
    let Lines { function, console, feed, tail } = lines;
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    // An error means the end of the pipe too.
    while output.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        console.log(&function, &text);
        if let Some(metrics) = metrics::of(&function, &text) {
            feed.add(&metrics);
        }
        tail.add(text);
        line.clear();
    }
}
