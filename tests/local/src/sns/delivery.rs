//! Delivers messages to endpoints and files, with retries until they accept them or the delivery is given up.

use super::inbox::Status;
use super::message::Message;
use super::subscription::Subscription;
use super::{NO_SIGNATURE, Sns, lock, now};
use crate::storage::append_lines;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use std::collections::hash_map;
use std::fs::OpenOptions;

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time;

/// SNS's timeout of an endpoint.
const ANSWER_PATIENCE: Duration = Duration::from_secs(15);

/// Attempts to deliver a message. AWS's default for HTTP makes three retries, 20 s apart; here they start sooner and
/// their pauses grow, so that a restarted subscriber soon has its messages.
const ATTEMPTS: u32 = 12;

/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Deliveries that are made in parallel.
const AT_ONCE: usize = 32;

/// A message and the subscription that it is for.
#[derive(Debug)]
pub(super) enum Job {
    Notification { message: Arc<Message>, subscription: String },
    Confirmation { subscription: String },
}

type Http = Client<HttpConnector, Full<Bytes>>;

/// Delivers all jobs, until it is aborted.
pub(super) async fn dispatch(sns: Sns, mut jobs: mpsc::UnboundedReceiver<Job>) {
    let http: Http = Client::builder(TokioExecutor::new()).build_http();
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    while let Some(job) = jobs.recv().await {
        while running.try_join_next().is_some() {}
        match job {
            Job::Notification { message, subscription } => match sns.subscription(&subscription) {
                None => sns.note(&message.id, &subscription, Status::Failed).await,
                // Lines are in the order of publication, so they are not written in parallel.
                Some(found) if found.protocol == "file" => sns.append_to_file(&message, &found).await,
                Some(found) => {
                    let (sns, http, permits) = (sns.clone(), http.clone(), Arc::clone(&permits));
                    running.spawn(async move { sns.notify(&http, &permits, &message, &found).await });
                }
            },
            Job::Confirmation { subscription } => {
                if let Some(found) = sns.subscription(&subscription).filter(|found| !found.confirmed) {
                    let (sns, http, permits) = (sns.clone(), http.clone(), Arc::clone(&permits));
                    running.spawn(async move { sns.ask_to_confirm(&http, &permits, &found).await });
                }
            }
        }
    }
}

impl Sns {
    async fn append_to_file(&self, message: &Arc<Message>, subscription: &Subscription) {
        let mut line = if subscription.raw {
            // A line break in a message would split the line.
            let text = message.rendering("file");
            if text.contains('\n') { Value::from(text).to_string() } else { text.to_owned() }
        } else {
            self.document(message, subscription).to_string()
        };
        line.push('\n');
        let path = subscription.endpoint.clone();
        let append = move || {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            append_lines(&mut file, &line)
        };
        let appended = tokio::task::spawn_blocking(append).await.map_err(std::io::Error::other).and_then(|done| done);
        let status = match appended {
            Ok(()) => Status::Delivered,
            Err(error) => {
                self.shared.console.warn(format!("sns: cannot write to {}: {error}", subscription.endpoint));
                Status::Failed
            }
        };
        self.note(&message.id, &subscription.arn, status).await;
    }

    async fn notify(&self, http: &Http, permits: &Semaphore, message: &Arc<Message>, subscription: &Subscription) {
        let request = || {
            let request = self.request(subscription, "Notification", &message.id);
            let request = request.header("x-amz-sns-subscription-arn", &subscription.arn);
            if subscription.raw {
                let text = message.rendering(&subscription.protocol).to_owned();
                request.header("x-amz-sns-rawdelivery", "true").body(Full::from(text))
            } else {
                request.body(Full::from(self.document(message, subscription).to_string()))
            }
        };
        let is_needed = || self.subscription(&subscription.arn).is_some();
        let status = match self.insist(http, permits, subscription, &request, &is_needed).await {
            true => Status::Delivered,
            false => Status::Failed,
        };
        self.note(&message.id, &subscription.arn, status).await;
    }

    async fn ask_to_confirm(&self, http: &Http, permits: &Semaphore, subscription: &Subscription) {
        let message_id = uuid::Uuid::new_v4().to_string();
        let document = self.confirmation(subscription, &message_id).to_string();
        let request = || {
            let request = self.request(subscription, "SubscriptionConfirmation", &message_id);
            request.body(Full::from(document.clone()))
        };
        let is_needed = || self.subscription(&subscription.arn).is_some_and(|found| !found.confirmed);
        self.insist(http, permits, subscription, &request, &is_needed).await;
    }

    /// Whether the endpoint accepted it. A refusal other than 429 is final, as in SNS.
    async fn insist(
        &self,
        http: &Http,
        permits: &Semaphore,
        subscription: &Subscription,
        request: &(dyn Fn() -> http::Result<Request<Full<Bytes>>> + Send + Sync),
        is_needed: &(dyn Fn() -> bool + Send + Sync),
    ) -> bool {
        let endpoint = &subscription.endpoint;
        let mut why = String::new();
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                time::sleep(Duration::from_secs(2_u64.pow(attempt - 1)).min(LONGEST_PAUSE)).await;
            }
            if !is_needed() {
                return false;
            }
            let Ok(request) = request() else { return false };
            // The semaphore is never closed.
            let _permit = permits.acquire().await;
            match time::timeout(ANSWER_PATIENCE, http.request(request)).await {
                Ok(Ok(answer)) if answer.status().is_success() => {
                    self.outage_over(endpoint);
                    return true;
                }
                Ok(Ok(answer)) => {
                    why = format!("it answered {}", answer.status());
                    if answer.status().is_client_error() && answer.status() != StatusCode::TOO_MANY_REQUESTS {
                        break;
                    }
                }
                Ok(Err(_)) => "the connection failed".clone_into(&mut why),
                Err(_) => why = format!("no answer within {} s", ANSWER_PATIENCE.as_secs()),
            }
            self.outage(endpoint, &why);
        }
        self.gave_up(endpoint, &why);
        false
    }

    fn outage(&self, endpoint: &str, why: &str) {
        if let hash_map::Entry::Vacant(new) = lock(&self.shared.outages).entry(endpoint.to_owned()) {
            new.insert(false);
            self.shared.console.warn(format!("sns: {endpoint} does not accept messages, retrying: {why}"));
        }
    }

    fn gave_up(&self, endpoint: &str, why: &str) {
        if lock(&self.shared.outages).insert(endpoint.to_owned(), true) != Some(true) {
            self.shared.console.warn(format!(
                "sns: gave up on messages to {endpoint}: {why}; /local/inbox shows which ones have failed"
            ));
        }
    }

    fn outage_over(&self, endpoint: &str) {
        if lock(&self.shared.outages).remove(endpoint).is_some() {
            self.shared.console.event(format!("sns: {endpoint} accepts messages again"));
        }
    }

    async fn note(&self, message: &str, subscription: &str, status: Status) {
        if let Err(error) = self.shared.store.note(message, subscription, status).await {
            self.shared
                .console
                .warn(format!("sns: cannot store the status of a delivery, so the next start repeats it: {error}"));
        }
        let mut inbox = lock(&self.shared.inbox);
        let entry = inbox.iter_mut().rev().find(|entry| entry.message.id == message);
        let deliveries = entry.into_iter().flat_map(|entry| &mut entry.deliveries);
        for delivery in deliveries.filter(|delivery| delivery.subscription == subscription) {
            delivery.status = status;
        }
    }

    fn request(&self, subscription: &Subscription, kind: &str, message_id: &str) -> http::request::Builder {
        Request::post(&subscription.endpoint)
            .header(header::CONTENT_TYPE, "text/plain; charset=UTF-8")
            .header(header::USER_AGENT, "Amazon Simple Notification Service Agent")
            .header("x-amz-sns-message-type", kind)
            .header("x-amz-sns-message-id", message_id)
            .header("x-amz-sns-topic-arn", &subscription.topic)
    }

    fn document(&self, message: &Message, subscription: &Subscription) -> Value {
        let endpoint = &self.shared.endpoint;
        let unsubscribe = format!("{endpoint}/?Action=Unsubscribe&SubscriptionArn={}", subscription.arn);
        message.envelope(&subscription.protocol, &unsubscribe, endpoint)
    }

    fn confirmation(&self, subscription: &Subscription, message_id: &str) -> Value {
        let (endpoint, Subscription { topic, token, .. }) = (&self.shared.endpoint, subscription);
        json!({
            "Type": "SubscriptionConfirmation",
            "MessageId": message_id,
            "Token": token,
            "TopicArn": topic,
            "Message": format!(
                "You have chosen to subscribe to the topic {topic}.\nTo confirm the subscription, visit the \
                 SubscribeURL included in this message."
            ),
            "SubscribeURL": format!("{endpoint}/?Action=ConfirmSubscription&TopicArn={topic}&Token={token}"),
            "Timestamp": now(),
            "SignatureVersion": "1",
            "Signature": NO_SIGNATURE,
            "SigningCertURL": format!("{endpoint}/no-certificate.pem"),
        })
    }
}
