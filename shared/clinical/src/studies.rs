//! Studies: their sites, their instruments and schedules, and the alert rules and settings that differ from the
//! instruments' own.
//!
//! A study is versioned data in the format of `studies/study.schema.json`. A version that is in force never changes; a
//! new version replaces it. [`Study`] is a parsed definition; a [`Protocol`] is a study validated with its instruments.

mod definition;
mod load;
mod protocol;
mod rota;
mod study;

pub use definition::{
    AlertSettings, Enrolment, Escalation, Site, SnoozeLimit, StartDate, StudyDefinition, StudyInstrument,
};
pub use protocol::Protocol;
pub use rota::Shift;
pub use study::Study;
