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

use clinical::ids::{InstrumentId, InstrumentVersion, StudyId, StudyVersion};
use clinical::instruments::{Catalog, Instrument};
use clinical::studies::{Protocol, Study};
use invocation::aws::{Failure, Limits, call};
use invocation::{Deadline, metrics};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::table::attributes::{Item, Reader, text};
use crate::table::keys::{self, PK, SK};
use crate::store::Store;

mod admit;
mod put;
mod versions;

pub use put::{InstrumentPut, StudyPut};

/// How old what was read of a study may be.
const IN_FORCE: Duration = Duration::from_secs(60);
/// From when on it is read again beside a request, which goes on with what is known.
const READ_AHEAD: Duration = Duration::from_secs(30);
/// How long what was read before is in force without another try where a study cannot be read again.
const WITHOUT_NEWS: Duration = Duration::from_secs(5);
/// A request waits no longer than this for something newer where something is known, however old.
const NEWS: Duration = Duration::from_millis(300);
/// What is not known may take what the deadline leaves, but for a third of what is more than this: that is for what the
/// request does with it.
const SHORT: Duration = Duration::from_millis(500);
const READ: Limits = Limits { most: Duration::from_secs(10), least: Duration::from_millis(30) };
const OF_A_STUDY: &str = "GetItem of a study";
const OF_INSTRUMENTS: &str = "BatchGetItem of instruments";

/// What this environment knows of studies and of instruments that do not ship.
#[derive(Debug, Default)]
pub(crate) struct Known {
    protocols: Mutex<HashMap<StudyId, KnownProtocol>>,
    /// A version never changes.
    versions: Mutex<HashMap<(StudyId, StudyVersion), Arc<Protocol>>>,
    /// A version never changes.
    instruments: Mutex<HashMap<(InstrumentId, InstrumentVersion), Arc<Instrument>>>,
}

/// What is known of a study.
#[derive(Clone, Debug)]
struct KnownProtocol {
    protocol: Arc<Protocol>,
    /// From when on it is read again beside a request.
    read_again: Instant,
    /// From when on a request waits for that.
    outdated: Instant,
    /// Closed when the reading that is under way ends.
    reading: Option<watch::Receiver<()>>,
}

impl KnownProtocol {
    fn new(protocol: Arc<Protocol>) -> Self {
        let now = Instant::now();
        Self { protocol, read_again: now + READ_AHEAD, outdated: now + IN_FORCE, reading: None }
    }

    fn is_being_read(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.has_changed().is_ok())
    }

    /// Goes on with what is known for a while.
    fn without_news(&mut self) {
        self.outdated = self.outdated.max(Instant::now() + WITHOUT_NEWS);
    }
}

impl Store {
    /// What is in force for `study`, as of a minute ago at most. It is read again beside the requests that use it. Where
    /// that takes too long or fails, what was read before stays in force.
    ///
    /// # Errors
    /// If it was never read, and the store did not answer in time, or with something that cannot be read.
    pub async fn protocol(&self, study: &StudyId, deadline: Deadline) -> Result<Arc<Protocol>, Failure> {
        let Some(known) = self.known_protocol(study, deadline) else {
            let deadline = deadline.earlier_by(deadline.remaining().saturating_sub(SHORT) / 3);
            // Seldom needed, and large.
            let protocol = Box::pin(self.read_protocol(study, None, deadline)).await?;
            lock(&self.known.protocols).insert(study.clone(), KnownProtocol::new(Arc::clone(&protocol)));
            return Ok(protocol);
        };
        if known.outdated > Instant::now() {
            return Ok(known.protocol);
        }
        let ended = match known.reading {
            // It changes never, and is closed at the end.
            Some(mut reading) => deadline.no_later_than(NEWS).bound(reading.changed()).await.is_some(),
            None => true,
        };
        let mut protocols = lock(&self.known.protocols);
        let Some(now_known) = protocols.get_mut(study) else { return Ok(known.protocol) };
        if !ended {
            now_known.without_news();
        }
        Ok(Arc::clone(&now_known.protocol))
    }

    /// What is known of `study`. Starts to read it again where it is time for that.
    fn known_protocol(&self, study: &StudyId, deadline: Deadline) -> Option<KnownProtocol> {
        let mut protocols = lock(&self.known.protocols);
        let known = protocols.get_mut(study)?;
        if !known.is_being_read() && known.read_again <= Instant::now() {
            let (ended, reading) = watch::channel(());
            known.reading = Some(reading);
            let (store, study, protocol) = (self.clone(), study.clone(), Arc::clone(&known.protocol));
            // On its own: whoever waits for it may give up, and it goes on beside the request's other work.
            tokio::spawn(async move {
                store.read_again(study, protocol, deadline).await;
                drop(ended);
            });
        }
        Some(known.clone())
    }

    async fn read_again(&self, study: StudyId, known: Arc<Protocol>, deadline: Deadline) {
        let read = self.read_protocol(&study, Some(&known), deadline).await;
        let mut protocols = lock(&self.known.protocols);
        match read {
            Ok(protocol) => {
                protocols.insert(study, KnownProtocol::new(protocol));
            }
            Err(failure) => {
                tracing::warn!(event = "study_not_read_again", %failure);
                metrics::count(metrics::STUDY_NOT_READ, 1);
                if let Some(known) = protocols.get_mut(&study) {
                    known.read_again = Instant::now() + WITHOUT_NEWS;
                    known.without_news();
                }
            }
        }
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
        let sent =
            call(deadline, READ, |timeouts| request.customize().config_override(Store::timeouts(timeouts)).send());
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
