//! Which occurrence a submission answers, recorded once, whatever was recorded before.

use clinical::ids::{PatientId, StudyId, SubmissionId};
use clinical::schedules::{Resolved, Schedule, State, answered_by, offset_date_time, resolves, timestamp};
use clinical::studies::Protocol;
use invocation::aws::Failure;
use invocation::{Deadline, Principal};
use jiff::Timestamp;
use records::{
    Acknowledgement, Actor, Audit, AuditAction, Completed, Conditional, Store, StoredOccurrence, Submission,
};
use time::OffsetDateTime;

const OPERATION: &str = "the record of an answer";
/// The number of occurrences that are read at once: a diary's answer is among the last few of a week ahead.
const PAGE: usize = 10;
/// How often a decision is made again because something else was stored in between.
const ATTEMPTS: u32 = 6;
/// Who acknowledges an alert of missed windows once one of them is answered.
const LATE_ANSWER: &str = "late-answer";
const ISSUER: &str = "urn:epro:schedules";

/// Records which occurrence `submission`, which is stored, answers under the schedules of `protocol`. A patient without
/// occurrences gets a plan. May be repeated.
///
/// # Errors
/// If the store did not confirm it.
pub async fn answer(
    store: &Store,
    protocol: &Protocol,
    submission: &Submission,
    now: OffsetDateTime,
    deadline: Deadline,
) -> Result<(), Failure> {
    if submission.amends.is_some() || !protocol.schedules().iter().any(|one| one.instrument == submission.instrument.id)
    {
        return Ok(());
    }
    let at = |time| timestamp(time).ok_or_else(|| Failure::unreadable(OPERATION, "a time is out of range"));
    let completed = Completed {
        submission: submission.id,
        instrument: submission.instrument.id.clone(),
        effective: at(submission.effective_at)?,
        received: at(submission.received_at)?,
    };
    let (study, patient, now) = (&submission.study, &submission.patient, at(now)?);
    let answering = Answering { store, study, patient, protocol, now, deadline };
    let has_occurrences = answering.record(&completed, &[]).await?;
    if !has_occurrences && !store.has_plan(study, patient, deadline).await? {
        store.mark_plan(study, patient, submission.received_at, true, deadline).await?;
    }
    Ok(())
}

/// What the answers of one patient are recorded with.
pub(crate) struct Answering<'a> {
    pub(crate) store: &'a Store,
    pub(crate) study: &'a StudyId,
    pub(crate) patient: &'a PatientId,
    pub(crate) protocol: &'a Protocol,
    pub(crate) now: Timestamp,
    pub(crate) deadline: Deadline,
}

impl Answering<'_> {
    /// Records which occurrence `completed` answers, if any: one of the study's schedules or of `also`. Returns whether
    /// the patient has an occurrence of these schedules.
    pub(crate) async fn record(&self, completed: &Completed, also: &[StoredOccurrence]) -> Result<bool, Failure> {
        for _ in 0..ATTEMPTS {
            let (candidates, has_occurrences) = self.candidates(completed, also).await?;
            let answered = candidates.iter().find(|one| answers(one, completed.submission));
            if let Some(answered) = answered {
                self.resolve(answered, completed).await?;
                return Ok(true);
            }
            let fitting = candidates.iter().map(|one| &one.occurrence);
            let Some(found) = answered_by(fitting, &completed.instrument, completed.effective) else {
                return Ok(has_occurrences);
            };
            let (schedule, number) = (found.schedule.clone(), found.number);
            let is_found =
                |one: &StoredOccurrence| one.occurrence.schedule == schedule && one.occurrence.number == number;
            let Some(mut answered) = candidates.into_iter().find(is_found) else { return Ok(true) };
            answered.occurrence.answer(completed.submission, completed.received);
            answered.looks_back = false;
            if self.store.put_occurrence(&answered, self.deadline).await? == Conditional::Stored {
                self.resolve(&answered, completed).await?;
                return Ok(true);
            }
        }
        Err(Failure::transient(OPERATION, "the occurrence was changed each time"))
    }

    /// The occurrences whose window holds the effective time of `completed`, or that it answers, and whether there is any
    /// occurrence.
    async fn candidates(
        &self,
        completed: &Completed,
        also: &[StoredOccurrence],
    ) -> Result<(Vec<StoredOccurrence>, bool), Failure> {
        let mut candidates = Vec::new();
        let mut has_occurrences = false;
        let of_instrument = |one: &&Schedule| one.instrument == completed.instrument;
        for schedule in self.protocol.schedules().iter().filter(of_instrument) {
            let (found, has) = self.in_schedule(schedule, completed).await?;
            has_occurrences |= has;
            candidates.extend(found);
        }
        // Those of a schedule that the study does not have any more.
        for one in also {
            if !candidates.iter().any(|known| known.occurrence.schedule == one.occurrence.schedule) {
                let Some(current) = self.read_again(one).await? else { continue };
                candidates.push(current);
            }
        }
        Ok((candidates, has_occurrences))
    }

    async fn read_again(&self, one: &StoredOccurrence) -> Result<Option<StoredOccurrence>, Failure> {
        let (schedule, number) = (&one.occurrence.schedule, one.occurrence.number);
        self.store.occurrence(self.study, self.patient, schedule, number, self.deadline).await
    }

    /// The occurrence of `schedule` whose window holds the effective time of `completed`, or that it answers, and whether
    /// there is any occurrence. Read from the last one back: an answer that comes late costs as much as it is late.
    async fn in_schedule(
        &self,
        schedule: &Schedule,
        completed: &Completed,
    ) -> Result<(Option<StoredOccurrence>, bool), Failure> {
        let Completed { submission, effective, .. } = *completed;
        let mut below = None;
        // The occurrences that moved last, or of a schedule of which none has moved, are in the order of their numbers.
        let mut in_order = None;
        loop {
            let of = (&schedule.id, below);
            let page = self.store.occurrences_below(self.study, self.patient, of, PAGE, self.deadline).await?;
            let is_last = page.len() < PAGE;
            let has_occurrences = in_order.is_some() || !page.is_empty();
            for one in page {
                let in_order = *in_order.get_or_insert(one.not_before);
                let window = one.occurrence.window;
                let holds = window.holds(effective) && !matches!(one.occurrence.state, State::NotAsked);
                if holds || answers(&one, submission) {
                    return Ok((Some(one), true));
                }
                let is_in_order = one.not_before == in_order && one.occurrence.state != State::NotAsked;
                if is_in_order && window.closes <= effective && in_order.is_none_or(|from| from <= effective) {
                    return Ok((None, true));
                }
                below = Some(one.occurrence.number);
            }
            if is_last {
                return Ok((None, has_occurrences));
            }
        }
    }

    /// Ends the alerts that count the window of `answered` as missed: they are acknowledged by the answer, and stay.
    async fn resolve(&self, answered: &StoredOccurrence, completed: &Completed) -> Result<(), Failure> {
        let occurrence = &answered.occurrence;
        let may_alert =
            self.protocol.schedules().iter().any(|one| one.id == occurrence.schedule && one.missed.is_some());
        if self.now < occurrence.window.closes || !may_alert {
            return Ok(());
        }
        // After a change, windows may not be in the order of their numbers.
        let from = if answered.not_before.is_some() { 0 } else { occurrence.number };
        let from = Some((&occurrence.schedule, from));
        for mut later in self.store.occurrences(self.study, self.patient, from, self.deadline).await? {
            if !resolves(occurrence, &later.occurrence) {
                continue;
            }
            self.acknowledge(&later, completed).await?;
            let resolved = Resolved { number: occurrence.number, at: completed.received };
            later.occurrence.alert.iter_mut().for_each(|alert| alert.resolved = Some(resolved));
            if self.store.put_occurrence(&later, self.deadline).await? == Conditional::Changed {
                return Err(Failure::transient(OPERATION, "the missed occurrence was changed meanwhile"));
            }
        }
        Ok(())
    }

    async fn acknowledge(&self, missed: &StoredOccurrence, completed: &Completed) -> Result<(), Failure> {
        let Some(id) = missed.alert else { return Ok(()) };
        let Some(alert) = self.store.alert(self.study, [&missed.site], id, self.deadline).await? else { return Ok(()) };
        let principal = Principal::new(LATE_ANSWER, ISSUER).expect("both are printable");
        let actor = Actor { principal, role: "system".to_owned() };
        let at = offset_date_time(self.now.max(completed.received));
        let entry = Audit::by(actor, AuditAction::AlertAcknowledged, Some(self.study), "answered late", at);
        let entry = entry.at_site(&missed.site).of_patient(self.patient).about(id);
        let acknowledgement = Acknowledgement { by: LATE_ANSWER.to_owned(), at, note: None };
        self.store.acknowledge(&alert, acknowledgement, &entry, self.deadline).await.map(drop)
    }
}

fn answers(one: &StoredOccurrence, submission: SubmissionId) -> bool {
    matches!(one.occurrence.state, State::Done { submission: by, .. } if by == submission)
}
