//! The lists of the sparse index `pending`. An item is on one only while something is to be done with it.

use super::digest::shard;

/// The attribute that names the list and shard of an item; hash key of the index, and its name.
pub(crate) const PENDING: &str = "pending";
/// The attribute by which a shard of a list is in order: since when the item is on it, or from when it is due.
pub(crate) const PENDING_SINCE: &str = "pending_since";
/// The number of values over which each list is spread: one value would be one hot partition at eight o'clock.
const SHARDS: u32 = 8;

/// A list of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Submissions that are not scored, alerts of which something is not published, and profiles whose courses are to
    /// be evaluated again.
    Pending,
    /// Critical alerts that were published and not acknowledged, from when their escalation is due.
    Open,
    /// Submissions that can never be scored as things are, and alerts on which the sweep panicked.
    Quarantine,
    /// Occurrences, from when their next reminder is due or their window closes, and plans, from when more occurrences
    /// are to be made.
    Due,
}

impl List {
    const ALL: [Self; 4] = [Self::Pending, Self::Open, Self::Quarantine, Self::Due];

    fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Open => "OPEN",
            Self::Quarantine => "QUARANTINE",
            Self::Due => "DUE",
        }
    }

    /// The list that the attribute `pending` of an item names.
    pub(crate) fn of(pending: &str) -> Option<Self> {
        let (list, _) = pending.split_once('#')?;
        Self::ALL.into_iter().find(|known| known.as_str() == list)
    }

    /// The list and the shard that the attribute `pending` of an item names, if there are such.
    pub(crate) fn entry(pending: &str) -> Option<(Self, u32)> {
        let shard = pending.split_once('#')?.1.parse().ok().filter(|shard| *shard < SHARDS)?;
        Some((Self::of(pending)?, shard))
    }

    /// The shards of each list. Each is in an order of its own.
    pub fn shards() -> impl Iterator<Item = u32> {
        0..SHARDS
    }

    /// The value of `pending` that puts an item on this list, in the same shard as all others of `name`: a patient, or the
    /// item itself.
    pub(crate) fn key_of(self, name: &str) -> String {
        self.shard_key(shard(name, SHARDS))
    }

    /// The value of `pending` of all items in one shard of this list.
    pub(crate) fn shard_key(self, shard: u32) -> String {
        format!("{}#{shard}", self.as_str())
    }
}
