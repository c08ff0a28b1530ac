//! What happens in a simulation and when: what phones do, which faults come, and how the study is set up. A plan is
//! data, so that a failing one can be made smaller and kept.

use serde::{Deserialize, Serialize};

use crate::asking::{self, Asking};
use crate::dice::Dice;

/// A whole simulation. Together with the seed, which fixes latencies and the moments of faults, it determines all that
/// happens.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Plan {
    /// The seed of all that is not in the plan.
    pub seed: u64,
    /// The minutes after which an open critical alert escalates.
    pub escalation_minutes: u32,
    /// How often it escalates.
    pub escalation_limit: u32,
    /// Of how many published alerts one is acknowledged; 0: none.
    pub acknowledge_one_in: u64,
    /// Of how many published alerts one is snoozed; 0: none.
    #[serde(default)]
    pub snooze_one_in: u64,
    /// `BatchSize` of the event source mapping.
    pub batch_size: usize,
    /// `ParallelizationFactor` of the event source mapping.
    pub lanes: usize,
    /// `MaximumRecordAgeInSeconds` of the event source mapping; `None`: the template's.
    #[serde(default)]
    pub record_age: Option<u64>,
    /// What phones do, in the order of time.
    pub actions: Vec<Action>,
    /// The faults.
    pub weather: Vec<Weather>,
    /// What is done to the stream, the study and the schedule.
    pub events: Vec<Event>,
    /// When patients are asked; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asking: Option<Asking>,
}

/// Something that a phone does.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Action {
    /// Seconds after the start.
    pub at: u64,
    /// The index of the patient.
    pub patient: usize,
    /// The index of the device of that patient.
    pub device: usize,
    /// What it does.
    pub what: What,
}

/// The kinds of [`Action`].
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub enum What {
    /// Sends a diary.
    Send(Diary),
    /// Sends what it kept while it was offline.
    Batch(Vec<Diary>),
    /// Two devices send the same diary at the same time.
    Twice(Diary),
    /// Sends a diary under the id of the patient's latest one, with other answers.
    OtherBody {
        /// The answer of the other body.
        pain: u64,
        /// Whether it is sent before the first one is answered.
        at_once: bool,
    },
    /// Sends a batch of which one entry is not valid.
    PartlyInvalid(Diary),
    /// Another patient, or staff of another site, asks for the patient's latest submission.
    Intrude,
    /// Asks what is due.
    Due,
    /// Answers a diary item by item in a draft, and then sends it.
    Draft {
        /// The diary.
        diary: Diary,
        /// Whether each item is answered on a device of its own, all at the same time.
        at_once: bool,
    },
}

/// A diary of a patient.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Diary {
    /// Hours before the start at which it was completed, in quarters.
    pub quarters_ago: u64,
    /// The answer to the item that is scored, 0 to 10; `None` if it was left out.
    pub pain: Option<u64>,
    /// The answer to the item of safety.
    pub fever: bool,
    /// The index of the patient's earlier diary that it corrects.
    pub corrects: Option<usize>,
    /// Whether the app has the newer version of the instrument already.
    #[serde(default)]
    pub newer: bool,
    /// Seconds after the start, or before it, at which it was completed, instead of `quarters_ago`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<i64>,
}

/// A fault that is likely for some time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub struct Weather {
    /// Seconds after the start at which it begins.
    pub from: u64,
    /// Seconds after the start at which it ends.
    pub to: u64,
    /// It hits one call or invocation in this many.
    pub one_in: u64,
    /// What it is.
    pub fault: WeatherFault,
}

/// The kinds of [`Weather`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[allow(missing_docs, reason = "`network` and `cloud` say what each does")]
pub enum WeatherFault {
    Throttle,
    Error500,
    Error503,
    CutBefore,
    CutAfter,
    Stall,
    ApplyAndStall,
    ApplyTwice,
    Slow,
    LongTransactions,
    PartialReasons,
    Behind,
    StudyUnreadable,
    SnsDown,
    SnsPartial,
    Crash,
    Freeze,
    ClockStep,
    ShortDeadline,
    AnswerLost,
}

impl WeatherFault {
    const ALL: [Self; 20] = [
        Self::Throttle,
        Self::Error500,
        Self::Error503,
        Self::CutBefore,
        Self::CutAfter,
        Self::Stall,
        Self::ApplyAndStall,
        Self::ApplyTwice,
        Self::Slow,
        Self::LongTransactions,
        Self::PartialReasons,
        Self::Behind,
        Self::StudyUnreadable,
        Self::SnsDown,
        Self::SnsPartial,
        Self::Crash,
        Self::Freeze,
        Self::ClockStep,
        Self::ShortDeadline,
        Self::AnswerLost,
    ];
}

/// Something that happens once.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
pub struct Event {
    /// Seconds after the start.
    pub at: u64,
    /// What it is.
    pub what: Happening,
}

/// The kinds of [`Event`].
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq)]
pub enum Happening {
    /// A shard of the stream splits.
    SplitShard,
    /// Another reader of the stream starts from its beginning, while the first one still reads.
    SecondReader,
    /// A record that cannot be read is in the stream.
    BadRecord,
    /// All records of the stream are older than its retention, and so are those of the next five minutes.
    Trim,
    /// Another version of the study, with other rules, is put in force.
    NewStudyVersion,
    /// The schedule of `sweep` fires twice.
    DoubleSchedule,
    /// Staff register a patient, as they do before the next two.
    Enrol,
    /// Staff transfer a patient to the other site.
    Transfer,
    /// Staff withdraw a patient.
    Withdraw,
    /// Staff register a patient with what the plan says.
    Register {
        /// The index of the patient.
        patient: usize,
    },
    /// Staff enter the day of the event that schedules hang on.
    DateEvent {
        /// The index of the patient.
        patient: usize,
        /// The day, counted from the day of the start; `None`: it is removed.
        day: Option<i64>,
    },
    /// Staff enter that a patient lives in another time zone.
    ChangeZone {
        /// The index of the patient.
        patient: usize,
        /// The index of the zone.
        zone: usize,
    },
    /// Staff list what is due at a site.
    ListDue,
    /// A clinician lists the alerts that wait.
    ListWorklist,
}

impl Happening {
    /// Those that any plan may have.
    const ALL: [Self; 9] = [
        Self::SplitShard,
        Self::SecondReader,
        Self::BadRecord,
        Self::Trim,
        Self::NewStudyVersion,
        Self::DoubleSchedule,
        Self::Enrol,
        Self::Transfer,
        Self::Withdraw,
    ];
}

/// The most patients of a plan.
pub const PATIENTS: usize = 3;
/// The sites of the study; a patient's first one is by its index.
pub const SITES: [&str; 2] = ["S01", "S02"];

impl Plan {
    /// The plan of `seed`.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::of(seed, "plan");
        let length = *dice.pick(&[120, 900, 3_600, 7_200]);
        let patients = dice.within(1..=PATIENTS as u64);
        let mut diaries = [0; PATIENTS];
        let mut actions: Vec<Action> = Vec::new();
        // Many send at the same time, as at eight in the morning, and trouble often begins then.
        let rush = dice.one_in(3).then(|| dice.below(length));
        for _ in 0..dice.within(2..=11) {
            let patient = dice.below(patients) as usize;
            let device = usize::from(dice.one_in(3));
            let what = Self::what(&mut dice, &mut diaries[patient]);
            let (begins, lasts) = rush.map_or((0, length), |rush| (rush, 90));
            let at = begins + dice.below(lasts);
            actions.push(Action { at, patient, device, what });
        }
        actions.sort_by_key(|action| action.at);
        let weather = if dice.one_in(10) {
            vec![Self::weather_of(&mut dice, WeatherFault::SnsDown, length, rush)]
        } else {
            let any = |dice: &mut Dice| {
                let fault = *dice.pick(&WeatherFault::ALL);
                Self::weather_of(dice, fault, length, rush)
            };
            (0..dice.below(6)).map(|_| any(&mut dice)).collect()
        };
        let event = |dice: &mut Dice| Event { at: dice.below(length), what: *dice.pick(&Happening::ALL) };
        let mut events: Vec<Event> = (0..dice.below(4)).map(|_| event(&mut dice)).collect();
        events.sort_by_key(|event| event.at);
        let mut plan = Self {
            seed,
            escalation_minutes: *dice.pick(&[1, 5, 30]),
            escalation_limit: dice.below(3) as u32,
            acknowledge_one_in: dice.below(4),
            snooze_one_in: *Dice::of(seed, "snoozes").pick(&[0, 0, 1, 3]),
            batch_size: *dice.pick(&[1, 3, 100]),
            lanes: *dice.pick(&[1, 4]),
            record_age: *dice.pick(&[None, None, Some(60), Some(600)]),
            actions,
            weather,
            events,
            asking: None,
        };
        asking::add_to(&mut plan);
        plan.add_drafts();
        plan.add_worklists();
        plan
    }

    /// Lets a patient of some plans answer in a draft.
    fn add_drafts(&mut self) {
        let mut dice = Dice::of(self.seed, "drafts");
        if !dice.one_in(4) {
            return;
        }
        let Action { at, patient, .. } = *dice.pick(&self.actions);
        let diary = Diary {
            quarters_ago: dice.below(4),
            pain: (!dice.one_in(6)).then(|| dice.below(11)),
            fever: dice.one_in(5),
            corrects: None,
            newer: dice.one_in(4),
            completed: None,
        };
        let what = What::Draft { diary, at_once: !dice.one_in(3) };
        self.actions.push(Action { at, patient, device: 0, what });
        self.actions.sort_by_key(|action| action.at);
    }

    /// Lets a clinician of some plans read the worklist.
    fn add_worklists(&mut self) {
        let mut dice = Dice::of(self.seed, "worklists");
        let length = self.length();
        for _ in 0..dice.below(6).saturating_sub(2) {
            self.events.push(Event { at: dice.below(length), what: Happening::ListWorklist });
        }
        self.events.sort_by_key(|event| event.at);
    }

    fn what(dice: &mut Dice, diaries: &mut usize) -> What {
        let mut diary = |dice: &mut Dice, may_correct: bool| {
            let corrects =
                (may_correct && *diaries > 0 && dice.one_in(3)).then(|| dice.below(*diaries as u64) as usize);
            *diaries += 1;
            Diary {
                quarters_ago: *dice.pick(&[0, 0, 4, 24, 96, 480]) + dice.below(4),
                pain: (!dice.one_in(12)).then(|| dice.below(11)),
                fever: dice.one_in(5),
                corrects,
                newer: dice.one_in(4),
                completed: None,
            }
        };
        match dice.below(13) {
            0..=6 => What::Send(diary(dice, true)),
            7 | 8 => What::Batch((0..dice.within(2..=4)).map(|_| diary(dice, true)).collect()),
            9 => What::OtherBody { pain: dice.below(11), at_once: dice.one_in(2) },
            10 => What::PartlyInvalid(diary(dice, false)),
            11 => What::Twice(diary(dice, true)),
            _ => What::Intrude,
        }
    }

    fn weather_of(dice: &mut Dice, fault: WeatherFault, length: u64, rush: Option<u64>) -> Weather {
        let from = match rush {
            Some(rush) if dice.one_in(2) => rush.saturating_sub(dice.below(60)),
            _ => dice.below(length),
        };
        Self::weather_from(dice, fault, from, length)
    }

    /// Any weather that begins at `from`, in a plan of this `length`.
    pub fn weather_at(dice: &mut Dice, from: u64, length: u64) -> Weather {
        let fault = *dice.pick(&WeatherFault::ALL);
        Self::weather_from(dice, fault, from, length)
    }

    fn weather_from(dice: &mut Dice, fault: WeatherFault, from: u64, length: u64) -> Weather {
        let (lasts, one_in) = match fault {
            WeatherFault::SnsDown => (if dice.one_in(4) { 3_600 } else { dice.within(60..=600) }, 1),
            WeatherFault::StudyUnreadable => (dice.within(10..=600), 1),
            WeatherFault::Behind => (dice.within(60..=3_600), 1),
            WeatherFault::Crash | WeatherFault::Freeze | WeatherFault::ClockStep | WeatherFault::ShortDeadline => {
                (dice.within(60..=7_200), dice.within(1..=4))
            }
            _ if dice.one_in(5) => (dice.within(10..=600), 1),
            _ => (dice.within(10..=7_200), *dice.pick(&[2, 4, 10, 40])),
        };
        let to = from + lasts;
        // An outage of SNS lasts as long as it must; other trouble ends with the plan.
        let to = if fault == WeatherFault::SnsDown { to } else { to.min(length) };
        Weather { from, to, one_in, fault }
    }

    /// The seconds after which the weather is fair and no more happens.
    pub fn length(&self) -> u64 {
        let actions = self.actions.iter().map(|action| action.at);
        let events = self.events.iter().map(|event| event.at);
        let asking = self.asking.iter().map(|asking| asking.until);
        actions
            .chain(events)
            .chain(asking)
            .chain(self.weather.iter().map(|weather| weather.to))
            .max()
            .unwrap_or_default()
    }
}
