//! What happens, as it happens, for the web console: the latest events, numbered, in memory.
//!
//! An event has ids, times and figures, and nothing that a patient sent. A reader who is slower than the events misses
//! the oldest, and sees by their numbers that it did.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::watch;

use crate::clock;
use crate::lambda::{Cause, Record};

/// The most events that are kept.
const KEPT: usize = 2_000;

/// The latest events. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Feed(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    kept: Mutex<Kept>,
    /// The number of the latest event.
    latest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    /// How many events were dropped; the number of the oldest kept one is one more.
    dropped: u64,
    /// Oldest first.
    events: VecDeque<Arc<str>>,
}

/// One event.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Event {
    /// An environment received an invocation.
    Started {
        /// The function's binary.
        function: String,
        /// Lambda's request id.
        request_id: String,
        /// When it received it.
        started_at: String,
        /// Milliseconds until the timeout.
        timeout_ms: u64,
        /// Whether it is its environment's first.
        cold: bool,
        /// Who or what invoked it.
        cause: Cause,
    },
    /// An invocation ended.
    Finished(Record),
    /// A change of an item was read from the stream.
    Changed(Change),
    /// SNS accepted a message.
    Published {
        /// When it accepted it.
        at: String,
        /// The alert that the message is about, where it names one.
        alert_id: Option<String>,
        /// The submission that raised it.
        submission_id: Option<String>,
        /// The severity that subscribers filter by.
        severity: Option<String>,
        /// Which repetition of the alert it is; `None` for the first publication.
        escalation: Option<u64>,
    },
    /// A function reported metrics.
    Metrics {
        /// The function's binary.
        function: String,
        /// When they were read.
        at: String,
        /// The dimensions, by name.
        dimensions: Map<String, Value>,
        /// The values.
        values: Vec<MetricValue>,
    },
    /// A switch of the web console was set.
    Switched {
        /// When it was set.
        at: String,
        /// The share of the functions' requests that meet a fault.
        faults: String,
        /// By how many milliseconds SNS is delayed.
        sns_delay_ms: u64,
    },
}

/// What a record of the stream says about a submission or an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// `stored`, `scored`, `corrected`, `quarantined`; `raised`, `sent`, `escalated`, `acknowledged`, `exhausted`.
    pub what: &'static str,
    /// The submission.
    pub submission_id: Option<String>,
    /// The alert, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_id: Option<String>,
    /// When it was committed.
    pub at: String,
    /// When it was read.
    pub read_at: String,
}

/// One value of a metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricValue {
    /// The metric's name.
    pub name: String,
    /// CloudWatch's name of its unit.
    pub unit: String,
    /// The value.
    pub value: f64,
}

/// A numbered event as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbered {
    /// Its number; the first event has 1.
    pub number: u64,
    /// The event as JSON.
    pub json: Arc<str>,
}

impl Feed {
    /// Adds an event.
    pub fn add(&self, event: &Event) {
        let Ok(json) = serde_json::to_string(event) else { return };
        let mut kept = self.kept();
        if kept.events.len() == KEPT {
            kept.events.pop_front();
            kept.dropped += 1;
        }
        kept.events.push_back(json.into());
        let latest = kept.dropped + kept.events.len() as u64;
        self.0.latest.send_replace(latest);
    }

    /// The kept events after the one with this number, oldest first.
    pub fn after(&self, number: u64) -> Vec<Numbered> {
        let kept = self.kept();
        let skip = usize::try_from(number.saturating_sub(kept.dropped)).unwrap_or(usize::MAX);
        let numbers = kept.dropped + 1..;
        let numbered = numbers.zip(&kept.events).skip(skip);
        numbered.map(|(number, json)| Numbered { number, json: Arc::clone(json) }).collect()
    }

    /// Changes with each event, to the number of the latest.
    pub fn latest(&self) -> watch::Receiver<u64> {
        self.0.latest.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Code under the lock does not panic, so what is kept is consistent.
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The time now, as events have it: RFC 3339, UTC, milliseconds.
pub(crate) fn now() -> String {
    at(clock::now())
}

/// A time as events have it.
pub(crate) fn at(time: OffsetDateTime) -> String {
    time.replace_millisecond(time.millisecond()).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Event {
        let at = String::new();
        Event::Switched { at, faults: String::new(), sns_delay_ms: number }
    }

    #[test]
    fn the_latest_events_are_kept_and_a_reader_sees_by_their_numbers_what_it_missed() {
        let feed = Feed::default();
        assert_eq!(feed.after(0), []);
        for number in 1..=KEPT as u64 + 5 {
            feed.add(&event(number));
        }
        let latest = KEPT as u64 + 5;
        assert_eq!(*feed.latest().borrow(), latest);
        let numbers: Vec<u64> = feed.after(0).iter().map(|event| event.number).collect();
        assert_eq!(numbers, (6..=latest).collect::<Vec<_>>());
        let last = feed.after(latest - 1);
        assert_eq!(last.len(), 1);
        assert!(last[0].json.contains(&format!("\"snsDelayMs\":{latest}")), "{last:?}");
        assert_eq!(feed.after(latest), []);
        assert_eq!(feed.after(u64::MAX), [], "a number of an earlier start");
    }
}
