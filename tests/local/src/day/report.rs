//! The report of the day: hour by hour what was observed, then by site, then what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, Unit};
use verification::Report;

use super::calendar::Study;
use super::course::Seen;
use super::observed::Observed;
use super::plan::{Habit, MissedAlert, Outcome, Plan};
use super::{STUDY, Verdict, expected};

/// Differences that are listed one by one.
const LISTED: usize = 20;

/// What is reported.
pub(super) struct Figures<'a> {
    pub(super) day: Date,
    pub(super) seed: u64,
    pub(super) study: &'a Study,
    pub(super) plan: &'a Plan,
    pub(super) seen: &'a Seen,
    pub(super) observed: &'a Observed,
    /// What follows from the stored submissions, compared with the store.
    pub(super) recomputed: &'a Report,
}

/// Numbers of an hour, a site or the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Row {
    due: usize,
    reminded: usize,
    done: usize,
    missed: usize,
    late: usize,
}

/// The report and what it comes to.
pub(super) fn render(figures: &Figures<'_>) -> (String, Verdict) {
    let Figures { study, plan, seen, observed, recomputed, .. } = figures;
    let mut different = expected::differences(plan, study, seen, observed);
    different.extend(recomputed.differences.iter().map(ToString::to_string));
    if recomputed.tally.waiting > 0 {
        different.push(format!("{} submissions, alerts or courses still wait for sweep", recomputed.tally.waiting));
    }
    let verdict = if different.is_empty() { Verdict::AsExpected } else { Verdict::Differs };
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, figures, &different);
    (text, verdict)
}

fn write(text: &mut String, figures: &Figures<'_>, different: &[String]) -> fmt::Result {
    let Figures { day, seed, plan, seen, recomputed, .. } = figures;
    let zones: BTreeSet<&str> = plan.patients.iter().filter_map(|patient| patient.abroad).collect();
    let abroad = plan.patients.iter().filter(|patient| patient.abroad.is_some()).count();
    writeln!(text, "{STUDY}, {day}: {} patients, {abroad} of them abroad, seed {seed}", plan.patients.len())?;
    let mut habits: BTreeMap<Habit, usize> = BTreeMap::new();
    plan.patients.iter().for_each(|patient| *habits.entry(patient.habit).or_default() += 1);
    let habits: Vec<String> = habits.iter().map(|(habit, count)| format!("{count} {}", habit.name())).collect();
    writeln!(text, "  {}", habits.join(", "))?;
    if !zones.is_empty() {
        writeln!(text, "  abroad in {}", zones.into_iter().collect::<Vec<_>>().join(", "))?;
    }
    by_hour(text, figures)?;
    by_site(text, figures)?;
    alerts(text, figures)?;
    writeln!(text, "\nphones: {} submissions, {} repeats with the first receipt", seen.received.len(), seen.repeats)?;
    let tally = &recomputed.tally;
    writeln!(
        text,
        "recomputed: {} patients, {} submissions, {} alerts: {} differ",
        tally.patients, tally.submissions, tally.alerts, tally.differences
    )?;
    if different.is_empty() {
        return writeln!(text, "everything is as expected");
    }
    writeln!(text, "{} differ from what is expected:", different.len())?;
    for line in different.iter().take(LISTED) {
        writeln!(text, "  {line}")?;
    }
    if different.len() > LISTED {
        writeln!(text, "  ... and {} more", different.len() - LISTED)?;
    }
    Ok(())
}

fn by_hour(text: &mut String, figures: &Figures<'_>) -> fmt::Result {
    let Figures { plan, seen, observed, .. } = figures;
    let mut hours: BTreeMap<Timestamp, Row> = BTreeMap::new();
    let begins = hour(plan.day_begins);
    // What was before the day is one row.
    let of = |time: Timestamp| hour(time).max(begins - 1.hour());
    let mut add = |time: Option<Timestamp>, change: fn(&mut Row)| {
        if let Some(time) = time {
            change(hours.entry(of(time)).or_default());
        }
    };
    for (key, window) in &observed.windows {
        add(window.opens, |row| row.due += 1);
        let received = seen.received.get(key).copied();
        match window.outcome {
            Outcome::Done => add(received, |row| row.done += 1),
            Outcome::Late => add(received, |row| row.late += 1),
            Outcome::Open | Outcome::Missed => {}
        }
        if seen.missed.contains(key) {
            add(window.closes, |row| row.missed += 1);
        }
    }
    for published in published(observed).into_values() {
        add(Some(published), |row| row.reminded += 1);
    }
    writeln!(text, "\n{:20} {:>9} {:>9} {:>9} {:>9} {:>9}", "hour (UTC)", "due", "reminded", "done", "missed", "late")?;
    let mut total = Row::default();
    let mut at = begins - 1.hour();
    while at <= plan.ends {
        let row = hours.get(&at).copied().unwrap_or_default();
        let name = if at < begins { "before".to_owned() } else { at.strftime("%a %d %b %H:%M").to_string() };
        line(text, &name, row)?;
        total.add(row);
        at += 1.hour();
    }
    line(text, "total", total)?;
    line(text, "expected", expected_of(plan, |_| true))
}

fn by_site(text: &mut String, figures: &Figures<'_>) -> fmt::Result {
    let Figures { study, plan, seen, observed, .. } = figures;
    writeln!(text, "\n{:20} {:>9} {:>9} {:>9} {:>9} {:>9}", "site", "due", "reminded", "done", "missed", "late")?;
    for site in &study.sites {
        let own: BTreeSet<String> = plan
            .patients
            .iter()
            .filter(|patient| patient.site.as_str() == site.id)
            .map(|patient| patient.id.to_string())
            .collect();
        let mut row = Row::default();
        for (key, window) in observed.windows.iter().filter(|(key, _)| own.contains(&key.patient)) {
            row.due += 1;
            row.done += usize::from(window.outcome == Outcome::Done);
            row.late += usize::from(window.outcome == Outcome::Late);
            row.missed += usize::from(seen.missed.contains(key));
        }
        row.reminded = observed
            .reminders
            .iter()
            .filter(|reminder| own.contains(&reminder.key.patient))
            .map(|reminder| &reminder.id)
            .collect::<BTreeSet<_>>()
            .len();
        line(text, &site.id, row)?;
        line(text, "  expected", expected_of(plan, |patient| own.contains(patient)))?;
    }
    Ok(())
}

fn alerts(text: &mut String, figures: &Figures<'_>) -> fmt::Result {
    let Figures { study, plan, observed, .. } = figures;
    let expected = expected::alerts(plan, study);
    for schedule in &study.schedules {
        let of = |alerts: &BTreeMap<(String, String), Vec<MissedAlert>>| {
            let own = alerts.iter().filter(|((_, rule), _)| *rule == schedule.id).flat_map(|(_, alerts)| alerts);
            let own: Vec<_> = own.collect();
            (own.len(), own.iter().filter(|alert| alert.resolved).count())
        };
        let ((raised, resolved), (expected, expected_resolved)) = (of(&observed.alerts), of(&expected));
        writeln!(
            text,
            "{}{} alerts of missed windows: {raised} raised, {resolved} resolved by a late answer (expected: {expected}, \
             {expected_resolved})",
            if schedule.id == study.schedules[0].id { "\n" } else { "" },
            schedule.id
        )?;
    }
    Ok(())
}

/// When each reminder was published first, by its id.
fn published(observed: &Observed) -> BTreeMap<&str, Timestamp> {
    let mut first = BTreeMap::new();
    for reminder in &observed.reminders {
        if let Some(published) = reminder.published {
            first
                .entry(reminder.id.as_str())
                .and_modify(|at: &mut Timestamp| *at = published.min(*at))
                .or_insert(published);
        }
    }
    first
}

/// What the plan says of some patients.
fn expected_of(plan: &Plan, is_one: impl Fn(&str) -> bool) -> Row {
    let mut row = Row::default();
    for patient in plan.patients.iter().filter(|patient| is_one(patient.id.as_str())) {
        for asked in &patient.windows {
            row.due += 1;
            row.reminded += asked.reminded(plan.ends).count();
            match asked.outcome(plan.ends) {
                Outcome::Open => {}
                Outcome::Done => row.done += 1,
                Outcome::Missed => row.missed += 1,
                // Found missed before.
                Outcome::Late => {
                    row.missed += 1;
                    row.late += 1;
                }
            }
        }
    }
    row
}

fn line(text: &mut String, name: &str, row: Row) -> fmt::Result {
    let Row { due, reminded, done, missed, late } = row;
    writeln!(text, "{name:20} {due:>9} {reminded:>9} {done:>9} {missed:>9} {late:>9}")
}

fn hour(time: Timestamp) -> Timestamp {
    let rounded = time.round(jiff::TimestampRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc));
    // An hour holds each time of a calendar.
    rounded.unwrap_or(time)
}

impl Row {
    fn add(&mut self, other: Self) {
        self.due += other.due;
        self.reminded += other.reminded;
        self.done += other.done;
        self.missed += other.missed;
        self.late += other.late;
    }
}
