//! A FHIR Questionnaire as the draft of an instrument's definition.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clinical::fhir;
use clinical::instrument::Instrument;

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("reading {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no JSON.
    #[error("{} is not JSON", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Where.
        source: serde_json::Error,
    },
    /// It holds no Questionnaire that could be a definition.
    #[error("{}: {problem}", file.display())]
    Questionnaire {
        /// The file.
        file: PathBuf,
        /// Why.
        problem: &'static str,
    },
    /// What was written did not arrive.
    #[error("writing the definition")]
    Write(#[source] io::Error),
}

/// Writes the FHIR R4 Questionnaire in `file` to `definition` as the draft of a definition, and to `told`, for a person,
/// what could not be carried over, what is to be added, and what is still wrong with it. Gives whether it loads.
///
/// # Errors
/// If the file cannot be read or holds no Questionnaire, or if nobody takes what is written.
pub fn import(file: &Path, mut definition: impl Write, mut told: impl Write) -> Result<bool, Error> {
    let named = || file.to_owned();
    let json = fs::read_to_string(file).map_err(|source| Error::Read { file: named(), source })?;
    let json = serde_json::from_str(&json).map_err(|source| Error::Json { file: named(), source })?;
    let imported = fhir::import(&json).map_err(|problem| Error::Questionnaire { file: named(), problem })?;
    let faults = Instrument::parse(&imported.definition).err().unwrap_or_default();
    let mut write = || {
        writeln!(definition, "{}", imported.definition)?;
        for note in &imported.notes {
            writeln!(told, "note: {note}")?;
        }
        for fault in &faults {
            writeln!(told, "fault: {fault}")?;
        }
        match faults.len() {
            0 => writeln!(told, "The definition loads. A person has to complete and review it before it is used."),
            1 => writeln!(told, "The definition does not load yet: mend the fault above."),
            several => writeln!(told, "The definition does not load yet: mend the {several} faults above."),
        }
    };
    match write() {
        // Nobody reads on: what was written is what was wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(faults.is_empty()),
        written => written.map(|()| faults.is_empty()).map_err(Error::Write),
    }
}

#[cfg(test)]
mod tests {
    use clinical::catalog::Catalog;

    use super::*;

    fn imported(content: &str) -> (Result<bool, Error>, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("questionnaire.json");
        fs::write(&file, content).unwrap();
        let (mut definition, mut told) = (Vec::new(), Vec::new());
        let result = import(&file, &mut definition, &mut told);
        (result, String::from_utf8(definition).unwrap(), String::from_utf8(told).unwrap())
    }

    #[test]
    fn a_questionnaire_with_weights_becomes_a_definition_that_loads() {
        let gad_7 = Catalog::shipped().latest(&"gad-7".parse().unwrap()).unwrap();
        let (result, definition, told) = imported(&fhir::questionnaire(gad_7, "en").to_string());
        assert!(result.unwrap(), "{told}");
        assert_eq!(Instrument::parse(&definition).unwrap().id().as_str(), "gad-7");
        assert!(told.contains("`bands`") && told.contains("The definition loads."), "{told}");
    }

    #[test]
    fn what_keeps_a_draft_from_loading_is_told() {
        let questionnaire = r#"{"resourceType": "Questionnaire", "id": "days", "title": "Days", "status": "active",
            "item": [{"linkId": "1", "type": "integer", "text": "How many days?"}]}"#;
        let (result, definition, told) = imported(questionnaire);
        assert!(!result.unwrap() && definition.contains("How many days?"));
        assert!(told.contains("fault: /items/0"), "{told}");
    }

    #[test]
    fn what_is_no_questionnaire_is_refused() {
        assert!(matches!(imported("{").0, Err(Error::Json { .. })));
        assert!(matches!(imported(r#"{"resourceType": "Patient"}"#).0, Err(Error::Questionnaire { .. })));
        let nowhere = import(Path::new("/nowhere/questionnaire.json"), Vec::new(), Vec::new());
        assert!(matches!(nowhere, Err(Error::Read { .. })));
    }
}
