//! Quiet periods.
//!
//! Which of two alerts that were raised at about the same time was committed first is not stored. These comparisons hold
//! for either order: a quiet alert has a published one less than its period before it, or one after it that may have been
//! committed first, and of two published ones the later is not within its period after the earlier.
//!
//! One that was raised later was committed first only if the invocation that raised the quiet one ran meanwhile, or if
//! the clocks of both were apart.

use std::collections::BTreeMap;

use clinical::ids::{InstrumentId, RuleId};
use records::StoredAlert;
use time::{Duration, OffsetDateTime};

use super::Patient;
use super::states::was_quiet;
use crate::difference::Kind;

/// An invocation raises alerts at the time at which it began, and lasts at most this long.
const LONGEST_INVOCATION: Duration = Duration::minutes(15);

/// An alert, with the quiet period of its rule if that is known.
struct Raised<'a> {
    row: &'a StoredAlert,
    period: Option<Duration>,
}

impl Patient<'_> {
    /// Compares quiet and published alerts with the periods of their rules, and the profile's times with the alerts.
    pub(super) fn quiet_periods(&mut self) {
        let mut of_rules: BTreeMap<(&InstrumentId, &RuleId), Vec<Raised<'_>>> = BTreeMap::new();
        for row in &self.records.alerts {
            let Some(id) = row.alert.submission() else { continue };
            let Some(stored) = self.stored(id) else { continue };
            let rule = self.definition(id).and_then(|of| of.instrument.rule(&row.alert.rule));
            let period = rule.map(|rule| Duration::hours(rule.quiet_hours.into()));
            let raised = of_rules.entry((&stored.submission.instrument.id, &row.alert.rule)).or_default();
            raised.push(Raised { row, period });
        }
        let mut last_alerts: BTreeMap<String, OffsetDateTime> = BTreeMap::new();
        for ((instrument, rule), mut raised) in of_rules {
            raised.sort_by_key(|one| (one.row.alert.raised_at, one.row.alert.id));
            let (quiet, published): (Vec<_>, Vec<_>) = raised.into_iter().partition(|one| was_quiet(one.row));
            if let Some(last) = published.last() {
                last_alerts.insert(format!("{instrument}#{rule}"), last.row.alert.raised_at);
            }
            for one in &quiet {
                let Some(period) = one.period else { continue };
                let latest = LONGEST_INVOCATION + self.settings.clocks_apart;
                let starts = |other: &Raised<'_>| {
                    let after = one.row.alert.raised_at - other.row.alert.raised_at;
                    -latest <= after && after < period
                };
                if period.is_zero() || !published.iter().any(starts) {
                    self.of_alert(Kind::QuietWithoutReason, one.row, rule);
                }
            }
            let mut before: Option<OffsetDateTime> = None;
            for one in &published {
                let (at, period) = (one.row.alert.raised_at, one.period.unwrap_or_default());
                if !period.is_zero() && before.is_some_and(|before| at - before < period) {
                    self.of_alert(Kind::NotQuiet, one.row, rule);
                }
                // One without a period may have been committed after a later one: it is never quiet.
                if !period.is_zero() {
                    before = Some(at);
                }
            }
        }
        let Some(stored) = &self.records.profile else { return };
        // An alert that cannot be read, or whose submission cannot, is missing here.
        if !self.records.unreadable.is_empty() {
            return;
        }
        if stored.profile.last_alerts != last_alerts {
            let rules = stored.profile.last_alerts.keys().chain(last_alerts.keys());
            let differs = |rule: &&String| stored.profile.last_alerts.get(*rule) != last_alerts.get(*rule);
            let rule = rules.into_iter().find(differs).cloned().unwrap_or_default();
            self.of_profile(Kind::LastAlertsDiffer, rule);
        }
    }
}
