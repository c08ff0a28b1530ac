//! One shard: its records are read in order, filtered, distributed over lanes, delivered and checkpointed.

use super::change;
use super::checkpoint::Checkpoints;
use super::delivery::{Delivery, Warn};
use super::event::{Change, Record};
use super::reader::{MOST_READ, Page, Problem, Reader};
use crate::clock;
use crate::feed::Event;
use crate::pattern::Pattern;
use crate::template::StartingPosition;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

/// Lambda's limit of an event, in bytes.
const LARGEST_EVENT: usize = 6 * 1024 * 1024;

/// The longest pause while the database does not answer.
const LONGEST_OUTAGE_PAUSE: Duration = Duration::from_secs(5);

/// What the shards of one mapping share.
pub(super) struct Context {
    pub(super) reader: Reader,
    pub(super) filters: Vec<Pattern>,
    /// When the mapping first read the stream, in seconds since the epoch.
    pub(super) since: f64,
    pub(super) delivery: Delivery,
    pub(super) checkpoints: Checkpoints,
    pub(super) pace: Pace,
    pub(super) stopping: watch::Receiver<bool>,
}

/// How often a shard without new records is polled, and how often a stream is asked for new shards while none has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The pause after several records to deliver, in which more gather: a batch costs less than its records one by one.
    pub(super) gather: Duration,
    /// The pause otherwise: a person may wait for what a single record leads to.
    pub(super) busy: Duration,
    pub(super) idle: Duration,
    pub(super) discovery: Duration,
}

impl Pace {
    /// An engine on this machine.
    pub(super) const NEAR: Self = Self {
        gather: Duration::from_millis(100),
        busy: Duration::from_millis(10),
        idle: Duration::from_millis(50),
        discovery: Duration::from_secs(30),
    };
    /// AWS allows five reads per second and shard; Lambda makes four.
    pub(super) const FAR: Self = Self {
        gather: Duration::from_millis(250),
        busy: Duration::from_millis(250),
        idle: Duration::from_millis(250),
        discovery: Duration::from_secs(30),
    };
    /// A simulated engine, whose reads wait for records.
    pub(super) const WAITING: Self =
        Self { gather: Duration::ZERO, discovery: Duration::from_secs(3_600), ..Self::NEAR };
}

/// Reads a shard and delivers its records. Returns when the shard is closed and all of them are delivered, or when the
/// cloud stops.
pub(super) async fn run(context: Arc<Context>, shard: String) {
    let mapping = &context.delivery.mapping;
    let in_flight = Arc::new(RecordsInFlight::default());
    let (mut lanes, mut queues) = (JoinSet::new(), Vec::new());
    for _ in 0..mapping.parallelization_factor {
        let (queue, records) = mpsc::unbounded_channel();
        queues.push(queue);
        lanes.spawn(lane(Arc::clone(&context), shard.clone(), Arc::clone(&in_flight), records));
    }
    let closed = tokio::select! {
        biased;
        closed = read(&context, &shard, &in_flight, &queues) => closed,
        () = stopped(context.stopping.clone()) => false,
    };
    drop(queues);
    while let Some(ended) = lanes.join_next().await {
        if let Err(error) = ended {
            (context.delivery.destinations.warn)(format!(
                "stream: a lane of {} failed, so the next start will repeat its records: {error}",
                mapping.name
            ));
        }
    }
    if closed && in_flight.lock().open.is_empty() {
        context.checkpoints.finish(&mapping.name, &shard);
    }
}

/// Reads until the shard is closed (true) or the lanes have ended (false).
async fn read(
    context: &Context,
    shard: &str,
    in_flight: &RecordsInFlight,
    queues: &[mpsc::UnboundedSender<Record>],
) -> bool {
    let mapping = &context.delivery.mapping;
    // Slow lanes stop the reading, which bounds the memory.
    let most_open = (2 * mapping.batch_size * mapping.parallelization_factor).max(1_000);
    let mut last_read = context.checkpoints.shard(&mapping.name, shard).after;
    let mut iterator = None;
    let mut outage = Outage::default();
    let mut last_record = Instant::now();
    let mut index = 0;
    loop {
        in_flight.until_fewer_than(most_open).await;
        let page = match iterator.take() {
            Some(iterator) => context.reader.records(iterator).await,
            None => match context.reader.first_iterator(shard, last_read.as_deref()).await {
                Ok(fresh) => {
                    iterator = Some(fresh);
                    continue;
                }
                Err(problem) => Err(problem),
            },
        };
        let Page { changes, next } = match page {
            Ok(page) => page,
            // The next turn asks for a new iterator after the last record read.
            Err(Problem::Expired) => continue,
            Err(Problem::Trimmed) => {
                (context.delivery.destinations.warn)(format!(
                    "stream: records of {} were trimmed before they were read; continuing with the rest",
                    mapping.table
                ));
                last_read = None;
                continue;
            }
            Err(Problem::Gone) => {
                (context.delivery.destinations.warn)(format!(
                    "stream: shard {shard} of {} is gone with its unread records; continuing with the other shards",
                    mapping.table
                ));
                return true;
            }
            Err(Problem::Other(cause)) => {
                outage.pause(&context.delivery.destinations.warn, &mapping.table, &cause).await;
                continue;
            }
        };
        outage.over(&context.delivery.destinations.warn, &mapping.table);
        let (read, mut to_deliver) = (changes.len(), 0);
        for source in changes {
            // The engine's time, as the mapping's own is.
            let before =
                mapping.starting_position == StartingPosition::Latest && source.created < context.since.floor();
            let Change { sequence_number, created, item, json } = source.ahead(clock::offset());
            last_read = Some(sequence_number.clone());
            if let Some(change) = change::of(&json) {
                context.delivery.destinations.feed.add(&Event::Changed(change));
            }
            let matches = context.filters.is_empty() || context.filters.iter().any(|filter| filter.matches(&json));
            in_flight.opened(index, &sequence_number);
            if before || !matches {
                in_flight.done(context, shard, [index]);
            } else {
                to_deliver += 1;
                let record = Record { index, sequence_number, created, text: json.to_string() };
                // `as` is exact: the remainder is smaller than the number of lanes.
                if queues[(item % queues.len() as u64) as usize].send(record).is_err() {
                    return false;
                }
            }
            index += 1;
        }
        match next {
            None => return true,
            next => iterator = next,
        }
        let pause = match read {
            0 if last_record.elapsed() > Duration::from_secs(2) => context.pace.idle,
            0 => context.pace.busy,
            // More wait already.
            MOST_READ.. => Duration::ZERO,
            _ if to_deliver > 1 => context.pace.gather,
            _ => context.pace.busy.min(context.pace.gather),
        };
        if read > 0 {
            last_record = Instant::now();
        }
        if !pause.is_zero() {
            time::sleep(pause).await;
        }
    }
}

/// Delivers the records of this lane's items, batch by batch.
async fn lane(
    context: Arc<Context>,
    shard: String,
    in_flight: Arc<RecordsInFlight>,
    mut records: mpsc::UnboundedReceiver<Record>,
) {
    let mapping = &context.delivery.mapping;
    let mut next = None;
    loop {
        let Some(first) = (match next.take() {
            Some(record) => Some(record),
            None => records.recv().await,
        }) else {
            return;
        };
        let full_at = Instant::now() + mapping.batching_window;
        let mut size = first.text.len();
        let mut batch = vec![first];
        while batch.len() < mapping.batch_size {
            let more = match records.try_recv() {
                Ok(record) => Some(record),
                Err(_) => time::timeout_at(full_at, records.recv()).await.ok().flatten(),
            };
            let Some(record) = more else { break };
            size += record.text.len() + 1;
            if size > LARGEST_EVENT {
                next = Some(record);
                break;
            }
            batch.push(record);
        }
        let done = |records: &[Record]| in_flight.done(&context, &shard, records.iter().map(|record| record.index));
        context.delivery.deliver(&shard, batch, &done).await;
        if *context.stopping.borrow() {
            return;
        }
    }
}

/// The records of a shard that were read and are not all delivered.
#[derive(Debug, Default)]
struct RecordsInFlight {
    state: Mutex<State>,
    fewer: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The sequence numbers from the first undelivered record on, each with whether it is delivered.
    open: BTreeMap<u64, (String, bool)>,
}

impl RecordsInFlight {
    fn opened(&self, index: u64, sequence_number: &str) {
        self.lock().open.insert(index, (sequence_number.to_owned(), false));
    }

    /// The checkpoint is the last record before which all are delivered, however far other lanes are ahead.
    fn done(&self, context: &Context, shard: &str, records: impl IntoIterator<Item = u64>) {
        let mut state = self.lock();
        for index in records {
            if let Some((_, done)) = state.open.get_mut(&index) {
                *done = true;
            }
        }
        let mut after = None;
        while state.open.first_key_value().is_some_and(|(_, (_, done))| *done) {
            after = state.open.pop_first().map(|(_, (sequence_number, _))| sequence_number);
        }
        if let Some(after) = after {
            context.checkpoints.advance(&context.delivery.mapping.name, shard, &after);
            self.fewer.notify_one();
        }
    }

    async fn until_fewer_than(&self, most: usize) {
        while self.lock().open.len() >= most {
            self.fewer.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports once that a stream cannot be read, and once that it can be read again.
#[derive(Default)]
struct Outage {
    failures: u32,
}

impl Outage {
    async fn pause(&mut self, warn: &Warn, table: &str, cause: &str) {
        if self.failures == 0 {
            warn(format!("stream: cannot read the stream of {table}, retrying: {cause}"));
        }
        self.failures += 1;
        let pause = Duration::from_millis(50).saturating_mul(2_u32.saturating_pow(self.failures));
        time::sleep(pause.min(LONGEST_OUTAGE_PAUSE)).await;
    }

    fn over(&mut self, warn: &Warn, table: &str) {
        if self.failures > 0 {
            warn(format!("stream: the stream of {table} can be read again"));
        }
        self.failures = 0;
    }
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone and no stop can come.
    stopping.wait_for(|stopping| *stopping).await.ok();
}
