//! The functions' processes that run now, so that a test of crashes can end one.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

/// The processes of all functions. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Processes(Arc<Mutex<BTreeMap<u32, String>>>);

/// A process of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningProcess {
    /// The function's binary.
    pub function: String,
    /// The process id.
    pub pid: u32,
}

/// Lists a process until it is dropped.
#[derive(Debug)]
pub(super) struct Listed {
    processes: Processes,
    pid: u32,
}

impl Processes {
    /// All of them, by process id.
    pub fn list(&self) -> Vec<RunningProcess> {
        self.lock().iter().map(|(pid, function)| RunningProcess { function: function.clone(), pid: *pid }).collect()
    }

    /// Kills a process with SIGKILL, as a crash or the operating system would. Returns whether it was one of them.
    ///
    /// # Errors
    /// If the signal cannot be sent.
    pub fn kill(&self, pid: u32) -> io::Result<bool> {
        let processes = self.lock();
        let Some(of_ours) = i32::try_from(pid).ok().filter(|_| processes.contains_key(&pid)).and_then(Pid::from_raw)
        else {
            return Ok(false);
        };
        match kill_process(of_ours, Signal::KILL) {
            Ok(()) => Ok(true),
            // It has ended by itself.
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) fn add(&self, function: &str, pid: u32) -> Listed {
        self.lock().insert(pid, function.to_owned());
        Listed { processes: self.clone(), pid }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.processes.lock().remove(&self.pid);
    }
}
