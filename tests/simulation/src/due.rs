//! What is due, as patients and staff are told: well formed whenever they ask, and once the world has settled, what is
//! stored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::sleep;

use crate::checks::instant;
use crate::gateway::Answer;
use crate::phone::{Phones, pseudonym};
use crate::plan::SITES;
use crate::run::Simulation;

/// The lists of what a patient is told.
const LISTS: [&str; 4] = ["open", "next", "done", "missed"];
const TRIES: usize = 20;
/// How far back answered and missed windows are shown.
const BACK: time::Duration = time::Duration::days(7);
/// For how long windows are stored ahead: more are made a day before the next one opens.
const AHEAD: time::Duration = time::Duration::hours(23);

impl Phones {
    /// `patient` asks what is due.
    pub(crate) async fn ask_what_is_due(&self, patient: usize) {
        for _ in 0..TRIES {
            match self.due(patient).await {
                Some(answer) if answer.status == 200 => {
                    self.journal.met("branch: due shown to a patient");
                    for fault in faults_of_patient(&answer.body) {
                        self.journal.violation(format!("due: {fault}"));
                    }
                    return;
                }
                Some(answer) if !self.is_to_repeat(&answer) => {
                    return self.journal.violation(format!("due: a patient was answered {}", answer.status));
                }
                _ => sleep(Duration::from_secs(5)).await,
            }
        }
    }
}

impl Simulation {
    /// Staff of each site list what is due there.
    pub(crate) async fn list_due(&self) {
        for site in SITES {
            for status in ["open", "missed", "done"] {
                self.list(site, status).await;
            }
        }
    }

    /// The windows of `status` at `site`, page by page; `None` if no answer came.
    async fn list(&self, site: &str, status: &str) -> Option<Vec<Value>> {
        let mut windows = Vec::new();
        let ask = async |query| self.phones.due_at(site, query).await;
        for page in self.pages_of("due", &format!("status={status}&limit=1"), ask).await? {
            self.journal.met("branch: due listed for a site");
            for window in page["due"].as_array().into_iter().flatten() {
                if let Some(fault) = fault_of(window).or((window["status"] != status).then_some("another status")) {
                    self.journal.violation(format!("due: {fault} at {site}"));
                }
                windows.push(window.clone());
            }
        }
        Some(windows)
    }

    /// Once the world has settled, what patients and staff are told is what is stored. A version of the study that is not
    /// in the stored windows yet is in what they are told, so that only what is over is compared then.
    pub(crate) async fn check_due(&self) {
        let Some(asking) = &self.plan().asking else { return };
        let is_changed = asking.later.is_some() && self.versions.get() > 0;
        let lists = if is_changed { &LISTS[2..] } else { &LISTS[..] };
        let mut told_staff = BTreeMap::new();
        for (patient, _) in asking.enrolments.iter().enumerate() {
            let Some(Answer { status: 200, body, .. }) = self.phones.due(patient).await else {
                self.journal.violation("due: it is not shown in fair weather");
                continue;
            };
            faults_of_patient(&body).iter().for_each(|fault| self.journal.violation(format!("due: {fault}")));
            let Some(now) = instant(&body["now"]) else { continue };
            let stored = self.stored_windows(patient, now);
            for list in lists {
                let told = body[list].as_array().into_iter().flatten();
                let told: BTreeSet<String> = told.filter(|window| is_made(window, now)).map(name_of).collect();
                let expected = stored.get(list).cloned().unwrap_or_default();
                if let Some(window) = told.symmetric_difference(&expected).next() {
                    let place = if told.contains(window) { "told" } else { "stored" };
                    self.journal.violation(format!("due: {window} is only {place} as {list}"));
                }
                for window in told {
                    told_staff.entry(*list).or_insert_with(Vec::new).push(format!("{} {window}", pseudonym(patient)));
                }
            }
        }
        for list in lists.iter().filter(|list| **list != "next") {
            let mut listed = Vec::new();
            for site in SITES {
                let windows = self.list(site, list).await.unwrap_or_default();
                listed.extend(
                    windows.iter().map(|window| {
                        format!("{} {}", window["patient"].as_str().unwrap_or_default(), name_of(window))
                    }),
                );
            }
            // A patient who has sent from two sites is listed at both.
            listed.sort();
            listed.dedup();
            let mut expected = told_staff.get(list).cloned().unwrap_or_default();
            expected.sort();
            if listed != expected {
                let (listed, expected) = (listed.len(), expected.len());
                self.journal.violation(format!("due: sites list {listed} windows as {list}, and patients {expected}"));
            }
        }
    }

    /// The stored windows of `patient` as they are at `now`, by the list that they belong to.
    fn stored_windows(&self, patient: usize, now: OffsetDateTime) -> BTreeMap<&'static str, BTreeSet<String>> {
        let mut lists: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        let pk = format!("PATIENT#DEMO#{}", pseudonym(patient));
        for row in self.settled("occurrence").iter().filter(|row| row["pk"] == pk.as_str()) {
            let (Some(opens), Some(closes)) = (instant(&row["opens"]), instant(&row["closes"])) else { continue };
            let list = match row["state"].as_str() {
                Some("waiting") if now < opens => "next",
                Some("waiting") if now < closes => "open",
                Some("waiting" | "missed") => "missed",
                Some("done") => "done",
                _ => continue,
            };
            if closes > now - BACK && is_made(row, now) {
                let name = row["sk"].as_str().unwrap_or_default().trim_start_matches("OCCURRENCE#");
                lists.entry(list).or_default().insert(format!("{name} {} {}", row["opens"], row["closes"]));
            }
        }
        lists
    }
}

/// Whether `window` opens within the time for which windows are always made.
fn is_made(window: &Value, now: OffsetDateTime) -> bool {
    instant(&window["opens"]).is_some_and(|opens| opens < now + AHEAD)
}

/// The schedule, the number and the times of a window.
fn name_of(window: &Value) -> String {
    let number = window["occurrence"].as_u64().unwrap_or_default();
    let schedule = window["schedule"].as_str().unwrap_or_default();
    format!("{schedule}#{number:04} {} {}", window["opens"], window["closes"])
}

/// What is not as it must be in what a patient is told.
fn faults_of_patient(body: &Value) -> Vec<&'static str> {
    let Some(now) = instant(&body["now"]) else { return vec!["it has no time"] };
    let mut faults = Vec::new();
    for list in LISTS {
        let Some(windows) = body[list].as_array() else {
            faults.push("a list is missing");
            continue;
        };
        for window in windows {
            faults.extend(fault_of(window));
            let (opens, closes) = (instant(&window["opens"]), instant(&window["closes"]));
            let is_in_its_list = match list {
                "open" => opens <= Some(now) && Some(now) < closes,
                "next" => opens > Some(now),
                "missed" => closes <= Some(now),
                _ => window["submission"].is_string(),
            };
            // What is missed by a clock that is right may be open by one that is wrong, and the other way round: that is
            // missed which is stored as such.
            if !is_in_its_list && list != "missed" {
                faults.push("a window is in another list than its times say");
            }
        }
        if !windows.is_sorted_by_key(|window| instant(&window["opens"])) {
            faults.push("windows are not in their order");
        }
    }
    faults
}

fn fault_of(window: &Value) -> Option<&'static str> {
    let (opens, closes) = (instant(&window["opens"]), instant(&window["closes"]));
    if opens.is_none() || opens >= closes {
        return Some("a window does not open before it closes");
    }
    let is_named = window["schedule"].is_string() && window["occurrence"].as_u64().is_some_and(|number| number > 0);
    let answer = (window["submission"].is_string(), window["late"].is_boolean());
    (!is_named || answer.0 != answer.1 || window["instrument"] != "pain").then_some("a window is not whole")
}
