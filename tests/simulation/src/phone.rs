//! Phones: they complete diaries, send them until they are answered, repeat them unchanged under the same id, keep them
//! while they are offline, and correct them. What the API answered them is kept, since the promises are about it.

mod calls;
mod drafting;
mod intruding;
mod sending;
mod settling;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::clock;
use crate::cloud::Cloud;
use crate::dice::Dice;
use crate::journal::Journal;
use crate::plan::{Action, Diary, PATIENTS, Plan, SITES, WeatherFault, What};
use crate::registry::Withdrawn;

/// In every note and reason; no log line, answer or message may have it.
pub const SECRET: &str = "SECRET";

/// The versions of the instrument.
pub const OLDER: &str = "1.0.0";
/// As [`OLDER`]; its scores continue the courses of the older one, and its rules differ.
pub const NEWER: &str = "1.1.0";

/// What the API said about a submission.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The patient.
    pub patient: String,
    /// The sites whose tokens sent it: after a transfer, it is repeated with the token of the new one.
    pub sites: BTreeSet<&'static str>,
    /// The patient's first site.
    pub home: &'static str,
    /// When it was sent first.
    pub first_sent: Option<OffsetDateTime>,
    /// The bodies that were sent under its id.
    pub bodies: Vec<Value>,
    /// The body that was answered with 2xx, and the receipt.
    pub accepted: Option<(Value, Value)>,
    /// When it was first known to be accepted: it is stored since then at the latest.
    pub answered: Option<OffsetDateTime>,
    /// When a correction was last refused.
    pub refused: Option<OffsetDateTime>,
    /// Whether it was refused because the patient has withdrawn.
    pub is_withdrawn: bool,
}

/// All phones of a plan.
pub struct Phones {
    cloud: Rc<Cloud>,
    pub(crate) journal: Journal,
    losing: Vec<crate::plan::Weather>,
    dice: RefCell<Dice>,
    diaries: RefCell<Vec<Vec<Uuid>>>,
    /// The index of the site that each patient's token names.
    sites: RefCell<Vec<usize>>,
    /// The withdrawals that staff have sent, by pseudonym.
    withdrawn: RefCell<BTreeMap<String, Withdrawn>>,
    known: RefCell<BTreeMap<Uuid, Known>>,
    numbers: RefCell<BTreeSet<String>>,
    answers: RefCell<Vec<String>>,
}

/// The pseudonym of a patient. It must not be in a log line.
pub fn pseudonym(patient: usize) -> String {
    format!("{SECRET}-P{patient}")
}

impl Phones {
    /// The phones of `plan`, which call `cloud`.
    pub fn new(cloud: Rc<Cloud>, plan: &Plan, journal: Journal) -> Self {
        let losing = plan.weather.iter().copied().filter(|weather| weather.fault == WeatherFault::AnswerLost);
        Self {
            cloud,
            journal,
            losing: losing.collect(),
            dice: RefCell::new(Dice::of(plan.seed, "phones")),
            diaries: RefCell::new(vec![Vec::new(); PATIENTS]),
            sites: RefCell::new((0..PATIENTS).map(|patient| patient % SITES.len()).collect()),
            withdrawn: RefCell::default(),
            known: RefCell::default(),
            numbers: RefCell::default(),
            answers: RefCell::default(),
        }
    }

    /// What the API said about each submission.
    pub fn known(&self) -> BTreeMap<Uuid, Known> {
        self.known.borrow().clone()
    }

    /// The withdrawals that staff have sent, by the patient's pseudonym.
    pub fn withdrawn(&self) -> BTreeMap<String, Withdrawn> {
        self.withdrawn.borrow().clone()
    }

    /// Staff send the withdrawal of `patient`: from now on it may be in force.
    pub fn withdrawal_sent(&self, patient: usize) {
        self.withdrawn.borrow_mut().entry(pseudonym(patient)).or_default();
    }

    /// The withdrawal of `patient` is answered: it is in force.
    pub fn withdrawal_answered(&self, patient: usize) {
        let mut withdrawn = self.withdrawn.borrow_mut();
        withdrawn.entry(pseudonym(patient)).or_default().answered.get_or_insert(clock::now());
    }

    /// Lets the tokens of `patient` name the site with this index from now on.
    pub fn move_to(&self, patient: usize, site: usize) {
        self.sites.borrow_mut()[patient] = site;
    }

    /// The site that the token of `patient` names.
    fn site(&self, patient: usize) -> &'static str {
        SITES[self.sites.borrow()[patient]]
    }

    /// The answers of the API that must not repeat what was sent: errors, and receipts.
    pub fn answers(&self) -> Vec<String> {
        self.answers.borrow().clone()
    }

    /// The numbers that were sent only to be looked for.
    pub fn numbers(&self) -> BTreeSet<String> {
        self.numbers.borrow().clone()
    }

    /// The answer to the item of the instrument that is nothing but a number to look for.
    fn number(&self) -> u64 {
        let mut dice = self.dice.borrow_mut();
        // Times of day have whole milliseconds, so that no fraction of a second is mistaken for it.
        let number = dice.within(700..=799) * 1_000 + dice.within(1..=999);
        self.numbers.borrow_mut().insert(number.to_string());
        number
    }

    /// Does `action`, and returns once it is settled.
    pub async fn act(&self, action: &Action) {
        let patient = action.patient;
        if action.device > 0 {
            self.journal.met("phone: second device");
        }
        match &action.what {
            What::Send(diary) => {
                if let Some((id, body)) = self.complete(action, diary).await {
                    self.send_one(patient, id, body, diary.corrects.is_some()).await;
                }
            }
            What::Twice(diary) => {
                self.journal.met("phone: two devices at once");
                if let Some((id, body)) = self.complete(action, diary).await {
                    let corrects = diary.corrects.is_some();
                    let first = self.send_one(patient, id, body.clone(), corrects);
                    futures::join!(first, self.send_one(patient, id, body, corrects));
                }
            }
            What::Batch(diaries) => {
                self.journal.met("phone: offline batch");
                let mut batch = Vec::new();
                for diary in diaries {
                    batch.extend(self.complete(action, diary).await);
                }
                self.send_batch(patient, batch).await;
            }
            What::PartlyInvalid(diary) => {
                self.journal.met("phone: invalid submission in a batch");
                if let Some((id, body)) = self.complete(action, diary).await {
                    // No error may quote what is wrong.
                    let answers = json!({"1": self.number(), "2": SECRET, "3": SECRET});
                    let mut invalid = json!({"id": SECRET, "instrument": "pain", "version": OLDER, "answers": answers});
                    invalid["authoredAt"] = json!(SECRET);
                    self.send_with_invalid(patient, id, body, invalid).await;
                }
            }
            What::OtherBody { pain, at_once } => self.send_other(action, *pain, *at_once).await,
            What::Intrude => self.intrude(patient).await,
            What::Due => self.ask_what_is_due(patient).await,
            What::Draft { diary, at_once } => self.keep_draft(action, diary, *at_once).await,
        }
    }

    /// A new body of `diary`; `None` if what it corrects was never sent.
    async fn complete(&self, action: &Action, diary: &Diary) -> Option<(Uuid, Value)> {
        // One device of two has a clock that is two hours fast.
        let fast = if action.device > 0 { 7_200 } else { 0 };
        if fast > 0 {
            self.journal.met("fault: clock of a phone wrong");
        }
        let now = clock::now() + Duration::from_secs(fast);
        let authored = match diary.completed {
            None => now - Duration::from_secs(900 * diary.quarters_ago),
            Some(at) => clock::start_of_day() + time::Duration::seconds(at) + Duration::from_secs(fast),
        };
        let id = {
            let mut dice = self.dice.borrow_mut();
            let random = (u128::from(dice.roll()) << 64) | u128::from(dice.roll());
            match diary.completed {
                None => Uuid::from_u128(random),
                // As an app should: the id begins with the time of its clock.
                Some(_) => of_version_7(authored, random),
            }
        };
        let number = self.number();
        let original = diary.corrects.map(|index| self.diaries.borrow()[action.patient].get(index).copied());
        self.diaries.borrow_mut()[action.patient].push(id);
        let amends = match original {
            None => None,
            Some(None) => return None,
            Some(Some(of)) => {
                self.journal.met("phone: correction");
                Some(of)
            }
        };
        let body = json!({
            "id": id.to_string(), "instrument": "pain", "version": if diary.newer { NEWER } else { OLDER },
            "authoredAt": authored.format(&Rfc3339).ok()?, "sentAt": now.format(&Rfc3339).ok()?,
            "answers": {"1": diary.pain, "2": diary.fever, "3": number},
            "amends": amends.map(|of| of.to_string()), "reason": amends.map(|_| format!("{SECRET} mistyped")),
        });
        Some((id, body))
    }
}

/// A UUID of version 7 that was made at `at`.
fn of_version_7(at: OffsetDateTime, random: u128) -> Uuid {
    let millis = u64::try_from(at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let bytes = random.to_be_bytes();
    uuid::Builder::from_unix_timestamp_millis(millis, bytes[6..].try_into().expect("ten bytes are left")).into_uuid()
}
