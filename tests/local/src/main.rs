//! `cargo run` at the root of the workspace: the local cloud.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

use std::error::Error;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use authoring::error_chain;
use clap::{Args, Parser, Subcommand};
use clinical::ids::SiteId;
use local::cloud::{Cloud, CloudOptions};
use local::console::Console;
use local::replay::{self, ReplayError, ReplayOptions, Verdict};
use local::sns::SubscribeOption;
use tokio::signal::unix::{SignalKind, signal};

/// Runs the whole back end on this machine: the functions' own binaries behind an HTTP API, a database with streams,
/// notifications and an issuer of tokens, as template.yaml says.
#[derive(Debug, Parser)]
#[command(name = "local", bin_name = "cargo run --", args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    cloud: CloudArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What a local cloud is started with.
#[derive(Debug, Args)]
struct CloudArguments {
    /// Port of the API on 127.0.0.1; 0 takes any free one
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// Folder where data is kept between starts [default: .local at the root of the workspace]
    #[arg(long, value_name = "DIR", conflicts_with = "memory")]
    data: Option<PathBuf>,
    /// Keep data in memory: each start begins empty
    #[arg(long)]
    memory: bool,
    /// Use the DynamoDB at this address (DynamoDB Local, or AWS) instead of the embedded one
    #[arg(long, value_name = "URL")]
    dynamodb: Option<String>,
    /// Say nothing but the ready line and errors
    #[arg(long)]
    quiet: bool,
    /// Show the functions' own log lines
    #[arg(long)]
    logs: bool,
    /// Cargo profile that the functions are built with
    #[arg(long, value_name = "NAME", default_value = "dev")]
    build_profile: String,
    /// The SAM template [default: template.yaml at the root of the workspace]
    #[arg(long, value_name = "FILE")]
    template: Option<PathBuf>,
    /// A parameter of the template, in the place of its default: EscalationMinutes=5
    #[arg(long, value_name = "NAME=VALUE", value_parser = parameter)]
    parameter: Vec<(String, String)>,
    /// Environments of one function at most; further invocations wait
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: u16,
    /// Deliver all messages here too: http://127.0.0.1:PORT/PATH or file:PATH, then `,{...}` as a filter policy if wanted
    #[arg(long, value_name = "ENDPOINT")]
    subscribe: Vec<SubscribeOption>,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Authoring(authoring::Command),
    /// Sends the questionnaires of a CDISC Dataset-JSON file through the API as its patients, and compares the scores
    ///
    /// Uses the local cloud that serves on --port; where none does, starts one with the options below and stops it
    /// afterwards. A second replay of a file sends the same submissions again and changes nothing.
    /// Ends with 0 if everything agrees, 1 if anything differs, 2 if the file or the local cloud cannot be used.
    Replay {
        #[command(flatten)]
        replay: ReplayArguments,
        #[command(flatten)]
        cloud: Box<CloudArguments>,
    },
    /// Becomes a function's process that ends with its parent, whatever ends that
    #[command(hide = true)]
    Environment {
        /// Process id of the parent
        parent: u32,
        /// What to become
        executable: PathBuf,
    },
}

#[derive(Debug, Args)]
struct ReplayArguments {
    /// A Dataset-JSON v1.1 file of questionnaires (SDTM QS)
    file: PathBuf,
    /// Administrations sent a second, at most [default: as fast as the answers come]
    #[arg(long, value_name = "N", value_parser = per_second)]
    speed: Option<f64>,
    /// The site that its patients are of
    #[arg(long, value_name = "ID", default_value = "CDISC")]
    site: SiteId,
    /// Seconds to go on while nothing is answered, scored or delivered
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Environment { parent, executable }) => become_environment(parent, &executable),
        Some(Command::Replay { replay, cloud }) => return replay_file(replay, options(*cloud)),
        Some(Command::Authoring(command)) => return command.run(),
        None => serve(options(cli.cloud)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(options: CloudOptions) -> Result<ExitCode, Box<dyn Error>> {
    let console = options.console;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let cloud = tokio::select! {
        cloud = Cloud::start(options) => cloud?,
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
    };
    println!("ready {}", cloud.url());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    console.say("stopping; press Ctrl-C again to stop at once");
    tokio::select! {
        () = cloud.stop() => Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
    }
}

#[tokio::main]
async fn replay_file(arguments: ReplayArguments, cloud: CloudOptions) -> ExitCode {
    let ReplayArguments { file, speed, site, patience } = arguments;
    let patience = Duration::from_secs(patience.into());
    match replay::run(ReplayOptions { file, site, speed, patience, cloud }).await {
        Ok(Verdict::Agrees) => ExitCode::SUCCESS,
        Ok(Verdict::Differs) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {}", error_chain(&error));
            ExitCode::from(if matches!(error, ReplayError::Interrupted) { 130 } else { 2 })
        }
    }
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn per_second(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "is not a number".to_owned())?;
    // Slower than one a day, or faster than any machine here, is a mistake.
    if (1e-5..=1e6).contains(&number) { Ok(number) } else { Err("is not between 0.00001 and 1000000".to_owned()) }
}

fn options(cli: CloudArguments) -> CloudOptions {
    let workspace = workspace();
    CloudOptions {
        port: cli.port,
        data: (!cli.memory).then(|| cli.data.unwrap_or_else(|| workspace.join(".local"))),
        dynamodb: cli.dynamodb,
        template: cli.template.unwrap_or_else(|| workspace.join("template.yaml")),
        parameters: cli.parameter.into_iter().collect(),
        workspace,
        build_profile: cli.build_profile,
        concurrency: cli.concurrency.into(),
        subscribe: cli.subscribe,
        launcher: std::env::current_exe().ok(),
        console: Console { quiet: cli.quiet, logs: cli.logs },
    }
}

/// The root of the workspace that this program was built from, wherever it is called.
fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

/// Asks the system for a SIGKILL at the parent's end, and becomes the executable, which inherits the request.
fn become_environment(parent: u32, executable: &Path) -> Result<ExitCode, Box<dyn Error>> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before the request.
    if parent_id() != parent {
        return Ok(ExitCode::FAILURE);
    }
    Err(process::Command::new(executable).exec().into())
}
