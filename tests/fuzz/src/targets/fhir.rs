//! What other systems send in FHIR.

use clinical::fhir;
use clinical::instruments::Instrument;
use serde_json::Value;

pub(super) fn questionnaire(input: &[u8]) {
    let Ok(json) = serde_json::from_slice::<Value>(input) else { return };
    let Ok(imported) = fhir::import(&json) else { return };
    let length: usize = imported.notes.iter().map(String::len).sum();
    assert!(imported.notes.is_empty() || length > 0, "a note is empty");
    match Instrument::parse(&imported.definition) {
        Ok(instrument) => drop(fhir::questionnaire(&instrument, "en").to_string()),
        Err(faults) => drop(faults.iter().map(ToString::to_string).collect::<String>()),
    }
}
