//! Studies, and the instruments of their own, as their data managers put them in force. A version is stored once and
//! never changes.

use std::sync::Arc;
use std::time::Duration;

use clinical::ids::{InstrumentId, InstrumentVersion, StudyId, StudyVersion};
use clinical::instruments::{Catalog, Instrument};
use clinical::studies::{Protocol, Study};
use futures::future::BoxFuture;
use invocation::aws::{Failure, Limits};
use invocation::{Deadline, metrics};
use tokio::time::Instant;

use super::Store;
use super::study_cache::{CachedProtocol, EXTENSION, StudyRead};
use crate::items::document;
use crate::table::calls::{BATCH_KEYS, batch_get, send};
use crate::table::keys;

pub(crate) mod put;

/// The longest time that a request waits for another read of a study that is cached, however old it is.
const LONGEST_WAIT: Duration = Duration::from_millis(300);
/// A read of a study that is not cached may take what the deadline leaves, except for a third of what exceeds this:
/// that is left for the request's use of it.
const SHORT: Duration = Duration::from_millis(500);
const READ: Limits = Limits { most: Duration::from_secs(10), least: Duration::from_millis(30) };
const OF_A_STUDY: &str = "GetItem of a study";
const OF_A_VERSION: &str = "GetItem of a study's version";
const OF_INSTRUMENTS: &str = "BatchGetItem of instruments";

impl Store {
    /// The protocol in force for `study`, as of a minute ago at most. It is read again alongside the requests that use
    /// it. Where that takes too long or fails, the cached one stays in force.
    ///
    /// # Errors
    /// If it is not cached and the store did not return it in time, or it cannot be read.
    pub async fn protocol(&self, study: &StudyId, deadline: Deadline) -> Result<Arc<Protocol>, Failure> {
        let Some(cached) = self.cached_protocol(study, deadline) else {
            let deadline = deadline.earlier_by(deadline.remaining().saturating_sub(SHORT) / 3);
            let protocol = self.read_protocol(study, None, deadline).await?;
            self.studies.protocols().insert(study.clone(), CachedProtocol::new(Arc::clone(&protocol)));
            return Ok(protocol);
        };
        if cached.outdated > Instant::now() {
            return Ok(cached.protocol);
        }
        let ended = match cached.reading {
            Some(reading) => deadline.no_later_than(LONGEST_WAIT).bound(reading.ended()).await.is_some(),
            None => true,
        };
        let mut protocols = self.studies.protocols();
        let Some(current) = protocols.get_mut(study) else { return Ok(cached.protocol) };
        if !ended {
            current.extend();
        }
        Ok(Arc::clone(&current.protocol))
    }

    /// The cached protocol of `study`. Starts to read it again where that is due.
    fn cached_protocol(&self, study: &StudyId, deadline: Deadline) -> Option<CachedProtocol> {
        let mut protocols = self.studies.protocols();
        let cached = protocols.get_mut(study)?;
        if !cached.is_being_read() && cached.read_again <= Instant::now() {
            let (end, reading) = StudyRead::begin();
            cached.reading = Some(reading);
            let (store, study, protocol) = (self.clone(), study.clone(), Arc::clone(&cached.protocol));
            // A task of its own: a request that waits for it may give up, and the read continues alongside other work.
            tokio::spawn(async move {
                store.read_again(study, protocol, deadline).await;
                drop(end);
            });
        }
        Some(cached.clone())
    }

    async fn read_again(&self, study: StudyId, cached: Arc<Protocol>, deadline: Deadline) {
        let read = self.read_protocol(&study, Some(&cached), deadline).await;
        let mut protocols = self.studies.protocols();
        match read {
            Ok(protocol) => {
                protocols.insert(study, CachedProtocol::new(protocol));
            }
            Err(failure) => {
                tracing::warn!(event = "study_not_read_again", %failure);
                metrics::report(metrics::STUDY_NOT_READ, 1);
                if let Some(cached) = protocols.get_mut(&study) {
                    cached.read_again = Instant::now() + EXTENSION;
                    cached.extend();
                }
            }
        }
    }

    /// Whether the study of `protocol` asks its patients, or an earlier version of it did. Of a version without schedules,
    /// the earlier ones are read once an environment.
    ///
    /// # Errors
    /// If the store did not return them in time.
    pub async fn has_asked(&self, protocol: &Protocol, deadline: Deadline) -> Result<bool, Failure> {
        let Some(study) = protocol.study() else { return Ok(false) };
        if !protocol.schedules().is_empty() {
            return Ok(true);
        }
        let name = (study.id().clone(), study.version().clone());
        if let Some(has_asked) = self.studies.asked().get(&name) {
            return Ok(*has_asked);
        }
        // No version below the one in force is stored any more.
        let versions = Box::pin(self.study_versions(study.id(), deadline)).await?;
        let mut earlier = versions.iter().filter(|version| version.version() < study.version());
        let has_asked = earlier.any(|version| !version.definition().schedules.is_empty());
        self.studies.asked().insert(name, has_asked);
        Ok(has_asked)
    }

    /// Whether `protocol` may be used: its study is stored, or the deployment is open to studies that are not.
    pub fn admits(&self, protocol: &Protocol) -> bool {
        self.open_studies || protocol.study().is_some()
    }

    /// The instrument `id` in `version`, whether a study uses it or not: the shipped one or the stored one.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
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

    /// The protocol in force for `study`; `cached` where it has not changed. Boxed, so that its two callers, which
    /// rarely run it, share one copy of its code.
    fn read_protocol<'a>(
        &'a self,
        study: &'a StudyId,
        cached: Option<&'a Arc<Protocol>>,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Arc<Protocol>, Failure>> {
        Box::pin(async move {
            let request =
                self.dynamodb.get_item().table_name(&self.tables.records).set_key(Some(keys::study_in_force(study)));
            let Some(item) = send(request, deadline, READ).await.map_err(|error| error.into_failure(OF_A_STUDY))?.item
            else {
                return Ok(Arc::new(Protocol::of_no_study()));
            };
            let unreadable = |_| Failure::unreadable(OF_A_STUDY, "the stored study cannot be read");
            let hash = document::hash(&item).map_err(unreadable)?;
            if let Some(cached) = cached
                && cached.study().is_some_and(|study| study.hash() == hash)
            {
                return Ok(Arc::clone(cached));
            }
            let study = document::study(&item).map_err(unreadable)?;
            self.with_own_instruments(study, OF_A_STUDY, deadline).await
        })
    }

    /// The protocol of `study`, with the instruments of its own.
    async fn with_own_instruments(
        &self,
        study: Study,
        operation: &'static str,
        deadline: Deadline,
    ) -> Result<Arc<Protocol>, Failure> {
        let own: Vec<_> = study.own_instruments().map(|(id, version)| (id.clone(), version.clone())).collect();
        let own = self.own_instruments(&own, deadline).await?;
        let protocol = study.with_instruments(&own, |_| true);
        protocol.map(Arc::new).map_err(|_| Failure::unreadable(operation, "the stored study cannot be read"))
    }

    /// Those of `names` that are stored. None of them ships with the library.
    async fn own_instruments(
        &self,
        names: &[(InstrumentId, InstrumentVersion)],
        deadline: Deadline,
    ) -> Result<Vec<Arc<Instrument>>, Failure> {
        let (mut found, mut uncached) = (Vec::new(), Vec::new());
        for name in names {
            match self.studies.instruments().get(name) {
                Some(instrument) => found.push(Arc::clone(instrument)),
                None => uncached.push(keys::instrument(&name.0, &name.1)),
            }
        }
        let table = &self.tables.records;
        for keys in uncached.chunks(BATCH_KEYS) {
            for item in batch_get(&self.dynamodb, table, keys.to_vec(), OF_INSTRUMENTS, deadline).await? {
                let unreadable = |_| Failure::unreadable(OF_INSTRUMENTS, "a stored instrument cannot be read");
                let instrument = Arc::new(document::instrument(&item).map_err(unreadable)?);
                let name = (instrument.id().clone(), instrument.version().clone());
                self.studies.instruments().insert(name, Arc::clone(&instrument));
                found.push(instrument);
            }
        }
        Ok(found)
    }

    /// The `version` of `study` with this content `hash`, in force or not; `None` if it is not stored. Each is read
    /// once an environment.
    ///
    /// # Errors
    /// If the store did not return it in time, or it cannot be read.
    pub(super) async fn protocol_of_version(
        &self,
        study: &StudyId,
        version: &StudyVersion,
        hash: &str,
        deadline: Deadline,
    ) -> Result<Option<Arc<Protocol>>, Failure> {
        let has_hash = |protocol: &Arc<Protocol>| protocol.study().is_some_and(|study| study.hash() == hash);
        let name = (study.clone(), version.clone());
        if let Some(cached) = self.studies.versions().get(&name) {
            return Ok(Some(Arc::clone(cached)).filter(has_hash));
        }
        // On the heap: it is rare, and its future is large.
        let Some(read) = Box::pin(self.read_version(study, version, deadline)).await? else { return Ok(None) };
        self.studies.versions().insert(name, Arc::clone(&read));
        Ok(Some(read).filter(has_hash))
    }

    async fn read_version(
        &self,
        study: &StudyId,
        version: &StudyVersion,
        deadline: Deadline,
    ) -> Result<Option<Arc<Protocol>>, Failure> {
        let request = self
            .dynamodb
            .get_item()
            .table_name(&self.tables.records)
            .set_key(Some(keys::study_version(study, version)))
            .consistent_read(true);
        let Some(item) = send(request, deadline, READ).await.map_err(|error| error.into_failure(OF_A_VERSION))?.item
        else {
            return Ok(None);
        };
        let study = document::study(&item);
        let study = study.map_err(|_| Failure::unreadable(OF_A_VERSION, "the stored study cannot be read"))?;
        self.with_own_instruments(study, OF_A_VERSION, deadline).await.map(Some)
    }
}
