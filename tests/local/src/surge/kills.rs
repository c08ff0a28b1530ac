//! `kill -9` in the middle of a surge: of functions, and of the local cloud itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::SurgeError;
use super::checks::timed_out;
use super::phones::Phones;
use crate::client::Api;
use crate::cloud_process::CloudProcess;
use crate::faults::Dice;

/// How often a function is killed.
const INTERVAL: Duration = Duration::from_millis(250);

/// How often the progress of the surge is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The cloud is killed when these parts of the submissions, in eighths, are settled.
const CLOUD_KILLS: [usize; 3] = [1, 3, 6];

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kill {
    /// Processes of functions, four a second.
    Functions,
    /// The local cloud with all of its functions, three times.
    Cloud,
}

/// How many were killed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Killed {
    pub(super) functions: usize,
    pub(super) clouds: usize,
    /// Invocations that had been stopped at their timeout when the local cloud was killed, which counts them from its
    /// start.
    pub(super) timed_out: u64,
}

pub(super) struct Kills<'a> {
    api: &'a Api,
    own: &'a Mutex<Option<CloudProcess>>,
    kills: &'a BTreeSet<Kill>,
    patients: usize,
    killed: Killed,
}

impl<'a> Kills<'a> {
    pub(super) fn new(
        api: &'a Api,
        own: &'a Mutex<Option<CloudProcess>>,
        kills: &'a BTreeSet<Kill>,
        patients: usize,
    ) -> Self {
        Self { api, own, kills, patients, killed: Killed::default() }
    }

    pub(super) fn killed(&self) -> Killed {
        self.killed
    }

    /// Kills until it is dropped. Returns only if the cloud cannot be started again.
    pub(super) async fn run(&mut self, phones: &Phones<'_>) -> SurgeError {
        let mut dice = Dice::new(self.patients as u64);
        let mut last = Instant::now();
        loop {
            sleep(LOOK).await;
            let due =
                CLOUD_KILLS.get(self.killed.clouds).is_some_and(|part| phones.settled() * 8 >= self.patients * part);
            if due && self.kills.contains(&Kill::Cloud) {
                match timed_out(self.api).await {
                    Ok(number) => self.killed.timed_out += number,
                    Err(error) => return error.into(),
                }
                let mut own = self.own.lock().await;
                let Some(process) = own.as_mut() else { continue };
                process.kill().await;
                self.killed.clouds += 1;
                if let Err(error) = process.ensure_running().await {
                    return error.into();
                }
            }
            if self.kills.contains(&Kill::Functions) && last.elapsed() >= INTERVAL {
                last = Instant::now();
                self.kill_function(&mut dice).await;
            }
        }
    }

    /// Kills one of the functions' processes. Where none answers, the next turn kills one.
    async fn kill_function(&mut self, dice: &mut Dice) {
        #[derive(Deserialize)]
        struct Body {
            environments: Vec<Environment>,
        }
        #[derive(Deserialize)]
        struct Environment {
            function: String,
            pid: u32,
        }
        let Ok(Body { environments }) = self.api.read("/local/environments", None).await else { return };
        // The others do nothing in a surge.
        let busy: Vec<_> =
            environments.iter().filter(|one| ["submit", "score", "sweep"].contains(&one.function.as_str())).collect();
        if !busy.is_empty() && self.api.kill_environment(dice.pick(&busy).pid).await.is_ok_and(|killed| killed) {
            self.killed.functions += 1;
        }
    }
}
