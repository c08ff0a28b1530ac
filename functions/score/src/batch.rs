//! A batch, read record by record: what one of them holds never spoils its neighbours.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use clinical::ids::{InstrumentId, InstrumentVersion, PatientId, SiteId, StudyId, SubmissionId};
use clinical::instrument::Instrument;
use clinical::study::Protocol;
use futures::future::join_all;
use invocation::Deadline;
use invocation::aws::Failure;
use records::{InstrumentRef, Store, Submission, ToScore, stream};
use serde_json::Value;

/// A batch, sorted by what is to be done.
pub(crate) struct Batch {
    /// By site, in the order of the stream: each submission, with what it is scored by and the records that brought it. The
    /// stream may bring one twice.
    pub(crate) sites: Vec<Vec<Member>>,
    /// What can never be scored.
    pub(crate) unscorable: Vec<Unscorable>,
    /// Records of something that is not for scoring.
    pub(crate) nothing_to_do: Vec<usize>,
    /// Why some submissions cannot be scored now: what they are scored by could not be read.
    pub(crate) failures: Vec<Failure>,
}

/// A submission of a batch.
pub(crate) struct Member {
    /// The records that brought it.
    pub(crate) indices: Vec<usize>,
    submission: Submission,
    instrument: Arc<Instrument>,
    protocol: Arc<Protocol>,
}

/// A record that can never be scored.
pub(crate) struct Unscorable {
    pub(crate) index: usize,
    /// Why, without anything of what it holds.
    pub(crate) reason: String,
}

impl Batch {
    /// Reads `records`, and what they are scored by.
    pub(crate) async fn read(records: &[Value], store: &Store, deadline: Deadline) -> Self {
        let mut batch =
            Self { sites: Vec::new(), unscorable: Vec::new(), nothing_to_do: Vec::new(), failures: Vec::new() };
        let mut submissions = Vec::new();
        for (index, record) in records.iter().enumerate() {
            match stream::submission(record) {
                Ok(Some(submission)) => submissions.push((index, submission)),
                Ok(None) => batch.nothing_to_do.push(index),
                Err(unreadable) => batch.unscorable.push(Unscorable { index, reason: unreadable.to_string() }),
            }
        }
        let definitions = Definitions::of(submissions.iter().map(|(_, submission)| submission), store, deadline).await;
        let mut site_of: HashMap<(StudyId, SiteId), usize> = HashMap::new();
        let mut seen: HashMap<(StudyId, PatientId, SubmissionId), (usize, usize)> = HashMap::new();
        for (index, submission) in submissions {
            let key = (submission.study.clone(), submission.patient.clone(), submission.id);
            if let Some(&(site, at)) = seen.get(&key) {
                batch.sites[site][at].indices.push(index);
                continue;
            }
            match definitions.scoring(&submission) {
                Ok((instrument, protocol)) => {
                    let site = (submission.study.clone(), submission.site.clone());
                    let site = *site_of.entry(site).or_insert_with(|| {
                        batch.sites.push(Vec::new());
                        batch.sites.len() - 1
                    });
                    seen.insert(key, (site, batch.sites[site].len()));
                    batch.sites[site].push(Member { indices: vec![index], submission, instrument, protocol });
                }
                Err(NotNow::Never(reason)) => {
                    batch.unscorable.push(Unscorable { index, reason: reason.to_owned() });
                }
                Err(NotNow::NotRead) => {}
            }
        }
        batch.failures = definitions.failures();
        batch
    }
}

impl Member {
    /// The submission, to be scored.
    pub(crate) fn to_score(&self) -> ToScore<'_> {
        ToScore { submission: self.submission.clone(), instrument: &self.instrument, study: self.protocol.study() }
    }
}

/// What the submissions of a batch are scored by, each part read once.
struct Definitions {
    protocols: HashMap<StudyId, Result<Arc<Protocol>, Failure>>,
    /// Those that the studies do not ask now; `None` for what nobody knows.
    others: HashMap<(InstrumentId, InstrumentVersion), Result<Other, Failure>>,
}

type Other = Option<Arc<Instrument>>;

/// Why a submission cannot be scored now.
enum NotNow {
    Never(&'static str),
    /// What it is scored by could not be read.
    NotRead,
}

impl Definitions {
    async fn of(submissions: impl Iterator<Item = &Submission> + Clone, store: &Store, deadline: Deadline) -> Self {
        let studies: HashSet<&StudyId> = submissions.clone().map(|submission| &submission.study).collect();
        let protocols =
            studies.into_iter().map(|study| async move { (study.clone(), store.protocol(study, deadline).await) });
        let protocols: HashMap<_, _> = join_all(protocols).await.into_iter().collect();
        let others: HashSet<&InstrumentRef> = submissions
            .filter(|submission| {
                let protocol = protocols.get(&submission.study).and_then(|protocol| protocol.as_ref().ok());
                let InstrumentRef { id, version, .. } = &submission.instrument;
                protocol.is_some_and(|protocol| protocol.catalog().find(id, version).is_err())
            })
            .map(|submission| &submission.instrument)
            .collect();
        let others = others.into_iter().map(|InstrumentRef { id, version, .. }| async move {
            ((id.clone(), version.clone()), store.instrument(id, version, deadline).await)
        });
        let others = join_all(others).await.into_iter().collect();
        Self { protocols, others }
    }

    /// What `submission` is scored by: the version of its instrument that it names, and the very content that it was
    /// checked against, under the alert rules that are in force in its study. A version that the study asks no more is
    /// under its own.
    fn scoring(&self, submission: &Submission) -> Result<(Arc<Instrument>, Arc<Protocol>), NotNow> {
        let InstrumentRef { id, version, hash } = &submission.instrument;
        let Some(Ok(protocol)) = self.protocols.get(&submission.study) else { return Err(NotNow::NotRead) };
        let instrument = match protocol.instrument_for(id, version, submission.group.as_ref()) {
            Ok(instrument) => instrument,
            Err(_) => match self.others.get(&(id.clone(), version.clone())) {
                Some(Ok(Some(instrument))) => instrument.for_group(submission.group.as_ref()),
                Some(Ok(None)) => {
                    return Err(NotNow::Never("it names an instrument, or a version of one, that nobody knows here"));
                }
                _ => return Err(NotNow::NotRead),
            },
        };
        if instrument.hash() != hash {
            return Err(NotNow::Never("its instrument's content has changed under the same version"));
        }
        Ok((Arc::clone(instrument), Arc::clone(protocol)))
    }

    fn failures(self) -> Vec<Failure> {
        let protocols = self.protocols.into_values().filter_map(Result::err);
        protocols.chain(self.others.into_values().filter_map(Result::err)).collect()
    }
}
