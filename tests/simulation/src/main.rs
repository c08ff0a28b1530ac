//! `cargo run --profile quick --bin simulation`: runs the functions in a simulated world, seed by seed, and checks the
//! promises after each.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]
#![allow(clippy::disallowed_types, reason = "it says how long it took; nothing simulated reads this clock")]

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use authoring::error_chain;
use authoring::progress::ProgressBar;
use clap::Parser;
use mimalloc::MiMalloc;
use simulation::coverage::Coverage;
use simulation::exhaustive::lose_everything;
use simulation::journal::Pages;
use simulation::plan::Plan;
use simulation::planted::all;
use simulation::planting::{Caught, PlantedCopy};
use simulation::run::{run, run_losing};
use simulation::shrink::shrink;

/// A fifth of a simulation is allocation.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The number of seeds from which on a fault or branch that was never met is an error.
const ENOUGH: u64 = 2_000;
const FEW_SEEDS: u64 = 100;
/// The most seeds for each planted bug.
const MOST_SEEDS: u64 = 5_000;

/// Runs the functions in a simulated world with faults, seed by seed, and checks the ten promises after each.
///
/// Ends with 0 if every promise holds, 1 if one is broken (or, from 2,000 seeds on, a fault or branch never came), 2 if
/// the arguments cannot be used.
#[derive(Debug, Parser)]
#[command(name = "simulation")]
struct Arguments {
    /// The number of seeds; with --planted, the most for each bug [default: 100; with --planted 5000]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    from: u64,
    /// Seeds that run at the same time [default: one a processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Run one seed and print its history
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// Run a plan that was kept as a file, and print its history
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seeds", "from", "seed"])]
    plan: Option<PathBuf>,
    /// Lose the invocation INDEX of a fixed scenario at its await AWAIT, and print the history
    #[arg(long, value_names = ["INDEX", "AWAIT"], num_args = 2, conflicts_with_all = ["seeds", "from", "seed", "plan"])]
    lose: Option<Vec<u32>>,
    /// Plant bugs in a copy of the workspace, build it, and show after how many seeds each is caught
    #[arg(long, conflicts_with_all = ["from", "seed", "plan", "lose"])]
    planted: bool,
    /// Run seeds in their order until one breaks a promise, and print how many that took
    #[arg(long, hide = true)]
    until_broken: bool,
    /// Lose each invocation of a fixed scenario at each of its awaits in turn
    #[arg(long, conflicts_with_all = ["seeds", "from", "seed", "plan", "lose"])]
    exhaustive: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !determinism::IS_DETERMINISTIC {
        eprintln!("note: on this system a seed does not fix everything; a failure may not come again");
    }
    if let Some(seed) = arguments.seed {
        return replay(&run(&Plan::of(seed)));
    }
    if let Some(lose) = arguments.lose {
        return replay(&run_losing(&simulation::exhaustive::scenario(), Some((lose[0], lose[1]))));
    }
    if let Some(file) = arguments.plan {
        let text = std::fs::read_to_string(&file).map_err(|error| error.to_string());
        let plan = text.and_then(|text| serde_json::from_str::<Plan>(&text).map_err(|error| error.to_string()));
        return match plan {
            Ok(plan) => replay(&run(&plan)),
            Err(error) => {
                eprintln!("error: {}: {error}", file.display());
                ExitCode::from(2)
            }
        };
    }
    if arguments.exhaustive {
        return exhaustive();
    }
    if arguments.planted {
        return planted(arguments.seeds.unwrap_or(MOST_SEEDS));
    }
    let (from, count) = (arguments.from, arguments.seeds.unwrap_or(FEW_SEEDS));
    if arguments.until_broken {
        return until_broken(from..from + count);
    }
    seeds(from, count, arguments.jobs)
}

fn until_broken(seeds: Range<u64>) -> ExitCode {
    for (ran, seed) in seeds.enumerate() {
        if let Some(violation) = run(&Plan::of(seed)).violations.first() {
            println!("{}\t{violation}", ran + 1);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn planted(seeds: u64) -> ExitCode {
    let target = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.parent()?.to_owned()));
    let Some(target) = target else {
        eprintln!("error: the folder of this program is not known");
        return ExitCode::from(2);
    };
    eprintln!("building a copy of the workspace with {} bugs in it", all().count());
    let caught = PlantedCopy::build(&target).and_then(|copy| {
        let bar = ProgressBar::new("bugs", all().count(), false);
        copy.run_all(seeds, |_| bar.step())
    });
    let caught = match caught {
        Ok(caught) => caught,
        Err(error) => {
            eprintln!("error: {}", error_chain(&error));
            return ExitCode::from(2);
        }
    };
    println!("| bug | what is wrong | caught after seeds | by |\n|---|---|---|---|");
    for Caught { bug, after } in &caught {
        let (seeds, by) = after.clone().map_or((format!("SURVIVED {seeds}"), String::new()), |(seeds, by)| {
            (seeds.to_string(), by.split(':').next().unwrap_or_default().to_owned())
        });
        println!("| {} | {} | {seeds} | {by} |", bug.name, bug.what);
    }
    let survived = caught.iter().filter(|caught| caught.after.is_none()).count();
    println!("{} bugs, {survived} survived", caught.len());
    if survived == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the history of one run.
fn replay(pages: &Pages) -> ExitCode {
    print!("{}", pages.text());
    report(&pages.violations)
}

fn report(violations: &[String]) -> ExitCode {
    violations.iter().for_each(|violation| println!("broken: {violation}"));
    if violations.is_empty() {
        println!("every promise holds");
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn exhaustive() -> ExitCode {
    let started = Instant::now();
    let bar = ProgressBar::new("invocations", 0, false);
    let result = lose_everything(|so_far| bar.note(format!("{} awaits, {} broken", so_far.runs, so_far.broken.len())));
    drop(bar);
    println!(
        "{} invocations, lost at each of {} awaits, in {:.1?}: {} runs broke a promise",
        result.invocations,
        result.runs,
        started.elapsed(),
        result.broken.len()
    );
    for (invocation, at, pages) in &result.broken {
        println!("replay: cargo run --profile quick --bin simulation -- --lose {invocation} {at}");
        pages.violations.iter().for_each(|violation| println!("  {violation}"));
    }
    if result.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn seeds(from: u64, count: u64, jobs: Option<u16>) -> ExitCode {
    let started = Instant::now();
    let jobs = jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let bar = ProgressBar::new("seeds", count as usize, false);
    let (next, failed) = (AtomicU64::new(from), AtomicBool::new(false));
    let coverage = Mutex::new(Coverage::default());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        return;
                    }
                    let pages = run(&Plan::of(seed));
                    bar.step();
                    lock(&coverage).merge(&pages.coverage);
                    if !pages.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                        lock(&failures).push((seed, pages));
                    }
                }
            });
        }
    });
    drop(bar);
    let ran = next.load(Ordering::Relaxed).min(from + count) - from;
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, pages) in failures.iter().take(1) {
        explain(*seed, pages);
    }
    let coverage = coverage.into_inner().unwrap_or_default();
    println!("met in {ran} seeds:");
    coverage.counts().for_each(|(name, times)| println!("{times:>10}  {name}"));
    println!(
        "{ran} seeds in {:.0?}: {}",
        started.elapsed(),
        match failures.len() {
            0 => "every promise holds".to_owned(),
            broken => format!("{broken} broke a promise"),
        }
    );
    let missing = coverage.missing();
    if !missing.is_empty() && ran >= ENOUGH {
        println!("a hole in the world: {} never came", missing.join(", "));
        return ExitCode::FAILURE;
    }
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Makes the plan of a failing seed smaller, and prints what is left of it.
fn explain(seed: u64, pages: &Pages) {
    println!("seed {seed} breaks a promise; replay: cargo run --profile quick --bin simulation -- --seed {seed}");
    pages.violations.iter().for_each(|violation| println!("  {violation}"));
    eprintln!("making the plan smaller");
    let promise = |pages: &Pages| pages.violations.first().map(|first| first.split(':').next().map(str::to_owned));
    let broken = promise(pages);
    let smallest = shrink(&Plan::of(seed), |plan| promise(&run(plan)) == broken);
    let history = run(&smallest);
    println!("the smallest plan that breaks it (keep it in tests/simulation/regressions):");
    println!("{}", serde_json::to_string_pretty(&smallest).unwrap_or_default());
    println!("its history:\n{}", history.text());
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
