//! Batches of submissions, each accepted as if it came alone.

use std::collections::BTreeMap;

use api::{CorrelationId, Problem, ProblemKind, body};
use clinical::document::{Findings, parse_json};
use clinical::ids::SubmissionId;
use lambda_http::Request;
use lambda_http::http::StatusCode;
use records::Submission;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::LARGEST_BODY;
use crate::body::{ParsedSubmission, Rejection, SubmissionContext, read};
use crate::receipt::Receipt;

/// The most submissions of a batch.
const LARGEST_BATCH: usize = 25;

/// The results of the entries, in their order: the index of each, its own id, and the submission as it is stored.
pub(crate) struct Results(Vec<(usize, Option<String>, Stored)>);

type Stored = Result<(StatusCode, Submission), Problem>;

/// The entries of the batch in the body of `request`: a list, or an object with the list `submissions`.
///
/// # Errors
/// 413, 415, or 422 if it is not such a list, is empty, or is too long.
pub(crate) fn entries(request: &Request) -> Result<Vec<&[u8]>, Problem> {
    let entries = body::entries(request, "submissions", LARGEST_BODY)?;
    if entries.is_empty() || entries.len() > LARGEST_BATCH {
        let detail = format!(
            "a batch must have 1 to {LARGEST_BATCH} submissions; this one has {}, and nothing was stored",
            entries.len()
        );
        return Err(Problem::new(ProblemKind::Invalid, detail));
    }
    Ok(entries)
}

/// An entry of a batch, as it was read.
struct ParsedEntry {
    /// Its index in the batch.
    index: usize,
    /// Its own `id`, if that has the length of a UUID.
    id: Option<String>,
    json: Value,
    submission: Result<ParsedSubmission, Rejection>,
}

/// Reads `entries` and passes them to `accept` one after the other: by effective time, so that they are scored in that
/// order, but each submission before its correction, which would be refused without it. Entries of the same id keep
/// their order, so that the first of them is stored.
pub(crate) async fn accept_all<F>(
    entries: &[&[u8]],
    context: SubmissionContext<'_>,
    accept: impl Fn(Result<ParsedSubmission, Rejection>, Value) -> F,
) -> Results
where
    F: Future<Output = Stored>,
{
    let read = entries.iter().enumerate().map(|(index, entry)| ParsedEntry::of(index, entry, context)).collect();
    let mut results = Vec::new();
    for ParsedEntry { index, id, json, submission } in in_order(read) {
        results.push((index, id, accept(submission, json).await));
    }
    results.sort_by_key(|(index, ..)| *index);
    Results(results)
}

/// `entries` in the order in which they are accepted; those that were rejected come last.
fn in_order(entries: Vec<ParsedEntry>) -> Vec<ParsedEntry> {
    let mut by_id: BTreeMap<SubmissionId, Vec<ParsedEntry>> = BTreeMap::new();
    let mut rejected = Vec::new();
    for entry in entries {
        match &entry.submission {
            Ok(parsed) => by_id.entry(parsed.id).or_default().push(entry),
            Err(_) => rejected.push(entry),
        }
    }
    let mut waiting: Vec<(SubmissionId, Vec<ParsedEntry>)> = by_id.into_iter().collect();
    waiting.sort_by_key(|(id, same)| (same.iter().filter_map(ParsedEntry::effective_at).min(), *id));
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let is_original = |of: SubmissionId| waiting.iter().any(|(id, _)| *id == of);
        let has_its_original = |(id, same): &(SubmissionId, Vec<ParsedEntry>)| {
            !same.iter().filter_map(ParsedEntry::amends).any(|of| of != *id && is_original(of))
        };
        // If submissions correct each other, none is an original, and each is refused as if it came alone.
        let next = waiting.iter().position(has_its_original).unwrap_or(0);
        ordered.extend(waiting.remove(next).1);
    }
    ordered.extend(rejected);
    ordered
}

impl ParsedEntry {
    fn of(index: usize, entry: &[u8], context: SubmissionContext<'_>) -> Self {
        let (json, findings) = match parse_json(entry) {
            Ok(parsed) => parsed,
            Err(finding) => (Value::Null, Findings::from(finding)),
        };
        let id = json["id"].as_str().filter(|id| id.len() == 36).map(str::to_owned);
        let submission = read(&json, findings, context);
        Self { index, id, json, submission }
    }

    fn effective_at(&self) -> Option<OffsetDateTime> {
        self.submission.as_ref().ok().map(|parsed| parsed.effective.0)
    }

    fn amends(&self) -> Option<SubmissionId> {
        Some(self.submission.as_ref().ok()?.amends.as_ref()?.of)
    }
}

impl Results {
    /// The problems of the entries that were not accepted.
    pub(crate) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter().filter_map(|(_, _, result)| result.as_ref().err())
    }

    /// The body of the answer.
    pub(crate) fn body(&self, correlation_id: &CorrelationId) -> Value {
        let entries = self.0.iter().map(|(index, id, result)| {
            let (status, receipt, problem) = match result {
                Ok((status, submission)) => (*status, Some(Receipt::of(submission)), None),
                Err(problem) => (problem.kind().status(), None, Some(problem.to_json(correlation_id))),
            };
            Entry { index: *index, id: id.as_deref(), status: status.as_u16(), receipt, problem }
        });
        json!({"results": entries.collect::<Vec<_>>()})
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    /// The index of the submission in the batch, from 0.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// The status as if the submission came alone: 202, 200, 409, 422 or 503.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Value>,
}
