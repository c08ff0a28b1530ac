//! What is written down during a simulation: its history, what it met, and the promises that were broken.

use std::fmt::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::coverage::Coverage;

/// The journal of one simulation. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Journal(Arc<Mutex<Pages>>);

/// The pages of a journal.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    /// What happened, in order, each with its time.
    pub history: Vec<String>,
    /// What was met.
    pub coverage: Coverage,
    /// The promises that were broken.
    pub violations: Vec<String>,
    /// The number of invocations.
    pub invocations: u32,
    /// When plans of patients were sent to be stored: the key of the patient, and the time since the start.
    pub planned: Vec<(String, Duration)>,
}

impl Journal {
    /// Writes down what happened.
    pub fn note(&self, what: impl AsRef<str>) {
        let at = clock::elapsed();
        self.pages().history.push(format!("{:>6}.{:03} s  {}", at.as_secs(), at.subsec_millis(), what.as_ref()));
    }

    /// Counts a fault or a branch.
    pub fn met(&self, name: &'static str) {
        self.pages().coverage.met(name);
    }

    /// Writes down a broken promise.
    pub fn violation(&self, what: impl AsRef<str>) {
        self.note(format!("BROKEN: {}", what.as_ref()));
        self.pages().violations.push(what.as_ref().to_owned());
    }

    /// All that is written so far.
    pub fn pages(&self) -> MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pages {
    /// The history as text.
    pub fn text(&self) -> String {
        self.history.iter().fold(String::new(), |mut text, line| {
            let _infallible = writeln!(text, "{line}");
            text
        })
    }
}
