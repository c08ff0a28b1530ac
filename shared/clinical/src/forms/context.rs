//! The context of edit checks: the time and the registers.

use std::collections::HashSet;

use super::report::NoRegister;

/// What edit checks need to know in addition to the batch.
#[derive(Debug, Clone)]
pub struct CheckContext {
    /// The current time, in seconds since the Unix epoch.
    pub now: i64,
    /// The sites that rows may refer to.
    pub sites: Register,
    /// The enrolled subjects.
    pub subjects: Register,
}

/// A register of sites or subjects.
#[derive(Debug, Clone)]
pub enum Register {
    /// The registered ids.
    Known(HashSet<String>),
    /// The register cannot be read now: checks against it are reported as not evaluated.
    Unreachable,
    /// There is no register: checks against it are not run.
    Absent(NoRegister),
}
