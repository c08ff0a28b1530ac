//! The key that cursors are signed with, as an item.

use std::fmt;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;

use crate::table::attributes::{Item, text};
use crate::table::keys;

const VALUE: &str = "value";

/// The key that signs cursors, the same in every environment of every function. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct CursorKey([u8; 32]);

impl CursorKey {
    /// The key itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub(crate) fn to_item(&self) -> Item {
        let mut item = keys::cursor_key();
        item.insert("kind".to_owned(), text("key"));
        item.insert(VALUE.to_owned(), AttributeValue::B(Blob::new(self.0)));
        item
    }

    /// The key in `item`; `None` if it is damaged.
    pub(crate) fn from_item(item: &Item) -> Option<Self> {
        let bytes: [u8; 32] = item.get(VALUE)?.as_b().ok()?.as_ref().try_into().ok()?;
        Some(bytes.into())
    }
}

impl From<[u8; 32]> for CursorKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_in_debug_output() {
        assert_eq!(format!("{:?}", CursorKey::from([7; 32])), "CursorKey(redacted)");
    }
}
