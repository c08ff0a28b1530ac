//! The promises about windows, reminders and alerts of missed windows, checked once the world has settled: what is stored
//! and published is compared with what the definitions make of the registrations and submissions that are stored.

mod reminders;

use std::collections::BTreeMap;

use clinical::schedules::{Missed, Plan, Schedule, Window, timestamp};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use crate::asking::Asking;
use crate::checks::Trouble;
use crate::clock;
use crate::expected::{Expected, Name, Outcome, expected};
use crate::facts::{Facts, timestamp_of};
use crate::phone::{Known, pseudonym};
use crate::run::Simulation;

/// How long after its closing a window is found missed: half a minute later, by the run after that.
const FOUND_EARLIEST: SignedDuration = SignedDuration::from_secs(30);
const FOUND_LATEST: SignedDuration = SignedDuration::from_secs(150);
/// How far the clock of a phone may be behind when it makes the id of an answer that a search finds.
const CLOCKS: SignedDuration = SignedDuration::from_hours(48);

/// Checks what has become of the windows of each patient.
pub(crate) fn check(simulation: &Simulation, known: &BTreeMap<Uuid, Known>) {
    let Some(asking) = &simulation.plan().asking else { return };
    let Some(now) = timestamp(clock::now()) else { return };
    let answered = |id: &str| known.get(&id.parse::<Uuid>().ok()?)?.answered;
    let calls = simulation.world.calls();
    for patient in 0..asking.enrolments.len() {
        let patient = pseudonym(patient);
        let facts = Facts::of(simulation, &calls, &patient, answered);
        let checking = Checking::new(simulation, asking, &patient, &facts, now);
        checking.count_branches();
        // Rows that clocks have made which were an hour off are compared with the submissions only, by `verification`.
        if simulation.has_clock_steps() {
            continue;
        }
        checking.resolved();
        checking.ahead();
        if checking.has_other_schedules() {
            continue;
        }
        if let Some(expected) = expected(&facts, &asking.schedules, now) {
            checking.states(&expected);
            checking.alerts(&expected);
            checking.reminders(&expected);
        }
    }
}

/// What is stored of one patient.
struct Checking<'a> {
    simulation: &'a Simulation,
    asking: &'a Asking,
    patient: &'a str,
    facts: &'a Facts,
    now: Timestamp,
    rows: BTreeMap<Name, &'a Value>,
    alerts: BTreeMap<Name, &'a Value>,
    trouble: Trouble,
}

impl<'a> Checking<'a> {
    fn new(simulation: &'a Simulation, asking: &'a Asking, patient: &'a str, facts: &'a Facts, now: Timestamp) -> Self {
        let pk = format!("PATIENT#DEMO#{patient}");
        let rows = simulation.settled("occurrence").iter().filter(|row| row["pk"] == pk.as_str());
        let rows = rows.filter_map(|row| {
            let (schedule, number) = row["sk"].as_str()?.strip_prefix("OCCURRENCE#")?.split_once('#')?;
            Some(((schedule.to_owned(), number.parse().ok()?), row))
        });
        let alerts = simulation.settled("alert").iter().filter(|row| row["patient"] == patient);
        let alerts = alerts.filter_map(|row| {
            let number = row["occurrence"].as_u64()?.try_into().ok()?;
            Some(((row["schedule"].as_str()?.to_owned(), number), row))
        });
        let (rows, alerts) = (rows.collect(), alerts.collect());
        Self { simulation, asking, patient, facts, now, rows, alerts, trouble: Trouble::of(simulation.plan()) }
    }

    fn violation(&self, what: String) {
        self.simulation.journal.violation(what);
    }

    /// Whether a version of the study with other schedules was put in force: windows are of the one or the other.
    fn has_other_schedules(&self) -> bool {
        self.asking.later.is_some() && self.simulation.versions.get() > 0
    }

    /// Each window is what the submissions say, and none was made that is not asked.
    fn states(&self, expected: &BTreeMap<Name, Expected>) {
        for (name, one) in expected {
            let Some(row) = self.rows.get(name) else {
                if !one.is_optional {
                    self.violation(format!("occurrences: {name:?} is not made"));
                }
                continue;
            };
            if window_of(row) != Some(one.window) {
                self.violation(format!("occurrences: {name:?} has another window than its schedule says"));
            }
            let stored = match row["state"].as_str() {
                Some("waiting") => Outcome::Waiting,
                Some("missed") => Outcome::Missed,
                Some("ended") => Outcome::Ended,
                Some("done") => Outcome::Done {
                    id: row["submission"].as_str().unwrap_or_default().to_owned(),
                    late: row["late"] == true,
                },
                _ => Outcome::Open,
            };
            if one.outcome != Outcome::Open && stored != one.outcome {
                let outcome = &one.outcome;
                self.violation(format!("occurrences: {name:?} is stored as {stored:?}, and it is {outcome:?}"));
            }
            if one.candidates.len() > 1 {
                self.simulation.journal.met("branch: two answers in a window");
            }
        }
        let is_ahead = |row: &Value| timestamp_of(&row["opens"]).is_some_and(|opens| opens > self.now);
        for (name, row) in self.rows.iter().filter(|(name, _)| !expected.contains_key(*name)) {
            if !is_ahead(row) {
                self.violation(format!("occurrences: {name:?} is stored, and nobody was asked"));
            }
        }
    }

    /// What has not opened yet is where the patient's data and the study say now, whatever they said before.
    fn ahead(&self) {
        let Some(last) = self.facts.states.last() else { return };
        let later = self.asking.later.as_ref().filter(|_| self.has_other_schedules());
        let versions: Vec<&Schedule> = self.asking.schedules.iter().chain(later.into_iter().flatten()).collect();
        let of = |name: &Name| {
            let of_name = versions.iter().filter(|schedule| schedule.id.as_str() == name.0);
            let plans = of_name.filter_map(|schedule| Plan::of(schedule, &last.subject));
            plans.filter_map(|plan| plan.window(name.1)).collect::<Vec<_>>()
        };
        for (name, row) in &self.rows {
            let Some(stored) = window_of(row).filter(|window| window.opens > self.now) else { continue };
            if row["state"] != "waiting" {
                continue;
            }
            // It opens no earlier than what stayed has closed.
            let fits = |window: &Window| window.closes == stored.closes && window.opens <= stored.opens;
            if last.withdrawn_at.is_some() || !of(name).iter().any(fits) {
                self.violation(format!("occurrences: {name:?} is still to open, and not where it is asked now"));
            }
        }
        if last.withdrawn_at.is_some() || self.has_other_schedules() {
            return;
        }
        for schedule in &self.asking.schedules {
            let Some(plan) = Plan::of(schedule, &last.subject) else { continue };
            let soon = self.now + SignedDuration::from_hours(22);
            for (number, window) in plan.closing_after(self.now).take_while(|(_, window)| window.opens < soon) {
                let name = (schedule.id.as_str().to_owned(), number);
                if window.opens > self.now && !window.is_empty() && !self.rows.contains_key(&name) {
                    self.violation(format!("occurrences: {name:?} opens soon, and is not made"));
                }
            }
        }
    }

    /// An alert of missed windows is where its schedule demands one.
    fn alerts(&self, expected: &BTreeMap<Name, Expected>) {
        for schedule in &self.asking.schedules {
            let of_schedule = |(name, _): &(&Name, &Expected)| name.0 == schedule.id.as_str();
            let mut windows: Vec<(&Name, &Expected)> = expected.iter().filter(of_schedule).collect();
            windows.sort_by_key(|(_, one)| one.window.opens);
            match schedule.missed {
                Some(Missed { after: 1, .. }) => windows.iter().for_each(|(name, one)| self.alert_of_one(name, one)),
                Some(Missed { after, .. }) => self.alerts_of_several(&windows, after),
                None => windows.iter().for_each(|(name, _)| self.has_alert(name, Some(false))),
            }
        }
    }

    /// Each missed window is an alert.
    fn alert_of_one(&self, name: &Name, one: &Expected) {
        let closes = one.window.closes;
        let demanded = match &one.outcome {
            Outcome::Missed if one.is_optional => None,
            Outcome::Missed => Some(true),
            Outcome::Open => None,
            Outcome::Waiting | Outcome::Ended => Some(false),
            // What was received in the window is stored half a minute later: `submit` lasts ten seconds, unless its
            // environment is frozen.
            Outcome::Done { late: false, id } if !self.has_freezes() && is_found(id, &one.window) => Some(false),
            Outcome::Done { late: false, .. } => None,
            Outcome::Done { id, late: true } => {
                let Some(answer) = one.candidates.iter().find(|candidate| candidate.id == *id) else { return };
                // Between the two it is up to the run of `sweep` which comes first.
                if answer.stored < closes + FOUND_EARLIEST && is_found(id, &one.window) {
                    Some(false)
                } else {
                    let found = closes + FOUND_LATEST;
                    // The withdrawal has ended it before: what a phone kept answers it all the same.
                    let is_ended =
                        self.facts.states.iter().any(|state| state.withdrawn_at.is_some_and(|at| at < closes));
                    let is_found_missed = answer.received > found && one.known <= closes && !is_ended;
                    (is_found_missed && self.is_fair(closes.min(one.known), found)).then_some(true)
                }
            }
        };
        self.has_alert(name, demanded);
    }

    /// As many windows missed in a row as the schedule says are an alert. Where one of them was answered late, it counts
    /// or not as that came before the others were found missed or after it.
    fn alerts_of_several(&self, windows: &[(&Name, &Expected)], after: u32) {
        let is_open = |one: &Expected| match one.outcome {
            Outcome::Open | Outcome::Done { late: true, .. } => true,
            Outcome::Done { ref id, .. } => self.has_freezes() || !is_found(id, &one.window),
            Outcome::Missed => one.is_optional,
            _ => false,
        };
        if windows.iter().any(|(_, one)| is_open(one)) {
            return;
        }
        let mut missed = 0;
        for (name, one) in windows {
            let is_last = match one.outcome {
                Outcome::Missed => {
                    missed += 1;
                    missed == after
                }
                Outcome::Done { .. } => {
                    missed = 0;
                    false
                }
                _ => false,
            };
            if is_last {
                missed = 0;
                self.simulation.journal.met("branch: alert of several missed windows");
            }
            self.has_alert(name, Some(is_last));
        }
    }

    fn has_alert(&self, name: &Name, demanded: Option<bool>) {
        match (self.alerts.contains_key(name), demanded) {
            (true, Some(false)) => self.violation(format!("occurrences: {name:?} has an alert, and none is due")),
            (false, Some(true)) => self.violation(format!("occurrences: the alert of {name:?} is missing")),
            _ => {}
        }
    }

    /// An alert is resolved, and acknowledged, if and only if one of its windows was answered late.
    fn resolved(&self) {
        for (name, row) in self.rows.iter().filter(|(_, row)| row["alert"].is_object()) {
            let Some((since, until)) = timestamp_of(&row["alert"]["since"]).zip(timestamp_of(&row["opens"])) else {
                continue;
            };
            let counts = |other: &Value| timestamp_of(&other["opens"]).is_some_and(|at| (since..=until).contains(&at));
            let of_schedule = self.rows.iter().filter(|(other, _)| other.0 == name.0);
            let is_answered = of_schedule.into_iter().any(|(_, other)| counts(other) && other["late"] == true);
            if is_answered != row["alert"]["resolved_at"].is_string() {
                self.violation(format!(
                    "occurrences: the alert of {name:?} is resolved, or one of its windows answered"
                ));
            }
            let Some(alert) = self.alerts.get(name) else {
                self.violation(format!("occurrences: the alert of {name:?} has no row"));
                continue;
            };
            let by_answer = alert["acknowledged_by"] == "late-answer";
            if is_answered && alert["status"] != "ACKNOWLEDGED" {
                self.violation(format!("occurrences: the alert of {name:?} is not acknowledged by the late answer"));
            }
            if by_answer && !is_answered {
                self.violation(format!("occurrences: the alert of {name:?} is acknowledged, and no answer came"));
            }
            if by_answer {
                self.simulation.journal.met("branch: alert acknowledged by a late answer");
            }
        }
        for name in self.alerts.keys().filter(|name| !self.rows.get(*name).is_some_and(|row| row["alert"].is_object()))
        {
            self.violation(format!("occurrences: the alert of {name:?} is of a window without one"));
        }
    }

    fn is_fair(&self, from: Timestamp, until: Timestamp) -> bool {
        let at = clinical::schedules::offset_date_time;
        self.trouble.is_fair(at(from), at(until))
    }

    fn count_branches(&self) {
        let journal = &self.simulation.journal;
        for (name, row) in &self.rows {
            let opened_before = |state: &crate::facts::State| timestamp_of(&row["opens"]) <= Some(state.earliest);
            if self.facts.states.first().is_some_and(opened_before) {
                journal.met("branch: window open when it was made");
            }
            match row["state"].as_str() {
                Some("done") if row["late"] == true => {
                    journal.met("branch: answered late");
                    if row["alert"].is_object() {
                        journal.met("branch: missed window answered late");
                    }
                }
                Some("done") => journal.met("branch: answered in its window"),
                Some("not-asked") => journal.met("branch: window not asked"),
                Some("ended") => journal.met("branch: window ended by a withdrawal"),
                _ => {}
            }
            if row["not_before"].is_string() {
                journal.met("branch: window moved");
            }
            if self.alerts.contains_key(name) {
                journal.met("branch: alert of missed windows");
            }
            if row["alert"]["quiet"] == true {
                journal.met("branch: quiet alert of missed windows");
            }
        }
        if let Some(first) = self.facts.states.first() {
            let by_submission = self.facts.submissions.iter().any(|one| one.received == first.earliest);
            journal.met(if by_submission {
                "branch: plan begun by a submission"
            } else {
                "branch: plan marked by the registry"
            });
        }
    }
}

/// Whether a search finds the answer `id` of `window`: by the time in its id, which an app with a right clock has made.
fn is_found(id: &str, window: &Window) -> bool {
    let first = (window.opens - CLOCKS).as_millisecond().unsigned_abs();
    let millis = id.parse::<Uuid>().map_or(0, |id| (id.as_u128() >> 80) as u64);
    millis >= first
}

fn window_of(row: &Value) -> Option<Window> {
    Some(Window { opens: timestamp_of(&row["opens"])?, closes: timestamp_of(&row["closes"])? })
}
