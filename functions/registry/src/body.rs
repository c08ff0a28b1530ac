//! The bodies of requests, read member by member, and that of the answer.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use api::{Problem, ProblemKind, body};
use clinical::document::{Finding, Findings, pointer};
use clinical::ids::{EventId, GroupId, IdError, PatientId, SiteId};
use invocation::rfc3339;
use lambda_http::Request;
use records::{Registration, Withdrawal};
use serde::Serialize;
use serde_json::{Map, Value};
use time::Date;
use time::macros::format_description;

/// The most bytes of a body: in JSON, a character of a reason may take twelve.
const LARGEST_BODY: usize = 32 * 1024;
/// The most characters of a reason.
const LONGEST_REASON: usize = 2_000;
const NOT_CHANGED: &str = "the registration was not changed";

/// The members of a request's body, each taken once; what is left is unknown.
pub(crate) struct Members {
    members: Map<String, Value>,
    findings: Findings,
    /// The members that have a finding.
    faulty: BTreeSet<String>,
}

impl Members {
    /// The members of the object in the body of `request`.
    pub(crate) fn of(request: &Request) -> Result<Self, Problem> {
        let (value, findings) = body::json(request, LARGEST_BODY)?;
        match value {
            Value::Object(members) => Ok(Self { members, findings, faulty: BTreeSet::new() }),
            _ => Err(Problem::of_finding(ProblemKind::Invalid, "", "field.type", "the body must be an object")),
        }
    }

    pub(crate) fn wrong(&mut self, name: &str, code: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.faulty.insert(name.to_owned());
        self.findings.push_with(|| Finding { pointer: pointer("", name), code, detail });
    }

    /// The text `name`, without the white space around it; `None` if it is absent, null or empty.
    pub(crate) fn text(&mut self, name: &'static str, most: usize) -> Option<String> {
        match self.members.remove(name)? {
            Value::Null => None,
            Value::String(text) if text.chars().count() > most => {
                self.wrong(name, "field.too-long", format!("at most {most} characters"));
                None
            }
            Value::String(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
            _ => {
                self.wrong(name, "field.type", "it must be a string");
                None
            }
        }
    }

    /// `value`, which was read from the member `name` and must be there.
    pub(crate) fn required<T>(&mut self, name: &str, value: Option<T>, advice: &str) -> Option<T> {
        // What is there and faulty has its finding already.
        if value.is_none() && !self.faulty.contains(name) {
            self.wrong(name, "field.required", advice);
        }
        value
    }

    /// The reason of a change.
    pub(crate) fn reason(&mut self) -> Option<String> {
        self.text("reason", LONGEST_REASON)
    }

    /// The text `name` as a `T`.
    pub(crate) fn parsed<T: FromStr<Err = IdError>>(&mut self, name: &'static str) -> Option<T> {
        match self.text(name, 64)?.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.wrong(name, "field.format", error.to_string());
                None
            }
        }
    }

    pub(crate) fn date(&mut self, name: &'static str) -> Option<Date> {
        let date = Date::parse(&self.text(name, 64)?, format_description!("[year]-[month]-[day]")).ok();
        if date.is_none() {
            self.wrong(name, "field.format", "it must be a date: year, month and day, for example 2026-11-01");
        }
        date
    }

    /// Whether `name` is there, and be it null.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// What was `read`, if nothing is wrong with the body; `None` only where something is.
    pub(crate) fn end<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        let unknown: Vec<String> = self.members.keys().cloned().collect();
        for name in unknown {
            self.wrong(&name, "field.unknown", "there is no such field here; remove it");
        }
        match read.filter(|_| self.findings.is_empty()) {
            Some(read) => Ok(read),
            None => Err(Problem::new(ProblemKind::Invalid, NOT_CHANGED).with_errors(self.findings)),
        }
    }
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
