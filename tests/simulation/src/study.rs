//! The study of a plan and its instrument, and the data manager who puts other versions of it in force.

use clinical::schedules::Schedule;
use harness::Path;
use serde_json::{Value, json};

use crate::asking::{EVENT, HOME};
use crate::clinicians::MOST_SNOOZE_MINUTES;
use crate::network::Network;
use crate::phone::{NEWER, OLDER};
use crate::plan::{Plan, SITES};
use crate::run::Simulation;

impl Simulation {
    /// Puts another version of the study in force. It is the data manager's own connection that has no faults, so the
    /// network is fair for everybody until it is done.
    pub(crate) async fn put_study_version(&self) {
        let number = self.versions.get() + 1;
        self.versions.set(number);
        let asking = self.plan().asking.as_ref();
        let schedules = asking.map(|asking| asking.later.as_ref().unwrap_or(&asking.schedules));
        let mut changed = study(self.plan(), &format!("1.{number}.0"), schedules);
        // Each time at another score.
        let rule = json!({"of": "total", "atLeast": 7 - number % 3});
        changed["instruments"][0]["rules"] = json!([{"id": "added", "severity": "warning", "when": {"score": rule}}]);
        self.world.connect(|_| Path::default());
        self.world.put_study(changed).await;
        let mut network = Network::of(self.plan(), self.cloud.gone(), self.journal.clone());
        self.world.connect(move |call| network.path(call));
        self.journal.met("fault: study changed");
    }
}

/// The first version of the study.
pub(crate) fn first(plan: &Plan) -> Value {
    study(plan, "1.0.0", plan.asking.as_ref().map(|asking| &asking.schedules))
}

/// The study, at `version`, with `schedules`.
fn study(plan: &Plan, version: &str, schedules: Option<&Vec<Schedule>>) -> Value {
    let instruments = [OLDER, NEWER].map(|version| json!({"id": "pain", "version": version}));
    let mut study = json!({
        "version": version,
        "sites": SITES.map(|site| json!({"id": site, "name": site, "timeZone": HOME})),
        "instruments": instruments,
        "alerts": {
            "escalation": {"afterMinutes": plan.escalation_minutes, "limit": plan.escalation_limit},
            "snooze": {"mostMinutes": MOST_SNOOZE_MINUTES},
        },
    });
    if let Some(schedules) = schedules {
        study["events"] = json!([EVENT]);
        study["schedules"] = json!(schedules);
    }
    study
}

/// An instrument with rules of every kind: on an answer, on the score, and some that look back, one with quiet hours. Its
/// third item is nothing but a number to look for in logs.
pub(crate) fn instrument(version: &str) -> String {
    let is_newer = version == NEWER;
    let change = |against: &str, by: u32| json!({"of": "total", "against": against, "worse": "higher", "by": by});
    let mut instrument = json!({
        "id": "pain", "version": version, "title": {"en": "Pain"},
        "licence": {"terms": "Public domain", "texts": "included"}, "sources": ["A test"],
        "items": [
            {"id": "1", "type": "integer", "min": 0, "max": 10, "text": {"en": "Pain?"}},
            {"id": "2", "type": "boolean", "text": {"en": "Fever?"}},
            {"id": "3", "type": "integer", "min": 0, "max": 999_999, "text": {"en": "Number?"}},
        ],
        "scores": [
            {"id": "total", "value": "1", "range": [0, 10]},
            {"id": "number", "value": "3", "range": [0, 999_999]},
        ],
        "rules": [
            {"id": "safety", "severity": "critical", "when": {"item": {"of": "2", "atLeast": 1}}},
            {"id": "high", "severity": "warning", "when": {"score": {"of": "total", "atLeast": if is_newer { 9 } else { 10 }}}},
            {"id": "lasting", "severity": "warning", "when": {"consecutive": {"of": "total", "atLeast": 7, "times": 3, "last": 3}}},
            {"id": "worse", "severity": "warning", "quietHours": 24, "when": {"change": change("baseline", 4)}},
            {"id": "jump", "severity": "info", "when": {"change": change("previous", if is_newer { 3 } else { 5 })}},
        ],
    });
    if is_newer {
        instrument["comparableTo"] = json!(OLDER);
    }
    instrument.to_string()
}
