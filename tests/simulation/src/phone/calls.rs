//! Single calls of the API, which may be lost on the way.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{Phones, SECRET, pseudonym};
use crate::asking::EVENT;
use crate::clock;
use crate::cloud::Name;
use crate::gateway::{Answer, ApiCall, WORKLIST, gateway};
use crate::plan::SITES;

/// How long a phone waits for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

impl Phones {
    pub(super) async fn pause(&self, pause: Duration) -> Duration {
        let jitter = self.dice.borrow_mut().below(1_000);
        sleep(pause + Duration::from_millis(jitter)).await;
        (pause * 2).min(LONGEST_PAUSE)
    }

    /// Sends a request of `patient`; `None` if no answer came.
    pub(super) async fn post(&self, patient: usize, route: &'static str, body: &Value) -> Option<Answer> {
        let (name, sub) = (pseudonym(patient), format!("{SECRET}-sub-{patient}"));
        let claims = [("sites", self.site(patient)), ("patient", name.as_str()), ("sub", sub.as_str())];
        self.call(ApiCall::new(Name::Submit, route, &claims).with_body(body)).await
    }

    /// What is due, as `patient` is told; `None` if no answer came.
    pub(crate) async fn due(&self, patient: usize) -> Option<Answer> {
        let name = pseudonym(patient);
        self.call(ApiCall::new(Name::Due, "GET /v1/due", &[("sites", self.site(patient)), ("patient", name.as_str())]))
            .await
    }

    /// A page of what is due at `site`, as its staff are told; `None` if no answer came.
    pub(crate) async fn due_at(&self, site: &str, query: String) -> Option<Answer> {
        let claims = [("role", "staff"), ("sites", site), ("patient", "")];
        let call = ApiCall::new(Name::Due, "GET /v1/sites/{site}/due", &claims);
        self.call(call.at("site", site).with_query(query)).await
    }

    /// A page of the alerts that wait at `sites`, as a clinician is told; `None` if no answer came.
    pub(crate) async fn worklist(&self, sites: &str, query: String) -> Option<Answer> {
        let claims = [("role", "clinician"), ("sites", sites), ("patient", "")];
        self.call(ApiCall::new(Name::Alerts, WORKLIST, &claims).with_query(query)).await
    }

    /// A clinician of `sites` acknowledges `alert`, once.
    pub async fn acknowledge(&self, alert: &str, sites: &str, clinician: &str) -> Answer {
        let note = json!({"note": format!("{SECRET} called by the {clinician}")});
        self.review("POST /v1/alerts/{alertId}/acknowledge", alert, sites, clinician, &note).await
    }

    /// A clinician of all sites snoozes `alert` until a time, once.
    pub async fn snooze(&self, alert: &str, until: &str, clinician: &str) -> Answer {
        let body = json!({"until": until, "reason": format!("{SECRET} is on the way")});
        self.review("POST /v1/alerts/{alertId}/snooze", alert, &SITES.join(" "), clinician, &body).await
    }

    async fn review(&self, route: &'static str, alert: &str, sites: &str, clinician: &str, body: &Value) -> Answer {
        let sub = format!("{SECRET}-dr-{clinician}");
        let claims = [("role", "clinician"), ("sites", sites), ("patient", ""), ("sub", &sub)];
        let call = ApiCall::new(Name::Alerts, route, &claims).at("alertId", alert).with_body(body);
        self.keep_refusal(gateway(&self.cloud, call).await)
    }

    /// Staff of all sites send `body` about `patient`, once.
    pub async fn staff(&self, route: &'static str, patient: usize, body: &Value) -> Answer {
        let (sites, sub) = (SITES.join(" "), format!("{SECRET}-staff"));
        let claims = [("role", "staff"), ("sites", &sites), ("patient", ""), ("sub", &sub)];
        // Routes without an event ignore it.
        let call = ApiCall::new(Name::Registry, route, &claims).at("patient", pseudonym(patient)).at("event", EVENT);
        self.keep_refusal(gateway(&self.cloud, call.with_body(body)).await)
    }

    /// Keeps an error, which must not repeat what was sent.
    fn keep_refusal(&self, answer: Answer) -> Answer {
        if answer.status >= 400 {
            self.answers.borrow_mut().push(answer.body.to_string());
        }
        answer
    }

    pub(super) async fn get(&self, claims: &[(&'static str, &str)], id: &str, query: &str) -> Option<Answer> {
        self.call(ApiCall::new(Name::Submit, "GET /v1/submissions/{id}", claims).at("id", id).with_query(query)).await
    }

    /// Sends `call` by the network of a phone; `None` if no answer came.
    pub(super) async fn call(&self, call: ApiCall) -> Option<Answer> {
        let route = call.route;
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
        let answered = timeout(PATIENCE, gateway(&self.cloud, call));
        let answer = answered.await.ok();
        sleep(Duration::from_millis(back)).await;
        if let Some(answer) = &answer {
            self.journal.note(format!("phone: {route} is answered {}", answer.status));
            if !route.starts_with("GET") || answer.status >= 400 {
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
