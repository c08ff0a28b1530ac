//! What others call the items, scores and choices of an instrument.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::ids::{InstrumentId, InstrumentVersion, ItemId, ScoreId};

/// The other names of one version of an instrument.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    pub(super) instrument: InstrumentId,
    pub(super) version: InstrumentVersion,
    /// The notice that the owner of the codes asks for wherever they are shown.
    pub(super) notice: String,
    /// The code of the whole.
    pub(super) code: Coding,
    /// The canonical URLs of questionnaires that ask just this version's items.
    questionnaires: Vec<String>,
    items: BTreeMap<ItemId, ElementNames>,
    scores: BTreeMap<ScoreId, ElementNames>,
    /// Per list of choices and code system: the code that others send, and the one that it means.
    codes: BTreeMap<String, BTreeMap<String, BTreeMap<String, i64>>>,
}

/// A code of a terminology.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Coding {
    system: String,
    code: String,
}

/// The names of one item or score.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ElementNames {
    code: Coding,
    link_ids: Vec<String>,
}

impl Coding {
    /// A choice of a list of our own.
    pub(super) fn own(system: String, code: i64) -> Self {
        Self { system, code: code.to_string() }
    }
}

impl Names {
    /// The names of `instrument` in `version`, if there are any.
    pub(super) fn of(instrument: &InstrumentId, version: &InstrumentVersion) -> Option<&'static Self> {
        all().iter().find(|names| names.instrument == *instrument && names.version == *version)
    }

    /// The names of the instrument that the questionnaire with just this canonical URL asks.
    pub(super) fn of_questionnaire(canonical: &str) -> Option<&'static Self> {
        all().iter().find(|names| names.questionnaires.iter().any(|known| known == canonical))
    }

    pub(super) fn item(&self, link_id: &str) -> Option<&ItemId> {
        called(&self.items, link_id)
    }

    pub(super) fn score(&self, link_id: &str) -> Option<&ScoreId> {
        called(&self.scores, link_id)
    }

    pub(super) fn item_code(&self, item: &ItemId) -> Option<&Coding> {
        self.items.get(item).map(|names| &names.code)
    }

    /// The code systems that have codes for the choices of `list`, each with what its codes mean.
    pub(super) fn systems(&self, list: &str) -> impl Iterator<Item = (&str, &BTreeMap<String, i64>)> {
        self.codes.get(list).into_iter().flatten().map(|(system, codes)| (system.as_str(), codes))
    }
}

fn called<'a, Id>(names: &'a BTreeMap<Id, ElementNames>, link_id: &str) -> Option<&'a Id> {
    names.iter().find(|(_, names)| names.link_ids.iter().any(|known| known == link_id)).map(|(id, _)| id)
}

/// Read once a process.
fn all() -> &'static [Names] {
    static ALL: OnceLock<Vec<Names>> = OnceLock::new();
    const FILES: [&str; 2] = [
        include_str!(concat!(env!("OUT_DIR"), "/fhir/gad-7.json")),
        include_str!(concat!(env!("OUT_DIR"), "/fhir/phq-9.json")),
    ];
    // The files are part of the program, and the tests read each of them.
    ALL.get_or_init(|| {
        FILES.map(|file| serde_json::from_str(file).expect("a shipped file of names can be read")).into()
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::instruments::Catalog;

    #[test]
    fn every_name_is_of_something_that_is_there_and_no_name_is_of_two() {
        for names in all() {
            let instrument = Catalog::shipped().find(&names.instrument, &names.version).unwrap();
            let definition = instrument.definition();
            let items: BTreeSet<_> = definition.items.iter().map(|item| &item.id).collect();
            let scores: BTreeSet<_> = definition.scores.iter().map(|score| &score.id).collect();
            assert!(names.items.keys().all(|item| items.contains(item)), "{}", names.instrument);
            assert!(names.scores.keys().all(|score| scores.contains(score)), "{}", names.instrument);
            let link_ids: Vec<_> =
                names.items.values().chain(names.scores.values()).flat_map(|names| &names.link_ids).collect();
            assert_eq!(link_ids.len(), link_ids.iter().collect::<BTreeSet<_>>().len(), "{}", names.instrument);
            for (list, systems) in &names.codes {
                let codes: BTreeSet<_> = definition.code_lists[list].iter().map(|code| code.code).collect();
                for (system, choices) in systems {
                    assert!(choices.values().all(|code| codes.contains(code)), "{} {list} {system}", names.instrument);
                }
            }
        }
    }
}
