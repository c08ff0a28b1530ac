//! Withdrawals from the study. Nothing is deleted, and nothing more is collected.

use api::Problem;
use clinical::studies::Protocol;
use lambda_http::Request;
use records::{AuditAction, Registration, Withdrawal, WithdrawalMode};

use crate::body::members;
use crate::change::{Change, Decided};
use crate::{Asked, conflict, not_found};

/// The most characters of the words that say who asked for it.
const LONGEST_REQUESTED_BY: usize = 100;

pub(crate) struct Withdraw {
    mode: WithdrawalMode,
    requested_by: String,
    reason: String,
}

impl Withdraw {
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        let mut members = members(request)?;
        let names = WithdrawalMode::ALL.map(|(name, _)| name).join(" or ");
        let mode = members.text("mode", 64).and_then(|name| {
            let mode = name.parse().ok();
            if mode.is_none() {
                members.wrong("mode", "field.value", format!("it must be {names}"));
            }
            mode
        });
        let (requested_by, reason) = (members.text("requestedBy", LONGEST_REQUESTED_BY), members.reason());
        let mode = members.required("mode", mode, &names);
        let requested_by = members.required("requestedBy", requested_by, "say who asked for the withdrawal");
        let reason = members.required("reason", reason, "a withdrawal needs a reason");
        let whole = mode.zip(requested_by).zip(reason);
        members.end(whole.map(|((mode, requested_by), reason)| Self { mode, requested_by, reason }))
    }
}

impl Change for Withdraw {
    fn decide(
        &self,
        asked: &Asked<'_>,
        _: &Protocol,
        before: Option<&Registration>,
    ) -> Result<Option<Decided>, Problem> {
        let before = before.filter(|before| asked.covers(&before.site)).ok_or_else(not_found)?;
        let Self { mode, requested_by, reason } = self;
        // The data may be hidden later; the patient withdrew then.
        let (at, action) = match &before.withdrawal {
            Some(withdrawal) if withdrawal.mode == *mode => return Ok(None),
            Some(withdrawal) if withdrawal.mode > *mode => {
                return Err(conflict("the patient has withdrawn, and the data are hidden"));
            }
            Some(withdrawal) => (Some(withdrawal.at), AuditAction::PatientChanged),
            None => (None, AuditAction::PatientWithdrawn),
        };
        let entry = asked.entry(action, &before.site).about(mode.as_str()).because(Some(reason));
        let withdrawal = Withdrawal { at: at.unwrap_or(entry.at), mode: *mode, requested_by: requested_by.clone() };
        let mut registration = before.clone();
        registration.withdrawal = Some(withdrawal);
        Ok(Some(Decided::of(registration, entry)))
    }
}
