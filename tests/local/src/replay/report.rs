//! The report of a replay for a person: every administration, every difference, alerts and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use clinical::ids::SiteId;

use super::file::Administration;
use crate::client::{Alert, Counts, Score};

/// The content of the report.
pub(super) struct Report<'a> {
    pub(super) site: &'a SiteId,
    pub(super) entries: Vec<Entry<'a>>,
    /// The site's messages in the inbox, repeats included.
    pub(super) inbox: Vec<Alert>,
    pub(super) before: Counts,
    pub(super) after: Counts,
    /// Requests that were repeated.
    pub(super) repeats: u64,
}

/// An administration and its result.
pub(super) struct Entry<'a> {
    pub(super) administration: &'a Administration,
    pub(super) sent: Sent,
    pub(super) result: Result,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Stored by this replay.
    Now,
    /// Stored before this replay, with the same content.
    AlreadyThere,
    /// Not stored.
    Not,
}

pub(super) enum Result {
    /// Why it is not stored with the file's content.
    NotStored(String),
    /// Why it has no score.
    NotScored(String),
    Scored {
        score: Score,
        when: When,
    },
}

/// When a submission was scored, relative to the first read of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Before: the first counts include it.
    Before,
    /// So shortly before that the first counts may include it or not: a score's time is a little before its
    /// transaction.
    Around,
    /// After: the first counts do not include it.
    Since,
}

/// How the file's total and the computed one compare.
#[derive(Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    /// The file has no total.
    Nothing,
    Different,
    NotScored(String),
    NotStored(String),
}

impl Entry<'_> {
    fn compare(&self) -> Comparison {
        match &self.result {
            Result::NotStored(why) => Comparison::NotStored(why.clone()),
            Result::NotScored(why) => Comparison::NotScored(why.clone()),
            Result::Scored { score, .. } => {
                let compared = self.administration.score;
                let ours = score.scores.iter().find(|ours| ours.id == compared);
                let reason =
                    || score.not_scored.iter().find(|reason| reason.id == compared).map(|it| it.reason.clone());
                match (ours, self.administration.total) {
                    (None, _) => Comparison::NotScored(reason().unwrap_or_else(|| "without a reason".to_owned())),
                    (Some(_), None) => Comparison::Nothing,
                    (Some(ours), Some(total)) if ours.value.as_f64() == Some(total) => Comparison::Equal,
                    (Some(_), Some(_)) => Comparison::Different,
                }
            }
        }
    }

    fn score(&self) -> Option<&Score> {
        match &self.result {
            Result::Scored { score, .. } => Some(score),
            _ => None,
        }
    }

    fn row(&self, comparison: &Comparison) -> [String; 8] {
        let administration = self.administration;
        let ours = self.score().and_then(|score| score.scores.iter().find(|ours| ours.id == administration.score));
        let dash = || "-".to_owned();
        let sent = match self.sent {
            Sent::Now => "now",
            Sent::AlreadyThere => "already there",
            Sent::Not => "not stored",
        };
        let result = match comparison {
            Comparison::Equal => "equal".to_owned(),
            Comparison::Nothing => "no total in the file".to_owned(),
            Comparison::Different => "DIFFERENT".to_owned(),
            Comparison::NotScored(why) => format!("NOT SCORED: {why}"),
            Comparison::NotStored(why) => format!("NOT STORED: {why}"),
        };
        [
            administration.patient.to_string(),
            administration.visit.clone(),
            administration.date.clone(),
            sent.to_owned(),
            administration.total.map_or_else(dash, |total| total.to_string()),
            ours.map_or_else(dash, |ours| ours.value.to_string()),
            ours.and_then(|ours| ours.band.clone()).unwrap_or_else(dash),
            result,
        ]
    }
}

impl Report<'_> {
    /// The report, and whether everything agrees.
    pub(super) fn render(&self) -> (String, bool) {
        let comparisons: Vec<Comparison> = self.entries.iter().map(Entry::compare).collect();
        let mut differences: Vec<String> = Vec::new();
        let mut text = table(&self.entries, &comparisons);
        self.tell_notes(&mut text);
        text.push('\n');
        self.tell_sent(&mut text);
        self.tell_totals(&mut text, &comparisons, &mut differences);
        self.tell_alerts(&mut text, &mut differences);
        self.tell_counts(&mut text, &mut differences);
        if differences.is_empty() {
            text.push_str("\nno differences\n");
        } else {
            let _ = writeln!(text, "\nDIFFERENCES: {}", differences.len());
            for difference in &differences {
                let _ = writeln!(text, "  {difference}");
            }
        }
        (text, differences.is_empty())
    }

    fn tell_notes(&self, text: &mut String) {
        for Entry { administration, .. } in &self.entries {
            for note in &administration.notes {
                let _ = writeln!(text, "note: {}: {note}", name(administration));
            }
        }
    }

    fn tell_sent(&self, text: &mut String) {
        let patients: BTreeSet<_> = self.entries.iter().map(|entry| &entry.administration.patient).collect();
        let count = |sent| self.entries.iter().filter(|entry| entry.sent == sent).count();
        let _ = writeln!(
            text,
            "administrations: {} (patients: {}): {} stored now, {} already there, {} not stored; requests sent \
             again: {}",
            self.entries.len(),
            patients.len(),
            count(Sent::Now),
            count(Sent::AlreadyThere),
            count(Sent::Not),
            self.repeats
        );
    }

    fn tell_totals(&self, text: &mut String, comparisons: &[Comparison], differences: &mut Vec<String>) {
        let count = |fits: fn(&Comparison) -> bool| comparisons.iter().filter(|comparison| fits(comparison)).count();
        let _ = writeln!(
            text,
            "totals: {} equal, {} different, {} without one in the file, {} not scored",
            count(|comparison| *comparison == Comparison::Equal),
            count(|comparison| *comparison == Comparison::Different),
            count(|comparison| *comparison == Comparison::Nothing),
            count(|comparison| matches!(comparison, Comparison::NotScored(_))),
        );
        for (entry, comparison) in self.entries.iter().zip(comparisons) {
            let what = match comparison {
                Comparison::Equal | Comparison::Nothing => continue,
                Comparison::Different => {
                    let [_, _, _, _, file, ours, ..] = entry.row(comparison);
                    format!("the file says {file}, its items give {ours}")
                }
                Comparison::NotScored(why) => format!("not scored: {why}"),
                Comparison::NotStored(why) => format!("not stored: {why}"),
            };
            differences.push(format!("{}: {what}", name(entry.administration)));
        }
    }

    fn tell_alerts(&self, text: &mut String, differences: &mut Vec<String>) {
        // Without a score of this content, the expected alerts are unknown.
        let scored = self.entries.iter().filter(|entry| entry.score().is_some());
        let ids: BTreeSet<String> = scored.map(|entry| entry.administration.id.to_string()).collect();
        let delivered: BTreeMap<&str, &Alert> = self
            .inbox
            .iter()
            .filter(|alert| alert.submission_id.as_ref().is_some_and(|id| ids.contains(id)))
            .map(|alert| (alert.alert_id.as_str(), alert))
            .collect();
        let raised: BTreeSet<&str> = self
            .entries
            .iter()
            .filter_map(Entry::score)
            .flat_map(|score| score.alerts.iter().map(String::as_str))
            .collect();
        let _ = writeln!(text, "alerts: {} in the scores, {} in the inbox", raised.len(), delivered.len());
        let mut kinds: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        for alert in delivered.values() {
            *kinds.entry((&alert.rule, &alert.severity)).or_default() += 1;
        }
        for ((rule, severity), count) in kinds {
            let _ = writeln!(text, "  {rule} ({severity}): {count}");
        }
        let lost = raised.iter().filter(|id| !delivered.contains_key(*id)).count();
        if lost > 0 {
            differences.push(format!("alerts of the scores that are missing from the inbox: {lost}"));
        }
        let unknown = delivered.keys().filter(|id| !raised.contains(*id)).count();
        if unknown > 0 {
            differences.push(format!("alerts of these submissions in the inbox that no score has: {unknown}"));
        }
    }

    fn tell_counts(&self, text: &mut String, differences: &mut Vec<String>) {
        let Self { site, before, after, .. } = self;
        let line = |before: u64, after: u64| format!("{after} ({before} before)");
        let _ = writeln!(text, "counts of site {site}:");
        let _ = writeln!(text, "  submissions: {}", line(before.submissions, after.submissions));
        let _ = writeln!(text, "  alerts: {}", line(before.alerts, after.alerts));
        let _ = writeln!(text, "  API calls: {}", line(before.api_calls, after.api_calls));
        let scored = |since: When| {
            self.entries.iter().filter_map(move |entry| match &entry.result {
                Result::Scored { score, when } if *when == since => Some(score.alerts.len() as u64),
                _ => None,
            })
        };
        let submissions = |when| scored(when).count() as u64;
        let alerts = |when| scored(when).sum::<u64>();
        for (what, verb, before, after, least, perhaps) in [
            (
                "submissions",
                "scored",
                before.submissions,
                after.submissions,
                submissions(When::Since),
                submissions(When::Around),
            ),
            ("alerts", "raised", before.alerts, after.alerts, alerts(When::Since), alerts(When::Around)),
        ] {
            let expected = if perhaps == 0 { least.to_string() } else { format!("{least} to {}", least + perhaps) };
            if !(before + least..=before + least + perhaps).contains(&after) {
                differences.push(format!(
                    "the site's {what} went from {before} to {after}, and this replay saw {expected} {verb}; does \
                     somebody else send for this site?"
                ));
            }
        }
    }
}

fn name(administration: &Administration) -> String {
    format!("{} {} {}", administration.patient, administration.visit, administration.date)
}

fn table(entries: &[Entry<'_>], comparisons: &[Comparison]) -> String {
    let head = ["patient", "visit", "date", "sent", "file", "ours", "band", "total"].map(str::to_owned);
    let rows: Vec<[String; 8]> = [head]
        .into_iter()
        .chain(entries.iter().zip(comparisons).map(|(entry, comparison)| entry.row(comparison)))
        .collect();
    let widths: Vec<usize> =
        (0..8).map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default()).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            // Numbers are right-aligned.
            if column == 4 || column == 5 { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use clinical::instruments::Catalog;
    use serde_json::{Map, Number};
    use time::macros::datetime;

    use super::*;
    use crate::client::{Reason, ScoreValue};

    fn administration(patient: &str, total: Option<f64>) -> Administration {
        let find = Catalog::shipped().find(&"phq-9".parse().expect("an id"), &"1.0.0".parse().expect("a version"));
        Administration {
            id: format!("013b50fc-7a00-7000-8000-0000000000{patient}").parse().expect("a UUID"),
            patient: patient.parse().expect("a name"),
            visit: "BASELINE".to_owned(),
            date: "2012-11-30".to_owned(),
            authored: datetime!(2012-11-30 12:00 UTC),
            authored_at: "2012-11-30T12:00:00Z".to_owned(),
            instrument: find.expect("it ships"),
            answers: Map::new(),
            score: "total",
            total,
            notes: Vec::new(),
        }
    }

    fn scored(value: u32, alerts: &[&str]) -> Result {
        let total = ScoreValue { id: "total".to_owned(), value: Number::from(value), band: Some("mild".to_owned()) };
        let score = Score {
            scored_at: String::new(),
            scores: vec![total],
            not_scored: Vec::new(),
            alerts: alerts.iter().map(|id| (*id).to_owned()).collect(),
        };
        Result::Scored { score, when: When::Since }
    }

    fn alert(id: &str, patient: &str) -> Alert {
        Alert {
            alert_id: id.to_owned(),
            submission_id: Some(administration(patient, None).id.to_string()),
            severity: "critical".to_owned(),
            rule: "safety".to_owned(),
        }
    }

    /// The report of one administration that agrees in everything, after a change.
    fn rendered(change: impl FnOnce(&mut Report<'_>)) -> (String, bool) {
        rendered_for(&administration("01", Some(5.0)), change)
    }

    fn rendered_for(administration: &Administration, change: impl FnOnce(&mut Report<'_>)) -> (String, bool) {
        let site = "S-1".parse().expect("a name");
        let entry = Entry { administration, sent: Sent::Now, result: scored(5, &["a-1"]) };
        let mut report = Report {
            site: &site,
            entries: vec![entry],
            // A repeat of an alert, which is allowed, and an alert of another submission.
            inbox: vec![alert("a-1", "01"), alert("a-1", "01"), alert("a-9", "99")],
            before: Counts { api_calls: 3, submissions: 7, alerts: 2 },
            after: Counts { api_calls: 6, submissions: 8, alerts: 3 },
            repeats: 0,
        };
        change(&mut report);
        report.render()
    }

    #[test]
    fn a_replay_that_agrees_has_no_differences() {
        let (text, agrees) = rendered(|_| {});
        assert!(agrees, "{text}");
        for line in [
            "patient  visit     date        sent  file  ours  band  total\n",
            "01       BASELINE  2012-11-30  now      5     5  mild  equal\n",
            "totals: 1 equal, 0 different, 0 without one in the file, 0 not scored\n",
            "alerts: 1 in the scores, 1 in the inbox\n  safety (critical): 1\n",
            "  submissions: 8 (7 before)\n",
            "\nno differences\n",
        ] {
            assert!(text.contains(line), "{line} is not in:\n{text}");
        }
    }

    #[test]
    fn every_kind_of_difference_is_reported_and_fails_the_replay() {
        let differs = |change: fn(&mut Report<'_>), what: &str| {
            let (text, agrees) = rendered(change);
            assert!(!agrees && text.contains("\nDIFFERENCES: 1\n") && text.contains(what), "{what} is not in:\n{text}");
        };
        differs(
            |report| report.entries[0].result = scored(6, &["a-1"]),
            "01 BASELINE 2012-11-30: the file says 5, its items give 6",
        );
        differs(
            |report| {
                report.entries[0].result = Result::Scored {
                    score: Score {
                        scored_at: String::new(),
                        scores: Vec::new(),
                        not_scored: vec![Reason {
                            id: "total".to_owned(),
                            reason: "item 3 is not answered".to_owned(),
                        }],
                        alerts: vec!["a-1".to_owned()],
                    },
                    when: When::Since,
                };
            },
            "01 BASELINE 2012-11-30: not scored: item 3 is not answered",
        );
        differs(
            |report| report.inbox.retain(|alert| alert.alert_id != "a-1"),
            "alerts of the scores that are missing from the inbox: 1",
        );
        differs(
            |report| report.inbox.push(alert("a-2", "01")),
            "alerts of these submissions in the inbox that no score has: 1",
        );
        differs(|report| report.after.submissions = 9, "submissions went from 7 to 9, and this replay saw 1 scored");
        differs(|report| report.after.alerts = 2, "alerts went from 2 to 2, and this replay saw 1 raised");
    }

    #[test]
    fn a_submission_that_is_not_stored_or_scored_has_a_reason() {
        for (result, what) in [
            (Result::NotStored("409".to_owned()), "01 BASELINE 2012-11-30: not stored: 409"),
            (Result::NotScored("not within 5 s".to_owned()), "01 BASELINE 2012-11-30: not scored: not within 5 s"),
        ] {
            let (text, agrees) = rendered(|report| {
                report.entries[0].result = result;
                report.after = report.before.clone();
            });
            assert!(!agrees && text.contains("DIFFERENCES: 1\n") && text.contains(what), "{text}");
        }
    }

    #[test]
    fn a_total_that_the_file_lacks_is_reported_as_not_compared() {
        let (text, agrees) = rendered_for(&administration("01", None), |_| {});
        assert!(
            agrees && text.contains("1 without one in the file") && text.contains("no total in the file"),
            "{text}"
        );
    }

    #[test]
    fn earlier_scores_are_not_expected_to_be_counted_again() {
        let (text, agrees) = rendered(|report| {
            report.entries[0].sent = Sent::AlreadyThere;
            if let Result::Scored { when, .. } = &mut report.entries[0].result {
                *when = When::Before;
            }
            report.after = report.before.clone();
        });
        assert!(agrees && text.contains("already there"), "{text}");
    }

    #[test]
    fn scores_in_flight_may_be_in_the_first_counts_or_not() {
        let around = |after: u64| {
            rendered(|report| {
                report.entries[0].sent = Sent::AlreadyThere;
                if let Result::Scored { when, .. } = &mut report.entries[0].result {
                    *when = When::Around;
                }
                report.after.submissions = after;
            })
        };
        assert!(around(7).1 && around(8).1);
        let (text, agrees) = around(9);
        assert!(!agrees && text.contains("went from 7 to 9, and this replay saw 0 to 1 scored"), "{text}");
    }
}
