//! Makes an input smaller that shows a finding.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fuzz::Target;

use crate::run::What;

/// How long one input is made smaller.
const LONGEST: Duration = Duration::from_secs(60);

/// The smallest input found that shows `what` as `input` does. `file` is written over.
pub(crate) fn shrink(target: &Target, what: &What, input: &[u8], file: &Path) -> io::Result<Vec<u8>> {
    let started = Instant::now();
    let mut smallest = input.to_vec();
    // Each trial of a hang takes its whole time.
    if *what == What::Hang || !shows(target, what, file)? {
        return Ok(smallest);
    }
    let mut piece = smallest.len() / 2;
    while piece > 0 && started.elapsed() < LONGEST {
        let mut at = 0;
        while at < smallest.len() && started.elapsed() < LONGEST {
            let mut smaller = smallest.clone();
            smaller.drain(at..(at + piece).min(smallest.len()));
            fs::write(file, &smaller)?;
            if shows(target, what, file)? {
                smallest = smaller;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    Ok(smallest)
}

/// Whether the input in `file` still shows `what`.
fn shows(target: &Target, what: &What, file: &Path) -> io::Result<bool> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["replay", target.name]).arg(file).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output()?;
    let found = String::from_utf8_lossy(&output.stdout);
    Ok(match what {
        What::Panic(_) => found.lines().any(|line| {
            line.strip_prefix("found ").is_some_and(|place| What::Panic(place.to_owned()).key() == what.key())
        }),
        What::Crash | What::CrashOnce => output.status.code().is_none(),
        What::Hang => output.status.code() == Some(3),
    })
}
