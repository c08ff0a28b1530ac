//! Occurrences: each is answered by the submission that its window holds, or missed without one.

use std::collections::BTreeMap;

use clinical::ids::{ScheduleId, SubmissionId};
use clinical::schedules::{State, offset_date_time, timestamp};
use records::{Cause, StoredAlert, StoredOccurrence, StoredSubmission};

use super::Patient;
use super::states::was_quiet;
use crate::difference::Kind;

/// How long after its window has closed an occurrence is settled by: `sweep` leaves what may still be in flight for half a
/// minute, and runs each minute.
const TO_BE_CLOSED: time::Duration = time::Duration::minutes(2);

impl Patient<'_> {
    /// Compares an alert of missed windows with the last of them.
    pub(super) fn missed(&mut self, row: &StoredAlert) {
        let alert = &row.alert;
        let Cause::Missed { schedule, number } = &alert.cause else { return };
        let is_of_it =
            |one: &&StoredOccurrence| one.occurrence.schedule == *schedule && one.occurrence.number == *number;
        let Some(missed) = self.records.occurrences.iter().find(is_of_it) else {
            return self.of_alert(Kind::AlertWithoutReason, row, "its occurrence is not stored");
        };
        let same = [
            ("alert_id", alert.id == missed.alert_id()),
            ("study", alert.study == missed.study),
            ("site", alert.site == missed.site),
            ("patient", alert.patient == missed.patient),
            ("rule", alert.rule.as_str() == schedule.as_str()),
            ("instrument", alert.instrument.as_ref() == Some(&missed.occurrence.instrument)),
            ("raised_at", alert.raised_at >= offset_date_time(missed.occurrence.window.closes)),
            ("status", missed.occurrence.alert.is_some_and(|alert| alert.quiet) == was_quiet(row)),
        ];
        for (attribute, _) in same.into_iter().filter(|(_, same)| !same) {
            self.of_alert(Kind::AlertAltered, row, attribute);
        }
    }

    /// Compares the occurrences with the submissions that may answer them.
    pub(super) fn occurrences(&mut self) {
        let records = self.records;
        // What follows would compare with submissions or rows that are missing here.
        if !records.unreadable.is_empty() {
            return;
        }
        let mut answers: BTreeMap<SubmissionId, usize> = BTreeMap::new();
        for one in &records.occurrences {
            if let State::Done { submission, .. } = one.occurrence.state {
                *answers.entry(submission).or_default() += 1;
            }
        }
        for one in &records.occurrences {
            let occurrence = &one.occurrence;
            let holds = |stored: &&StoredSubmission| {
                let submission = &stored.submission;
                submission.amends.is_none()
                    && submission.instrument.id == occurrence.instrument
                    && timestamp(submission.effective_at).is_some_and(|at| occurrence.window.holds(at))
            };
            match occurrence.state {
                State::Done { submission, late } => {
                    let answer = self.stored(submission).filter(holds);
                    let is_late =
                        answer.map(|answer| timestamp(answer.submission.received_at) >= Some(occurrence.window.closes));
                    if is_late != Some(late) || answers.get(&submission) != Some(&1) {
                        self.of_occurrence(Kind::OccurrenceDiffers, one, "done");
                    }
                }
                State::Waiting | State::Missed => {
                    let patience = self.settings.patience;
                    let now = self.now;
                    // The answer is recorded after the score. One that was open when it was made is searched for in the
                    // next run of sweep.
                    let is_due = |scored_at| patience.is_zero() || now - scored_at > patience;
                    let scored = records.submissions.iter().filter(|stored| {
                        let scored_at = stored.score.as_ref().map(|score| score.scored_at);
                        scored_at.is_some_and(is_due) && !one.looks_back
                    });
                    let answer = scored.into_iter().find(holds);
                    if answer.is_some_and(|answer| !answers.contains_key(&answer.submission.id)) {
                        self.of_occurrence(Kind::OccurrenceDiffers, one, "not answered");
                    }
                    let due = offset_date_time(occurrence.window.closes) + TO_BE_CLOSED;
                    if occurrence.state == State::Waiting && due < self.now && self.waits(due) {
                        self.of_occurrence(Kind::WaitsTooLong, one, "its closing");
                    }
                }
                State::NotAsked | State::Ended { .. } => {}
            }
            if one.alert.is_some_and(|id| !records.alerts.iter().any(|row| row.alert.id == id)) {
                self.of_occurrence(Kind::AlertNotStored, one, "of missed windows");
            }
        }
        self.missed_in_a_row();
        self.missed_quietly();
    }

    /// Finds windows missed in a row that raised no alert. A window counts for its row only where it was settled before the
    /// last one of them closed, and counted for no earlier alert.
    fn missed_in_a_row(&mut self) {
        let mut settled: BTreeMap<&ScheduleId, Vec<&StoredOccurrence>> = BTreeMap::new();
        for one in &self.records.occurrences {
            if matches!(one.occurrence.state, State::Missed | State::Done { .. }) {
                settled.entry(&one.occurrence.schedule).or_default().push(one);
            }
        }
        for (schedule, mut settled) in settled {
            let Some(after) = self.limits.missed_after.get(schedule) else { continue };
            settled.sort_by_key(|one| one.occurrence.window);
            for (index, last) in settled.iter().enumerate() {
                let window = last.occurrence.window;
                let counts = |one: &&&StoredOccurrence| {
                    let before = one.occurrence.window;
                    is_unalerted(one) && before.opens < window.opens && before.closes <= window.closes
                };
                let before = settled.iter().take(index).rev().take_while(counts).count();
                if is_unalerted(last) && before + 1 >= *after {
                    self.of_occurrence(Kind::AlertMissing, last, "missed in a row");
                }
            }
        }
    }

    /// Compares quiet and published alerts of missed windows with the quiet periods of their schedules.
    fn missed_quietly(&mut self) {
        for one in &self.records.occurrences {
            let occurrence = &one.occurrence;
            let Some(alert) = occurrence.alert else { continue };
            let Some(period) = self.limits.missed_quiet.get(&occurrence.schedule) else { continue };
            let window = occurrence.window;
            let begins = |before: &&StoredOccurrence| {
                let other = before.occurrence.window;
                before.occurrence.schedule == occurrence.schedule
                    && before.occurrence.alert.is_some_and(|alert| !alert.quiet)
                    && other.opens < window.opens
                    && offset_date_time(window.closes) - offset_date_time(other.closes) < *period
            };
            let is_quiet = period.is_positive() && self.records.occurrences.iter().any(|before| begins(&before));
            match (alert.quiet, is_quiet) {
                (true, false) => self.of_occurrence(Kind::QuietWithoutReason, one, "its alert"),
                (false, true) => self.of_occurrence(Kind::NotQuiet, one, "its alert"),
                _ => {}
            }
        }
    }

    fn of_occurrence(&mut self, kind: Kind, one: &StoredOccurrence, detail: &str) {
        let (schedule, number) = (&one.occurrence.schedule, one.occurrence.number);
        let difference = self.difference(kind).at_site(&one.site);
        self.differs(difference.about(format_args!("{schedule} {number}: {detail}")));
    }
}

/// Whether it was missed and raised no alert, not even one that was resolved.
fn is_unalerted(one: &StoredOccurrence) -> bool {
    one.occurrence.state == State::Missed && one.occurrence.alert.is_none()
}
