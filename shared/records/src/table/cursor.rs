//! Positions in a list, as they are stored. The signed cursors that callers get are made of them in `shared/api`.

use super::attributes::Item;

/// A page of a list, in the list's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The page's entries.
    pub entries: Vec<T>,
    /// The position after the last entry; `None` at the end of the list.
    pub next: Option<String>,
}

/// The position in a shard of a [`List`](super::lists::List) after which the next page begins.
#[derive(Clone, Debug)]
pub struct Position(pub(crate) Item);
