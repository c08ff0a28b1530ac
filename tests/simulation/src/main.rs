//! `cargo run --profile quick --bin simulation`: runs the functions in a simulated world, seed by seed, and checks the
//! promises after each.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person at a terminal")]

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use simulation::coverage::Coverage;
use simulation::exhaustive::lose_everything;
use simulation::journal::Pages;
use simulation::plan::Plan;
use simulation::run::{run, run_losing};
use simulation::shrink::shrink;

/// The number of seeds from which on a fault or branch that was never met is an error.
const ENOUGH: u64 = 2_000;

/// Runs the functions in a simulated world with faults, seed by seed, and checks the ten promises after each.
///
/// Ends with 0 if every promise holds, 1 if one is broken (or, from 2,000 seeds on, a fault or branch never came), 2 if
/// the arguments cannot be used.
#[derive(Debug, Parser)]
#[command(name = "simulation")]
struct Arguments {
    /// Run so many seeds
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
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
    seeds(&arguments)
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
    let bar = bar(0, "{spinner} {pos} awaits {msg}");
    let result = lose_everything(|so_far| {
        bar.set_position(so_far.runs);
        bar.set_message(format!("· {} broken", so_far.broken.len()));
    });
    bar.finish_and_clear();
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

fn seeds(arguments: &Arguments) -> ExitCode {
    let started = Instant::now();
    let jobs = arguments.jobs.map_or_else(|| thread::available_parallelism().map_or(1, usize::from), usize::from);
    let bar = bar(arguments.seeds, "{bar:30} {pos} of {len} seeds · {per_sec} · {eta} left {msg}");
    let (next, failed) = (AtomicU64::new(arguments.from), AtomicBool::new(false));
    let coverage = Mutex::new(Coverage::default());
    let failures = Mutex::new(Vec::new());
    // The first run makes what is made once a process: it would differ between seeds otherwise.
    run(&Plan::of(0));
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= arguments.from + arguments.seeds {
                        return;
                    }
                    let pages = run(&Plan::of(seed));
                    bar.inc(1);
                    lock(&coverage).merge(&pages.coverage);
                    if !pages.violations.is_empty() {
                        failed.store(true, Ordering::Relaxed);
                        lock(&failures).push((seed, pages));
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let ran = next.load(Ordering::Relaxed).min(arguments.from + arguments.seeds) - arguments.from;
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.sort_by_key(|(seed, _)| *seed);
    for (seed, pages) in failures.iter().take(1) {
        explain(*seed, pages);
    }
    let coverage = coverage.into_inner().unwrap_or_default();
    println!("met in {ran} seeds:");
    coverage.counts().for_each(|(name, times)| println!("{times:>10}  {name}"));
    println!("{ran} seeds in {:.0?}: {}", started.elapsed(), match failures.len() {
        0 => "every promise holds".to_owned(),
        broken => format!("{broken} broke a promise"),
    });
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
    let bar = bar(0, "{spinner} making the plan smaller, attempt {pos}");
    let promise = |pages: &Pages| pages.violations.first().map(|first| first.split(':').next().map(str::to_owned));
    let broken = promise(pages);
    let smallest = shrink(&Plan::of(seed), |plan| promise(&run(plan)) == broken, || bar.inc(1));
    bar.finish_and_clear();
    let history = run(&smallest);
    println!("the smallest plan that breaks it (keep it in tests/simulation/regressions):");
    println!("{}", serde_json::to_string_pretty(&smallest).unwrap_or_default());
    println!("its history:\n{}", history.text());
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target).with_style(style)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
