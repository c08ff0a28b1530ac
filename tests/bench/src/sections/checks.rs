//! Edit checks beside those of other libraries.

use super::Bench;
use crate::Fault;

/// Measures them, and returns the section.
///
/// # Errors
/// If one finds something else.
pub async fn section(_bench: &Bench) -> Result<String, Fault> {
    Err(Fault::Wrong("not yet".to_owned()))
}
