//! Works off the occurrences that are due: reminders, and windows that have closed.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use clinical::ids::{PatientId, StudyId};
use clinical::schedules::{Missed, State, Window, alert_of, timestamp};
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use invocation::aws::Failure;
use invocation::{Clock, Deadline, metrics};
use jiff::{SignedDuration, Timestamp};
use notifications::ReminderTopic;
use records::{Alert, ConditionalPut, Store, StoredOccurrence};

use crate::answers::Answering;
use crate::reminders::reminder;

const OPERATION: &str = "what is due of an occurrence";
/// Patients whose occurrences are worked off at the same time.
const PATIENTS_AT_ONCE: usize = 16;
/// How long after a window has closed it is found missed. A submission that was received in the window is stored by then:
/// an invocation of `submit` lasts ten seconds at most.
const IN_FLIGHT: SignedDuration = SignedDuration::from_secs(30);

/// One run over the occurrences that are due.
#[derive(Debug)]
pub struct DueRun {
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
    /// The alerts that were raised; those that are not quiet are to be published.
    pub alerts: Vec<Alert>,
    /// The failures, each of one occurrence or patient. The next run tries again.
    pub failures: Vec<Failure>,
}

impl DueRun {
    /// A run on `store` and the topic of `reminders`.
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
            // One that fails holds up no other: a later miss of its schedule waits for it by itself.
            if let Err(failure) = self.one(one, &answering, worked_off, clock).await {
                worked_off.failures.push(failure);
            }
        }
        Ok(())
    }

    /// `one` as it is stored, unless a stored submission answers it. Those of `before` whose answer is stored and not
    /// recorded are recorded too: returns whether one of them may be.
    async fn unanswered(
        &self,
        one: StoredOccurrence,
        before: &[StoredOccurrence],
        answering: &Answering<'_>,
    ) -> Result<Option<(StoredOccurrence, bool)>, Failure> {
        let missed = before.iter().filter(|before| before.occurrence.state == State::Missed);
        let searched: Vec<StoredOccurrence> = std::iter::once(&one).chain(missed).cloned().collect();
        if !answering.record_stored(&searched).await? {
            return Ok(Some((one, false)));
        }
        let one = answering.read_again(&one).await?;
        Ok(one.filter(|one| one.occurrence.state == State::Waiting).map(|one| (one, true)))
    }

    /// Records what answers `one`, or publishes its reminder that is due, or marks it as missed if its window has closed.
    async fn one(
        &self,
        one: StoredOccurrence,
        answering: &Answering<'_>,
        worked_off: &mut WorkedOff,
        clock: Clock,
    ) -> Result<(), Failure> {
        let Answering { now, deadline, .. } = *answering;
        let closes = one.occurrence.window.closes;
        if closes <= now {
            let is_stored = closes.checked_add(IN_FLIGHT).unwrap_or(Timestamp::MAX) <= now;
            return if is_stored { self.close(one, answering, worked_off, clock).await } else { Ok(()) };
        }
        let Some((mut one, _)) = self.unanswered(one, &[], answering).await? else { return Ok(()) };
        let looked_back = std::mem::take(&mut one.looks_back);
        // Published before it is marked, so that each is published at least once. Of several that are due at once, as
        // after an outage, one is enough.
        if let Some(at) = one.occurrence.take_reminders(now).last() {
            if self.failed.load(Ordering::Relaxed) {
                worked_off.postponed += 1;
                return Ok(());
            }
            let published = self.reminders.publish(&reminder(&one, *at), deadline).await;
            published.inspect_err(|_| self.failed.store(true, Ordering::Relaxed))?;
            worked_off.reminded += 1;
            metrics::report(metrics::REMINDERS_PUBLISHED, 1);
        } else if !looked_back {
            return Ok(());
        }
        self.store.put_occurrence(&one, deadline).await.map(drop)
    }

    /// Records what answers `one`, whose window has closed, or stores that it is missed, with the alert that it raises.
    /// It stays due where that cannot be decided yet, or where it was changed in the meantime.
    async fn close(
        &self,
        one: StoredOccurrence,
        answering: &Answering<'_>,
        worked_off: &mut WorkedOff,
        clock: Clock,
    ) -> Result<(), Failure> {
        let Answering { protocol, now, deadline, .. } = *answering;
        let schedule = protocol.schedules().iter().find(|schedule| schedule.id == one.occurrence.schedule);
        let missed = schedule.and_then(|schedule| schedule.missed);
        let before = Before::of(missed.as_ref(), &one);
        let Some(settled) = self.settled_before(&one, before, now, deadline).await? else { return Ok(()) };
        // A quiet period lasts whatever was answered in it.
        let counted = &settled[..settled.len().min(before.counted)];
        let Some((mut one, may_be_settled_anew)) = self.unanswered(one, counted, answering).await? else {
            return Ok(());
        };
        let settled = match may_be_settled_anew {
            true => self.settled_before(&one, before, now, deadline).await?,
            false => Some(settled),
        };
        let Some(before) = settled else { return Ok(()) };
        one.looks_back = false;
        one.occurrence.reminders.clear();
        if !one.occurrence.close(now) {
            return Ok(());
        }
        let raised = missed.and_then(|missed| {
            let alert = alert_of(&one.occurrence, before.iter().map(|before| &before.occurrence), &missed);
            Some((missed.severity, alert?))
        });
        let is_stored = match raised {
            None => self.store.put_occurrence(&one, deadline).await? == ConditionalPut::Stored,
            Some((severity, alert)) => {
                one.occurrence.alert = Some(alert);
                let counted = before.iter().filter(|before| before.occurrence.window.opens >= alert.since);
                let raised = self.store.raise_missed(&one, counted, severity, clock.now(), deadline).await?;
                let is_stored = raised.is_some();
                worked_off.alerts.extend(raised);
                is_stored
            }
        };
        if is_stored {
            worked_off.missed += 1;
            metrics::report(metrics::WINDOWS_MISSED, 1);
        }
        Ok(())
    }

    /// The answered and the missed occurrences of its schedule that opened before `one`, the latest first: at least those
    /// that `before` names. `None` while one of these is still to be worked off, whose outcome decides this one's.
    async fn settled_before(
        &self,
        one: &StoredOccurrence,
        before: Before,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Option<Vec<StoredOccurrence>>, Failure> {
        if before.counted == 0 && before.quiet_after.is_none() {
            return Ok(Some(Vec::new()));
        }
        let StoredOccurrence { study, patient, occurrence, .. } = one;
        // After a change, windows may not be in the order of their numbers.
        let is_in_order = one.not_before.is_none();
        let mut below = is_in_order.then_some(occurrence.number);
        let mut settled = Vec::new();
        loop {
            let of = (&occurrence.schedule, below);
            let page = self.store.occurrences_below(study, patient, of, before.counted.max(10), deadline).await?;
            let Some(last) = page.last() else { break };
            below = Some(last.occurrence.number);
            for earlier in page.into_iter().filter(|page| page.occurrence.window.opens < occurrence.window.opens) {
                match earlier.occurrence.state {
                    State::Done { .. } | State::Missed => settled.push(earlier),
                    State::Waiting if earlier.occurrence.window.closes <= now => return Ok(None),
                    State::Waiting | State::NotAsked | State::Ended { .. } => {}
                }
            }
            let is_last = |earliest: &StoredOccurrence| !before.may_silence(&earliest.occurrence.window);
            if is_in_order && settled.len() >= before.counted && settled.last().is_some_and(is_last) {
                break;
            }
        }
        settled.sort_by_key(|earlier| std::cmp::Reverse(earlier.occurrence.window.opens));
        Ok(Some(settled))
    }
}

/// Which occurrences before a missed one decide its alert.
#[derive(Clone, Copy, Default)]
struct Before {
    /// The number of those that it may count, and of those that decide whether an alert that counts one of these stands.
    counted: usize,
    /// A published alert of a window that closed after this time makes it a quiet one.
    quiet_after: Option<Timestamp>,
}

impl Before {
    fn of(missed: Option<&Missed>, one: &StoredOccurrence) -> Self {
        let Some(&Missed { after, quiet_hours, .. }) = missed else { return Self::default() };
        let closes = one.occurrence.window.closes;
        let since = |hours: u32| closes.checked_sub(SignedDuration::from_hours(hours.into())).unwrap_or(Timestamp::MIN);
        Self { counted: 2 * (after.max(1) as usize - 1), quiet_after: (quiet_hours > 0).then(|| since(quiet_hours)) }
    }

    /// Whether a published alert of `window` makes it a quiet one.
    fn may_silence(&self, window: &Window) -> bool {
        self.quiet_after.is_some_and(|after| window.closes > after)
    }
}

/// The time of `clock` in the calendar of schedules.
pub(crate) fn now(clock: Clock) -> Result<Timestamp, Failure> {
    timestamp(clock.now()).ok_or_else(|| Failure::unreadable(OPERATION, "the time is out of range"))
}
