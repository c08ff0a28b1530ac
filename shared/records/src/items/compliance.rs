//! Compliance: how many of the windows in which a patient was asked were answered.

use std::collections::BTreeMap;

use clinical::ids::{InstrumentId, SiteId};
use time::OffsetDateTime;

use crate::table::attributes::{Item, Reader, Unreadable, unreadable};

/// The attributes of an occurrence that it is worked out from.
pub(crate) const ATTRIBUTES: [&str; 5] = ["site", "instrument", "opens", "state", "late"];

/// How many of the windows in which an instrument was due were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compliance {
    /// Windows that are over, and those answered before their end.
    pub expected: u64,
    /// Windows with an answer.
    pub completed: u64,
    /// Those of them whose answer was received after their end.
    pub late: u64,
}

impl Compliance {
    /// The compliance by instrument in `windows`.
    pub fn by_instrument<'a>(windows: impl IntoIterator<Item = &'a SettledWindow>) -> BTreeMap<InstrumentId, Self> {
        let mut by_instrument = BTreeMap::<InstrumentId, Self>::new();
        for window in windows {
            let compliance = by_instrument.entry(window.instrument.clone()).or_default();
            compliance.expected += 1;
            compliance.completed += u64::from(window.is_answered);
            compliance.late += u64::from(window.is_late);
        }
        by_instrument
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            expected: self.expected + other.expected,
            completed: self.completed + other.completed,
            late: self.late + other.late,
        }
    }

    /// Completed windows in percent of the expected ones, rounded half up; `None` where none was expected.
    pub fn percent(self) -> Option<u64> {
        (self.expected > 0).then(|| (self.completed * 200 + self.expected) / (self.expected * 2))
    }
}

/// A window that was answered or missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledWindow {
    /// The site that was responsible for the patient.
    pub site: SiteId,
    /// The instrument that was asked.
    pub instrument: InstrumentId,
    /// When it opened.
    pub opens: OffsetDateTime,
    /// Whether it was answered, in time or late.
    pub is_answered: bool,
    /// Whether the answer was received after its end.
    pub is_late: bool,
}

impl SettledWindow {
    /// The window of a stored occurrence; `None` where it was neither answered nor missed.
    pub(crate) fn from_item(item: &Item) -> Result<Option<Self>, Unreadable> {
        let reader = Reader(item);
        let (is_answered, is_late) = match reader.text("state")? {
            "done" => (true, reader.flag("late")?),
            "missed" => (false, false),
            "waiting" | "not-asked" | "ended" => return Ok(None),
            _ => return Err(unreadable("state", "is unknown")),
        };
        Ok(Some(Self {
            site: reader.parsed("site")?,
            instrument: reader.parsed("instrument")?,
            opens: reader.instant("opens")?,
            is_answered,
            is_late,
        }))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn windows_are_counted_by_instrument() {
        let window = |instrument: &str, is_answered, is_late| SettledWindow {
            site: "S01".parse().unwrap(),
            instrument: instrument.parse().unwrap(),
            opens: datetime!(2026-11-20 08:00 UTC),
            is_answered,
            is_late,
        };
        let windows = [
            window("phq-9", true, false),
            window("phq-9", true, true),
            window("phq-9", false, false),
            window("gad-7", false, false),
        ];
        let by_instrument = Compliance::by_instrument(&windows);
        let of = |id: &str| by_instrument[&id.parse::<InstrumentId>().unwrap()];
        assert_eq!(of("phq-9"), Compliance { expected: 3, completed: 2, late: 1 });
        assert_eq!(of("gad-7"), Compliance { expected: 1, completed: 0, late: 0 });
        let both = of("phq-9").and(of("gad-7"));
        assert_eq!((both, both.percent()), (Compliance { expected: 4, completed: 2, late: 1 }, Some(50)));
        assert_eq!(Compliance::default().percent(), None);
    }
}
