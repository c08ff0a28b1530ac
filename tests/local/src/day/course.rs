//! The course of the day: enrolment, then step by step what phones send and what sweep works off.

use std::collections::{BTreeMap, BTreeSet};

use authoring::progress::ProgressBar;
use clinical::ids::{PatientId, StudyId};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::DayError;
use super::observed::{self, Key};
use super::plan::{Answer, Asked, BEFORE, Patient, Plan};
use crate::client::Api;
use crate::faults::Dice;

/// Requests that are sent at the same time.
const AT_ONCE: usize = 8;

/// Runs of sweep at one step, until one finds nothing. Each works off all that is due; more than a few mean that one
/// makes work for the next.
const MOST_RUNS: usize = 20;

/// What happened, as patients and staff saw it.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When the answer to a window was received, by the receipt.
    pub(super) received: BTreeMap<Key, Timestamp>,
    /// The windows that were listed as missed after the closing of one.
    pub(super) missed: BTreeSet<Key>,
    /// Repeats that were answered with the first receipt.
    pub(super) repeats: usize,
    /// What was answered otherwise than it had to be.
    pub(super) differences: Vec<String>,
}

/// The day while it passes.
pub(super) struct Course<'a> {
    pub(super) api: &'a Api,
    pub(super) study: &'a StudyId,
    pub(super) plan: &'a Plan,
    pub(super) quiet: bool,
    /// The tokens of staff, by site.
    pub(super) staff: &'a BTreeMap<String, String>,
}

/// An answer of a patient that is to be sent.
struct Sending<'a> {
    patient: &'a Patient,
    token: &'a str,
    asked: &'a Asked,
    answer: &'a Answer,
}

impl Course<'_> {
    /// Enrols the patients, and lets the day pass.
    pub(super) async fn run(&self) -> Result<Seen, DayError> {
        let tokens = self.enrol().await?;
        let mut by_step: BTreeMap<Timestamp, Vec<Sending<'_>>> = BTreeMap::new();
        for (patient, token) in self.plan.patients.iter().zip(&tokens) {
            for asked in &patient.windows {
                if let Some(answer) = &asked.answer {
                    by_step.entry(answer.sent).or_default().push(Sending { patient, token, asked, answer });
                }
            }
        }
        let (steps, closings) = (self.plan.steps(), self.plan.closings());
        let progress = ProgressBar::new("day", steps.len(), self.quiet);
        let mut seen = Seen::default();
        // The occurrences of the first week.
        self.sweep().await?;
        for step in steps {
            progress.note(format!("{}", step.strftime("%a %H:%M UTC")));
            if let Some(sendings) = by_step.get(&step) {
                self.api.move_clock(&(step - BEFORE).to_string()).await?;
                self.send(sendings, &mut seen).await?;
            }
            self.api.move_clock(&step.to_string()).await?;
            self.sweep().await?;
            if closings.contains(&step) {
                for (site, token) in self.staff {
                    let missed = observed::windows(self.api, site, "missed", token).await?;
                    seen.missed.extend(missed.into_iter().map(|window| window.key));
                }
            }
            progress.step();
        }
        Ok(seen)
    }

    /// Registers the patients and returns their tokens.
    async fn enrol(&self) -> Result<Vec<String>, DayError> {
        let progress = ProgressBar::new("enrolled", self.plan.patients.len(), self.quiet);
        let enrol = async |patient: &Patient| {
            let staff = &self.staff[patient.site.as_str()];
            let path = format!("/v1/patients/{}", patient.id);
            let mut body = json!({"enrolledOn": patient.enrolled.to_string()});
            if let Some(zone) = patient.abroad {
                body["timeZone"] = zone.into();
            }
            self.api.put(&path, staff, &body).await?;
            if let Some(visit) = patient.visit {
                self.api.put(&format!("{path}/events/visit"), staff, &json!({"date": visit.to_string()})).await?;
            }
            let token = self.api.patient_token(self.study, &patient.site, &patient.id).await?;
            progress.step();
            Ok::<_, DayError>(token)
        };
        stream::iter(&self.plan.patients).map(enrol).buffered(AT_ONCE).try_collect().await
    }

    /// Sends what is to be sent before a step.
    async fn send(&self, sendings: &[Sending<'_>], seen: &mut Seen) -> Result<(), DayError> {
        let reminded = if sendings.iter().any(|sending| sending.answer.after_reminder) {
            observed::reminders(self.api, self.staff.keys()).await?.into_iter().map(|reminder| reminder.key).collect()
        } else {
            BTreeSet::new()
        };
        let of_phones = stream::iter(sendings).map(|sending| self.of_phone(sending, &reminded));
        let sent: Vec<Seen> = of_phones.buffered(AT_ONCE).try_collect().await?;
        for one in sent {
            seen.received.extend(one.received);
            seen.repeats += one.repeats;
            seen.differences.extend(one.differences);
        }
        Ok(())
    }

    /// What one phone does: it reads what is due, unless it was offline, and submits.
    async fn of_phone(&self, sending: &Sending<'_>, reminded: &BTreeSet<Key>) -> Result<Seen, DayError> {
        let Sending { patient, token, asked, answer } = *sending;
        let key = Key::of(&patient.id, asked);
        let mut seen = Seen::default();
        if answer.after_reminder && !reminded.contains(&key) {
            seen.differences.push(format!("{key}: no reminder came, so that the patient did not answer"));
            return Ok(seen);
        }
        if answer.sent <= asked.window.closes {
            let due: Value = self.api.read("/v1/due", Some(token)).await?;
            let is_open = |open: &Value| observed::is(open, &key);
            if !due["open"].as_array().is_some_and(|open| open.iter().any(is_open)) {
                seen.differences.push(format!("{key}: it is not open for the patient at {}", due["now"]));
                return Ok(seen);
            }
        }
        let body = body(&patient.id, asked, answer);
        let receipt = self.api.post("/v1/submissions", Some(token), &body).await?;
        let accepted = receipt.json();
        let received = accepted["receivedAt"].as_str().and_then(|at| at.parse().ok());
        let Some(received) = received.filter(|_| receipt.status.is_success()) else {
            seen.differences.push(format!("{key}: the submission was answered {}", receipt.status));
            return Ok(seen);
        };
        seen.received.insert(key.clone(), received);
        if answer.twice {
            let again = self.api.post("/v1/submissions", Some(token), &body).await?;
            if again.status.as_u16() == 200 && again.json()["receivedAt"] == accepted["receivedAt"] {
                seen.repeats += 1;
            } else {
                seen.differences.push(format!("{key}: the repeat was answered {}", again.status));
            }
        }
        Ok(seen)
    }

    /// Invokes sweep until it finds nothing more to do.
    async fn sweep(&self) -> Result<(), DayError> {
        for _ in 0..MOST_RUNS {
            let body = self.api.post("/local/schedules/sweep", None, &json!({})).await?.json();
            let run = &body["invocations"][0];
            let answer = &run["answer"];
            // One with failures is answered with an error; the next run tries again.
            let did = ["submissions", "courses", "alerts", "made", "reminded", "missed"];
            let is_idle = did.iter().all(|what| answer[*what] == 0) && answer["finished"] == true;
            if run["outcome"] == "answered" && is_idle {
                return Ok(());
            }
        }
        Err(DayError::Sweep(MOST_RUNS))
    }
}

/// The submission of an answer. The answers are mild, so that no rule of an instrument fires.
fn body(patient: &PatientId, asked: &Asked, answer: &Answer) -> Value {
    let number = patient
        .as_str()
        .bytes()
        .fold(u64::from(asked.window.number), |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    let mut dice = Dice::new(number);
    let mut code = |item: u32| match (asked.instrument.as_str(), item) {
        ("pain-nrs", _) => dice.below(5),
        ("phq-9", 9) => 0,
        ("phq-9", _) => dice.below(2),
        ("eortc-qlq-c30", _) => 1 + dice.below(2),
        _ => 0,
    };
    let items = match asked.instrument.as_str() {
        "phq-9" => 10,
        "eortc-qlq-c30" => 30,
        _ => 1,
    };
    let answers: Map<String, Value> = (1..=items).map(|item| (item.to_string(), code(item).into())).collect();
    json!({
        "id": answer.submission,
        "instrument": asked.instrument,
        "version": "1.0.0",
        "authoredAt": answer.completed.to_string(),
        "answers": answers,
    })
}
