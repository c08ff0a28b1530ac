//! Decodes a batch record by record, so that an invalid record never affects its neighbours.

use std::collections::HashMap;

use clinical::ids::{PatientId, SiteId, StudyId, SubmissionId};
use invocation::Deadline;
use invocation::aws::Failure;
use records::stream::Record;
use records::{NotDefined, ScoredBy, Store, Submission, ToScore};

/// A batch, sorted by what is to be done with each record.
pub(crate) struct Batch {
    /// The submissions of each site, in the order of their effective times.
    pub(crate) sites: Vec<Vec<Member>>,
    /// The records that can never be scored.
    pub(crate) unscorable: Vec<Unscorable>,
    /// The records that hold no new submission.
    pub(crate) nothing_to_do: Vec<usize>,
    /// Failed reads of definitions and studies: the submissions that name them cannot be scored now.
    pub(crate) failures: Vec<Failure>,
}

/// A submission of a batch, with the definition and the study's rules that it is scored by.
pub(crate) struct Member {
    /// The indices of its records: the stream may deliver a record twice.
    pub(crate) indices: Vec<usize>,
    submission: Submission,
    scored_by: ScoredBy,
}

/// A record that can never be scored.
pub(crate) struct Unscorable {
    pub(crate) index: usize,
    /// The reason, without any content of the record.
    pub(crate) reason: String,
}

impl Batch {
    /// Decodes `records`, and reads the definitions and studies that their submissions name.
    pub(crate) async fn read(records: &[Record<'_>], store: &Store, deadline: Deadline) -> Self {
        let mut batch =
            Self { sites: Vec::new(), unscorable: Vec::new(), nothing_to_do: Vec::new(), failures: Vec::new() };
        let mut submissions = Vec::new();
        for (index, record) in records.iter().enumerate() {
            match record.submission() {
                Ok(Some(submission)) => submissions.push((index, submission)),
                Ok(None) => batch.nothing_to_do.push(index),
                Err(unreadable) => batch.unscorable.push(Unscorable { index, reason: unreadable.to_string() }),
            }
        }
        let definitions = store.definitions(submissions.iter().map(|(_, submission)| submission), deadline).await;
        let mut site_of: HashMap<(StudyId, SiteId), usize> = HashMap::new();
        let mut seen: HashMap<(StudyId, PatientId, SubmissionId), (usize, usize)> = HashMap::new();
        for (index, submission) in submissions {
            let key = (submission.study.clone(), submission.patient.clone(), submission.id);
            if let Some(&(site, at)) = seen.get(&key) {
                batch.sites[site][at].indices.push(index);
                continue;
            }
            match definitions.of(&submission) {
                Ok(scored_by) => {
                    let site = (submission.study.clone(), submission.site.clone());
                    let site = *site_of.entry(site).or_insert_with(|| {
                        batch.sites.push(Vec::new());
                        batch.sites.len() - 1
                    });
                    seen.insert(key, (site, batch.sites[site].len()));
                    batch.sites[site].push(Member { indices: vec![index], submission, scored_by });
                }
                Err(NotDefined::Never(reason)) => {
                    batch.unscorable.push(Unscorable { index, reason: reason.to_owned() });
                }
                Err(NotDefined::NotRead) => {}
            }
        }
        batch.failures = definitions.failures().cloned().collect();
        for site in &mut batch.sites {
            site.sort_by_key(|member| (member.submission.place(), member.submission.id));
        }
        batch
    }
}

impl Member {
    /// The submission in the form that the store commits.
    pub(crate) fn to_score(&self) -> ToScore<'_> {
        let ScoredBy { instrument, protocol } = &self.scored_by;
        ToScore { submission: self.submission.clone(), instrument, protocol }
    }
}
