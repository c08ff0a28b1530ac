//! What edit checks know beside the batch.

use std::collections::HashSet;

use super::report::NoRegister;

/// What is known outside a batch.
#[derive(Debug, Clone)]
pub struct CheckContext {
    /// Now, in seconds of UTC since 1970.
    pub now: i64,
    /// The sites that rows may name.
    pub sites: Register,
    /// The subjects that are enrolled.
    pub subjects: Register,
}

/// Names that are known.
#[derive(Debug, Clone)]
pub enum Register {
    /// These.
    Known(HashSet<String>),
    /// Nobody knows now: a row that names one is not evaluated.
    Unreachable,
    /// Nobody keeps them: the check is not run.
    Absent(NoRegister),
}
