//! The studies in memory. A study in force is read again in the background before it is outdated; versions are kept for
//! the life of the environment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use clinical::ids::{InstrumentId, InstrumentVersion, StudyId, StudyVersion};
use clinical::instruments::Instrument;
use clinical::studies::Protocol;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The age from which on a request waits for another read.
const LONGEST_AGE: Duration = Duration::from_secs(60);
/// The age from which on it is read again alongside a request, which continues with the cached one.
const READ_AHEAD: Duration = Duration::from_secs(30);
/// How long a cached study stays in force without another attempt where it cannot be read again.
pub(super) const EXTENSION: Duration = Duration::from_secs(5);

/// The studies, and the instruments of their own, that this environment has read.
#[derive(Debug, Default)]
pub(super) struct StudyCache {
    protocols: Mutex<HashMap<StudyId, CachedProtocol>>,
    /// A version never changes.
    versions: Mutex<HashMap<(StudyId, StudyVersion), Arc<Protocol>>>,
    /// A version never changes.
    instruments: Mutex<HashMap<(InstrumentId, InstrumentVersion), Arc<Instrument>>>,
    /// Whether a version before this one, which asks nobody, had schedules.
    asked: Mutex<HashMap<(StudyId, StudyVersion), bool>>,
}

impl StudyCache {
    pub(super) fn protocols(&self) -> MutexGuard<'_, HashMap<StudyId, CachedProtocol>> {
        lock(&self.protocols)
    }

    pub(super) fn versions(&self) -> MutexGuard<'_, HashMap<(StudyId, StudyVersion), Arc<Protocol>>> {
        lock(&self.versions)
    }

    pub(super) fn instruments(&self) -> MutexGuard<'_, HashMap<(InstrumentId, InstrumentVersion), Arc<Instrument>>> {
        lock(&self.instruments)
    }

    pub(super) fn asked(&self) -> MutexGuard<'_, HashMap<(StudyId, StudyVersion), bool>> {
        lock(&self.asked)
    }
}

/// The protocol of a study, as it was last read.
#[derive(Clone, Debug)]
pub(super) struct CachedProtocol {
    pub(super) protocol: Arc<Protocol>,
    /// From when on it is read again alongside a request.
    pub(super) read_again: Instant,
    /// From when on a request waits for that read.
    pub(super) outdated: Instant,
    /// The read in progress, or the last one.
    pub(super) reading: Option<Reading>,
}

impl CachedProtocol {
    pub(super) fn new(protocol: Arc<Protocol>) -> Self {
        let now = Instant::now();
        Self { protocol, read_again: now + READ_AHEAD, outdated: now + LONGEST_AGE, reading: None }
    }

    pub(super) fn is_being_read(&self) -> bool {
        self.reading.as_ref().is_some_and(|reading| !reading.0.is_closed())
    }

    /// Keeps it in force for a while without another read.
    pub(super) fn extend(&mut self) {
        self.outdated = self.outdated.max(Instant::now() + EXTENSION);
    }
}

/// A read, for those who wait for its end. They are woken in the order in which they began to wait.
#[derive(Clone, Debug)]
pub(super) struct Reading(Arc<Semaphore>);

/// The end of a [`Reading`], when it is dropped.
#[derive(Debug)]
pub(super) struct ReadingEnd(Arc<Semaphore>);

impl Reading {
    pub(super) fn begin() -> (ReadingEnd, Self) {
        // Nobody gets a permit: it is only ever closed.
        let reading = Arc::new(Semaphore::new(0));
        (ReadingEnd(Arc::clone(&reading)), Self(reading))
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        drop(self.0.acquire().await);
    }
}

impl Drop for ReadingEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The cache is consistent between two statements, so that it may be used after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
