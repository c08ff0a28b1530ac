//! The changes that make a patient's records equal to the replay of their submissions.

use std::collections::BTreeMap;

use clinical::ids::{InstrumentId, RuleId, ScoreId, SubmissionId};
use clinical::instruments::{Basis, CourseId, FiredRule, NotEvaluated, Outcome, ReplayEntry, replay};
use invocation::metrics;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::items::alert::{Alert, AlertId};
use crate::items::profile::{self, NOT_YET, Profile};
use crate::items::score::Score;
use crate::items::submission::{self, Submission};
use crate::items::{registration, site_entry};
use crate::store::definitions::{NotDefined, ScoredBy};
use crate::table::attributes::{Item, Reader, Unreadable, unreadable};
use crate::table::keys::{self, PK, SK};

/// The largest number of writes in one transaction beside those of the profile and the counters; DynamoDB takes 100.
const MOST_CHANGE_WRITES: usize = 80;
/// The rule that stands for all rules of a submission whose definition can no longer be read.
const ALL_RULES: &str = "all";
const LOST: &str = "the definition that it was scored by can no longer be read";
const CORRECTED: &str = "the submission was corrected before its course was evaluated";

/// The records of a patient.
#[derive(Default)]
pub(super) struct Records {
    pub(super) scored: BTreeMap<SubmissionId, (Submission, Score)>,
    /// The keys of the submissions that have no score.
    pub(super) unscored: Vec<Item>,
    /// The keys of the alerts that scores name and that were not found.
    pub(super) missing: Vec<Item>,
    /// The alerts by submission and rule; `None` for one that cannot be read, which is neither raised again nor
    /// changed.
    alerts: BTreeMap<SubmissionId, BTreeMap<RuleId, Option<Alert>>>,
}

impl Records {
    /// The keys of the alerts that the scores name.
    pub(super) fn alert_keys(&self) -> Vec<Item> {
        let of = |(submission, score): &(Submission, Score)| {
            let ids = score.alerts.iter().map(|(id, _)| id.key(&submission.study, &submission.site));
            ids.collect::<Vec<_>>()
        };
        self.scored.values().flat_map(of).collect()
    }

    /// Adds the alerts in `rows`, which were read by [`alert_keys`](Self::alert_keys), and returns how many of them
    /// cannot be read.
    pub(super) fn add_alerts(&mut self, rows: &[Item]) -> usize {
        let alert = |row: &Item| Some((Reader(row).parsed(SK).ok()?, Alert::from_item(row).ok()));
        let stored: BTreeMap<AlertId, Option<Alert>> = rows.iter().filter_map(alert).collect();
        for (submission, score) in self.scored.values() {
            let of_submission = self.alerts.entry(submission.id).or_default();
            for (id, rule) in &score.alerts {
                match stored.get(id) {
                    Some(alert) => drop(of_submission.insert(rule.clone(), alert.clone())),
                    None => self.missing.push(id.key(&submission.study, &submission.site)),
                }
            }
        }
        stored.values().filter(|alert| alert.is_none()).count()
    }

    /// Adds the record in `item`.
    pub(super) fn add(&mut self, item: &Item) -> Result<(), Unreadable> {
        let reader = Reader(item);
        match reader.text("kind")? {
            submission::KIND if item.contains_key("scored_at") => {
                let submission = Submission::from_item(item)?;
                let score = Score::from_item(item)?;
                self.scored.extend(score.map(|score| (submission.id, (submission, score))));
            }
            submission::KIND => self.unscored.push(keys::key(reader.text(PK)?, reader.text(SK)?)),
            profile::KIND | registration::KIND | site_entry::KIND => {}
            _ => return Err(unreadable("kind", "is unknown")),
        }
        Ok(())
    }
}

/// A change that follows from a replay. It is never split between two transactions.
pub(super) enum Change {
    /// The marks of an alert.
    Mark { key: Item, corrected: bool, superseded: bool },
    /// The alerts of a score and the rules that were not evaluated, with the alerts that are new: only the score leads
    /// to them.
    Score(ScoreChange),
}

pub(super) struct ScoreChange {
    /// The key of the submission.
    pub(super) key: Item,
    /// Its instrument.
    pub(super) instrument: InstrumentId,
    /// All of its alerts.
    pub(super) alerts: Vec<(AlertId, RuleId)>,
    /// The new ones among them.
    pub(super) raised: Vec<Alert>,
    pub(super) not_evaluated: Value,
}

/// The writes that follow from a replay, in order.
pub(super) struct Changes(std::iter::Peekable<std::vec::IntoIter<Change>>);

impl Changes {
    /// The writes that make `records` equal to their replay. `profile` gets the courses of the replay; its alerts are
    /// those that are stored, until the transaction that stores another one.
    pub(super) fn of(
        records: &Records,
        scored_by: &BTreeMap<SubmissionId, Result<ScoredBy, NotDefined>>,
        profile: &mut Profile,
        at: OffsetDateTime,
    ) -> Self {
        let entries: Vec<ReplayEntry<'_>> = records
            .scored
            .values()
            .filter_map(|(submission, score)| entry(submission, score, scored_by.get(&submission.id)?))
            .collect();
        let replayed = replay(&entries);
        let mut changes = Vec::new();
        // The profile as it is once all changes are written, by which alerts are quiet.
        let mut last = profile.clone();
        let none = BTreeMap::new();
        for (id, (submission, score)) in &records.scored {
            let rows = records.alerts.get(id).unwrap_or(&none);
            let corrected = replayed.corrected.contains(id);
            let outcome = replayed.outcomes.get(id);
            let fired: &[FiredRule] = outcome.map_or(&[], |outcome| &outcome.alerts);
            let mut alerts = score.alerts.clone();
            for row in rows.values().flatten() {
                let superseded = match outcome {
                    Some(_) => !fired.iter().any(|fired| fired.rule == row.rule),
                    None => row.superseded && !corrected,
                };
                if (row.corrected, row.superseded) != (corrected, superseded) {
                    changes.push(Change::Mark { key: row.key(), corrected, superseded });
                }
            }
            let mut raised = Vec::new();
            for fired in fired.iter().filter(|fired| !rows.contains_key(&fired.rule)) {
                let alert = Alert { late: true, ..last.raise(submission, fired, at) };
                if !alerts.iter().any(|(id, _)| *id == alert.id) {
                    alerts.push((alert.id, alert.rule.clone()));
                }
                raised.push(alert);
            }
            let not_evaluated = not_evaluated(score, outcome, corrected);
            if !raised.is_empty() || not_evaluated != score.not_evaluated {
                if outcome.is_none() && !corrected {
                    metrics::report(metrics::NOT_REEVALUATED, 1);
                    tracing::error!(event = "not_reevaluated", submission_id = %id, reason = LOST);
                }
                let (key, instrument) = (submission.key(), submission.instrument.id.clone());
                changes.push(Change::Score(ScoreChange { key, instrument, alerts, raised, not_evaluated }));
            }
        }
        if let Some((place, last)) = replayed.last
            && let Some((submission, _)) = records.scored.get(&last)
        {
            profile.last_submission = Some((last, place));
            profile.site = submission.site.clone();
        }
        let looks_back = |of: &CourseId| {
            let instruments = scored_by.values().flatten().map(|by| &by.instrument);
            instruments.filter(|instrument| instrument.course() == *of).map(|one| one.looks_back()).max()
        };
        let kept = |of: &CourseId| profile.courses.get(of).map_or(0, |course| course.last.len());
        let mut courses = replayed.courses;
        for (id, course) in &mut courses {
            course.last.truncate(looks_back(id).unwrap_or_default().max(kept(id)).max(1));
        }
        profile.courses = courses;
        Self(changes.into_iter().peekable())
    }

    pub(super) fn is_empty(&mut self) -> bool {
        self.0.peek().is_none()
    }

    /// The next changes, as many as fit into one transaction.
    pub(super) fn next_transaction(&mut self) -> Vec<Change> {
        let mut writes = 0;
        let mut unit = Vec::new();
        while let Some(change) = self.0.next_if(|change| writes + change.writes() <= MOST_CHANGE_WRITES) {
            writes += change.writes();
            unit.push(change);
        }
        unit
    }
}

impl Change {
    fn writes(&self) -> usize {
        match self {
            Self::Mark { .. } => 1,
            Self::Score(ScoreChange { raised, .. }) => 1 + raised.len(),
        }
    }
}

/// The entry of a submission in the replay. If its definition can no longer be read, its stored scores count.
fn entry<'a>(
    submission: &'a Submission,
    score: &Score,
    scored_by: &'a Result<ScoredBy, NotDefined>,
) -> Option<ReplayEntry<'a>> {
    let (basis, in_study) = match scored_by {
        Ok(ScoredBy { instrument, protocol }) => {
            let basis = Basis::Answers { instrument, answers: &submission.answers };
            (basis, submission.is_in_study(protocol))
        }
        Err(_) => {
            let of = &submission.instrument;
            let course = CourseId { instrument: of.id.clone(), version: of.version.clone() };
            (Basis::Recorded { course, version: of.version.clone(), scores: stored_scores(&score.scores)? }, true)
        }
    };
    let amends = submission.amends.as_ref().map(|amendment| amendment.of);
    Some(ReplayEntry { id: submission.id, place: submission.place(), amends, in_study, basis })
}

fn stored_scores(scores: &Value) -> Option<BTreeMap<ScoreId, Decimal>> {
    let scores: Vec<clinical::instruments::Score> = serde_json::from_value(scores.clone()).ok()?;
    Some(scores.into_iter().map(|score| (score.id, score.value)).collect())
}

/// The rules of a submission that are not evaluated, in the shape of the API.
fn not_evaluated(score: &Score, outcome: Option<&Outcome>, corrected: bool) -> Value {
    let json = |list: &[NotEvaluated]| serde_json::to_value(list).expect("rules and reasons are texts");
    match outcome {
        Some(outcome) => json(&outcome.not_evaluated),
        None if corrected => {
            let mut list = score.not_evaluated.clone();
            for entry in list.as_array_mut().into_iter().flatten().filter(|entry| entry["reason"] == NOT_YET) {
                entry["reason"] = json!(CORRECTED);
            }
            list
        }
        None => json!([{"rule": ALL_RULES, "reason": LOST}]),
    }
}
