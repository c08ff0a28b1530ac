//! The middle floor: the types that are stored, and how each is written to an item and read from it. No client, nothing
//! that waits.

pub(crate) mod acknowledgement;
pub(crate) mod alert;
pub(crate) mod alert_filter;
pub(crate) mod audit;
pub(crate) mod compliance;
pub(crate) mod counts;
pub(crate) mod cursor_key;
pub(crate) mod document;
pub(crate) mod draft;
pub(crate) mod occurrence;
pub(crate) mod open_alerts;
pub(crate) mod patient_records;
pub(crate) mod period;
pub(crate) mod plan;
pub(crate) mod profile;
pub(crate) mod quarantine;
pub(crate) mod registration;
pub(crate) mod rollout;
pub(crate) mod score;
pub(crate) mod site_entry;
pub(crate) mod snooze;
pub mod stream;
pub(crate) mod submission;
pub(crate) mod target;
pub(crate) mod verification_state;
pub(crate) mod walked;

/// A text that is not a known name of its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {0}")]
pub struct UnknownName(&'static str);
