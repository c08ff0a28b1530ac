//! Runs a plan: the world, the functions, the stream, the phones, the schedule and the clinicians; then fair weather until
//! nothing waits any more; then the checks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::join_all;
use harness::{Path, World, context};
use invocation::{Environment, telemetry};
use lambda_runtime::LambdaEvent;
use local::dynamodb::DynamoDb;
use local::failures::Failures;
use local::feed::Feed;
use local::lambda::{Invocation, InvocationOutcome};
use local::stream::{self, Destinations, Streams};
use local::template::{StreamMapping, Template};
use records::stream::Batch;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until};

use crate::cloud::{Cloud, Ended, Handler, Name};
use crate::dice::Dice;
use crate::journal::{Journal, Pages};
use crate::network::{Gone, Network};
use crate::phone::{NEWER, OLDER, Phones, SECRET};
use crate::plan::{Happening, Plan, SITES, WeatherFault};
use crate::{checks, clock, panics};

/// How long the world may take to settle in fair weather.
const LONGEST_SETTLING: u64 = 6 * 3_600;
/// The sort key of a record that cannot be read.
pub(crate) const BAD_RECORD: &str = "SUBMISSION#bad";
/// How long the stream loses its records once it does.
pub(crate) const OUT_OF_RETENTION: Duration = Duration::from_secs(300);
/// How long eventually consistent reads may be behind, and frozen environments may go on.
const AFTERMATH: Duration = Duration::from_secs(420);

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
    acknowledged: RefCell<BTreeSet<String>>,
    /// The versions of the study that were put in force after the first.
    versions: Cell<u32>,
}

/// Runs `plan` on this thread.
fn simulate(plan: &Plan, lost: Option<(u32, u32)>) -> Pages {
    let journal = Journal::default();
    let log = Log::default();
    let lines = log.clone();
    // As in production, with a tenth of the invocations sampled, and all functions in one log.
    let own =
        ["submit", "score", "sweep", "alerts", "registry", "api", "scoring", "records", "notifications", "invocation"];
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
    world.put_study(study(&plan, "1.0.0")).await;
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
        let clinicians = spawn_local(async move { clinicians.acknowledge_alerts().await });
        for task in join_all(tasks).await {
            if let Err(error) = task {
                self.journal.violation(format!("an action did not end: {error}"));
            }
        }
        at(self.plan.length()).await;
        self.cloud.set_clocks();
        self.journal.note("the weather is fair from now on");
        self.settle().await;
        clinicians.abort();
        sweeper.abort();
        sleep(AFTERMATH).await;
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

    /// Waits until nothing waits any more.
    async fn settle(&self) {
        for _ in 0..LONGEST_SETTLING / 60 {
            if self.waiting() == 0 {
                return;
            }
            sleep(Duration::from_secs(60)).await;
        }
        self.journal.violation(format!("promises 2 and 4: {} items wait for ever", self.waiting()));
    }

    /// The number of items with something still to do.
    fn waiting(&self) -> usize {
        self.world.pending().iter().filter(|(list, _)| !list.starts_with("QUARANTINE#")).count()
    }

    /// Whether a run of `sweep` would find something.
    fn is_due(&self) -> bool {
        let now = clock::now();
        let sortable = |time: OffsetDateTime| {
            let format = time::macros::format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
            time.format(format).unwrap_or_default()
        };
        let (now, waiting) = (sortable(now), sortable(now - Duration::from_secs(175)));
        self.world.pending().iter().any(|(list, since)| match list.split('#').next() {
            Some("OPEN") => *since <= now,
            Some("PENDING") => *since <= waiting,
            _ => false,
        })
    }

    /// Whether clocks are set now: a sweep whose clock is fast finds what is not due yet.
    fn has_wrong_clocks(&self) -> bool {
        let now = clock::elapsed().as_secs();
        let mut weather = self.plan.weather.iter().filter(|weather| (weather.from..weather.to).contains(&now));
        weather.any(|weather| weather.fault == WeatherFault::ClockStep)
    }

    /// Invokes `sweep` each minute. A run that would find nothing is left out mostly, since it costs time and shows
    /// nothing.
    async fn sweep_on_schedule(self: &Rc<Self>) {
        let mut dice = Dice::of(self.plan.seed, "schedule");
        loop {
            sleep(Duration::from_secs(60)).await;
            if self.is_due() || self.has_wrong_clocks() || dice.one_in(20) {
                let this = Rc::clone(self);
                spawn_local(async move { this.sweep(json!({})).await });
            }
        }
    }

    /// Invokes `sweep` once.
    pub async fn sweep(&self, event: Value) {
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
                let mut pages = self.journal.pages();
                pages.coverage.add("branch: swept submission", summary.submissions);
                pages.coverage.add("branch: swept course", summary.courses);
                pages.coverage.add("branch: swept alert", summary.alerts);
                pages.coverage.add("branch: escalated", summary.escalated);
                pages.coverage.add("branch: exhausted", summary.exhausted);
            }
            Ended::Returned(Err(error)) => self.journal.note(format!("sweep: {error}")),
            Ended::TimedOut | Ended::Lost => self.journal.note("sweep: no result"),
        }
    }

    /// Delivers the stream to `score` by the rules of the event source mapping.
    pub async fn read_stream(self: &Rc<Self>, name: &str) -> Streams {
        let config = self.world.sdk_config_in(&format!("stream-{}-{name}", self.number));
        let streams = aws_sdk_dynamodbstreams::Client::new(&config);
        let database = DynamoDb::simulated(aws_sdk_dynamodb::Client::new(&config), streams);
        let mapping = StreamMapping {
            batch_size: self.plan.batch_size,
            parallelization_factor: self.plan.lanes,
            maximum_record_age: self.plan.record_age.map(Duration::from_secs).or(mapping().maximum_record_age),
            ..mapping().clone()
        };
        let (invocations, mut queue) = mpsc::unbounded_channel::<(Bytes, oneshot::Sender<Invocation>)>();
        let this = Rc::clone(self);
        spawn_local(async move {
            while let Some((event, answer)) = queue.recv().await {
                let this = Rc::clone(&this);
                spawn_local(async move {
                    let _ = answer.send(this.score(event).await);
                });
            }
        });
        let invoke = Arc::new(move |_: &str, event: Bytes| {
            let (answered, answer) = oneshot::channel();
            let sent = invocations.send((event, answered)).is_ok();
            async move {
                match answer.await {
                    Ok(invocation) if sent => invocation,
                    _ => ended(InvocationOutcome::Unavailable("the simulation ends".to_owned())),
                }
            }
            .boxed()
        });
        let warned = self.journal.clone();
        let destinations = Destinations {
            failures: self.failures.clone(),
            publish: Arc::new(|_: &str, _| async { Ok(()) }.boxed()),
            warn: Arc::new(move |text| warned.note(text)),
            feed: Feed::default(),
        };
        let streams = stream::start(&database, &[mapping], invoke, destinations, None).await;
        streams.expect("the world has the table and its stream")
    }

    async fn score(&self, event: Bytes) -> Invocation {
        let is_json = "the mapping sends JSON";
        let mut sent: Value = serde_json::from_slice(&event).expect(is_json);
        let batch: Vec<Value> = sent["Records"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let payload: Batch = serde_json::from_slice(&event).expect(is_json);
        let records = batch.len();
        let result = self.cloud.invoke(Name::Score, move |environment, remaining| {
            let event = LambdaEvent::new(payload, context(remaining));
            async move {
                let Handler::Score(score) = &environment.handler else { unreachable!("it is a score") };
                Box::pin(score.handle(event)).await.map_err(|error| error.to_string())
            }
        });
        let outcome = match result.await {
            Ended::Returned(Ok(answer)) => {
                let failed = answer.batch_item_failures.len();
                self.journal.note(format!("score: {failed} of {records} records are not done"));
                if failed > 0 {
                    self.journal.met("branch: batch retried");
                }
                let named = |record: &&Value| {
                    let number = &record["dynamodb"]["SequenceNumber"];
                    answer.batch_item_failures.iter().any(|failure| *number == failure.item_identifier)
                };
                for record in batch.iter().filter(|record| !named(record)) {
                    self.check_done(record);
                }
                InvocationOutcome::Answer(serde_json::to_vec(&answer).unwrap_or_default().into())
            }
            Ended::Returned(Err(error)) => InvocationOutcome::FunctionError(error.into()),
            Ended::TimedOut => InvocationOutcome::TimedOut,
            Ended::Lost => InvocationOutcome::Crashed,
        };
        ended(outcome)
    }

    /// A record that the answer does not name is done: its submission is scored or quarantined.
    fn check_done(&self, record: &Value) {
        let number = &record["dynamodb"]["SequenceNumber"];
        let quarantined = self.world.item(&json!({"pk": {"S": "QUARANTINE"}, "sk": {"S": number}})).is_some();
        let scored = self.world.item(&record["dynamodb"]["Keys"]).is_some_and(|item| item["scored_at"].is_string());
        if !quarantined && !scored {
            self.journal.violation(format!("promise 2: score answered that record {number} is done, and it is not"));
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
            Happening::Enrol | Happening::Transfer | Happening::Withdraw => self.register(what).await,
        }
    }

    /// Puts another version of the study in force. It is the data manager's own connection that has no faults, so the
    /// network is fair for everybody until it is done.
    async fn put_study_version(&self) {
        let number = self.versions.get() + 1;
        self.versions.set(number);
        let mut changed = study(&self.plan, &format!("1.{number}.0"));
        // Each time at another score.
        let rule = json!({"of": "total", "atLeast": 7 - number % 3});
        changed["instruments"][0]["rules"] = json!([{"id": "added", "severity": "warning", "when": {"score": rule}}]);
        self.world.connect(|_| Path::default());
        self.world.put_study(changed).await;
        let mut network = Network::of(&self.plan, self.cloud.gone(), self.journal.clone());
        self.world.connect(move |call| network.path(call));
        self.journal.met("fault: study changed");
    }

    /// Clinicians acknowledge some of the alerts that were published, some time after that.
    async fn acknowledge_alerts(self: &Rc<Self>) {
        let mut dice = Dice::of(self.plan.seed, "clinicians");
        let mut read = 0;
        // An outage that cuts answers off has one message published hundreds of times.
        let mut seen = BTreeSet::new();
        loop {
            sleep(Duration::from_secs(20)).await;
            let published = self.world.published();
            for message in &published[read..] {
                if !seen.insert(message.message.clone())
                    || self.plan.acknowledge_one_in == 0
                    || !dice.one_in(self.plan.acknowledge_one_in)
                {
                    continue;
                }
                let Some(alert) = message.body()["alertId"].as_str().map(str::to_owned) else { continue };
                let after = Duration::from_secs(dice.below(2_400));
                let this = Rc::clone(self);
                let twice = dice.one_in(3);
                spawn_local(async move {
                    sleep(after).await;
                    this.acknowledge_elsewhere(&alert).await;
                    let first = this.acknowledge(alert.clone(), "first");
                    if twice {
                        futures::join!(first, this.acknowledge(alert, "second"));
                    } else {
                        first.await;
                    }
                });
            }
            read = published.len();
        }
    }

    /// A clinician acknowledges `alert`, and repeats that until it is answered.
    pub async fn acknowledge(&self, alert: String, clinician: &str) {
        loop {
            let answer = self.phones.acknowledge(&alert, &SITES.join(" "), clinician).await;
            match answer.status {
                200 => {
                    self.journal.met("branch: acknowledged");
                    self.journal.note(format!("clinician: {alert} is acknowledged"));
                    self.acknowledged.borrow_mut().insert(alert);
                    return;
                }
                _ if self.phones.is_to_repeat(&answer) => sleep(Duration::from_secs(30)).await,
                other => {
                    self.journal.violation(format!("the acknowledgement of a published alert was answered {other}"));
                    return;
                }
            }
        }
    }

    /// A clinician of another site tries to acknowledge `alert`, and must not find it.
    async fn acknowledge_elsewhere(&self, alert: &str) {
        let of_site =
            |site: &str| self.world.items("alert").iter().any(|row| row["alert_id"] == alert && row["site"] == site);
        let Some(elsewhere) = SITES.into_iter().find(|site| !of_site(site)) else { return };
        let answer = self.phones.acknowledge(alert, elsewhere, "other").await;
        if answer.status == 404 {
            self.journal.met("branch: alert of another site not found");
        } else if !self.phones.is_to_repeat(&answer) {
            self.journal.violation(format!("promise 9: a clinician of another site was answered {}", answer.status));
        }
    }
}

fn ended(outcome: InvocationOutcome) -> Invocation {
    Invocation { request_id: "simulated".to_owned(), took: Duration::ZERO, outcome }
}

fn now_seconds() -> u64 {
    clock::time_of_day().as_secs()
}

/// Waits until `seconds` after the start.
async fn at(seconds: u64) {
    let wait = Duration::from_secs(seconds).saturating_sub(clock::elapsed());
    sleep_until(tokio::time::Instant::now() + wait).await;
}

/// The event source mapping of the template.
fn mapping() -> &'static StreamMapping {
    static MAPPING: OnceLock<StreamMapping> = OnceLock::new();
    MAPPING.get_or_init(|| {
        let text = include_str!("../../../template.yaml");
        let issuer =
            ["TokenIssuer", "TokenAudience"].map(|name| (name.to_owned(), "https://issuer.example".to_owned()));
        let template = Template::parse(std::path::Path::new("template.yaml"), text, &issuer.into());
        template.expect("the template is valid").streams.remove(0)
    })
}

/// The study, at `version`.
fn study(plan: &Plan, version: &str) -> Value {
    let instruments = [OLDER, NEWER].map(|version| json!({"id": "pain", "version": version}));
    json!({
        "version": version,
        "sites": SITES.map(|site| json!({"id": site, "name": site, "timeZone": "Europe/Berlin"})),
        "instruments": instruments,
        "alerts": {"escalation": {"afterMinutes": plan.escalation_minutes, "limit": plan.escalation_limit}},
    })
}

/// An instrument with rules of every kind: on an answer, on the score, and some that look back, one with quiet hours. Its
/// third item is nothing but a number to look for in logs.
fn instrument(version: &str) -> String {
    let is_newer = version == NEWER;
    let change = |against: &str, by: u32| json!({"of": "total", "against": against, "worse": "higher", "by": by});
    let mut instrument = json!({
        "id": "pain", "version": version, "title": {"en": "Pain"},
        "licence": {"terms": "Public domain", "texts": "included"}, "sources": ["A test"],
        "items": [
            {"id": "1", "type": "integer", "min": 0, "max": 10, "text": {"en": "Pain?"}},
            {"id": "2", "type": "boolean", "text": {"en": "Fever?"}},
            {"id": "3", "type": "integer", "min": 0, "max": 999_999, "text": {"en": "Number?"}},
        ],
        "scores": [
            {"id": "total", "value": "1", "range": [0, 10]},
            {"id": "number", "value": "3", "range": [0, 999_999]},
        ],
        "rules": [
            {"id": "safety", "severity": "critical", "when": {"item": {"of": "2", "atLeast": 1}}},
            {"id": "high", "severity": "warning", "when": {"score": {"of": "total", "atLeast": if is_newer { 9 } else { 10 }}}},
            {"id": "lasting", "severity": "warning", "when": {"consecutive": {"of": "total", "atLeast": 7, "times": 3, "last": 3}}},
            {"id": "worse", "severity": "warning", "quietHours": 24, "when": {"change": change("baseline", 4)}},
            {"id": "jump", "severity": "info", "when": {"change": change("previous", if is_newer { 3 } else { 5 })}},
        ],
    });
    if is_newer {
        instrument["comparableTo"] = json!(OLDER);
    }
    instrument.to_string()
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
