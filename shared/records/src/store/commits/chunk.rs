//! Chunks of submissions, and the outcome of committing them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clinical::ids::{PatientId, StudyId};
use clinical::instruments::{Instrument, Outcome};
use clinical::studies::Protocol;
use invocation::Backoff;
use time::OffsetDateTime;

use super::transaction::{Commit, Transaction};
use crate::items::alert::Alert;
use crate::items::profile::{Evaluation, Profile};
use crate::items::submission::Submission;

/// The largest number of bytes in a transaction, those of the existing items included; DynamoDB takes 4 MB.
const MOST_BYTES: usize = 3_000_000;
/// More submissions in one transaction save round trips; fewer meet fewer conflicts. With their profiles and the counter
/// these leave half of a transaction's writes to alerts.
const MOST_SUBMISSIONS: usize = 25;
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// A submission that is to be scored, with the definitions that it names.
#[derive(Clone, Debug)]
pub struct ToScore<'a> {
    /// The submission.
    pub submission: Submission,
    /// The instrument, with the alert rules of the study's version.
    pub instrument: &'a Instrument,
    /// The study's version.
    pub protocol: &'a Protocol,
}

/// Submissions that are committed together. Each carries a `T` of the caller's with it.
#[derive(Debug)]
pub struct Chunk<'a, T> {
    pub(super) members: Vec<(T, ToScore<'a>)>,
    /// The waits after transient failures.
    pub(super) backoff: Backoff,
    /// The transaction whose outcome is unknown; it is sent again unchanged.
    pub(super) unsettled: Option<Transaction>,
}

/// The outcome of an attempt to commit a chunk.
#[derive(Debug)]
pub struct ChunkOutcome<'a, T> {
    /// The settled submissions, in no particular order.
    pub settled: Vec<(T, ToScore<'a>, Commit)>,
    /// The chunks that are still to be committed.
    pub rest: Vec<Chunk<'a, T>>,
    /// The patients whose courses are due for [`Store::reevaluate`](crate::Store::reevaluate).
    pub reevaluate: BTreeSet<(StudyId, PatientId)>,
}

/// Splits `submissions`, in order, into chunks that each fit into one transaction, unless they raise more alerts than
/// most do: [`Store::commit`](crate::Store::commit) then splits one again.
pub fn chunks<T>(submissions: Vec<(T, ToScore<'_>)>) -> Vec<Chunk<'_, T>> {
    let mut chunks: Vec<Chunk<'_, T>> = Vec::new();
    let mut bytes = 0;
    for one in submissions {
        let more_bytes = one.1.submission.bytes();
        match chunks.last_mut() {
            Some(chunk) if chunk.members.len() < MOST_SUBMISSIONS && bytes + more_bytes <= MOST_BYTES => {
                bytes += more_bytes;
                chunk.members.push(one);
            }
            _ => {
                bytes = more_bytes;
                chunks.push(Chunk::new(vec![one], Backoff::new(FIRST_WAIT, LONGEST_WAIT)));
            }
        }
    }
    chunks
}

impl ToScore<'_> {
    /// Evaluates the submission on `profile`, adds it to it, and returns the outcome with the alerts that it raises;
    /// `None` if its answers do not fit the instrument.
    pub(super) fn evaluate(&self, profile: &mut Profile, at: OffsetDateTime) -> Option<(Outcome, Vec<Alert>)> {
        let Self { submission, instrument, protocol } = self;
        let evaluation = profile.evaluation(submission, instrument);
        let history = profile.history(instrument, evaluation);
        let mut outcome = instrument.assess_with(&submission.answers, &history).ok()?;
        if evaluation == Evaluation::Amended {
            (outcome.alerts, outcome.not_evaluated) = (Vec::new(), Vec::new());
        }
        let in_study = submission.is_in_study(protocol);
        let raised = profile.add(submission, instrument, &outcome, evaluation, in_study, at);
        Some((outcome, raised))
    }
}

impl<'a, T> Chunk<'a, T> {
    fn new(members: Vec<(T, ToScore<'a>)>, backoff: Backoff) -> Self {
        let first = members.first().map(|(_, to_score)| to_score.submission.id.to_string());
        Self { members, backoff: backoff.jittered_by(first), unsettled: None }
    }

    /// This chunk for another attempt, in halves if it has more than one member.
    pub(super) fn halves(mut self) -> Vec<Self> {
        if self.members.len() < 2 {
            return vec![self];
        }
        let second = self.members.split_off(self.members.len() / 2);
        [self.members, second].map(|members| Self::new(members, self.backoff.clone())).into()
    }

    /// Moves the members at the indices of `commits` to `settled`.
    pub(super) fn settle(&mut self, mut commits: BTreeMap<usize, Commit>, settled: &mut Vec<(T, ToScore<'a>, Commit)>) {
        let members = std::mem::take(&mut self.members);
        for (index, (tag, to_score)) in members.into_iter().enumerate() {
            match commits.remove(&index) {
                Some(commit) => settled.push((tag, to_score, commit)),
                None => self.members.push((tag, to_score)),
            }
        }
    }

    /// Moves all members to `settled`, with the same outcome.
    pub(super) fn settle_all(&mut self, commit: impl Fn() -> Commit, settled: &mut Vec<(T, ToScore<'a>, Commit)>) {
        settled.extend(self.members.drain(..).map(|(tag, to_score)| (tag, to_score, commit())));
    }
}

#[cfg(test)]
mod tests {
    use clinical::instruments::Catalog;

    use super::*;
    use crate::items::submission::tests::submission;

    #[test]
    fn a_chunk_is_as_large_as_a_transaction_may_be() {
        let protocol = Protocol::of_no_study();
        let instrument = Catalog::shipped().iter().next().unwrap();
        let mut sizes = Vec::new();
        for length in [1, 2_000, 20_000] {
            let one = || ((), ToScore { submission: submission(length), instrument, protocol: &protocol });
            let bytes = one().1.submission.bytes();
            let most = (1..=25).rev().find(|members| members * bytes <= 3_000_000).unwrap_or(1);
            let chunks: Vec<usize> =
                chunks((0..60).map(|_| one()).collect()).iter().map(|chunk| chunk.members.len()).collect();
            assert_eq!(chunks.iter().sum::<usize>(), 60);
            let (last, others) = chunks.split_last().unwrap();
            assert!(*last <= most && others.iter().all(|size| *size == most), "{chunks:?} and not {most}");
            sizes.push(most);
        }
        assert!(sizes[0] == 25 && sizes[2] < 25, "each limit decides somewhere: {sizes:?}");
    }
}
