//! The instruments that ship with the library.

use std::sync::OnceLock;

use crate::ids::{InstrumentId, InstrumentVersion};
use crate::instrument::Instrument;

/// A set of instruments by id and version. Each is parsed when it is first asked for, at most once a process.
pub struct Catalog {
    entries: &'static [Entry],
}

/// Why an instrument was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// There is no instrument of this id.
    #[error("no such instrument")]
    Instrument,
    /// There is, but not in this version.
    #[error("no such version of the instrument")]
    Version {
        /// The versions that there are, oldest first.
        known: Vec<InstrumentVersion>,
    },
}

struct Entry {
    id: &'static str,
    version: &'static str,
    json: &'static str,
    parsed: OnceLock<Instrument>,
}

macro_rules! shipped {
    ($($id:literal $version:literal),+ $(,)?) => {
        static ENTRIES: [Entry; [$($id),+].len()] = [$(Entry {
            id: $id,
            version: $version,
            json: include_str!(concat!("../instruments/", $id, "/", $version, ".json")),
            parsed: OnceLock::new(),
        }),+];
        static SHIPPED: Catalog = Catalog { entries: &ENTRIES };
    };
}

shipped![
    "audit-c" "1.0.0",
    "cdc-hrqol-4" "1.0.0",
    "ces-d" "1.0.0",
    "eortc-qlq-c30" "1.0.0",
    "epds" "1.0.0",
    "gad-2" "1.0.0",
    "gad-7" "1.0.0",
    "gds-15" "1.0.0",
    "isi" "1.0.0",
    "k10" "1.0.0",
    "kccq-12" "1.0.0",
    "pain-nrs" "1.0.0",
    "pcl-5" "1.0.0",
    "phq-15" "1.0.0",
    "phq-2" "1.0.0",
    "phq-4" "1.0.0",
    "phq-8" "1.0.0",
    "phq-9" "1.0.0",
    "pro-ctcae" "1.0.0",
    "promis-global-10" "1.0.0",
    "rand-36" "1.0.0",
    "who-5" "1.0.0",
    "whodas-12" "1.0.0",
];

impl Catalog {
    /// The instruments that ship with the library.
    pub fn shipped() -> &'static Catalog {
        &SHIPPED
    }

    /// The instrument `id` in just this `version`.
    ///
    /// # Errors
    ///
    /// There is no such instrument, or not in this version.
    pub fn find(&self, id: &InstrumentId, version: &InstrumentVersion) -> Result<&Instrument, NotFound> {
        let mut known = Vec::new();
        for entry in self.entries.iter().filter(|entry| entry.id == id.as_str()) {
            if entry.version == version.as_str() {
                return Ok(entry.instrument());
            }
            known.extend(entry.version.parse::<InstrumentVersion>());
        }
        known.sort();
        Err(if known.is_empty() { NotFound::Instrument } else { NotFound::Version { known } })
    }

    /// The instrument `id` in its latest version.
    pub fn latest(&self, id: &InstrumentId) -> Option<&Instrument> {
        let entries = self.entries.iter().filter(|entry| entry.id == id.as_str());
        entries.max_by_key(|entry| entry.version.parse::<InstrumentVersion>().ok()).map(Entry::instrument)
    }

    /// All instruments, by id, then version. Parses those that were not asked for yet.
    pub fn iter(&self) -> impl Iterator<Item = &Instrument> {
        self.entries.iter().map(Entry::instrument)
    }
}

impl Entry {
    fn instrument(&self) -> &Instrument {
        // The definitions are part of the program, and the tests load each of them.
        self.parsed.get_or_init(|| Instrument::parse(self.json).expect("a shipped definition has no faults"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_instrument_loads_under_its_own_name() {
        for entry in Catalog::shipped().entries {
            let instrument = Instrument::parse(entry.json).unwrap_or_else(|faults| panic!("{}: {faults:#?}", entry.id));
            assert_eq!((instrument.id().as_str(), instrument.version().as_str()), (entry.id, entry.version));
        }
    }

    #[test]
    fn an_unknown_version_is_told_from_an_unknown_instrument() {
        let find = |id: &str, version: &str| {
            Catalog::shipped().find(&id.parse().unwrap(), &version.parse().unwrap()).map(Instrument::hash)
        };
        assert!(find("phq-9", "1.0.0").is_ok());
        assert_eq!(find("phq-9", "9.9.9"), Err(NotFound::Version { known: vec!["1.0.0".parse().unwrap()] }));
        assert_eq!(find("nope", "1.0.0"), Err(NotFound::Instrument));
    }
}
