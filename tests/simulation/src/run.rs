//! Runs a plan: the world, the functions, the stream, the phones, the schedule and the clinicians; then fair weather until
//! nothing waits any more; then the checks.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use harness::{Path, World, context};
use invocation::{Environment, telemetry};
use lambda_runtime::LambdaEvent;
use local::failures::Failures;
use local::stream::Streams;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until};

use crate::clinicians::Snoozed;
use crate::cloud::{Cloud, Ended, Handler, Name};
use crate::dice::Dice;
use crate::journal::{Journal, Pages};
use crate::network::{Gone, Network};
use crate::phone::{NEWER, OLDER, Phones, SECRET};
use crate::plan::{Happening, Plan, WeatherFault};
use crate::study::{self, instrument};
use crate::{checks, clock, panics};

/// How long the world may take to settle in fair weather.
const LONGEST_SETTLING: u64 = 6 * 3_600;
/// For how long most plans last.
const A_FEW_HOURS: Duration = Duration::from_secs(4 * 3_600);
/// The sort key of a record that cannot be read.
pub(crate) const BAD_RECORD: &str = "SUBMISSION#bad";
/// How long the stream loses its records once it does.
pub(crate) const OUT_OF_RETENTION: Duration = Duration::from_secs(300);
/// The number of runs of `sweep` that find the same, after which the next one is like them.
const RUNS_ALIKE: u32 = 5;
/// How long eventually consistent reads may be behind, and frozen environments may go on.
const AFTERMATH: Duration = Duration::from_secs(420);
/// Longer than a run of `sweep`, before which nothing becomes due any more.
const QUIET: Duration = Duration::from_secs(120);

/// Runs `plan` on a thread of its own.
pub fn run(plan: &Plan) -> Pages {
    run_losing(plan, None)
}

/// Runs `plan` on a thread of its own. The invocation `lost`, by its index, loses its environment after that many polls.
pub fn run_losing(plan: &Plan, lost: Option<(u32, u32)>) -> Pages {
    static WARM: Once = Once::new();
    // What is made once a process would be made by the first plan, with its randomness: the same plan could have another
    // history as the second one.
    WARM.call_once(|| {
        panics::record();
        run_once(&Plan::of(0), None);
    });
    run_once(plan, lost)
}

fn run_once(plan: &Plan, lost: Option<(u32, u32)>) -> Pages {
    determinism::run(plan.seed, clock::time_of_day, || simulate(plan, lost))
}

/// A running simulation.
pub struct Simulation {
    /// AWS.
    pub world: World,
    /// The functions.
    pub cloud: Rc<Cloud>,
    /// The phones.
    pub phones: Rc<Phones>,
    /// What is written down.
    pub journal: Journal,
    /// What the mapping of the stream has given up.
    pub failures: Failures,
    /// The number of this run in this process.
    pub number: u64,
    plan: Plan,
    /// The alerts that clinicians acknowledged.
    pub(crate) acknowledged: RefCell<BTreeSet<String>>,
    /// The snoozes that were answered.
    pub(crate) snoozed: RefCell<Vec<Snoozed>>,
    /// When the runs of `sweep` began that worked off all that was due.
    pub(crate) swept: RefCell<Vec<OffsetDateTime>>,
    /// Whether the checks begin: clinicians begin no review any more.
    pub(crate) is_over: Cell<bool>,
    /// What is stored once the world has settled, by kind.
    settled: OnceCell<BTreeMap<String, Vec<Value>>>,
    /// The versions of the study that were put in force after the first.
    pub(crate) versions: Cell<u32>,
}

/// Runs `plan` on this thread.
fn simulate(plan: &Plan, lost: Option<(u32, u32)>) -> Pages {
    let journal = Journal::default();
    let log = Log::default();
    let lines = log.clone();
    // As in production, with a tenth of the invocations sampled, and all functions in one log.
    let own = [
        "submit",
        "score",
        "sweep",
        "alerts",
        "registry",
        "due",
        "drafts",
        "api",
        "scoring",
        "scheduling",
        "records",
        "notifications",
        "invocation",
    ];
    let environment = Environment::from_iter([("POWERTOOLS_LOGGER_SAMPLE_RATE", "0.1")]);
    let subscriber = telemetry::subscriber(&environment, "simulation", &own, move |line| lines.add(line));
    tracing::subscriber::with_default(subscriber, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without input and output needs no resources");
        let local = LocalSet::new();
        local.block_on(&runtime, whole(plan.clone(), lost, journal.clone(), log.clone()));
    });
    std::mem::take(&mut *journal.pages())
}

async fn whole(plan: Plan, lost: Option<(u32, u32)>, journal: Journal, log: Log) {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    clock::start();
    panics::begin();
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let world = World::new();
    world.connect(|_| Path::default());
    for version in [OLDER, NEWER] {
        world.put_instrument(&instrument(version)).await;
    }
    world.put_study(study::first(&plan)).await;
    let gone = Gone::default();
    let mut network = Network::of(&plan, gone.clone(), journal.clone());
    world.connect(move |call| network.path(call));
    let cloud = Rc::new(Cloud::new(world.clone(), number, &plan, gone, lost, journal.clone()));
    let phones = Rc::new(Phones::new(Rc::clone(&cloud), &plan, journal.clone()));
    let simulation = Rc::new(Simulation {
        world,
        cloud,
        phones,
        journal,
        failures: Failures::new(None),
        number,
        plan,
        acknowledged: RefCell::default(),
        snoozed: RefCell::default(),
        swept: RefCell::default(),
        is_over: Cell::new(false),
        settled: OnceCell::new(),
        versions: Cell::new(0),
    });
    simulation.live(&log).await;
    for panic in panics::take() {
        simulation.journal.violation(format!("something panicked: {panic}"));
    }
    simulation.journal.pages().invocations = simulation.cloud.invocations();
}

impl Simulation {
    async fn live(self: &Rc<Self>, log: &Log) {
        let reader = self.read_stream("first").await;
        let mut tasks: Vec<JoinHandle<()>> = Vec::new();
        for action in self.plan.actions.clone() {
            let this = Rc::clone(self);
            tasks.push(spawn_local(async move {
                at(action.at).await;
                this.phones.act(&action).await;
            }));
        }
        let second = Rc::new(RefCell::new(None));
        for event in self.plan.events.clone() {
            let (this, second) = (Rc::clone(self), Rc::clone(&second));
            tasks.push(spawn_local(async move {
                at(event.at).await;
                this.happen(event.what, &second).await;
            }));
        }
        let (sweeper, clinicians) = (Rc::clone(self), Rc::clone(self));
        let sweeper = spawn_local(async move { sweeper.sweep_on_schedule().await });
        let clinicians = spawn_local(async move { clinicians.review_alerts().await });
        for task in join_all(tasks).await {
            if let Err(error) = task {
                self.journal.violation(format!("an action did not end: {error}"));
            }
        }
        at(self.plan.length()).await;
        self.cloud.set_clocks();
        self.journal.note("the weather is fair from now on");
        // What wakes up in the aftermath is worked off, too.
        while self.settle().await {
            sleep(AFTERMATH).await;
            if self.waiting(QUIET) == 0 {
                break;
            }
        }
        clinicians.abort();
        sweeper.abort();
        self.is_over.set(true);
        // The last run of sweep and the last review of an alert end.
        sleep(QUIET / 2).await;
        checks::check(self, log).await;
        reader.stop().await;
        let second = second.take();
        if let Some(second) = second {
            Streams::stop(second).await;
        }
    }

    /// The alerts that clinicians acknowledged.
    pub fn acknowledged(&self) -> BTreeSet<String> {
        self.acknowledged.borrow().clone()
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The items of `kind` that are stored once the world has settled: checks read the table once.
    pub(crate) fn settled(&self, kind: &str) -> &[Value] {
        let settled = self.settled.get_or_init(|| {
            let mut by_kind: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for item in self.world.all_items() {
                by_kind.entry(item["kind"].as_str().unwrap_or_default().to_owned()).or_default().push(item);
            }
            by_kind
        });
        settled.get(kind).map_or(&[], Vec::as_slice)
    }

    /// Waits until nothing waits any more. Returns whether that came.
    async fn settle(&self) -> bool {
        for _ in 0..LONGEST_SETTLING / 60 {
            if self.waiting(Duration::ZERO) == 0 {
                return true;
            }
            sleep(Duration::from_secs(60)).await;
        }
        self.journal.violation(format!("promises 2 and 4: {} items wait for ever", self.waiting(Duration::ZERO)));
        false
    }

    /// The number of items with something still to do. Occurrences and plans wait on their list until their time comes:
    /// those count whose time comes within `ahead`.
    fn waiting(&self, ahead: Duration) -> usize {
        let until = sortable(clock::now() + ahead);
        let counts = |list: &str, since: &String| match list.split('#').next() {
            Some("QUARANTINE") => false,
            Some("DUE") => *since <= until,
            _ => true,
        };
        self.world.pending().iter().filter(|(list, since)| counts(list, since)).count()
    }

    /// What a run of `sweep` would find.
    fn due(&self) -> Vec<(String, String)> {
        let now = clock::now();
        let (now, waiting) = (sortable(now), sortable(now - Duration::from_secs(175)));
        let is_due = |list: &str, since: &String| match list.split('#').next() {
            Some("OPEN" | "DUE") => *since <= now,
            Some("PENDING") => *since <= waiting,
            _ => false,
        };
        self.world.pending().into_iter().filter(|(list, since)| is_due(list, since)).collect()
    }

    /// Whether clocks of environments are set at some time.
    pub(crate) fn has_clock_steps(&self) -> bool {
        self.plan.weather.iter().any(|weather| weather.fault == WeatherFault::ClockStep)
    }

    /// Whether clocks are set now: a sweep whose clock is fast finds what is not due yet.
    fn has_wrong_clocks(&self) -> bool {
        let now = clock::elapsed().as_secs();
        let mut weather = self.plan.weather.iter().filter(|weather| (weather.from..weather.to).contains(&now));
        weather.any(|weather| weather.fault == WeatherFault::ClockStep)
    }

    /// Invokes `sweep` each minute. Most runs are left out that would find nothing, or do what the one before them did,
    /// since they cost time and show nothing.
    async fn sweep_on_schedule(self: &Rc<Self>) {
        let mut dice = Dice::of(self.plan.seed, "schedule");
        let (mut found, mut runs_alike) = (Vec::new(), 0);
        loop {
            sleep(Duration::from_secs(60)).await;
            // Over days, hardly any.
            let one_in = if clock::elapsed() < A_FEW_HOURS { 60 } else { 500 };
            // What sweep has not worked off by now, as in an outage, it seldom does in the next minute.
            let due = self.due();
            runs_alike = if due == found { runs_alike + 1 } else { 0 };
            found = due;
            let is_due = !found.is_empty() && (runs_alike < RUNS_ALIKE || dice.one_in(6));
            if is_due || (self.has_wrong_clocks() && dice.one_in(3)) || dice.one_in(one_in) {
                let this = Rc::clone(self);
                spawn_local(async move { this.sweep(json!({})).await });
            }
        }
    }

    /// Invokes `sweep` once.
    pub async fn sweep(&self, event: Value) {
        let began = clock::now();
        let ended = self.cloud.invoke(Name::Sweep, move |environment, remaining| {
            let event = LambdaEvent::new(event, context(remaining));
            async move {
                let Handler::Sweep(sweep) = &environment.handler else { unreachable!("it is a sweep") };
                Box::pin(sweep.handle(event)).await
            }
        });
        match ended.await {
            Ended::Returned(Ok(summary)) => {
                self.journal.note(format!("sweep: {summary:?}"));
                if summary.finished {
                    self.swept.borrow_mut().push(began);
                }
                let mut pages = self.journal.pages();
                pages.coverage.add("branch: swept submission", summary.submissions);
                pages.coverage.add("branch: swept course", summary.courses);
                pages.coverage.add("branch: swept alert", summary.alerts);
                pages.coverage.add("branch: escalated", summary.escalated);
                pages.coverage.add("branch: exhausted", summary.exhausted);
                pages.coverage.add("branch: occurrence made or moved", summary.made);
                pages.coverage.add("branch: reminded", summary.reminded);
                pages.coverage.add("branch: window found missed", summary.missed);
            }
            Ended::Returned(Err(error)) => self.journal.note(format!("sweep: {error}")),
            Ended::TimedOut | Ended::Lost => self.journal.note("sweep: no result"),
        }
    }

    async fn happen(self: &Rc<Self>, what: Happening, second: &RefCell<Option<Streams>>) {
        self.journal.note(format!("event: {what:?}"));
        match what {
            Happening::SplitShard => {
                self.world.split_shard(self.plan.seed as usize);
                self.journal.met("fault: shard split");
            }
            Happening::SecondReader => {
                if second.borrow().is_none() {
                    let reader = self.read_stream("second").await;
                    *second.borrow_mut() = Some(reader);
                    self.journal.met("fault: second reader of the stream");
                }
            }
            Happening::BadRecord => {
                let image = json!({"kind": {"S": "submission"}, "pk": {"S": "x"}, "answers": {"S": SECRET}});
                let keys = json!({"pk": {"S": "PATIENT#DEMO#X"}, "sk": {"S": BAD_RECORD}});
                self.world.inject_record(json!({
                    "eventName": "INSERT", "eventSource": "aws:dynamodb", "awsRegion": "eu-central-1",
                    "dynamodb": {"Keys": keys, "NewImage": image, "ApproximateCreationDateTime": now_seconds()},
                }));
                self.journal.met("fault: record not readable");
            }
            Happening::Trim => {
                self.world.trim_stream();
                self.journal.met("fault: records trimmed");
                sleep(OUT_OF_RETENTION).await;
                self.world.keep_records();
            }
            Happening::NewStudyVersion => self.put_study_version().await,
            Happening::DoubleSchedule => {
                self.journal.met("fault: schedule fired twice");
                futures::join!(self.sweep(json!({})), self.sweep(json!({"retry": "quarantine"})));
            }
            Happening::ListDue => self.list_due().await,
            Happening::ListWorklist => self.list_worklist().await,
            _ => self.register(what).await,
        }
    }
}

/// `time` in the order of the lists of the table.
fn sortable(time: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
    time.format(format).unwrap_or_default()
}

fn now_seconds() -> u64 {
    clock::time_of_day().as_secs()
}

/// Waits until `seconds` after the start.
async fn at(seconds: u64) {
    let wait = Duration::from_secs(seconds).saturating_sub(clock::elapsed());
    sleep_until(tokio::time::Instant::now() + wait).await;
}

/// The log lines of a simulation.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<String>>);

impl Log {
    /// All lines so far.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Adds a line.
    pub fn add(&self, line: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_str(line);
    }
}
