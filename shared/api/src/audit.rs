//! Audit entries of callers.

use records::{Actor, Audit, AuditAction};

use crate::{Caller, Invocation};

/// The audit entry that `caller` did `action` in this invocation, now, to its study as a whole.
pub fn entry(action: AuditAction, caller: &Caller, invocation: &Invocation) -> Audit {
    let actor = Actor { principal: caller.principal().clone(), role: caller.role().to_string() };
    let (request_id, correlation_id) = (&invocation.request_id, invocation.correlation_id.as_str());
    Audit::in_request(actor, action, caller.study(), invocation.clock.now(), request_id, correlation_id)
}
