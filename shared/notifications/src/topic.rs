//! The SNS topic that clinicians subscribe to.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_sns::Client;
use aws_sdk_sns::config::Builder;
use aws_sdk_sns::types::{MessageAttributeValue, PublishBatchRequestEntry};
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use invocation::aws::{AdaptiveTimeout, Failure, FailureKind, Limits, SharedHttpClient, call, sdk_config};
use invocation::{Backoff, Deadline, Environment, EnvironmentError};

use crate::message::{LinkTemplate, Notification};

const OPERATION: &str = "PublishBatch of alerts";
const PUBLISH: Limits = Limits { most: Duration::from_secs(5), least: Duration::from_millis(100) };
/// The limit of one PublishBatch. Ten notifications have 20 KB, of the 256 KB that it may have.
const MAX_ENTRIES: usize = 10;
const RETRIES: Backoff = Backoff::new(Duration::from_millis(25), Duration::from_millis(500));

/// The topic that clinicians subscribe to. Created once per environment, since it holds the connections.
#[derive(Clone, Debug)]
pub struct Topic {
    sns: Client,
    arn: String,
    link: LinkTemplate,
}

impl Topic {
    /// The topic `arn`, reached with `config`. Alerts are opened at `link`, unless their study has its own link.
    pub fn new(config: &SdkConfig, arn: &str, link: LinkTemplate) -> Self {
        let config = Builder::from(config).interceptor(AdaptiveTimeout::default()).build();
        Self { sns: Client::from_conf(config), arn: arn.to_owned(), link }
    }

    /// The topic of the environment variables, reached by `https`.
    ///
    /// # Errors
    /// If a variable is missing.
    pub fn from_environment(environment: &Environment, https: SharedHttpClient) -> Result<Self, EnvironmentError> {
        let config = sdk_config(environment, "AWS_ENDPOINT_URL_SNS", https)?;
        let link = LinkTemplate::new(environment.required("ALERT_LINK")?);
        Ok(Self::new(&config, environment.required("ALERTS_TOPIC_ARN")?, link))
    }

    /// Opens the connection, TLS handshake included, by a cheap read. For start-up. If it fails, the first publication
    /// opens the connection.
    pub async fn warm_up(&self) {
        let deadline = Deadline::after(Duration::from_secs(3));
        let limits = Limits { most: Duration::from_secs(2), ..PUBLISH };
        let request = self.sns.get_topic_attributes().topic_arn(&self.arn);
        let sent = call(deadline, limits, |timeouts| request.customize().config_override(config(timeouts)).send());
        if let Err(failure) = sent.await.map_err(|error| error.into_failure("GetTopicAttributes at start-up")) {
            tracing::warn!(event = "warm_up_failed", %failure);
        }
    }

    /// Publishes `notifications`, and returns the message id of each, in their order. A notification that SNS does not
    /// confirm is sent again until the deadline, so it may be published more than once.
    pub async fn publish(&self, notifications: &[Notification], deadline: Deadline) -> Vec<Result<String, Failure>> {
        let mut results = Vec::with_capacity(notifications.len());
        for batch in notifications.chunks(MAX_ENTRIES) {
            results.extend(self.publish_batch(batch, deadline).await);
        }
        results
    }

    async fn publish_batch(&self, notifications: &[Notification], deadline: Deadline) -> Vec<Result<String, Failure>> {
        let mut confirmed: HashMap<usize, String> = HashMap::new();
        let mut failures: HashMap<usize, Failure> = HashMap::new();
        let mut retries = RETRIES;
        loop {
            let open: Vec<usize> = (0..notifications.len())
                .filter(|index| !confirmed.contains_key(index))
                .filter(|index| failures.get(index).is_none_or(is_retryable))
                .collect();
            if open.is_empty() {
                break;
            }
            self.publish_once(notifications, &open, &mut confirmed, &mut failures, deadline).await;
            let unconfirmed = open.iter().any(|index| !confirmed.contains_key(index));
            if unconfirmed && !retries.wait(deadline, PUBLISH.least).await {
                break;
            }
        }
        let unknown = || Failure::unreadable(OPERATION, "the answer of SNS does not have it");
        (0..notifications.len())
            .map(|index| confirmed.remove(&index).ok_or_else(|| failures.remove(&index).unwrap_or_else(unknown)))
            .collect()
    }

    /// Sends those of `notifications` that are `open` in one PublishBatch, which can fail in part with status 200.
    async fn publish_once(
        &self,
        notifications: &[Notification],
        open: &[usize],
        confirmed: &mut HashMap<usize, String>,
        failures: &mut HashMap<usize, Failure>,
        deadline: Deadline,
    ) {
        let entries = open.iter().map(|&index| self.entry(index, &notifications[index])).collect();
        let request = self.sns.publish_batch().topic_arn(&self.arn).set_publish_batch_request_entries(Some(entries));
        let sent = call(deadline, PUBLISH, |timeouts| request.customize().config_override(config(timeouts)).send());
        let answer = match sent.await {
            Ok(answer) => answer,
            Err(error) => {
                let failure = error.into_failure(OPERATION);
                failures.extend(open.iter().map(|&index| (index, failure.clone())));
                return;
            }
        };
        for entry in answer.failed() {
            if let Some(index) = entry.id().parse().ok().filter(|index| open.contains(index)) {
                let failure = if entry.sender_fault() {
                    Failure::unreadable(OPERATION, "SNS rejected it")
                } else {
                    Failure::transient(OPERATION, "SNS could not accept it now")
                };
                failures.insert(index, failure);
            }
        }
        for entry in answer.successful() {
            let index = entry.id().and_then(|id| id.parse().ok()).filter(|index| open.contains(index));
            if let (Some(index), Some(message_id)) = (index, entry.message_id()) {
                confirmed.insert(index, message_id.to_owned());
            }
        }
    }

    fn entry(&self, index: usize, notification: &Notification) -> PublishBatchRequestEntry {
        let mut entry = PublishBatchRequestEntry::builder()
            .id(index.to_string())
            .subject(notification.subject())
            .message_structure("json")
            .message(notification.by_protocol(&self.link));
        for (name, value) in notification.attributes() {
            let value = MessageAttributeValue::builder().data_type("String").string_value(value);
            entry = entry.message_attributes(name, value.build().expect("the data type is set"));
        }
        entry.build().expect("id and message are set")
    }
}

fn is_retryable(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::Unknown | FailureKind::Transient)
}

fn config(timeouts: TimeoutConfig) -> Builder {
    Builder::new().timeout_config(timeouts)
}
