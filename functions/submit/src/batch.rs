//! Submissions that a phone kept while it was offline, each taken as if it came alone.

use std::collections::BTreeMap;

use api::{CorrelationId, Findings, Problem, ProblemKind, body};
use clinical::ids::SubmissionId;
use lambda_http::Request;
use lambda_http::http::StatusCode;
use records::Submission;
use serde::Serialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::LARGEST_BODY;
use crate::body::{Refused, Sending, Sent, read};
use crate::receipt::Receipt;

const MOST: usize = 25;

/// What became of the entries, in their order: the place of each, the id that it gives itself, and as which it is stored.
pub(crate) struct Results(Vec<(usize, Option<String>, Stored)>);

type Stored = Result<(StatusCode, Submission), Problem>;

/// The entries of the batch that `request` carries: a list, or an object with the list `submissions`.
///
/// # Errors
/// 413, 415, or 422 if it is no such list, an empty one, or too long.
pub(crate) fn entries(request: &Request) -> Result<Vec<&[u8]>, Problem> {
    let entries = body::entries(request, "submissions", LARGEST_BODY)?;
    if entries.is_empty() || entries.len() > MOST {
        let detail =
            format!("a batch has 1 to {MOST} submissions; this one has {}, and nothing was stored", entries.len());
        return Err(Problem::new(ProblemKind::Invalid, detail));
    }
    Ok(entries)
}

/// An entry as it was read.
struct Read {
    /// Its place in the batch.
    index: usize,
    /// The id that it gives itself, if it is one.
    id: Option<String>,
    json: Value,
    submission: Result<Sent, Refused>,
}

/// Reads each of `entries`, and has them accepted one after the other: in the order of their effective times, so that they
/// are scored in it, but a submission before its correction, which would be refused without it. Entries of the same id
/// keep their order, so that the first of them is the one that stays.
pub(crate) async fn take<F>(
    entries: &[&[u8]],
    sending: Sending<'_>,
    accept: impl Fn(Result<Sent, Refused>, Value) -> F,
) -> Results
where
    F: Future<Output = Stored>,
{
    let read = entries.iter().enumerate().map(|(index, entry)| Read::of(index, entry, sending)).collect();
    let mut results = Vec::new();
    for Read { index, id, json, submission } in in_order(read) {
        results.push((index, id, accept(submission, json).await));
    }
    results.sort_by_key(|(index, ..)| *index);
    Results(results)
}

/// `entries` in the order in which they are accepted; those that are refused come last.
fn in_order(entries: Vec<Read>) -> Vec<Read> {
    let mut by_id: BTreeMap<SubmissionId, Vec<Read>> = BTreeMap::new();
    let mut refused = Vec::new();
    for entry in entries {
        match &entry.submission {
            Ok(sent) => by_id.entry(sent.id).or_default().push(entry),
            Err(_) => refused.push(entry),
        }
    }
    let mut waiting: Vec<(SubmissionId, Vec<Read>)> = by_id.into_iter().collect();
    waiting.sort_by_key(|(id, same)| (same.iter().filter_map(Read::effective_at).min(), *id));
    let mut ordered = Vec::new();
    while !waiting.is_empty() {
        let is_original = |of: SubmissionId| waiting.iter().any(|(id, _)| *id == of);
        let has_its_original = |(id, same): &(SubmissionId, Vec<Read>)| {
            !same.iter().filter_map(Read::amends).any(|of| of != *id && is_original(of))
        };
        // Of submissions that correct each other none is an original, and each is refused as if it came alone.
        let next = waiting.iter().position(has_its_original).unwrap_or(0);
        ordered.extend(waiting.remove(next).1);
    }
    ordered.extend(refused);
    ordered
}

impl Read {
    fn of(index: usize, entry: &[u8], sending: Sending<'_>) -> Self {
        let (json, findings) = match body::parse(entry) {
            Ok(parsed) => parsed,
            Err(finding) => (Value::Null, Findings::from(finding)),
        };
        let id = json["id"].as_str().filter(|id| id.len() == 36).map(str::to_owned);
        let submission = read(&json, findings, sending);
        Self { index, id, json, submission }
    }

    fn effective_at(&self) -> Option<OffsetDateTime> {
        self.submission.as_ref().ok().map(|sent| sent.effective.0)
    }

    fn amends(&self) -> Option<SubmissionId> {
        Some(self.submission.as_ref().ok()?.amends.as_ref()?.of)
    }
}

impl Results {
    /// What is answered about them.
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
    /// Its place in the batch, from 0.
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// As if it came alone: 202, 200, 409, 422, 503.
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Value>,
}
