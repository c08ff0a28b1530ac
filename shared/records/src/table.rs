//! The lowest floor: keys, attribute values, lists and pages of any item, and the calls that reach the tables. Nothing
//! here knows a resource.

pub(crate) mod attributes;
pub(crate) mod calls;
pub(crate) mod cursor;
pub(crate) mod digest;
pub(crate) mod keys;
pub(crate) mod lists;
pub(crate) mod notation;
