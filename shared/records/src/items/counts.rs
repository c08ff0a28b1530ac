//! The counters of a site, as the SiteCounts table has them.
//!
//! Key: study, site, metric, shard. There are two metrics, kept apart so that requests and scoring do not conflict:
//! `api_calls`, to which requests add, and `scored`, to which only the transactions that score add: submissions, alerts,
//! submissions by instrument, and as `calls` the requests that brought one submission each, all in one item.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use clinical::ids::InstrumentId;

use super::submission::Submission;
use crate::table::attributes::{Item, Reader, Unreadable, unreadable};

/// The number of items over which one site's counter is spread. One item takes a transaction at a time: at 100 a second
/// ten of them meet a conflict at 11 % of first attempts, one at most of them. More may be added at any time, never
/// fewer: the counts in the shards left out would be lost.
pub(crate) const SHARDS: u32 = 10;
pub(crate) const API_CALLS: &str = "api_calls";
pub(crate) const SCORED: &str = "scored";
const SUBMISSIONS: &str = "submissions";
const ALERTS: &str = "alerts";
const CALLS: &str = "calls";
/// The prefix of the attributes that count submissions by instrument.
const INSTRUMENT: &str = "instrument#";

/// The counts of one site.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SiteCounts {
    /// Requests to the API.
    pub api_calls: u64,
    /// Those of them that brought one submission each, which is scored.
    pub submission_calls: u64,
    /// Submissions scored.
    pub submissions: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Submissions scored, by instrument.
    pub by_instrument: BTreeMap<InstrumentId, u64>,
}

impl SiteCounts {
    /// Adds the counts in `item`, which is one shard of one metric. One that cannot be read adds nothing.
    pub(crate) fn add(&mut self, item: &Item) -> Result<(), Unreadable> {
        let reader = Reader(item);
        let count = |name: &str| Ok(reader.optional_count(name)?.unwrap_or_default());
        let (other_calls, submission_calls) = (count(API_CALLS)?, count(CALLS)?);
        let (submissions, alerts) = (count(SUBMISSIONS)?, count(ALERTS)?);
        let mut by_instrument = Vec::new();
        for (name, value) in item {
            if let (Some(instrument), AttributeValue::N(_)) = (name.strip_prefix(INSTRUMENT), value) {
                let instrument = instrument.parse().map_err(|_| unreadable(name, "names no instrument"))?;
                by_instrument.push((instrument, count(name)?));
            }
        }
        self.api_calls += other_calls + submission_calls;
        self.submission_calls += submission_calls;
        self.submissions += submissions;
        self.alerts += alerts;
        for (instrument, number) in by_instrument {
            *self.by_instrument.entry(instrument).or_default() += number;
        }
        Ok(())
    }
}

/// The numbers that one transaction adds to a site's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CountsAdded {
    submissions: u64,
    alerts: u64,
    calls: u64,
    by_instrument: BTreeMap<InstrumentId, u64>,
}

impl CountsAdded {
    /// Alerts that are raised on submissions counted before.
    pub(crate) fn of_alerts(alerts: u64) -> Self {
        Self { alerts, ..Self::default() }
    }

    /// Adds `submission`, which raises `alerts` alerts.
    pub(crate) fn add(&mut self, submission: &Submission, alerts: u64) {
        self.submissions += 1;
        self.alerts += alerts;
        self.calls += u64::from(submission.counts_call);
        *self.by_instrument.entry(submission.instrument.id.clone()).or_default() += 1;
    }

    /// The attributes to add to, with the number to add to each.
    pub(crate) fn attributes(&self) -> Vec<(String, u64)> {
        let numbers = [(SUBMISSIONS, self.submissions), (ALERTS, self.alerts), (CALLS, self.calls)];
        let mut added: Vec<(String, u64)> =
            numbers.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| (name.to_owned(), n)).collect();
        added.extend(self.by_instrument.iter().map(|(id, n)| (format!("{INSTRUMENT}{}", id.as_str()), *n)));
        added
    }
}
