//! Single calls of the API, which may be lost on the way.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{Phones, SECRET, pseudonym};
use crate::asking::EVENT;
use crate::clock;
use crate::cloud::Name;
use crate::gateway::{Answer, gateway};
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
        let (site, name) = (self.site(patient), pseudonym(patient));
        let claims = [("sites", site.to_owned()), ("patient", name), ("sub", format!("{SECRET}-sub-{patient}"))];
        self.call(Name::Submit, route, Vec::new(), String::new(), claims.to_vec(), Some(body.to_string())).await
    }

    /// What is due, as `patient` is told; `None` if no answer came.
    pub(crate) async fn due(&self, patient: usize) -> Option<Answer> {
        let claims = [("sites", self.site(patient).to_owned()), ("patient", pseudonym(patient))];
        self.call(Name::Due, "GET /v1/due", Vec::new(), String::new(), claims.to_vec(), None).await
    }

    /// A page of what is due at `site`, as its staff are told; `None` if no answer came.
    pub(crate) async fn due_at(&self, site: &str, query: String) -> Option<Answer> {
        let claims = [("role", "staff".to_owned()), ("sites", site.to_owned()), ("patient", String::new())];
        let parameters = vec![("site", site.to_owned())];
        self.call(Name::Due, "GET /v1/sites/{site}/due", parameters, query, claims.to_vec(), None).await
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
        // Routes without an event ignore it.
        let (sites, sub) = (SITES.join(" "), format!("{SECRET}-staff"));
        let claims = [("role", "staff"), ("sites", &sites), ("patient", ""), ("sub", &sub)];
        let claims = claims.map(|(name, value)| (name, value.to_owned())).to_vec();
        let (parameters, body) =
            (vec![("patient", pseudonym(patient)), ("event", EVENT.to_owned())], Some(body.to_string()));
        let answer = gateway(&self.cloud, Name::Registry, route, parameters, String::new(), claims, body).await;
        if answer.status >= 400 {
            self.answers.borrow_mut().push(answer.body.to_string());
        }
        answer
    }

    pub(super) async fn get(&self, changes: &[(&'static str, &str)], id: &str, query: &str) -> Option<Answer> {
        let claims = changes.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let parameters = vec![("id", id.to_owned())];
        self.call(Name::Submit, "GET /v1/submissions/{id}", parameters, query.to_owned(), claims, None).await
    }

    pub(super) async fn call(
        &self,
        name: Name,
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
        let answered = timeout(PATIENCE, gateway(&self.cloud, name, route, parameters, query, changes, body));
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
