//! Made-up trial data in the formats of real trials: CDISC Dataset-JSON v1.1 of the SDTM domains DM, QS, VS, AE and LB.
//!
//! One study with 200 invented subjects at four sites. The same seed gives the same bytes on every machine.
//! All rows are clean under the forms that ship, except for the damages at the end of each domain's module.

mod adverse_events;
mod dataset;
mod demographics;
mod laboratory;
mod questionnaires;
mod random;
mod subjects;
mod vital_signs;

use std::path::PathBuf;

pub use self::dataset::Sample;

/// The folder of the files in the repository.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/data"))
}

/// All files.
pub fn all() -> Vec<Sample> {
    let subjects = subjects::all();
    vec![
        demographics::sample(&subjects),
        questionnaires::sample(&subjects),
        vital_signs::sample(&subjects),
        adverse_events::sample(&subjects),
        laboratory::sample(&subjects),
    ]
}
