//! A FHIR R4 Questionnaire as the draft of an instrument's definition.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clinical::fhir;
use clinical::instruments::Instrument;

use crate::{ReadError, read_text};

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The file is not JSON.
    #[error("{} is not JSON", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Where it is not.
        source: serde_json::Error,
    },
    /// The file holds no Questionnaire from which a definition can be made.
    #[error("{}: {problem}", file.display())]
    Questionnaire {
        /// The file.
        file: PathBuf,
        /// What keeps it from being one.
        problem: fhir::ImportError,
    },
    /// An output refuses what is written to it.
    #[error("cannot write the definition")]
    Write(#[source] io::Error),
}

/// Writes the Questionnaire in `file` to `definition` as the draft of a definition. Writes to `notes` what could not be
/// converted, what a person has to add, and the faults of the draft. Returns whether the draft loads.
///
/// # Errors
/// If the file cannot be read or holds no Questionnaire, or if an output cannot be written. An output that is closed
/// before its end is not an error.
pub fn import(file: &Path, mut definition: impl Write, mut notes: impl Write) -> Result<bool, ImportError> {
    let json = serde_json::from_str(&read_text(file)?)
        .map_err(|source| ImportError::Json { file: file.to_owned(), source })?;
    let imported =
        fhir::import(&json).map_err(|problem| ImportError::Questionnaire { file: file.to_owned(), problem })?;
    let faults = Instrument::parse(&imported.definition).err().unwrap_or_default();
    let mut write = || {
        writeln!(definition, "{}", imported.definition)?;
        for note in &imported.notes {
            writeln!(notes, "note: {note}")?;
        }
        for fault in &faults {
            writeln!(notes, "fault: {fault}")?;
        }
        match faults.len() {
            0 => writeln!(notes, "The definition loads. A person has to complete and review it before it is used."),
            1 => writeln!(notes, "The definition does not load yet: correct the fault above."),
            several => writeln!(notes, "The definition does not load yet: correct the {several} faults above."),
        }
    };
    match write() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(faults.is_empty()),
        written => written.map(|()| faults.is_empty()).map_err(ImportError::Write),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clinical::instruments::Catalog;

    use super::*;

    fn imported(content: &str) -> (Result<bool, ImportError>, String, String) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("questionnaire.json");
        fs::write(&file, content).unwrap();
        let (mut definition, mut notes) = (Vec::new(), Vec::new());
        let result = import(&file, &mut definition, &mut notes);
        (result, String::from_utf8(definition).unwrap(), String::from_utf8(notes).unwrap())
    }

    #[test]
    fn a_questionnaire_with_weights_becomes_a_definition_that_loads() {
        let gad_7 = Catalog::shipped().latest(&"gad-7".parse().unwrap()).unwrap();
        let (result, definition, notes) = imported(&fhir::questionnaire(gad_7, "en").to_string());
        assert!(result.unwrap(), "{notes}");
        assert_eq!(Instrument::parse(&definition).unwrap().id().as_str(), "gad-7");
        assert!(notes.contains("`bands`") && notes.contains("The definition loads."), "{notes}");
    }

    #[test]
    fn what_keeps_a_draft_from_loading_is_reported() {
        let questionnaire = r#"{"resourceType": "Questionnaire", "id": "days", "title": "Days", "status": "active",
            "item": [{"linkId": "1", "type": "integer", "text": "How many days?"}]}"#;
        let (result, definition, notes) = imported(questionnaire);
        assert!(!result.unwrap() && definition.contains("How many days?"));
        assert!(notes.contains("fault: /items/0"), "{notes}");
    }

    #[test]
    fn a_file_without_a_questionnaire_is_refused() {
        assert!(matches!(imported("{").0, Err(ImportError::Json { .. })));
        assert!(matches!(imported(r#"{"resourceType": "Patient"}"#).0, Err(ImportError::Questionnaire { .. })));
        let nowhere = import(Path::new("/nowhere/questionnaire.json"), Vec::new(), Vec::new());
        assert!(matches!(nowhere, Err(ImportError::Read { .. })));
    }
}
