//! The files of SNS: `subscriptions.json`, and two logs of JSON lines, `messages.ndjson` with each message and its
//! deliveries, `deliveries.ndjson` with the status of finished deliveries.

use super::inbox::{Entry, Status};
use super::subscription::Subscription;
use super::{INBOX_LENGTH, lock};
use crate::storage::{append_lines, write_whole};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Writes to the files; without a folder, nothing is kept.
#[derive(Debug, Clone)]
pub(super) struct Store {
    files: Option<Arc<Files>>,
}

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    messages: Mutex<File>,
    deliveries: Mutex<File>,
    subscriptions: Mutex<()>,
}

/// Subscriptions and messages of an earlier process.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) subscriptions: Vec<Subscription>,
    /// Oldest first.
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct DeliveryOutcome {
    message: String,
    subscription: String,
    status: Status,
}

impl Store {
    /// Reads the files and rewrites them without messages that the inbox has dropped, and with the deliveries' status.
    pub(super) fn open(folder: Option<&Path>) -> io::Result<(Self, Kept)> {
        let Some(folder) = folder else { return Ok((Self { files: None }, Kept::default())) };
        fs::create_dir_all(folder)?;
        let (messages, deliveries) = (folder.join("messages.ndjson"), folder.join("deliveries.ndjson"));
        let subscriptions = match fs::read(folder.join("subscriptions.json")) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let outcomes: HashMap<(String, String), Status> = read_lines::<DeliveryOutcome>(&deliveries)?
            .into_iter()
            .map(|outcome| ((outcome.message, outcome.subscription), outcome.status))
            .collect();
        let mut entries: Vec<Entry> = read_lines(&messages)?;
        for entry in &mut entries {
            for delivery in &mut entry.deliveries {
                let key = (entry.message.id.clone(), delivery.subscription.clone());
                delivery.status = outcomes.get(&key).copied().unwrap_or(delivery.status);
            }
        }
        let forgotten = entries.len().saturating_sub(INBOX_LENGTH);
        let mut place = 0;
        entries.retain(|entry| {
            place += 1;
            place > forgotten || entry.open().next().is_some()
        });
        write_whole(&messages, lines(&entries)?.as_bytes())?;
        write_whole(&deliveries, b"")?;
        let append = |file: &Path| OpenOptions::new().append(true).open(file).map(Mutex::new);
        let files = Files {
            folder: folder.to_owned(),
            messages: append(&messages)?,
            deliveries: append(&deliveries)?,
            subscriptions: Mutex::new(()),
        };
        Ok((Self { files: Some(Arc::new(files)) }, Kept { subscriptions, entries }))
    }

    /// Appends messages. They are on the disk when this returns.
    pub(super) async fn append(&self, entries: &[Entry]) -> io::Result<()> {
        let text = lines(entries)?;
        self.blocking(move |files| append_lines(&mut lock(&files.messages), &text)).await
    }

    /// Appends the status of a delivery. If it is not kept, the delivery is repeated.
    pub(super) async fn note(&self, message: &str, subscription: &str, status: Status) -> io::Result<()> {
        let outcome = DeliveryOutcome { message: message.to_owned(), subscription: subscription.to_owned(), status };
        let text = lines(&[outcome])?;
        self.blocking(move |files| append_lines(&mut lock(&files.deliveries), &text)).await
    }

    pub(super) async fn keep_subscriptions(&self, subscriptions: Vec<Subscription>) -> io::Result<()> {
        self.blocking(move |files| {
            let _one_at_a_time = lock(&files.subscriptions);
            write_whole(&files.folder.join("subscriptions.json"), &serde_json::to_vec_pretty(&subscriptions)?)
        })
        .await
    }

    async fn blocking(&self, work: impl FnOnce(&Files) -> io::Result<()> + Send + 'static) -> io::Result<()> {
        let Some(files) = self.files.clone() else { return Ok(()) };
        tokio::task::spawn_blocking(move || work(&files)).await.map_err(io::Error::other)?
    }
}

fn lines<T: Serialize>(values: &[T]) -> io::Result<String> {
    let mut text = String::new();
    for value in values {
        text += &serde_json::to_string(value)?;
        text.push('\n');
    }
    Ok(text)
}

/// The complete lines of a file. A last line without its end was never acknowledged: the process died writing it.
fn read_lines<T: DeserializeOwned>(file: &Path) -> io::Result<Vec<T>> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}
