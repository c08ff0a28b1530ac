//! Checking a study's data and putting it in force: `cargo run -- study`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clinical::document::DefinitionFault;
use clinical::instruments::Instrument;
use clinical::studies::Study;
use invocation::Deadline;
use records::{Audit, AuditAction};
use releases::Refused;

use crate::connection::{Connection, PUT_TIMEOUT, Target};
use crate::outcome::{Accepted, Outcome, PutError};
use crate::{ReadError, read_text};

/// Checks the study in `file`. The definitions of instruments that do not ship are read from the files `instruments`.
///
/// # Errors
/// If a file cannot be read.
pub fn check(file: &Path, instruments: &[PathBuf]) -> Result<Outcome, ReadError> {
    let mut own = Vec::new();
    for file in instruments {
        match Instrument::parse_file(&file.display().to_string(), &read_text(file)?) {
            Ok(instrument) => own.push(Arc::new(instrument)),
            Err(faults) => return Ok(Outcome::Faulty(faults)),
        }
    }
    let checked = Study::parse(&read_text(file)?).and_then(|study| releases::check_study(study, &own));
    Ok(match checked {
        Ok(protocol) => match protocol.study() {
            Some(study) => Outcome::Accepted(Accepted::StudyChecked {
                id: study.id().clone(),
                version: study.version().clone(),
                instruments: protocol.catalog().iter().count(),
            }),
            None => Outcome::Refused(Refused::NoStudy),
        },
        Err(faults) => Outcome::Faulty(in_file(faults, file)),
    })
}

/// Puts the study in `file` in force. `reason` is kept in the audit.
///
/// # Errors
/// If the file cannot be read, there is no connection to the store, or the store does not confirm the write.
pub async fn put(file: &Path, target: &Target, reason: &str) -> Result<Outcome, PutError> {
    let study = match Study::parse(&read_text(file)?) {
        Ok(study) => study,
        Err(faults) => return Ok(Outcome::Faulty(in_file(faults, file))),
    };
    let outcome = put_parsed(study, target.connect().await?, reason).await?;
    Ok(match outcome {
        Outcome::Faulty(faults) => Outcome::Faulty(in_file(faults, file)),
        outcome => outcome,
    })
}

/// Puts `study` in force, if the store has all instruments that it names. `reason` is kept in the audit.
///
/// # Errors
/// If the store does not answer.
pub async fn put_parsed(study: Study, connection: Connection, reason: &str) -> Result<Outcome, PutError> {
    let now = connection.now();
    let Connection { store, actor, .. } = connection;
    let deadline = Deadline::after(PUT_TIMEOUT);
    let (id, version) = (study.id().clone(), study.version().clone());
    let audit = Audit::by(actor, AuditAction::StudyPut, Some(&id), reason, now);
    let release = releases::put_study(&store, study, audit, deadline).await.map_err(PutError::Store)?;
    Ok(Outcome::of(release, Accepted::StudyInForce { id, version }))
}

/// The faults with the file that they are in.
fn in_file(mut faults: Vec<DefinitionFault>, file: &Path) -> Vec<DefinitionFault> {
    faults.iter_mut().for_each(|fault| fault.file = Some(file.display().to_string()));
    faults
}
