//! AWS's runtime interface emulator, which runs one function as Lambda does: initialisation, deadline, kill on timeout.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, io, thread};

use http::{Request, Uri};
use local::template::{Function, REGION};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{self, Instant};

use crate::http_client::send;

/// How long the emulator may take until it listens.
const PATIENCE: Duration = Duration::from_secs(20);

/// A function's bootstrap under the emulator. It starts with the first invocation, as after a deployment.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    invoke: Uri,
    folder: TempDir,
}

/// The result of an invocation.
#[derive(Debug)]
pub struct Invocation {
    /// The function's result; if it was killed, the emulator's message, which is not JSON.
    pub body: String,
    /// From the request to the complete response.
    pub took: Duration,
}

impl Emulator {
    /// Runs `bootstrap` as `function`, with the function's environment, and `timeout` instead of the template's. The
    /// emulator knows whole seconds only.
    ///
    /// # Errors
    /// If the emulator (the file that `LAMBDA_EMULATOR` names) does not start.
    pub async fn start(function: &Function, bootstrap: &Path, timeout: Duration) -> io::Result<Self> {
        let advice = "run tests/sam-local/run, which looks for it in the SAM CLI and builds the bootstraps";
        let not_found = |what: String| io::Error::new(io::ErrorKind::NotFound, format!("{what}: {advice}"));
        let emulator = env::var_os("LAMBDA_EMULATOR").ok_or_else(|| not_found("LAMBDA_EMULATOR is not set".into()))?;
        let bootstrap = bootstrap.canonicalize().map_err(|e| not_found(format!("{}: {e}", bootstrap.display())))?;
        let (invocations, runtime_api) = two_free_ports().await?;
        let folder = TempDir::new()?;
        let log = File::create(folder.path().join("log"))?;
        let process = Command::new(&emulator)
            .arg("--runtime-interface-emulator-address")
            .arg(invocations.to_string())
            .arg("--runtime-api-address")
            .arg(runtime_api.to_string())
            .arg(bootstrap)
            .current_dir(folder.path())
            .env_clear()
            .envs(&function.environment)
            .env("AWS_REGION", REGION)
            // By which a request is known to be the function's.
            .env("AWS_ACCESS_KEY_ID", &function.name)
            .env("AWS_SECRET_ACCESS_KEY", "emulated")
            .env("AWS_LAMBDA_FUNCTION_NAME", &function.name)
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory.to_string())
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", timeout.as_secs().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|e| not_found(format!("{}: {e}", emulator.display())))?;
        let path = "2015-03-31/functions/function/invocations";
        let invoke = format!("http://{invocations}/{path}").parse().map_err(io::Error::other)?;
        let mut emulator = Self { process, invoke, folder };
        emulator.wait_until_listening(invocations).await?;
        Ok(emulator)
    }

    /// Invokes the function with `event`.
    ///
    /// # Errors
    /// If the emulator does not answer.
    pub async fn invoke(&self, event: &Value) -> io::Result<Invocation> {
        let request = Request::post(self.invoke.clone()).body(event.to_string().into()).map_err(io::Error::other)?;
        let started = Instant::now();
        let answer = send(request).await?;
        let body = String::from_utf8(answer.into_body().into()).map_err(io::Error::other)?;
        Ok(Invocation { body, took: started.elapsed() })
    }

    /// Stops the function's process with SIGSTOP, so that it hangs: it neither runs nor ends.
    ///
    /// # Errors
    /// If the process does not run.
    pub fn hang(&self) -> io::Result<()> {
        match self.bootstrap()? {
            Some(process) => Ok(kill_process(process, Signal::STOP)?),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "the function does not run")),
        }
    }

    /// The log of the emulator and the function.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn log(&self) -> io::Result<String> {
        fs::read_to_string(self.folder.path().join("log"))
    }

    async fn wait_until_listening(&mut self, address: SocketAddr) -> io::Result<()> {
        let listening = async {
            while TcpStream::connect(address).await.is_err() {
                if let Some(status) = self.process.try_wait()? {
                    return Err(io::Error::other(format!("the emulator ended ({status}): {}", self.log()?)));
                }
                time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        };
        time::timeout(PATIENCE, listening).await?
    }

    /// The function's process: the emulator's only child.
    fn bootstrap(&self) -> io::Result<Option<Pid>> {
        let parent = self.process.id().to_string();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // A process that has just ended has no such line. The name, in parentheses, may contain any character.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            let fields = stat.rsplit(')').next().unwrap_or_default();
            if fields.split_whitespace().nth(1) == Some(&parent) {
                return Ok(Pid::from_raw(pid));
            }
        }
        Ok(None)
    }
}

impl Drop for Emulator {
    #[allow(clippy::print_stderr, reason = "a test that fails shows what the function logged")]
    fn drop(&mut self) {
        // The child first, because it cannot be found without its parent. An ended process needs no signal.
        if let Ok(Some(bootstrap)) = self.bootstrap() {
            let _ = kill_process(bootstrap, Signal::KILL);
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        if thread::panicking() {
            eprintln!("{}", self.log().unwrap_or_default());
        }
    }
}

async fn two_free_ports() -> io::Result<(SocketAddr, SocketAddr)> {
    let (one, other) =
        (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?);
    Ok((one.local_addr()?, other.local_addr()?))
}
