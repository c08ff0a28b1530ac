//! Records of the stream that can never be scored, with their payload.

use std::fmt;

use time::OffsetDateTime;

use super::stream::Record;
use crate::table::attributes::{Item, instant, text};
use crate::table::keys;

/// An item takes 400 KB, its other attributes and their names included.
const LARGEST_PAYLOAD: usize = 390 * 1024;

/// A record from the stream that can never be scored.
pub struct Quarantined<'a> {
    /// The whole record.
    pub record: Record<'a>,
    /// Why it cannot be scored, without anything of its payload.
    pub reason: &'a str,
}

impl Quarantined<'_> {
    /// The id under which it is kept: its sequence number, or a digest of it where it has none.
    pub fn id(&self) -> String {
        self.record.identity()
    }

    /// Its item; `None` if the record is larger than an item may be.
    pub(crate) fn to_item(&self, at: OffsetDateTime) -> Option<Item> {
        let payload = self.record.text();
        if payload.len() > LARGEST_PAYLOAD {
            return None;
        }
        let mut item = keys::key(keys::QUARANTINE, self.id());
        item.extend([
            ("kind".to_owned(), text("quarantined")),
            ("reason".to_owned(), text(self.reason)),
            ("quarantined_at".to_owned(), instant(at)),
            ("payload".to_owned(), text(payload)),
        ]);
        Some(item)
    }
}

impl fmt::Debug for Quarantined<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quarantined").field("id", &self.id()).field("reason", &self.reason).finish_non_exhaustive()
    }
}
