//! The instruments that ship with the library.

use super::instrument::Instrument;
use crate::document::{self, shipped};
use crate::ids::InstrumentId;

/// A set of instruments by id and version.
pub type Catalog = document::Catalog<Instrument>;

shipped!(Instrument, InstrumentId, "instruments", [
    "audit-c" "1.1.0",
    "cdc-hrqol-4" "1.0.0",
    "ces-d" "1.1.0",
    "eortc-qlq-c30" "1.0.0",
    "epds" "1.1.0",
    "gad-2" "1.0.0",
    "gad-7" "1.0.0",
    "gds-15" "1.0.0",
    "isi" "1.0.0",
    "k10" "1.1.0",
    "kccq-12" "1.0.0",
    "pain-nrs" "1.0.0",
    "pcl-5" "1.0.0",
    "phq-15" "1.1.0",
    "phq-2" "1.0.0",
    "phq-4" "1.0.0",
    "phq-8" "1.0.0",
    "phq-9" "1.0.0",
    "pro-ctcae" "1.1.0",
    "promis-global-10" "1.0.0",
    "rand-36" "1.0.0",
    "who-5" "1.1.0",
    "whodas-12" "1.0.0",
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::NotFound;

    #[test]
    fn every_shipped_instrument_loads_under_its_own_name() {
        for entry in &ENTRIES {
            let instrument = Instrument::parse(entry.json).unwrap_or_else(|faults| panic!("{}: {faults:#?}", entry.id));
            assert_eq!((instrument.id().as_str(), instrument.version().as_str()), (entry.id, entry.version));
            assert_eq!((instrument.json(), instrument.hash()), (entry.json, entry.hash), "{}", entry.id);
        }
    }

    #[test]
    fn an_unknown_version_is_not_reported_as_an_unknown_instrument() {
        let find = |id: &str, version: &str| {
            Catalog::shipped().find(&id.parse().unwrap(), &version.parse().unwrap()).map(|found| found.hash())
        };
        assert!(find("phq-9", "1.0.0").is_ok());
        assert_eq!(find("phq-9", "9.9.9"), Err(NotFound::Version { known: vec!["1.0.0".parse().unwrap()] }));
        assert_eq!(find("nope", "1.0.0"), Err(NotFound::Id));
    }
}
