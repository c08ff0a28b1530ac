//! The forms that ship with the library.

use std::sync::OnceLock;

use super::Form;
use crate::ids::{FormId, FormVersion};

/// Why a form was not found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// There is no form of this id.
    #[error("no such form")]
    Form,
    /// There is, but not in this version.
    #[error("no such version of the form")]
    Version {
        /// The versions that there are, oldest first.
        known: Vec<FormVersion>,
    },
}

struct Entry {
    id: &'static str,
    version: &'static str,
    json: &'static str,
    parsed: OnceLock<Form>,
}

macro_rules! shipped {
    ($($id:literal $version:literal),+ $(,)?) => {
        static ENTRIES: [Entry; [$($id),+].len()] = [$(Entry {
            id: $id,
            version: $version,
            json: include_str!(concat!(env!("OUT_DIR"), "/forms/", $id, "/", $version, ".json")),
            parsed: OnceLock::new(),
        }),+];
    };
}

shipped![
    "ae" "1.0.0",
    "ae" "1.1.0",
    "dm" "1.0.0",
    "dm" "1.1.0",
    "lb" "1.0.0",
    "vs" "1.0.0",
];

/// The form `id` in just this `version`. Each is parsed when it is first asked for, at most once a process.
///
/// # Errors
///
/// There is no such form, or not in this version.
pub fn find(id: &FormId, version: &FormVersion) -> Result<&'static Form, NotFound> {
    let mut known = Vec::new();
    for entry in ENTRIES.iter().filter(|entry| entry.id == id.as_str()) {
        if entry.version == version.as_str() {
            return Ok(entry.form());
        }
        known.extend(entry.version.parse::<FormVersion>());
    }
    known.sort();
    Err(if known.is_empty() { NotFound::Form } else { NotFound::Version { known } })
}

/// The form `id` in its latest version.
pub fn latest(id: &FormId) -> Option<&'static Form> {
    let entries = ENTRIES.iter().filter(|entry| entry.id == id.as_str());
    entries.max_by_key(|entry| entry.version.parse::<FormVersion>().ok()).map(Entry::form)
}

/// All forms, by id, then version. Parses those that were not asked for yet.
pub fn all() -> impl Iterator<Item = &'static Form> {
    ENTRIES.iter().map(Entry::form)
}

impl Entry {
    fn form(&'static self) -> &'static Form {
        // The definitions are part of the program, and the tests load each of them.
        self.parsed.get_or_init(|| Form::parse(self.json).expect("a shipped definition has no faults"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_form_loads_under_its_own_name() {
        for entry in &ENTRIES {
            let form = Form::parse(entry.json).unwrap_or_else(|faults| panic!("{}: {faults:#?}", entry.id));
            assert_eq!((form.id().as_str(), form.version().as_str()), (entry.id, entry.version));
        }
    }

    #[test]
    fn an_unknown_version_is_told_from_an_unknown_form() {
        let find = |id: &str, version: &str| find(&id.parse().unwrap(), &version.parse().unwrap()).map(Form::hash);
        assert!(find("vs", "1.0.0").is_ok());
        assert_eq!(find("vs", "9.9.9"), Err(NotFound::Version { known: vec!["1.0.0".parse().unwrap()] }));
        assert_eq!(find("nope", "1.0.0"), Err(NotFound::Form));
    }
}
