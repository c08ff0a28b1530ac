//! Studies and their own instruments: what a study's data manager put in force, each version once and for good.
//!
//! | item | `pk` | `sk` |
//! |---|---|---|
//! | a version of a study | `STUDY#<study>` | `VERSION#<version>` |
//! | the one in force, a copy | same | `CURRENT` |
//! | an instrument that does not ship | `INSTRUMENT#<id>` | `VERSION#<version>` |

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clinical::catalog::Catalog;
use clinical::ids::{InstrumentId, InstrumentVersion, StudyId};
use clinical::instrument::Instrument;
use clinical::study::{Protocol, Study};
use invocation::Deadline;
use invocation::aws::{Failure, Limits, call};
use tokio::time::Instant;

use crate::attributes::{Item, Reader, text};
use crate::keys::{self, PK, SK};
use crate::store::Store;

mod put;

pub use put::{InstrumentPut, StudyPut};

/// How long what was read of a study is taken to be in force.
const FRESH: Duration = Duration::from_secs(60);
/// How long what was read before is gone by where a study cannot be read again.
const WITHOUT_NEWS: Duration = Duration::from_secs(5);
const READ: Limits = Limits { most: Duration::from_secs(1), least: Duration::from_millis(30) };
/// Where something is known already, nobody waits longer for something newer.
const READ_AGAIN: Limits = Limits { most: Duration::from_millis(300), ..READ };
const OF_A_STUDY: &str = "GetItem of a study";
const OF_INSTRUMENTS: &str = "BatchGetItem of instruments";

/// What this environment knows of studies and of instruments that do not ship.
#[derive(Debug, Default)]
pub(crate) struct Known {
    protocols: Mutex<HashMap<StudyId, (Instant, Arc<Protocol>)>>,
    /// A version never changes.
    instruments: Mutex<HashMap<(InstrumentId, InstrumentVersion), Arc<Instrument>>>,
}

impl Store {
    /// What is in force for `study`, as of a minute ago at most. Where it cannot be read again, what was read before
    /// stays in force.
    ///
    /// # Errors
    /// If it was never read, and the store did not answer in time, or with something that cannot be read.
    pub async fn protocol(&self, study: &StudyId, deadline: Deadline) -> Result<Arc<Protocol>, Failure> {
        let known = lock(&self.known.protocols).get(study).cloned();
        let known = match known {
            Some((until, protocol)) if Instant::now() < until => return Ok(protocol),
            Some((_, protocol)) => Some(protocol),
            None => None,
        };
        // Seldom needed, and large.
        let (protocol, until) = match Box::pin(self.read_protocol(study, known.as_ref(), deadline)).await {
            Ok(protocol) => (protocol, Instant::now() + FRESH),
            Err(failure) => {
                let protocol = known.ok_or_else(|| failure.clone())?;
                tracing::warn!(event = "study_not_read_again", %failure);
                (protocol, Instant::now() + WITHOUT_NEWS)
            }
        };
        lock(&self.known.protocols).insert(study.clone(), (until, Arc::clone(&protocol)));
        Ok(protocol)
    }

    /// The instrument `id` in `version`, whatever studies ask now: the shipped one or the one that was put.
    ///
    /// # Errors
    /// If the store did not answer in time, or with something that cannot be read.
    pub async fn instrument(
        &self,
        id: &InstrumentId,
        version: &InstrumentVersion,
        deadline: Deadline,
    ) -> Result<Option<Arc<Instrument>>, Failure> {
        if let Ok(shipped) = Catalog::shipped().find(id, version) {
            return Ok(Some(Arc::clone(shipped)));
        }
        Ok(self.own_instruments(&[(id.clone(), version.clone())], deadline).await?.pop())
    }

    async fn read_protocol(
        &self,
        study: &StudyId,
        known: Option<&Arc<Protocol>>,
        deadline: Deadline,
    ) -> Result<Arc<Protocol>, Failure> {
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .key(PK, text(keys::study(study)))
            .key(SK, text(keys::CURRENT));
        let limits = if known.is_some() { READ_AGAIN } else { READ };
        let sent =
            call(deadline, limits, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
        let Some(item) = sent.await.map_err(|error| error.of(OF_A_STUDY))?.item else {
            return Ok(Arc::new(Protocol::of_no_study()));
        };
        let reader = Reader(&item);
        let unreadable = || Failure::unreadable(OF_A_STUDY, "the stored study cannot be read");
        let hash = reader.text("hash").map_err(|_| unreadable())?;
        if let Some(known) = known
            && known.study().is_some_and(|study| study.hash() == hash)
        {
            return Ok(Arc::clone(known));
        }
        let study = Study::parse(reader.text("json").map_err(|_| unreadable())?).map_err(|_| unreadable())?;
        let own: Vec<_> = study.own_instruments().map(|(id, version)| (id.clone(), version.clone())).collect();
        let own = self.own_instruments(&own, deadline).await?;
        Ok(Arc::new(study.with_instruments(&own, |_| true).map_err(|_| unreadable())?))
    }

    /// Those of `wanted` that were put. None of them ships with the library.
    pub(crate) async fn own_instruments(
        &self,
        wanted: &[(InstrumentId, InstrumentVersion)],
        deadline: Deadline,
    ) -> Result<Vec<Arc<Instrument>>, Failure> {
        let (mut found, mut unknown) = (Vec::new(), Vec::new());
        for name in wanted {
            match lock(&self.known.instruments).get(name) {
                Some(instrument) => found.push(Arc::clone(instrument)),
                None => unknown.push(instrument_key(&name.0, &name.1)),
            }
        }
        for keys in unknown.chunks(crate::store::MOST_KEYS) {
            for item in self.get_all(&self.tables.records, keys.to_vec(), OF_INSTRUMENTS, deadline).await? {
                let read = Reader(&item).text("json").ok().and_then(|json| Instrument::parse(json).ok());
                let unreadable = || Failure::unreadable(OF_INSTRUMENTS, "a stored instrument cannot be read");
                let instrument = Arc::new(read.ok_or_else(unreadable)?);
                let name = (instrument.id().clone(), instrument.version().clone());
                lock(&self.known.instruments).insert(name, Arc::clone(&instrument));
                found.push(instrument);
            }
        }
        Ok(found)
    }
}

fn instrument_key(id: &InstrumentId, version: &InstrumentVersion) -> Item {
    let key = [(PK, keys::instrument(id)), (SK, keys::version(version))];
    key.map(|(name, value)| (name.to_owned(), text(value))).into()
}

/// What is kept in memory is whole between two statements, so that it may be used after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
