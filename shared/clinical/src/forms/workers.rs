//! The threads that check rows in parallel.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The threads that check a batch, with hooks for cancellation and progress.
pub struct Workers<'a> {
    threads: usize,
    stop: &'a (dyn Fn() -> bool + Sync),
    pub(super) progress: &'a (dyn Fn(usize) + Sync),
}

/// Checking was stopped before its end. There is no partial report, since checks over several rows need all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped after {checked} of {rows} rows")]
pub struct Stopped {
    /// The number of rows that were checked.
    pub checked: usize,
    /// The number of rows of the batch.
    pub rows: usize,
}

impl Workers<'static> {
    /// A number of threads, at least one, that run to completion.
    pub fn new(threads: usize) -> Self {
        Self { threads, stop: &|| false, progress: &|_| {} }
    }
}

impl<'a> Workers<'a> {
    /// Stops checking once `stop` returns true. It is called about every millisecond, from any of the threads.
    pub fn until(self, stop: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { stop, ..self }
    }

    /// Calls `progress` with the number of rows that were checked since the last call, from any of the threads.
    pub fn reporting(self, progress: &'a (dyn Fn(usize) + Sync)) -> Self {
        Self { progress, ..self }
    }
}

/// The results of `work` for each of `tasks`, in their order, independent of the threads; `None` if it was stopped.
pub(super) fn in_parallel<T: Send>(
    tasks: usize,
    workers: &Workers<'_>,
    work: impl Fn(usize) -> T + Sync,
) -> Option<Vec<T>> {
    let next = AtomicUsize::new(0);
    let stopped = AtomicBool::new(false);
    let done = Mutex::new(Vec::with_capacity(tasks));
    let run = || {
        loop {
            if stopped.load(Ordering::Relaxed) || (workers.stop)() {
                stopped.store(true, Ordering::Relaxed);
                return;
            }
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                return;
            }
            let result = work(task);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((task, result));
        }
    };
    thread::scope(|scope| {
        for _ in 1..workers.threads.clamp(1, tasks.max(1)) {
            scope.spawn(run);
        }
        run();
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if done.len() < tasks {
        return None;
    }
    done.sort_by_key(|(task, _)| *task);
    Some(done.into_iter().map(|(_, result)| result).collect())
}
