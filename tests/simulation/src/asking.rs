//! When the patients of a plan are asked: schedules whose windows open and close while the world is watched, what
//! patients are registered with, and what they do in and after their windows.

use std::collections::BTreeMap;
use std::ops::Range;

use clinical::schedules::{Plan as Windows, Schedule, Subject, Window, timestamp};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock;
use crate::dice::Dice;
use crate::plan::{Action, Diary, Event, Happening, Plan, SITES, What};

/// The event that schedules hang on.
pub const EVENT: &str = "surgery";
/// The time zone of all sites.
pub const HOME: &str = "Europe/Berlin";
/// Time zones abroad. In the first two, windows are at the time of those at home, or an hour later.
pub const ZONES: [&str; 5] =
    ["Africa/Lagos", "Europe/London", "Asia/Kathmandu", "America/New_York", "Pacific/Auckland"];
/// The minutes from midnight, at home, to the start of the simulation.
const START: i64 = 8 * 60;
const DAY: u64 = 86_400;

/// When patients are asked.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Asking {
    /// The schedules of the study.
    pub schedules: Vec<Schedule>,
    /// Those of its later versions; `None`: the same.
    pub later: Option<Vec<Schedule>>,
    /// What each patient is registered with.
    pub enrolments: Vec<Enrolment>,
    /// The seconds after the start until which the world goes on at least.
    pub until: u64,
}

/// What a patient is registered with.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Enrolment {
    /// The day of enrolment, counted from the day of the start.
    pub day: i64,
    /// The time zone; `None`: that of the site.
    pub zone: Option<usize>,
}

impl Enrolment {
    /// The body that registers the patient at `site`. The day may differ from that of an enrolment by a submission, and
    /// such a change needs a reason.
    pub fn body(&self, site: &str, reason: &str) -> Value {
        let mut body = json!({"site": site, "enrolledOn": day(self.day).to_string(), "reason": reason});
        if let Some(zone) = self.zone {
            body["timeZone"] = json!(ZONES[zone]);
        }
        body
    }
}

/// The day that is so many days after that of the start.
pub fn day(days: i64) -> Date {
    let start = timestamp(clock::start_of_day()).expect("it is within the calendar");
    let today = start.to_zoned(TimeZone::UTC).date();
    today.checked_add(jiff::Span::new().days(days)).expect("a few days are within the calendar")
}

/// Adds to some plans when patients are asked. A plan without is as it would be if there were no schedules.
pub fn add_to(plan: &mut Plan) {
    let mut dice = Dice::of(plan.seed, "asking");
    if !dice.one_in(4) {
        return;
    }
    let patients = plan.actions.iter().map(|action| action.patient + 1).max().unwrap_or(1);
    // Windows that are missed in a row are on as many days.
    let days = if dice.one_in(5) { dice.within(2..=4) } else { 0 };
    let schedules = schedules(&mut dice, days, 0);
    let later = dice.one_in(3).then(|| self::schedules(&mut dice, days, 1));
    // The study asks for nothing any more.
    let later = later.map(|later| if Dice::of(plan.seed, "dropped").one_in(4) { Vec::new() } else { later });
    let span = if days > 0 { days * DAY } else { 60 * *dice.pick(&[20, 45, 100]) };
    let enrolments: Vec<Enrolment> = (0..patients).map(|_| enrolment(&mut dice)).collect();
    let mut asking = Asking { schedules, later, enrolments, until: span };
    for patient in 0..patients {
        let event = register(plan, &mut dice, &asking, patient, span);
        let windows: Vec<Window> = asking.windows(patient, event);
        let windows = windows.into_iter().filter(|window| seconds(window.opens) < span as i64);
        for window in windows.collect::<Vec<_>>() {
            if days == 0 {
                asking.until = asking.until.max(seconds(window.closes).unsigned_abs() + 120);
            }
            answer(plan, &mut dice, patient, &window);
            if dice.one_in(3) {
                trouble(plan, &mut dice, &window, span);
            }
        }
        for _ in 0..dice.below(3) {
            plan.actions.push(Action { at: dice.below(span), patient, device: 0, what: What::Due });
        }
    }
    for _ in 0..dice.below(2) {
        plan.events.push(Event { at: dice.below(span), what: Happening::ListDue });
    }
    if dice.one_in(4) {
        plan.events.push(Event { at: dice.below(span), what: Happening::NewStudyVersion });
    }
    plan.actions.sort_by_key(|action| action.at);
    plan.events.sort_by_key(|event| event.at);
    plan.asking = Some(asking);
}

/// Schedules whose windows are one after the other, or overlap where only what is known of a patient decides that. Those of
/// another version are `shift`ed by some minutes.
fn schedules(dice: &mut Dice, days: u64, shift: i64) -> Vec<Schedule> {
    let opens = -*dice.pick(&[0, 0, 5, 30]) + shift;
    let mut before: Option<(i64, i64, bool)> = None;
    (0..dice.within(1..=3))
        .map(|index| {
            let is_of_event = dice.one_in(3);
            let length = if days > 0 { *dice.pick(&[10, 30, 120]) } else { *dice.pick(&[3, 5, 10, 25]) };
            // One that hangs on the event may overlap the one before it.
            let from = match before {
                Some((opened, _, false)) if is_of_event && dice.one_in(3) => opened + 1,
                Some((_, closed, _)) => closed + dice.below(if days > 0 { 120 } else { 10 }) as i64,
                None => opens + dice.below(10) as i64,
            };
            let closes = from + length;
            before = Some((from, before.map_or(closes, |(_, closed, _)| closed.max(closes)), is_of_event));
            let anchor = match dice.below(6) {
                _ if is_of_event => json!({"event": EVENT}),
                0 => json!({"date": day(0).to_string()}),
                1 => json!({"weekday": "monday"}),
                _ => json!({"enrolment": {}}),
            };
            let mut schedule = json!({
                "id": format!("diary-{index}"), "instrument": "pain", "anchor": anchor,
                "window": {"opens": time_of_day(from), "closes": time_of_day(closes)},
                "reminders": dice.pick(&[
                    json!([]), json!([{"minutesAfterOpening": 0}]), json!([{"minutesAfterOpening": 1}]),
                    json!([{"minutesAfterOpening": 1}, {"minutesBeforeClosing": 1}]),
                ]),
            });
            let recurs = !dice.one_in(5);
            if recurs {
                schedule["every"] = json!({"days": 1, "count": dice.within(3..=9)});
            }
            if !dice.one_in(4) {
                let after = if !recurs {
                    1
                } else if days > 0 {
                    dice.within(1..=3)
                } else {
                    *dice.pick(&[1, 1, 1, 2])
                };
                schedule["missed"] = json!({"severity": dice.pick(&["info", "warning", "critical"]), "after": after});
                if days > 1 && dice.one_in(2) {
                    schedule["missed"]["quietHours"] = json!(dice.pick(&[30, 60]));
                }
            }
            serde_json::from_value(schedule).expect("it is a schedule")
        })
        .collect()
}

fn time_of_day(minutes: i64) -> String {
    let minutes = START + minutes;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn enrolment(dice: &mut Dice) -> Enrolment {
    let zone = match dice.below(6) {
        0 => Some(dice.below(ZONES.len() as u64) as usize),
        1 => Some(dice.below(2) as usize),
        _ => None,
    };
    Enrolment { day: *dice.pick(&[0, 0, 0, -1, -3]), zone }
}

/// Lets staff register `patient`, date the event, and change both; or leaves it to the first submission. Returns the day
/// of the event.
fn register(plan: &mut Plan, dice: &mut Dice, asking: &Asking, patient: usize, span: u64) -> Option<i64> {
    let mut at = match dice.below(10) {
        0..=2 => return None,
        3..=7 => dice.below(60),
        _ => dice.below(span),
    };
    plan.events.push(Event { at, what: Happening::Register { patient } });
    let mut dated = None;
    if asking.schedules.iter().any(|schedule| matches!(json!(schedule.anchor)["event"], Value::String(_))) {
        at += dice.below(90);
        dated = Some(*dice.pick(&[0, 0, 0, -1, 1]));
        plan.events.push(Event { at, what: Happening::DateEvent { patient, day: dated } });
        if dice.one_in(3) {
            let day = *dice.pick(&[Some(0), Some(-1), Some(1), None]);
            let at = at + dice.below(span.saturating_sub(at).max(1));
            plan.events.push(Event { at, what: Happening::DateEvent { patient, day } });
        }
    }
    if dice.one_in(8) {
        let zone = dice.below(ZONES.len() as u64) as usize;
        plan.events.push(Event { at: dice.below(span), what: Happening::ChangeZone { patient, zone } });
    }
    dated
}

impl Asking {
    /// The windows of `patient` that close after the start, as far as they can be foreseen.
    fn windows(&self, patient: usize, event: Option<i64>) -> Vec<Window> {
        let enrolment = &self.enrolments[patient];
        let subject = Subject {
            site: SITES[patient % SITES.len()].parse().expect("it is an id"),
            enrolled_on: day(enrolment.day),
            zone: TimeZone::get(enrolment.zone.map_or(HOME, |zone| ZONES[zone])).expect("the database has it"),
            group: None,
            events: event
                .map(|days| (EVENT.parse().expect("it is an id"), day(days)))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            withdrawn_at: None,
        };
        let start = timestamp(clock::start_of_day()).expect("it is within the calendar");
        let plans = self.schedules.iter().filter_map(|schedule| Windows::of(schedule, &subject));
        plans.flat_map(|plan| plan.closing_after(start).map(|(_, window)| window).collect::<Vec<_>>()).collect()
    }
}

/// The seconds from the start to `at`.
fn seconds(at: Timestamp) -> i64 {
    at.as_second() - clock::start_of_day().unix_timestamp()
}

/// What `patient` does about `window`.
fn answer(plan: &mut Plan, dice: &mut Dice, patient: usize, window: &Window) {
    let (opens, closes) = (seconds(window.opens), seconds(window.closes));
    let within = |dice: &mut Dice| opens + dice.below((closes - opens).unsigned_abs()) as i64;
    let mut send = |dice: &mut Dice, completed: i64, after: u64, corrects: Option<usize>| {
        let at = completed.max(0).unsigned_abs() + after;
        let diary = Diary { completed: Some(completed), corrects, ..diary(dice) };
        plan.actions.push(Action { at, patient, device: usize::from(dice.one_in(4)), what: What::Send(diary) });
    };
    match dice.below(9) {
        0 | 1 => {}
        2 | 3 => {
            let (completed, after) = (within(dice), dice.below(20));
            send(dice, completed, after, None);
        }
        // It was offline until the window had closed.
        4 | 5 => {
            let completed = within(dice);
            let behind = *dice.pick(&[5, 40, 120, 600, 5_400]);
            let after = (closes - completed.max(0)).unsigned_abs() + dice.below(behind);
            send(dice, completed, after, None);
        }
        // Two answers, of which the first completed may arrive last.
        6 => {
            for _ in 0..2 {
                let (completed, after) = (within(dice), dice.below(400));
                send(dice, completed, after, None);
            }
        }
        // On its way when the window closes.
        7 => {
            let completed = (closes - 1 - dice.below(4) as i64).max(opens);
            let after = dice.below(3);
            send(dice, completed, after, None);
        }
        _ => {
            let (completed, after, corrected) = (within(dice), dice.below(20), dice.below(120));
            send(dice, completed, after, None);
            let corrects = dice.below(3) as usize;
            send(dice, completed, after + corrected, Some(corrects));
        }
    }
}

fn diary(dice: &mut Dice) -> Diary {
    let pain = (!dice.one_in(12)).then(|| dice.below(11));
    Diary { quarters_ago: 0, pain, fever: dice.one_in(8), corrects: None, newer: dice.one_in(4), completed: None }
}

/// Weather about the opening or the closing of `window`.
fn trouble(plan: &mut Plan, dice: &mut Dice, window: &Window, span: u64) {
    let edge = if dice.one_in(3) { window.opens } else { window.closes };
    let around: Range<u64> = 0..180;
    let from = (seconds(edge).max(0).unsigned_abs() + dice.below(around.end)).saturating_sub(around.end / 2);
    plan.weather.push(Plan::weather_at(dice, from, span.max(from + 60)));
}
