//! The definitions that submissions are scored by: the version of the study, and the instrument in it, that each names.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use clinical::ids::{StudyId, StudyVersion};
use clinical::instruments::Instrument;
use clinical::studies::Protocol;
use futures::future::join_all;
use invocation::Deadline;
use invocation::aws::Failure;

use super::Store;
use crate::items::submission::{InstrumentRef, Submission};

/// The versions of studies that a set of submissions names, each read once.
#[derive(Debug)]
pub struct Definitions(HashMap<StudyRef, Result<Option<Arc<Protocol>>, Failure>>);

/// A version of a study and its content hash; `None` where the study was not stored.
type StudyRef = (StudyId, Option<(StudyVersion, String)>);

/// The definitions that one submission is scored by.
#[derive(Clone, Debug)]
pub struct ScoredBy {
    /// The instrument, with the alert rules of the study's version for the patient's group.
    pub instrument: Arc<Instrument>,
    /// The study's version.
    pub protocol: Arc<Protocol>,
}

/// Why the definitions of a submission are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotDefined {
    /// They do not exist, for this reason.
    Never(&'static str),
    /// They could not be read; a later attempt may succeed.
    NotRead,
}

impl Store {
    /// The definitions of `submissions`, as far as the store returns them in time.
    pub async fn definitions<'a>(
        &self,
        submissions: impl IntoIterator<Item = &'a Submission>,
        deadline: Deadline,
    ) -> Definitions {
        let named: BTreeSet<StudyRef> = submissions.into_iter().map(study_of).collect();
        let read = named.into_iter().map(|(study, version)| async move {
            let protocol = match &version {
                None => Ok(Some(Arc::new(Protocol::of_no_study()))),
                Some((version, hash)) => self.protocol_of_version(&study, version, hash, deadline).await,
            };
            ((study, version), protocol)
        });
        Definitions(join_all(read).await.into_iter().collect())
    }
}

impl Definitions {
    /// The definitions of `submission`, which is one of those that these were read for.
    ///
    /// # Errors
    /// If they do not exist, or were not read.
    pub fn of(&self, submission: &Submission) -> Result<ScoredBy, NotDefined> {
        let protocol = match self.0.get(&study_of(submission)) {
            Some(Ok(Some(protocol))) => protocol,
            Some(Ok(None)) => return Err(NotDefined::Never("the study's version that it names is not stored")),
            Some(Err(_)) | None => return Err(NotDefined::NotRead),
        };
        let InstrumentRef { id, version, hash } = &submission.instrument;
        let instrument = protocol.instrument_for(id, version, submission.group.as_ref()).map_err(|_| {
            NotDefined::Never("it names an instrument, or a version of one, that its study does not have")
        })?;
        if instrument.hash() != hash {
            return Err(NotDefined::Never("its instrument's content has changed under the same version"));
        }
        Ok(ScoredBy { instrument: Arc::clone(instrument), protocol: Arc::clone(protocol) })
    }

    /// The failures of those that could not be read.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.0.values().filter_map(|read| read.as_ref().err())
    }
}

fn study_of(submission: &Submission) -> StudyRef {
    (submission.study.clone(), submission.study_version.clone())
}
