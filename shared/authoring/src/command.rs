//! The command line: arguments, output and exit codes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it prints results to a person at a terminal")]

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use clinical::ids::{FormVersion, GroupId};
use clinical::instruments::{Catalog, Instrument};

use crate::connection::Target;
use crate::outcome::Outcome;
use crate::validate::{self, ValidateOptions, ValidationResult};
use crate::verify::{self, VerifyError, VerifyOptions};
use crate::{catalog, error_chain, instrument, score, study};

/// The commands, to be flattened into a program's own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Imports, checks and stores an instrument's definition
    Instrument {
        /// What to do with it.
        #[command(subcommand)]
        command: InstrumentCommand,
    },
    /// Scores answers: one JSON object, or one a line, {"answers":{"1":2,…}}, from standard input
    ///
    /// Writes a line for each: its scores and the alert rules that fire, or the line number and all validation errors.
    /// Starts nothing and stores nothing. Earlier answers of a patient are unknown, so rules about change are not
    /// evaluated.
    /// Exits with 0 if all lines are valid, 1 if any is not, 2 if there is no such instrument, its definition has faults,
    /// or the input cannot be read.
    Score {
        /// The instrument, with a version if not the newest: phq-9, phq-9@1.0.0; or the path of a definition
        #[arg(value_parser = catalog::resolve)]
        instrument: Arc<Instrument>,
        /// The patients' group, where the definition has items that some groups are not asked: men
        #[arg(long)]
        group: Option<GroupId>,
    },
    /// Lists the instruments that ship
    Instruments,
    /// Checks a study's data and puts it in force
    Study {
        /// What to do with it.
        #[command(subcommand)]
        command: StudyCommand,
    },
    /// Checks a file of case-report rows (JSON array, NDJSON, CDISC Dataset-JSON) against a form
    ///
    /// Writes a table of all findings with the number of rows of each status, or the API's response. Starts nothing and
    /// stores nothing. Sites and subjects are not known here, so checks of them are not run.
    /// Exits with 0 if no row is rejected (warnings are allowed), 1 if any is, 2 if the form or the file cannot be used.
    Validate {
        /// The form, the rows, and how the result is written.
        #[command(flatten)]
        arguments: ValidateArguments,
    },
    /// Recomputes all that is stored from the submissions, and lists what differs
    ///
    /// Replays each patient's submissions and compares scores, alerts, courses, corrections, audit entries of changes, and
    /// the counts of each site. Reads only, also beside a running system, and names no answer, score or patient.
    /// Exits with 0 if nothing differs, 1 if anything does, 2 if the store cannot be read.
    Verify {
        /// What is verified, and how.
        #[command(flatten)]
        arguments: VerifyArguments,
    },
}

/// What to do with an instrument's definition.
#[derive(Debug, Subcommand)]
pub enum InstrumentCommand {
    /// Turns a FHIR R4 Questionnaire with weights into the draft of a definition, on standard output
    ///
    /// Lists on standard error what could not be converted, what a person has to add, and the faults of the draft.
    /// Exits with 0 if the draft loads as a definition, 1 if it does not yet, 2 if the file has no Questionnaire.
    Import {
        /// A FHIR R4 Questionnaire as JSON
        file: PathBuf,
    },
    /// Lists all faults of a definition
    ///
    /// Exits with 0 if it has none, 1 if it has any, 2 if the file cannot be read.
    Check {
        /// The definition
        file: PathBuf,
    },
    /// Stores a definition, so that a study can name it; a stored version never changes
    ///
    /// Exits with 0 if it is stored (now or before), 1 if it has faults or its version is stored with other content,
    /// 2 if the file cannot be read or the store does not answer.
    Put {
        /// The definition
        file: PathBuf,
        /// The reason, which the audit keeps with your AWS identity
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        /// Where to store it.
        #[command(flatten)]
        target: TargetArguments,
    },
}

/// What to do with a study's data.
#[derive(Debug, Subcommand)]
pub enum StudyCommand {
    /// Lists all faults of a study's data
    ///
    /// Exits with 0 if it has none, 1 if it has any, 2 if a file cannot be read.
    Check {
        /// The study
        file: PathBuf,
        /// The definition of an instrument of the study's own
        #[arg(long = "instrument", value_name = "FILE")]
        instruments: Vec<PathBuf>,
    },
    /// Puts a study in force, everywhere within a minute; a stored version never changes
    ///
    /// Exits with 0 if it is in force, 1 if it has faults or another version stays in force, 2 if the file cannot be
    /// read or the store does not answer.
    Put {
        /// The study
        file: PathBuf,
        /// The reason, which the audit keeps with your AWS identity
        #[arg(long, value_name = "TEXT", value_parser = reason)]
        reason: String,
        /// Where to store it.
        #[command(flatten)]
        target: TargetArguments,
    },
}

/// Where to store.
#[derive(Debug, Args)]
pub struct TargetArguments {
    /// Port of the local cloud
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The Records table of a deployment, in the account and region of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    /// AWS_SESSION_TOKEN and AWS_REGION
    #[arg(long, value_name = "NAME", conflicts_with = "port")]
    table: Option<String>,
}

impl From<TargetArguments> for Target {
    fn from(arguments: TargetArguments) -> Self {
        arguments.table.map_or(Self::LocalCloud(arguments.port), |table| Self::Table(table, None))
    }
}

/// The form, the rows, and how the result is written.
#[derive(Debug, Args)]
pub struct ValidateArguments {
    /// A form that ships (ae, dm, lb, vs), or the path of a form's definition
    form: String,
    /// The rows
    file: PathBuf,
    /// The version of a form that ships [default: the newest]
    #[arg(long, value_name = "N.N.N")]
    version: Option<FormVersion>,
    /// Write the API's response
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

/// What is verified, and how.
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// Port of the local cloud
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The Records table of a deployment, in the account and region of AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    /// AWS_SESSION_TOKEN and AWS_REGION
    #[arg(long, value_name = "NAME", conflicts_with = "port", requires = "counts_table")]
    table: Option<String>,
    /// The SiteCounts table of the deployment
    #[arg(long, value_name = "NAME", requires = "table")]
    counts_table: Option<String>,
    /// Minutes that something may wait for its score, its publication or its evaluation; 0 for not at all
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(0..=525_600))]
    patience: u32,
    /// The largest EscalationLimit that the deployment ever had, to compare the escalations of studies that define none
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    escalation_limit: Option<u32>,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

impl From<VerifyArguments> for VerifyOptions {
    fn from(arguments: VerifyArguments) -> Self {
        let VerifyArguments { port, table, counts_table, patience, escalation_limit, quiet } = arguments;
        let target = table.map_or(Target::LocalCloud(port), |table| Target::Table(table, counts_table));
        Self { target, patience: time::Duration::minutes(patience.into()), escalation_limit, quiet }
    }
}

impl From<ValidateArguments> for ValidateOptions {
    fn from(arguments: ValidateArguments) -> Self {
        let ValidateArguments { form, file, version, json, values, lang, quiet } = arguments;
        Self { form, file, version, json, values, language: lang, quiet }
    }
}

impl Command {
    /// Runs the command and prints its result. Returns the exit code: 0 if all is well, 1 if the input has faults, 2 if
    /// the command could not do its work.
    pub fn run(self) -> ExitCode {
        match self {
            Self::Instrument { command } => command.run(),
            Self::Score { instrument, group } => score(instrument.for_group(group.as_ref())),
            Self::Instruments => {
                let table = catalog::table(Catalog::shipped().iter());
                written(io::stdout().lock().write_all(table.as_bytes()), ExitCode::SUCCESS)
            }
            Self::Study { command } => command.run(),
            Self::Validate { arguments } => validate(&arguments.into()),
            Self::Verify { arguments } => verify(&arguments.into()),
        }
    }
}

impl InstrumentCommand {
    fn run(self) -> ExitCode {
        match self {
            Self::Import { file } => match instrument::import(&file, io::stdout().lock(), io::stderr().lock()) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::from(1),
                Err(error) => failed(&error),
            },
            Self::Check { file } => print(instrument::check(&file)),
            Self::Put { file, reason, target } => print(block_on(instrument::put(&file, &target.into(), &reason))),
        }
    }
}

impl StudyCommand {
    fn run(self) -> ExitCode {
        match self {
            Self::Check { file, instruments } => print(study::check(&file, &instruments)),
            Self::Put { file, reason, target } => print(block_on(study::put(&file, &target.into(), &reason))),
        }
    }
}

fn score(instrument: &Instrument) -> ExitCode {
    if io::stdin().is_terminal() {
        eprintln!("reading answers, one {{\"answers\":{{…}}}} a line; Ctrl-D ends");
    }
    match score::score(instrument, io::stdin().lock(), io::stdout().lock()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => written(Err(error), ExitCode::SUCCESS),
    }
}

fn validate(options: &ValidateOptions) -> ExitCode {
    match validate::validate(options) {
        Ok(ValidationResult { text, rejected }) => {
            let code = if rejected { ExitCode::from(1) } else { ExitCode::SUCCESS };
            written(io::stdout().lock().write_all(text.as_bytes()), code)
        }
        Err(error) => failed(&error),
    }
}

fn verify(options: &VerifyOptions) -> ExitCode {
    match block_on(verify::verify(options, io::stdout())) {
        Ok(tally) => {
            let code = if tally.differences > 0 { ExitCode::from(1) } else { ExitCode::SUCCESS };
            written(io::stdout().lock().write_all(verify::summary(&tally).as_bytes()), code)
        }
        Err(VerifyError::Write(error)) => written(Err(error), ExitCode::from(1)),
        Err(error) => failed(&error),
    }
}

/// Prints the result of checking or storing a definition.
fn print<E: Error>(result: Result<Outcome, E>) -> ExitCode {
    match result {
        Ok(Outcome::Accepted(accepted)) => {
            println!("{accepted}");
            ExitCode::SUCCESS
        }
        Ok(Outcome::Refused(refused)) => {
            eprintln!("{refused}");
            ExitCode::from(1)
        }
        Ok(Outcome::Faulty(faults)) => {
            faults.iter().for_each(|fault| eprintln!("{fault}"));
            eprintln!("{} fault{}", faults.len(), if faults.len() == 1 { "" } else { "s" });
            ExitCode::from(1)
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn Error) -> ExitCode {
    eprintln!("error: {}", error_chain(error));
    ExitCode::from(2)
}

/// `code`, unless standard output could not be written. A reader that has closed it, `head` for example, is no error.
fn written(result: io::Result<()>, code: ExitCode) -> ExitCode {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed(&error),
        _ => code,
    }
}

#[tokio::main(flavor = "current_thread")]
async fn block_on<T>(work: impl Future<Output = T>) -> T {
    work.await
}

fn reason(text: &str) -> Result<String, &'static str> {
    let text = text.trim();
    match text.chars().count() {
        1..=500 if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("give the reason in one line of at most 500 characters"),
    }
}
