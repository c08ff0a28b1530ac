//! The promises, checked once the world has settled. What was stored is compared with what phones were answered, and
//! with the reference; what was published with what is stored; and all that left the system is searched for what it must
//! not disclose.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use invocation::Deadline;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use verification::{Settings, verify};

use crate::clock;
use crate::phone::{Known, SECRET};
use crate::plan::{Happening, SITES, Weather, WeatherFault};
use crate::run::{Log, Simulation};

/// How long a submission may wait for its score while only SNS fails: the batch before it publishes for at most a few
/// seconds more.
const LONGEST_TO_SCORE: time::Duration = time::Duration::seconds(20);

/// Checks all promises of `simulation`.
pub async fn check(simulation: &Simulation, log: &Log) {
    let known = simulation.phones.known();
    submissions(simulation, &known);
    alerts(simulation);
    counts(simulation, &known);
    calls(simulation);
    bad_records(simulation);
    scored_in_time(simulation);
    disclosures(simulation, log, &known);
    reference(simulation).await;
    branches(simulation, log);
}

/// Promises 2, 3 and 4: scores, alerts, profiles, counts and audit entries are what the reference makes of what is stored.
async fn reference(simulation: &Simulation) {
    let settings = Settings {
        patience: time::Duration::ZERO,
        escalation_limit: Some(simulation.plan().escalation_limit),
        ..Settings::default()
    };
    let store = simulation.world.store_in(&format!("verify-{:x}", simulation.plan().seed));
    let now = OffsetDateTime::UNIX_EPOCH + clock::time_of_day();
    match verify(&store, settings, now, Deadline::after(Duration::from_secs(600)), |_| ()).await {
        Ok(report) => {
            for difference in report.differences {
                simulation.journal.violation(format!("reference: {difference}"));
            }
        }
        Err(failure) => simulation.journal.violation(format!("the verification failed: {failure}")),
    }
}

/// Promises 1, 2 and 5: what was accepted is stored as it was sent, once, and scored.
fn submissions(simulation: &Simulation, known: &BTreeMap<Uuid, Known>) {
    let journal = &simulation.journal;
    let mut stored: BTreeMap<String, Value> = BTreeMap::new();
    for item in simulation.world.items("submission") {
        let id = item["id"].as_str().unwrap_or_default().to_owned();
        if stored.insert(id.clone(), item).is_some() {
            journal.violation(format!("promise 5: {id} is stored twice"));
        }
    }
    for (id, known) in known {
        let item = stored.remove(&id.to_string());
        let Some((body, receipt)) = &known.accepted else {
            if item.is_some() {
                journal.violation(format!("promise 7: {id} is stored and its sender was told that it is not"));
            }
            continue;
        };
        let Some(item) = item else {
            journal.violation(format!("promise 1: {id} was accepted and is not stored"));
            continue;
        };
        let sent: BTreeMap<&String, &Value> =
            body["answers"].as_object().into_iter().flatten().filter(|(_, answer)| !answer.is_null()).collect();
        let kept: BTreeMap<&String, &Value> =
            item["answers"].as_object().into_iter().flatten().filter(|(_, answer)| !answer.is_null()).collect();
        if sent != kept {
            journal.violation(format!("promise 1: {id} is not stored as it was sent"));
        }
        if item["patient"] != known.patient.as_str() || item["site"] != known.site {
            journal.violation(format!("promise 1: {id} is stored for another patient or site"));
        }
        if item["received_at"] != receipt["receivedAt"] || item["correlation_id"] != receipt["correlationId"] {
            journal.violation(format!("promise 5: the receipt of {id} is not what is stored"));
        }
        if !item["scored_at"].is_string() {
            journal.violation(format!("promise 2: {id} is not scored"));
        }
        if item["amended_by"].is_string() {
            journal.met("branch: corrected");
        }
    }
    for id in stored.keys() {
        journal.violation(format!("promise 1: {id} is stored and was never sent"));
    }
}

/// Promise 4: every alert is published, each step of its escalation too, and nothing without a row.
fn alerts(simulation: &Simulation) {
    let journal = &simulation.journal;
    let mut steps: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for message in simulation.world.published() {
        let body = message.body();
        let id = body["alertId"].as_str().unwrap_or_default().to_owned();
        let step = body["escalation"].as_u64().unwrap_or_default();
        if message.stored_step.is_none_or(|stored| stored < step) {
            journal.violation(format!("promise 4: step {step} of {id} was published before it was stored"));
        }
        steps.entry(id).or_default().insert(step);
    }
    let acknowledged = simulation.acknowledged();
    for row in simulation.world.items("alert") {
        let id = row["alert_id"].as_str().unwrap_or_default();
        let published = steps.remove(id).unwrap_or_default();
        match row["status"].as_str() {
            Some("QUIET") => {
                journal.met("branch: quiet alert");
                if !published.is_empty() {
                    journal.violation(format!("promise 4: the quiet alert {id} was published"));
                }
                continue;
            }
            Some("SENT" | "ACKNOWLEDGED") if row["sent_at"].is_string() => {}
            other => journal.violation(format!("promise 4: {id} ends as {other:?}")),
        }
        let is_acknowledged = row["status"] == "ACKNOWLEDGED";
        let last = row["escalation"].as_u64().unwrap_or_default();
        // A step that is stored is not published any more if the alert is acknowledged before it could be.
        let needed = (0..=last).take_while(|step| *step == 0 || *step < last || !is_acknowledged);
        if !published.is_superset(&needed.collect()) || published.iter().any(|step| *step > last) {
            journal.violation(format!("promise 4: of the steps 0 to {last} of {id} only {published:?} are published"));
        }
        let limit = u64::from(simulation.plan().escalation_limit);
        if last > limit {
            journal.violation(format!("promise 4: {id} escalated {last} times, and its study allows {limit}"));
        }
        if is_acknowledged != row["acknowledged_at"].is_string() || (acknowledged.contains(id) && !is_acknowledged) {
            journal.violation(format!("promise 4: the acknowledgement of {id} is lost"));
        }
        if row["severity"] == "critical" && last == limit && limit > 0 && !is_acknowledged {
            let exhausted = row["exhausted_at"].is_string() || row["corrected"] == true || row["superseded"] == true;
            if !exhausted {
                journal.violation(format!("promise 4: {id} is open at its limit and is not exhausted"));
            }
        }
        if row["late"] == true {
            journal.met("branch: alert raised by another evaluation");
        }
        if row["superseded"] == true {
            journal.met("branch: alert superseded");
        }
    }
    for id in steps.keys() {
        journal.violation(format!("promise 4: {id} was published and has no row"));
    }
}

/// Promise 3: a site's counts equal what was accepted and raised at it.
fn counts(simulation: &Simulation, known: &BTreeMap<Uuid, Known>) {
    let items = simulation.world.counters();
    for site in SITES {
        let of_site = |name: &str| -> u64 {
            let items = items.iter().filter(|item| {
                item["pk"].as_str().is_some_and(|pk| pk.starts_with(&format!("COUNT#DEMO#{site}#scored#")))
            });
            items.filter_map(|item| item[name].as_u64()).sum()
        };
        let accepted = known.values().filter(|known| known.site == site && known.accepted.is_some()).count() as u64;
        let alerts = simulation.world.items("alert").iter().filter(|row| row["site"] == site).count() as u64;
        let counted = [of_site("submissions"), of_site("instrument#pain"), of_site("alerts")];
        if counted != [accepted, accepted, alerts] {
            simulation.journal.violation(format!(
                "promise 3: {site} counts {counted:?} submissions, pain diaries and alerts, and has {accepted} and {alerts}"
            ));
        }
    }
}

/// Promise 3: no call is counted twice.
fn calls(simulation: &Simulation) {
    let counted: u64 = simulation.world.counters().iter().filter_map(|item| item["api_calls"].as_u64()).sum();
    let requests = u64::from(simulation.cloud.requests());
    if counted > requests {
        simulation.journal.violation(format!("promise 3: {counted} calls are counted, and {requests} were made"));
    }
}

/// Promise 8: a record that cannot be read is quarantined.
fn bad_records(simulation: &Simulation) {
    let events = &simulation.plan().events;
    if events.iter().any(|event| event.what == Happening::Trim) {
        return;
    }
    let injected = events.iter().filter(|event| event.what == Happening::BadRecord).count();
    let quarantined = simulation.world.items("quarantined");
    if quarantined.len() != injected {
        let reasons: Vec<&Value> = quarantined.iter().map(|item| &item["reason"]).collect();
        simulation.journal.violation(format!("promise 8: of {injected} bad records are quarantined: {reasons:?}"));
    }
}

/// An outage of SNS alone delays no score.
fn scored_in_time(simulation: &Simulation) {
    let only_sns = |weather: &Weather| {
        matches!(weather.fault, WeatherFault::SnsDown | WeatherFault::SnsPartial | WeatherFault::AnswerLost)
    };
    let plan = simulation.plan();
    if !plan.weather.iter().all(only_sns) || plan.events.iter().any(|event| event.what == Happening::Trim) {
        return;
    }
    for item in simulation.world.items("submission") {
        let time = |name: &str| OffsetDateTime::parse(item[name].as_str()?, &Rfc3339).ok();
        let (Some(received), Some(scored)) = (time("received_at"), time("scored_at")) else { continue };
        if scored - received > LONGEST_TO_SCORE {
            let waited = scored - received;
            simulation.journal.violation(format!("promise 2: {} waited {waited} for its score", item["id"]));
        }
    }
}

/// Promise 10: no answer, score, name or token in what left the system.
fn disclosures(simulation: &Simulation, log: &Log, known: &BTreeMap<Uuid, Known>) {
    let published = simulation.world.published();
    let messages = published.iter().map(|message| format!("{:?} {:?}", message.message, message.attributes));
    let texts = [
        ("a log line", log.text()),
        ("an error", simulation.phones.errors().join("\n")),
        ("a message", messages.collect::<Vec<_>>().join("\n")),
    ];
    let numbers: BTreeSet<String> = known
        .values()
        .flat_map(|known| &known.bodies)
        .filter_map(|body| body["answers"]["3"].as_u64().map(|number| number.to_string()))
        .collect();
    for (place, text) in &texts {
        if text.contains(SECRET) {
            simulation.journal.violation(format!("promise 10: a name or a note is in {place}"));
        }
        if text.split(|c: char| !c.is_alphanumeric()).any(|word| numbers.contains(word)) {
            simulation.journal.violation(format!("promise 10: an answer or a score is in {place}"));
        }
    }
}

/// Counts the branches that show in the log and at the services.
fn branches(simulation: &Simulation, log: &Log) {
    let mut pages = simulation.journal.pages();
    let quarantined = log.text().matches("\"event\":\"record_quarantined\"").count() as u64;
    pages.coverage.add("branch: quarantined", quarantined);
    let conflicts = simulation.world.conflicts();
    pages.coverage.add("branch: transaction conflict", conflicts.transactions);
    pages.coverage.add("branch: write refused during a transaction", conflicts.writes);
    pages.coverage.add("branch: transaction in progress", conflicts.in_progress);
    pages.coverage.add("branch: token remembered", conflicts.tokens);
}
