//! What must come of the plan, compared with what was observed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::calendar::Study;
use super::course::Seen;
use super::observed::{Key, Listed, Observed};
use super::plan::{MissedAlert, Outcome, Plan, STEP};

/// Every difference, one in a line.
pub(super) fn differences(plan: &Plan, study: &Study, seen: &Seen, observed: &Observed) -> Vec<String> {
    let mut found = seen.differences.clone();
    windows(plan, seen, observed, &mut found);
    reminders(plan, observed, &mut found);
    for ((patient, schedule), expected) in alerts(plan, study) {
        let of = (patient, schedule);
        let mut got = observed.alerts.get(&of).cloned().unwrap_or_default();
        got.sort_unstable();
        if got != expected {
            let (patient, schedule) = of;
            found.push(format!(
                "{patient} {schedule}: {} alerts of missed windows, and not {}",
                shown(&got),
                shown(&expected)
            ));
        }
    }
    let expected: usize = alerts(plan, study).values().map(Vec::len).sum();
    let got: usize = observed.alerts.values().map(Vec::len).sum();
    if got != expected {
        found.push(format!("{got} alerts of missed windows are listed, and not {expected}"));
    }
    if observed.unpublished > 0 {
        found.push(format!("{} alerts of missed windows were not published", observed.unpublished));
    }
    found
}

/// The alerts of missed windows by patient and schedule, the unresolved first.
pub(super) fn alerts(plan: &Plan, study: &Study) -> BTreeMap<(String, String), Vec<MissedAlert>> {
    let mut alerts = BTreeMap::new();
    for patient in &plan.patients {
        for schedule in &study.schedules {
            let Some(missed) = &schedule.missed else { continue };
            let mut own = patient.alerts(&schedule.id, missed, plan.ends);
            if !own.is_empty() {
                own.sort_unstable();
                alerts.insert((patient.id.to_string(), schedule.id.clone()), own);
            }
        }
    }
    alerts
}

fn shown(alerts: &[MissedAlert]) -> String {
    let resolved = alerts.iter().filter(|alert| alert.resolved).count();
    format!("{} ({resolved} resolved)", alerts.len())
}

fn windows(plan: &Plan, seen: &Seen, observed: &Observed, found: &mut Vec<String>) {
    let mut planned = BTreeSet::new();
    for patient in &plan.patients {
        for asked in &patient.windows {
            let key = Key::of(&patient.id, asked);
            let expected = asked.outcome(plan.ends);
            match observed.windows.get(&key) {
                None => found.push(format!("{key}: it is not listed, and should be {expected:?}")),
                Some(Listed { outcome, .. }) if *outcome != expected => {
                    found.push(format!("{key}: it is {outcome:?}, and should be {expected:?}"));
                }
                Some(Listed { opens, closes, .. })
                    if (*opens, *closes) != (Some(asked.window.opens), Some(asked.window.closes)) =>
                {
                    found.push(format!("{key}: it opens or closes at another time than expected"));
                }
                Some(_) => {}
            }
            let is_over = asked.window.closes + STEP <= plan.ends;
            if is_over && matches!(expected, Outcome::Missed | Outcome::Late) != seen.missed.contains(&key) {
                found.push(format!(
                    "{key}: after the closing it was listed as missed, and should not be, or not listed"
                ));
            }
            planned.insert(key);
        }
    }
    for key in observed.windows.keys().filter(|key| !planned.contains(key)) {
        found.push(format!("{key}: it is listed, and nobody is asked then"));
    }
}

fn reminders(plan: &Plan, observed: &Observed, found: &mut Vec<String>) {
    let mut expected: BTreeSet<(Key, Timestamp)> = BTreeSet::new();
    for patient in &plan.patients {
        for asked in &patient.windows {
            expected.extend(asked.reminded(plan.ends).map(|due| (Key::of(&patient.id, asked), due)));
        }
    }
    let mut ids: BTreeMap<&str, (&Key, Timestamp)> = BTreeMap::new();
    for reminder in &observed.reminders {
        let (Some(due), Some(published)) = (reminder.due, reminder.published) else {
            found.push(format!("{}: a reminder has no time", reminder.key));
            continue;
        };
        ids.insert(&reminder.id, (&reminder.key, due));
        if !(due..due + STEP).contains(&published) {
            found.push(format!("{}: the reminder of {due} was published at {published}", reminder.key));
        }
    }
    let published: BTreeSet<(Key, Timestamp)> = ids.values().map(|(key, due)| ((*key).clone(), *due)).collect();
    if ids.len() != published.len() {
        found.push("reminders of the same window and time have different ids".to_owned());
    }
    for (key, due) in expected.difference(&published) {
        found.push(format!("{key}: the reminder of {due} was not published"));
    }
    for (key, due) in published.difference(&expected) {
        found.push(format!("{key}: the reminder of {due} was published, and should not have been"));
    }
}
