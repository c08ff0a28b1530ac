//! What a profile keeps of its patient's open alerts: enough for the highest severity and the time of the oldest one.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use clinical::instruments::Severity;
use time::OffsetDateTime;

use super::alert::Alert;
use crate::table::attributes::{Reader, Unreadable, unreadable};

/// The attribute of a profile that holds the marks; absent where there is none.
pub(crate) const MARKS: &str = "open_marks";
/// The last bytes of an alert's id, which distinguish alerts of one severity that were raised at the same instant.
const ID_BYTES: usize = 4;
const MARK_BYTES: usize = 1 + 8 + ID_BYTES;

/// A mark of each open alert, by severity and time.
///
/// A mark has 13 bytes, since a profile is written with each submission. It is derived from the alert alone, so that an
/// acknowledgement removes it without having read the profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenAlerts(BTreeSet<Mark>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    severity: Severity,
    /// In nanoseconds since 1970.
    raised_at: i64,
    id: [u8; ID_BYTES],
}

impl OpenAlerts {
    /// The number of marks.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }

    /// Whether there is no mark.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the open `alert`.
    pub fn add(&mut self, alert: &Alert) {
        self.0.insert(Mark::of(alert));
    }

    /// The highest severity, and when the oldest one was raised; `None` if there is no mark.
    pub fn highest_and_oldest(&self) -> Option<(Severity, OffsetDateTime)> {
        let oldest = self.0.iter().map(|mark| mark.raised_at).min()?;
        let oldest = OffsetDateTime::from_unix_timestamp_nanos(oldest.into()).ok()?;
        Some((self.0.last()?.severity, oldest))
    }

    /// The attribute of a profile.
    pub(crate) fn to_attribute(&self) -> AttributeValue {
        AttributeValue::Bs(self.0.iter().copied().map(Mark::to_blob).collect())
    }

    /// The set of the mark of `alert` alone.
    pub(crate) fn attribute_of(alert: &Alert) -> AttributeValue {
        AttributeValue::Bs(vec![Mark::of(alert).to_blob()])
    }

    /// The marks in a profile's item. A profile of before there were marks has none.
    pub(crate) fn from_reader(profile: Reader<'_>) -> Result<Self, Unreadable> {
        let marks = match profile.0.get(MARKS) {
            None => return Ok(Self::default()),
            Some(AttributeValue::Bs(marks)) => marks.iter().map(|mark| Mark::from_bytes(mark.as_ref())),
            Some(_) => return Err(unreadable(MARKS, "is not a set of binary values")),
        };
        let marks = marks.collect::<Option<_>>();
        marks.map(Self).ok_or_else(|| unreadable(MARKS, "holds a value that is not a mark"))
    }
}

impl Mark {
    fn of(alert: &Alert) -> Self {
        let raised_at = i64::try_from(alert.raised_at.unix_timestamp_nanos()).unwrap_or(i64::MAX);
        Self { severity: alert.severity, raised_at, id: alert.id.last_bytes() }
    }

    fn to_blob(self) -> Blob {
        let severity = self.severity.as_str().as_bytes()[0];
        let mut bytes = Vec::with_capacity(MARK_BYTES);
        bytes.push(severity);
        bytes.extend(self.raised_at.to_be_bytes());
        bytes.extend(self.id);
        Blob::new(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (&initial, rest) = bytes.split_first()?;
        let (raised_at, id) = rest.split_first_chunk()?;
        let mut severities = [Severity::Info, Severity::Warning, Severity::Critical].into_iter();
        Some(Self {
            severity: severities.find(|severity| severity.as_str().as_bytes()[0] == initial)?,
            raised_at: i64::from_be_bytes(*raised_at),
            id: id.try_into().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use clinical::instruments::FiredRule;
    use time::macros::datetime;

    use super::*;
    use crate::items::submission::tests::submission;
    use crate::table::attributes::Item;

    fn alert(rule: &str, severity: Severity, raised_at: OffsetDateTime) -> Alert {
        let fired = FiredRule { rule: rule.parse().unwrap(), severity, quiet_hours: 0 };
        Alert::raise(&submission(1), &fired, raised_at, false)
    }

    #[test]
    fn marks_survive_being_stored_and_give_the_highest_severity_and_the_oldest_time() {
        let at = datetime!(2026-11-01 08:00:00.017 UTC);
        let mut open = OpenAlerts::default();
        assert_eq!(
            (open.highest_and_oldest(), OpenAlerts::from_reader(Reader(&Item::new()))),
            (None, Ok(open.clone()))
        );
        for (rule, severity, after) in [
            ("a", Severity::Info, 3),
            ("b", Severity::Critical, 2),
            ("c", Severity::Warning, 1),
            ("d", Severity::Info, 3),
        ] {
            open.add(&alert(rule, severity, at + time::Duration::nanoseconds(after)));
        }
        assert_eq!(open.len(), 4, "two of the same severity at the same instant are two");
        assert_eq!(open.highest_and_oldest(), Some((Severity::Critical, at + time::Duration::nanoseconds(1))));
        let item = Item::from([(MARKS.to_owned(), open.to_attribute())]);
        assert_eq!(OpenAlerts::from_reader(Reader(&item)), Ok(open));
    }

    #[test]
    fn a_mark_has_thirteen_bytes_and_anything_else_is_unreadable() {
        let one = alert("a", Severity::Warning, datetime!(2026-11-01 08:00 UTC));
        let AttributeValue::Bs(marks) = OpenAlerts::attribute_of(&one) else { panic!("it is a set") };
        assert_eq!(marks[0].as_ref().len(), MARK_BYTES);
        for wrong in [&marks[0].as_ref()[1..], &marks[0].as_ref()[..12], &[b'x'; MARK_BYTES], &[]] {
            let item = Item::from([(MARKS.to_owned(), AttributeValue::Bs(vec![Blob::new(wrong)]))]);
            OpenAlerts::from_reader(Reader(&item)).unwrap_err();
        }
    }
}
