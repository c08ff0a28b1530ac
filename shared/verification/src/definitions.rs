//! The definitions that submissions were scored by, read as they are stored and not through the caches of the functions.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clinical::ids::{ScheduleId, StudyId, StudyVersion, SubmissionId};
use clinical::instruments::Instrument;
use clinical::schedules::{Missed, Schedule};
use clinical::studies::{Protocol, StudyDefinition};
use invocation::Deadline;
use invocation::aws::Failure;
use records::{PatientRecords, Store, Submission};
use time::Duration;

/// The versions of studies that a pass has read. A version never changes, but one that is missing may be stored later:
/// only what was found is kept.
#[derive(Debug, Default)]
pub(crate) struct Definitions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    protocols: BTreeMap<(StudyId, StudyVersion), Arc<Protocol>>,
    limits: BTreeMap<StudyId, Arc<StudyLimits>>,
}

/// The definitions of one submission.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    /// The instrument, with the rules that the study had for the patient's group.
    pub(crate) instrument: Arc<Instrument>,
    /// Whether the submission belongs to the study's data.
    pub(crate) in_study: bool,
}

/// The definition of each submission of a patient, or why it is missing.
pub(crate) type Defined = BTreeMap<SubmissionId, Result<Definition, &'static str>>;

/// What the versions of a study allow in total: which of them was in force at a time is not stored.
#[derive(Debug, Default)]
pub(crate) struct StudyLimits {
    /// The largest limit of escalations that a version defines.
    pub(crate) most: Option<u32>,
    /// Whether a version has a limit of 0.
    pub(crate) never: bool,
    /// Whether a version leaves the limit to the deployment, or none is stored.
    pub(crate) open: bool,
    /// How many windows missed in a row raise an alert, for each schedule of which every version says the same.
    pub(crate) missed_after: BTreeMap<ScheduleId, usize>,
    /// The quiet period of missed windows, likewise.
    pub(crate) missed_quiet: BTreeMap<ScheduleId, Duration>,
}

impl Definitions {
    /// Forgets all that was read, so that it is read again.
    pub(crate) fn forget(&self) {
        *self.known() = Known::default();
    }

    /// What is known is consistent between two statements, so that it may be used after a panic.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The definitions of all submissions of a patient.
    pub(crate) async fn of(
        &self,
        records: &PatientRecords,
        store: &Store,
        deadline: Deadline,
    ) -> Result<Defined, Failure> {
        let mut defined = Defined::new();
        for stored in &records.submissions {
            let submission = &stored.submission;
            defined.insert(submission.id, self.definition(submission, store, deadline).await?);
        }
        Ok(defined)
    }

    async fn definition(
        &self,
        submission: &Submission,
        store: &Store,
        deadline: Deadline,
    ) -> Result<Result<Definition, &'static str>, Failure> {
        let protocol = match &submission.study_version {
            None => Arc::new(Protocol::of_no_study()),
            Some((version, hash)) => match self.protocol(&submission.study, version, store, deadline).await? {
                None => return Ok(Err("the version of the study is not stored, or cannot be read")),
                Some(protocol) if protocol.study().is_none_or(|study| study.hash() != hash) => {
                    return Ok(Err("the version of the study has another content"));
                }
                Some(protocol) => protocol,
            },
        };
        let named = &submission.instrument;
        let instrument = protocol.instrument_for(&named.id, &named.version, submission.group.as_ref());
        Ok(match instrument {
            Err(_) => Err("the study does not have the instrument in this version"),
            Ok(instrument) if instrument.hash() != named.hash => Err("the instrument has another content"),
            Ok(instrument) => {
                let at = submission.place().at;
                // The patient's own calendar decides on the day.
                let at = at.checked_to_offset(submission.authored_at.offset()).unwrap_or(at);
                Ok(Definition { instrument: Arc::clone(instrument), in_study: protocol.has_begun(at) })
            }
        })
    }

    async fn protocol(
        &self,
        study: &StudyId,
        version: &StudyVersion,
        store: &Store,
        deadline: Deadline,
    ) -> Result<Option<Arc<Protocol>>, Failure> {
        let name = (study.clone(), version.clone());
        if let Some(known) = self.known().protocols.get(&name) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(Ok(protocol)) = store.stored_study(study, version, deadline).await? else { return Ok(None) };
        let protocol = Arc::new(protocol);
        self.known().protocols.insert(name, Arc::clone(&protocol));
        Ok(Some(protocol))
    }

    /// What the versions of `study` allow.
    pub(crate) async fn limits(
        &self,
        study: &StudyId,
        store: &Store,
        deadline: Deadline,
    ) -> Result<Arc<StudyLimits>, Failure> {
        if let Some(known) = self.known().limits.get(study) {
            return Ok(Arc::clone(known));
        }
        let versions = store.study_versions(study, deadline).await?;
        let mut limits = StudyLimits { open: versions.is_empty(), ..StudyLimits::default() };
        for version in &versions {
            match version.definition().alerts.escalation {
                Some(escalation) => {
                    limits.most = limits.most.max(Some(escalation.limit));
                    limits.never |= escalation.limit == 0;
                }
                None => limits.open = true,
            }
        }
        let definitions = || versions.iter().map(|version| version.definition());
        limits.missed_after = common(definitions(), |missed| usize::try_from(missed.after).ok());
        limits.missed_quiet = common(definitions(), |missed| Some(Duration::hours(missed.quiet_hours.into())));
        let limits = Arc::new(limits);
        self.known().limits.insert(study.clone(), Arc::clone(&limits));
        Ok(limits)
    }
}

/// What each schedule says of missed windows, where all versions say the same.
fn common<'a, T: PartialEq>(
    versions: impl IntoIterator<Item = &'a StudyDefinition>,
    says: impl Fn(&Missed) -> Option<T>,
) -> BTreeMap<ScheduleId, T> {
    let of_version = |version: &StudyDefinition| -> BTreeMap<ScheduleId, T> {
        let said = |schedule: &Schedule| says(schedule.missed.as_ref()?);
        version.schedules.iter().filter_map(|one| Some((one.id.clone(), said(one)?))).collect()
    };
    let in_common = |mut known: BTreeMap<_, _>, version: BTreeMap<_, _>| {
        known.retain(|schedule, said| version.get(schedule) == Some(said));
        known
    };
    versions.into_iter().map(of_version).reduce(in_common).unwrap_or_default()
}
