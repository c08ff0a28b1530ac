//! The functions: their environments, their invocations, and the outcome of each.
//!
//! As in Lambda, an environment is one process that serves one invocation at a time over a Runtime API of its own.
//! A new environment starts when all are busy, up to a limit. At the limit invocations wait in a queue, and are refused
//! when it is full. The environment that was used last is used first.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::timeout;

use crate::clock;
use crate::console::Console;
use crate::feed::{Event, Feed, now};
use crate::template::Function;
pub use cause::Cause;
use environment::{Environment, Job, StartFailure};
pub use history::{History, Record, Totals};
pub use processes::{Processes, RunningProcess};

mod cause;
mod environment;
mod history;
mod processes;

/// Invocations of one function that may wait for a free environment.
const QUEUE: usize = 1000;

/// How long an environment that has returned a result may take to ask for more before another is started.
const SETTLING: Duration = Duration::from_millis(100);

const STOPPING: &str = "the local cloud is stopping";

/// All functions of the template with their environments. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Functions {
    pools: Arc<BTreeMap<String, Arc<Pool>>>,
    history: Arc<History>,
    processes: Processes,
    variables: Variables,
    preloaded: Preloaded,
}

/// Variables of every function in addition to the template's, as [`Functions::replace_variables`] set them last.
type Variables = Arc<Mutex<BTreeMap<String, String>>>;

/// Variables of every process in addition to these, as [`Functions::preload`] set them.
type Preloaded = Arc<OnceLock<BTreeMap<String, String>>>;

/// How functions are run.
#[derive(Debug, Clone)]
pub struct FunctionSettings {
    /// The most environments of one function; its `ReservedConcurrentExecutions` may lower it.
    pub concurrency: usize,
    /// Variables of every function in addition to the template's: credentials, region and endpoints.
    pub environment: BTreeMap<String, String>,
    /// The path of this program, whose `environment` subcommand starts processes that end with this one. Without it, a
    /// function that hangs outlives a local cloud that is killed.
    pub launcher: Option<PathBuf>,
    /// Where log lines and invocations are shown.
    pub console: Console,
    /// Where invocations and metrics are added.
    pub feed: Feed,
}

/// One finished invocation.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's request id (a UUID).
    pub request_id: String,
    /// From handing the event to the environment until the outcome.
    pub took: Duration,
    /// How it ended.
    pub outcome: InvocationOutcome,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationOutcome {
    /// The function returned this payload.
    Answer(Bytes),
    /// The function reported an error (`{"errorType", "errorMessage", ...}`): an unhandled error or a panic.
    FunctionError(Bytes),
    /// It exceeded its timeout and was killed.
    TimedOut,
    /// Its process ended during the invocation.
    Crashed,
    /// No environment took it, and the function has not seen the event. The text is the reason: all environments busy
    /// and the queue full (throttled), the function does not start, or the local cloud is stopping.
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
    /// The functions with their executables. None runs yet: environments start on demand.
    pub fn new(functions: impl IntoIterator<Item = (Function, PathBuf)>, settings: FunctionSettings) -> Self {
        let history = Arc::new(History::new(settings.feed.clone()));
        let variables: Variables = Arc::new(Mutex::new(settings.environment.clone()));
        let processes = Processes::default();
        let preloaded = Preloaded::default();
        let pools = functions
            .into_iter()
            .map(|(function, executable)| {
                let name = function.name.clone();
                (
                    name,
                    Arc::new(Pool::new(
                        function,
                        executable,
                        settings.clone(),
                        Arc::clone(&history),
                        processes.clone(),
                        Arc::clone(&variables),
                        Arc::clone(&preloaded),
                    )),
                )
            })
            .collect();
        Self { pools: Arc::new(pools), history, processes, variables, preloaded }
    }

    /// Starts one environment of each function and waits until all are initialised.
    ///
    /// # Errors
    /// If an environment does not initialise.
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

    /// Invokes a function and waits for the outcome, at most for the function's timeout plus the wait for a free
    /// environment. Dropping the future does not stop an invocation that has begun.
    ///
    /// `function` is the logical id of the template.
    pub async fn invoke(&self, function: &str, payload: Bytes) -> Invocation {
        self.invoke_traced(function, payload, None).await
    }

    /// As [`Functions::invoke`], within the trace of an `X-Amzn-Trace-Id` header.
    pub async fn invoke_traced(&self, function: &str, payload: Bytes, trace: Option<String>) -> Invocation {
        let Some(pool) = self.pools.get(function) else {
            return Invocation {
                request_id: uuid::Uuid::new_v4().to_string(),
                took: Duration::ZERO,
                outcome: InvocationOutcome::Unavailable(format!("there is no function {function}")),
            };
        };
        let job = Job::new(payload, trace.unwrap_or_else(new_trace));
        let (request_id, cause) = (job.request_id.clone(), Cause::of(&job.payload));
        match pool.run(job, cause.clone()).await {
            Ok(invocation) => invocation,
            Err(reason) => {
                self.history.add(pool.console(), Record::refused(&pool.function, &request_id, &reason, cause));
                Invocation { request_id, took: Duration::ZERO, outcome: InvocationOutcome::Unavailable(reason) }
            }
        }
    }

    /// Replaces the variables of [`FunctionSettings::environment`]. As after a change of a function's configuration,
    /// invocations that begin later meet new environments; running ones finish in the old.
    pub fn replace_variables(&self, variables: BTreeMap<String, String>) {
        *self.variables.lock().unwrap_or_else(PoisonError::into_inner) = variables;
        self.retire();
    }

    /// Sets variables of the processes themselves, such as `LD_PRELOAD`, once. Invocations that begin later meet new
    /// environments.
    pub fn preload(&self, variables: BTreeMap<String, String>) {
        // They are set once: a second caller sets the same.
        let _ = self.preloaded.set(variables);
        self.retire();
    }

    /// Lets invocations that begin later meet new environments, which remember nothing of the old.
    pub fn retire(&self) {
        for pool in self.pools.values() {
            pool.retire();
        }
    }

    /// The latest invocations.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The functions' processes that run now.
    pub fn processes(&self) -> &Processes {
        &self.processes
    }

    /// Refuses further invocations, waits at most `grace` for running ones, and ends all processes.
    pub async fn stop(&self, grace: Duration) {
        for pool in self.pools.values() {
            pool.refuse();
        }
        // Invocations that take longer are killed with their environments: the grace is a limit, not a promise.
        let _ = timeout(grace, futures::future::join_all(self.pools.values().map(|pool| pool.quiet()))).await;
        futures::future::join_all(self.pools.values().map(|pool| pool.end())).await;
    }
}

/// A new X-Ray trace id: version, time, 96 random bits.
pub(crate) fn new_trace() -> String {
    let seconds = clock::now().unix_timestamp();
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
    processes: Processes,
    variables: Variables,
    preloaded: Preloaded,
    limit: usize,
    state: Mutex<State>,
    /// Notified whenever an environment becomes free or ends.
    changed: Notify,
    /// Set to true to end all environments.
    end: watch::Sender<bool>,
}

/// No environment may be dropped while the state is locked: dropping one locks it too.
#[derive(Debug, Default)]
struct State {
    /// The environment used last is last.
    idle: Vec<Environment>,
    waiting: VecDeque<oneshot::Sender<Result<Environment, String>>>,
    /// All environments: idle, busy and starting.
    total: usize,
    starting: usize,
    /// Environments that have returned a result and are about to be free: no reason to start another.
    settling: usize,
    stopping: bool,
    /// How often the environments were retired: one that started before the last time serves no further invocation.
    generation: u64,
}

/// An environment's place in its pool, which dropping it frees.
#[derive(Debug)]
struct Slot {
    pool: Weak<Pool>,
    generation: u64,
}

impl Pool {
    fn new(
        function: Function,
        executable: PathBuf,
        settings: FunctionSettings,
        history: Arc<History>,
        processes: Processes,
        variables: Variables,
        preloaded: Preloaded,
    ) -> Self {
        let limit = function.reserved_concurrency.unwrap_or(usize::MAX).min(settings.concurrency);
        let state = Mutex::new(State::default());
        let (changed, end) = (Notify::new(), watch::Sender::new(false));
        Self { function, executable, settings, history, processes, variables, preloaded, limit, state, changed, end }
    }

    /// Starts an environment before the first invocation.
    async fn warm(self: &Arc<Self>) -> Result<(), StartFailure> {
        if self.limit == 0 {
            return Ok(());
        }
        let slot = self.slot(&mut self.state());
        let environment = self.start(slot).await?;
        self.give_back(environment);
        Ok(())
    }

    /// Runs a job to its outcome. The error is the reason why no environment took it.
    async fn run(self: &Arc<Self>, mut job: Job, cause: Cause) -> Result<Invocation, String> {
        let (mut environment, running) = loop {
            let mut environment = self.environment().await?;
            match environment.hand_over(job).await {
                Ok(running) => break (environment, running),
                Err((untouched, how)) => {
                    self.console()
                        .event(format!("{}  its idle process ended ({how}); another is started", self.function.binary));
                    job = untouched;
                }
            }
        };
        self.settings.feed.add(&Event::Started {
            function: self.function.binary.clone(),
            request_id: running.request_id().to_owned(),
            started_at: now(),
            timeout_ms: history::millis(self.function.timeout),
            cold: environment.is_cold(),
            cause: cause.clone(),
        });
        let (answer, outcome) = oneshot::channel();
        let pool = Arc::clone(self);
        // A task of its own, because an invocation that has begun continues when its caller goes away.
        tokio::spawn(async move {
            let finished = environment.outcome(&running).await;
            pool.history.add(pool.console(), Record::finished(&pool.function, &finished, cause));
            pool.state().settling += 1;
            // The caller may have gone away.
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

    /// A free environment: an idle one, or a busy or new one as soon as it is free.
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

    /// Starts as many environments as invocations wait for, up to the limit.
    fn grow(self: &Arc<Self>) {
        // Without a runtime the process is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        loop {
            let mut state = self.state();
            if state.starting + state.settling >= state.waiting.len() || state.total >= self.limit {
                return;
            }
            let slot = self.slot(&mut state);
            state.starting += 1;
            drop(state);
            let pool = Arc::clone(self);
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
                            // The caller may have gone away.
                            let _ = waiting.send(Err(reason));
                        }
                        pool.grow();
                    }
                }
            });
        }
    }

    async fn start(&self, slot: Slot) -> Result<Environment, StartFailure> {
        let Self { function, executable, settings, processes, variables, preloaded, .. } = self;
        let mut variables = variables.lock().unwrap_or_else(PoisonError::into_inner).clone();
        variables.extend(preloaded.get().cloned().unwrap_or_default());
        let settings = FunctionSettings { environment: variables, ..settings.clone() };
        Environment::start(function, executable, &settings, processes, self.end.subscribe(), slot).await
    }

    /// Hands a free environment to the invocation that has waited longest, or keeps it idle.
    fn give_back(&self, mut environment: Environment) {
        loop {
            let mut state = self.state();
            if environment.generation() != state.generation {
                drop(state);
                // Its place becomes free, for a new environment if an invocation waits.
                drop(environment);
                return;
            }
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

    /// Ends the idle environments, and each busy one once it is free.
    fn retire(&self) {
        let mut state = self.state();
        state.generation += 1;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        drop(idle);
    }

    /// A place for one more environment.
    fn slot(self: &Arc<Self>, state: &mut State) -> Slot {
        state.total += 1;
        Slot { pool: Arc::downgrade(self), generation: state.generation }
    }

    fn refuse(&self) {
        self.state().stopping = true;
    }

    /// Waits until no invocation runs or waits.
    async fn quiet(&self) {
        self.until(|state| state.waiting.is_empty() && state.total == state.idle.len()).await;
    }

    /// Ends all environments and waits until their processes have ended.
    async fn end(&self) {
        self.end.send_replace(true);
        let idle = std::mem::take(&mut self.state().idle);
        drop(idle);
        // A killed process ends at once. If one does not, the local cloud ends without waiting for it.
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
        // Code under the lock does not panic, so a poisoned state is consistent.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(pool) = self.pool.upgrade() else { return };
        pool.state().total -= 1;
        pool.changed.notify_waiters();
        pool.grow();
    }
}
