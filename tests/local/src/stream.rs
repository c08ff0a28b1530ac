//! Event source mappings: they deliver a table's stream to a function by Lambda's rules.
//!
//! The stream is read through the DynamoDB Streams API of any engine. Records of one item (partition and sort key) stay
//! in order; different items are delivered in parallel in `ParallelizationFactor` lanes per shard. Delivery is at least
//! once: the checkpoint follows delivered records, and a restart repeats those that were in flight.

mod change;
mod checkpoint;
mod delivery;
mod event;
mod reader;
mod shard;

pub use delivery::{Destinations, Invoke, Publish, Warn};

use crate::console::Console;
use crate::dynamodb::{DynamoDb, DynamoDbError};
use crate::pattern::{Dialect, Malformed, Pattern};
use crate::template::StreamMapping;
use checkpoint::Checkpoints;
use delivery::Delivery;
use reader::Reader;
use shard::{Context, Pace};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;

/// How long a stop waits for running invocations.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The running mappings.
#[derive(Debug)]
pub struct Streams {
    stop: watch::Sender<bool>,
    mappings: JoinSet<()>,
    checkpoints: Checkpoints,
    writer: JoinHandle<()>,
}

/// Starts all mappings of the template. Its tables must exist.
///
/// `folder` keeps the checkpoints; without a folder each start begins at the mappings' starting position.
///
/// # Errors
/// If a filter is not in Lambda's pattern language, a table has no stream, the checkpoints cannot be read, or the
/// database does not answer.
pub async fn start(
    database: &DynamoDb,
    mappings: &[StreamMapping],
    invoke: Invoke,
    destinations: Destinations,
    folder: Option<&Path>,
) -> Result<Streams, StreamError> {
    let checkpoints = Checkpoints::open(folder).map_err(|source| StreamError::Checkpoints {
        folder: folder.map(Path::to_owned).unwrap_or_default(),
        source,
    })?;
    let (stop, stopping) = watch::channel(false);
    let mut running = JoinSet::new();
    let near = ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| database.endpoint().contains(host));
    for mapping in mappings {
        let filters = mapping.filters.iter().map(|filter| Pattern::parse(filter, Dialect::Lambda));
        let filters = filters
            .collect::<Result<_, _>>()
            .map_err(|source| StreamError::Filter { mapping: mapping.name.clone(), source })?;
        let stream_arn = database.stream_arn(&mapping.table).await.map_err(StreamError::Stream)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let shown_arn = event::local_arn(&stream_arn);
        let context = Context {
            filters,
            since: checkpoints.begin(&mapping.name, &stream_arn, now),
            reader: Reader::new(database, stream_arn, shown_arn.clone()),
            delivery: Delivery {
                mapping: mapping.clone(),
                stream_arn: shown_arn,
                invoke: Arc::clone(&invoke),
                destinations: destinations.clone(),
                stopping: stopping.clone(),
            },
            checkpoints: checkpoints.clone(),
            pace: match near {
                _ if database.is_simulated() => Pace::WAITING,
                true => Pace::NEAR,
                false => Pace::FAR,
            },
            stopping: stopping.clone(),
        };
        running.spawn(run(Arc::new(context)));
    }
    let writer = checkpoints.keep_written();
    Ok(Streams { stop, mappings: running, checkpoints, writer })
}

impl Streams {
    /// Starts no further invocation, waits a short time for running ones, and writes the checkpoints.
    pub async fn stop(mut self) {
        self.stop.send(true).ok();
        let ended = async { while self.mappings.join_next().await.is_some() {} };
        if time::timeout(STOP_PATIENCE, ended).await.is_err() {
            self.mappings.abort_all();
        }
        self.writer.abort();
        if let Err(error) = self.checkpoints.write().await {
            Console::default()
                .warn(format!("stream: cannot write the checkpoints, so the next start will repeat records: {error}"));
        }
    }
}

/// Why a mapping does not start.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// A pattern of `FilterCriteria` cannot be parsed.
    #[error("Lambda would not accept the filter of {mapping}")]
    Filter {
        /// The mapping.
        mapping: String,
        /// The pattern's fault.
        source: Malformed,
    },
    /// A table's stream cannot be read.
    #[error("cannot read a table's stream")]
    Stream(#[source] DynamoDbError),
    /// The checkpoints cannot be read.
    #[error("cannot read the checkpoints in {}; removing them delivers all records again", folder.display())]
    Checkpoints {
        /// The folder of the file.
        folder: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
}

/// Reads the shards of one mapping, each after its parent, which keeps an item's records in order.
async fn run(context: Arc<Context>) {
    let mapping = context.delivery.mapping.name.clone();
    let mut stopping = context.stopping.clone();
    let mut started = HashSet::new();
    let mut readers = JoinSet::new();
    while !*stopping.borrow() {
        match context.reader.shards().await {
            Ok(shards) => {
                let known: HashSet<_> = shards.iter().filter_map(|shard| shard.shard_id.as_deref()).collect();
                context.checkpoints.retain(&mapping, |shard| known.contains(shard));
                let finished = |shard: &str| context.checkpoints.shard(&mapping, shard).finished;
                for shard in &shards {
                    let Some(id) = shard.shard_id.as_deref() else { continue };
                    let ready = shard
                        .parent_shard_id
                        .as_deref()
                        .is_none_or(|parent| !known.contains(parent) || finished(parent));
                    if ready && !finished(id) && started.insert(id.to_owned()) {
                        readers.spawn(shard::run(Arc::clone(&context), id.to_owned()));
                    }
                }
            }
            Err(cause) => (context.delivery.destinations.warn)(format!(
                "stream: cannot list the shards of {mapping}, retrying: {cause}"
            )),
        }
        let some_ended = async {
            match readers.join_next().await {
                Some(_) => {}
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = some_ended => {}
            () = time::sleep(context.pace.discovery) => {}
            _ = stopping.wait_for(|stopping| *stopping) => {}
        }
    }
    while readers.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests;
