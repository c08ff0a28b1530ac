//! A site's alerts, newest first, from the index `site`.

use std::str::FromStr;
use std::time::Duration;

use clinical::ids::{SiteId, StudyId};
use clinical::instruments::Severity;
use invocation::Deadline;
use invocation::aws::{Failure, Limits, call};

use crate::items::alert::{Alert, AlertStatus};
use crate::table::attributes::{Reader, Unreadable, text};
use crate::table::keys;
use crate::store::{Page, Store};

const OPERATION: &str = "Query of a site's alerts";
const QUERY: Limits = Limits { most: Duration::from_secs(2), least: Duration::from_millis(30) };
/// As many as are read at once, and so many more where only few of them are wanted.
const READ_AT_ONCE: i32 = 100;
/// As many as are read for one page, at most: a filter that lets nothing through must not read a whole study.
const READ_AT_MOST: usize = 1_000;

/// Which alerts are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertFilter {
    /// How far they have come.
    pub status: Option<StatusFilter>,
    /// How urgent they are.
    pub severity: Option<Severity>,
}

/// Alerts of one status, or of those that wait for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusFilter {
    /// Pending or sent: published, or about to be, and acknowledged by nobody.
    Open,
    /// Escalated as often as its study allows, and acknowledged by nobody.
    Exhausted,
    /// This one.
    Only(AlertStatus),
}

impl StatusFilter {
    /// All there are, by their names.
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
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, filter)| filter).ok_or(())
    }
}

impl AlertFilter {
    fn lets_through(self, alert: &Alert) -> bool {
        let status = match self.status {
            None => true,
            Some(StatusFilter::Open) => matches!(alert.status, AlertStatus::Pending | AlertStatus::Sent),
            Some(StatusFilter::Exhausted) => alert.exhausted_at.is_some() && alert.acknowledged.is_none(),
            Some(StatusFilter::Only(status)) => alert.status == status,
        };
        status && self.severity.is_none_or(|severity| alert.severity == severity)
    }
}

impl Store {
    /// At most `most` of the alerts of `site` that `filter` lets through, newest first, from `below` on, which an earlier
    /// page gave as its next. A page may have fewer, or none, and still be followed by another. An alert that cannot be read
    /// is among them, whatever the filter. The index follows the table by a moment.
    ///
    /// # Errors
    /// If the store did not answer in time.
    pub async fn site_alerts(
        &self,
        study: &StudyId,
        site: &SiteId,
        filter: AlertFilter,
        below: Option<&str>,
        most: usize,
        deadline: Deadline,
    ) -> Result<Page<Result<Alert, Unreadable>>, Failure> {
        let mut below = below.unwrap_or(keys::AFTER_ALERTS).to_owned();
        let mut entries = Vec::new();
        let mut read = 0;
        loop {
            let request = self
                .dynamodb
                .query()
                .table_name(&self.tables.records)
                .index_name("site")
                // The site's patients sort after its alerts, and nothing before them.
                .key_condition_expression("site_key = :site AND site_sort < :below")
                .expression_attribute_values(":site", text(keys::site(study, site)))
                .expression_attribute_values(":below", text(&below))
                .scan_index_forward(false)
                .limit(READ_AT_ONCE);
            let sent =
                call(deadline, QUERY, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
            let answer = sent.await.map_err(|error| error.of(OPERATION))?;
            let more = answer.last_evaluated_key.is_some();
            let items = answer.items.unwrap_or_default();
            let of_page = items.len();
            for (index, item) in items.into_iter().enumerate() {
                let place = Reader(&item).text("site_sort");
                below = place.map_err(|_| Failure::unreadable(OPERATION, "an item came without its key"))?.to_owned();
                let alert = Alert::from_item(&item);
                if alert.as_ref().map_or(true, |alert| filter.lets_through(alert)) {
                    entries.push(alert);
                }
                if entries.len() == most {
                    let next = Some(below).filter(|_| more || index + 1 < of_page);
                    return Ok(Page { entries, next });
                }
            }
            read += of_page;
            if !more || read >= READ_AT_MOST {
                return Ok(Page { entries, next: Some(below).filter(|_| more) });
            }
        }
    }
}
