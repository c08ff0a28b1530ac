//! What was known of a patient and when: what the registry has stored, and the submissions. Nothing here is read from what
//! the schedules made of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use clinical::schedules::{Subject, timestamp};
use harness::Call;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use time::OffsetDateTime;

use crate::asking::HOME;
use crate::checks::instant;
use crate::clock;
use crate::plan::SITES;
use crate::run::Simulation;

/// How long after a plan was sent to be stored another may be made on what was read before.
const ON_ITS_WAY: SignedDuration = SignedDuration::from_secs(60);

/// All that is known of a patient.
pub(crate) struct Facts {
    /// What the patient was registered with, in the order in which it became known.
    pub(crate) states: Vec<State>,
    /// When plans were made.
    pub(crate) planned: Vec<Timestamp>,
    /// The stored submissions that are no corrections, in the order in which they were received.
    pub(crate) submissions: Vec<Submitted>,
}

/// What a patient was registered with, or enrolled with by a submission.
pub(crate) struct State {
    /// When it became known. Of submissions that arrive together, any may be the one that enrols: from the first of them
    /// to the last.
    pub(crate) earliest: Timestamp,
    pub(crate) latest: Timestamp,
    /// Without the withdrawal.
    pub(crate) subject: Subject,
    pub(crate) withdrawn_at: Option<Timestamp>,
}

/// A submission that may answer a window.
#[derive(Clone)]
pub(crate) struct Submitted {
    pub(crate) received: Timestamp,
    pub(crate) id: String,
    pub(crate) effective: Timestamp,
    /// Since when it is stored at the latest: its sender knows it.
    pub(crate) stored: Timestamp,
}

impl Facts {
    /// What is known of the patient with this pseudonym. `calls` are all calls that were made, and `answered` is when each
    /// submission was known to be stored.
    pub(crate) fn of(
        simulation: &Simulation,
        calls: &[Arc<Call>],
        patient: &str,
        answered: impl Fn(&str) -> Option<OffsetDateTime>,
    ) -> Self {
        let pk = format!("PATIENT#DEMO#{patient}");
        let submissions = submissions(simulation, &pk, answered);
        let mut states = registered(simulation, calls, &pk);
        if let Some(first) = by_submission(simulation, calls, &pk) {
            let registered_before = states.first().is_some_and(|state: &State| state.earliest <= first.earliest);
            if !registered_before {
                states.insert(0, first);
            }
        }
        let start = timestamp(clock::start_of_day()).unwrap_or_default();
        let planned = simulation.journal.pages().planned.clone().into_iter().filter(|(of, _)| *of == pk);
        let planned = planned.filter_map(|(_, at)| start.checked_add(at).ok());
        Self { states, planned: planned.collect(), submissions }
    }

    /// The last time of those at which what was known at `from` may have been planned as if it were known only then: a
    /// change before the next run of `sweep` takes the place of the one before it.
    pub(crate) fn planned_as_of(&self, from: Timestamp) -> Timestamp {
        let first = self.planned.iter().find(|at| **at >= from).copied().unwrap_or(Timestamp::MAX);
        let until = first.checked_add(ON_ITS_WAY).unwrap_or(Timestamp::MAX);
        let known = self.states.iter().map(|state| state.latest).filter(|at| *at <= until);
        known.max().unwrap_or(from).max(from)
    }

    /// When a change that became known at `at` was planned at the latest, as far as is known.
    pub(crate) fn planned_after(&self, at: Timestamp) -> Timestamp {
        let first = self.planned.iter().find(|planned| **planned >= at).copied();
        first.and_then(|first| first.checked_add(ON_ITS_WAY).ok()).unwrap_or(Timestamp::MAX)
    }
}

/// What the registry has stored of a patient, one after the other: each change is one transaction with an audit entry,
/// which is stored if the change is.
fn registered(simulation: &Simulation, calls: &[Arc<Call>], pk: &str) -> Vec<State> {
    let mut by_revision = BTreeMap::new();
    for call in calls.iter().filter(|call| call.name() == "TransactWriteItems") {
        let puts = || call.body["TransactItems"].as_array().into_iter().flatten().map(|write| &write["Put"]["Item"]);
        let is_registration = |item: &&Value| item["sk"]["S"] == "REGISTRATION" && item["pk"]["S"] == pk;
        let Some(registration) = puts().find(is_registration) else { continue };
        let entry = puts().find(|item| item["kind"]["S"] == "audit");
        let key = |entry: &Value| serde_json::json!({"pk": entry["pk"], "sk": entry["sk"]});
        let Some(entry) = entry.filter(|entry| simulation.world.item(&key(entry)).is_some()) else { continue };
        let revision: Option<u64> = registration["revision"]["N"].as_str().and_then(|number| number.parse().ok());
        let state = timestamp_of(&entry["at"]["S"]).and_then(|at| state(registration, at));
        by_revision.extend(revision.zip(state));
    }
    by_revision.into_values().collect()
}

fn state(registration: &Value, at: Timestamp) -> Option<State> {
    let events = registration["events"]["M"].as_object().into_iter().flatten();
    let events = events.map(|(event, on)| Some((event.parse().ok()?, day(&on["S"])?)));
    let subject = Subject {
        site: registration["site"]["S"].as_str()?.parse().ok()?,
        enrolled_on: day(&registration["enrolled_on"]["S"])?,
        zone: TimeZone::get(registration["time_zone"]["S"].as_str().unwrap_or(HOME)).ok()?,
        group: None,
        events: events.collect::<Option<_>>()?,
        withdrawn_at: None,
    };
    Some(State {
        earliest: at,
        latest: at,
        subject,
        withdrawn_at: timestamp_of(&registration["withdrawn"]["M"]["at"]["S"]),
    })
}

/// How a submission has enrolled a patient who was not registered.
fn by_submission(simulation: &Simulation, calls: &[Arc<Call>], pk: &str) -> Option<State> {
    let puts = calls.iter().filter(|call| call.name() == "PutItem").map(|call| &call.body);
    let begun = puts.filter(|put| {
        let item = &put["Item"];
        item["kind"]["S"] == "plan" && item["pk"]["S"] == pk && item.get("made_for").is_none()
    });
    let begun: Vec<Timestamp> = begun.filter_map(|put| timestamp_of(&put["Item"]["changed_at"]["S"])).collect();
    let all = simulation.settled("submission");
    let received = all.iter().filter(|item| item["pk"] == pk).filter_map(|item| instant(&item["received_at"]));
    let first = timestamp(received.min()?)?;
    // The day at the site.
    let zone = TimeZone::get(HOME).ok()?;
    let subject = Subject {
        site: SITES[0].parse().ok()?,
        enrolled_on: first.to_zoned(zone.clone()).date(),
        zone,
        group: None,
        events: BTreeMap::new(),
        withdrawn_at: None,
    };
    let (earliest, latest) = (begun.iter().min().copied()?, begun.iter().max().copied()?);
    Some(State { earliest, latest, subject, withdrawn_at: None })
}

fn submissions(simulation: &Simulation, pk: &str, answered: impl Fn(&str) -> Option<OffsetDateTime>) -> Vec<Submitted> {
    let items = simulation.settled("submission");
    let of_patient = items.iter().filter(|item| item["pk"] == pk && item["amends"].is_null());
    let submitted = of_patient.filter_map(|item| {
        let id = item["id"].as_str()?.to_owned();
        let stored = answered(&id).and_then(timestamp).unwrap_or(Timestamp::MAX);
        let (received, effective) = (timestamp_of(&item["received_at"])?, timestamp_of(&item["effective_at"])?);
        Some(Submitted { received, id, effective, stored })
    });
    let mut submitted: Vec<Submitted> = submitted.collect();
    submitted.sort_by_key(|one| (one.received, one.id.clone()));
    submitted
}

pub(crate) fn timestamp_of(value: &Value) -> Option<Timestamp> {
    instant(value).and_then(timestamp)
}

fn day(value: &Value) -> Option<Date> {
    value.as_str()?.parse().ok()
}
