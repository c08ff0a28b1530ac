//! The position of each mapping, kept so that the next start continues from there.

use crate::console::Console;
use crate::storage::write_whole;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time;

/// The interval of writes of the file. A crash in between repeats records: delivery is at least once.
const WRITE_INTERVAL: Duration = Duration::from_millis(100);

/// The checkpoints of all mappings. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: Option<PathBuf>,
    mappings: Mutex<BTreeMap<String, Mapping>>,
    changed: Notify,
}

/// The position of one mapping.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Mapping {
    /// The stream's ARN. A table that was created again has another one, which is read from its start.
    stream: String,
    /// When the mapping first read it, in seconds since the epoch.
    since: f64,
    shards: BTreeMap<String, Shard>,
}

/// The position in one shard.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Shard {
    /// The sequence number up to which all records are delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<String>,
    /// The shard is closed and all of its records are delivered.
    #[serde(default)]
    pub(super) finished: bool,
}

impl Checkpoints {
    /// Reads the checkpoints in `folder`, or keeps new ones in memory.
    pub(super) fn open(folder: Option<&Path>) -> io::Result<Self> {
        let file = match folder {
            Some(folder) => {
                fs::create_dir_all(folder)?;
                Some(folder.join("checkpoints.json"))
            }
            None => None,
        };
        let mappings = match file.as_ref().map(fs::read) {
            None => BTreeMap::new(),
            Some(Err(error)) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Some(text) => serde_json::from_slice(&text?)?,
        };
        Ok(Self { shared: Arc::new(Shared { file, mappings: Mutex::new(mappings), changed: Notify::new() }) })
    }

    /// Continues this stream at the mapping's checkpoint. Returns when the mapping first read it, in seconds since the
    /// epoch.
    pub(super) fn begin(&self, mapping: &str, stream: &str, now: f64) -> f64 {
        let mut mappings = self.lock();
        if let Some(known) = mappings.get(mapping).filter(|known| known.stream == stream) {
            return known.since;
        }
        let new = Mapping { stream: stream.to_owned(), since: now, shards: BTreeMap::new() };
        mappings.insert(mapping.to_owned(), new);
        self.shared.changed.notify_one();
        now
    }

    pub(super) fn shard(&self, mapping: &str, shard: &str) -> Shard {
        self.lock().get(mapping).and_then(|mapping| mapping.shards.get(shard)).cloned().unwrap_or_default()
    }

    pub(super) fn advance(&self, mapping: &str, shard: &str, after: &str) {
        self.change(mapping, |shards| shards.entry(shard.to_owned()).or_default().after = Some(after.to_owned()));
    }

    pub(super) fn finish(&self, mapping: &str, shard: &str) {
        self.change(mapping, |shards| shards.entry(shard.to_owned()).or_default().finished = true);
    }

    /// Removes shards that the stream no longer has.
    pub(super) fn retain(&self, mapping: &str, keep: impl Fn(&str) -> bool) {
        self.change(mapping, |shards| shards.retain(|shard, _| keep(shard)));
    }

    /// Writes the file after changes, until it is aborted.
    pub(super) fn keep_written(&self) -> JoinHandle<()> {
        let this = self.clone();
        tokio::spawn(async move {
            loop {
                this.shared.changed.notified().await;
                if let Err(error) = this.write().await {
                    Console::default().warn(format!(
                        "stream: cannot write the checkpoints, so the next start will repeat records: {error}"
                    ));
                }
                time::sleep(WRITE_INTERVAL).await;
            }
        })
    }

    /// Writes the file now.
    pub(super) async fn write(&self) -> io::Result<()> {
        let Some(file) = self.shared.file.clone() else { return Ok(()) };
        let text = serde_json::to_vec_pretty(&*self.lock())?;
        tokio::task::spawn_blocking(move || write_whole(&file, &text)).await.map_err(io::Error::other)?
    }

    fn change(&self, mapping: &str, change: impl FnOnce(&mut BTreeMap<String, Shard>)) {
        if let Some(mapping) = self.lock().get_mut(mapping) {
            change(&mut mapping.shards);
        }
        self.shared.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Mapping>> {
        self.shared.mappings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
