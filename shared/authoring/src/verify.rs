//! Recomputing what a store has: `cargo run -- verify`.

use std::io::{self, Write};
use std::time::Duration;

use invocation::aws::{Failure, FailureKind};
use invocation::{Backoff, Deadline};
use verification::{Difference, Pass, SYNCHRONIZED, Settings, Tally};

use crate::connection::{Reading, Target};
use crate::outcome::ConnectError;
use crate::progress::ProgressBar;

/// Bounds one step: a page of the table, with the reads that belong to it.
const STEP_TIMEOUT: Duration = Duration::from_secs(60);
/// Attempts at one step while the store is throttled or does not answer.
const ATTEMPTS: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What is verified, and how.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// Where the records are.
    pub target: Target,
    /// How long something may wait before it is a difference.
    pub patience: time::Duration,
    /// The largest number of escalations where a study defines none; `None` if it is not known.
    pub escalation_limit: Option<u32>,
    /// Whether no progress is shown.
    pub quiet: bool,
}

/// Why a store could not be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no connection to the store.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The store did not return what was to be compared.
    #[error("the store could not be read whole: {0}. Nothing was written; run it again")]
    Store(Failure),
    /// The differences could not be written.
    #[error("the differences could not be written")]
    Write(#[from] io::Error),
}

/// Compares all that is stored with what follows from the submissions. Writes a line for each difference to `out` as it
/// is found, and returns the numbers of what was compared. Reads only. In memory are a page of the table, all records of
/// up to eight patients, the counters of all sites, and each version of a study that it met.
///
/// # Errors
/// If the store cannot be reached or read, or `out` cannot be written.
pub async fn verify(options: &VerifyOptions, mut out: impl Write) -> Result<Tally, VerifyError> {
    let reading = options.target.reading().await?;
    let VerifyOptions { patience, escalation_limit, quiet, .. } = *options;
    let settings = Settings { patience, escalation_limit, clocks_apart: SYNCHRONIZED, ..Settings::default() };
    let mut pass = Pass::begin(settings);
    let mut bar: Option<ProgressBar> = None;
    let mut done = 0;
    while !pass.is_done() {
        let differences = step(&mut pass, &reading).await?;
        let Tally { submissions_before, submissions, differences: found, .. } = *pass.tally();
        // The counters say how many there are about; some may be missing, or not scored yet.
        let bar = bar.get_or_insert_with(|| ProgressBar::new("verify", submissions_before as usize, quiet));
        bar.steps((submissions - done) as usize);
        done = submissions;
        if found > 0 {
            bar.note(format!("{found} differ"));
        }
        bar.suspended(|| differences.iter().try_for_each(|difference: &Difference| writeln!(out, "{difference}")))?;
    }
    Ok(pass.tally().clone())
}

/// One step, which is repeated while the store is throttled or does not answer.
async fn step(pass: &mut Pass, reading: &Reading) -> Result<Vec<Difference>, VerifyError> {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    let mut attempts = 1;
    loop {
        let deadline = Deadline::after(STEP_TIMEOUT);
        match pass.step(&reading.store, reading.now(), deadline).await {
            Ok(differences) => return Ok(differences),
            Err(failure) if failure.kind == FailureKind::Refused || attempts == ATTEMPTS => {
                return Err(VerifyError::Store(failure));
            }
            Err(_) => {
                backoff.wait(Deadline::after(STEP_TIMEOUT), Duration::ZERO).await;
                attempts += 1;
            }
        }
    }
}

/// The numbers of what was compared, in words.
pub fn summary(tally: &Tally) -> String {
    let Tally { patients, submissions, alerts, sites, waiting, quarantined, differences, by_kind, .. } = tally;
    let compared = format!("compared {patients} patients, {submissions} submissions, {alerts} alerts, {sites} sites");
    let kinds: Vec<String> = by_kind.iter().map(|(kind, number)| format!("{kind} {number}")).collect();
    let found = if kinds.is_empty() { "nothing differs".to_owned() } else { format!("{differences} differ") };
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{compared}; {waiting} wait, {quarantined} in quarantine; {found}{kinds}\n")
}
