//! The process that reads the inputs of one target: it may die of one, and tells its parent how far it came.
//!
//! It writes lines to stdout: `at INDEX`, `found INDEX WHERE`, `hang INDEX`, and in the end `end INPUTS MEMORY`, where
//! MEMORY is the largest share of the limit that an input took, in thousandths.

use std::io::{self, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fuzz::{Generator, Target};

/// How long an input may take. Thousands of them take a second, so that this leaves room for a busy machine.
pub(crate) const LONGEST: Duration = Duration::from_secs(20);
/// How often the process looks at the input that is being read.
const LOOK: Duration = Duration::from_millis(200);
/// The stack of the thread that reads: the smallest that the functions read on, tokio's for blocking work.
const STACK: usize = 2 * 1024 * 1024;

/// The place of the last panic, and its message.
static PANIC: Mutex<String> = Mutex::new(String::new());
/// The index of the input that is being read.
static CURRENT: AtomicU64 = AtomicU64::new(0);

/// What a child reads.
#[derive(Clone, Copy)]
pub(crate) struct Work {
    pub(crate) seed: u64,
    pub(crate) first: u64,
    pub(crate) inputs: Option<u64>,
    pub(crate) seconds: Option<Duration>,
    /// Reports each input before it is read.
    pub(crate) careful: bool,
}

/// Reads generated inputs.
pub(crate) fn work(target: &'static Target, work: Work) -> io::Result<ExitCode> {
    let generator = Generator::new(target, work.seed)?;
    CURRENT.store(work.first, Ordering::Relaxed);
    watched(move || {
        target.warm_up()?;
        let started = Instant::now();
        let is_over = || work.seconds.is_some_and(|seconds| started.elapsed() >= seconds);
        let last = work.inputs.map_or(u64::MAX, |inputs| work.first.saturating_add(inputs));
        let (mut known, mut share, mut index) = (Vec::new(), 0, work.first);
        while index < last && !is_over() {
            CURRENT.store(index, Ordering::Relaxed);
            if work.careful {
                report(&format!("at {index}"));
            }
            let input = generator.input(index);
            match check(target, &input) {
                Ok(memory) => share = share.max(memory * 1_000 / target.memory.limit(input.len())),
                Err(place) => {
                    if !known.contains(&place) {
                        report(&format!("found {index} {place}"));
                        known.push(place);
                    }
                }
            }
            index += 1;
        }
        report(&format!("end {} {share}", index - work.first));
        Ok(ExitCode::SUCCESS)
    })
}

/// Reads one file, and prints what was found. Exits with 1 if something was.
pub(crate) fn replay(target: &'static Target, file: &Path) -> io::Result<ExitCode> {
    let input = std::fs::read(file)?;
    watched(move || {
        target.warm_up()?;
        let started = Instant::now();
        Ok(match check(target, &input) {
            Ok(memory) => {
                let (length, time) = (input.len(), started.elapsed());
                println!("fine: {length} bytes, {memory} bytes of memory, {time:?}");
                ExitCode::SUCCESS
            }
            Err(place) => {
                println!("found {place}");
                ExitCode::FAILURE
            }
        })
    })
}

/// Writes an input to stdout.
pub(crate) fn print(target: &Target, seed: u64, index: u64) -> io::Result<ExitCode> {
    io::stdout().write_all(&Generator::new(target, seed)?.input(index))?;
    Ok(ExitCode::SUCCESS)
}

/// The memory that `input` took, or the place and message of its panic.
fn check(target: &Target, input: &[u8]) -> Result<usize, String> {
    panic::catch_unwind(AssertUnwindSafe(|| target.check(input)))
        .map_err(|_| PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Runs `read` on a thread with a small stack, and ends the process if it stays at one input for too long.
fn watched(read: impl FnOnce() -> io::Result<ExitCode> + Send + 'static) -> io::Result<ExitCode> {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(String::new, |place| format!("{}:{}", place.file(), place.line()));
        let message = panic.payload_as_str().unwrap_or_default();
        let message: String = message.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
        *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = format!("{place} {message}");
    }));
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().stack_size(STACK).spawn(move || sender.send(read()))?;
    let (mut seen, mut since) = (CURRENT.load(Ordering::Relaxed), Instant::now());
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok(done) => return done,
            Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("the reading thread ended")),
            Err(RecvTimeoutError::Timeout) => {}
        }
        let current = CURRENT.load(Ordering::Relaxed);
        if current != seen {
            (seen, since) = (current, Instant::now());
            report(&format!("at {current}"));
        } else if since.elapsed() >= LONGEST {
            report(&format!("hang {current}"));
            process::exit(3);
        }
    }
}

fn report(line: &str) {
    let mut stdout = io::stdout().lock();
    // Without its parent there is nobody to report to.
    if writeln!(stdout, "{line}").and_then(|()| stdout.flush()).is_err() {
        process::exit(2);
    }
}
