//! The promises, checked once the world has settled. What was stored is compared with what phones were answered, and
//! with the reference; what was published with what is stored; and all that left the system is searched for what it must
//! not disclose.

mod timing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::Published;
use invocation::Deadline;
use local::failures::Object;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;
use verification::{Settings, verify};

pub(crate) use self::timing::Trouble;
use crate::clock;
use crate::occurrences;
use crate::phone::{Known, SECRET};
use crate::plan::{Happening, SITES, WeatherFault};
use crate::run::{BAD_RECORD, Log, Simulation};

/// Longer than a request takes, on the way too.
const LONGEST_REQUEST: time::Duration = time::Duration::seconds(20);

/// Checks all promises of `simulation`.
pub async fn check(simulation: &Simulation, log: &Log) {
    let known = simulation.phones.known();
    submissions(simulation, &known);
    withdrawals(simulation, &known);
    refusals(simulation, &known);
    alerts(simulation);
    snoozes(simulation);
    counts(simulation, &known);
    calls(simulation);
    let given_up: Vec<Object> = simulation.failures.list().await.expect("they are in memory");
    bad_records(simulation, &given_up);
    timing::in_time(simulation);
    disclosures(simulation, log);
    reference(simulation).await;
    occurrences::check(simulation, &known);
    simulation.check_due().await;
    simulation.check_worklists().await;
    branches(simulation, log, given_up.len());
}

/// Promises 2, 3 and 4: scores, alerts, profiles, counts and audit entries are what the reference makes of what is stored.
async fn reference(simulation: &Simulation) {
    let settings = Settings {
        patience: time::Duration::ZERO,
        escalation_limit: Some(simulation.plan().escalation_limit),
        ..Settings::default()
    };
    let store = simulation.world.store_in(&format!("verify-{}", simulation.number));
    match verify(&store, settings, clock::now(), Deadline::after(Duration::from_secs(600)), |_| ()).await {
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
    let mut stored: BTreeMap<String, &Value> = BTreeMap::new();
    for item in simulation.settled("submission") {
        let id = item["id"].as_str().unwrap_or_default().to_owned();
        if stored.insert(id.clone(), item).is_some() {
            journal.violation(format!("promise 5: {id} is stored twice"));
        }
    }
    for (id, known) in known {
        let item = stored.remove(&id.to_string());
        let Some((body, receipt)) = &known.accepted else {
            if item.is_some() && !may_be_stored_late(simulation, known) {
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
        let same = |stored: &Value, sent: &str| *stored == body[sent] || (stored.is_null() && body[sent].is_null());
        let instrument = &item["instrument"];
        let as_sent = sent == kept
            && (same(&instrument["id"], "instrument") && same(&instrument["version"], "version"))
            && (same(&item["amends"], "amends") && same(&item["reason"], "reason"))
            && instant(&item["authored_at"]) == instant(&body["authoredAt"]);
        if !as_sent {
            journal.violation(format!("promise 1: {id} is not stored as it was sent"));
        }
        if instant(&item["effective_at"]) != effective(body, &item["received_at"]) {
            journal.violation(format!("promise 1: {id} has another effective time than its clocks say"));
        }
        if item["patient"] != known.patient.as_str() || !is_of_sites(&item["site"], known) {
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

/// Whether a submission may be stored after it was refused for the patient's withdrawal: by an environment that had read
/// the registration, froze, and went on later.
fn may_be_stored_late(simulation: &Simulation, known: &Known) -> bool {
    let freezes = simulation.plan().weather.iter().any(|weather| weather.fault == WeatherFault::Freeze);
    known.is_withdrawn && freezes
}

fn is_of_sites(site: &Value, known: &Known) -> bool {
    site.as_str().is_some_and(|site| known.sites.contains(site))
}

/// A withdrawal holds from its answer on: nothing is accepted that was sent later, and completed after it.
fn withdrawals(simulation: &Simulation, known: &BTreeMap<Uuid, Known>) {
    let withdrawn = simulation.phones.withdrawn();
    let (stored, registrations) = (simulation.settled("submission"), simulation.settled("registration"));
    let withdrawn_at = |patient: &str| {
        let of = |item: &&Value| item["pk"].as_str().is_some_and(|pk| pk.ends_with(&format!("#{patient}")));
        registrations.iter().find(of).and_then(|item| instant(&item["withdrawn"]["at"]))
    };
    for item in stored {
        let Some(id) = item["id"].as_str().and_then(|id| id.parse::<Uuid>().ok()) else { continue };
        let Some(known) = known.get(&id) else { continue };
        if item["site"] != known.home {
            simulation.journal.met("branch: sent from a second site");
        }
        let answered = withdrawn.get(&known.patient).and_then(|withdrawn| withdrawn.answered);
        let Some(answered) = answered else { continue };
        let Some(at) = withdrawn_at(&known.patient) else {
            simulation.journal.violation("withdrawal: one that was answered is not stored");
            continue;
        };
        let sent_later = known.first_sent.is_some_and(|first| first > answered);
        if sent_later && instant(&item["effective_at"]).is_some_and(|effective| effective >= at) {
            simulation.journal.violation(format!("withdrawal: {id} was accepted after that of its patient"));
        }
    }
}

pub(crate) fn instant(value: &Value) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(value.as_str()?, &Rfc3339).ok()
}

/// When a submission counts as completed: when its device says, corrected by a skew of more than five minutes, and not
/// after it was received.
fn effective(body: &Value, received_at: &Value) -> Option<OffsetDateTime> {
    let (authored, sent) = (instant(&body["authoredAt"])?, instant(&body["sentAt"])?);
    let received = instant(received_at)?;
    let skew = sent - received;
    let correction = if skew.abs() > time::Duration::minutes(5) { skew.whole_seconds() } else { 0 };
    Some((authored - time::Duration::seconds(correction)).min(received))
}

/// Promise 1: a correction is refused only if its original was not stored then, or was corrected by another one.
fn refusals(simulation: &Simulation, known: &BTreeMap<Uuid, Known>) {
    // The times of the rows would be off.
    if simulation.has_clock_steps() {
        return;
    }
    let stored = simulation.settled("submission");
    for (id, known) in known.iter().filter(|(_, known)| known.accepted.is_none()) {
        let Some(refused) = known.refused else { continue };
        let originals = known.bodies.iter().filter_map(|body| body["amends"].as_str());
        for original in originals.filter_map(|original| stored.iter().find(|item| item["id"] == original)) {
            let was_stored = instant(&original["received_at"]).is_some_and(|at| at + LONGEST_REQUEST < refused);
            if was_stored && !original["amended_by"].is_string() {
                simulation.journal.violation(format!("promise 1: the correction {id} was refused without a reason"));
            }
        }
    }
}

/// Promise 4: every alert is published, each step of its escalation too, and nothing without a row.
fn alerts(simulation: &Simulation) {
    let journal = &simulation.journal;
    let mut steps: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    let rows = simulation.settled("alert");
    for message in simulation.world.published() {
        let body = message.body();
        let id = body["alertId"].as_str().unwrap_or_default().to_owned();
        let step = body["escalation"].as_u64().unwrap_or_default();
        if message.stored_step.is_none_or(|stored| stored < step) {
            journal.violation(format!("promise 4: step {step} of {id} was published before it was stored"));
        }
        if let Some(row) = rows.iter().find(|row| row["alert_id"] == id.as_str()) {
            let fields = [("study", "study"), ("site", "site"), ("severity", "severity"), ("rule", "rule")];
            let in_body = fields.iter().chain(&[("submissionId", "submission")]);
            let same = in_body.clone().all(|(field, attribute)| body[field] == row[attribute])
                && fields.iter().all(|(name, attribute)| {
                    message.attributes.get(*name).map(String::as_str) == row[attribute].as_str()
                });
            if !same {
                journal.violation(format!("promise 4: the message of {id} is not that of its row"));
            }
        }
        steps.entry(id).or_default().insert(step);
    }
    let acknowledged = simulation.acknowledged();
    for row in rows {
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
            // A late answer acknowledges a quiet one, too.
            Some("ACKNOWLEDGED") if published.is_empty() && is_quiet_miss(simulation, row) => continue,
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

/// Whether the alert of missed windows in `row` was raised as a quiet one.
fn is_quiet_miss(simulation: &Simulation, row: &Value) -> bool {
    let (schedule, number) = (row["schedule"].as_str(), row["occurrence"].as_u64());
    let Some((schedule, number)) = schedule.zip(number) else { return false };
    let name = format!("OCCURRENCE#{schedule}#{number:04}");
    let is_it = |one: &&Value| one["sk"] == name.as_str() && one["alert"]["id"] == row["alert_id"];
    simulation.settled("occurrence").iter().find(is_it).is_some_and(|one| one["alert"]["quiet"] == true)
}

/// A snooze that was answered is stored.
fn snoozes(simulation: &Simulation) {
    for snoozed in simulation.snoozed.borrow().iter() {
        let row = simulation.settled("alert").iter().find(|row| row["alert_id"] == snoozed.alert.as_str());
        let mut stored = row.into_iter().flat_map(|row| row["snoozes"].as_array().into_iter().flatten());
        if !stored.any(|snooze| instant(&snooze["until"]) == Some(snoozed.until)) {
            simulation.journal.violation(format!("a snooze of {} was answered and is not stored", snoozed.alert));
        }
    }
}

/// Promise 3: a site's counts equal what was accepted and raised at it.
fn counts(simulation: &Simulation, known: &BTreeMap<Uuid, Known>) {
    let (items, stored) = (simulation.world.counters(), simulation.settled("submission"));
    let is_accepted = |item: &Value| {
        let id = item["id"].as_str().and_then(|id| id.parse::<Uuid>().ok());
        let known = id.and_then(|id| known.get(&id));
        known.is_some_and(|known| known.accepted.is_some() || may_be_stored_late(simulation, known))
    };
    for site in SITES {
        let of_site = |name: &str| -> u64 {
            let items = items.iter().filter(|item| {
                item["pk"].as_str().is_some_and(|pk| pk.starts_with(&format!("COUNT#DEMO#{site}#scored#")))
            });
            items.filter_map(|item| item[name].as_u64()).sum()
        };
        let accepted = stored.iter().filter(|item| item["site"] == site && is_accepted(item)).count() as u64;
        let alerts = simulation.settled("alert").iter().filter(|row| row["site"] == site).count() as u64;
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
    let calls =
        |item: &Value| ["api_calls", "calls"].map(|name| item[name].as_u64().unwrap_or_default()).iter().sum::<u64>();
    let counted: u64 = simulation.world.counters().iter().map(calls).sum();
    let requests = u64::from(simulation.cloud.requests());
    if counted > requests {
        simulation.journal.violation(format!("promise 3: {counted} calls are counted, and {requests} were made"));
    }
}

/// Promise 8: a record that cannot be read is quarantined, unless the mapping gave it up before.
fn bad_records(simulation: &Simulation, given_up: &[Object]) {
    let events = &simulation.plan().events;
    if events.iter().any(|event| event.what == Happening::Trim) {
        return;
    }
    let injected = events.iter().filter(|event| event.what == Happening::BadRecord).count();
    let quarantined = simulation.settled("quarantined");
    let of_bad = |object: &Object| object.document.to_string().matches(BAD_RECORD).count();
    let given_up: usize = given_up.iter().map(of_bad).sum();
    if quarantined.len() > injected || quarantined.len() + given_up < injected {
        let reasons: Vec<&Value> = quarantined.iter().map(|item| &item["reason"]).collect();
        simulation.journal.violation(format!("promise 8: of {injected} bad records are quarantined: {reasons:?}"));
    }
}

/// Promise 10: no answer, score, name or token in what left the system.
fn disclosures(simulation: &Simulation, log: &Log) {
    let published = simulation.world.published();
    let message = |message: &Published| format!("{} {:?} {:?}", message.subject, message.message, message.attributes);
    let texts = [
        ("a log line", log.text()),
        ("an answer", simulation.phones.answers().join("\n")),
        ("a message", published.iter().map(message).collect::<Vec<_>>().join("\n")),
    ];
    let numbers = simulation.phones.numbers();
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
fn branches(simulation: &Simulation, log: &Log, given_up: usize) {
    let mut pages = simulation.journal.pages();
    let quarantined = log.text().matches("\"event\":\"record_quarantined\"").count() as u64;
    pages.coverage.add("branch: quarantined", quarantined);
    let conflicts = simulation.world.conflicts();
    pages.coverage.add("branch: transaction conflict", conflicts.transactions);
    pages.coverage.add("branch: write refused during a transaction", conflicts.writes);
    pages.coverage.add("branch: transaction in progress", conflicts.in_progress);
    pages.coverage.add("branch: token remembered", conflicts.tokens);
    pages.coverage.add("branch: batch given up", given_up as u64);
    pages.coverage.add("fault: reasons of a cancellation reported in part", conflicts.partial_reasons);
    pages.coverage.add("fault: part of a batch refused by SNS", conflicts.partial_batches);
    pages.coverage.add("fault: item of a transaction seen as it was before", conflicts.old_items);
}
