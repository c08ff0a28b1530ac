//! The functions: their environments, their invocations, and what became of each.
//!
//! As in Lambda, an environment is one process that serves one invocation at a time over a Runtime API of its own.
//! Environments are made when all that are there are busy, up to a limit; beyond it invocations wait in a queue, and
//! beyond that they are refused. The environment that was used last is used first.

use std::{
    collections::{BTreeMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot, watch},
    time::timeout,
};

use crate::{console::Console, template::Function};
use environment::{Environment, Job, StartFailure};
pub use history::{History, Record};

mod environment;
mod history;

/// How many invocations may wait for a free environment, per function.
const QUEUE: usize = 1000;

/// How long an environment that has answered may take to ask for more before another is started in its place.
const SETTLING: Duration = Duration::from_millis(100);

const STOPPING: &str = "the local cloud is stopping";

/// All functions of the template, each with its environments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Functions {
    pools: Arc<BTreeMap<String, Arc<Pool>>>,
    history: Arc<History>,
}

/// How functions are run.
#[derive(Debug, Clone)]
pub struct FunctionSettings {
    /// Environments per function at most; a function's `ReservedConcurrentExecutions` may lower it.
    pub concurrency: usize,
    /// Variables of every function beside those of the template: credentials and region.
    pub environment: BTreeMap<String, String>,
    /// This program, by whose `environment` subcommand processes are started so that none outlives it. Without it
    /// a function that hangs does outlive a local cloud that is killed.
    pub launcher: Option<PathBuf>,
    /// Where log lines and invocations are shown.
    pub console: Console,
}

/// One finished invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's request id (a UUID).
    pub request_id: String,
    /// From the hand-over to the environment to the outcome.
    pub took: Duration,
    /// What came of it.
    pub outcome: InvocationOutcome,
}

/// What came of an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationOutcome {
    /// The function answered: its payload.
    Answer(Bytes),
    /// The function reported an error (`{"errorType", "errorMessage", ...}`): an unhandled error or a panic.
    FunctionError(Bytes),
    /// It overran its timeout and was killed.
    TimedOut,
    /// Its process ended during the invocation.
    Crashed,
    /// No environment could take it: all busy and the queue full (throttled), the function does not start, or the
    /// local cloud is stopping. The text says which. The function has not seen the event.
    Unavailable(String),
}

/// A function that does not start.
#[derive(Debug, thiserror::Error)]
#[error("the function {function} does not start: {failure}")]
pub struct StartError {
    function: String,
    failure: StartFailure,
}

impl Functions {
    /// The functions, each with its executable. None runs yet: environments are made on demand.
    pub fn new(functions: impl IntoIterator<Item = (Function, PathBuf)>, settings: FunctionSettings) -> Self {
        let history = Arc::new(History::default());
        let pools = functions
            .into_iter()
            .map(|(function, executable)| {
                let name = function.name.clone();
                (name, Arc::new(Pool::new(function, executable, settings.clone(), Arc::clone(&history))))
            })
            .collect();
        Self { pools: Arc::new(pools), history }
    }

    /// Starts one environment of each function and waits until all are initialised.
    ///
    /// # Errors
    /// If one does not initialise.
    pub async fn warm(&self) -> Result<(), StartError> {
        let warm = |pool: &Arc<Pool>| {
            let pool = Arc::clone(pool);
            async move {
                let function = pool.function.name.clone();
                pool.warm().await.map_err(|failure| StartError { function, failure })
            }
        };
        futures::future::try_join_all(self.pools.values().map(warm)).await?;
        Ok(())
    }

    /// Invokes a function, waits for its answer, and never longer than the function's timeout (plus the wait for a
    /// free environment). Dropping the future does not stop an invocation that has begun.
    ///
    /// `function` is the logical id of the template.
    pub async fn invoke(&self, function: &str, payload: Bytes) -> Invocation {
        self.invoke_traced(function, payload, None).await
    }

    /// As [`Functions::invoke`], as a part of the trace that an `X-Amzn-Trace-Id` names.
    pub async fn invoke_traced(&self, function: &str, payload: Bytes, trace: Option<String>) -> Invocation {
        let Some(pool) = self.pools.get(function) else {
            return Invocation {
                request_id: uuid::Uuid::new_v4().to_string(),
                took: Duration::ZERO,
                outcome: InvocationOutcome::Unavailable(format!("no function is named {function}")),
            };
        };
        let job = Job::new(payload, trace.unwrap_or_else(new_trace));
        let request_id = job.request_id.clone();
        match pool.run(job).await {
            Ok(invocation) => invocation,
            Err(reason) => {
                self.history.add(pool.console(), Record::refused(&pool.function, &request_id, &reason));
                Invocation { request_id, took: Duration::ZERO, outcome: InvocationOutcome::Unavailable(reason) }
            }
        }
    }

    /// The last invocations.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Takes no more invocations, waits for those that run, at most for `grace`, and ends all processes.
    pub async fn stop(&self, grace: Duration) {
        for pool in self.pools.values() {
            pool.refuse();
        }
        // What has not finished by then is killed with its environment: the grace is a limit, not a promise.
        let _ = timeout(grace, futures::future::join_all(self.pools.values().map(|pool| pool.quiet()))).await;
        futures::future::join_all(self.pools.values().map(|pool| pool.end())).await;
    }
}

/// A trace id of X-Ray: version, time, 96 random bits.
pub(crate) fn new_trace() -> String {
    let seconds = time::OffsetDateTime::now_utc().unix_timestamp();
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!("Root=1-{seconds:08x}-{}", &random[..24])
}

/// The environments of one function.
#[derive(Debug)]
struct Pool {
    function: Function,
    executable: PathBuf,
    settings: FunctionSettings,
    history: Arc<History>,
    limit: usize,
    state: Mutex<State>,
    /// Told whenever an environment becomes free or ends.
    changed: Notify,
    /// True ends all environments.
    end: watch::Sender<bool>,
}

/// Environments are never dropped while this is locked: their end locks it too.
#[derive(Debug, Default)]
struct State {
    /// The one used last is last.
    idle: Vec<Environment>,
    waiting: VecDeque<oneshot::Sender<Result<Environment, String>>>,
    /// All there are: idle, busy, starting.
    total: usize,
    starting: usize,
    /// Those that have answered and will be free in a moment: no reason to start another.
    settling: usize,
    stopping: bool,
}

/// An environment's place in its pool, free again when it is dropped.
#[derive(Debug)]
struct Slot(Weak<Pool>);

impl Pool {
    fn new(function: Function, executable: PathBuf, settings: FunctionSettings, history: Arc<History>) -> Self {
        let limit = function.reserved_concurrency.unwrap_or(usize::MAX).min(settings.concurrency);
        let state = Mutex::new(State::default());
        let (changed, end) = (Notify::new(), watch::Sender::new(false));
        Self { function, executable, settings, history, limit, state, changed, end }
    }

    /// Starts an environment ahead of the first invocation.
    async fn warm(self: &Arc<Self>) -> Result<(), StartFailure> {
        if self.limit == 0 {
            return Ok(());
        }
        self.state().total += 1;
        let environment = self.start(Slot(Arc::downgrade(self))).await?;
        self.give_back(environment);
        Ok(())
    }

    /// Runs a job to its outcome. The error says why no environment took it.
    async fn run(self: &Arc<Self>, mut job: Job) -> Result<Invocation, String> {
        let (mut environment, running) = loop {
            let mut environment = self.environment().await?;
            match environment.hand_over(job).await {
                Ok(running) => break (environment, running),
                Err((untouched, how)) => {
                    self.console().event(format!("{}  its idle process ended ({how})", self.function.binary));
                    job = untouched;
                }
            }
        };
        let (answer, outcome) = oneshot::channel();
        let pool = Arc::clone(self);
        // A task of its own: an invocation that has begun goes on when its caller goes away.
        tokio::spawn(async move {
            let finished = environment.outcome(&running).await;
            pool.history.add(pool.console(), Record::finished(&pool.function, &finished));
            pool.state().settling += 1;
            // The caller may be gone.
            let _ = answer.send(finished.invocation);
            let settled = timeout(SETTLING, environment.settle(&running)).await;
            pool.state().settling -= 1;
            let settled = match settled {
                Ok(settled) => settled,
                Err(_) => {
                    pool.grow();
                    environment.settle(&running).await
                }
            };
            if settled {
                pool.give_back(environment);
            }
        });
        outcome.await.map_err(|_| STOPPING.to_owned())
    }

    /// An environment that is free: one that is there, one that becomes free, or a new one, whichever is first.
    async fn environment(self: &Arc<Self>) -> Result<Environment, String> {
        let free = {
            let mut state = self.state();
            if state.stopping {
                return Err(STOPPING.to_owned());
            }
            if let Some(environment) = state.idle.pop() {
                return Ok(environment);
            }
            state.waiting.retain(|waiting| !waiting.is_closed());
            if self.limit == 0 || state.waiting.len() >= QUEUE {
                return Err(format!(
                    "throttled: all environments ({}) are busy and {} invocations wait",
                    self.limit,
                    state.waiting.len()
                ));
            }
            let (sender, free) = oneshot::channel();
            state.waiting.push_back(sender);
            free
        };
        self.grow();
        free.await.map_err(|_| STOPPING.to_owned())?
    }

    /// Starts as many environments as invocations wait for, within the limit.
    fn grow(self: &Arc<Self>) {
        // Nothing grows while the runtime itself ends.
        let Ok(runtime) = Handle::try_current() else { return };
        loop {
            let mut state = self.state();
            if state.starting + state.settling >= state.waiting.len() || state.total >= self.limit {
                return;
            }
            state.total += 1;
            state.starting += 1;
            drop(state);
            let pool = Arc::clone(self);
            let slot = Slot(Arc::downgrade(self));
            runtime.spawn(async move {
                let started = pool.start(slot).await;
                pool.state().starting -= 1;
                match started {
                    Ok(environment) => pool.give_back(environment),
                    Err(failure) => {
                        let reason = format!("the function does not start: {failure}");
                        pool.console().warn(format!("{}  {reason}", pool.function.binary));
                        let waiting = pool.state().waiting.pop_front();
                        if let Some(waiting) = waiting {
                            // The caller may be gone.
                            let _ = waiting.send(Err(reason));
                        }
                        pool.grow();
                    }
                }
            });
        }
    }

    async fn start(&self, slot: Slot) -> Result<Environment, StartFailure> {
        Environment::start(&self.function, &self.executable, &self.settings, self.end.subscribe(), slot).await
    }

    /// Gives a free environment to the invocation that waits longest, or keeps it.
    fn give_back(&self, mut environment: Environment) {
        loop {
            let mut state = self.state();
            let Some(waiting) = state.waiting.pop_front() else {
                state.idle.push(environment);
                break;
            };
            drop(state);
            match waiting.send(Ok(environment)) {
                Err(Ok(back)) => environment = back,
                Err(Err(_)) | Ok(()) => return,
            }
        }
        self.changed.notify_waiters();
    }

    fn refuse(&self) {
        self.state().stopping = true;
    }

    /// Waits until nothing runs or waits.
    async fn quiet(&self) {
        self.until(|state| state.waiting.is_empty() && state.total == state.idle.len()).await;
    }

    /// Ends all environments and waits until they are gone.
    async fn end(&self) {
        self.end.send_replace(true);
        let idle = std::mem::take(&mut self.state().idle);
        drop(idle);
        // A killed process is gone at once; should one not be, the local cloud ends all the same.
        let _ = timeout(Duration::from_secs(2), self.until(|state| state.total == 0)).await;
    }

    async fn until(&self, condition: impl Fn(&State) -> bool) {
        loop {
            let changed = self.changed.notified();
            if condition(&self.state()) {
                return;
            }
            changed.await;
        }
    }

    fn console(&self) -> Console {
        self.settings.console
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that could panic halfway is done under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(pool) = self.0.upgrade() else { return };
        pool.state().total -= 1;
        pool.changed.notify_waiters();
        pool.grow();
    }
}
