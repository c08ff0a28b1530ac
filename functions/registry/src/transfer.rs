//! Transfers to another site. What was sent stays where it was sent; the patient's course goes on.

use api::Problem;
use clinical::ids::SiteId;
use clinical::studies::Protocol;
use lambda_http::Request;
use lambda_http::http::StatusCode;
use records::{AuditAction, Registration, Transfer};

use crate::body::{invalid_field, members};
use crate::change::{Change, Decided};
use crate::{Asked, conflict, not_found};

/// The most transfers of a patient.
const MOST_TRANSFERS: usize = 50;

pub(crate) struct TransferTo {
    site: SiteId,
    reason: String,
}

impl TransferTo {
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        let mut members = members(request)?;
        let (site, reason) = (members.parsed("site"), members.reason());
        let site = members.required("site", site, "name the site that becomes responsible");
        let reason = members.required("reason", reason, "a transfer needs a reason");
        members.end(site.zip(reason).map(|(site, reason)| Self { site, reason }))
    }
}

impl Change for TransferTo {
    fn decide(
        &self,
        asked: &Asked<'_>,
        protocol: &Protocol,
        before: Option<&Registration>,
    ) -> Result<Option<Decided>, Problem> {
        let before = before.ok_or_else(not_found)?;
        let last = before.transfers.last();
        let Self { site: to, reason } = self;
        let is_repeat = last.is_some_and(|last| asked.covers(&last.from) && last.to == *to);
        if !asked.covers(&before.site) && !is_repeat {
            return Err(not_found());
        }
        if *to == before.site {
            return Ok(None);
        }
        if !asked.covers(&before.site) {
            return Err(not_found());
        }
        if !protocol.has_site(to) {
            return Err(invalid_field("site", "site.unknown", "the study has no such site"));
        }
        if before.withdrawal.is_some() {
            return Err(conflict("the patient has withdrawn from the study"));
        }
        if before.transfers.len() >= MOST_TRANSFERS {
            return Err(conflict("the patient was transferred as often as can be recorded"));
        }
        let from = before.site.clone();
        // Both inspectors find it on the trail of their site.
        let mut audit: Vec<_> = [&from, to]
            .map(|site| asked.entry(AuditAction::PatientTransferred, site).about(format_args!("{from} to {to}")))
            .map(|entry| entry.because(Some(reason)))
            .into();
        let at = audit[0].at;
        audit.iter_mut().for_each(|entry| entry.at = at);
        let mut registration = before.clone();
        registration.site = to.clone();
        registration.transfers.push(Transfer { from, to: to.clone(), at });
        Ok(Some(Decided { status: StatusCode::OK, registration, audit }))
    }
}
