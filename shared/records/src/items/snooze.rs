//! Snoozes of alerts.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;

use crate::table::attributes::{Reader, Unreadable, instant, map, text};

/// The attribute of an alert that holds its snoozes.
pub(crate) const SNOOZES: &str = "snoozes";

/// A clinician's decision that an alert waits until later. The reason is not in its `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Snooze {
    /// The `sub` of the clinician's token.
    pub by: String,
    /// When it was decided, by the server's clock.
    pub at: OffsetDateTime,
    /// Until when the alert is not published again.
    pub until: OffsetDateTime,
    /// The clinician's reason.
    pub reason: String,
}

impl fmt::Debug for Snooze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by, at, until, reason: _ } = self;
        f.debug_struct("Snooze").field("by", by).field("at", at).field("until", until).finish_non_exhaustive()
    }
}

impl Snooze {
    /// Whether `other` is a repeat of this one: the same, sent at another time.
    pub fn is_repeated_by(&self, other: &Self) -> bool {
        (&self.by, self.until, &self.reason) == (&other.by, other.until, &other.reason)
    }

    /// The snoozes in an alert's item, in order.
    pub(crate) fn all_of(alert: Reader<'_>) -> Result<Vec<Self>, Unreadable> {
        let snooze = |one: Reader<'_>| {
            let (by, reason) = (one.owned_text("by")?, one.owned_text("reason")?);
            Ok(Self { by, at: one.instant("at")?, until: one.instant("until")?, reason })
        };
        alert.maps(SNOOZES)?.into_iter().map(snooze).collect()
    }

    /// Its entry in the list of an alert's snoozes.
    pub(crate) fn to_attribute(&self) -> AttributeValue {
        let Self { by, at, until, reason } = self;
        map([("by", text(by)), ("at", instant(*at)), ("until", instant(*until)), ("reason", text(reason))])
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::table::attributes::Item;

    #[test]
    fn promise_10_a_snooze_survives_being_stored_and_its_reason_is_not_in_debug_output() {
        let snooze = Snooze {
            by: "dr-chen".to_owned(),
            at: datetime!(2026-11-01 08:00:00.017 UTC),
            until: datetime!(2026-11-01 10:00 UTC),
            reason: "visit at noon".to_owned(),
        };
        let item = Item::from([(SNOOZES.to_owned(), AttributeValue::L(vec![snooze.to_attribute()]))]);
        assert_eq!(Snooze::all_of(Reader(&item)), Ok(vec![snooze.clone()]));
        assert!(!format!("{snooze:?}").contains("noon"));
    }
}
