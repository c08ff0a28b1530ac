//! The rota: who is on call for a study's alerts.

use jiff::ToSpan;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};

use crate::ids::{OnCallId, SiteId};
use crate::instruments::Severity;
use crate::schedules::definition::{ClockTime, Weekday};

/// A part of the day in which somebody is on call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Shift {
    /// Who is on call. It is published with the alert.
    pub on_call: OnCallId,
    /// The sites; all sites of the study if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteId>,
    /// The severities; all if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub severities: Vec<Severity>,
    /// The days on which the shift begins; every day if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Weekday>,
    /// When it begins, in the time zone of the site.
    pub from: ClockTime,
    /// When it ends: on the same day if that is later than its beginning, else on the next. The end of the day is `24:00`.
    pub to: ClockTime,
}

impl Shift {
    /// Whether it covers an alert of `severity` at `site` that is published at the local time `at`.
    pub fn covers(&self, site: &SiteId, severity: Severity, at: DateTime) -> bool {
        (self.sites.is_empty() || self.sites.contains(site))
            && (self.severities.is_empty() || self.severities.contains(&severity))
            && self.is_at(at)
    }

    fn is_at(&self, at: DateTime) -> bool {
        let minute = u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs());
        let (from, to) = (self.from.minutes(), self.to.minutes());
        let has_day = |day: Option<DateTime>| {
            self.days.is_empty() || day.is_some_and(|day| self.days.iter().any(|one| day.weekday() == (*one).into()))
        };
        if from < to {
            (from..to).contains(&minute) && has_day(Some(at))
        } else {
            // It began today, or goes on since yesterday.
            (minute >= from && has_day(Some(at))) || (minute < to && has_day(at.checked_sub(1.day()).ok()))
        }
    }
}
