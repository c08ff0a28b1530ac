//! Receipts, and the states of submissions.

use invocation::rfc3339;
use records::{ClockNote, Score, Submission};
use serde::Serialize;
use serde_json::Value;

/// A receipt. It is the same for every repeat, whatever happened to the submission since.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Receipt<'a> {
    id: String,
    status: &'static str,
    received_at: String,
    instrument: &'a str,
    version: &'a str,
    correlation_id: &'a str,
    /// Omitted where the submission counts as completed at its `authoredAt`.
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<ClockBody>,
}

/// How the time at which a submission counts as completed was determined.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClockBody {
    skew_seconds: Option<i64>,
    used_received_at: bool,
}

impl From<ClockNote> for ClockBody {
    fn from(ClockNote { skew_seconds, used_received_at }: ClockNote) -> Self {
        Self { skew_seconds, used_received_at }
    }
}

impl<'a> Receipt<'a> {
    pub(crate) fn of(submission: &'a Submission) -> Self {
        Self {
            id: submission.id.to_string(),
            status: "queued",
            received_at: rfc3339(submission.received_at),
            instrument: submission.instrument.id.as_str(),
            version: submission.instrument.version.as_str(),
            correlation_id: &submission.correlation_id,
            clock: submission.clock.map(ClockBody::from),
        }
    }
}

/// The state of a submission: its receipt, its corrections, and, for those who may see them, its score and the reason
/// of a correction.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State<'a> {
    #[serde(flatten)]
    receipt: Receipt<'a>,
    /// Omitted where it has no correction.
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrected_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amends: Option<String>,
    /// The sender's text, for staff only.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<ScoreBody<'a>>,
}

/// What the caller may see of a submission.
#[derive(Clone, Copy)]
pub(crate) struct Viewer {
    pub(crate) is_staff: bool,
    pub(crate) sees_score: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScoreBody<'a> {
    scored_at: String,
    instrument_hash: &'a str,
    scores: &'a Value,
    not_scored: &'a Value,
    /// Alert rules that could not be evaluated, with the reason; omitted where there are none.
    #[serde(skip_serializing_if = "is_empty")]
    not_evaluated: &'a Value,
    /// Scores that differ from those of the sender; omitted where there are none.
    #[serde(skip_serializing_if = "is_empty")]
    claimed_differs: &'a Value,
    alerts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<ClockBody>,
}

impl<'a> State<'a> {
    pub(crate) fn new(submission: &'a Submission, score: Option<&'a Score>, viewer: Viewer) -> Self {
        let status = if score.is_some() { "scored" } else { "queued" };
        let amends = submission.amends.as_ref();
        Self {
            receipt: Receipt { status, ..Receipt::of(submission) },
            corrected: submission.amended_by.map(|_| true),
            corrected_by: submission.amended_by.map(|id| id.to_string()),
            amends: amends.map(|amendment| amendment.of.to_string()),
            reason: amends.filter(|_| viewer.is_staff).map(|amendment| amendment.reason.as_str()),
            score: score.filter(|_| viewer.sees_score).map(|score| ScoreBody {
                scored_at: rfc3339(score.scored_at),
                instrument_hash: &submission.instrument.hash,
                scores: &score.scores,
                not_scored: &score.not_scored,
                not_evaluated: &score.not_evaluated,
                claimed_differs: &score.claimed_differs,
                alerts: score.alerts.iter().map(|(id, _)| id.to_string()).collect(),
                clock: submission.clock.map(ClockBody::from),
            }),
        }
    }
}

fn is_empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}
