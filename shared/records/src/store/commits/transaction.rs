//! The transaction that commits a chunk, and the consequences of its cancellation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_sdk_dynamodb::types::CancellationReason;
use clinical::ids::{PatientId, SiteId, StudyId, SubmissionId};
use clinical::instruments::Outcome;
use invocation::aws::{Failure, is_transient};
use invocation::metrics;
use time::OffsetDateTime;

use crate::items::alert::{Alert, AlertId};
use crate::items::counts::CountsAdded;
use crate::items::profile::Profile;
use crate::items::score::Score;
use crate::items::submission::Submission;
use crate::table::attributes::{Item, Reader};
use crate::table::calls::{CONDITION_FAILED, code};

/// The outcome of committing one submission.
#[derive(Debug)]
pub enum Commit {
    /// It was scored, now or by an attempt whose answer was lost, and raised these alerts.
    Committed(Vec<Alert>),
    /// It was scored before, and raised these alerts.
    AlreadyScored(Vec<AlertId>),
    /// It can never be committed, for this reason.
    Never(&'static str),
    /// It is not confirmed as committed. A later attempt settles it.
    Failed(Failure),
}

/// A transaction that can be sent again unchanged.
pub(super) struct Transaction {
    pub(super) token: String,
    /// When its members are scored.
    pub(super) at: OffsetDateTime,
    /// The outcome of each member and the alerts that it raises, in the order of the members.
    pub(super) scored: Vec<(Outcome, Vec<Alert>)>,
    /// The profiles with the members added.
    pub(super) profiles: Vec<Profile>,
    /// The patients who have sent from more than one site, each with these.
    pub(super) site_entries: BTreeSet<(PatientId, SiteId)>,
    pub(super) counted: CountsAdded,
    /// The part that each write is, in the order of the writes.
    pub(super) parts: Vec<Part>,
    /// What its metrics report.
    pub(super) evaluated: Evaluated,
}

/// What metrics report of the submissions of a transaction.
#[derive(Default)]
pub(super) struct Evaluated {
    submissions: u64,
    late: u64,
    rules_not_evaluated: u64,
}

impl Evaluated {
    /// Adds a submission with this `outcome`. `is_late`: whether its patient's courses are to be evaluated again.
    pub(super) fn add(&mut self, outcome: &Outcome, is_late: bool) {
        self.submissions += 1;
        self.late += u64::from(is_late);
        self.rules_not_evaluated += outcome.not_evaluated.len() as u64;
    }
}

/// The consequences of a cancelled transaction.
pub(super) struct Cancelled {
    /// The members that are settled.
    pub(super) commits: BTreeMap<usize, Commit>,
    /// The members of which a correction is stored, with the correction.
    pub(super) amended: BTreeMap<usize, SubmissionId>,
    /// The members of which only an alert was reported, which is stored. DynamoDB need not report every reason, so that
    /// their submissions have to be read.
    pub(super) to_read: BTreeSet<usize>,
    /// What to do with the members that are not settled.
    pub(super) rest: Rest,
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("token", &self.token).finish_non_exhaustive()
    }
}

/// The part of a transaction that a write belongs to: a member, by its index, or all members.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Submission(usize),
    Alert(usize),
    Profile,
    SiteEntry,
    Counter,
}

/// What to do with the members that a cancelled transaction did not settle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rest {
    /// Prepare again, without the settled members and on the current profiles.
    Again,
    /// Wait, then prepare again.
    Contended,
    /// The reason is permanent for this set of members.
    Refused,
    /// DynamoDB does not accept the content.
    Invalid,
}

impl Transaction {
    /// Reports, as metrics, what it has committed.
    pub(super) fn report(&self) {
        let Evaluated { submissions, late, rules_not_evaluated } = self.evaluated;
        let counts = [
            (metrics::SUBMISSIONS_SCORED, submissions),
            (metrics::SUBMISSIONS_LATE, late),
            (metrics::RULES_NOT_EVALUATED, rules_not_evaluated),
        ];
        counts.into_iter().filter(|(_, count)| *count > 0).for_each(|(metric, count)| metrics::report(metric, count));
        report_raised(self.scored.iter().flat_map(|(_, raised)| raised));
    }

    /// The patients whose courses are due for a replay.
    pub(super) fn reevaluate(&self) -> impl Iterator<Item = (StudyId, PatientId)> {
        let marked = self.profiles.iter().filter(|profile| profile.reevaluate.is_some());
        marked.map(|profile| (profile.study.clone(), profile.patient.clone()))
    }

    /// The consequences of its cancellation for `reasons`.
    pub(super) fn cancelled(&self, reasons: &[CancellationReason]) -> Cancelled {
        let mut settled = BTreeMap::new();
        let mut amended = BTreeMap::new();
        let mut to_read = BTreeSet::new();
        let mut rest = Rest::Again;
        let mut explained = false;
        for (reason, &part) in reasons.iter().zip(&self.parts) {
            let Some(code) = code(reason) else { continue };
            explained = true;
            match (part, code) {
                (Part::Submission(index), CONDITION_FAILED) => match found(reason.item()) {
                    Found::Settled(commit) => {
                        settled.insert(index, commit);
                    }
                    Found::Amended(by) => {
                        amended.insert(index, by);
                    }
                    Found::NotScored => {
                        settled.insert(index, Commit::Never("its stored score cannot be read"));
                    }
                },
                (Part::Alert(index), CONDITION_FAILED) => {
                    to_read.insert(index);
                }
                (Part::Profile, CONDITION_FAILED) => {}
                (_, code) if is_transient(code) => rest = rest.max(Rest::Contended),
                (_, "ValidationError") => rest = Rest::Invalid,
                _ => rest = rest.max(Rest::Refused),
            }
        }
        // A cancellation without a reason is treated as a conflict.
        if !explained {
            rest = Rest::Contended;
        }
        to_read.retain(|index| !settled.contains_key(index) && !amended.contains_key(index));
        Cancelled { commits: settled, amended, to_read, rest }
    }
}

/// Reports, as metrics, that `alerts` were raised.
pub(crate) fn report_raised<'a>(alerts: impl IntoIterator<Item = &'a Alert>) {
    let mut raised: BTreeMap<&'static str, u64> = BTreeMap::new();
    for alert in alerts {
        *raised.entry(alert.severity.as_str()).or_default() += 1;
    }
    raised.into_iter().for_each(|(severity, count)| metrics::report_of(metrics::ALERTS_RAISED, severity, count));
}

/// The state of a submission that a transaction could not score.
pub(super) enum Found {
    Settled(Commit),
    /// Not scored; this correction was stored in the meantime.
    Amended(SubmissionId),
    /// Not scored, and not corrected.
    NotScored,
}

/// The state of the submission with `item`: it was scored before, or corrected, or it is not stored.
pub(super) fn found(item: Option<&Item>) -> Found {
    let Some(item) = item.filter(|item| !item.is_empty()) else {
        return Found::Settled(Commit::Never("it is not in the table"));
    };
    match (Score::from_item(item), Reader(item).optional_parsed("amended_by")) {
        (Ok(Some(score)), _) => {
            Found::Settled(Commit::AlreadyScored(score.alerts.into_iter().map(|(id, _)| id).collect()))
        }
        (Ok(None), Ok(Some(by))) => Found::Amended(by),
        (Ok(None), Ok(None)) => Found::NotScored,
        (Ok(None) | Err(_), _) => Found::Settled(Commit::Never("its stored score cannot be read")),
    }
}

/// The parts of the token for one member: the same for the same content.
pub(super) fn token_parts(submission: &Submission, outcome: &Outcome) -> Vec<String> {
    let outcome = serde_json::to_string(outcome).expect("an outcome is names and numbers");
    vec![submission.patient.as_str().to_owned(), submission.id.to_string(), submission.nonce.to_string(), outcome]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::attributes::text;

    #[test]
    fn a_submission_that_the_reasons_settle_is_not_read_again() {
        let parts = vec![Part::Submission(0), Part::Alert(0), Part::Submission(1), Part::Alert(1), Part::Alert(2)];
        let transaction = Transaction {
            token: String::new(),
            at: OffsetDateTime::UNIX_EPOCH,
            scored: Vec::new(),
            profiles: Vec::new(),
            site_entries: BTreeSet::new(),
            counted: CountsAdded::default(),
            parts,
            evaluated: Evaluated::default(),
        };
        let failed = |item: Option<Item>| CancellationReason::builder().code(CONDITION_FAILED).set_item(item).build();
        let amended = Item::from([("amended_by".to_owned(), text("00000000-0000-0000-0000-000000000009"))]);
        // The first is not in the table any more, the second was corrected; of the third only the alert is reported.
        let reasons = [failed(None), failed(None), failed(Some(amended)), failed(None), failed(None)];
        let cancelled = transaction.cancelled(&reasons);
        assert_eq!(cancelled.to_read, BTreeSet::from([2]));
        assert!(matches!(cancelled.commits.get(&0), Some(Commit::Never(_))));
        assert_eq!(cancelled.amended.keys().copied().collect::<Vec<_>>(), [1]);
    }
}
