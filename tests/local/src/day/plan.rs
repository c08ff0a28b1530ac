//! The patients of the day and what each of them does when: drawn from a seed before anything is sent. What must come of
//! it follows from this alone.

use std::collections::{BTreeMap, BTreeSet};

use clinical::ids::{PatientId, SiteId, SubmissionId};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::calendar::{self, Missed, Study};
use crate::faults::Dice;

/// The clock moves from one multiple of this to another. All windows and reminders are multiples too.
pub(super) const STEP: SignedDuration = SignedDuration::from_mins(5);

/// What was completed by this long before a step is sent before it: the clock is then just before the step, so that
/// nothing of the step is due yet.
pub(super) const BEFORE: SignedDuration = SignedDuration::from_mins(1);

/// How many days before the day the first patients are enrolled: windows of three days close on it, and who has been
/// silent since raises an alert of the diary.
pub(super) const RUN_IN: i64 = 2;

/// How long it goes on after the last patient's day: what was kept offline is sent by then.
const NIGHT: SignedDuration = SignedDuration::from_mins(390);

/// Zones of patients who are abroad. All are whole hours from UTC.
const ABROAD: [&str; 4] = ["America/New_York", "Europe/London", "Africa/Nairobi", "Asia/Tokyo"];

/// What patients do with what they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Habit {
    /// Answers each window and sends it at once.
    Diligent,
    /// Answers after a reminder only.
    Reminded,
    /// Answers in the window; the phone sends it hours after the closing.
    Offline,
    /// Answers half of the windows.
    Forgetful,
    /// Answers nothing.
    Silent,
    /// Answers only the last windows, and these late.
    Returning,
}

/// Habits of twenty patients: each is among any ten in a row.
const HABITS: [Habit; 20] = {
    use Habit::{Diligent, Forgetful, Offline, Reminded, Returning, Silent};
    [
        Diligent, Reminded, Offline, Silent, Diligent, Forgetful, Returning, Diligent, Reminded, Diligent, Diligent,
        Offline, Silent, Diligent, Reminded, Diligent, Forgetful, Diligent, Offline, Returning,
    ]
};

/// The day with all who take part.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) patients: Vec<Patient>,
    /// The patients are enrolled before the first window opens.
    pub(super) begins: Timestamp,
    /// The first of the patients' days begins.
    pub(super) day_begins: Timestamp,
    /// The last window that was sent late has come.
    pub(super) ends: Timestamp,
}

#[derive(Debug)]
pub(super) struct Patient {
    pub(super) id: PatientId,
    pub(super) site: SiteId,
    pub(super) habit: Habit,
    /// The zone of a patient who is not in the site's.
    pub(super) abroad: Option<&'static str>,
    pub(super) enrolled: Date,
    pub(super) visit: Option<Date>,
    pub(super) windows: Vec<Asked>,
}

/// A window in which a patient is asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) schedule: String,
    pub(super) instrument: String,
    pub(super) window: calendar::Window,
    pub(super) answer: Option<Answer>,
}

/// An answer that a patient gives.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) submission: SubmissionId,
    pub(super) completed: Timestamp,
    /// The step before which it is sent.
    pub(super) sent: Timestamp,
    /// Whether it is given only because of a reminder.
    pub(super) after_reminder: bool,
    /// Whether the phone loses the answer and sends it again.
    pub(super) twice: bool,
}

/// What becomes of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Open,
    Done,
    Missed,
    Late,
}

/// An alert of missed windows: when it is raised, and whether a late answer resolves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MissedAlert {
    pub(super) resolved: bool,
}

/// How many patients, when and by which seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draw<'a> {
    pub(super) patients: usize,
    pub(super) seed: u64,
    pub(super) day: Date,
    /// Keeps the patients of one run apart from those of another.
    pub(super) run: &'a str,
}

impl Plan {
    /// Draws the patients. `None` if the study names no site, or a zone or a time that is none.
    pub(super) fn draw(study: &Study, draw: Draw<'_>) -> Option<Self> {
        let zones: BTreeMap<&str, TimeZone> = study
            .sites
            .iter()
            .map(|site| site.time_zone.as_str())
            .chain(ABROAD)
            .map(|name| Some((name, TimeZone::get(name).ok()?)))
            .collect::<Option<_>>()?;
        let of_all = |day: Date| -> Option<Vec<Timestamp>> {
            zones.values().map(|zone| calendar::instant(zone, day, "00:00")).collect()
        };
        let first = draw.day - RUN_IN.days();
        let begins = of_all(first)?.into_iter().min()? - SignedDuration::from_hours(1);
        let day_begins = of_all(draw.day)?.into_iter().min()?;
        let ends = of_all(draw.day + 1.day())?.into_iter().max()? + NIGHT;
        let patients = (0..draw.patients)
            .map(|number| {
                let mut dice = Dice::numbered(draw.seed, number as u64);
                let site = study.sites.get(number % study.sites.len().max(1))?;
                let abroad = (dice.below(4) == 0).then(|| *dice.pick(&ABROAD));
                let abroad = abroad.filter(|zone| *zone != site.time_zone);
                let zone = &zones[abroad.unwrap_or(&site.time_zone)];
                let habit = HABITS[(number / study.sites.len().max(1)) % HABITS.len()];
                let is_early = dice.below(5) < 2 || habit == Habit::Returning;
                let enrolled = if is_early { first } else { draw.day };
                // Of those who have one, some windows close on the day, and some later.
                let visit = match dice.below(6) {
                    0 | 1 if is_early => Some(first),
                    2 => Some(draw.day),
                    _ => None,
                };
                let midnight = calendar::instant(zone, draw.day + 1.day(), "00:00")?;
                let mut windows = Vec::new();
                for schedule in &study.schedules {
                    let event = |event: &str| visit.filter(|_| event == "visit");
                    for window in schedule.windows(zone, enrolled, event, ends)? {
                        let answer = habit.answer(&window, midnight, &mut dice);
                        let (schedule, instrument) = (schedule.id.clone(), schedule.instrument.clone());
                        windows.push(Asked { schedule, instrument, window, answer });
                    }
                }
                let id = format!("DAY-{}-{number:04}", draw.run).parse().ok()?;
                let site = site.id.parse().ok()?;
                Some(Patient { id, site, habit, abroad, enrolled, visit, windows })
            })
            .collect::<Option<_>>()?;
        Some(Self { patients, begins, day_begins, ends })
    }

    /// The steps at which something is sent, is due, or is over, in order.
    pub(super) fn steps(&self) -> BTreeSet<Timestamp> {
        let mut steps = BTreeSet::from([self.ends]);
        for asked in self.patients.iter().flat_map(|patient| &patient.windows) {
            steps.extend(&asked.window.reminders);
            // A window is found missed half a minute after its closing.
            steps.insert(asked.window.closes + STEP);
            steps.extend(asked.answer.as_ref().map(|answer| answer.sent));
        }
        steps.retain(|step| (self.begins..=self.ends).contains(step));
        steps
    }

    /// The steps that come after the closing of a window: what is missed is listed then, before it is answered late.
    pub(super) fn closings(&self) -> BTreeSet<Timestamp> {
        let windows = self.patients.iter().flat_map(|patient| &patient.windows);
        windows.map(|asked| asked.window.closes + STEP).filter(|step| *step <= self.ends).collect()
    }
}

impl Patient {
    /// The alerts of missed windows of the schedule with the id `schedule`, which is as `missed` says.
    pub(super) fn alerts(&self, schedule: &str, missed: &Missed, ends: Timestamp) -> Vec<MissedAlert> {
        let (mut alerts, mut in_a_row) = (Vec::new(), Vec::new());
        let own = self.windows.iter().filter(|asked| asked.schedule == schedule);
        for asked in own.filter(|asked| asked.window.closes + STEP <= ends) {
            let closing = asked.window.closes;
            // What was answered late in the meantime is not missed any more.
            in_a_row.retain(|earlier: &&Asked| earlier.answer.as_ref().is_none_or(|answer| answer.sent > closing));
            if asked.answer.as_ref().is_some_and(|answer| answer.sent <= closing) {
                in_a_row.clear();
                continue;
            }
            in_a_row.push(asked);
            if in_a_row.len() == missed.after {
                let resolved = in_a_row.drain(..).any(|missed| missed.answer.is_some());
                alerts.push(MissedAlert { resolved });
            }
        }
        alerts
    }
}

impl Asked {
    /// What it is at `ends`.
    pub(super) fn outcome(&self, ends: Timestamp) -> Outcome {
        match &self.answer {
            Some(answer) if answer.sent <= self.window.closes => Outcome::Done,
            Some(_) => Outcome::Late,
            None if self.window.closes <= ends => Outcome::Missed,
            None => Outcome::Open,
        }
    }

    /// The reminders that are published until `ends`: those that are due before an answer is sent.
    pub(super) fn reminded(&self, ends: Timestamp) -> impl Iterator<Item = Timestamp> {
        let until = self.answer.as_ref().map_or(ends + STEP, |answer| answer.sent);
        self.window.reminders.iter().copied().filter(move |reminder| *reminder < until && *reminder <= ends)
    }
}

impl Habit {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Diligent => "diligent",
            Self::Reminded => "answering after a reminder",
            Self::Offline => "offline until after the closing",
            Self::Forgetful => "forgetful",
            Self::Silent => "silent",
            Self::Returning => "silent until the last day",
        }
    }

    /// The answer to `window` of a patient whose day ends at `midnight`.
    fn answer(self, window: &calendar::Window, midnight: Timestamp, dice: &mut Dice) -> Option<Answer> {
        let closes = window.closes;
        let is_over_by_midnight = closes <= midnight;
        let until = closes.min(midnight) - STEP - STEP;
        if until <= window.opens {
            return None;
        }
        let minutes = |from: Timestamp, to: Timestamp| to.duration_since(from).as_mins().unsigned_abs();
        let at_once = |completed: Timestamp, after_reminder: bool, dice: &mut Dice| Answer {
            submission: id_at(completed),
            completed,
            sent: step_after(completed + BEFORE),
            after_reminder,
            twice: dice.below(10) == 0,
        };
        // Mostly in waking hours of the window's first day, wherever it opens.
        let some_time = |dice: &mut Dice| {
            let from = window.opens + SignedDuration::from_mins(7 * 60 + 3);
            let from = from.min(until - SignedDuration::from_mins(1));
            from + SignedDuration::from_mins(dice.below(minutes(from, until).max(1)) as i64)
        };
        let late = |completed: Timestamp, dice: &mut Dice| {
            let kept = SignedDuration::from_mins(15 + dice.below(300) as i64);
            Answer { sent: step_after(closes + kept), ..at_once(completed, false, dice) }
        };
        match self {
            Self::Diligent => Some(at_once(some_time(dice), false, dice)),
            Self::Reminded => {
                let reminder = *window.reminders.iter().rfind(|reminder| **reminder < until)?;
                let room = minutes(reminder, until).min(120);
                let completed = reminder + SignedDuration::from_mins(1 + dice.below(room.max(1)) as i64);
                Some(at_once(completed, true, dice))
            }
            Self::Offline if is_over_by_midnight => Some(late(some_time(dice), dice)),
            Self::Forgetful if dice.below(2) == 0 => Some(at_once(some_time(dice), false, dice)),
            Self::Returning if is_over_by_midnight && midnight.duration_since(closes).as_hours() < 24 => {
                Some(late(some_time(dice), dice))
            }
            _ => None,
        }
    }
}

/// A new id as a phone makes it at `time`: sweep looks for answers by the time in the id.
fn id_at(time: Timestamp) -> SubmissionId {
    let seconds = u64::try_from(time.as_second()).unwrap_or_default();
    let time = uuid::Timestamp::from_unix(uuid::NoContext, seconds, time.subsec_nanosecond().unsigned_abs());
    SubmissionId::from(uuid::Uuid::new_v7(time))
}

/// The first step at `time` or later.
fn step_after(time: Timestamp) -> Timestamp {
    let step = STEP.as_secs();
    let seconds = time.as_second().div_euclid(step) * step;
    let before = Timestamp::from_second(seconds).unwrap_or(time);
    if before == time { time } else { before + STEP }
}
