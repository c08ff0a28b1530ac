//! Every shipped instrument gives the results of its published source.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test stops at what it cannot read")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clinical::instruments::{Instrument, MissingApplied, Outcome};
use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// The cases of one definition, `<version>.cases.json` beside it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    source: String,
    answers: Map<String, Value>,
    #[serde(default)]
    scores: BTreeMap<String, Number>,
    #[serde(default)]
    bands: BTreeMap<String, String>,
    #[serde(default)]
    missing: BTreeMap<String, MissingApplied>,
    #[serde(default)]
    not_scored: BTreeSet<String>,
    alerts: BTreeSet<String>,
}

#[test]
fn every_case_gives_its_scores_bands_and_alerts() {
    for definition in definitions() {
        let instrument = Instrument::parse(&fs::read_to_string(&definition).unwrap()).unwrap();
        let cases: Cases = serde_json::from_str(&fs::read_to_string(cases_of(&definition)).unwrap()).unwrap();
        assert!(cases.cases.len() > 1, "{} has too few cases", instrument.id());
        for (number, case) in cases.cases.iter().enumerate() {
            let name = format!("{} case {number}, {}", instrument.id(), case.source);
            let answers = instrument.check(&case.answers).unwrap_or_else(|findings| panic!("{name}: {findings:?}"));
            let outcome = instrument.assess(&answers).unwrap();
            check(case, &outcome, &name);
        }
    }
}

#[test]
fn every_score_and_band_of_a_definition_is_in_a_case() {
    for definition in definitions() {
        let instrument = Instrument::parse(&fs::read_to_string(&definition).unwrap()).unwrap();
        let cases: Cases = serde_json::from_str(&fs::read_to_string(cases_of(&definition)).unwrap()).unwrap();
        for score in instrument.definition().scores.iter().filter(|score| !score.optional) {
            let id = score.id.as_str();
            assert!(cases.cases.iter().any(|case| case.scores.contains_key(id)), "{} {id}", instrument.id());
            for band in &score.bands {
                let met = cases.cases.iter().any(|case| case.bands.get(id) == Some(&band.id));
                assert!(met, "{} {id} {}", instrument.id(), band.id);
            }
        }
    }
}

fn check(case: &Case, outcome: &Outcome, name: &str) {
    let written = serde_json::to_value(outcome).unwrap();
    let scores = written["scores"].as_array().unwrap();
    let by_id = |field: &str| -> BTreeMap<String, Value> {
        let with = scores.iter().filter(|score| score.get(field).is_some());
        with.map(|score| (score["id"].as_str().unwrap().to_owned(), score[field].clone())).collect()
    };
    let numbers = case.scores.iter().map(|(id, number)| (id.clone(), Value::Number(number.clone()))).collect();
    assert_eq!(by_id("value"), numbers, "{name}");
    let bands = case.bands.iter().map(|(id, band)| (id.clone(), Value::from(band.as_str()))).collect();
    assert_eq!(by_id("band"), bands, "{name}");
    for (id, missing) in &case.missing {
        let score = outcome.scores.iter().find(|score| score.id.as_str() == id).unwrap();
        assert_eq!(score.missing.as_ref(), Some(missing), "{name}");
    }
    let not_scored: BTreeSet<_> = outcome.not_scored.iter().map(|score| score.id.to_string()).collect();
    assert_eq!(not_scored, case.not_scored, "{name}");
    let alerts: BTreeSet<_> = outcome.alerts.iter().map(|alert| alert.rule.to_string()).collect();
    assert_eq!(alerts, case.alerts, "{name}");
}

fn definitions() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("instruments");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    files.filter(|path| !path.to_string_lossy().ends_with(".cases.json")).collect()
}

fn cases_of(definition: &Path) -> PathBuf {
    definition.with_extension("cases.json")
}
