//! A plain reference, written without the code that it checks: it enumerates the days one by one, plans all windows
//! anew at every change, and finds the instant of a local time by trying the offsets around it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use clinical::ids::SubmissionId;
use clinical::schedules::definition::{Anchor, End, Reminder, Schedule};
use clinical::schedules::{Fact, Known};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use crate::generate::{Year, ZONES};

/// What became of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Waiting,
    Answered { by: SubmissionId, late: bool },
    Missed,
    Ended,
}

/// A window, what became of it, and the alert that it raised: the opening of the first window of the row, whether it is
/// quiet, and the number that resolved it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) opens: Timestamp,
    pub(crate) closes: Timestamp,
    pub(crate) fate: Fate,
    pub(crate) alert: Option<(Timestamp, bool, Option<u32>)>,
}

/// What the reference knows of one schedule.
struct Diary<'a> {
    schedule: &'a Schedule,
    slots: BTreeMap<u32, Slot>,
    reminders: BTreeMap<u32, BTreeSet<Timestamp>>,
    reminded: BTreeSet<(u32, Timestamp)>,
    /// The numbers that were answered or missed, in this order.
    history: Vec<u32>,
    /// The standing alerts: the number that raised each, and the numbers that it counts.
    standing: BTreeMap<u32, BTreeSet<u32>>,
    /// The numbers that standing alerts count.
    counted: BTreeSet<u32>,
    first_day: Option<i64>,
}

#[derive(Clone)]
struct Patient {
    enrolled_on: i64,
    zone: TimeZone,
    group: String,
    withdrew: Option<Timestamp>,
}

/// The slots by schedule and number, and the reminders.
pub(crate) type Outcome = (BTreeMap<(String, u32), Slot>, BTreeSet<(String, u32, Timestamp)>);

pub(crate) fn outcome(year: &Year, ahead: Timestamp, clock: &mut Clock) -> Outcome {
    let mut diaries: Vec<Diary<'_>> = year.schedules.iter().map(Diary::new).collect();
    let mut patient: Option<Patient> = None;
    let mut events: BTreeMap<String, i64> = BTreeMap::new();
    let facts: Vec<&Known> = year.facts.iter().filter(|known| known.at <= year.now).collect();
    let mut unrelated = Vec::new();
    for (place, Known { at, fact }) in facts.iter().enumerate() {
        diaries.iter_mut().for_each(|diary| diary.pass(*at));
        match fact {
            Fact::Enrolled { on, zone, group, .. } => {
                let withdrew = patient.and_then(|patient| patient.withdrew);
                let group = group.as_ref().unwrap().to_string();
                patient = Some(Patient { enrolled_on: day_number(*on), zone: zone.clone(), group, withdrew });
            }
            Fact::ZoneChanged(zone) => patient.iter_mut().for_each(|patient| patient.zone = zone.clone()),
            Fact::EventDated { event, on } => {
                events.insert(event.to_string(), day_number(*on));
            }
            Fact::Withdrawn => {
                patient.iter_mut().for_each(|patient| patient.withdrew = patient.withdrew.or(Some(*at)));
                diaries.iter_mut().for_each(|diary| diary.end(*at));
                continue;
            }
            Fact::Submitted { submission, instrument, effective } => {
                let withdrew = patient.as_ref().and_then(|patient| patient.withdrew);
                let submitted = (*submission, *effective, *at);
                if !answer(&mut diaries, instrument.as_str(), submitted, withdrew) {
                    unrelated.push((instrument.as_str(), submitted));
                }
                continue;
            }
        }
        let Some(patient) = patient.as_ref().filter(|patient| patient.withdrew.is_none()) else { continue };
        // What opens after the next change is planned anew by then.
        let is_change = |known: &&&Known| !matches!(known.fact, Fact::Submitted { .. });
        let until = facts[place + 1..].iter().find(is_change).map_or(ahead, |known| known.at);
        for diary in &mut diaries {
            diary.plan(patient, &events, *at, until, clock);
        }
        unrelated.retain(|(instrument, submitted)| !answer(&mut diaries, instrument, *submitted, None));
    }
    let (mut slots, mut reminders) = (BTreeMap::new(), BTreeSet::new());
    for mut diary in diaries {
        diary.pass(year.now);
        let id = diary.schedule.id.to_string();
        let made = diary.slots.into_iter().filter(|(_, slot)| slot.opens <= ahead);
        slots.extend(made.map(|(number, slot)| ((id.clone(), number), slot)));
        reminders.extend(diary.reminded.into_iter().map(|(number, at)| (id.clone(), number, at)));
    }
    (slots, reminders)
}

fn answer(
    diaries: &mut [Diary<'_>],
    instrument: &str,
    (by, effective, received): (SubmissionId, Timestamp, Timestamp),
    withdrew: Option<Timestamp>,
) -> bool {
    let mut fitting = Vec::new();
    for (place, diary) in
        diaries.iter().enumerate().filter(|(_, diary)| diary.schedule.instrument.as_str() == instrument)
    {
        for (number, slot) in diary.slots.iter().filter(|(_, slot)| slot.opens <= effective && effective < slot.closes)
        {
            let is_free = match slot.fate {
                Fate::Waiting | Fate::Missed => true,
                Fate::Ended => effective < withdrew.unwrap(),
                Fate::Answered { .. } => false,
            };
            if is_free {
                fitting.push((slot.closes, diary.schedule.id.to_string(), *number, place));
            }
        }
    }
    fitting.sort();
    let Some((closes, _, number, place)) = fitting.into_iter().next() else { return false };
    let diary = &mut diaries[place];
    let slot = diary.slots.get_mut(&number).unwrap();
    if slot.fate == Fate::Waiting {
        diary.history.push(number);
    }
    slot.fate = Fate::Answered { by, late: received >= closes };
    diary.reminders.remove(&number);
    let resolved: Vec<u32> =
        diary.standing.iter().filter(|(_, row)| row.contains(&number)).map(|(raised, _)| *raised).collect();
    for raised in resolved {
        for counted in diary.standing.remove(&raised).unwrap() {
            diary.counted.remove(&counted);
        }
        diary.slots.get_mut(&raised).unwrap().alert.as_mut().unwrap().2 = Some(number);
    }
    true
}

impl<'a> Diary<'a> {
    fn new(schedule: &'a Schedule) -> Self {
        Self {
            schedule,
            slots: BTreeMap::new(),
            reminders: BTreeMap::new(),
            reminded: BTreeSet::new(),
            history: Vec::new(),
            standing: BTreeMap::new(),
            counted: BTreeSet::new(),
            first_day: None,
        }
    }

    /// Lets the time until `now` pass.
    fn pass(&mut self, now: Timestamp) {
        for (number, times) in &mut self.reminders {
            let later = times.split_off(&(now + SignedDuration::from_nanos(1)));
            self.reminded.extend(std::mem::replace(times, later).into_iter().map(|time| (*number, time)));
        }
        self.reminders.retain(|_, times| !times.is_empty());
        let closed = self.slots.iter().filter(|(_, slot)| slot.fate == Fate::Waiting && slot.closes <= now);
        let mut closed: Vec<(Timestamp, u32)> = closed.map(|(number, slot)| (slot.closes, *number)).collect();
        closed.sort_unstable();
        for (_, number) in closed {
            self.slots.get_mut(&number).unwrap().fate = Fate::Missed;
            self.history.push(number);
            self.alert(number);
        }
    }

    /// Whether a window of the schedule that raised an alert which is not quiet closed less than so many seconds before.
    fn is_quiet(&self, number: u32, seconds: i64) -> bool {
        let until = self.slots[&number].closes.as_second();
        let loud = self.slots.values().filter(|slot| matches!(slot.alert, Some((_, false, _))));
        seconds > 0 && loud.map(|slot| until - slot.closes.as_second()).any(|since| since < seconds)
    }

    /// The alert of a window that was missed: the last windows, up to this one, which no standing alert counts.
    fn alert(&mut self, number: u32) {
        let Some(missed) = self.schedule.missed else { return };
        let mut row = BTreeSet::new();
        for last in self.history.iter().rev() {
            if self.slots[last].fate != Fate::Missed || self.counted.contains(last) {
                return;
            }
            row.insert(*last);
            if row.len() == missed.after as usize {
                let since = self.slots[last].opens;
                let quiet = self.is_quiet(number, i64::from(missed.quiet_hours) * 3600);
                self.slots.get_mut(&number).unwrap().alert = Some((since, quiet, None));
                self.counted.extend(&row);
                self.standing.insert(number, row);
                return;
            }
        }
    }

    fn end(&mut self, at: Timestamp) {
        self.slots.retain(|_, slot| slot.fate != Fate::Waiting || slot.opens <= at);
        self.slots.values_mut().filter(|slot| slot.fate == Fate::Waiting).for_each(|slot| slot.fate = Fate::Ended);
        self.reminders.clear();
    }

    /// Plans all windows that may still move.
    fn plan(
        &mut self,
        patient: &Patient,
        events: &BTreeMap<String, i64>,
        now: Timestamp,
        until: Timestamp,
        clock: &mut Clock,
    ) {
        let schedule = self.schedule;
        let is_for = schedule.groups.is_empty() || schedule.groups.iter().any(|group| group.as_str() == patient.group);
        let delay = i64::from(schedule.delay_days);
        let first_day = match &schedule.anchor {
            Anchor::Enrolment(_) => Some(patient.enrolled_on + delay),
            Anchor::Event(event) => events.get(event.as_str()).map(|day| day + delay),
            Anchor::Date(date) => Some(day_number(date.0) + delay),
            Anchor::Weekday(weekday) => {
                let mut day = patient.enrolled_on + delay;
                while format!("{:?}", date_of(day).weekday()) != format!("{weekday:?}") {
                    day += 1;
                }
                Some(day)
            }
        };
        let first_day = first_day.filter(|_| is_for);
        let is_moved = first_day.is_some() && self.first_day.is_some() && first_day != self.first_day;
        self.slots.retain(|_, slot| slot.fate != Fate::Waiting || (slot.opens <= now && !is_moved));
        let kept: BTreeSet<u32> = self.slots.keys().copied().collect();
        self.reminders.retain(|number, _| kept.contains(number));
        let floor = self.slots.values().map(|slot| slot.closes).max().unwrap_or(Timestamp::MIN);
        let Some(first_day) = first_day else { return };
        self.first_day = Some(first_day);
        let (every, count, end) = match schedule.every {
            None => (1, 1, i64::MAX),
            Some(every) => match every.end {
                End::Count(count) => (i64::from(every.days), count, i64::MAX),
                End::Until(day) => (i64::from(every.days), u32::MAX, day_number(day.0)),
            },
        };
        let last_day = day_number(patient.zone.to_datetime(until).date()) + 2;
        let mut number = 0;
        for day in first_day..=last_day.min(end) {
            if (day - first_day) % every != 0 || number == count {
                continue;
            }
            number += 1;
            // All windows of days that were over long ago are closed.
            let is_over = day + 10 < day_number(patient.zone.to_datetime(now).date());
            if is_over || day < patient.enrolled_on || kept.contains(&number) {
                continue;
            }
            let (opens_at, closes_at) = schedule.window.minutes();
            let opens = clock.first(&patient.zone, day, opens_at).max(floor);
            let mut closes = clock.last(&patient.zone, day, closes_at);
            if schedule.every.is_some() {
                closes = closes.min(clock.first(&patient.zone, day + every, opens_at));
            }
            if closes <= now || closes <= opens {
                continue;
            }
            self.slots.insert(number, Slot { opens, closes, fate: Fate::Waiting, alert: None });
            let times = schedule.reminders.iter().map(|reminder| match *reminder {
                Reminder::MinutesAfterOpening(minutes) => opens + SignedDuration::from_mins(minutes.into()),
                Reminder::MinutesBeforeClosing(minutes) => closes - SignedDuration::from_mins(minutes.into()),
            });
            let times = times.filter(|time| *time > now && *time >= opens && *time < closes).collect();
            self.reminders.insert(number, times);
        }
    }
}

/// From local times to instants, each computed once.
#[derive(Default)]
pub(crate) struct Clock {
    first: HashMap<(usize, i64, i64), Timestamp>,
    last: HashMap<(usize, i64, i64), Timestamp>,
}

impl Clock {
    /// The first instant at which the clock shows this minute of this day, or a later time.
    fn first(&mut self, zone: &TimeZone, day: i64, minute: i64) -> Timestamp {
        let key = (place(zone), day, minute);
        *self.first.entry(key).or_insert_with(|| {
            let local = local(day, minute);
            shown(zone, local).into_iter().min().unwrap_or_else(|| skipped(zone, local))
        })
    }

    /// The last instant at which the clock shows it; if it never does, the first one at which it shows a later time.
    fn last(&mut self, zone: &TimeZone, day: i64, minute: i64) -> Timestamp {
        let key = (place(zone), day, minute);
        *self.last.entry(key).or_insert_with(|| {
            let local = local(day, minute);
            shown(zone, local).into_iter().max().unwrap_or_else(|| skipped(zone, local))
        })
    }
}

fn place(zone: &TimeZone) -> usize {
    ZONES.iter().position(|name| zone.iana_name() == Some(name)).unwrap()
}

/// The instants at which the clock shows `local`.
fn shown(zone: &TimeZone, local: DateTime) -> Vec<Timestamp> {
    let about = jiff::tz::Offset::UTC.to_timestamp(local).unwrap();
    let offsets = [-36, 36].map(|hours| zone.to_offset(about + SignedDuration::from_hours(hours)));
    let instants = offsets.map(|offset| offset.to_timestamp(local).unwrap());
    instants.into_iter().filter(|instant| zone.to_datetime(*instant) == local).collect()
}

/// The first instant at which the clock shows a later time than `local`, which it skips.
fn skipped(zone: &TimeZone, local: DateTime) -> Timestamp {
    let about = jiff::tz::Offset::UTC.to_timestamp(local).unwrap().as_second();
    let (mut before, mut after) = (about - 36 * 3600, about + 36 * 3600);
    while after - before > 1 {
        let middle = (before + after) / 2;
        let is_later = zone.to_datetime(Timestamp::from_second(middle).unwrap()) > local;
        (before, after) = if is_later { (before, middle) } else { (middle, after) };
    }
    Timestamp::from_second(after).unwrap()
}

fn local(day: i64, minute: i64) -> DateTime {
    date_of(day + minute.div_euclid(24 * 60)).at(0, 0, 0, 0) + minute.rem_euclid(24 * 60).minutes()
}

fn day_number(date: Date) -> i64 {
    i64::from((date - Date::constant(1970, 1, 1)).get_days())
}

fn date_of(day: i64) -> Date {
    Date::constant(1970, 1, 1).checked_add(day.days()).unwrap()
}
