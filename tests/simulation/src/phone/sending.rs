//! What phones send, until it is answered.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::Phones;
use crate::gateway::results;
use crate::plan::{Action, Diary};

/// How often a phone sends a correction that is answered with a conflict: its original may not be there yet.
const CORRECTION_TRIES: u32 = 4;

impl Phones {
    pub(super) async fn send_one(&self, patient: usize, id: Uuid, body: Value, corrects: bool) {
        let mut conflicts = 0;
        let mut pause = Duration::from_secs(1);
        loop {
            self.sent(patient, id, &body);
            let answer = self.post(patient, "POST /v1/submissions", &body).await;
            if let Some(answer) = answer {
                let again = answer.status == 409 && corrects && conflicts < CORRECTION_TRIES;
                conflicts += u32::from(again);
                if self.settle(id, &body, &answer, corrects) && !again {
                    return;
                }
            }
            pause = self.pause(pause).await;
        }
    }

    pub(super) async fn send_batch(&self, patient: usize, mut batch: Vec<(Uuid, Value)>) {
        let mut tries = 0;
        let mut pause = Duration::from_secs(1);
        while !batch.is_empty() {
            batch.iter().for_each(|(id, body)| self.sent(patient, *id, body));
            let body: Vec<&Value> = batch.iter().map(|(_, body)| body).collect();
            if let Some(answer) = self.post(patient, "POST /v1/submissions/batch", &json!(body)).await {
                if answer.status == 207 {
                    tries += 1;
                    let results = results(&answer);
                    let mut index = 0;
                    batch.retain(|(id, body)| {
                        let result = &results[index];
                        index += 1;
                        let corrects = body["amends"].is_string();
                        let again = result.status == 409 && corrects && tries < CORRECTION_TRIES;
                        !self.settle(*id, body, result, corrects) || again
                    });
                } else if !self.is_to_repeat(&answer) {
                    return self.journal.violation(format!("a valid batch was answered {}", answer.status));
                }
            }
            pause = self.pause(pause).await;
        }
    }

    /// Sends a batch with one entry that is not valid: it must not affect the other.
    pub(super) async fn send_with_invalid(&self, patient: usize, id: Uuid, body: Value, invalid: Value) {
        let mut pause = Duration::from_secs(1);
        loop {
            self.sent(patient, id, &body);
            let batch = json!([invalid, body]);
            if let Some(answer) = self.post(patient, "POST /v1/submissions/batch", &batch).await {
                if answer.status == 207 {
                    let results = results(&answer);
                    if results[0].status == 422 {
                        self.journal.met("branch: 422 refused");
                    } else {
                        self.journal.violation(format!("promise 8: an invalid entry got {}", results[0].status));
                    }
                    if self.settle(id, &body, &results[1], false) {
                        return;
                    }
                } else if !self.is_to_repeat(&answer) {
                    return self.journal.violation(format!("promise 8: a batch was answered {}", answer.status));
                }
            }
            pause = self.pause(pause).await;
        }
    }

    /// Sends another body under the id of the patient's latest diary, after it was answered or at the same time.
    pub(super) async fn send_other(&self, action: &Action, pain: u64, at_once: bool) {
        self.journal.met("phone: other body under the same id");
        let patient = action.patient;
        let diary =
            Diary { quarters_ago: 1, pain: Some(5), fever: false, corrects: None, newer: false, completed: None };
        let Some((id, body)) = self.complete(action, &diary).await else { return };
        let mut other = body.clone();
        other["answers"]["1"] = json!(pain);
        other["answers"]["3"] = json!(self.number());
        if at_once {
            let (first, second) = (self.send_racing(patient, id, &body), self.send_racing(patient, id, &other));
            let (first, second) = futures::join!(first, second);
            if first.is_some() && first == second {
                self.journal.violation(format!("promise 5: of two bodies of {id}, both or none were accepted"));
            }
            return;
        }
        self.send_one(patient, id, body, false).await;
        let is_stored = self.known.borrow().get(&id).is_some_and(|known| known.accepted.is_some());
        if self.send_racing(patient, id, &other).await == Some(true) && is_stored {
            self.journal.violation(format!("promise 5: another body of {id} was accepted"));
        }
    }

    /// Sends a body whose id may already be stored with another body, and returns whether it was accepted; `None` if the
    /// patient has withdrawn.
    pub(super) async fn send_racing(&self, patient: usize, id: Uuid, body: &Value) -> Option<bool> {
        let mut pause = Duration::from_secs(1);
        loop {
            self.sent(patient, id, body);
            if let Some(answer) = self.post(patient, "POST /v1/submissions", body).await {
                match answer.status {
                    200 | 202 => {
                        self.settle(id, body, &answer, false);
                        return Some(true);
                    }
                    409 => return Some(false),
                    403 if self.settle_withdrawn(id, &answer) => return None,
                    _ if self.is_to_repeat(&answer) => {}
                    other => self.journal.violation(format!("promise 5: another body of {id} was answered {other}")),
                }
            }
            pause = self.pause(pause).await;
        }
    }
}
