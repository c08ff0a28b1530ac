//! Definitions by id and version: those that ship with the library, or those of a study.

use std::borrow::Borrow;
use std::sync::{Arc, OnceLock};

use super::fault::DefinitionFault;
use crate::ids::Version;

/// A kind of definition that a catalog can hold.
pub trait Versioned: Sized {
    /// The type of its ids.
    type Id: Borrow<str>;

    /// Reads a definition that ships with the library: `json` in canonical form, with its `hash`. The bounds of the
    /// schema are not checked again, because the tests check them.
    ///
    /// # Errors
    ///
    /// The faults of the definition, which the tests rule out.
    fn of_shipped(json: &'static str, hash: &'static str) -> Result<Self, Vec<DefinitionFault>>;

    /// The definition's id.
    fn id(&self) -> &Self::Id;

    /// The definition's version.
    fn version(&self) -> &Version;
}

/// A set of definitions by id and version. A shipped definition is parsed on first use, at most once per process.
#[derive(Debug)]
pub struct Catalog<T: 'static> {
    entries: Entries<T>,
}

/// Why a definition was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// The catalog has no definition of this id.
    #[error("no such id")]
    Id,
    /// The catalog has the definition in other versions only.
    #[error("no such version")]
    Version {
        /// The available versions, in ascending order.
        known: Vec<Version>,
    },
}

#[derive(Debug)]
enum Entries<T: 'static> {
    Shipped(&'static [Shipped<T>]),
    Chosen(Vec<Arc<T>>),
}

/// A definition that ships with the library.
#[derive(Debug)]
pub(crate) struct Shipped<T> {
    pub(crate) id: &'static str,
    pub(crate) version: &'static str,
    pub(crate) json: &'static str,
    pub(crate) hash: &'static str,
    parsed: OnceLock<Arc<T>>,
}

/// Makes a type of definition [`Versioned`], and defines its `Catalog::shipped` over `ENTRIES`, which are embedded from
/// a folder.
macro_rules! shipped {
    ($type:ty, $id_type:ty, $folder:literal, [$($id:literal $version:literal),+ $(,)?]) => {
        static ENTRIES: [$crate::document::Shipped<$type>; [$($id),+].len()] = [$($crate::document::Shipped::new(
            $id,
            $version,
            include_str!(concat!(env!("OUT_DIR"), "/", $folder, "/", $id, "/", $version, ".json")),
            include_str!(concat!(env!("OUT_DIR"), "/", $folder, "/", $id, "/", $version, ".sha256")),
        )),+];
        static SHIPPED: $crate::document::Catalog<$type> = $crate::document::Catalog::of_shipped(&ENTRIES);

        impl $crate::document::Catalog<$type> {
            /// The definitions that ship with the library.
            pub fn shipped() -> &'static Self {
                &SHIPPED
            }
        }

        impl $crate::document::Versioned for $type {
            type Id = $id_type;

            fn of_shipped(
                json: &'static str,
                hash: &'static str,
            ) -> Result<Self, Vec<$crate::document::DefinitionFault>> {
                Self::of_shipped(json, hash)
            }

            fn id(&self) -> &$id_type {
                self.id()
            }

            fn version(&self) -> &$crate::ids::Version {
                self.version()
            }
        }
    };
}
pub(crate) use shipped;

impl<T> Shipped<T> {
    pub(crate) const fn new(id: &'static str, version: &'static str, json: &'static str, hash: &'static str) -> Self {
        Self { id, version, json, hash, parsed: OnceLock::new() }
    }
}

impl<T> Catalog<T> {
    pub(crate) const fn of_shipped(entries: &'static [Shipped<T>]) -> Self {
        Self { entries: Entries::Shipped(entries) }
    }
}

impl<T: Versioned> Catalog<T> {
    /// A catalog of `definitions`, in their order.
    pub fn of(definitions: Vec<Arc<T>>) -> Self {
        Self { entries: Entries::Chosen(definitions) }
    }

    /// The definition with this `id` and `version`.
    ///
    /// # Errors
    ///
    /// The catalog has no definition of this id, or not in this version.
    pub fn find(&self, id: &T::Id, version: &Version) -> Result<&Arc<T>, NotFound> {
        let mut known = Vec::new();
        for entry in self.of_id(id) {
            if entry.version() == version.as_str() {
                return Ok(entry.definition());
            }
            known.extend(entry.version().parse::<Version>());
        }
        known.sort();
        Err(if known.is_empty() { NotFound::Id } else { NotFound::Version { known } })
    }

    /// The definition `id` in its latest version.
    pub fn latest(&self, id: &T::Id) -> Option<&Arc<T>> {
        self.of_id(id).max_by_key(|entry| entry.version().parse::<Version>().ok()).map(Entry::definition)
    }

    /// All definitions. Shipped ones are ordered by id, then version; those not yet used are parsed.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.entries().map(Entry::definition)
    }

    fn of_id(&self, id: &T::Id) -> impl Iterator<Item = Entry<'_, T>> {
        self.entries().filter(move |entry| entry.id() == id.borrow())
    }

    fn entries(&self) -> impl Iterator<Item = Entry<'_, T>> {
        let (shipped, chosen) = match &self.entries {
            Entries::Shipped(shipped) => (*shipped, [].as_slice()),
            Entries::Chosen(chosen) => ([].as_slice(), chosen.as_slice()),
        };
        shipped.iter().map(Entry::Shipped).chain(chosen.iter().map(Entry::Chosen))
    }
}

enum Entry<'a, T> {
    Shipped(&'a Shipped<T>),
    Chosen(&'a Arc<T>),
}

impl<'a, T: Versioned> Entry<'a, T> {
    fn id(&self) -> &'a str {
        match self {
            Entry::Shipped(shipped) => shipped.id,
            Entry::Chosen(chosen) => chosen.id().borrow(),
        }
    }

    fn version(&self) -> &'a str {
        match self {
            Entry::Shipped(shipped) => shipped.version,
            Entry::Chosen(chosen) => chosen.version().as_str(),
        }
    }

    fn definition(self) -> &'a Arc<T> {
        match self {
            // The definitions are compiled in, and the tests load each of them.
            Entry::Shipped(Shipped { json, hash, parsed, .. }) => {
                parsed.get_or_init(|| Arc::new(T::of_shipped(json, hash).expect("a shipped definition has no faults")))
            }
            Entry::Chosen(chosen) => chosen,
        }
    }
}
