//! The caller's study, and which studies may be used.

use std::sync::Arc;

use clinical::ids::SiteId;
use clinical::studies::Protocol;
use invocation::Deadline;
use records::Store;

use crate::{Caller, Problem, ProblemKind};

/// What is in force in the caller's study.
///
/// # Errors
/// 403 as [`admit`]; 500 or 503 if it was never read and cannot be read.
pub async fn protocol_for(store: &Store, caller: &Caller, deadline: Deadline) -> Result<Arc<Protocol>, Problem> {
    let protocol = store.protocol(caller.study(), deadline).await;
    let protocol = protocol.map_err(|failure| Problem::not_read("the study", &failure))?;
    admit(store, &protocol)?;
    Ok(protocol)
}

/// As [`protocol_for`], for what a patient of `site` sends.
///
/// # Errors
/// As [`protocol_for`], and 403 if the study has no such site.
pub async fn protocol_at(
    store: &Store,
    caller: &Caller,
    site: &SiteId,
    deadline: Deadline,
) -> Result<Arc<Protocol>, Problem> {
    let protocol = protocol_for(store, caller, deadline).await?;
    if !protocol.has_site(site) {
        // Nobody has subscribed to such a site, so its alerts would reach no clinician.
        let detail = "the token's site is not a site of its study; keep the submission, and contact the study team";
        return Err(Problem::new(ProblemKind::Forbidden, detail));
    }
    Ok(protocol)
}

/// Admits a request whose study is stored. A token may name any study: one with a misspelt name would publish its
/// alerts where nobody has subscribed.
///
/// # Errors
/// 403 if the study is not stored, unless the deployment is open to such studies.
pub fn admit(store: &Store, protocol: &Protocol) -> Result<(), Problem> {
    if store.admits(protocol) {
        return Ok(());
    }
    let detail = "the token's study is not stored here; keep what you have to send, and contact the study team";
    Err(Problem::new(ProblemKind::Forbidden, detail))
}
