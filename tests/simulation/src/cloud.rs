//! The functions as Lambda runs them: environments that serve one invocation at a time, are started when all are busy,
//! are lost, freeze, have a clock that is set, and are killed at their time-out.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use alerts::Alerts;
use clinical::studies::Escalation;
use drafts::Drafts;
use due::Due;
use harness::World;
use invocation::Deadline;
use registry::Registry;
use score::Score;
use submit::Submit;
use sweep::Sweep;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use crate::clock;
use crate::dice::Dice;
use crate::journal::Journal;
use crate::network::Gone;
use crate::plan::{Plan, Weather, WeatherFault};

/// A function of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Name {
    /// Behind the API.
    Submit,
    /// On the stream.
    Score,
    /// On the schedule.
    Sweep,
    /// Behind the API.
    Alerts,
    /// Behind the API.
    Registry,
    /// Behind the API.
    Due,
    /// Behind the API.
    Drafts,
}

impl Name {
    fn as_str(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Score => "score",
            Self::Sweep => "sweep",
            Self::Alerts => "alerts",
            Self::Registry => "registry",
            Self::Due => "due",
            Self::Drafts => "drafts",
        }
    }

    fn is_behind_the_api(self) -> bool {
        !matches!(self, Self::Score | Self::Sweep)
    }

    /// The time-out in the template.
    fn timeout(self) -> Duration {
        Duration::from_secs(match self {
            Self::Score => 60,
            Self::Sweep => 50,
            _ => 10,
        })
    }

    fn reserve(self) -> Duration {
        if self.is_behind_the_api() { Deadline::API_RESERVE } else { Deadline::STREAM_RESERVE }
    }
}

/// The handler of an environment.
#[allow(missing_docs, reason = "each is the handler of that name")]
pub enum Handler {
    Submit(Submit),
    Score(Score),
    Sweep(Sweep),
    Alerts(Alerts),
    Registry(Registry),
    Due(Due),
    Drafts(Drafts),
}

/// An environment of a function.
pub struct Environment {
    name: Name,
    number: u32,
    /// Its handler, with what it keeps between invocations.
    pub handler: Handler,
    /// Milliseconds that its clock is fast.
    clock: Cell<i64>,
    busy: Cell<bool>,
}

/// How an invocation ended.
#[derive(Debug)]
pub enum Ended<T> {
    /// The handler returned.
    Returned(T),
    /// It was killed at its time-out.
    TimedOut,
    /// Its environment was lost.
    Lost,
}

/// The most by which the clock of an environment is wrong, in milliseconds: steps add up, and what is due by a clock that
/// is hours behind waits for as long.
const WORST_CLOCK: i64 = 3_600_000;

/// Something that happens to one invocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// Nothing.
    None,
    /// Its environment is lost after that many polls.
    LostAt(u32),
    /// After that many polls, its environment does not run for some time.
    FrozenAt(u32, Duration),
    /// After that many polls, its clock is set by so many milliseconds.
    ClockSetAt(u32, i64),
    /// It has only this long.
    Short(Duration),
}

/// All environments.
pub struct Cloud {
    world: World,
    escalation: Escalation,
    run: u64,
    gone: Gone,
    weather: Vec<Weather>,
    dice: RefCell<Dice>,
    environments: RefCell<Vec<Rc<Environment>>>,
    started: Cell<u32>,
    invocations: Cell<u32>,
    requests: Cell<u32>,
    /// The index of an invocation that is lost, and after how many polls.
    lost: Option<(u32, u32)>,
    journal: Journal,
}

impl Cloud {
    /// A cloud without environments, for a `run` of this process. The invocation `lost`, by its index, is lost after that
    /// many polls.
    pub fn new(world: World, run: u64, plan: &Plan, gone: Gone, lost: Option<(u32, u32)>, journal: Journal) -> Self {
        Self {
            world,
            escalation: Escalation { after_minutes: plan.escalation_minutes, limit: plan.escalation_limit },
            run,
            gone,
            weather: plan.weather.clone(),
            dice: RefCell::new(Dice::of(plan.seed, "cloud")),
            environments: RefCell::default(),
            started: Cell::new(0),
            invocations: Cell::new(0),
            requests: Cell::new(0),
            lost,
            journal,
        }
    }

    /// Sets the clock of every environment right, as its host does after a while.
    pub fn set_clocks(&self) {
        for environment in self.environments.borrow().iter() {
            environment.clock.set(0);
        }
    }

    /// The number of invocations so far.
    pub fn invocations(&self) -> u32 {
        self.invocations.get()
    }

    /// The environments that are gone.
    pub fn gone(&self) -> Gone {
        self.gone.clone()
    }

    /// The number of requests to the API so far, each as often as sites count it.
    pub fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// A request to the API is made that so many `sites` count.
    pub fn requested(&self, sites: u32) {
        self.requests.set(self.requests.get() + sites);
    }

    /// Invokes `name`: `work` gets the environment, and what remains until the invocation is killed.
    pub async fn invoke<T, F>(&self, name: Name, work: impl FnOnce(Rc<Environment>, Duration) -> F) -> Ended<T>
    where
        T: 'static,
        F: Future<Output = T> + 'static,
    {
        let environment = self.environment(name).await;
        let index = self.invocations.replace(self.invocations.get() + 1);
        let mishap = match self.lost {
            Some((lost, at)) if lost == index => Mishap::LostAt(at),
            _ => self.mishap(),
        };
        let mut limit = name.timeout();
        if let Mishap::Short(short) = mishap {
            limit = short.min(limit);
            self.journal.met("fault: deadline shortened");
        }
        // Its clocks stand still while it is frozen: when it goes on, it believes that it has as much time as before.
        let believed = if let Mishap::FrozenAt(_, lasts) = mishap { limit + lasts } else { limit };
        let label = format!("{}#{}", name.as_str(), environment.number);
        let (returned, result) = oneshot::channel();
        let running = Running {
            work: Some(Box::pin(clock::with_offset(environment.clock.get(), || {
                work(Rc::clone(&environment), believed)
            }))),
            environment: Rc::clone(&environment),
            mishap,
            polls: 0,
            frozen: None,
            label: label.clone(),
            journal: self.journal.clone(),
        };
        let started = Instant::now();
        let task = tokio::task::spawn_local(async move {
            let ended = running.await;
            let _ = returned.send((ended, started.elapsed()));
        });
        match timeout(limit, result).await {
            Ok(Ok((Some(value), took))) => {
                let frozen = matches!(mishap, Mishap::FrozenAt(..));
                // A millisecond is the resolution of Tokio's timers.
                let most = limit.saturating_sub(name.reserve()) + Duration::from_millis(2);
                if took > most && !frozen && limit > name.reserve() {
                    self.journal.violation(format!("promise 6: {label} answered after {took:?} of {limit:?}"));
                }
                environment.busy.set(false);
                Ended::Returned(value)
            }
            Ok(Ok((None, _))) | Ok(Err(_)) => {
                self.remove(&environment);
                self.gone.add(self.region(environment.number));
                Ended::Lost
            }
            Err(_) => {
                let frozen = matches!(mishap, Mishap::FrozenAt(..));
                if !frozen && limit > name.reserve() {
                    self.journal.violation(format!("promise 6: {label} had to be killed after {limit:?}"));
                }
                self.journal.note(format!("cloud: {label} is killed after {limit:?}"));
                self.journal.met("branch: killed at the time-out");
                self.remove(&environment);
                // A frozen one is not killed: it goes on when it thaws, while others have long repeated its work.
                if !frozen {
                    task.abort();
                    self.gone.add(self.region(environment.number));
                }
                Ended::TimedOut
            }
        }
    }

    /// The region of an environment. Each process has a budget of retries of its own, which the SDK keeps by region, for
    /// all runs of this process.
    fn region(&self, environment: u32) -> String {
        format!("sim-{}-{environment}", self.run)
    }

    fn remove(&self, environment: &Rc<Environment>) {
        self.environments.borrow_mut().retain(|known| !Rc::ptr_eq(known, environment));
    }

    async fn environment(&self, name: Name) -> Rc<Environment> {
        let free = {
            let environments = self.environments.borrow();
            environments.iter().find(|known| known.name == name && !known.busy.get()).cloned()
        };
        if let Some(free) = free {
            free.busy.set(true);
            return free;
        }
        let number = self.started.get() + 1;
        self.started.set(number);
        let region = self.region(number);
        let store = self.world.store_in(&region);
        let handler = match name {
            Name::Submit => Handler::Submit(Submit::new(store)),
            Name::Score => Handler::Score(Score::new(store, self.world.topic_in(&region))),
            Name::Sweep => {
                let (topic, reminders) = (self.world.topic_in(&region), self.world.reminder_topic_in(&region));
                Handler::Sweep(Sweep::new(store, topic, reminders, self.escalation))
            }
            Name::Alerts => Handler::Alerts(Alerts::new(store)),
            Name::Registry => Handler::Registry(Registry::new(store)),
            Name::Due => Handler::Due(Due::new(store)),
            Name::Drafts => Handler::Drafts(Drafts::new(store)),
        };
        let environment = Rc::new(Environment { name, number, handler, clock: Cell::new(0), busy: Cell::new(true) });
        self.environments.borrow_mut().push(Rc::clone(&environment));
        let start = self.dice.borrow_mut().within(5..=300);
        sleep(Duration::from_millis(start)).await;
        environment
    }

    /// What the weather does to an invocation that starts now.
    fn mishap(&self) -> Mishap {
        let now = clock::elapsed().as_secs();
        let mut dice = self.dice.borrow_mut();
        for weather in self.weather.iter().filter(|weather| (weather.from..weather.to).contains(&now)) {
            // Most invocations have few awaits, some have many.
            let most = *dice.pick(&[6, 20, 60]);
            let at = dice.below(most) as u32;
            if !dice.one_in(weather.one_in) {
                continue;
            }
            return match weather.fault {
                WeatherFault::Crash => Mishap::LostAt(at),
                WeatherFault::Freeze => Mishap::FrozenAt(at, Duration::from_secs(dice.within(1..=300))),
                WeatherFault::ClockStep => {
                    // Not before its first poll: it takes the deadline from the context first of all.
                    Mishap::ClockSetAt(at.max(1), *dice.pick(&[-3_600_000, -30_000, -700, 800, 30_000, 3_600_000]))
                }
                WeatherFault::ShortDeadline => Mishap::Short(Duration::from_millis(dice.within(50..=6_000))),
                _ => continue,
            };
        }
        Mishap::None
    }
}

/// An invocation that runs.
struct Running<T> {
    work: Option<Pin<Box<dyn Future<Output = T>>>>,
    environment: Rc<Environment>,
    mishap: Mishap,
    polls: u32,
    frozen: Option<Pin<Box<tokio::time::Sleep>>>,
    label: String,
    journal: Journal,
}

impl<T> Future for Running<T> {
    /// `None`: its environment was lost.
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<Self::Output> {
        if let Some(frozen) = &mut self.frozen {
            if frozen.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            self.frozen = None;
        }
        self.polls += 1;
        let polls = self.polls;
        match self.mishap {
            Mishap::LostAt(at) if polls > at => {
                self.journal.met("fault: environment lost at an await");
                self.journal.note(format!("cloud: {} is lost at its await {at}", self.label));
                self.work = None;
                return Poll::Ready(None);
            }
            Mishap::FrozenAt(at, lasts) if polls == at + 1 => {
                self.journal.met("fault: environment frozen");
                self.journal.note(format!("cloud: {} is frozen at its await {at} for {lasts:?}", self.label));
                let mut thaw = Box::pin(sleep(lasts));
                if thaw.as_mut().poll(context).is_pending() {
                    self.frozen = Some(thaw);
                    return Poll::Pending;
                }
            }
            Mishap::ClockSetAt(at, by) if polls == at + 1 => {
                self.journal.met("fault: clock of an environment stepped");
                self.journal.note(format!("cloud: the clock of {} is set by {by} ms", self.label));
                let offset = self.environment.clock.get() + by;
                self.environment.clock.set(offset.clamp(-WORST_CLOCK, WORST_CLOCK));
            }
            _ => {}
        }
        let offset = self.environment.clock.get();
        let Some(work) = self.work.as_mut() else { return Poll::Ready(None) };
        clock::with_offset(offset, || work.as_mut().poll(context)).map(Some)
    }
}
