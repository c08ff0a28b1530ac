//! Which occurrence a submission answers, recorded once, whatever was recorded before.

use std::collections::BTreeMap;

use clinical::ids::{PatientId, ScheduleId, StudyId, SubmissionId};
use clinical::schedules::{Resolved, Schedule, State, answered_by, offset_date_time, resolves, timestamp};
use clinical::studies::Protocol;
use invocation::aws::Failure;
use invocation::{Deadline, Principal};
use jiff::{SignedDuration, Timestamp};
use records::{
    Acknowledgement, Actor, Audit, AuditAction, Completed, ConditionalPut, Store, StoredOccurrence, Submission,
};
use time::OffsetDateTime;

const OPERATION: &str = "the record of an answer";
/// The number of occurrences that are read at once: a diary's answer is among the last few of a week ahead.
const PAGE: usize = 10;
/// How often a decision is made again because something else was stored in between.
const ATTEMPTS: u32 = 6;
/// How far the clock of a phone may be behind when it makes the id of a submission. One that is made by a clock further
/// behind answers when it is scored.
const CLOCKS: SignedDuration = SignedDuration::from_hours(48);
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
    // What was asked before the study dropped all schedules is still answered.
    if submission.amends.is_some() || !store.has_asked(protocol, deadline).await? {
        return Ok(());
    }
    let completed = completed(submission)?;
    let (study, patient, now) = (&submission.study, &submission.patient, instant(now)?);
    let answering = Answering { store, study, patient, protocol, now, deadline };
    let has_occurrences = answering.record(&completed, &[]).await?;
    let is_asked = protocol.schedules().iter().any(|one| one.instrument == submission.instrument.id);
    if is_asked && !has_occurrences && !store.has_plan(study, patient, deadline).await? {
        store.begin_plan(study, patient, submission.received_at, deadline).await?;
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
        self.record_except(completed, also, &[], true).await
    }

    /// Records the stored submissions, scored or not, whose effective time is in the window of one of `occurrences`.
    /// Returns whether there are any: then these may be answered by now.
    pub(crate) async fn record_stored(&self, occurrences: &[StoredOccurrence]) -> Result<bool, Failure> {
        // The least is `None`: from any.
        let Some(from) = occurrences.iter().map(searched_from).min() else { return Ok(false) };
        let mut any = false;
        for completed in self.store.completed(self.study, self.patient, from, self.deadline).await? {
            let is_in = |one: &StoredOccurrence| {
                one.occurrence.instrument == completed.instrument && one.occurrence.window.holds(completed.effective)
            };
            if occurrences.iter().any(is_in) {
                self.record(&completed, occurrences).await?;
                any = true;
            }
        }
        Ok(any)
    }

    /// As [`Self::record`], in none of the occurrences `except`. Without `looks_back`, what was stored before is not searched
    /// for another answer.
    async fn record_except(
        &self,
        completed: &Completed,
        also: &[StoredOccurrence],
        except: &[Name],
        mut looks_back: bool,
    ) -> Result<bool, Failure> {
        for _ in 0..ATTEMPTS {
            let (mut candidates, has_occurrences) = self.candidates(completed, also).await?;
            candidates.retain(|one| !except.contains(&name(one)));
            let answered = candidates.iter().find(|one| answers(one, completed.submission));
            if let Some(answered) = answered {
                self.resolve(answered, completed).await?;
                return Ok(true);
            }
            let displaced = self.displace(&mut candidates, completed).await?;
            let fitting = candidates.iter().map(|one| &one.occurrence);
            let Some(found) = answered_by(fitting, &completed.instrument, completed.effective) else {
                return Ok(has_occurrences);
            };
            let found = (found.schedule.clone(), found.number);
            if std::mem::take(&mut looks_back)
                && let Some(one) = candidates.iter().find(|one| name(one) == found)
            {
                // What was received before counts, also where its own answer was not recorded.
                let earlier = self.received_before(completed, one).await?;
                for earlier in &earlier {
                    Box::pin(self.record_except(earlier, also, &[], false)).await?;
                }
                if !earlier.is_empty() {
                    continue;
                }
            }
            if let Some(displaced) = displaced.get(&found) {
                // It answers another one first, so that a process that ends between the two leaves it with one.
                let except: Vec<Name> = except.iter().chain([&found]).cloned().collect();
                Box::pin(self.record_except(displaced, also, &except, false)).await?;
            }
            let Some(mut answered) = candidates.into_iter().find(|one| name(one) == found) else { return Ok(true) };
            answered.occurrence.answer(completed.submission, completed.received);
            answered.looks_back = false;
            if self.store.put_occurrence(&answered, self.deadline).await? == ConditionalPut::Stored {
                self.resolve(&answered, completed).await?;
                return Ok(true);
            }
        }
        Err(Failure::transient(OPERATION, "the occurrence was changed each time"))
    }

    /// The stored submissions of the patient that are no corrections and were received before `completed`, in this order:
    /// those that may answer `one`, or, where no run of `sweep` has searched for it yet, any.
    async fn received_before(&self, completed: &Completed, one: &StoredOccurrence) -> Result<Vec<Completed>, Failure> {
        let mut stored = self.store.completed(self.study, self.patient, searched_from(one), self.deadline).await?;
        stored.retain(|other| (other.received, other.submission) < (completed.received, completed.submission));
        stored.retain(|other| other.instrument == completed.instrument);
        stored.retain(|other| one.looks_back || one.occurrence.window.holds(other.effective));
        Ok(stored)
    }

    /// Opens those of `candidates` that a submission received after `completed` answers: of several, the one that was
    /// received first counts, whichever was processed first. Returns these submissions.
    async fn displace(
        &self,
        candidates: &mut [StoredOccurrence],
        completed: &Completed,
    ) -> Result<BTreeMap<Name, Completed>, Failure> {
        let mut displaced = BTreeMap::new();
        for one in candidates {
            let State::Done { submission, .. } = one.occurrence.state else { continue };
            let stored = self.store.submission(self.study, self.patient, &submission, self.deadline).await?;
            let Some((stored, _)) = stored else { continue };
            let other = self::completed(&stored)?;
            if (completed.received, completed.submission) < (other.received, other.submission) {
                one.occurrence.state = State::Missed;
                displaced.insert(name(one), other);
            }
        }
        Ok(displaced)
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
            let (found, has) = self.in_schedule(&schedule.id, completed).await?;
            has_occurrences |= has;
            candidates.extend(found);
        }
        // What was asked before the study changed is still answered. Only what answers nothing else pays for the search.
        if candidates.is_empty() && also.is_empty() {
            for schedule in self.dropped_schedules().await? {
                candidates.extend(self.in_schedule(&schedule, completed).await?.0);
            }
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

    /// The schedules that the patient was asked by and that the study does not have any more.
    async fn dropped_schedules(&self) -> Result<Vec<ScheduleId>, Failure> {
        let mut planned = self.store.planned_schedules(self.study, self.patient, self.deadline).await?;
        planned.retain(|id| !self.protocol.schedules().iter().any(|one| one.id == *id));
        Ok(planned)
    }

    /// `one` as it is stored now.
    pub(crate) async fn read_again(&self, one: &StoredOccurrence) -> Result<Option<StoredOccurrence>, Failure> {
        let (schedule, number) = (&one.occurrence.schedule, one.occurrence.number);
        self.store.occurrence(self.study, self.patient, schedule, number, self.deadline).await
    }

    /// The occurrence of `schedule` whose window holds the effective time of `completed`, or that it answers, and whether
    /// there is any occurrence. Read from the last one back: an answer that comes late costs as much as it is late.
    async fn in_schedule(
        &self,
        schedule: &ScheduleId,
        completed: &Completed,
    ) -> Result<(Option<StoredOccurrence>, bool), Failure> {
        let Completed { submission, effective, .. } = *completed;
        let mut below = None;
        // The occurrences that moved last, or of a schedule of which none has moved, are in the order of their numbers.
        let mut in_order = None;
        loop {
            let of = (schedule, below);
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
        // A schedule that raises no alert any more may have raised one before the study changed. An open window is in no
        // alert but one of its own, which a clock that is fast has raised.
        if self.now < occurrence.window.closes && occurrence.alert.is_none() {
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
            if self.store.put_occurrence(&later, self.deadline).await? == ConditionalPut::Changed {
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

/// From which time on a submission that answers `one` has its id; `None`: from any.
fn searched_from(one: &StoredOccurrence) -> Option<Timestamp> {
    if one.looks_back { None } else { one.occurrence.window.opens.checked_sub(CLOCKS).ok() }
}

/// The schedule of an occurrence, and its number there.
type Name = (ScheduleId, u32);

fn name(one: &StoredOccurrence) -> Name {
    (one.occurrence.schedule.clone(), one.occurrence.number)
}

/// `submission`, as far as it can answer an occurrence.
fn completed(submission: &Submission) -> Result<Completed, Failure> {
    Ok(Completed {
        submission: submission.id,
        instrument: submission.instrument.id.clone(),
        effective: instant(submission.effective_at)?,
        received: instant(submission.received_at)?,
    })
}

fn instant(at: OffsetDateTime) -> Result<Timestamp, Failure> {
    timestamp(at).ok_or_else(|| Failure::unreadable(OPERATION, "a time is out of range"))
}

fn answers(one: &StoredOccurrence, submission: SubmissionId) -> bool {
    matches!(one.occurrence.state, State::Done { submission: by, .. } if by == submission)
}
