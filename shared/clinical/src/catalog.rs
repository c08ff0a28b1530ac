//! The instruments that there are: those that ship with the library, or those of a study.

use std::sync::{Arc, OnceLock};

use crate::ids::{InstrumentId, InstrumentVersion};
use crate::instrument::Instrument;

/// A set of instruments by id and version. A shipped one is parsed when it is first asked for, at most once a process.
#[derive(Debug)]
pub struct Catalog {
    entries: Entries,
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

#[derive(Debug)]
enum Entries {
    Shipped(&'static [Shipped]),
    Chosen(Vec<Arc<Instrument>>),
}

#[derive(Debug)]
struct Shipped {
    id: &'static str,
    version: &'static str,
    json: &'static str,
    parsed: OnceLock<Arc<Instrument>>,
}

macro_rules! shipped {
    ($($id:literal $version:literal),+ $(,)?) => {
        static ENTRIES: [Shipped; [$($id),+].len()] = [$(Shipped {
            id: $id,
            version: $version,
            json: include_str!(concat!(env!("OUT_DIR"), "/instruments/", $id, "/", $version, ".json")),
            parsed: OnceLock::new(),
        }),+];
        static SHIPPED: Catalog = Catalog { entries: Entries::Shipped(&ENTRIES) };
    };
}

shipped![
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
];

impl Catalog {
    /// The instruments that ship with the library.
    pub fn shipped() -> &'static Catalog {
        &SHIPPED
    }

    /// A catalog of just these `instruments`, in their order.
    pub fn of(instruments: Vec<Arc<Instrument>>) -> Self {
        Self { entries: Entries::Chosen(instruments) }
    }

    /// The instrument `id` in just this `version`.
    ///
    /// # Errors
    ///
    /// There is no such instrument, or not in this version.
    pub fn find(&self, id: &InstrumentId, version: &InstrumentVersion) -> Result<&Arc<Instrument>, NotFound> {
        let mut known = Vec::new();
        for entry in self.of_id(id) {
            if entry.version() == version.as_str() {
                return Ok(entry.instrument());
            }
            known.extend(entry.version().parse::<InstrumentVersion>());
        }
        known.sort();
        Err(if known.is_empty() { NotFound::Instrument } else { NotFound::Version { known } })
    }

    /// The instrument `id` in its latest version.
    pub fn latest(&self, id: &InstrumentId) -> Option<&Arc<Instrument>> {
        self.of_id(id).max_by_key(|entry| entry.version().parse::<InstrumentVersion>().ok()).map(Entry::instrument)
    }

    /// All instruments, the shipped ones by id, then version. Parses those that were not asked for yet.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Instrument>> {
        self.entries().map(Entry::instrument)
    }

    fn of_id(&self, id: &InstrumentId) -> impl Iterator<Item = Entry<'_>> {
        self.entries().filter(move |entry| entry.id() == id.as_str())
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let (shipped, chosen) = match &self.entries {
            Entries::Shipped(shipped) => (*shipped, [].as_slice()),
            Entries::Chosen(chosen) => ([].as_slice(), chosen.as_slice()),
        };
        shipped.iter().map(Entry::Shipped).chain(chosen.iter().map(Entry::Chosen))
    }
}

#[derive(Clone, Copy)]
enum Entry<'a> {
    Shipped(&'a Shipped),
    Chosen(&'a Arc<Instrument>),
}

impl<'a> Entry<'a> {
    fn id(self) -> &'a str {
        match self {
            Entry::Shipped(shipped) => shipped.id,
            Entry::Chosen(chosen) => chosen.id().as_str(),
        }
    }

    fn version(self) -> &'a str {
        match self {
            Entry::Shipped(shipped) => shipped.version,
            Entry::Chosen(chosen) => chosen.version().as_str(),
        }
    }

    fn instrument(self) -> &'a Arc<Instrument> {
        match self {
            // The definitions are part of the program, and the tests load each of them.
            Entry::Shipped(shipped) => shipped
                .parsed
                .get_or_init(|| Arc::new(Instrument::parse(shipped.json).expect("a shipped definition has no faults"))),
            Entry::Chosen(chosen) => chosen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_instrument_loads_under_its_own_name() {
        for entry in &ENTRIES {
            let instrument = Instrument::parse(entry.json).unwrap_or_else(|faults| panic!("{}: {faults:#?}", entry.id));
            assert_eq!((instrument.id().as_str(), instrument.version().as_str()), (entry.id, entry.version));
        }
    }

    #[test]
    fn an_unknown_version_is_told_from_an_unknown_instrument() {
        let find = |id: &str, version: &str| {
            Catalog::shipped().find(&id.parse().unwrap(), &version.parse().unwrap()).map(|found| found.hash())
        };
        assert!(find("phq-9", "1.0.0").is_ok());
        assert_eq!(find("phq-9", "9.9.9"), Err(NotFound::Version { known: vec!["1.0.0".parse().unwrap()] }));
        assert_eq!(find("nope", "1.0.0"), Err(NotFound::Instrument));
    }
}
