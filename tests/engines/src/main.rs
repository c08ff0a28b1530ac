//! `cargo run --bin engines`: the embedded engine compared with others. `tests/engines/run` starts them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use authoring::error_chain;
use authoring::progress::ProgressBar;
use clap::Parser;
use engines::compare::{Compared, compare, lacking};
use engines::differences::{ALL, Known};
use engines::engine::{Engine, EngineError, Kind, root};
use engines::sequence::generate;
use engines::shape::{recorded, shapes};
use local::template::Template;
use tokio::task::{JoinError, JoinSet};

/// The number of sequences on the same tables: some operations of moto take time by the size of a table.
const SEQUENCES_OF_TABLES: u64 = 4;
/// After so many differences that are not known there is no point in going on.
const ENOUGH: usize = 10;

/// Sends random sequences of the functions' requests to the embedded DynamoDB and to others, and compares the answers.
///
/// Ends with 0 if the answers, the tables and the streams are the same but for the known differences, all of which were
/// met; 1 if not; 2 if it could not be done.
#[derive(Clone, Debug, Parser)]
#[command(name = "engines")]
struct Cli {
    /// Number of sequences
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    sequences: u64,
    /// Seed of the first sequence; each further one has the next
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Sequences at once, each on engines of its own
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=64))]
    jobs: u64,
    /// Command that starts moto
    #[arg(long, value_name = "COMMAND")]
    moto: String,
    /// Command that starts dynalite
    #[arg(long, value_name = "COMMAND")]
    dynalite: String,
    /// Folder of recorded requests: each of their shapes must be one of those that the sequences have
    #[arg(long, value_name = "DIR")]
    recorded: Option<PathBuf>,
    /// Show no progress
    #[arg(long)]
    quiet: bool,
}

/// Why it could not be done.
#[derive(Debug, thiserror::Error)]
enum NotDone {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot read the recorded requests in {}", folder.display())]
    Recorded { folder: PathBuf, source: io::Error },
    #[error("a comparison ended early")]
    Job(#[source] JoinError),
    #[error("cannot read the template")]
    Template(#[from] local::template::TemplateError),
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli).await {
        Ok((compared, not_generated)) => report(&cli, &compared, &not_generated),
        Err(error) => {
            eprintln!("error: {}", error_chain(&error));
            ExitCode::from(2)
        }
    }
}

async fn run(cli: &Cli) -> Result<(Compared, Vec<String>), NotDone> {
    let not_generated = match &cli.recorded {
        Some(folder) => not_generated(cli, folder)?,
        None => Vec::new(),
    };
    let parameters = BTreeMap::from([("TokenIssuer".to_owned(), "https://issuer.example.org".to_owned())]);
    let template = Template::read(&root().join("template.yaml"), &parameters)?;
    let progress = ProgressBar::new("compared", usize::try_from(cli.sequences).unwrap_or(usize::MAX), cli.quiet);
    let shared = Arc::new(Shared { cli: cli.clone(), template, next: AtomicU64::new(0), progress });
    let mut jobs: JoinSet<_> = (0..cli.jobs).map(|_| job(Arc::clone(&shared))).collect();
    let mut all = Compared::default();
    while let Some(job) = jobs.join_next().await {
        all.add(job.map_err(NotDone::Job)??);
    }
    Ok((all, not_generated))
}

/// What all jobs share.
struct Shared {
    cli: Cli,
    template: Template,
    /// The number of sequences that were begun.
    next: AtomicU64,
    progress: ProgressBar,
}

/// Compares sequences on engines of its own until none is left.
async fn job(shared: Arc<Shared>) -> Result<Compared, EngineError> {
    let Shared { cli, template, next, progress } = &*shared;
    let engines = [
        Engine::embedded().await?,
        Engine::external(Kind::Moto, &cli.moto).await?,
        Engine::external(Kind::Dynalite, &cli.dynalite).await?,
    ];
    let mut all = Compared::default();
    for n in 0.. {
        let sequence = next.fetch_add(1, Ordering::Relaxed);
        if sequence >= cli.sequences || all.unknown.len() >= ENOUGH {
            break;
        }
        if n % SEQUENCES_OF_TABLES == 0 {
            for engine in &engines {
                engine.make_tables(template).await?;
            }
        }
        if n == 0 {
            all.add(lacking(&engines).await);
        }
        let compared = compare(&engines, cli.seed + sequence, &format!("s{sequence}")).await;
        all.add(compared);
        progress.step();
    }
    Ok(all)
}

/// The shapes of the requests recorded in `folder` that no sequence has: the functions send what is not compared.
fn not_generated(cli: &Cli, folder: &Path) -> Result<Vec<String>, NotDone> {
    let read = recorded(folder).map_err(|source| NotDone::Recorded { folder: folder.to_owned(), source })?;
    // As many as have each shape; the number of compared ones may be smaller.
    let seeds = cli.seed..cli.seed + cli.sequences.max(500);
    let generated: BTreeSet<String> = seeds
        .flat_map(|seed| generate(seed, "s"))
        .flat_map(|request| shapes(request.operation, &request.body))
        .collect();
    Ok(read.into_iter().filter(|shape| !generated.contains(shape)).collect())
}

fn report(cli: &Cli, compared: &Compared, not_generated: &[String]) -> ExitCode {
    for (outcome, n) in &compared.outcomes {
        println!("{n:>8} {outcome}");
    }
    for (Known { engine, what }, n) in &compared.known {
        println!("{n:>8} known difference of {engine:?}: {what}");
    }
    println!("{} sequences, {} requests of each engine", cli.sequences, compared.requests);
    for unknown in &compared.unknown {
        println!("{unknown}");
    }
    for shape in not_generated {
        println!("the functions send what no sequence has: {shape}");
    }
    let gone: Vec<&Known> = ALL.iter().filter(|known| !compared.known.contains_key(known)).collect();
    for Known { engine, what } in &gone {
        println!("no longer met: of {engine:?}, {what}");
    }
    if compared.unknown.is_empty() && not_generated.is_empty() && gone.is_empty() {
        return ExitCode::SUCCESS;
    }
    ExitCode::from(1)
}
