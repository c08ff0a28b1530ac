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
    pub(super) reading: Option<StudyRead>,
}

impl CachedProtocol {
    pub(super) fn new(protocol: Arc<Protocol>) -> Self {
        let now = Instant::now();
        Self { protocol, read_again: now + READ_AHEAD, outdated: now + LONGEST_AGE, reading: None }
    }

    pub(super) fn is_being_read(&self) -> bool {
        self.reading.as_ref().is_some_and(|read| !read.has_ended())
    }

    /// Keeps it in force for a while without another read.
    pub(super) fn extend(&mut self) {
        self.outdated = self.outdated.max(Instant::now() + EXTENSION);
    }
}

/// A read of a study, for those who wait for its end. Unlike those of Tokio's `watch`, they are woken in the order in which
/// they began to wait, so that a simulation replays.
#[derive(Clone, Debug)]
pub(super) struct StudyRead(Arc<Semaphore>);

/// Ends a [`StudyRead`] when it is dropped.
#[derive(Debug)]
pub(super) struct StudyReadEnd(Arc<Semaphore>);

impl StudyRead {
    pub(super) fn begin() -> (StudyReadEnd, Self) {
        // Nobody gets a permit: it is only ever closed.
        let read = Arc::new(Semaphore::new(0));
        (StudyReadEnd(Arc::clone(&read)), Self(read))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }

    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        drop(self.0.acquire().await);
    }
}

impl Drop for StudyReadEnd {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The cache is consistent between two statements, so that it may be used after a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;
    use tokio::time::{sleep, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_wait_for_a_read_are_woken_in_order_and_late_ones_at_once() {
        let (end, read) = StudyRead::begin();
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut waiters = JoinSet::new();
        // By chance they would be woken in this order in 1 of 3,628,800 runs.
        for waiter in 0..10 {
            let (read, woken) = (read.clone(), Arc::clone(&woken));
            waiters.spawn(async move {
                read.ended().await;
                lock(&woken).push(waiter);
            });
        }
        sleep(Duration::from_secs(1)).await;
        assert!(!read.has_ended() && lock(&woken).is_empty());
        drop(end);
        waiters.join_all().await;
        assert_eq!(*lock(&woken), (0..10).collect::<Vec<_>>());
        assert!(read.has_ended());
        assert!(timeout(Duration::ZERO, read.ended()).await.is_ok());
    }
}
