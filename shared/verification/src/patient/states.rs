//! The states of alerts: status, times, escalation, and the list that each is on.

use clinical::instruments::Severity;
use records::{AlertStatus, List, OnList, StoredAlert, WorklistPlace};

use super::Patient;
use crate::Settings;
use crate::difference::Kind;

impl Patient<'_> {
    /// Compares the parts of an alert's state with each other.
    pub(super) fn state(&mut self, row: &StoredAlert) {
        let alert = &row.alert;
        let is_critical = alert.severity == Severity::Critical;
        let (sent, acknowledged) = (alert.sent_at.is_some(), alert.acknowledged.is_some());
        let escalated = alert.escalation > 0;
        let contradictions = [
            ("acknowledged_at", acknowledged == (alert.status == AlertStatus::Acknowledged)),
            ("later_acknowledgements", acknowledged || alert.later.is_empty()),
            ("message_id", sent == row.has_message_id),
            (
                "sent_at",
                match alert.status {
                    AlertStatus::Sent => sent,
                    AlertStatus::Pending | AlertStatus::Quiet => !sent,
                    AlertStatus::Acknowledged => true,
                },
            ),
            ("escalation", !escalated || (is_critical && sent)),
            ("escalated_at", alert.escalated_at.is_none() || escalated),
            ("escalation_message_id", alert.escalated_at.is_some() == row.has_escalation_message_id),
            // An escalation is published, unless it still waits for that or was acknowledged before.
            (
                "escalated_at",
                !escalated || alert.escalated_at.is_some() || acknowledged || row.on.list().is_some_and(is_unpublished),
            ),
            ("exhausted_at", alert.exhausted_at.is_none() || escalated),
        ];
        for (attribute, _) in contradictions.into_iter().filter(|(_, agrees)| !agrees) {
            self.of_alert(Kind::StatusDiffers, row, attribute);
        }
        if self.most_escalations().is_some_and(|most| alert.escalation > most) {
            self.of_alert(Kind::EscalatedTooOften, row, &alert.rule);
        }
        let worklist = if alert.waits() { WorklistPlace::Right } else { WorklistPlace::None };
        if row.worklist != worklist {
            self.of_alert(Kind::NotInSiteIndex, row, "worklist");
        }
        if !self.is_on_the_right_list(row) {
            self.of_alert(Kind::ListDiffers, row, alert.status.as_str());
        }
        match row.on {
            OnList::On { list: List::Pending, since } => {
                if self.waits(since) {
                    self.of_alert(Kind::WaitsTooLong, row, "its publication");
                }
            }
            // It is on this list until it is acknowledged; `since` is when its escalation is due.
            OnList::On { list: List::Open, since } => {
                let patience = self.settings.patience;
                if !patience.is_zero() && self.now - since > patience {
                    self.of_alert(Kind::WaitsTooLong, row, "its escalation");
                }
            }
            OnList::On { list: List::Quarantine, .. } => self.compared.quarantined += 1,
            OnList::On { list: List::Due, .. } | OnList::None | OnList::Unreachable => {}
        }
    }

    fn is_on_the_right_list(&self, row: &StoredAlert) -> bool {
        let alert = &row.alert;
        let list = match row.on {
            OnList::Unreachable => return false,
            OnList::None => None,
            OnList::On { list, .. } => Some(list),
        };
        let is_critical = alert.severity == Severity::Critical;
        match (alert.status, list) {
            (_, Some(List::Due)) => false,
            (AlertStatus::Quiet, list) => list.is_none(),
            (AlertStatus::Pending, list) => list.is_some_and(is_unpublished),
            // Whether one that is on no list was quiet is compared with the quiet period.
            (AlertStatus::Acknowledged, list) if alert.sent_at.is_none() => list != Some(List::Open),
            (AlertStatus::Sent | AlertStatus::Acknowledged, Some(List::Pending)) => alert.escalation > 0,
            (AlertStatus::Sent | AlertStatus::Acknowledged, Some(List::Open)) => {
                is_critical && alert.exhausted_at.is_none()
            }
            (AlertStatus::Sent | AlertStatus::Acknowledged, Some(List::Quarantine)) => is_critical,
            (AlertStatus::Sent, None) => !is_critical || alert.exhausted_at.is_some() || self.may_never_escalate(),
            (AlertStatus::Acknowledged, None) => true,
        }
    }

    /// The largest number of escalations that the study's versions and the deployment allow, if all are known.
    fn most_escalations(&self) -> Option<u32> {
        match self.settings.escalation_limit {
            Some(limit) => Some(limit.max(self.limits.most.unwrap_or_default())),
            None => self.limits.most.filter(|_| !self.limits.open),
        }
    }

    /// Whether a version of the study, or the deployment, may let an alert rest that nobody acknowledges.
    fn may_never_escalate(&self) -> bool {
        let Settings { escalation_limit, escalates, .. } = self.settings;
        self.limits.never || escalation_limit.map_or(self.limits.open && !escalates, |limit| limit == 0)
    }
}

/// Whether an alert on `list` may have something that is not published.
fn is_unpublished(list: List) -> bool {
    matches!(list, List::Pending | List::Quarantine)
}

/// Whether an alert was quiet when it was raised: an acknowledgement replaces the status.
pub(super) fn was_quiet(row: &StoredAlert) -> bool {
    let alert = &row.alert;
    alert.status == AlertStatus::Quiet
        || (alert.status == AlertStatus::Acknowledged && alert.sent_at.is_none() && row.on == OnList::None)
}
