//! What any item has.

pub(crate) mod attributes;
pub(crate) mod digest;
pub(crate) mod keys;
