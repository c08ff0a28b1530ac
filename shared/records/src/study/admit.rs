//! Which studies a caller may use.

use std::sync::Arc;

use clinical::studies::Protocol;
use invocation::{Caller, Deadline, Problem, ProblemKind};

use crate::store::Store;

impl Store {
    /// What is in force in the caller's study.
    ///
    /// # Errors
    /// 403 as [`admit`](Self::admit); 500 or 503 if it was never read and cannot be read.
    pub async fn protocol_for(&self, caller: &Caller, deadline: Deadline) -> Result<Arc<Protocol>, Problem> {
        let protocol = self.protocol(caller.study(), deadline).await;
        let protocol = protocol.map_err(|failure| Problem::not_read("the study", &failure))?;
        self.admit(&protocol)?;
        Ok(protocol)
    }

    /// Lets a request pass whose study is stored. A token may name any study: one with a misspelt name would publish its
    /// alerts where nobody has subscribed.
    ///
    /// # Errors
    /// 403 if the study is not stored, unless the deployment is open to such studies.
    pub fn admit(&self, protocol: &Protocol) -> Result<(), Problem> {
        if self.open_studies || protocol.study().is_some() {
            return Ok(());
        }
        let detail = "the token's study is not stored here; keep what you have to send, and contact the study team";
        Err(Problem::new(ProblemKind::Forbidden, detail))
    }
}
