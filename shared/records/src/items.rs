//! What is stored, and how it is written and read.

pub(crate) mod alert;
pub(crate) mod period;
pub(crate) mod profile;
pub mod stream;
pub(crate) mod submission;
