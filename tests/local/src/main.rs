//! `cargo run` at the root of the workspace: the local cloud.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
    os::unix::process::{CommandExt, parent_id},
    path::{Path, PathBuf},
    process::{self, ExitCode},
    sync::Arc,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use clinical::{
    catalog::Catalog,
    ids::{FormVersion, GroupId, SiteId},
    instrument::Instrument,
};
use local::{
    cloud::{Cloud, Options},
    console::Console,
    import, instruments,
    put::{self, Target},
    replay::{self, Verdict},
    score,
    sns::Wanted,
    validate::{self, Told},
};
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
    subscribe: Vec<Wanted>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Works on an instrument's definition
    Instrument {
        #[command(subcommand)]
        command: InstrumentCommand,
    },
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
    /// Scores answers: one JSON object, or one a line, {"answers":{"1":2,…}}, from standard input
    ///
    /// Writes one line for each: its scores and the alert rules that fire or, for one that cannot be read or does not fit,
    /// its line number and everything that is wrong with it. Starts nothing and stores nothing; what came before a line is
    /// not known, so rules about change are not evaluated.
    /// Ends with 0 if all fitted, 1 if any did not, 2 if there is no such instrument, its definition has faults, or the
    /// input cannot be read.
    Score {
        /// The instrument, and its version if it is not the newest: phq-9, phq-9@1.0.0; or the path of a definition
        #[arg(value_parser = instruments::named)]
        instrument: Arc<Instrument>,
        /// The group of patients that the answers are from, where the definition asks some of them less: men
        #[arg(long)]
        group: Option<GroupId>,
    },
    /// Lists the instruments that ship
    Instruments,
    /// Works on a study's data
    Study {
        #[command(subcommand)]
        command: StudyCommand,
    },
    /// Checks a file of case-report rows (JSON array, NDJSON, CDISC Dataset-JSON) against a form
    ///
    /// Writes a table of all findings and how many rows there are of each kind, or what the API would answer. Starts nothing
    /// and stores nothing; sites and subjects are not known here, so those checks are not run.
    /// Ends with 0 if no row is rejected (there may be warnings), 1 if any is, 2 if the form or the file cannot be used.
    Validate {
        #[command(flatten)]
        arguments: ValidateArguments,
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

#[derive(Debug, Subcommand)]
enum InstrumentCommand {
    /// Turns a FHIR R4 Questionnaire with weights into the draft of a definition, on standard output
    ///
    /// Says on standard error what could not be carried over, what a person has to add, and what is wrong with the draft.
    /// Ends with 0 if the draft loads as a definition, 1 if it does not yet, 2 if there is no Questionnaire in the file.
    Import {
        /// A FHIR R4 Questionnaire as JSON
        file: PathBuf,
    },
    /// Tells everything that is wrong with a definition
    ///
    /// Ends with 0 if nothing is, 1 if anything is, 2 if the file cannot be read.
    Check {
        /// The definition
        file: PathBuf,
    },
    /// Stores a definition, for a study to name; a version once put never changes
    ///
    /// Ends with 0 if it is stored (also if it was before), 1 if it has faults or its version is there with another
    /// content, 2 if the file cannot be read or the store does not answer.
    Put {
        /// The definition
        file: PathBuf,
        /// Why; the audit keeps it, with who you are to AWS
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        #[command(flatten)]
        target: TargetArguments,
    },
}

#[derive(Debug, Subcommand)]
enum StudyCommand {
    /// Tells everything that is wrong with a study's data
    ///
    /// Ends with 0 if nothing is, 1 if anything is, 2 if a file cannot be read.
    Check {
        /// The study
        file: PathBuf,
        /// The definition of an instrument of the study's own
        #[arg(long = "instrument", value_name = "FILE")]
        instruments: Vec<PathBuf>,
    },
    /// Puts a study in force, everywhere within a minute; a version once put never changes
    ///
    /// Ends with 0 if it is in force, 1 if it has faults or another version stays in force, 2 if the file cannot be
    /// read or the store does not answer.
    Put {
        /// The study
        file: PathBuf,
        /// Why; the audit keeps it, with who you are to AWS
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        #[command(flatten)]
        target: TargetArguments,
    },
}

/// Where something is put.
#[derive(Debug, Args)]
struct TargetArguments {
    /// Port of the local cloud
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The Records table of a deployment, in the account and region that AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    /// AWS_SESSION_TOKEN and AWS_REGION name
    #[arg(long, value_name = "NAME", conflicts_with = "port")]
    table: Option<String>,
}

impl TargetArguments {
    fn target(&self) -> Target {
        self.table.clone().map_or(Target::Local(self.port), Target::Aws)
    }
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
struct ValidateArguments {
    /// A form that ships (vs, ae, dm), or the file of a form's definition
    form: String,
    /// The rows
    file: PathBuf,
    /// The version of a form that ships [default: the newest]
    #[arg(long, value_name = "N.N.N")]
    version: Option<FormVersion>,
    /// Write what the API would answer
    #[arg(long)]
    json: bool,
    /// Show the values that findings are about
    #[arg(long)]
    values: bool,
    /// The language of messages
    #[arg(long, value_name = "TAG", default_value = "en")]
    lang: String,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Environment { parent, executable }) => become_environment(parent, &executable),
        Some(Command::Replay { replay, cloud }) => return replay_file(replay, options(*cloud)),
        Some(Command::Score { instrument, group }) => return score_input(instrument.for_group(group.as_ref())),
        Some(Command::Instruments) => return list_instruments(),
        Some(Command::Validate { arguments }) => return validate_file(arguments),
        Some(Command::Instrument { command }) => return instrument(&command),
        Some(Command::Study { command }) => return study(&command),
        None => serve(options(cli.cloud)),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main]
async fn serve(options: Options) -> Result<ExitCode, Box<dyn Error>> {
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
    console.say("stopping; once more stops at once");
    tokio::select! {
        () = cloud.stop() => Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::from(130)),
        _ = terminate.recv() => Ok(ExitCode::from(143)),
    }
}

#[tokio::main]
async fn replay_file(arguments: ReplayArguments, cloud: Options) -> ExitCode {
    let ReplayArguments { file, speed, site, patience } = arguments;
    let patience = Duration::from_secs(patience.into());
    match replay::run(replay::Options { file, site, speed, patience, cloud }).await {
        Ok(Verdict::Agrees) => ExitCode::SUCCESS,
        Ok(Verdict::Differs) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::from(if matches!(error, replay::Error::Interrupted) { 130 } else { 2 })
        }
    }
}

fn score_input(instrument: &Instrument) -> ExitCode {
    if io::stdin().is_terminal() {
        eprintln!("reading answers, one {{\"answers\":{{…}}}} a line; Ctrl-D ends");
    }
    let result = score::score(instrument, io::stdin().lock(), io::stdout().lock());
    written(result.map(|all| if all { ExitCode::SUCCESS } else { ExitCode::from(1) }))
}

fn list_instruments() -> ExitCode {
    let table = instruments::table(Catalog::shipped().iter());
    written(io::stdout().lock().write_all(table.as_bytes()).map(|()| ExitCode::SUCCESS))
}

fn validate_file(arguments: ValidateArguments) -> ExitCode {
    let ValidateArguments { form, file, version, json, values, lang, quiet } = arguments;
    let options = validate::Options { form, file, version, json, values, language: lang, quiet };
    match validate::run(&options) {
        Ok(Told { text, rejected }) => {
            let code = if rejected { ExitCode::from(1) } else { ExitCode::SUCCESS };
            match io::stdout().lock().write_all(text.as_bytes()) {
                // Whoever reads has read enough, and the rows are what they are.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
                result => written(result.map(|()| code)),
            }
        }
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::from(2)
        }
    }
}

/// How a command that only reads and writes ends.
fn written(result: io::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn instrument(command: &InstrumentCommand) -> ExitCode {
    match command {
        InstrumentCommand::Import { file } => match import::import(file, io::stdout().lock(), io::stderr().lock()) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(1),
            Err(error) => {
                eprintln!("error: {}", chain(&error));
                ExitCode::from(2)
            }
        },
        InstrumentCommand::Check { file } => tell(put::check_instrument(file)),
        InstrumentCommand::Put { file, reason, target } => {
            tell(wait(put::put_instrument(file, &target.target(), reason)))
        }
    }
}

fn study(command: &StudyCommand) -> ExitCode {
    match command {
        StudyCommand::Check { file, instruments } => tell(put::check_study(file, instruments)),
        StudyCommand::Put { file, reason, target } => tell(wait(put::put_study(file, &target.target(), reason))),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn wait<T>(work: impl Future<Output = T>) -> T {
    work.await
}

/// What came of checking or putting something.
fn tell(result: Result<put::Verdict, put::Error>) -> ExitCode {
    match result {
        Ok(put::Verdict::Good(said)) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Ok(put::Verdict::Refused(said)) => {
            eprintln!("{said}");
            ExitCode::from(1)
        }
        Ok(put::Verdict::Faulty(faults)) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            eprintln!("{} fault{}", faults.len(), if faults.len() == 1 { "" } else { "s" });
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::from(2)
        }
    }
}

fn reason(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    match text.chars().count() {
        1..=500 if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("say why, in one line of at most 500 characters"),
    }
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn per_second(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "is no number".to_owned())?;
    // Slower than one a day, or faster than any machine here, is a mistake.
    if (1e-5..=1e6).contains(&number) { Ok(number) } else { Err("is not between 0.00001 and 1000000".to_owned()) }
}

fn options(cli: CloudArguments) -> Options {
    let workspace = workspace();
    Options {
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

/// Asks the system for a SIGKILL when the parent ends, and becomes the executable, which keeps that wish.
fn become_environment(parent: u32, executable: &Path) -> Result<ExitCode, Box<dyn Error>> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    // It may have ended before the wish was known.
    if parent_id() != parent {
        return Ok(ExitCode::FAILURE);
    }
    Err(process::Command::new(executable).exec().into())
}

/// An error and all that caused it, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
