//! `ledger`: makes the sections of the ledger, or watches the instructions. `tests/bench/run` builds what it needs.
#![allow(clippy::print_stderr, reason = "it talks to a person at a terminal")]

use std::path::PathBuf;
use std::process::ExitCode;

use bench::sections::{Bench, checks, medicine, peers, score, start, watch};
use bench::{Fault, document};
use clap::{Parser, ValueEnum};

/// Makes sections of the ledger of speed.
///
/// Ends with 0 if they are made and all is within its bound, 1 if something is above its bound, 2 if it could not be done.
#[derive(Debug, Parser)]
#[command(name = "ledger")]
struct Cli {
    /// Sections to make, or `watch` to compare instructions with their bounds
    #[arg(required = true)]
    sections: Vec<Section>,
    /// Folder of the functions' executables
    #[arg(long, value_name = "DIR")]
    bootstraps: PathBuf,
    /// Folder of the peers, as `tests/bench/run` builds them
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    peers: PathBuf,
    /// File of the ledger
    #[arg(long, value_name = "FILE", default_value = "tests/bench/LEDGER.md")]
    ledger: PathBuf,
    /// How often each is run
    #[arg(long, value_name = "N", default_value_t = 9)]
    rounds: usize,
    /// With `watch`: as if a change had added 6 %, to show that it is noticed
    #[arg(long)]
    planted: bool,
    /// Keep the output of what was run, and valgrind's files, in this folder
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Section {
    Start,
    Peers,
    Score,
    Checks,
    Medicine,
    Watch,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(fault) => {
            eprintln!("{fault}");
            ExitCode::from(2)
        }
    }
}

async fn run(cli: &Cli) -> Result<bool, Fault> {
    let temporary = tempfile::tempdir().map_err(Fault::io("a folder for the run"))?;
    let work = cli.keep.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&work).map_err(Fault::io(work.display().to_string()))?;
    let bench = Bench::new(cli.bootstraps.clone(), cli.peers.clone(), cli.rounds, work).await?;
    let mut all_within = true;
    for section in &cli.sections {
        let (name, text) = match section {
            Section::Start => ("start", start::section(&bench).await?),
            Section::Peers => ("peers", peers::section(&bench).await?),
            Section::Score => ("score", score::section(&bench).await?),
            Section::Checks => ("checks", checks::section(&bench).await?),
            Section::Medicine => ("medicine", medicine::section(&bench.peers.join("criterion"))?),
            Section::Watch => {
                all_within &= watch::section(&bench, cli.planted).await?;
                continue;
            }
        };
        document::put(&cli.ledger, name, &text)?;
    }
    Ok(all_within)
}
