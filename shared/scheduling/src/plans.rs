//! Makes occurrences ahead, and again when the registry or the study has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use clinical::ids::{PatientId, ScheduleId, SiteId, StudyId};
use clinical::schedules::{
    Occurrence, Plan, Position, Schedule, Series, State, Status, Subject, civil_date, timestamp,
};
use clinical::studies::Protocol;
use futures::stream::{self, StreamExt, TryStreamExt};
use invocation::aws::Failure;
use invocation::{Clock, Deadline, metrics};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use records::{ConditionalPut, MadeFor, Participation, Planning, Store, StoredOccurrence, StoredPlan};

use crate::answers::Answering;
use crate::due::now;

const OPERATION: &str = "the plan of a patient";
/// How far ahead occurrences are made: an app works offline for a week.
const AHEAD: SignedDuration = SignedDuration::from_hours(8 * 24);
/// How long before the next occurrence that is not made opens more are made.
const BEFORE_OPENING: SignedDuration = SignedDuration::from_hours(24);
const WRITES_AT_ONCE: usize = 8;

/// The occurrences of a patient as they are, whether a run of `sweep` has made them yet or not.
#[derive(Debug)]
pub struct Seen {
    /// Those of each schedule from the first that was asked for on, by schedule and number.
    pub occurrences: Vec<StoredOccurrence>,
    /// The IANA name of the zone of their times; `None` for a patient who does not take part.
    pub time_zone: Option<String>,
}

/// Makes the occurrences of `patient` that are due to be made, and stores how far they are made. Returns how many were
/// made or moved. If it ends early, the next run does the rest.
///
/// # Errors
/// If the store did not confirm it.
pub async fn plan(
    store: &Store,
    study: &StudyId,
    patient: &PatientId,
    clock: Clock,
    deadline: Deadline,
) -> Result<u64, Failure> {
    let now = now(clock)?;
    let Some(mut planned) = Planned::of(store, study, patient, now, deadline).await? else { return Ok(0) };
    // What was due before the change is worked off first, and an environment that does not know the version yet leaves it
    // to another. The plan stays due.
    if planned.waits_for_due || planned.waits_for_version {
        return Ok(0);
    }
    // What was answered before the change moves no more, whether the answer is recorded yet or not.
    let answering = Answering { store, study, patient, protocol: &planned.protocol, now, deadline };
    if answering.record_stored(&planned.moved).await? {
        match Planned::of(store, study, patient, now, deadline).await? {
            Some(again) => planned = again,
            None => return Ok(0),
        }
    }
    let writes = planned.changed.iter().map(|one| async move {
        match store.put_occurrence(one, deadline).await? {
            ConditionalPut::Stored => Ok(1),
            ConditionalPut::Changed => Err(Failure::transient(OPERATION, "an occurrence was changed meanwhile")),
        }
    });
    let made: Vec<u64> =
        stream::iter(writes.collect::<Vec<_>>()).buffer_unordered(WRITES_AT_ONCE).try_collect().await?;
    // After the occurrences, so that a run that ends before it makes those again that are missing.
    store.put_plan(&planned.plan, deadline).await?;
    let made: u64 = made.into_iter().sum();
    if made > 0 {
        metrics::report(metrics::OCCURRENCES_MADE, made);
    }
    Ok(made)
}

/// The occurrences of `patient` whose windows close after `from`, and the later ones of the week ahead.
///
/// # Errors
/// If the store did not return them in time.
pub async fn seen(
    store: &Store,
    study: &StudyId,
    patient: &PatientId,
    from: Timestamp,
    clock: Clock,
    deadline: Deadline,
) -> Result<Seen, Failure> {
    let now = now(clock)?;
    let Some(planned) = Planned::of(store, study, patient, now, deadline).await? else {
        return Ok(Seen { occurrences: Vec::new(), time_zone: None });
    };
    let name = |one: &StoredOccurrence| (one.occurrence.schedule.clone(), one.occurrence.number);
    let mut all = BTreeMap::new();
    for (schedule, position) in &planned.plan.positions {
        // After a change, windows may not be in the order of their numbers.
        let in_order = position.not_before == Timestamp::MIN;
        let first = planned.first_after(schedule, from).filter(|_| in_order).unwrap_or(0);
        let stored = store.occurrences(study, patient, Some((schedule, first)), deadline).await?;
        all.extend(stored.into_iter().map(|one| (name(&one), one)));
    }
    all.extend(planned.changed.into_iter().map(|one| (name(&one), one)));
    let occurrences = all.into_values().filter(|one| one.occurrence.window.closes > from).collect();
    Ok(Seen { occurrences, time_zone: planned.plan.made_for.map(|made_for| made_for.time_zone) })
}

/// A plan as it is to be stored, with the occurrences that are to be stored before it.
struct Planned {
    protocol: Arc<Protocol>,
    subject: Subject,
    plan: StoredPlan,
    changed: Vec<StoredOccurrence>,
    /// Those of them that were open, as they are stored.
    moved: Vec<StoredOccurrence>,
    /// Whether an occurrence is due at the time of the change.
    waits_for_due: bool,
    /// Whether it is to be made for a later version of the study than the one that is known here.
    waits_for_version: bool,
}

impl Planned {
    /// What is to be planned for `patient` now; `None` if nothing is known of the patient.
    async fn of(
        store: &Store,
        study: &StudyId,
        patient: &PatientId,
        now: Timestamp,
        deadline: Deadline,
    ) -> Result<Option<Self>, Failure> {
        let Planning { plan, participation } = store.planning(study, patient, deadline).await?;
        let plan = plan.unwrap_or_else(|| StoredPlan::new(study.clone(), patient.clone()));
        let protocol = store.protocol(study, deadline).await?;
        let Some(made_for) = made_for(store, &plan, participation, &protocol, deadline).await? else {
            return Ok(None);
        };
        let schedules: BTreeSet<&ScheduleId> =
            protocol.schedules().iter().map(|schedule| &schedule.id).chain(plan.positions.keys()).collect();
        // Of a marked plan, a run that ended early may have stored occurrences for what was changed back since.
        let is_changed = plan.changed_at.is_some() || plan.made_for.as_ref() != Some(&made_for);
        let stored = if is_changed {
            store.occurrences(study, patient, None, deadline).await?
        } else {
            let mut ahead = Vec::new();
            for schedule in &schedules {
                let made = plan.positions.get(*schedule).map_or(0, |position| position.made);
                ahead.extend(store.occurrences(study, patient, Some((schedule, made + 1)), deadline).await?);
            }
            ahead
        };
        let at = plan.changed_at.and_then(timestamp).unwrap_or(now).min(now);
        let making = Making { plan: &plan, made_for: &made_for, is_changed, at, now };
        let subject = subject(&made_for);
        let mut planned = Self {
            protocol: Arc::clone(&protocol),
            subject: subject.clone(),
            plan: plan.clone().made_again(made_for.clone()),
            changed: Vec::new(),
            moved: Vec::new(),
            waits_for_version: plan.for_version > made_for.study_version,
            waits_for_due: is_changed && stored.iter().any(|one| one.wakes_at().is_some_and(|wakes| wakes <= at)),
        };
        for id in schedules {
            let schedule = protocol.schedules_for(&made_for.site, made_for.group.as_ref()).find(|one| one.id == *id);
            let definition = protocol.schedules().iter().find(|one| one.id == *id);
            let stored = stored.iter().filter(|one| one.occurrence.schedule == *id).collect();
            planned.add(id, definition, schedule, &subject, stored, &making);
        }
        Ok(Some(planned))
    }

    /// The number of the first occurrence of `schedule` that closes after `from`, as it is planned now.
    fn first_after(&self, schedule: &ScheduleId, from: Timestamp) -> Option<u32> {
        let schedule = self.protocol.schedules().iter().find(|one| one.id == *schedule)?;
        Plan::of(schedule, &self.subject).map(|plan| plan.first_closing_after(from))
    }

    /// Adds the schedule `id`, with its definition if the study still has it, `asked` if the patient's site and group are
    /// asked, and the stored occurrences that may change.
    fn add(
        &mut self,
        id: &ScheduleId,
        definition: Option<&Schedule>,
        asked: Option<&Schedule>,
        subject: &Subject,
        stored: Vec<&StoredOccurrence>,
        making: &Making<'_>,
    ) {
        let position = making.plan.positions.get(id).copied().unwrap_or_default();
        let Some(definition) = definition else {
            // The study does not have it any more: what is open stays, the rest is not asked.
            for one in stored {
                let mut occurrence = one.occurrence.clone();
                if occurrence.state == State::Waiting && occurrence.window.opens > making.at {
                    occurrence.state = State::NotAsked;
                    occurrence.reminders.clear();
                }
                self.put(Some(one), occurrence, position, making);
            }
            self.plan.positions.insert(id.clone(), position);
            return;
        };
        let plan = asked.and_then(|schedule| Plan::of(schedule, subject));
        let mut series = Series::of(position, stored.iter().map(|one| one.occurrence.clone()));
        match subject.withdrawn_at {
            Some(at) if making.is_changed => drop(series.withdraw(definition, None, at)),
            None if making.is_changed => drop(series.change(definition, None, plan.as_ref(), making.at)),
            _ => {}
        }
        if let Some(plan) = &plan {
            let ahead = making.now.checked_add(AHEAD).unwrap_or(Timestamp::MAX);
            series.advance(definition, Some(plan), Timestamp::MIN, ahead);
            let next = plan.window(series.position().made + 1).map(|window| window.opens);
            let wakes_at = next.map(|opens| opens.checked_sub(BEFORE_OPENING).unwrap_or(opens));
            self.plan.wakes_at = self.plan.wakes_at.into_iter().chain(wakes_at).min();
        }
        for (number, occurrence) in series.occurrences() {
            let before = stored.iter().find(|one| one.occurrence.number == *number).copied();
            self.put(before, occurrence.clone(), series.position(), making);
        }
        self.plan.positions.insert(id.clone(), series.position());
    }

    /// Adds `occurrence`, if it is new or not as `before`.
    fn put(
        &mut self,
        before: Option<&StoredOccurrence>,
        occurrence: Occurrence,
        position: Position,
        making: &Making<'_>,
    ) {
        let site = &making.made_for.site;
        let waits = occurrence.state == State::Waiting;
        // An open one is for the site that is responsible now.
        let is_same = before.is_some_and(|one| one.occurrence == occurrence && (!waits || one.site == *site));
        if is_same {
            return;
        }
        let StoredPlan { study, patient, .. } = &self.plan;
        let is_moved = before.is_none_or(|one| {
            one.occurrence.window != occurrence.window
                || (one.occurrence.state == State::NotAsked) != (occurrence.state == State::NotAsked)
        });
        self.moved.extend(before.filter(|one| is_moved && one.occurrence.status(making.now) == Status::Open).cloned());
        let mut one = match before {
            Some(before) => before.clone().with(occurrence),
            None => StoredOccurrence::new(study.clone(), patient.clone(), site.clone(), occurrence),
        };
        if waits {
            one.site = site.clone();
        }
        if is_moved {
            one.not_before = Some(position.not_before).filter(|from| *from != Timestamp::MIN);
            one.looks_back = waits && one.occurrence.window.opens <= making.now;
        }
        self.changed.push(one);
    }
}

/// What occurrences are made from.
struct Making<'a> {
    /// The stored plan.
    plan: &'a StoredPlan,
    made_for: &'a MadeFor,
    is_changed: bool,
    /// Since when the change is known.
    at: Timestamp,
    now: Timestamp,
}

/// What the occurrences of a patient are to be made for; `None` if nothing is known of the patient.
async fn made_for(
    store: &Store,
    plan: &StoredPlan,
    participation: Participation,
    protocol: &Protocol,
    deadline: Deadline,
) -> Result<Option<MadeFor>, Failure> {
    let study = protocol.study();
    let study_version = study.map(|study| study.version().clone());
    let site_zone = |site: &SiteId| {
        let known = study.and_then(|study| study.site(site));
        known.map_or_else(|| "UTC".to_owned(), |site| site.time_zone.clone())
    };
    let out_of_range = || Failure::unreadable(OPERATION, "a day is out of range");
    Ok(match participation {
        Participation::None => None,
        Participation::BySubmission(site) => {
            let known = plan.made_for.as_ref().map(|made_for| made_for.enrolled_on);
            let enrolled_on = match known {
                Some(on) => Some(on),
                // By the clock of the site, as its windows are: the device may have been anywhere.
                None => store
                    .first_received_at(&plan.study, &plan.patient, deadline)
                    .await?
                    .map(|at| timestamp(at).ok_or_else(out_of_range))
                    .transpose()?
                    .map(|at| zone(&site_zone(&site)).to_datetime(at).date()),
            };
            enrolled_on.map(|enrolled_on| MadeFor {
                study_version,
                time_zone: site_zone(&site),
                site,
                enrolled_on,
                group: None,
                events: BTreeMap::new(),
                withdrawn_at: None,
            })
        }
        Participation::Registered(registration) => {
            let events = registration
                .events
                .iter()
                .map(|(event, on)| Ok((event.clone(), civil_date(*on).ok_or_else(out_of_range)?)));
            Some(MadeFor {
                study_version,
                enrolled_on: civil_date(registration.enrolled_on).ok_or_else(out_of_range)?,
                time_zone: registration.time_zone.unwrap_or_else(|| site_zone(&registration.site)),
                group: registration.group,
                events: events.collect::<Result<_, Failure>>()?,
                withdrawn_at: registration.withdrawal.and_then(|withdrawal| timestamp(withdrawal.at)),
                site: registration.site,
            })
        }
    })
}

fn subject(made_for: &MadeFor) -> Subject {
    Subject {
        site: made_for.site.clone(),
        enrolled_on: made_for.enrolled_on,
        zone: zone(&made_for.time_zone),
        group: made_for.group.clone(),
        events: made_for.events.clone(),
        withdrawn_at: made_for.withdrawn_at,
    }
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or_else(|_| {
        // Checked when it was entered, so that this database is older than that one.
        tracing::error!(event = "time_zone_unknown", time_zone = name);
        TimeZone::UTC
    })
}
