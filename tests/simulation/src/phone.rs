//! Phones: they complete diaries, send them until they are answered, repeat them unchanged under the same id, keep them
//! while they are offline, and correct them. What the API answered them is kept, since the promises are about it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use api::Handler as _;
use harness::{claims, request};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::clock;
use crate::cloud::{Cloud, Ended, Handler, Name};
use crate::dice::Dice;
use crate::journal::Journal;
use crate::plan::{Action, Diary, PATIENTS, Plan, SITES, WeatherFault, What};
use crate::registry::Withdrawn;

/// How long a phone waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// How often a phone sends a correction that is answered with a conflict: its original may not be there yet.
const CORRECTION_TRIES: u32 = 4;
/// In every note and reason; no log line, answer or message may have it.
pub const SECRET: &str = "SECRET";

/// The versions of the instrument.
pub const OLDER: &str = "1.0.0";
/// As [`OLDER`]; its scores continue the courses of the older one, and its rules differ.
pub const NEWER: &str = "1.1.0";

/// An answer of the API.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The JSON body.
    pub body: Value,
    /// Whether it says when to try again.
    pub retry_after: bool,
}

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
    /// When a correction was last refused.
    pub refused: Option<OffsetDateTime>,
    /// Whether it was refused because the patient has withdrawn.
    pub is_withdrawn: bool,
}

/// All phones of a plan.
pub struct Phones {
    cloud: Rc<Cloud>,
    journal: Journal,
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
        }
    }

    /// A new body of `diary`; `None` if what it corrects was never sent.
    async fn complete(&self, action: &Action, diary: &Diary) -> Option<(Uuid, Value)> {
        let id = {
            let mut dice = self.dice.borrow_mut();
            Uuid::from_u128((u128::from(dice.roll()) << 64) | u128::from(dice.roll()))
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
        // One device of two has a clock that is two hours fast.
        let fast = if action.device > 0 { 7_200 } else { 0 };
        if fast > 0 {
            self.journal.met("fault: clock of a phone wrong");
        }
        let now = clock::now() + Duration::from_secs(fast);
        let authored = now - Duration::from_secs(900 * diary.quarters_ago);
        let body = json!({
            "id": id.to_string(), "instrument": "pain", "version": if diary.newer { NEWER } else { OLDER },
            "authoredAt": authored.format(&Rfc3339).ok()?, "sentAt": now.format(&Rfc3339).ok()?,
            "answers": {"1": diary.pain, "2": diary.fever, "3": number},
            "amends": amends.map(|of| of.to_string()), "reason": amends.map(|_| format!("{SECRET} mistyped")),
        });
        Some((id, body))
    }

    async fn send_one(&self, patient: usize, id: Uuid, body: Value, corrects: bool) {
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

    async fn send_batch(&self, patient: usize, mut batch: Vec<(Uuid, Value)>) {
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
    async fn send_with_invalid(&self, patient: usize, id: Uuid, body: Value, invalid: Value) {
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
    async fn send_other(&self, action: &Action, pain: u64, at_once: bool) {
        self.journal.met("phone: other body under the same id");
        let patient = action.patient;
        let diary = Diary { quarters_ago: 1, pain: Some(5), fever: false, corrects: None, newer: false };
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
    async fn send_racing(&self, patient: usize, id: Uuid, body: &Value) -> Option<bool> {
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

    /// Those who may, and others, ask for the latest submission of `patient` that was accepted.
    async fn intrude(&self, patient: usize) {
        let is_stored = |id: &Uuid| self.known.borrow().get(id).is_some_and(|known| known.accepted.is_some());
        let latest = self.diaries.borrow()[patient].iter().rev().copied().find(is_stored);
        let Some(id) = latest else { return };
        let sites = self.known.borrow()[&id].sites.clone();
        // One that was repeated after a transfer is of the site that stored it first.
        let (Some(&site), 1) = (sites.first(), sites.len()) else { return };
        let Some(other_site) = SITES.into_iter().find(|other| *other != site) else { return };
        let other = pseudonym(patient + 1);
        let named = pseudonym(patient);
        let callers = [
            ("the patient", vec![("sites", site), ("patient", &named)], 200),
            ("staff of the site", vec![("role", "staff"), ("sites", site), ("patient", "")], 200),
            ("another patient", vec![("sites", site), ("patient", &other)], 404),
            ("another patient by name", vec![("sites", site), ("patient", &other)], 404),
            ("staff of another site", vec![("role", "staff"), ("sites", other_site), ("patient", "")], 404),
            ("staff without the scope", vec![("role", "staff"), ("sites", site), ("scope", "counts:read")], 403),
        ];
        for (who, changes, expected) in callers {
            let own = ["the patient", "another patient"].contains(&who);
            let query = if own { String::new() } else { format!("patient={named}") };
            for _ in 0..20 {
                let answer = self.get(&changes, &id.to_string(), &query).await;
                match answer {
                    Some(answer) if answer.status == 200 && expected == 200 => {
                        if answer.body["id"] != id.to_string() {
                            self.journal.violation(format!("promise 9: {who} was shown something else"));
                        }
                        self.journal.met("branch: shown to its own caller");
                        break;
                    }
                    Some(answer) if answer.status == expected => {
                        self.journal.met("branch: refused to another caller");
                        break;
                    }
                    Some(answer) if !self.is_to_repeat(&answer) => {
                        self.journal.violation(format!("promise 9: {who} was answered {}", answer.status));
                        break;
                    }
                    _ => sleep(Duration::from_secs(5)).await,
                }
            }
        }
    }

    /// Keeps what was sent under `id`.
    fn sent(&self, patient: usize, id: Uuid, body: &Value) {
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
    fn settle(&self, id: Uuid, body: &Value, answer: &Answer, corrects: bool) -> bool {
        match answer.status {
            200 | 202 => {
                self.journal.met(if answer.status == 202 { "branch: 202 accepted" } else { "branch: 200 repeated" });
                let receipt = receipt(&answer.body);
                let mut known = self.known.borrow_mut();
                let known = known.entry(id).or_default();
                match &known.accepted {
                    None => known.accepted = Some((body.clone(), receipt)),
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
    fn settle_withdrawn(&self, id: Uuid, answer: &Answer) -> bool {
        let mut known = self.known.borrow_mut();
        let known = known.entry(id).or_default();
        let is_withdrawn = answer.body["type"] == "urn:epro:problem:patient-withdrawn"
            && self.withdrawn.borrow().contains_key(&known.patient);
        if is_withdrawn {
            self.journal.met("branch: 403 withdrawn");
            known.is_withdrawn = true;
        }
        is_withdrawn
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

    async fn pause(&self, pause: Duration) -> Duration {
        let jitter = self.dice.borrow_mut().below(1_000);
        sleep(pause + Duration::from_millis(jitter)).await;
        (pause * 2).min(LONGEST_PAUSE)
    }

    /// Sends a request of `patient`; `None` if no answer came.
    async fn post(&self, patient: usize, route: &'static str, body: &Value) -> Option<Answer> {
        let (site, name) = (self.site(patient), pseudonym(patient));
        let claims = [("sites", site.to_owned()), ("patient", name), ("sub", format!("{SECRET}-sub-{patient}"))];
        self.call(route, Vec::new(), String::new(), claims.to_vec(), Some(body.to_string())).await
    }

    /// A clinician of `sites` acknowledges `alert`, once.
    pub async fn acknowledge(&self, alert: &str, sites: &str, clinician: &str) -> Answer {
        let sub = format!("{SECRET}-dr-{clinician}");
        let claims = [("role", "clinician"), ("sites", sites), ("patient", ""), ("sub", &sub)];
        let claims = claims.map(|(name, value)| (name, value.to_owned())).to_vec();
        let note = json!({"note": format!("{SECRET} called by the {clinician}")}).to_string();
        let (route, parameters) = ("POST /v1/alerts/{alertId}/acknowledge", vec![("alertId", alert.to_owned())]);
        let answer = gateway(&self.cloud, Name::Alerts, route, parameters, String::new(), claims, Some(note)).await;
        if answer.status >= 400 {
            self.answers.borrow_mut().push(answer.body.to_string());
        }
        answer
    }

    /// Staff of all sites send `body` about `patient`, once.
    pub async fn staff(&self, route: &'static str, patient: usize, body: &Value) -> Answer {
        let (sites, sub) = (SITES.join(" "), format!("{SECRET}-staff"));
        let claims = [("role", "staff"), ("sites", &sites), ("patient", ""), ("sub", &sub)];
        let claims = claims.map(|(name, value)| (name, value.to_owned())).to_vec();
        let (parameters, body) = (vec![("patient", pseudonym(patient))], Some(body.to_string()));
        let answer = gateway(&self.cloud, Name::Registry, route, parameters, String::new(), claims, body).await;
        if answer.status >= 400 {
            self.answers.borrow_mut().push(answer.body.to_string());
        }
        answer
    }

    async fn get(&self, changes: &[(&'static str, &str)], id: &str, query: &str) -> Option<Answer> {
        let claims = changes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let parameters = vec![("id", id.to_owned())];
        self.call("GET /v1/submissions/{id}", parameters, query.to_owned(), claims, None).await
    }

    async fn call(
        &self,
        route: &'static str,
        parameters: Vec<(&'static str, String)>,
        query: String,
        changes: Vec<(&'static str, String)>,
        body: Option<String>,
    ) -> Option<Answer> {
        let now = clock::elapsed().as_secs();
        let lost = {
            let mut dice = self.dice.borrow_mut();
            let mut hits = self.losing.iter().filter(|weather| (weather.from..weather.to).contains(&now));
            hits.any(|weather| dice.one_in(weather.one_in))
        };
        let (there, back) = {
            let mut dice = self.dice.borrow_mut();
            (dice.within(20..=400), dice.within(20..=400))
        };
        sleep(Duration::from_millis(there)).await;
        let answered = timeout(PATIENCE, gateway(&self.cloud, Name::Submit, route, parameters, query, changes, body));
        let answer = answered.await.ok();
        sleep(Duration::from_millis(back)).await;
        if let Some(answer) = &answer {
            self.journal.note(format!("phone: {route} is answered {}", answer.status));
            if route.starts_with("POST") || answer.status >= 400 {
                self.answers.borrow_mut().push(answer.body.to_string());
            }
        }
        if lost && answer.is_some() {
            self.journal.met("fault: answer to the phone lost");
            return None;
        }
        answer
    }
}

/// Calls an HTTP function as API Gateway does.
pub async fn gateway(
    cloud: &Cloud,
    name: Name,
    route: &'static str,
    parameters: Vec<(&'static str, String)>,
    query: String,
    changes: Vec<(&'static str, String)>,
    body: Option<String>,
) -> Answer {
    let ended = cloud.invoke(name, move |environment, remaining| {
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let changes: Vec<(&str, &str)> = changes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = request(route, &parameters, &query, Some(claims(&changes)), body.as_deref(), remaining);
        async move {
            match &environment.handler {
                Handler::Submit(submit) => submit.handle(request).await,
                Handler::Alerts(alerts) => alerts.handle(request).await,
                Handler::Registry(registry) => registry.handle(request).await,
                Handler::Score(_) | Handler::Sweep(_) => unreachable!("they are not behind the API"),
            }
        }
    });
    match ended.await {
        Ended::Returned(Ok(response)) => Answer {
            status: response.status().as_u16(),
            body: serde_json::from_slice(response.body().as_ref()).unwrap_or_else(|_| json!("no JSON")),
            retry_after: response.headers().contains_key("retry-after"),
        },
        Ended::Returned(Err(never)) => match never {},
        Ended::TimedOut | Ended::Lost => Answer { status: 500, body: Value::Null, retry_after: false },
    }
}

/// The results of a batch, as if each submission came alone.
fn results(answer: &Answer) -> Vec<Answer> {
    let one = |result: &Value| Answer {
        status: result["status"].as_u64().unwrap_or_default() as u16,
        // A refusal for good is told apart by its problem.
        body: result[if result["status"] == 403 { "problem" } else { "receipt" }].clone(),
        // A batch carries none for its entries.
        retry_after: true,
    };
    answer.body["results"].as_array().into_iter().flatten().map(one).collect()
}

/// What must be the same in each receipt of a submission.
fn receipt(body: &Value) -> Value {
    let body = body.get("receipt").unwrap_or(body);
    json!({"id": body["id"], "receivedAt": body["receivedAt"], "correlationId": body["correlationId"]})
}
