//! A study: which sites it has, which instruments it asks, and what it says otherwise than they do about alerts.
//!
//! A study is versioned data, as an instrument is, in the format of `studies/study.schema.json`. A version once put in
//! force never changes; another version takes its place.

mod definition;
mod load;
mod protocol;
mod study;

pub use definition::{AlertSettings, Escalation, Site, StartDate, StudyDefinition, StudyInstrument};
pub use protocol::Protocol;
pub use study::Study;
