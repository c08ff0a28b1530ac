//! The rows of alerts, each with the submission and the rule that raised it.

use clinical::ids::SubmissionId;
use records::{AlertId, StoredAlert};

use super::Patient;
use crate::difference::Kind;

impl Patient<'_> {
    /// Compares what `row` has of its submission and its rule, its reason and its marks.
    pub(super) fn alert(&mut self, row: &StoredAlert) {
        let alert = &row.alert;
        let Some(id) = alert.submission() else { return self.missed(row) };
        let Some(stored) = self.stored(id) else {
            return self.of_alert(Kind::AlertWithoutReason, row, "its submission is not stored");
        };
        let submission = &stored.submission;
        let score = stored.score.as_ref();
        let same = [
            ("alert_id", alert.id == AlertId::derive(submission.received_at, submission.nonce, &alert.rule)),
            ("study", alert.study == submission.study),
            ("site", alert.site == submission.site),
            ("patient", alert.patient == submission.patient),
            ("correlation_id", alert.correlation_id == submission.correlation_id),
            ("instrument", alert.instrument.as_ref().is_none_or(|id| *id == submission.instrument.id)),
            // A late one is raised when the course is evaluated again.
            ("raised_at", alert.late || score.is_none_or(|score| score.scored_at == alert.raised_at)),
        ];
        for (attribute, _) in same.into_iter().filter(|(_, same)| !same) {
            self.of_alert(Kind::AlertAltered, row, attribute);
        }
        let (Some(definition), Some(alone)) = (self.definition(submission.id), self.alone(stored)) else { return };
        if definition.instrument.rule(&alert.rule).is_some_and(|rule| rule.severity != alert.severity) {
            self.of_alert(Kind::AlertAltered, row, "severity");
        }
        let may_fire = alone.alerts.iter().any(|fired| fired.rule == alert.rule)
            || alone.not_evaluated.iter().any(|open| open.rule == alert.rule);
        if !may_fire && score.is_some() {
            self.of_alert(Kind::AlertWithoutReason, row, &alert.rule);
        }
        self.marks(row, id);
    }

    fn marks(&mut self, row: &StoredAlert, id: SubmissionId) {
        let alert = &row.alert;
        let corrected = self.replayed.corrected.contains(&id);
        let superseded = match self.replayed.outcomes.get(&id) {
            Some(outcome) => !outcome.alerts.iter().any(|fired| fired.rule == alert.rule),
            None if corrected => false,
            None => return,
        };
        if !self.is_marked && (alert.corrected, alert.superseded) != (corrected, superseded) {
            self.of_alert(Kind::AlertMarksDiffer, row, &alert.rule);
        }
    }
}
