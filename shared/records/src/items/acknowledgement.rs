//! Acknowledgements of alerts.

use std::fmt;

use aws_sdk_dynamodb::types::AttributeValue;
use time::OffsetDateTime;

use crate::table::attributes::{Reader, Unreadable, instant, map, text};

/// The attribute of an alert that holds the acknowledgements after the first.
pub(crate) const LATER: &str = "later_acknowledgements";

/// One acknowledgement of an alert by a clinician. The note is not in its `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// The `sub` of the clinician's token.
    pub by: String,
    /// When, by the server's clock.
    pub at: OffsetDateTime,
    /// A note by the clinician.
    pub note: Option<String>,
}

impl fmt::Debug for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acknowledgement").field("by", &self.by).field("at", &self.at).finish_non_exhaustive()
    }
}

impl Acknowledgement {
    /// The first acknowledgement in an alert's item, if it has one.
    pub(crate) fn from_reader(alert: Reader<'_>) -> Result<Option<Self>, Unreadable> {
        let Some(by) = alert.optional_text("acknowledged_by")? else { return Ok(None) };
        let note = alert.optional_owned_text("note")?;
        Ok(Some(Self { by: by.to_owned(), at: alert.instant("acknowledged_at")?, note }))
    }

    /// The acknowledgements in an alert's item that came after the first.
    pub(crate) fn later(alert: Reader<'_>) -> Result<Vec<Self>, Unreadable> {
        let acknowledgement = |one: Reader<'_>| {
            Ok(Self { by: one.owned_text("by")?, at: one.instant("at")?, note: one.optional_owned_text("note")? })
        };
        alert.maps(LATER)?.into_iter().map(acknowledgement).collect()
    }

    /// Its entry among those that came after the first.
    pub(crate) fn to_attribute(&self) -> AttributeValue {
        let note = self.note.as_ref().map(|note| ("note", text(note)));
        map([("by", text(&self.by)), ("at", instant(self.at))].into_iter().chain(note))
    }
}

/// All acknowledgements of one alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgements {
    /// The first, which is the one that counts.
    pub first: Acknowledgement,
    /// Those that came after it, in order.
    pub later: Vec<Acknowledgement>,
}

impl Acknowledgements {
    /// Those in an alert's item, if it is acknowledged.
    pub(crate) fn from_reader(alert: Reader<'_>) -> Result<Option<Self>, Unreadable> {
        let later = Acknowledgement::later(alert)?;
        Ok(Acknowledgement::from_reader(alert)?.map(|first| Self { first, later }))
    }

    /// Whether `acknowledgement` adds nothing to these: it has no note, or its author left the same note before.
    pub(crate) fn cover(&self, acknowledgement: &Acknowledgement) -> bool {
        let same = |known: &Acknowledgement| known.by == acknowledgement.by && known.note == acknowledgement.note;
        acknowledgement.note.is_none() || std::iter::once(&self.first).chain(&self.later).any(same)
    }
}
