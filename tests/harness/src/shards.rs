//! The stream of the Records table behind its own protocol: shards that split, that are trimmed, and whose reader
//! waits for records, so that a simulated hour without records costs nothing.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::dynamodb::puts;
use crate::{Call, RECORDS, World, lock, response};

/// How long a read waits for a record.
const LONGEST_READ: Duration = Duration::from_secs(3_600);
pub(crate) const STREAM: &str = "arn:aws:dynamodb:eu-central-1:000000000000:table/RecordsTable/stream/1";

/// The shards of the stream.
pub(crate) struct Shards {
    state: Mutex<State>,
    grown: Notify,
}

struct State {
    shards: Vec<Shard>,
    sequence: u64,
    /// New records are dropped, as if they were trimmed before they were read.
    loses_records: bool,
}

/// A shard has the items whose partition key's hash is in its range.
struct Shard {
    parent: Option<usize>,
    from: u64,
    to: u64,
    closed: bool,
    /// The records before this index are older than the retention.
    trimmed: usize,
    records: Vec<Value>,
}

impl Shard {
    fn new(parent: Option<usize>, from: u64, to: u64) -> Self {
        Self { parent, from, to, closed: false, trimmed: 0, records: Vec::new() }
    }
}

impl Default for Shards {
    fn default() -> Self {
        let state = State { shards: vec![Shard::new(None, 0, u64::MAX)], sequence: 0, loses_records: false };
        Self { state: Mutex::new(state), grown: Notify::new() }
    }
}

impl World {
    /// Closes an open shard of the stream and opens two in its place, as DynamoDB does when a partition grows. `which`
    /// chooses among the open ones.
    pub fn split_shard(&self, which: usize) {
        self.0.shards.split(which);
    }

    /// Trims all records that the stream has now: they are older than its retention. So are those that follow, until
    /// [`World::keep_records`].
    pub fn trim_stream(&self) {
        let mut state = lock(&self.0.shards.state);
        state.loses_records = true;
        for shard in &mut state.shards {
            shard.trimmed = shard.records.len();
        }
    }

    /// Ends what [`World::trim_stream`] began: the stream has records again.
    pub fn keep_records(&self) {
        lock(&self.0.shards.state).loses_records = false;
    }

    /// Inserts `record` into the stream as it is, in the shard of the first range.
    pub fn inject_record(&self, record: Value) {
        self.0.shards.push(0, record);
    }
}

impl Shards {
    fn split(&self, which: usize) {
        let mut state = lock(&self.state);
        let open: Vec<usize> = (0..state.shards.len()).filter(|&at| !state.shards[at].closed).collect();
        let parent = open[which % open.len()];
        state.shards[parent].closed = true;
        let (from, to) = (state.shards[parent].from, state.shards[parent].to);
        let middle = from + (to - from) / 2;
        state.shards.push(Shard::new(Some(parent), from, middle));
        state.shards.push(Shard::new(Some(parent), middle, to));
        self.grown.notify_waiters();
    }

    /// Adds the records of the puts in `call`, which was answered with `status`.
    pub(crate) fn applied(&self, call: &Call, status: u16) {
        if status != 200 {
            return;
        }
        for put in puts(call).filter(|put| put["TableName"] == RECORDS) {
            let item = &put["Item"];
            let mut hasher = DefaultHasher::new();
            item["pk"].to_string().hash(&mut hasher);
            let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let record = json!({
                "eventName": "INSERT", "eventVersion": "1.1", "eventSource": "aws:dynamodb", "awsRegion": "eu-central-1",
                "dynamodb": {
                    "ApproximateCreationDateTime": created, "Keys": {"pk": item["pk"], "sk": item["sk"]},
                    "NewImage": item, "SizeBytes": 500, "StreamViewType": "NEW_AND_OLD_IMAGES",
                },
            });
            self.push(hasher.finish(), record);
        }
    }

    fn push(&self, hash: u64, mut record: Value) {
        let mut state = lock(&self.state);
        state.sequence += 1;
        if state.loses_records {
            return;
        }
        let number = state.sequence;
        record["eventID"] = json!(format!("{number:032x}"));
        record["dynamodb"]["SequenceNumber"] = json!(format!("{:021}", 100_000 + number));
        let shard = state.shards.iter_mut().find(|shard| !shard.closed && (shard.from..=shard.to).contains(&hash));
        shard.expect("the open shards cover all hashes").records.push(record);
        self.grown.notify_waiters();
    }

    pub(crate) fn answer(&self, call: &Call) -> HttpResponse {
        let state = lock(&self.state);
        let body = match call.name() {
            "DescribeTable" => json!({"Table": {
                "TableName": call.body["TableName"], "TableStatus": "ACTIVE", "LatestStreamArn": STREAM,
            }}),
            "DescribeStream" => {
                let shard = |(at, shard): (usize, &Shard)| {
                    let range = json!({"StartingSequenceNumber": "100000"});
                    let mut described = json!({"ShardId": name(at), "SequenceNumberRange": range});
                    if let Some(parent) = shard.parent {
                        described["ParentShardId"] = json!(name(parent));
                    }
                    described
                };
                let shards: Vec<Value> = state.shards.iter().enumerate().map(shard).collect();
                json!({"StreamDescription": {"StreamArn": STREAM, "StreamStatus": "ENABLED", "Shards": shards}})
            }
            _ => {
                let shard = index(&call.body["ShardId"]);
                let records = &state.shards[shard].records;
                let after = call.body["SequenceNumber"].as_str();
                let is_after = |record: &Value| record["dynamodb"]["SequenceNumber"].as_str() > after;
                let position = match after {
                    Some(_) => records.iter().position(is_after).unwrap_or(records.len()),
                    None => state.shards[shard].trimmed,
                };
                json!({"ShardIterator": format!("{shard}:{position}")})
            }
        };
        response(200, body.to_string())
    }

    pub(crate) async fn records(&self, call: &Call) -> HttpResponse {
        let iterator = call.body["ShardIterator"].as_str().unwrap_or_default();
        let (shard, position) = iterator.split_once(':').expect("the reader sends an iterator of this file");
        let (shard, position): (usize, usize) = (shard.parse().expect("a number"), position.parse().expect("a number"));
        loop {
            let grown = self.grown.notified();
            {
                let state = lock(&self.state);
                let Shard { records, closed, trimmed, .. } = &state.shards[shard];
                if position < *trimmed {
                    let body = json!({"__type": "TrimmedDataAccessException", "message": "the records are trimmed"});
                    return response(400, body.to_string());
                }
                let new = &records[position..];
                if !new.is_empty() || *closed {
                    let next = (!*closed || !new.is_empty()).then(|| format!("{shard}:{}", records.len()));
                    let mut body = json!({"Records": new});
                    if let Some(next) = next {
                        body["NextShardIterator"] = json!(next);
                    }
                    return response(200, body.to_string());
                }
            }
            if timeout(LONGEST_READ, grown).await.is_err() {
                return response(200, json!({"Records": [], "NextShardIterator": iterator}).to_string());
            }
        }
    }
}

fn name(shard: usize) -> String {
    format!("shardId-{shard:020}")
}

fn index(name: &Value) -> usize {
    let number = name.as_str().and_then(|name| name.rsplit('-').next()?.parse().ok());
    number.expect("the reader sends a shard of this file")
}
