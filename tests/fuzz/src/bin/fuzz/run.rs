//! A run: each target in a process of its own, several at once.

use std::fmt;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fuzz::{Generator, Target};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::RunArguments;
use crate::shrink::shrink;

/// After as many findings a target ends: more are mostly the same.
const MOST_FINDINGS: usize = 10;

/// The least time in which a death must repeat: a process starts within it, and reads thousands of inputs.
const REPEAT: Duration = Duration::from_secs(2);

/// What was found, and the input that shows it.
pub(crate) struct Finding {
    pub(crate) what: What,
    index: u64,
    /// The input; `None` where it is not known which one it was.
    input: Option<Input>,
}

/// The file of an input, and its length before and after it was made smaller.
struct Input {
    file: PathBuf,
    bytes: (usize, usize),
}

/// The kind of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A panic, or too much memory: the place in the code, and the message.
    Panic(String),
    /// It took too long.
    Hang,
    /// The process died: of its stack, for instance.
    Crash,
    /// The process died, and another one that read the same inputs did not.
    CrashOnce,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panic(place) => write!(f, "panic at {place}"),
            Self::Hang => f.write_str("no end within the time of an input"),
            Self::Crash => f.write_str("the process died, of its stack or of its memory for instance"),
            Self::CrashOnce => f.write_str(
                "the process died after this input, and did not when it was repeated: it may have been killed",
            ),
        }
    }
}

/// The result of one target.
struct Outcome {
    target: &'static Target,
    inputs: u64,
    time: Duration,
    /// The largest share of the limit of memory that an input took, in thousandths.
    memory: u64,
    findings: Vec<Finding>,
}

/// Runs the targets, prints what was found, and exits with 1 if that is anything.
pub(crate) fn run(arguments: &RunArguments) -> io::Result<ExitCode> {
    let targets: Vec<&'static Target> =
        if arguments.targets.is_empty() { fuzz::TARGETS.iter().collect() } else { arguments.targets.clone() };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let jobs = arguments.jobs.map_or(cores, |jobs| usize::try_from(jobs).unwrap_or(cores));
    fs::create_dir_all(&arguments.findings)?;
    let progress = Progress::new();
    let queue = Mutex::new(targets.into_iter());
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let work = || -> io::Result<()> {
            loop {
                let Some(target) = lock(&queue).next() else { return Ok(()) };
                let outcome = run_target(target, arguments, &progress)?;
                progress.line(&outcome.to_string());
                lock(&outcomes).push(outcome);
            }
        };
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        // A worker panics only by a fault of this program.
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    let outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let findings: Vec<_> =
        outcomes.iter().flat_map(|o| o.findings.iter().map(move |finding| (o.target, finding))).collect();
    let inputs: u64 = outcomes.iter().map(|outcome| outcome.inputs).sum();
    println!("{} targets, {inputs} inputs by seed {}, {} findings", outcomes.len(), arguments.seed, findings.len());
    for (target, finding) in &findings {
        let Finding { what, index, input } = finding;
        match input {
            Some(Input { file, bytes: (before, after) }) => {
                println!("{}, input {index} ({before} bytes, {after} once shrunk): {what}", target.name);
                println!("  fuzz replay {} {}", target.name, file.display());
            }
            None => println!("{}, input {index}: {what}", target.name),
        }
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, inputs, time, memory, findings } = self;
        let each_second = *inputs as f64 / time.as_secs_f64().max(0.001);
        write!(
            f,
            "{:14} {inputs:>9} inputs, {each_second:>6.0} a second, memory at most {:>2} % of its limit, {} findings",
            target.name,
            memory / 10,
            findings.len()
        )
    }
}

/// Runs one target to its end, in a new process after each death.
fn run_target(target: &'static Target, arguments: &RunArguments, progress: &Progress) -> io::Result<Outcome> {
    let started = Instant::now();
    let wanted = arguments.inputs;
    let time = Duration::from_secs(arguments.seconds);
    let bar = progress.bar(target, wanted);
    let mut outcome = Outcome { target, inputs: 0, time, memory: 0, findings: Vec::new() };
    let mut next = arguments.first;
    let end = wanted.map_or(u64::MAX, |wanted| arguments.first.saturating_add(wanted));
    while next < end && outcome.findings.len() < MOST_FINDINGS {
        let left = time.saturating_sub(started.elapsed()).as_secs();
        let limit = match wanted {
            Some(_) => Limit { inputs: Some(end - next), seconds: None },
            None if left == 0 => break,
            None => Limit { inputs: None, seconds: Some(left) },
        };
        let mut child = listen(target, arguments.seed, next, limit, false, &bar, arguments.first)?;
        for (index, place) in std::mem::take(&mut child.panics) {
            // The same place was found by a process before.
            let what = What::Panic(place);
            if outcome.findings.iter().all(|known| known.what.key() != what.key()) {
                outcome.findings.push(Finding::keep(what, index, target, arguments)?);
            }
        }
        outcome.memory = outcome.memory.max(child.memory);
        let (what, index) = match child.end {
            End::Done => {
                next = child.last;
                break;
            }
            End::Hang => (What::Hang, child.last),
            End::Death => match repeat(target, arguments, &child, end, &bar)? {
                Some(repeated) => repeated,
                None => {
                    outcome.findings.push(Finding::without_input(child.last));
                    next = child.last;
                    continue;
                }
            },
        };
        outcome.findings.push(Finding::keep(what, index, target, arguments)?);
        next = index + 1;
    }
    outcome.inputs = next - arguments.first;
    outcome.time = started.elapsed();
    bar.finish_and_clear();
    Ok(outcome)
}

/// Repeats the death of `died`, and returns what was found and at which input; `None` if there was none. It died at some
/// input after the last that it reported. This process reports each, and has several times as long as the other one was
/// silent.
fn repeat(
    target: &Target,
    arguments: &RunArguments,
    died: &Child,
    end: u64,
    bar: &ProgressBar,
) -> io::Result<Option<(What, u64)>> {
    let seconds = (died.silent * 4 + REPEAT).as_secs();
    let limit = Limit { inputs: Some(end - died.last), seconds: Some(seconds) };
    let careful = listen(target, arguments.seed, died.last, limit, true, bar, arguments.first)?;
    Ok(match careful.end {
        End::Done => None,
        End::Hang => Some((What::Hang, careful.last)),
        End::Death => Some((What::Crash, careful.last)),
    })
}

/// When a child ends: after as many inputs or as long.
#[derive(Clone, Copy)]
struct Limit {
    inputs: Option<u64>,
    seconds: Option<u64>,
}

/// What a child reported.
struct Child {
    panics: Vec<(u64, String)>,
    end: End,
    /// The last index that it reported; once it is done, the first that it did not read.
    last: u64,
    memory: u64,
    /// From its last report to its end.
    silent: Duration,
}

enum End {
    Done,
    Hang,
    Death,
}

fn listen(
    target: &Target,
    seed: u64,
    first: u64,
    limit: Limit,
    careful: bool,
    bar: &ProgressBar,
    start: u64,
) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["child", target.name, "--seed", &seed.to_string(), "--first", &first.to_string()]);
    for (option, limit) in [("--inputs", limit.inputs), ("--seconds", limit.seconds)] {
        if let Some(limit) = limit {
            command.args([option, &limit.to_string()]);
        }
    }
    if careful {
        command.arg("--careful");
    }
    // A process that dies of its stack says so, and of its memory: the finding says it for both.
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let lines = process.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines);
    let mut child = Child { panics: Vec::new(), end: End::Death, last: first, memory: 0, silent: Duration::ZERO };
    let mut reported = Instant::now();
    for line in lines {
        let line = line?;
        reported = Instant::now();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let (number, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let Ok(number) = number.parse::<u64>() else { continue };
        match word {
            "at" => child.last = number,
            "found" => child.panics.push((number, text.to_owned())),
            "hang" => (child.end, child.last) = (End::Hang, number),
            "end" => {
                (child.end, child.last) = (End::Done, first + number);
                child.memory = text.parse().unwrap_or_default();
            }
            _ => {}
        }
        bar.set_position(child.last - start);
    }
    child.silent = reported.elapsed();
    let status = process.wait()?;
    if status.code() == Some(2) {
        return Err(io::Error::other(format!("the process of {} cannot run: `fuzz child` says why", target.name)));
    }
    Ok(child)
}

impl What {
    /// What findings of one cause have in common.
    pub(crate) fn key(&self) -> &str {
        match self {
            Self::Panic(place) => place.split(' ').next().unwrap_or_default(),
            Self::Hang => "hang",
            Self::Crash => "crash",
            Self::CrashOnce => "crash once",
        }
    }
}

impl Finding {
    /// Writes the input to a file, as small as it can be made.
    fn keep(what: What, index: u64, target: &Target, arguments: &RunArguments) -> io::Result<Self> {
        let input = Generator::new(target, arguments.seed)?.input(index);
        let file = arguments.findings.join(format!("{}-{}-{index}", target.name, arguments.seed));
        fs::write(&file, &input)?;
        let shrunk = shrink(target, &what, &input, &file)?;
        fs::write(&file, &shrunk)?;
        let input = Input { file: absolute(&file), bytes: (input.len(), shrunk.len()) };
        Ok(Self { what, index, input: Some(input) })
    }

    /// A process died after the input `index`, and not again.
    fn without_input(index: u64) -> Self {
        Self { what: What::CrashOnce, index, input: None }
    }
}

fn absolute(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

/// A bar for each running target on a terminal; elsewhere a line for each that ended.
struct Progress(Option<MultiProgress>);

impl Progress {
    fn new() -> Self {
        let target = ProgressDrawTarget::stderr();
        Self((!target.is_hidden()).then(|| MultiProgress::with_draw_target(target)))
    }

    fn bar(&self, target: &Target, inputs: Option<u64>) -> ProgressBar {
        let Some(bars) = &self.0 else { return ProgressBar::hidden() };
        let bar = bars.add(inputs.map_or_else(ProgressBar::new_spinner, ProgressBar::new)).with_message(target.name);
        let template = match inputs {
            Some(_) => "{msg:14} [{bar:40}] {pos}/{len} inputs, {per_sec}, {eta} left",
            None => "{msg:14} {spinner} {pos} inputs, {per_sec}, {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(250));
        bar
    }

    fn line(&self, line: &str) {
        match &self.0 {
            Some(bars) => bars.suspend(|| println!("{line}")),
            None => println!("{line}"),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
