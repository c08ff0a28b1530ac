//! The bodies of requests and answers.

use std::collections::BTreeMap;

use api::{Members, Problem, ProblemKind};
use clinical::document::{Finding, pointer};
use clinical::ids::{EventId, GroupId, PatientId, SiteId};
use invocation::rfc3339;
use lambda_http::Request;
use records::{Registration, Withdrawal};
use serde::Serialize;

/// The most bytes of a body: in JSON, a character of a reason may take twelve.
const LARGEST_BODY: usize = 32 * 1024;
const NOT_CHANGED: &str = "the registration was not changed";

/// The members of the object in the body of `request`.
pub(crate) fn members(request: &Request) -> Result<Members, Problem> {
    Members::of(request, LARGEST_BODY, NOT_CHANGED)
}

/// The answer to a body whose member `name` is at fault.
pub(crate) fn invalid_field(name: &str, code: &'static str, detail: &str) -> Problem {
    let finding = Finding { pointer: pointer("", name), code, detail: detail.to_owned() };
    Problem::new(ProblemKind::Invalid, NOT_CHANGED).with_errors(finding)
}

/// A registration as it is answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RegistrationBody<'a> {
    patient: &'a PatientId,
    site: &'a SiteId,
    enrolled_on: String,
    /// Whether staff have registered the patient, or a first submission has enrolled them.
    registered: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a GroupId>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    events: BTreeMap<&'a EventId, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    transfers: Vec<TransferBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    withdrawn: Option<WithdrawnBody<'a>>,
}

#[derive(Serialize)]
struct TransferBody<'a> {
    from: &'a SiteId,
    to: &'a SiteId,
    at: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WithdrawnBody<'a> {
    at: String,
    mode: &'static str,
    requested_by: &'a str,
}

impl<'a> RegistrationBody<'a> {
    pub(crate) fn of(registration: &'a Registration, registered: bool) -> Self {
        let transfers = registration.transfers.iter();
        let withdrawn = |withdrawal: &'a Withdrawal| WithdrawnBody {
            at: rfc3339(withdrawal.at),
            mode: withdrawal.mode.as_str(),
            requested_by: &withdrawal.requested_by,
        };
        Self {
            patient: &registration.patient,
            site: &registration.site,
            enrolled_on: registration.enrolled_on.to_string(),
            registered,
            time_zone: registration.time_zone.as_deref(),
            language: registration.language.as_deref(),
            group: registration.group.as_ref(),
            events: registration.events.iter().map(|(event, on)| (event, on.to_string())).collect(),
            transfers: transfers
                .map(|transfer| TransferBody { from: &transfer.from, to: &transfer.to, at: rfc3339(transfer.at) })
                .collect(),
            withdrawn: registration.withdrawal.as_ref().map(withdrawn),
        }
    }
}
