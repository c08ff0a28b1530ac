//! Works off the occurrences that are due: reminders, and windows that have closed.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use clinical::ids::{PatientId, StudyId};
use clinical::schedules::{Missed, MissedAlert, State, alert_of, timestamp};
use clinical::studies::Protocol;
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use invocation::aws::Failure;
use invocation::{Clock, Deadline, metrics};
use jiff::{SignedDuration, Timestamp};
use notifications::ReminderTopic;
use records::{Alert, Conditional, Store, StoredOccurrence};

use crate::answers::Answering;
use crate::reminders::reminder;

const OPERATION: &str = "what is due of an occurrence";
/// Patients whose occurrences are worked off at the same time.
const PATIENTS_AT_ONCE: usize = 16;
/// How far the clock of a phone may be behind when it makes the id of a submission. One that is made by a clock further
/// behind answers when it is scored.
const CLOCKS: SignedDuration = SignedDuration::from_hours(48);

/// What works off occurrences in one run.
#[derive(Debug)]
pub struct Due {
    store: Store,
    reminders: ReminderTopic,
    /// Whether SNS did not accept a reminder in this run: no other one waits for it, so that an outage delays no closing.
    failed: AtomicBool,
}

/// What became of occurrences that were due.
#[derive(Debug, Default)]
pub struct WorkedOff {
    /// The number of reminders that were published.
    pub reminded: u64,
    /// The number of windows that were found missed.
    pub missed: u64,
    /// The number of reminders that were not tried, since SNS had not accepted another.
    pub postponed: u64,
    /// The alerts that were raised, which are to be published.
    pub alerts: Vec<Alert>,
    /// The failures, each of one patient. The next run continues there.
    pub failures: Vec<Failure>,
}

impl Due {
    /// One run on `store` and the topic of `reminders`.
    pub fn new(store: Store, reminders: ReminderTopic) -> Self {
        Self { store, reminders, failed: AtomicBool::new(false) }
    }

    /// Works off `occurrences`, which are on the list of what is due: those of a patient one after the other.
    pub async fn work_off(&self, occurrences: Vec<StoredOccurrence>, clock: Clock, deadline: Deadline) -> WorkedOff {
        let mut of_patients: BTreeMap<(StudyId, PatientId), Vec<StoredOccurrence>> = BTreeMap::new();
        for one in occurrences {
            of_patients.entry((one.study.clone(), one.patient.clone())).or_default().push(one);
        }
        let worked_off = of_patients.into_iter().map(|((study, patient), mut occurrences)| async move {
            let mut worked_off = WorkedOff::default();
            // A window that is missed counts with those that were missed before it.
            occurrences.sort_by_key(|one| (one.occurrence.window, one.occurrence.schedule.clone()));
            let result = self.of_patient(&study, &patient, occurrences, &mut worked_off, clock, deadline);
            // A panic over one patient does not affect the others.
            let result = AssertUnwindSafe(result).catch_unwind().await;
            let result = result.unwrap_or_else(|_| Err(Failure::unreadable(OPERATION, "it panicked")));
            worked_off.failures.extend(result.err());
            worked_off
        });
        let each: Vec<WorkedOff> =
            stream::iter(worked_off.collect::<Vec<_>>()).buffer_unordered(PATIENTS_AT_ONCE).collect().await;
        let mut all = WorkedOff::default();
        for one in each {
            all.reminded += one.reminded;
            all.missed += one.missed;
            all.postponed += one.postponed;
            all.alerts.extend(one.alerts);
            all.failures.extend(one.failures);
        }
        all
    }

    async fn of_patient(
        &self,
        study: &StudyId,
        patient: &PatientId,
        occurrences: Vec<StoredOccurrence>,
        worked_off: &mut WorkedOff,
        clock: Clock,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        let protocol = self.store.protocol(study, deadline).await?;
        for one in occurrences {
            let now = now(clock)?;
            let answering = Answering { store: &self.store, study, patient, protocol: &protocol, now, deadline };
            if let Some(one) = self.unanswered(one, &answering).await? {
                self.one(one, &protocol, now, worked_off, clock, deadline).await?;
            }
        }
        Ok(())
    }

    /// `one` as it is stored, unless a stored submission answers it.
    async fn unanswered(
        &self,
        one: StoredOccurrence,
        answering: &Answering<'_>,
    ) -> Result<Option<StoredOccurrence>, Failure> {
        let Answering { study, patient, deadline, .. } = *answering;
        let window = one.occurrence.window;
        let from = (!one.looks_back).then(|| window.opens.checked_sub(CLOCKS).unwrap_or(Timestamp::MIN));
        let completed = self.store.completed(study, patient, from, deadline).await?;
        let mut may_be_answered = false;
        for completed in completed {
            if completed.instrument == one.occurrence.instrument && window.holds(completed.effective) {
                answering.record(&completed, std::slice::from_ref(&one)).await?;
                may_be_answered = true;
            }
        }
        if !may_be_answered {
            return Ok(Some(one));
        }
        let (schedule, number) = (&one.occurrence.schedule, one.occurrence.number);
        let one = self.store.occurrence(study, patient, schedule, number, deadline).await?;
        Ok(one.filter(|one| one.occurrence.state == State::Waiting))
    }

    /// Publishes the reminders of `one` that are due, and marks it as missed if its window has closed.
    async fn one(
        &self,
        mut one: StoredOccurrence,
        protocol: &Protocol,
        now: Timestamp,
        worked_off: &mut WorkedOff,
        clock: Clock,
        deadline: Deadline,
    ) -> Result<(), Failure> {
        one.looks_back = false;
        let due = one.occurrence.take_reminders(now);
        if !one.occurrence.close(now) {
            // Published before it is marked, so that each is published at least once. Of several that are due at once, as
            // after an outage, one is enough.
            if let Some(at) = due.last() {
                if self.failed.load(Ordering::Relaxed) {
                    worked_off.postponed += 1;
                    return Ok(());
                }
                let published = self.reminders.publish(&reminder(&one, *at), deadline).await;
                published.inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
                worked_off.reminded += 1;
                metrics::report(metrics::REMINDERS_PUBLISHED, 1);
            }
            return self.store.put_occurrence(&one, deadline).await.map(drop);
        }
        let schedule = protocol.schedules().iter().find(|schedule| schedule.id == one.occurrence.schedule);
        let Some((missed, alert)) =
            self.alert(&one, schedule.and_then(|schedule| schedule.missed), now, deadline).await?
        else {
            if self.store.put_occurrence(&one, deadline).await? == Conditional::Stored {
                worked_off.missed += 1;
                metrics::report(metrics::WINDOWS_MISSED, 1);
            }
            return Ok(());
        };
        one.occurrence.alert = Some(alert);
        if let Some(alert) = self.store.raise_missed(&one, missed.severity, clock.now(), deadline).await? {
            worked_off.missed += 1;
            metrics::report(metrics::WINDOWS_MISSED, 1);
            worked_off.alerts.push(alert);
        }
        Ok(())
    }

    /// The alert that `one`, which is missed, raises, with what the study says of it.
    async fn alert(
        &self,
        one: &StoredOccurrence,
        missed: Option<Missed>,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Option<(Missed, MissedAlert)>, Failure> {
        let Some(missed) = missed else { return Ok(None) };
        let before = match missed.after {
            0 | 1 => Vec::new(),
            after => self.settled_before(one, after as usize - 1, now, deadline).await?,
        };
        let before = before.iter().map(|before| &before.occurrence);
        Ok(alert_of(&one.occurrence, before, missed.after).map(|alert| (missed, alert)))
    }

    /// The answered and the missed occurrences of its schedule that opened before `one`, the latest first: `most` of them,
    /// or all.
    async fn settled_before(
        &self,
        one: &StoredOccurrence,
        most: usize,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Vec<StoredOccurrence>, Failure> {
        let StoredOccurrence { study, patient, occurrence, .. } = one;
        // After a change, windows may not be in the order of their numbers.
        let is_in_order = one.not_before.is_none();
        let mut below = is_in_order.then_some(occurrence.number);
        let mut settled = Vec::new();
        loop {
            let of = (&occurrence.schedule, below);
            let page = self.store.occurrences_below(study, patient, of, most.max(10), deadline).await?;
            let Some(last) = page.last() else { break };
            below = Some(last.occurrence.number);
            for earlier in page.into_iter().filter(|page| page.occurrence.window.opens < occurrence.window.opens) {
                match earlier.occurrence.state {
                    State::Done { .. } | State::Missed => settled.push(earlier),
                    // Another run works it off, and its outcome decides this one's.
                    State::Waiting if earlier.occurrence.window.closes <= now => {
                        return Err(Failure::transient(OPERATION, "an earlier window is still to be worked off"));
                    }
                    State::Waiting | State::NotAsked | State::Ended { .. } => {}
                }
            }
            if is_in_order && settled.len() >= most {
                break;
            }
        }
        settled.sort_by_key(|earlier| std::cmp::Reverse(earlier.occurrence.window.opens));
        Ok(settled)
    }
}

/// The time of `clock` in the calendar of schedules.
pub(crate) fn now(clock: Clock) -> Result<Timestamp, Failure> {
    timestamp(clock.now()).ok_or_else(|| Failure::unreadable(OPERATION, "the time is out of range"))
}
