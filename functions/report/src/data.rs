//! The hash of the data that a report shows.

use clinical::ids::InstrumentId;
use invocation::rfc3339;
use records::{AlertHandling, Compliance, PatientPeriod, SitePeriod, SubmissionSummary, sha256_hex};
use serde::Serialize;
use time::{OffsetDateTime, UtcOffset};

use crate::period::ReportPeriod;

/// The SHA-256, in hexadecimal, of `data` in its canonical form: JSON with sorted keys and no white space, times in
/// UTC, everything in the order that [`records`] returns. The same data have the same hash, independent of the time and
/// the language of the report: labels and other texts are not part of it.
pub(crate) fn hash(study: &str, site: &str, period: &ReportPeriod, data: &SitePeriod) -> String {
    let canonical = Data {
        from: period.from().to_string(),
        patients: data.patients.iter().map(Patient::of).collect(),
        site,
        study,
        to: period.to().to_string(),
        unreadable: data.unreadable,
        zone: period.zone().name(),
    };
    sha256_hex(&serde_json::to_vec(&canonical).expect("strings and numbers always serialise"))
}

// The fields of each struct are in the order of their names, since serde writes them in the order of declaration.

#[derive(Serialize)]
struct Data<'a> {
    from: String,
    patients: Vec<Patient<'a>>,
    site: &'a str,
    study: &'a str,
    to: String,
    unreadable: u64,
    zone: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Patient<'a> {
    alerts: Vec<Alert<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    compliance: Vec<Windows<'a>>,
    first_submission: Option<String>,
    patient: &'a str,
    since: Option<String>,
    submissions: Vec<Submission<'a>>,
    until: Option<String>,
    withdrawn: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Alert<'a> {
    acknowledged_at: Option<String>,
    acknowledged_by: Option<&'a str>,
    escalation: u64,
    id: String,
    raised_at: String,
    rule: &'a str,
    sent_at: Option<String>,
    severity: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    submission: Option<String>,
}

#[derive(Serialize)]
struct Windows<'a> {
    completed: u64,
    expected: u64,
    instrument: &'a str,
    late: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Submission<'a> {
    amended_by: Option<String>,
    amends: Option<String>,
    /// The effective time, by which a course is ordered.
    at: String,
    clock_corrected: bool,
    hash: &'a str,
    id: String,
    instrument: &'a str,
    scores: Option<Vec<Score<'a>>>,
    version: &'a str,
}

#[derive(Serialize)]
struct Score<'a> {
    band: Option<&'a str>,
    id: &'a str,
    /// Decimal text, so that no reader rounds it.
    value: String,
}

impl<'a> Patient<'a> {
    fn of(patient: &'a PatientPeriod) -> Self {
        Self {
            alerts: patient.alerts.iter().map(Alert::of).collect(),
            compliance: patient.compliance.iter().map(Windows::of).collect(),
            first_submission: patient.first_submission.map(utc),
            patient: patient.patient.as_str(),
            since: patient.stay.since.map(utc),
            submissions: patient.submissions.iter().map(Submission::of).collect(),
            until: patient.stay.until.map(utc),
            withdrawn: patient.stay.withdrawal.as_ref().map(|withdrawal| withdrawal.mode.as_str()),
        }
    }
}

impl<'a> Windows<'a> {
    fn of((instrument, compliance): (&'a InstrumentId, &Compliance)) -> Self {
        let Compliance { expected, completed, late } = *compliance;
        Self { completed, expected, instrument: instrument.as_str(), late }
    }
}

impl<'a> Alert<'a> {
    fn of(alert: &'a AlertHandling) -> Self {
        Self {
            acknowledged_at: alert.acknowledged.as_ref().map(|(at, _)| utc(*at)),
            acknowledged_by: alert.acknowledged.as_ref().map(|(_, by)| by.as_str()),
            escalation: alert.escalation,
            id: alert.id.to_string(),
            raised_at: utc(alert.raised_at),
            rule: alert.rule.as_str(),
            sent_at: alert.sent_at.map(utc),
            severity: alert.severity.as_str(),
            status: alert.status.as_str(),
            submission: alert.submission.map(|id| id.to_string()),
        }
    }
}

impl<'a> Submission<'a> {
    fn of(submission: &'a SubmissionSummary) -> Self {
        let score = |score: &'a clinical::instruments::Score| Score {
            band: score.band.as_deref(),
            id: score.id.as_str(),
            value: score.value.normalize().to_string(),
        };
        Self {
            amended_by: submission.amended_by.map(|id| id.to_string()),
            amends: submission.amends.map(|id| id.to_string()),
            at: utc(submission.place.at),
            clock_corrected: submission.clock_corrected,
            hash: &submission.instrument.hash,
            id: submission.id.to_string(),
            instrument: submission.instrument.id.as_str(),
            scores: submission.scores.as_ref().map(|scores| scores.iter().map(score).collect()),
            version: submission.instrument.version.as_str(),
        }
    }
}

fn utc(instant: OffsetDateTime) -> String {
    rfc3339(instant.to_offset(UtcOffset::UTC))
}
