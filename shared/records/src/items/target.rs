//! The submission that a correction is for.

use clinical::ids::{InstrumentId, SubmissionId};
use clinical::instruments::Place;

use super::submission::place;
use crate::table::attributes::{Item, Reader, Unreadable};

/// The attributes of a submission that a correction of it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The instrument that it answers.
    pub instrument: InstrumentId,
    /// Its place in the course.
    pub place: Place,
    /// The submission that corrects it already.
    pub amended_by: Option<SubmissionId>,
}

impl Target {
    pub(crate) fn from_item(item: &Item) -> Result<Self, Unreadable> {
        let reader = Reader(item);
        Ok(Self {
            instrument: reader.map("instrument")?.parsed("id")?,
            place: place(reader)?,
            amended_by: reader.optional_parsed("amended_by")?,
        })
    }
}
