//! Drafts: devices of a patient answer one questionnaire item by item, each on what the others have stored, and submit it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Phones, pseudonym};
use crate::cloud::Name;
use crate::gateway::{Answer, ApiCall};
use crate::plan::{Action, Diary};

const PUT: &str = "PUT /v1/drafts/{id}";
const GET: &str = "GET /v1/drafts/{id}";
/// How often a device begins again because another one was first.
const TRIES: usize = 40;

/// What the answers of the API said about a draft.
#[derive(Debug, Default)]
struct KnownDraft {
    /// The answers in it, by its ETag.
    contents: BTreeMap<String, Value>,
    /// The ETag that took the place of each; `None`: of no draft.
    replaced: BTreeMap<Option<String>, String>,
}

impl KnownDraft {
    /// Keeps that the draft with this `etag` has these `answers`. Returns whether that is not what was known of it.
    fn differs(&mut self, etag: &str, answers: &Value) -> bool {
        self.contents.entry(etag.to_owned()).or_insert_with(|| answers.clone()) != answers
    }
}

/// A questionnaire that is being answered.
struct Drafting<'a> {
    phones: &'a Phones,
    patient: usize,
    id: Uuid,
    version: &'a Value,
    known: RefCell<KnownDraft>,
}

/// A device gives up a draft: it is submitted, its patient has withdrawn, or a promise is broken.
#[derive(Clone, Copy, Debug)]
struct GivenUp;

impl Phones {
    /// The devices of a patient answer `diary` in a draft, as many at the same time as the plan says, and one submits it.
    pub(super) async fn keep_draft(&self, action: &Action, diary: &Diary, at_once: bool) {
        self.journal.met("phone: draft");
        let Some((id, body)) = self.complete(action, diary).await else { return };
        let patient = action.patient;
        let known = RefCell::default();
        let drafting = Drafting { phones: self, patient, id, version: &body["version"], known };
        let answers: Vec<(&String, &Value)> = body["answers"].as_object().into_iter().flatten().collect();
        let mut kept = Vec::new();
        if at_once {
            kept = futures::future::join_all(answers.iter().map(|(item, answer)| drafting.keep(item, answer))).await;
        } else {
            for (item, answer) in &answers {
                kept.push(drafting.keep(item, answer).await);
            }
        }
        if kept.iter().all(Result::is_ok) {
            drafting.has_all(&answers).await;
        }
        drafting.is_hidden().await;
        self.send_one(patient, id, body.clone(), false).await;
        if self.known.borrow().get(&id).is_some_and(|known| known.accepted.is_some()) {
            drafting.is_gone().await;
        }
    }
}

impl Drafting<'_> {
    /// Adds `answer` to what is stored, until it is there.
    async fn keep(&self, item: &str, answer: &Value) -> Result<(), GivenUp> {
        for _ in 0..TRIES {
            let (base, mut answers) = self.read().await?;
            // Who did not get the answer to a change finds it.
            if answers.get(item).is_some() || answer.is_null() {
                return Ok(());
            }
            answers.insert(item.to_owned(), answer.clone());
            if self.put(base, &Value::Object(answers)).await? {
                return Ok(());
            }
        }
        self.violation("a device never comes to change it");
        Ok(())
    }

    /// The ETag and the answers of the stored draft; no ETag, and none, if there is no draft.
    async fn read(&self) -> Result<(Option<String>, Map<String, Value>), GivenUp> {
        let mut pause = Duration::from_secs(1);
        loop {
            let replaced: BTreeSet<Option<String>> = self.known.borrow().replaced.keys().cloned().collect();
            if let Some(answer) = self.send(GET, None, None).await {
                match (answer.status, &answer.etag) {
                    (200, Some(etag)) => {
                        if replaced.contains(&Some(etag.clone())) {
                            self.violation("it is read as it was before a change that was answered");
                        }
                        if self.known.borrow_mut().differs(etag, &answer.body["answers"]) {
                            self.violation("it is read with other answers than were stored");
                        }
                        let answers = answer.body["answers"].as_object().cloned();
                        return Ok((Some(etag.clone()), answers.unwrap_or_default()));
                    }
                    (404, _) if replaced.is_empty() => return Ok((None, Map::new())),
                    (410, _) => return Err(GivenUp),
                    _ if self.phones.is_to_repeat(&answer) => {}
                    (other, _) => {
                        self.violation(&format!("a read is answered {other}"));
                        return Err(GivenUp);
                    }
                }
            }
            pause = self.phones.pause(pause).await;
        }
    }

    /// Puts `answers` in the place of the draft with the ETag `base`, by the same request until it is answered. Returns
    /// whether it is stored: not if the draft is another one by now.
    async fn put(&self, base: Option<String>, answers: &Value) -> Result<bool, GivenUp> {
        let mut pause = Duration::from_secs(1);
        loop {
            if let Some(answer) = self.send(PUT, Some(&base), Some(answers)).await {
                match (answer.status, &answer.etag) {
                    (200 | 201, Some(etag)) => {
                        let is_repeat = base.is_none() && answer.status == 200;
                        self.phones.journal.met(if is_repeat {
                            "branch: draft stored before"
                        } else {
                            "branch: draft stored"
                        });
                        let mut known = self.known.borrow_mut();
                        let other = known.replaced.insert(base, etag.clone()).is_some_and(|known| known != *etag);
                        if known.differs(etag, answers) || other {
                            self.violation("two changes of the same draft are stored");
                        }
                        return Ok(true);
                    }
                    (412, _) => {
                        self.phones.journal.met("branch: draft changed by another device");
                        return Ok(false);
                    }
                    (409, _) if is_problem(&answer, "draft-submitted") => return Err(GivenUp),
                    (403, _) if self.phones.is_withdrawn(&pseudonym(self.patient), &answer) => {
                        return Err(GivenUp);
                    }
                    _ if self.phones.is_to_repeat(&answer) => {}
                    (other, _) => {
                        self.violation(&format!("a change is answered {other}"));
                        return Err(GivenUp);
                    }
                }
            }
            pause = self.phones.pause(pause).await;
        }
    }

    /// No answer of a device is lost.
    async fn has_all(&self, answers: &[(&String, &Value)]) {
        match self.read().await {
            Ok((_, stored)) => {
                let given = answers.iter().filter(|(_, answer)| !answer.is_null());
                if !given.clone().all(|(item, answer)| stored.get(*item) == Some(answer)) {
                    self.violation("an answer of a device is lost");
                }
            }
            Err(_) => self.violation("it is gone before its submission is sent"),
        }
    }

    /// Another patient does not find it.
    async fn is_hidden(&self) {
        let (site, other) = (self.phones.site(self.patient), pseudonym(self.patient + 1));
        let call = ApiCall::new(Name::Drafts, GET, &[("sites", site), ("patient", &other)]);
        if let Some(answer) = self.phones.call(call.at("id", self.id.to_string())).await
            && answer.status != 404
            && !self.phones.is_to_repeat(&answer)
        {
            self.phones
                .journal
                .violation(format!("promise 9: a draft of another patient is answered {}", answer.status));
        }
    }

    /// It is gone with the submission, and none is stored any more.
    async fn is_gone(&self) {
        for _ in 0..TRIES {
            let (read, put) = (self.send(GET, None, None).await, self.send(PUT, Some(&None), Some(&json!({}))).await);
            let (Some(read), Some(put)) = (read, put) else { continue };
            if self.phones.is_to_repeat(&read) || self.phones.is_to_repeat(&put) {
                self.phones.pause(Duration::from_secs(5)).await;
                continue;
            }
            let is_refused = is_problem(&put, "draft-submitted") || is_problem(&put, "patient-withdrawn");
            if is_problem(&read, "draft-gone") && is_refused {
                self.phones.journal.met("branch: draft gone with its submission");
            } else {
                let statuses = (read.status, put.status);
                self.violation(&format!("after its submission, a read and a change are answered {statuses:?}"));
            }
            return;
        }
    }

    async fn send(
        &self,
        route: &'static str,
        base: Option<&Option<String>>,
        answers: Option<&Value>,
    ) -> Option<Answer> {
        let name = pseudonym(self.patient);
        let claims = [("sites", self.phones.site(self.patient)), ("patient", name.as_str())];
        let mut call = ApiCall::new(Name::Drafts, route, &claims).at("id", self.id.to_string());
        call = match base {
            None => call,
            Some(None) => call.with_header("if-none-match", "*"),
            Some(Some(etag)) => call.with_header("if-match", etag),
        };
        if let Some(answers) = answers {
            call = call.with_body(&json!({"instrument": "pain", "version": self.version, "answers": answers}));
        }
        self.phones.call(call).await
    }

    fn violation(&self, what: &str) {
        self.phones.journal.violation(format!("drafts: {}: {what}", self.id));
    }
}

fn is_problem(answer: &Answer, kind: &str) -> bool {
    answer.body["type"] == format!("urn:epro:problem:{kind}")
}
