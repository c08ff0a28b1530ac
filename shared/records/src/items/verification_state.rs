//! The state of a verification that goes on in slices, as an item.

use crate::table::attributes::{Item, Reader, Unreadable, number, text, unreadable};
use crate::table::keys;

pub(crate) const KIND: &str = "verification";

/// The state of a verification, as it was last stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerificationState {
    /// The number of times that it was stored; 0 before the first.
    pub revision: u64,
    /// The state itself, in the notation of its owner; empty before the first.
    pub content: String,
    /// The number of differences that are known. It is kept beside the state, so that it outlives a change of the
    /// notation.
    pub differences: u64,
}

impl VerificationState {
    pub(crate) fn to_item(&self) -> Item {
        let mut item = keys::verification();
        item.extend([
            ("kind".to_owned(), text(KIND)),
            ("revision".to_owned(), number(self.revision)),
            ("content".to_owned(), text(&self.content)),
            ("differences".to_owned(), number(self.differences)),
        ]);
        item
    }

    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let revision = Reader(item).optional_count("revision")?;
        Ok(Self {
            revision: revision.ok_or_else(|| unreadable("revision", "is missing"))?,
            content: Reader(item).owned_text("content")?,
            differences: Reader(item).optional_count("differences")?.unwrap_or_default(),
        })
    }
}
