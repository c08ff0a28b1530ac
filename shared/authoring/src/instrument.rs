//! Checking and storing an instrument's definition: `cargo run -- instrument`.

mod import;

use std::path::Path;

use clinical::instruments::{Catalog, Instrument};
use invocation::Deadline;
use records::{Audit, AuditAction, InstrumentPut};
use time::OffsetDateTime;

pub use self::import::{ImportError, import};
use crate::connection::{PUT_TIMEOUT, Target};
use crate::outcome::{Accepted, Outcome, PutError, Refused};
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
    let (id, version) = (instrument.id().clone(), instrument.version().clone());
    if Catalog::shipped().find(&id, &version).is_ok() {
        return Ok(Outcome::Refused(Refused::Shipped { id, version }));
    }
    let connection = target.connect().await?;
    let definition = format!("{id} {version}");
    let audit = Audit::by(connection.actor, AuditAction::InstrumentPut, None, reason, OffsetDateTime::now_utc());
    let deadline = Deadline::after(PUT_TIMEOUT);
    let put = connection.store.put_instrument(&instrument, &audit.about(&definition), deadline).await;
    Ok(match put.map_err(PutError::Store)? {
        InstrumentPut::Stored => Outcome::Accepted(Accepted::InstrumentStored { id, version }),
        InstrumentPut::OtherContent => Outcome::Refused(Refused::OtherContent { definition }),
    })
}
