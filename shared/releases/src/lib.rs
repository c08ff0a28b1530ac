//! Putting definitions in force: a study or an instrument is checked, and stored with its audit entry if it has no
//! faults. The command line and the function `definitions` do it by the same code, so that what one accepts, the other
//! does. The bundled time zone database is linked here, and into no function that only reads studies.

use std::sync::Arc;

use clinical::document::DefinitionFault;
use clinical::ids::{InstrumentId, InstrumentVersion, StudyVersion};
use clinical::instruments::{Catalog, Instrument};
use clinical::studies::{Protocol, Study};
use invocation::Deadline;
use invocation::aws::Failure;
use records::{Audit, InstrumentPut, Since, Store, StudyPut};

/// The result of putting a definition in force.
#[derive(Debug)]
pub enum Release {
    /// It is in force. For a study, in all environments within a minute.
    InForce(Since),
    /// These faults of the definition keep it from being used.
    Faulty(Vec<DefinitionFault>),
    /// It has no faults, but its version cannot be stored.
    Refused(Refused),
}

/// Why a version is not stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The instrument ships with the program.
    #[error("{id} {version} ships with the program, and a version never changes; give this one another id or version")]
    Shipped {
        /// The instrument's id.
        id: InstrumentId,
        /// The instrument's version.
        version: InstrumentVersion,
    },
    /// The version is stored with other content.
    #[error("{definition} is stored with other content, and a version never changes; give this one a higher version")]
    OtherContent {
        /// Id and version of the instrument or study.
        definition: String,
    },
    /// A later version of the study is in force.
    #[error(
        "version {later} of the study is in force, and an earlier one cannot replace it; give this one a higher version"
    )]
    LaterInForce {
        /// The version in force.
        later: StudyVersion,
    },
    /// The protocol holds no study.
    #[error("the protocol has no study")]
    NoStudy,
}

/// Checks `study` with its instruments, of which `own` are those that do not ship.
///
/// # Errors
/// All faults, each with its JSON pointer and a correction.
pub fn check_study(study: Study, own: &[Arc<Instrument>]) -> Result<Protocol, Vec<DefinitionFault>> {
    study.with_instruments(own, |name| jiff::tz::db().get(name).is_ok())
}

/// Puts `study` in force, if the store has all instruments that it names. `audit` is the entry, to which the version is
/// added; a version that was stored before has its entry already, and gets no other.
///
/// # Errors
/// If the store does not answer a read, or does not confirm the write; a repeat settles the outcome.
pub async fn put_study(store: &Store, study: Study, audit: Audit, deadline: Deadline) -> Result<Release, Failure> {
    let mut own = Vec::new();
    for (id, version) in study.own_instruments() {
        own.extend(store.instrument(id, version, deadline).await?);
    }
    let protocol = match check_study(study, &own) {
        Ok(protocol) => protocol,
        Err(faults) => return Ok(Release::Faulty(faults)),
    };
    let Some(study) = protocol.study() else { return Ok(Release::Refused(Refused::NoStudy)) };
    Ok(match store.put_study(study, &audit.about(study.version()), deadline).await? {
        StudyPut::InForce(since) => Release::InForce(since),
        StudyPut::OtherContent => other_content(study.id().as_str(), study.version().as_str()),
        StudyPut::LaterInForce(later) => Release::Refused(Refused::LaterInForce { later }),
    })
}

/// Refuses an instrument whose version ships with the program.
///
/// # Errors
/// [`Refused::Shipped`].
pub fn check_not_shipped(instrument: &Instrument) -> Result<(), Refused> {
    let (id, version) = (instrument.id(), instrument.version());
    match Catalog::shipped().find(id, version) {
        Ok(_) => Err(Refused::Shipped { id: id.clone(), version: version.clone() }),
        Err(_) => Ok(()),
    }
}

/// Stores `instrument`, so that a study may name it. `audit` is the entry, to which id and version are added; a version
/// that was stored before has its entry already, and gets no other.
///
/// # Errors
/// If the store does not confirm the write; a repeat settles the outcome.
pub async fn put_instrument(
    store: &Store,
    instrument: &Instrument,
    audit: Audit,
    deadline: Deadline,
) -> Result<Release, Failure> {
    if let Err(refused) = check_not_shipped(instrument) {
        return Ok(Release::Refused(refused));
    }
    let (id, version) = (instrument.id().as_str(), instrument.version().as_str());
    let audit = audit.about(format!("{id} {version}"));
    Ok(match store.put_instrument(instrument, &audit, deadline).await? {
        InstrumentPut::Stored(since) => Release::InForce(since),
        InstrumentPut::OtherContent => other_content(id, version),
    })
}

fn other_content(id: &str, version: &str) -> Release {
    Release::Refused(Refused::OtherContent { definition: format!("{id} {version}") })
}
