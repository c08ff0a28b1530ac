//! Checking and storing an instrument's definition: `cargo run -- instrument`.

mod import;

use std::path::Path;

use clinical::instruments::Instrument;
use invocation::Deadline;
use records::{Audit, AuditAction};

pub use self::import::{ImportError, import};
use crate::connection::{Connection, PUT_TIMEOUT, Target};
use crate::outcome::{Accepted, Outcome, PutError};
use crate::{ReadError, read_text};

/// Checks the definition in `file`.
///
/// # Errors
/// If the file cannot be read.
pub fn check(file: &Path) -> Result<Outcome, ReadError> {
    Ok(match Instrument::parse_file(&file.display().to_string(), &read_text(file)?) {
        Ok(instrument) => Outcome::Accepted(Accepted::InstrumentChecked {
            id: instrument.id().clone(),
            version: instrument.version().clone(),
            hash: instrument.hash().to_owned(),
        }),
        Err(faults) => Outcome::Faulty(faults),
    })
}

/// Stores the definition in `file`, so that a study may name it. `reason` is kept in the audit.
///
/// # Errors
/// If the file cannot be read, there is no connection to the store, or the store does not confirm the write.
pub async fn put(file: &Path, target: &Target, reason: &str) -> Result<Outcome, PutError> {
    let instrument = match Instrument::parse_file(&file.display().to_string(), &read_text(file)?) {
        Ok(instrument) => instrument,
        Err(faults) => return Ok(Outcome::Faulty(faults)),
    };
    // Before a connection is made, which it does not need.
    if let Err(refused) = releases::check_not_shipped(&instrument) {
        return Ok(Outcome::Refused(refused));
    }
    let connection = target.connect().await?;
    let now = connection.now();
    let Connection { store, actor, .. } = connection;
    let audit = Audit::by(actor, AuditAction::InstrumentPut, None, reason, now);
    let deadline = Deadline::after(PUT_TIMEOUT);
    let release = releases::put_instrument(&store, &instrument, audit, deadline).await.map_err(PutError::Store)?;
    let (id, version) = (instrument.id().clone(), instrument.version().clone());
    Ok(Outcome::of(release, Accepted::InstrumentStored { id, version }))
}
