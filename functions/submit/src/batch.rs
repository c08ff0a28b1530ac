//! Submissions that a phone kept while it was offline, each taken as if it came alone.

use std::collections::BTreeMap;

use futures::{StreamExt, stream};
use invocation::{CorrelationId, Findings, Problem, ProblemKind, body};
use lambda_http::Request;
use lambda_http::http::StatusCode;
use records::Submission;
use serde::Serialize;
use serde_json::{Value, json};

use crate::LARGEST_BODY;
use crate::body::{Sending, Sent, does_not_fit, read};
use crate::receipt::Receipt;

const MOST: usize = 25;
/// Puts that are under way at the same time.
const AT_ONCE: usize = 8;

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

/// Reads each of `entries`, and stores those that fit. Entries of the same id are stored one after the other, so that the
/// first of them is the one that stays.
pub(crate) async fn take<F>(entries: &[&[u8]], sending: Sending<'_>, store: impl Fn(Sent) -> F) -> Results
where
    F: Future<Output = Stored>,
{
    let mut results = Vec::new();
    let mut by_id: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        match read_entry(entry, sending) {
            (id, Ok(sent)) => by_id.entry(sent.id).or_default().push((index, id, sent)),
            (id, Err(problem)) => results.push((index, id, Err(problem))),
        }
    }
    let store = &store;
    let stored = stream::iter(by_id.into_values())
        .map(|same| async move {
            let mut stored = Vec::new();
            for (index, id, sent) in same {
                stored.push((index, id, store(sent).await));
            }
            stored
        })
        .buffer_unordered(AT_ONCE);
    results.extend(stored.concat().await);
    results.sort_by_key(|(index, ..)| *index);
    Results(results)
}

/// The id that an entry gives itself, if it is one, and the entry as it was read.
fn read_entry(entry: &[u8], sending: Sending<'_>) -> (Option<String>, Result<Sent, Problem>) {
    let (json, findings) = match body::parse(entry) {
        Ok(parsed) => parsed,
        Err(finding) => (Value::Null, Findings::from(finding)),
    };
    let id = json["id"].as_str().filter(|id| id.len() == 36).map(str::to_owned);
    (id, read(&json, findings, sending).map_err(does_not_fit))
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
