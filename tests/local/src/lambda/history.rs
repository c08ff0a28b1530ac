//! The latest invocations and their outcomes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::environment::Finished;
use super::{Cause, InvocationOutcome};
use crate::clock;
use crate::console::Console;
use crate::feed::{Event, Feed};
use crate::template::Function;

/// The most invocations that are kept.
const KEPT: usize = 1000;

/// The latest invocations, and how many there were.
#[derive(Debug)]
pub struct History {
    invocations: Mutex<Invocations>,
    feed: Feed,
}

#[derive(Debug, Default)]
struct Invocations {
    /// Oldest first.
    latest: VecDeque<Record>,
    totals: Totals,
}

/// How many invocations of a function (its binary) had each outcome.
pub type Totals = BTreeMap<String, BTreeMap<&'static str, u64>>;

/// One invocation, without its payload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The function's binary.
    pub function: String,
    /// Lambda's request id.
    pub request_id: String,
    /// When it started: RFC 3339, UTC.
    pub started_at: String,
    /// Milliseconds from handing the event to the environment until the outcome.
    pub ms: u64,
    /// Milliseconds that were left until the timeout; 0 if it was reached.
    pub remaining_ms: u64,
    /// `answered`, `failed`, `timedOut`, `crashed` or `refused`.
    pub outcome: &'static str,
    /// Whether it was its environment's first.
    pub cold: bool,
    /// Who or what invoked it.
    pub cause: Cause,
    /// The type of the error, the exit status of the process, or the reason of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl History {
    pub(super) fn new(feed: Feed) -> Self {
        Self { invocations: Mutex::default(), feed }
    }

    /// The latest invocations, newest first: of one function (by its binary or its logical id) or of all.
    pub fn newest_first(&self, function: Option<&Function>) -> Vec<Record> {
        let invocations = self.invocations.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = |record: &&Record| function.is_none_or(|function| function.binary == record.function);
        invocations.latest.iter().rev().filter(fits).cloned().collect()
    }

    /// How many invocations of each function had each outcome, since the local cloud started.
    pub fn totals(&self) -> Totals {
        self.invocations.lock().unwrap_or_else(PoisonError::into_inner).totals.clone()
    }

    pub(super) fn add(&self, console: Console, record: Record) {
        if matches!(record.outcome, "answered") {
            console.event(record.line());
        } else {
            console.warn(record.line());
        }
        self.feed.add(&Event::Finished(record.clone()));
        let mut invocations = self.invocations.lock().unwrap_or_else(PoisonError::into_inner);
        let Invocations { latest, totals } = &mut *invocations;
        *totals.entry(record.function.clone()).or_default().entry(record.outcome).or_default() += 1;
        if latest.len() == KEPT {
            latest.pop_front();
        }
        latest.push_back(record);
    }
}

impl Record {
    pub(super) fn finished(function: &Function, finished: &Finished, cause: Cause) -> Self {
        let invocation = &finished.invocation;
        let outcome = match invocation.outcome {
            InvocationOutcome::Answer(_) => "answered",
            InvocationOutcome::FunctionError(_) => "failed",
            InvocationOutcome::TimedOut => "timedOut",
            InvocationOutcome::Crashed => "crashed",
            InvocationOutcome::Unavailable(_) => "refused",
        };
        Self {
            function: function.binary.clone(),
            request_id: invocation.request_id.clone(),
            started_at: rfc3339(clock::now() - invocation.took),
            ms: millis(invocation.took),
            remaining_ms: millis(function.timeout.saturating_sub(invocation.took)),
            outcome,
            cold: finished.cold,
            cause,
            detail: finished.detail.clone(),
        }
    }

    pub(super) fn refused(function: &Function, request_id: &str, reason: &str, cause: Cause) -> Self {
        Self {
            function: function.binary.clone(),
            request_id: request_id.to_owned(),
            started_at: rfc3339(clock::now()),
            ms: 0,
            remaining_ms: millis(function.timeout),
            outcome: "refused",
            cold: false,
            cause,
            detail: Some(reason.to_owned()),
        }
    }

    /// The line at the terminal: `submit  answered in 12 ms, 9988 ms left`.
    fn line(&self) -> String {
        let Self { function, ms, remaining_ms, .. } = self;
        let detail = self.detail.as_deref().unwrap_or_default();
        let cold = if self.cold { ", cold" } else { "" };
        match self.outcome {
            "answered" => format!("{function}  answered in {ms} ms, {remaining_ms} ms left{cold}"),
            "failed" => format!("{function}  FAILED with {detail} in {ms} ms, {remaining_ms} ms left{cold}"),
            "timedOut" => format!("{function}  KILLED: {detail}{cold}"),
            "crashed" => format!("{function}  CRASHED after {ms} ms: its process ended ({detail}){cold}"),
            _ => format!("{function}  REFUSED: {detail}"),
        }
    }
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn rfc3339(time: OffsetDateTime) -> String {
    let millisecond = time.millisecond();
    time.replace_millisecond(millisecond).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}
