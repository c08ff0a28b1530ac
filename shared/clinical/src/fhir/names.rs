//! Codes and linkIds of items, scores and choices in other terminologies.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use crate::ids::{InstrumentId, InstrumentVersion, ItemId, ScoreId};

/// The external names of one version of an instrument.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Names {
    pub(super) instrument: InstrumentId,
    pub(super) version: InstrumentVersion,
    /// The notice that the owner of the codes requires wherever they are shown.
    pub(super) notice: String,
    /// The code of the instrument.
    pub(super) code: Coding,
    /// The canonical URLs of questionnaires with exactly the items of this version.
    questionnaires: Vec<String>,
    items: BTreeMap<ItemId, ElementNames>,
    scores: BTreeMap<ScoreId, ElementNames>,
    /// By code list and code system: the external code, and the native code that it stands for.
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
    /// A choice in a native code system.
    pub(super) fn own(system: String, code: i64) -> Self {
        Self { system, code: code.to_string() }
    }
}

impl Names {
    /// The external names of `instrument` in `version`, if there are any.
    pub(super) fn of(instrument: &InstrumentId, version: &InstrumentVersion) -> Option<&'static Self> {
        all().iter().find(|names| names.instrument == *instrument && names.version == *version)
    }

    /// The external names of the instrument that the questionnaire with this canonical URL represents.
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

    /// The code systems with codes for `list`, each with the native codes that they stand for.
    pub(super) fn systems(&self, list: &str) -> impl Iterator<Item = (&str, &BTreeMap<String, i64>)> {
        self.codes.get(list).into_iter().flatten().map(|(system, codes)| (system.as_str(), codes))
    }
}

fn called<'a, Id>(names: &'a BTreeMap<Id, ElementNames>, link_id: &str) -> Option<&'a Id> {
    names.iter().find(|(_, names)| names.link_ids.iter().any(|known| known == link_id)).map(|(id, _)| id)
}

/// All files, parsed once per process.
fn all() -> &'static [Names] {
    static ALL: OnceLock<Vec<Names>> = OnceLock::new();
    const FILES: [&str; 2] = [
        include_str!(concat!(env!("OUT_DIR"), "/fhir/gad-7.json")),
        include_str!(concat!(env!("OUT_DIR"), "/fhir/phq-9.json")),
    ];
    // The files are compiled in, and the tests parse each of them.
    ALL.get_or_init(|| FILES.map(|file| serde_json::from_str(file).expect("a shipped file of names is valid")).into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::instruments::Catalog;

    #[test]
    fn every_external_name_refers_to_exactly_one_element() {
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
