//! Withdrawals from the study. Nothing is deleted, and nothing more is collected.

use api::Problem;
use clinical::studies::Protocol;
use lambda_http::Request;
use records::{AuditAction, Registration, Withdrawal, WithdrawalMode};

use crate::body::{Members, invalid_field};
use crate::change::{Change, Decided};
use crate::{Asked, conflict, not_found};

/// The most characters of the words that say who asked for it.
const LONGEST_REQUESTED_BY: usize = 100;

pub(crate) struct Withdraw {
    mode: Option<WithdrawalMode>,
    requested_by: Option<String>,
    reason: Option<String>,
}

impl Withdraw {
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        let mut members = Members::of(request)?;
        let mode = members.text("mode", 64);
        let known = mode.as_deref().and_then(|name| name.parse().ok());
        if known.is_none() {
            let names = WithdrawalMode::ALL.map(|(name, _)| name).join(" or ");
            let code = if mode.is_none() { "field.required" } else { "field.value" };
            members.wrong("mode", code, format!("it must be {names}"));
        }
        let withdraw = Self {
            mode: known,
            requested_by: members.text("requestedBy", LONGEST_REQUESTED_BY),
            reason: members.reason(),
        };
        for (name, is_missing) in
            [("requestedBy", withdraw.requested_by.is_none()), ("reason", withdraw.reason.is_none())]
        {
            if is_missing {
                members.wrong(name, "field.required", "a withdrawal needs it");
            }
        }
        members.end(withdraw)
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
        let (Some(mode), Some(requested_by)) = (self.mode, &self.requested_by) else {
            return Err(invalid_field("mode", "field.required", "a withdrawal needs it"));
        };
        // Later words change who hid the data, not when the patient withdrew.
        let (at, action) = match &before.withdrawal {
            Some(withdrawal) if withdrawal.mode == mode => return Ok(None),
            Some(withdrawal) if withdrawal.mode > mode => {
                return Err(conflict("the patient has withdrawn, and the data are hidden"));
            }
            Some(withdrawal) => (Some(withdrawal.at), AuditAction::PatientChanged),
            None => (None, AuditAction::PatientWithdrawn),
        };
        let entry = asked.entry(action, &before.site).about(mode.as_str()).because(self.reason.as_deref());
        let withdrawal = Withdrawal { at: at.unwrap_or(entry.at), mode, requested_by: requested_by.clone() };
        let mut registration = before.clone();
        registration.withdrawal = Some(withdrawal);
        Ok(Some(Decided::in_place(registration, entry)))
    }
}
