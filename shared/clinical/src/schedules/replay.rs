//! The reference result for all that is known of one patient, independent of how often and how late it was worked off.
//!
//! The facts are applied in the order in which they became known, and every reminder and closing at its own time. A
//! submission that answers nothing when it is received answers a window that a later change gives its time. What is stored
//! must equal the result, except that a closing that was worked off late raises no alert for what was answered by then.
//! Verification and tests compare with it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::definition::Schedule;
use super::occurrence::{Occurrence, answered_by};
use super::plan::Plan;
use super::series::{Event, Series};
use super::subject::Subject;
use crate::ids::{EventId, GroupId, InstrumentId, ScheduleId, SiteId, SubmissionId};

/// A fact, with the time at which it became known.
#[derive(Debug, Clone)]
pub struct Known {
    /// The server's time at which it became known.
    pub at: Timestamp,
    /// The fact.
    pub fact: Fact,
}

/// What schedules depend on.
#[derive(Debug, Clone)]
pub enum Fact {
    /// The patient was enrolled, or the data of the enrolment changed.
    Enrolled {
        /// The site.
        site: SiteId,
        /// The day of enrolment.
        on: Date,
        /// The patient's time zone.
        zone: TimeZone,
        /// The group, if any.
        group: Option<GroupId>,
    },
    /// The patient lives in another time zone.
    ZoneChanged(TimeZone),
    /// A named event has a day, or another one.
    EventDated {
        /// The event.
        event: EventId,
        /// Its day.
        on: Date,
    },
    /// The patient withdrew.
    Withdrawn,
    /// A submission was received. A correction of another submission is not one: the other counts.
    Submitted {
        /// The submission.
        submission: SubmissionId,
        /// Its instrument.
        instrument: InstrumentId,
        /// When it was completed.
        effective: Timestamp,
    },
}

/// The result of a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// The occurrences that were made, with their states and alerts, by schedule and number.
    pub occurrences: BTreeMap<(ScheduleId, u32), Occurrence>,
    /// The reminders that became due.
    pub reminders: Vec<DueReminder>,
}

/// A reminder that became due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DueReminder {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The number of the occurrence.
    pub number: u32,
    /// The time.
    pub at: Timestamp,
}

/// Replays what was known of one patient at `now`, in any order. The result has the occurrences that open by `ahead`.
pub fn replay(schedules: &[Schedule], facts: &[Known], now: Timestamp, ahead: Timestamp) -> Replay {
    let mut facts: Vec<&Known> = facts.iter().filter(|known| known.at <= now).collect();
    facts.sort_by_key(|known| (known.at, rank(&known.fact)));
    let mut state = Replaying::default();
    state.series.extend(schedules.iter().map(|schedule| (schedule, Series::default())));
    for known in facts {
        state.apply(known);
    }
    state.advance(now, ahead);
    let occurrences =
        state.series.into_iter().flat_map(|(_, series)| series.occurrences().values().cloned().collect::<Vec<_>>());
    Replay {
        occurrences: occurrences.map(|one| ((one.schedule.clone(), one.number), one)).collect(),
        reminders: state.reminders,
    }
}

/// Of facts that became known at the same time, submissions are the last, in the order of their ids.
fn rank(fact: &Fact) -> Option<SubmissionId> {
    if let Fact::Submitted { submission, .. } = fact { Some(*submission) } else { None }
}

#[derive(Default)]
struct Replaying<'a> {
    subject: Option<Subject>,
    events: BTreeMap<EventId, Date>,
    series: Vec<(&'a Schedule, Series)>,
    reminders: Vec<DueReminder>,
    /// The submissions that answer nothing yet, in the order in which they were received.
    unrelated: Vec<Submitted<'a>>,
}

#[derive(Clone, Copy)]
struct Submitted<'a> {
    submission: SubmissionId,
    instrument: &'a InstrumentId,
    effective: Timestamp,
    received: Timestamp,
}

impl<'a> Replaying<'a> {
    fn apply(&mut self, Known { at, fact }: &'a Known) {
        let before = self.subject.clone();
        match fact {
            Fact::Submitted { submission, instrument, effective } => {
                self.advance(*at, *at);
                let submitted = Submitted { submission: *submission, instrument, effective: *effective, received: *at };
                if !self.submit(submitted) {
                    self.unrelated.push(submitted);
                }
                return;
            }
            Fact::Enrolled { site, on, zone, group } => {
                self.subject = Some(Subject {
                    site: site.clone(),
                    enrolled_on: *on,
                    zone: zone.clone(),
                    group: group.clone(),
                    events: self.events.clone(),
                    withdrawn_at: before.as_ref().and_then(|subject| subject.withdrawn_at),
                });
            }
            Fact::EventDated { event, on } => {
                self.events.insert(event.clone(), *on);
                self.subject.iter_mut().for_each(|subject| subject.events.clone_from(&self.events));
            }
            Fact::ZoneChanged(zone) => self.subject.iter_mut().for_each(|subject| subject.zone = zone.clone()),
            Fact::Withdrawn => {
                self.subject.iter_mut().for_each(|subject| subject.withdrawn_at = subject.withdrawn_at.or(Some(*at)));
            }
        }
        for (schedule, series) in &mut self.series {
            let from = before.as_ref().and_then(|subject| Plan::of(schedule, subject));
            let to = self.subject.as_ref().and_then(|subject| Plan::of(schedule, subject));
            let events = match fact {
                Fact::Withdrawn => series.withdraw(schedule, from.as_ref(), *at),
                _ => series.change(schedule, from.as_ref(), to.as_ref(), *at),
            };
            collect(&mut self.reminders, schedule, &events);
        }
        self.advance(*at, *at);
        let unrelated = std::mem::take(&mut self.unrelated);
        self.unrelated = unrelated.into_iter().filter(|submitted| !self.submit(*submitted)).collect();
    }

    fn advance(&mut self, now: Timestamp, ahead: Timestamp) {
        for (schedule, series) in &mut self.series {
            let plan = self.subject.as_ref().and_then(|subject| Plan::of(schedule, subject));
            let events = series.advance(schedule, plan.as_ref(), now, ahead);
            collect(&mut self.reminders, schedule, &events);
        }
    }

    /// Returns whether it answers an occurrence.
    fn submit(&mut self, Submitted { submission, instrument, effective, received }: Submitted<'_>) -> bool {
        let all = self.series.iter().flat_map(|(_, series)| series.occurrences().values());
        let Some((schedule, number)) =
            answered_by(all, instrument, effective).map(|found| (found.schedule.clone(), found.number))
        else {
            return false;
        };
        if let Some((_, series)) = self.series.iter_mut().find(|(one, _)| one.id == schedule) {
            series.answer(number, submission, received);
        }
        true
    }
}

fn collect(reminders: &mut Vec<DueReminder>, schedule: &Schedule, events: &[Event]) {
    reminders.extend(events.iter().filter_map(|event| match *event {
        Event::Reminded { number, at } => Some(DueReminder { schedule: schedule.id.clone(), number, at }),
        _ => None,
    }));
}
