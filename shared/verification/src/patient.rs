//! The comparison of one patient's records with the replay of their submissions. Pure: all that it needs is read before.
//!
//! The replay is [`clinical::instruments::replay`] of the scored submissions, each under the instrument and the version of
//! the study that it names. While the profile is marked for another evaluation of its courses, what depends on the course
//! is left out.

use std::collections::BTreeMap;

use clinical::ids::{InstrumentId, RuleId, SiteId, SubmissionId};
use clinical::instruments::{Basis, CourseId, Outcome, Replay, ReplayEntry, Score, replay};
use records::{List, OnList, PatientRecords, StoredAlert, StoredSubmission};
use time::OffsetDateTime;

use crate::Settings;
use crate::definitions::{Defined, Definition, StudyLimits};
use crate::difference::{Difference, Kind};

mod alerts;
mod corrections;
mod occurrences;
mod profile;
mod quiet;
mod scores;
mod states;

/// The result of comparing one patient.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    pub(crate) differences: Vec<Difference>,
    /// The scored submissions.
    pub(crate) scored: Vec<Scored>,
    /// The site of each alert.
    pub(crate) alerts: Vec<SiteId>,
    /// The number of submissions, scored or not.
    pub(crate) submissions: u64,
    /// The number of submissions, alerts and courses that wait.
    pub(crate) waiting: u64,
    /// The number of submissions and alerts in quarantine.
    pub(crate) quarantined: u64,
}

/// What is counted of a scored submission.
#[derive(Debug)]
pub(crate) struct Scored {
    pub(crate) site: SiteId,
    pub(crate) instrument: InstrumentId,
    /// Whether the call that brought it is counted with it.
    pub(crate) counts_call: bool,
}

/// A patient's records with all that they are compared with.
struct Patient<'a> {
    records: &'a PatientRecords,
    defined: &'a Defined,
    limits: &'a StudyLimits,
    settings: &'a Settings,
    now: OffsetDateTime,
    /// The rows, by submission and rule.
    rows: BTreeMap<SubmissionId, BTreeMap<&'a RuleId, &'a StoredAlert>>,
    replayed: Replay,
    /// Whether the courses are due for another evaluation.
    is_marked: bool,
    compared: Compared,
}

/// Compares `records` with what follows from their submissions under the definitions `defined`.
pub(crate) fn compare(
    records: &PatientRecords,
    defined: &Defined,
    limits: &StudyLimits,
    settings: &Settings,
    now: OffsetDateTime,
) -> Compared {
    let mut rows: BTreeMap<SubmissionId, BTreeMap<&RuleId, &StoredAlert>> = BTreeMap::new();
    for row in &records.alerts {
        if let Some(submission) = row.alert.submission() {
            rows.entry(submission).or_default().insert(&row.alert.rule, row);
        }
    }
    let is_marked = records.profile.as_ref().is_some_and(|stored| stored.profile.marked_since().is_some());
    let replayed = replay(&entries(records, defined));
    let compared = Compared { submissions: records.submissions.len() as u64, ..Compared::default() };
    let mut patient = Patient { records, defined, limits, settings, now, rows, replayed, is_marked, compared };
    patient.unreadable();
    for stored in &records.submissions {
        patient.submission(stored);
    }
    for row in &records.alerts {
        patient.compared.alerts.push(row.alert.site.clone());
        patient.alert(row);
        patient.state(row);
    }
    patient.quiet_periods();
    patient.corrections();
    patient.profile();
    patient.registration();
    patient.occurrences();
    patient.compared.differences.sort();
    patient.compared
}

/// The scored submissions as entries of the replay. Apart from what the functions do to the same end, so that a mistake
/// there is not repeated by what should find it.
fn entries<'a>(records: &'a PatientRecords, defined: &'a Defined) -> Vec<ReplayEntry<'a>> {
    let scored = records.submissions.iter().filter_map(|stored| Some((&stored.submission, stored.score.as_ref()?)));
    let entry = |(submission, score): (&'a records::Submission, &records::Score)| {
        let (basis, in_study) = match defined.get(&submission.id) {
            Some(Ok(Definition { instrument, in_study })) => {
                (Basis::Answers { instrument, answers: &submission.answers }, *in_study)
            }
            // Without its definition only its stored scores are known.
            Some(Err(_)) | None => {
                let (id, version) = (submission.instrument.id.clone(), submission.instrument.version.clone());
                let scores: Vec<Score> = serde_json::from_value(score.scores.clone()).ok()?;
                let scores = scores.into_iter().map(|score| (score.id, score.value)).collect();
                let course = CourseId { instrument: id, version: version.clone() };
                (Basis::Recorded { course, version, scores }, true)
            }
        };
        let amends = submission.amends.as_ref().map(|amendment| amendment.of);
        Some(ReplayEntry { id: submission.id, place: submission.place(), amends, in_study, basis })
    };
    scored.filter_map(entry).collect()
}

impl<'a> Patient<'a> {
    fn differs(&mut self, difference: Difference) {
        self.compared.differences.push(difference);
    }

    fn difference(&self, kind: Kind) -> Difference {
        Difference::new(kind, &self.records.study)
    }

    fn of_submission(&mut self, kind: Kind, stored: &StoredSubmission, detail: impl std::fmt::Display) {
        let submission = &stored.submission;
        let difference = self.difference(kind).at_site(&submission.site).of_submission(submission.id);
        self.differs(difference.about(detail));
    }

    fn of_alert(&mut self, kind: Kind, row: &StoredAlert, detail: impl std::fmt::Display) {
        let alert = &row.alert;
        let difference = self.difference(kind).at_site(&alert.site).of_alert(alert.id).about(detail);
        self.differs(Difference { submission: alert.submission(), ..difference });
    }

    /// The submission `id`, if it is stored and can be read.
    fn stored(&self, id: SubmissionId) -> Option<&'a StoredSubmission> {
        self.records.submissions.iter().find(|stored| stored.submission.id == id)
    }

    fn definition(&self, id: SubmissionId) -> Option<&'a Definition> {
        self.defined.get(&id)?.as_ref().ok()
    }

    /// The outcome of a submission by itself: its scores, the rules that fire whatever came before, and as not evaluated
    /// the rules that may fire, depending on what came before. `None` if that is not known.
    fn alone(&self, stored: &StoredSubmission) -> Option<Outcome> {
        self.definition(stored.submission.id)?.instrument.assess(&stored.submission.answers).ok()
    }

    fn unreadable(&mut self) {
        // Alerts are reported where a walk meets them.
        for item in self.records.unreadable.iter().filter(|item| item.kind != "alert") {
            let difference = self.difference(Kind::Unreadable).about(item);
            self.differs(Difference { submission: item.submission, ..difference });
        }
    }

    fn submission(&mut self, stored: &StoredSubmission) {
        let submission = &stored.submission;
        if let Some(score) = &stored.score {
            let (site, instrument) = (submission.site.clone(), submission.instrument.id.clone());
            self.compared.scored.push(Scored { site, instrument, counts_call: submission.counts_call });
            if stored.on != OnList::None {
                self.of_submission(Kind::ListDiffers, stored, "it is scored");
            }
            self.score(stored, score);
            return;
        }
        match stored.on {
            OnList::On { list: List::Pending, since } => {
                if self.waits(since) {
                    self.of_submission(Kind::WaitsTooLong, stored, "its score");
                }
            }
            OnList::On { list: List::Quarantine, .. } => self.compared.quarantined += 1,
            OnList::On { list: List::Open | List::Due, .. } | OnList::None | OnList::Unreachable => {
                self.of_submission(Kind::ListDiffers, stored, "it is not scored");
            }
        }
    }

    /// Counts something that has waited since `since`, and returns whether that is too long.
    fn waits(&mut self, since: OffsetDateTime) -> bool {
        self.compared.waiting += 1;
        self.settings.patience.is_zero() || self.now - since > self.settings.patience
    }
}
