//! SNS: topics, subscriptions with filter policies, and the delivery of messages.
//!
//! It serves the AWS Query protocol at [`PATH`], for the functions' SDK and for `aws sns --endpoint-url`. Every message
//! is put into the built-in clinician inbox (`GET /local/inbox`) and sent to each subscription whose filter policy it
//! matches:
//!
//! | protocol | endpoint | delivery |
//! |---|---|---|
//! | `http` | an address on this machine | SNS's JSON document and headers, once confirmed, with retries |
//! | `file` (of the local cloud alone) | a path | one line of JSON a message, appended |
//! | `email`, `email-json`, `sms` | an address or a number | shown in the inbox; nothing leaves the machine |
//!
//! Acknowledged messages are kept: they are on the disk before the response, and unfinished deliveries are made at the
//! next start. Delivery is at least once. SNS's signature cannot be imitated: messages carry [`NO_SIGNATURE`] instead,
//! and subscribers that verify signatures refuse them.

mod delivery;
mod inbox;
mod message;
mod query;
mod store;
mod subscription;

pub use subscription::{SubscribeOption, SubscribeOptionError};

use crate::clock;
use crate::console::Console;
use crate::feed::Feed;
use crate::pattern::Malformed;
use crate::template::{self, ACCOUNT};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use delivery::Job;
use inbox::{Delivery, Entry, Status};
use message::{Draft, Message};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::Store;
use subscription::{Origin, Subscription};
use time::macros::format_description;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The path of the Query protocol below the local cloud's address.
pub const PATH: &str = "/local/sns";

/// The value of a delivered message's signature.
pub const NO_SIGNATURE: &str = "bm90IHNpZ25lZCBieSB0aGUgbG9jYWwgY2xvdWQ=";

/// The most messages that the inbox keeps. Older ones are dropped, unless a delivery of theirs is open.
const INBOX_LENGTH: usize = 10_000;

/// The settings of the service.
#[derive(Debug)]
pub struct SnsSettings<'a> {
    /// The local cloud's address, `http://127.0.0.1:3000`, for links in messages.
    pub address: &'a str,
    /// The template's topics.
    pub topics: &'a [template::Topic],
    /// The template's subscriptions.
    pub subscriptions: &'a [template::Subscription],
    /// Subscriptions to every topic from the command line.
    pub requested: &'a [SubscribeOption],
    /// The folder of subscriptions and messages; `None`: they are in memory.
    pub folder: Option<&'a Path>,
    /// Where problems of delivery are reported.
    pub console: Console,
    /// Where accepted messages are added.
    pub feed: Feed,
}

/// The service. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sns {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The address with [`PATH`].
    endpoint: String,
    topics: Vec<template::Topic>,
    console: Console,
    feed: Feed,
    store: Store,
    subscriptions: Mutex<Vec<Subscription>>,
    /// Oldest first.
    inbox: Mutex<VecDeque<Entry>>,
    jobs: mpsc::UnboundedSender<Job>,
    /// Endpoints that do not accept messages, and whether messages to them were given up. Each is reported once.
    outages: Mutex<HashMap<String, bool>>,
    dispatcher: Mutex<Option<JoinHandle<()>>>,
}

impl Sns {
    /// Reads the kept subscriptions and messages, subscribes what the template and the command line name, and resumes
    /// open deliveries.
    ///
    /// # Errors
    /// If the files cannot be read, or SNS refuses a subscription.
    pub async fn start(settings: SnsSettings<'_>) -> Result<Self, SnsError> {
        let (store, kept) = Store::open(settings.folder).map_err(|source| SnsError::Store {
            folder: settings.folder.map(Path::to_owned).unwrap_or_default(),
            source,
        })?;
        let (jobs, queue) = mpsc::unbounded_channel();
        let sns = Self {
            shared: Arc::new(Shared {
                endpoint: format!("{}{PATH}", settings.address.trim_end_matches('/')),
                topics: settings.topics.to_vec(),
                console: settings.console,
                feed: settings.feed.clone(),
                store,
                // Subscriptions of the template and the command line are made again at each start.
                subscriptions: Mutex::new(kept.subscriptions.into_iter().filter(|s| s.origin == Origin::Api).collect()),
                inbox: Mutex::new(kept.entries.into()),
                jobs,
                outages: Mutex::default(),
                dispatcher: Mutex::new(None),
            }),
        };
        sns.subscribe_given(&settings)?;
        sns.keep_subscriptions().await.map_err(|source| SnsError::Store {
            folder: settings.folder.map(Path::to_owned).unwrap_or_default(),
            source,
        })?;
        sns.reopen();
        let dispatcher = tokio::spawn(delivery::dispatch(sns.clone(), queue));
        *lock(&sns.shared.dispatcher) = Some(dispatcher);
        Ok(sns)
    }

    /// `POST /local/sns` (the Query protocol) and `GET /local/inbox?site&severity`.
    pub fn routes(&self) -> Router {
        let slash = format!("{PATH}/");
        Router::new()
            .route(PATH, post(query::post).get(query::get))
            .route(&slash, post(query::post).get(query::get))
            .route("/local/inbox", get(inbox::get))
            .with_state(self.clone())
    }

    /// Publishes a text, as a mapping's failure destination does.
    ///
    /// # Errors
    /// The reason if SNS refuses it.
    pub async fn publish_text(&self, topic: &str, text: String) -> Result<(), String> {
        let published = self.publish(topic, vec![Draft { message: text, ..Draft::default() }]).await;
        let first = published.and_then(|outcomes| outcomes.into_iter().next().unwrap_or(Err(Refusal::internal())));
        first.map(drop).map_err(|refusal| refusal.message)
    }

    /// Stops delivering. Open deliveries are made after the next start.
    pub async fn stop(self) {
        let dispatcher = lock(&self.shared.dispatcher).take();
        if let Some(dispatcher) = dispatcher {
            dispatcher.abort();
            // An error means that the task was aborted, as intended.
            dispatcher.await.ok();
        }
    }

    /// The result of each draft: the message's id. The messages are on the disk.
    async fn publish(&self, topic: &str, drafts: Vec<Draft>) -> Result<Vec<Result<String, Refusal>>, Refusal> {
        self.topic(topic)?;
        let now = now();
        let mut outcomes = Vec::with_capacity(drafts.len());
        let mut entries = Vec::new();
        for draft in drafts {
            let accepted = draft.accept(topic, &now);
            outcomes.push(accepted.as_ref().map(|message| message.id.clone()).map_err(Clone::clone));
            entries.extend(accepted.map(|message| self.entry(message)));
        }
        self.shared.store.append(&entries).await.map_err(|error| {
            self.shared.console.warn(format!("sns: cannot store a message, so it is refused: {error}"));
            Refusal::internal()
        })?;
        for entry in entries {
            let subject = entry.message.subject.as_deref().unwrap_or("a message without a subject");
            self.shared
                .console
                .event(format!("sns  {subject} (in the inbox, {} subscriptions)", entry.deliveries.len()));
            self.shared.feed.add(&entry.event());
            let open: Vec<_> = entry.open().map(|delivery| delivery.subscription.clone()).collect();
            let message = Arc::new(entry.message.clone());
            self.receive(entry);
            for subscription in open {
                self.enqueue(Job::Notification { message: Arc::clone(&message), subscription });
            }
        }
        Ok(outcomes)
    }

    fn entry(&self, message: Message) -> Entry {
        let deliveries = lock(&self.shared.subscriptions)
            .iter()
            .filter(|subscription| subscription.topic == message.topic && subscription.confirmed)
            .filter(|subscription| subscription.wants(&message))
            .map(|subscription| Delivery {
                subscription: subscription.arn.clone(),
                protocol: subscription.protocol.clone(),
                endpoint: subscription.endpoint.clone(),
                status: if subscription.is_shown_only() { Status::Shown } else { Status::Open },
            })
            .collect();
        Entry { message, deliveries }
    }

    fn receive(&self, entry: Entry) {
        let mut inbox = lock(&self.shared.inbox);
        inbox.push_back(entry);
        while inbox.len() > INBOX_LENGTH {
            inbox.pop_front();
        }
    }

    fn enqueue(&self, job: Job) {
        // An error means that the local cloud stops; the job stays open for the next start.
        self.shared.jobs.send(job).ok();
    }

    /// Resumes deliveries that an earlier process left open.
    fn reopen(&self) {
        for subscription in lock(&self.shared.subscriptions).iter().filter(|subscription| !subscription.confirmed) {
            self.enqueue(Job::Confirmation { subscription: subscription.arn.clone() });
        }
        for entry in lock(&self.shared.inbox).iter() {
            let message = Arc::new(entry.message.clone());
            for delivery in entry.open() {
                let (message, subscription) = (Arc::clone(&message), delivery.subscription.clone());
                self.enqueue(Job::Notification { message, subscription });
            }
        }
    }

    fn topic(&self, arn: &str) -> Result<&template::Topic, Refusal> {
        let topic = self.shared.topics.iter().find(|topic| topic.arn == arn);
        topic.ok_or_else(|| Refusal::new("NotFound", "Topic does not exist"))
    }

    fn topics(&self) -> impl Iterator<Item = &String> {
        self.shared.topics.iter().map(|topic| &topic.arn)
    }

    /// `CreateTopic` is idempotent, and the topics are the template's.
    fn topic_named(&self, name: &str) -> Result<String, Refusal> {
        let topic = self.shared.topics.iter().find(|topic| topic.name == name);
        topic.map(|topic| topic.arn.clone()).ok_or_else(|| {
            Refusal::parameter("Name Reason: the local cloud has the topics of the template; add it there")
        })
    }

    fn topic_attributes(&self, arn: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let topic = self.topic(arn)?;
        let subscriptions = self.subscriptions(Some(arn));
        let confirmed = subscriptions.iter().filter(|subscription| subscription.confirmed).count();
        Ok(BTreeMap::from(
            [
                ("TopicArn", topic.arn.clone()),
                ("DisplayName", topic.display_name.clone().unwrap_or_default()),
                ("Owner", ACCOUNT.to_owned()),
                ("SubscriptionsConfirmed", confirmed.to_string()),
                ("SubscriptionsPending", (subscriptions.len() - confirmed).to_string()),
                ("SubscriptionsDeleted", "0".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        ))
    }
}

/// Why SNS does not start.
#[derive(Debug, thiserror::Error)]
pub enum SnsError {
    /// The kept messages and subscriptions cannot be read.
    #[error(
        "cannot use the messages and subscriptions in {}. If its disk is full, free space on it; if a file is damaged, \
         move the folder away to start with an empty inbox, and no submission or alert is lost",
        folder.display()
    )]
    Store {
        /// The folder of the files.
        folder: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// A subscription of the template or the command line is refused.
    #[error("cannot subscribe {what}: {reason}")]
    Subscription {
        /// Its logical id or endpoint.
        what: String,
        /// The reason.
        reason: String,
    },
}

/// A request that SNS refuses, with SNS's error code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    fn parameter(what: &str) -> Self {
        Self::new("InvalidParameter", format!("Invalid parameter: {what}"))
    }

    fn value(what: String) -> Self {
        Self::new("ParameterValueInvalid", what)
    }

    fn internal() -> Self {
        Self::new("InternalFailure", "The request processing has failed because of an unknown error")
    }

    fn status(&self) -> StatusCode {
        match self.code {
            "NotFound" => StatusCode::NOT_FOUND,
            "InternalFailure" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::parameter(&format!("Attributes Reason: FilterPolicy: {malformed}"))
    }
}

/// A new subscription's ARN.
fn subscription_arn(topic: &str) -> String {
    format!("{topic}:{}", uuid::Uuid::new_v4())
}

/// A time with milliseconds, as SNS writes it.
fn now() -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    clock::now().format(format).unwrap_or_default()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
