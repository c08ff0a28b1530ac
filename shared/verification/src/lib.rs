//! Recomputes what is stored, and reports what differs. It only reads.
//!
//! For each patient the stored submissions are replayed ([`clinical::instruments::replay`]), each under the instrument and
//! the version of the study that it names. Scores, alerts, courses, corrections and audit entries must equal what follows
//! from that, and each site's counters the number of what was found. What still waits for its score, its publication or
//! its evaluation is counted, and differs only after a while.
//!
//! It may run beside everything else without false alarms. What differs is read again, because reads may have met a
//! transaction half-way: a scan sees its writes one by one. Counters are compared with a bracket: what a counter had
//! before the walk is at most what the walk finds, and that is at most what the counter has after it. If nothing is
//! written meanwhile, all three are equal.
//!
//! [`verify`] compares one store at once. [`Pass`] does so step by step, with a state that can be stored, so that a
//! function goes on where it stopped. Its memory does not grow with the submissions: it holds a page of the table, all
//! records of up to eight patients, the counters of the sites that it compares, and each version of a study that it
//! met. To begin, it reads the counters of all sites.

mod audit;
mod counts;
mod definitions;
mod difference;
mod pass;
mod patient;
mod rows;

use std::time::Duration;

use invocation::Deadline;
use invocation::aws::Failure;
use records::Store;
use time::OffsetDateTime;

pub use difference::{Difference, Kind};
pub use pass::{Pass, Tally};

/// What a verification assumes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long something may wait for its score, its publication or its evaluation without being a difference. With
    /// zero everything that waits is one.
    pub patience: time::Duration,
    /// The largest number of escalations that the deployment allows where a study defines none, now or ever before;
    /// `None` where that is not known. Then the steps are compared only for studies of which every version defines it.
    pub escalation_limit: Option<u32>,
    /// Whether the deployment is known to escalate now where a study does not define it. Then each open critical alert
    /// must be on the list of those that are due, even if `escalation_limit` is not known.
    pub escalates: bool,
    /// How far the clocks of two environments may be apart: of two alerts, the one that was raised later may have been
    /// committed first by as much. [`SYNCHRONIZED`] where the platform sets the clocks.
    pub clocks_apart: time::Duration,
    /// The number of items that are read at once.
    pub page: u16,
    /// About how many bytes of the state the counters of the sites may take. If they are more, each pass compares a part
    /// of the sites.
    pub most_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            patience: time::Duration::minutes(15),
            escalation_limit: None,
            escalates: false,
            clocks_apart: time::Duration::hours(6),
            page: 250,
            most_bytes: usize::MAX,
        }
    }
}

/// How far clocks may be apart that a platform keeps in step, with much to spare.
pub const SYNCHRONIZED: time::Duration = time::Duration::minutes(1);

/// The result of comparing a whole store.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The numbers of what was compared.
    pub tally: Tally,
    /// The differences, in the order in which they were found.
    pub differences: Vec<Difference>,
}

/// Compares all of `store` at `now`. `progress` is called after each step.
///
/// # Errors
/// If the store did not return all of it before the deadline.
pub async fn verify(
    store: &Store,
    settings: Settings,
    now: OffsetDateTime,
    deadline: Deadline,
    mut progress: impl FnMut(&Tally),
) -> Result<Report, Failure> {
    let mut pass = Pass::begin(settings);
    let mut differences = Vec::new();
    while !pass.is_done() {
        differences.extend(pass.step(store, now, deadline).await?);
        progress(pass.tally());
    }
    Ok(Report { tally: pass.tally().clone(), differences })
}

/// What is compared at the same time: patients and, of each, audited changes.
const AT_ONCE: usize = 8;
/// The waits before a patient is read again.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(200);
