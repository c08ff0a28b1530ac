//! What the answers of the API settle.

use serde_json::Value;
use uuid::Uuid;

use super::{Phones, pseudonym};
use crate::clock;
use crate::gateway::{Answer, receipt};
use crate::plan::SITES;

impl Phones {
    /// Keeps what was sent under `id`.
    pub(super) fn sent(&self, patient: usize, id: Uuid, body: &Value) {
        let mut known = self.known.borrow_mut();
        let known = known.entry(id).or_default();
        known.patient = pseudonym(patient);
        known.home = SITES[patient % SITES.len()];
        known.sites.insert(self.site(patient));
        known.first_sent.get_or_insert(clock::now());
        if known.bodies.contains(body) {
            self.journal.met("phone: repeat");
        } else {
            known.bodies.push(body.clone());
        }
    }

    /// Whether `answer` settles the submission: it is stored, or it is refused for good.
    pub(super) fn settle(&self, id: Uuid, body: &Value, answer: &Answer, corrects: bool) -> bool {
        match answer.status {
            200 | 202 => {
                self.journal.met(if answer.status == 202 { "branch: 202 accepted" } else { "branch: 200 repeated" });
                let receipt = receipt(&answer.body);
                let mut known = self.known.borrow_mut();
                let known = known.entry(id).or_default();
                match &known.accepted {
                    None => {
                        known.accepted = Some((body.clone(), receipt));
                        known.answered = Some(clock::now());
                    }
                    Some((first, earlier)) if first == body && *earlier == receipt => {}
                    Some((first, _)) => {
                        let what = if first == body { "another receipt" } else { "another body accepted" };
                        self.journal.violation(format!("promise 5: {id} got {what}"));
                    }
                }
                true
            }
            403 if self.settle_withdrawn(id, answer) => true,
            409 => {
                self.journal.met("branch: 409 conflict");
                if !corrects {
                    self.journal.violation(format!("promise 5: {id} conflicts with itself"));
                }
                self.known.borrow_mut().entry(id).or_default().refused = Some(clock::now());
                true
            }
            422 if corrects => {
                self.journal.met("branch: 422 refused");
                self.known.borrow_mut().entry(id).or_default().refused = Some(clock::now());
                true
            }
            _ if self.is_to_repeat(answer) => false,
            other => {
                self.journal.violation(format!("{id} was answered {other}"));
                true
            }
        }
    }

    /// Whether `answer` refuses the submission because its patient has withdrawn, and a withdrawal was sent.
    pub(super) fn settle_withdrawn(&self, id: Uuid, answer: &Answer) -> bool {
        let mut known = self.known.borrow_mut();
        let known = known.entry(id).or_default();
        let is_withdrawn = self.is_withdrawn(&known.patient, answer);
        if is_withdrawn {
            self.journal.met("branch: 403 withdrawn");
            known.is_withdrawn = true;
        }
        is_withdrawn
    }

    /// Whether `answer` says that `patient` has withdrawn, and a withdrawal was sent.
    pub(super) fn is_withdrawn(&self, patient: &str, answer: &Answer) -> bool {
        answer.body["type"] == "urn:epro:problem:patient-withdrawn" && self.withdrawn.borrow().contains_key(patient)
    }

    /// Whether `answer` asks the caller to send the same again.
    pub fn is_to_repeat(&self, answer: &Answer) -> bool {
        match answer.status {
            503 | 504 => {
                if answer.retry_after {
                    self.journal.met("branch: 503 with Retry-After");
                } else {
                    self.journal.violation(format!("promise 7: {} without Retry-After", answer.status));
                }
                true
            }
            // From the gateway: the function did not answer.
            500 => answer.body.is_null(),
            _ => false,
        }
    }
}
