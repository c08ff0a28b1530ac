//! The choice of a site's alerts by status and severity.

use std::str::FromStr;

use clinical::instruments::Severity;

use super::UnknownName;
use super::alert::{Alert, AlertStatus};

/// Which of a site's alerts are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// The status; `None` for any.
    pub status: Option<StatusFilter>,
    /// The severity; `None` for any.
    pub severity: Option<Severity>,
}

/// Alerts of one status, or alerts that still need a clinician.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// Pending or sent: published, or about to be, and not acknowledged.
    Open,
    /// Escalated as often as the study allows, and not acknowledged.
    Exhausted,
    /// Of exactly this status.
    Only(AlertStatus),
}

impl StatusFilter {
    /// Every filter, by its name in the API.
    pub const ALL: [(&'static str, Self); 6] = [
        ("open", Self::Open),
        ("exhausted", Self::Exhausted),
        ("pending", Self::Only(AlertStatus::Pending)),
        ("sent", Self::Only(AlertStatus::Sent)),
        ("acknowledged", Self::Only(AlertStatus::Acknowledged)),
        ("quiet", Self::Only(AlertStatus::Quiet)),
    ];
}

impl FromStr for StatusFilter {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, filter)| filter).ok_or(UnknownName("status"))
    }
}

impl AlertFilter {
    pub(crate) fn matches(self, alert: &Alert) -> bool {
        let status = match self.status {
            None => true,
            Some(StatusFilter::Open) => alert.waits(),
            Some(StatusFilter::Exhausted) => alert.exhausted_at.is_some() && alert.acknowledged.is_none(),
            Some(StatusFilter::Only(status)) => alert.status == status,
        };
        status && self.severity.is_none_or(|severity| alert.severity == severity)
    }
}
