//! The threads that check rows side by side.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Who checks, and for how long.
pub struct Workers<'a> {
    threads: usize,
    stop: &'a (dyn Fn() -> bool + Sync),
    pub(super) progress: &'a (dyn Fn(usize) + Sync),
}

/// Checking was stopped before its end. Nothing is told of the rows that were checked, since checks over several rows need
/// all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped after {checked} of {rows} rows")]
pub struct Stopped {
    /// How many rows were checked.
    pub checked: usize,
    /// How many there are.
    pub rows: usize,
}

impl Workers<'static> {
    /// So many threads, at least one, that go on to the end.
    pub fn new(threads: usize) -> Self {
        Self { threads, stop: &|| false, progress: &|_| {} }
    }
}

impl<'a> Workers<'a> {
    /// These, until `stop` says so. It is asked now and then, from any of the threads.
    pub fn until(self, stop: &'a (dyn Fn() -> bool + Sync)) -> Self {
        Self { stop, ..self }
    }

    /// These, calling `progress` now and then, from any of the threads, that so many more rows were checked.
    pub fn reporting(self, progress: &'a (dyn Fn(usize) + Sync)) -> Self {
        Self { progress, ..self }
    }
}

/// What `work` gives for each of `tasks`, in their order, whichever thread did it and when; `None` if it was stopped.
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
