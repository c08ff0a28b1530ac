//! `cargo run` at the root of the workspace: the local cloud.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::{CommandExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::time::Duration;

use authoring::error_chain;
use clap::{Args, Parser, Subcommand};
use clinical::ids::SiteId;
use jiff::civil::Date;
use local::cloud::{Cloud, CloudOptions};
use local::console::Console;
use local::day::{self, DayError, DayOptions};
use local::faults::{FaultSettings, Share};
use local::replay::{self, ReplayError, ReplayOptions, Verdict};
use local::sns::SubscribeOption;
use local::surge::{self, Kill, SurgeError, SurgeOptions};
use mimalloc::MiMalloc;
use tokio::signal::unix::{SignalKind, signal};

/// A third of the database's time is allocation.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
    /// Share of the functions' requests to DynamoDB and SNS that meet a fault: an error, a throttle, a delay around
    /// their time limits, a connection cut before or after the write
    #[arg(long, value_name = "PERCENT")]
    faults: Option<Share>,
    /// Seed of the sequence of faults [default: a new one, which is printed]
    #[arg(long, value_name = "N", requires = "faults")]
    fault_seed: Option<u64>,
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
    /// Sends a submission of each of many patients at once, as phones do, and checks that nothing is lost or twice
    ///
    /// Uses the local cloud that serves on --port; where none does, starts one with the options below and stops it
    /// afterwards. Waits until all is scored and published; then compares every score, alert and count with the
    /// reference, and sends everything again. Each surge has new patients.
    /// Ends with 0 if every promise was kept, 1 if one was broken, 2 if it could not be done.
    Surge {
        #[command(flatten)]
        surge: SurgeArguments,
        #[command(flatten)]
        cloud: Box<CloudArguments>,
    },
    /// Lets a day of the demonstration study pass: patients are asked, reminded, answer, miss, or answer late
    ///
    /// Starts a local cloud, in memory unless --data is given, and moves its clock. Each patient reads what is due and
    /// submits over HTTP as a phone does. Prints hour by hour what was due, reminded, done, missed and answered late, and
    /// compares it with the plan of the day, which is drawn before.
    /// Ends with 0 if everything is as expected, 1 if anything differs, 2 if it could not be done.
    SimulateDay {
        #[command(flatten)]
        day: DayArguments,
        #[command(flatten)]
        cloud: Box<CloudArguments>,
    },
    /// Becomes a process that ends with its parent, whatever ends that
    #[command(hide = true)]
    Environment {
        /// Process id of the parent
        parent: u32,
        /// What to become
        executable: PathBuf,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
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

#[derive(Debug, Args)]
struct SurgeArguments {
    /// Patients, each of whom submits once
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    patients: u32,
    /// Submissions that are sent at the same time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// Kill with SIGKILL meanwhile: `functions`, four processes a second; `cloud`, the local cloud with all of its
    /// functions, three times, which then starts again. May be given twice
    #[arg(long, value_name = "WHAT", value_parser = kill)]
    kill: Vec<Kill>,
    /// Seconds to go on while nothing is accepted, scored or delivered: the sweep takes up what waits for three minutes,
    /// once a minute, and may meet a fault itself
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    patience: u32,
}

#[derive(Debug, Args)]
struct DayArguments {
    /// Patients who take part: some diligent, some late, some silent, some abroad
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    patients: u32,
    /// Determines who does what when [default: a new one, which is printed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The day, of each patient's own calendar; the clock never goes back [default: the fourth day from now]
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<Date>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Environment { parent, executable, arguments }) => {
            become_environment(parent, &executable, &arguments)
        }
        Some(Command::Replay { replay, cloud }) => return replay_file(replay, options(*cloud)),
        Some(Command::Surge { surge, cloud }) => return surge_of(surge, options(*cloud)),
        Some(Command::SimulateDay { day, cloud }) => return simulate_day(day, *cloud),
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

#[tokio::main]
async fn surge_of(arguments: SurgeArguments, cloud: CloudOptions) -> ExitCode {
    let SurgeArguments { patients, connections, kill, patience } = arguments;
    let options = SurgeOptions {
        patients: patients as usize,
        connections: connections.into(),
        kills: kill.into_iter().collect(),
        patience: Duration::from_secs(patience.into()),
        cloud,
    };
    match surge::run(options).await {
        Ok(surge::Verdict::Kept) => ExitCode::SUCCESS,
        Ok(surge::Verdict::Broken) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {}", error_chain(&error));
            ExitCode::from(if matches!(error, SurgeError::Interrupted) { 130 } else { 2 })
        }
    }
}

#[tokio::main]
async fn simulate_day(arguments: DayArguments, cloud: CloudArguments) -> ExitCode {
    let DayArguments { patients, seed: asked, date } = arguments;
    // A day of its own clock is not passed on the developer's data unless they are named.
    let memory = cloud.memory || cloud.data.is_none();
    let options = DayOptions {
        patients: patients as usize,
        seed: asked.unwrap_or_else(seed),
        date,
        cloud: options(CloudArguments { memory, ..cloud }),
    };
    match day::run(options).await {
        Ok(day::Verdict::AsExpected) => ExitCode::SUCCESS,
        Ok(day::Verdict::Differs) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {}", error_chain(&error));
            ExitCode::from(if matches!(error, DayError::Interrupted) { 130 } else { 2 })
        }
    }
}

fn kill(text: &str) -> Result<Kill, &'static str> {
    match text {
        "functions" => Ok(Kill::Functions),
        "cloud" => Ok(Kill::Cloud),
        _ => Err("is neither `functions` nor `cloud`"),
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
        faults: cli.faults.map(|share| FaultSettings {
            share,
            seed: cli.fault_seed.unwrap_or_else(seed),
            ..FaultSettings::default()
        }),
        subscribe: cli.subscribe,
        launcher: std::env::current_exe().ok(),
        console: Console { quiet: cli.quiet, logs: cli.logs },
    }
}

/// A seed that a person can type.
fn seed() -> u64 {
    let mut random = [0; 4];
    // Without randomness the seed is one that serves as well.
    let _ = getrandom::fill(&mut random);
    u32::from_le_bytes(random).into()
}

/// The root of the workspace that this program was built from, wherever it is called.
fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

/// Asks the system for a SIGKILL at the parent's end, and becomes the executable, which inherits the request.
fn become_environment(parent: u32, executable: &Path, arguments: &[OsString]) -> Result<ExitCode, Box<dyn Error>> {
    // Only Linux can end a process with its parent.
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before the request.
    if parent_id() != parent {
        return Ok(ExitCode::FAILURE);
    }
    Err(process::Command::new(executable).args(arguments).exec().into())
}
