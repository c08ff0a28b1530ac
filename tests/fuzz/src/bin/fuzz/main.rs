//! `fuzz`: runs the fuzz targets on inputs of the seeded generator.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]
#![allow(clippy::disallowed_types, reason = "a hang of the code is measured, which no stopped clock would show")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use fuzz::Target;

mod child;
mod run;
mod shrink;

/// Runs everything that parses what strangers send on generated inputs: nothing may panic, hang, or take more memory
/// than a small multiple of the input.
///
/// Exit codes: 0 nothing was found, 1 something was found (each finding is a file), 2 it could not run.
#[derive(Parser)]
#[command(name = "fuzz", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Args)]
struct RunArguments {
    /// A target; all if none is named. `fuzz list` shows them
    #[arg(long = "target", value_name = "NAME", value_parser = target)]
    targets: Vec<&'static Target>,
    /// How long each target runs
    #[arg(long, value_name = "N", default_value = "60", conflicts_with = "inputs", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How many inputs each target reads, instead of a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    inputs: Option<u64>,
    /// What the inputs depend on: the same seed makes the same inputs
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// The index of the first input
    #[arg(long, value_name = "N", default_value = "0")]
    first: u64,
    /// How many targets run at once; the number of cores if it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,
    /// Where findings are written
    #[arg(long, value_name = "FOLDER", default_value = "target/fuzz")]
    findings: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Shows the targets
    List,
    /// Reads one file, with the checks of a run
    Replay {
        #[arg(value_parser = target)]
        target: &'static Target,
        file: PathBuf,
    },
    /// Writes an input of the generator to stdout
    Input {
        #[arg(value_parser = target)]
        target: &'static Target,
        index: u64,
        #[arg(long, default_value = "1")]
        seed: u64,
    },
    /// Runs one target and reports to the process that started it
    #[command(hide = true)]
    Child {
        #[arg(value_parser = target)]
        target: &'static Target,
        #[arg(long)]
        seed: u64,
        #[arg(long)]
        first: u64,
        #[arg(long)]
        inputs: Option<u64>,
        #[arg(long)]
        seconds: Option<u64>,
        /// Reports each input before it is read
        #[arg(long)]
        careful: bool,
    },
}

fn main() -> ExitCode {
    let Arguments { command, run } = Arguments::parse();
    let done = match command {
        None => run::run(&run),
        Some(Command::List) => {
            for target in &fuzz::TARGETS {
                println!("{:14} {}", target.name, target.about);
            }
            return ExitCode::SUCCESS;
        }
        Some(Command::Replay { target, file }) => child::replay(target, &file),
        Some(Command::Input { target, index, seed }) => child::print(target, seed, index),
        Some(Command::Child { target, seed, first, inputs, seconds, careful }) => {
            let seconds = seconds.map(Duration::from_secs);
            child::work(target, child::Work { seed, first, inputs, seconds, careful })
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("fuzz: {error}");
        ExitCode::from(2)
    })
}

fn target(name: &str) -> Result<&'static Target, String> {
    Target::named(name).ok_or_else(|| {
        let names: Vec<&str> = fuzz::TARGETS.iter().map(|target| target.name).collect();
        format!("no such target; there are {}", names.join(", "))
    })
}
